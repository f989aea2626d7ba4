"""Groups as tasks: declared, trained by processes of their own, lost, taken over, and collected."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from aevae import InputError, WriteError, config
from aevae.runs import (
    engine,
    initial,
    place,
    record,
    status,
    study,
    tables,
    task,
    worker,
)
from aevae.system import locks
from experiments import command, sweep

CONFIG = "configs/digits.py"
SMALL = {"epochs": 2, "batch": 300, "encoder.widths": (8,), "decoder.widths": (8,)}
GRID = {"latent": (2, 3), "beta": (0.5, 1.0, 4.0), "seed": (0, 1)}
ASKED = {"overrides": SMALL, "grid": GRID}
TABLES = "results.csv", "curves.csv"


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight") / "run"
    study.run(CONFIG, folder, **ASKED)
    return folder


@pytest.fixture
def declared(tmp_path):
    folder = tmp_path / "run"
    assert study.declare(CONFIG, folder, **ASKED) == 2
    return folder


def assert_same(ours, theirs):
    for name in TABLES:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    assert_same_params(ours, theirs)


def assert_same_params(ours, theirs):
    names = sorted(path.name for path in (theirs / "params").iterdir())
    assert sorted(path.name for path in (ours / "params").iterdir()) == names
    for name in names:
        assert_same_arrays(ours / "params" / name, theirs / "params" / name)


def assert_same_arrays(ours, theirs):
    with np.load(ours) as a, np.load(theirs) as b:
        assert a.files == b.files
        for key in a.files:
            np.testing.assert_array_equal(a[key], b[key])


def test_groups_of_their_own_make_the_folder_of_one_process(declared, straight, capsys):
    assert "2 groups: 2 waiting" in status.told(declared)
    worker.run(declared, 1)
    study.collect(declared)
    assert len((declared / "results.csv").read_text().splitlines()) == 7
    assert "1 waiting, 1 finished" in status.told(declared)
    worker.run(declared, 0)
    before = {p: p.stat().st_mtime_ns for p in (declared / "params").iterdir()}
    worker.run(declared, 0)  # again: nothing to do
    assert before == {p: p.stat().st_mtime_ns for p in (declared / "params").iterdir()}
    assert "group 0 of" in capsys.readouterr().err.splitlines()[-1]
    study.collect(declared)
    assert_same(declared, straight)
    events = [p.relative_to(declared) for p in declared.glob("tensorboard/*/*")]
    assert len(events) == 12
    assert study.run(CONFIG, declared, **ASKED).groups == 0


def test_parts_of_a_group_have_the_bits_of_the_whole(tmp_path, straight):
    """Six runs, two at a time; and two of them alone, laid out as six."""
    study.declare(CONFIG, tmp_path / "run", **ASKED, split=4)
    groups = record.read(tmp_path / "run")["groups"]
    assert [len(own) for own in groups] == [4, 2, 4, 2]
    worker.run(tmp_path / "run", 1)
    for run in groups[1]:
        name = f"params/{run:04d}.npz"
        assert_same_arrays(tmp_path / "run" / name, straight / name)


def test_a_declared_chunk_is_that_of_every_worker(tmp_path):
    folder, asked = tmp_path / "run", ASKED | {"grid": GRID | {"latent": (2,)}}
    study.declare(CONFIG, folder, **asked, chunk=3, split=3)
    assert worker.run(folder, 1).chunk == 3
    study.run(CONFIG, folder, **asked)  # which does not name it again
    assert [row["chunk"] for row in tables.read(folder / "timing.csv")] == [3, 3]


def test_a_process_that_was_cut_off_writes_no_more(declared):
    """Another host that does not see its lock has taken the group meanwhile."""
    taken = []

    def take(self, *_):
        other = declared / "checkpoints" / "0000" / ".lock"
        other.write_text("process 1 on elsewhere, since 2026, 00\n")
        taken.append(time.time_ns())

    with pytest.MonkeyPatch.context() as patch:
        save = place.Place.save
        patch.setattr(
            place.Place, "save", lambda self, *args: (take(self), save(self, *args))
        )
        with pytest.raises(WriteError, match="now belongs to process 1 on elsewhere"):
            worker.run(declared, 0, interval=0)
    found = [p for p in (declared / "checkpoints" / "0000").iterdir() if p.is_dir()]
    assert taken and not found
    assert not [*declared.rglob("*.partial")]


def test_what_is_held_is_waited_for_and_then_refused(declared):
    held = locks.lock(_made(declared / "checkpoints" / "0000"), "group 0")
    with pytest.raises(InputError, match="group 0 of .* is in use by another process"):
        worker.run(declared, 0, wait=0.3)
    held.tell("epoch 7, step 0")
    assert f"process {os.getpid()} on" in status.told(declared)
    assert "epoch 7, step 0 of 2" in status.told(declared)
    held.close()


def test_three_losses_without_progress_fail_a_group(declared):
    lost = place.Place(declared, 0)
    for _ in range(place.LOSSES):
        with lost.taken():
            lost.begin_attempt()
    with pytest.raises(InputError, match="lost 3 times at epoch 0, step 0, at last by"):
        worker.run(declared, 0)
    assert "group 0: failed" in status.told(declared)
    study.declare(CONFIG, declared, **ASKED)  # which tries it anew
    assert worker.run(declared, 0).results


def test_a_fault_of_the_input_is_no_loss(tmp_path, monkeypatch):
    """A relative path, from a folder where it leads nowhere; and then from the right one."""
    rng = np.random.default_rng(0)
    x = rng.random((48, 4), np.float32)
    np.savez(tmp_path / "x.npz", x_train=x, x_validation=x[:9], x_test=x[:9])
    (tmp_path / "elsewhere").mkdir()
    root, folder = os.getcwd(), tmp_path / "run"
    asked = {"overrides": SMALL | {"dataset": "x.npz", "batch": 16}}
    asked["overrides"] |= {"binarization": "none"}
    monkeypatch.chdir(tmp_path)
    study.declare(f"{root}/{CONFIG}", folder, **asked, grid={"latent": (2,)})
    monkeypatch.chdir(tmp_path / "elsewhere")
    for _ in range(place.LOSSES + 1):
        with pytest.raises(InputError, match="cannot read x.npz.*; a relative path"):
            worker.run(folder, 0)
    assert "failed (cannot read x.npz" in status.told(folder)
    monkeypatch.chdir(tmp_path)
    assert worker.run(folder, 0).results
    assert "1 finished" in status.told(folder)


def test_what_a_holder_tells_replaces_what_it_told(tmp_path):
    with locks.lock(tmp_path) as held:
        for epoch in (1, 20, 3):
            held.tell(f"epoch {epoch}, step 0")
        assert locks.holder(tmp_path)[1] == "epoch 3, step 0"
        assert len((tmp_path / ".lock").read_bytes().splitlines()) == 2
        (tmp_path / ".lock").write_bytes(b"process 1 on \xff, since 2026, 00\n")
        with pytest.raises(WriteError, match="now belongs to process 1"):
            held.tell("epoch 4, step 0")
    assert (tmp_path / ".lock").read_bytes().startswith(b"process 1 on")


def test_losses_with_progress_do_not_count(declared):
    lost = place.Place(declared, 0)
    for epoch in range(2 * place.LOSSES):
        with lost.taken():
            lost.begin_attempt()
            (lost.path / f"{epoch + 1}-0").mkdir()


def test_a_fault_is_kept_and_shown_and_the_others_finish(tmp_path, monkeypatch):
    """Of a structure one group is traced at the declaration; here the second does not work."""
    folder, check = tmp_path / "run", worker.check_run

    def fails(run, dataset):
        if run.model.latent == 3:
            raise InputError("3 latents are too many for this: take 2")
        return check(run, dataset)

    monkeypatch.setattr(worker, "check_run", fails)
    assert study.declare(CONFIG, folder, **ASKED) == 2
    with pytest.raises(InputError, match="3 latents"):
        worker.run(folder, 1)
    assert "group 1: failed (3 latents are too many" in status.told(folder)
    worker.run(folder, 0)
    assert "1 finished, 1 failed" in status.told(folder)
    monkeypatch.undo()
    worker.run(folder, 1)
    assert "2 finished" in status.told(folder)


def test_code_and_data_are_those_of_the_declaration(declared, monkeypatch):
    path = declared / "config.json"
    known = json.loads(path.read_text())
    known["code"]["modules"]["aevae.objectives"] = "other"
    path.write_text(json.dumps(known))
    with pytest.raises(InputError, match="the code of aevae.objectives has changed"):
        worker.run(declared, 0)
    study.declare(CONFIG, declared, **ASKED, code="accept")
    assert worker.run(declared, 0).results


def test_what_no_other_process_can_find_is_refused(tmp_path):
    base = dataclasses.replace(config.load(CONFIG), grid=None)
    with pytest.raises(InputError, match="a Config is of this process alone"):
        study.declare(base, tmp_path / "run")
    arrays = {"x_train": np.zeros((9, 4)), "x_test": np.zeros((9, 4))}
    with pytest.raises(InputError, match="arrays are of this process alone"):
        study.declare(CONFIG, tmp_path / "run", dataset=arrays)
    with pytest.raises(InputError, match="address of object storage"):
        study.declare(CONFIG, "gs://bucket/run")
    assert not (tmp_path / "run").exists()


def test_a_start_that_was_given_in_python_is_of_that_process():
    start = initial.again({"given": None, "run": 0, "sha256": "ab" * 32})
    with pytest.raises(InputError, match="run 0 .given in Python.* only the process"):
        start.at_hand()


def test_object_storage_is_known_by_its_file_system(tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"none / ext4 rw 0 0\ns3 {tmp_path}/my\\040data fuse.s3fs rw 0 0\n"
    )
    place = tmp_path / "my data" / "run"
    assert locks.file_system(place, mounts) == "fuse.s3fs"
    assert locks.file_system(tmp_path, mounts) == "ext4"
    monkeypatch.setattr(locks, "file_system", lambda _: "fuse.s3fs")
    with pytest.raises(InputError, match="on object storage .fuse.s3fs., which has no"):
        study.declare(CONFIG, place, **ASKED)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--group=0"], "--group needs the run folder: name it with --workdir"),
        (["--workdir={}", "--group=2"], "has no group 2: its groups are 0 to 1"),
        (["--workdir={}", "--group=1", "--sweep=beta=1"], "leave out --sweep"),
        (
            ["--workdir={}", "--status", "--config.epochs=3"],
            "leave out --config.epochs",
        ),
        (["--workdir={}", "--status", "--collect"], "are different commands"),
        (["--workdir={}x", "--status"], "is not a run folder"),
        (["--workers=0"], "workers must be at least 1"),
        (["--workers=many"], "a number of processes, or a Python file"),
        (["--workers=setup.py"], "setup.py fails with"),
    ],
)
def test_a_wrong_command_is_one_line(arguments, says, declared, capsys):
    arguments = [argument.format(declared) for argument in arguments]
    assert command.execute(sweep.define, sweep.main, arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_a_driver_waits_for_a_group_that_another_process_trains(
    declared, straight, capfd
):
    program = (
        "import sys, time; from aevae.runs.place import Place; from pathlib import Path\n"
        "folder = Path(sys.argv[1])\n"
        "with Place(folder, 0).taken():\n"
        "    print('taken', flush=True)\n"
        "    while not [*folder.glob('params/*')]: time.sleep(0.1)\n"  # of the other group
        "    time.sleep(3)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(declared)], stdout=subprocess.PIPE
    )
    with other:
        assert other.stdout.readline() == b"taken\n"
        study.run(CONFIG, declared, **ASKED)
    assert f"trained by process {other.pid}" in capfd.readouterr().err
    assert_same(declared, straight)


@pytest.fixture
def here(monkeypatch):
    """An engine that does each task at once, after the outcomes that a test gives, {group: [...]}."""
    outcomes = {}

    @contextlib.contextmanager
    def fake(make, path):
        def submit(given, number, options, ended):
            before = outcomes.get(number)
            now = before.pop(0) if before else task.run(*given, options, number)
            ended.put((number, now))

        yield submit, lambda: 1

    monkeypatch.setattr(engine, "_engine", fake)
    return outcomes


def test_what_is_lost_is_done_again_and_what_fails_is_not(here, tmp_path, straight):
    folder = tmp_path / "run"
    here |= {0: [{"state": "lost"}] * 5, 1: [{"state": "failed", "why": "a bug"}]}
    with pytest.raises(InputError, match="group 1 failed; 1: a bug"):
        study.run(CONFIG, folder, **ASKED, workers=1)
    assert len(tables.results(folder)) == 6
    here |= {1: [{"state": "held"}]}  # by a worker that was left over, for a moment
    study.run(CONFIG, folder, **ASKED, workers=1)
    assert_same(folder, straight)


def test_a_file_system_that_keeps_locks_to_a_host_is_told(tmp_path, monkeypatch):
    with locks.lock(tmp_path) as held:
        assert task._guards(tmp_path, held.mark)
        monkeypatch.setattr("fcntl.flock", lambda *_: None)
        assert not task._guards(tmp_path, held.mark)
        assert task._guards(tmp_path, "of a driver that has ended")
    assert "does not see the locks of other hosts" in task._unguarded(tmp_path)


def _made(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder
