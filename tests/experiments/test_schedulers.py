"""Files of workers, and groups as jobs: what they give Parsl, a shell, Kubernetes, and a real SLURM."""

import importlib.util
import inspect
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import slurm
import yaml

from aevae import InputError
from aevae.runs import engine, worker

ROOT = Path(__file__).parents[2]
FILES = ROOT / "experiments" / "workers"
CONFIGS = sorted(FILES.glob("*.py"))
OPTIONAL = {"kubernetes": "KubernetesProvider", "aws": "AWSProvider"}
FORK = "ignore:os.fork.* was called"  # Parsl asks for sacct


@pytest.fixture
def stand_ins(monkeypatch):
    """Providers that take what the real ones take, and ask for neither packages nor a cloud."""
    import parsl.providers

    for name in OPTIONAL.values():
        real = getattr(parsl.providers, name)
        signature = inspect.signature(real)

        def made(*args, _signature=signature, **kwargs):
            given = _signature.bind(*args, **kwargs).arguments
            provider = parsl.providers.LocalProvider()
            for key, value in given.items():
                setattr(provider, key, value)
            return provider

        monkeypatch.setattr(parsl.providers, name, made)
    # It leaves sockets open.
    found = "parsl.executors.high_throughput.executor.get_all_addresses"
    monkeypatch.setattr(found, lambda: {"127.0.0.1"})


@pytest.mark.filterwarnings(FORK)
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_file_gives_a_config_that_fits_groups(path, tmp_path, stand_ins):
    (executor,) = engine.load(path, tmp_path).executors
    assert executor.prefetch_capacity == 0 and executor.cpu_affinity == "block"
    assert 2 * executor.heartbeat_period <= executor.heartbeat_threshold
    assert executor.heartbeat_threshold < worker.WAIT
    assert executor.provider.max_blocks >= 1 == executor.provider.nodes_per_block
    assert not [*tmp_path.iterdir()]


@pytest.mark.filterwarnings(FORK)
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_worker_has_a_gpu_and_cores_of_its_own(path, tmp_path, stand_ins):
    text = path.read_text("utf-8")
    two = "GPUS = ('0', '1')" if path.stem == "local" else "GPUS = 2"
    text, changed = re.subn(r"^GPUS = \S+", two, text, flags=re.MULTILINE)
    assert changed == 1
    (tmp_path / "mine.py").write_text(text.replace("WORKERS = 4", "WORKERS = 2"))
    (executor,) = engine.load(tmp_path / "mine.py", tmp_path).executors
    assert executor.available_accelerators == ["0", "1"]
    assert executor.workers_per_node <= 2


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_package_that_is_optional_is_asked_for_late_and_by_name(name, tmp_path):
    package = {"aws": "boto3"}.get(name, name)
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    says = f"{name}.py fails with OptionalModuleMissing: .*{package}"
    with pytest.raises(InputError, match=says):
        engine.load(FILES / f"{name}.py", tmp_path)


# Without Parsl

SEES = """#!/bin/sh
case "$*" in *json*) exec {python} "$@";; esac
echo "$CUDA_VISIBLE_DEVICES $*" >> {log}
case "$*" in *--group={bad}*) exit {code};; esac
"""


@pytest.fixture
def shell(tmp_path):
    """shell(script, *arguments, bad=, code=): its exit code, and what it ran in place of Python."""
    folder, log = tmp_path / "bin", tmp_path / "log"
    folder.mkdir()
    (tmp_path / "config.json").write_text('{"groups": [[0], [1], [2], [3], [4]]}')

    def put(name, text):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)

    def run(script, *arguments, bad=99, code=0, **env):
        put("python", SEES.format(python=sys.executable, log=log, bad=bad, code=code))
        put("srun", '#!/bin/sh\nshift\nexec "$@"\n')
        put("scontrol", f'#!/bin/sh\necho "scontrol $*" >> {log}\n')
        log.write_text("")
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        env = os.environ | {"PATH": path, "CUDA_VISIBLE_DEVICES": ""} | env
        done = subprocess.run(
            ["bash", FILES / script, tmp_path, *arguments],
            env=env,
            cwd=tmp_path,
            check=False,
        )
        return done.returncode, sorted(log.read_text().splitlines())

    return run


def test_a_loop_gives_each_gpu_its_share_of_the_groups(shell, tmp_path):
    code, ran = shell("loop.sh", "--data_dir=here")
    one = f"-m experiments.sweep --workdir={tmp_path} --group={{}} --data_dir=here"
    assert code == 0
    assert ran == [f"{n % 2} {one.format(n)}" for n in (0, 2, 4, 1, 3)]
    code, ran = shell("loop.sh", bad=0, code=2)  # a fault: the others are trained
    assert code == 1 and len(ran) == 5
    code, ran = shell("loop.sh", bad=0, code=143)  # a signal: its GPU's loop ends
    assert code == 143 and len(ran) == 3


def test_an_array_goes_back_only_where_its_time_is_up(shell, tmp_path):
    env = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_CPUS_PER_TASK": "2", "SLURM_JOB_ID": "7"}
    env["SLURM_SUBMIT_DIR"] = str(tmp_path)
    line = f" -m experiments.sweep --workdir={tmp_path} --group=3 --data_dir=here"
    for code, more in ((0, []), (143, []), (2, []), (138, ["scontrol requeue 7"])):
        found = shell("array.sbatch", "--data_dir=here", bad=3, code=code, **env)
        assert found == (code, [line, *more])


def test_an_indexed_job_gives_each_pod_its_group_and_time_to_save():
    job = yaml.safe_load((FILES / "indexed_job.yaml").read_text("utf-8"))
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert spec["completionMode"] == "Indexed" and spec["backoffLimitPerIndex"] > 0
    assert pod["restartPolicy"] == "Never"  # which both policies need
    assert pod["terminationGracePeriodSeconds"] > 5
    (container,) = pod["containers"]
    *_, rule = spec["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    (command,) = container["args"]
    assert command.startswith("exec ") and '--group="$JOB_COMPLETION_INDEX"' in command


# With a real SLURM

SWEEP = ["--config.epochs=12000", "--config.evaluate_every=3000"]
SWEEP += ["--sweep=latent=2,3,4", "--sweep=beta=1,4"]


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """sh(line): what it prints where sbatch and its like reach a SLURM of two cores."""
    bins = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    try:
        with slurm.cluster(tmp_path_factory.mktemp("slurm")) as env:
            env |= {"PATH": f"{bins}{os.pathsep}{env['PATH']}", "PYTHONPATH": str(ROOT)}
            yield lambda line: _printed(line, env)
    except slurm.Missing as reason:
        pytest.skip(str(reason))


def _printed(line, env):
    done = subprocess.run(
        line, shell=True, env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def alone(scheduler, tmp_path_factory):
    """The sweep, trained by one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    scheduler(f"python -m experiments.sweep --workdir={folder} {' '.join(SWEEP)}")
    return folder


def assert_same(ours, theirs):
    for name in ("results.csv", "curves.csv"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    names = sorted(path.name for path in (theirs / "params").iterdir())
    assert len(names) == 6
    assert sorted(path.name for path in (ours / "params").iterdir()) == names
    for name in names:
        assert (ours / "params" / name).read_bytes() == (
            theirs / "params" / name
        ).read_bytes()


def until(found, seconds):
    """What a function finds, once that is something."""
    end = time.monotonic() + seconds
    while not (thing := found()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(1)
    return thing


@pytest.mark.slow
def test_an_array_of_slurm_goes_on_after_a_requeue_and_a_warning(
    scheduler, alone, tmp_path
):
    """Group 0 is put back by SLURM, group 1 by the script as its time is up."""
    folder, sweep = tmp_path / "run", "python -m experiments.sweep"
    scheduler(f"{sweep} --workdir={folder} --declare {' '.join(SWEEP)}")
    options = f"--array=0-2 --time=9 --cpus-per-task=1 --output={tmp_path}/%a.log"
    file = FILES / "array.sbatch"
    scheduler(f"sbatch {options} {file} {folder} --checkpoint_seconds=600")

    def status():
        return scheduler(f"{sweep} --workdir={folder} --status")

    def is_in_training(number):
        return re.search(rf"group {number}: training .* epoch [1-9]", status())

    for number, ends in ((0, "scontrol requeue {}"), (1, "scancel -s USR1 {}")):
        until(lambda n=number: is_in_training(n), 120)
        jobs = scheduler("squeue -h -t r -o '%K %A'").splitlines()
        job = dict(line.split() for line in jobs)[str(number)]
        scheduler(ends.format(job))
        until(lambda n=number: f"group {n}: waiting (saved at" in status(), 60)
        put_back = f"squeue -h -t pd -j {job} -o %r"
        until(lambda line=put_back: "BeginTime" in scheduler(line), 60)
        scheduler(f"scontrol update jobid={job} starttime=now")  # not in two minutes
    until(lambda: not scheduler("squeue -h -t pd,r,cg"), 600)
    for number in (0, 1):
        log = (tmp_path / f"{number}.log").read_text()
        assert re.search(r"resumes at epoch [1-9]", log), log
    scheduler(f"{sweep} --workdir={folder} --collect")
    assert_same(folder, alone)


@pytest.mark.slow
def test_jobs_whose_time_is_up_are_replaced_and_save_before(scheduler, alone, tmp_path):
    """Jobs of a minute, one at a time, for some two minutes of work."""
    text = (FILES / "slurm.py").read_text("utf-8")
    changes = {"WORKERS = 4": "WORKERS = 1", "CORES = 2": "CORES = 1"}
    changes |= {'"04:00:00"': '"00:01:00"', "max_blocks=8": "max_blocks=1"}
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    (tmp_path / "mine.py").write_text(text)
    folder = tmp_path / "run"
    options = f"--workers={tmp_path / 'mine.py'} --checkpoint_seconds=600"
    line = f"python -m experiments.sweep --workdir={folder} {options}"
    scheduler(f"{line} {' '.join(SWEEP)}")
    jobs = [*folder.glob("workers/000/submit_scripts/*.stderr")]
    told = "".join(path.read_text() for path in jobs)
    assert len(jobs) > 1
    assert "DUE TO TIME LIMIT" in told
    assert re.search(r"resumes at epoch [1-9]", told), told
    assert_same(folder, alone)
