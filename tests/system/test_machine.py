"""The machine: prepared before any work, described, and one process of one program."""

import contextlib
import json
import math
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from outside import NETWORKS, run_of

from aevae import InputError, OutOfMemory, figures, models, objectives, training
from aevae.evaluation import evaluate
from aevae.runs import study
from aevae.runs.history import History
from aevae.system import machine

ENTRIES = {
    "study": lambda path: study.run("configs/digits.py", path / "run"),
    "fit": lambda path: training.fit("configs/digits.py"),
    "evaluate": lambda path: evaluate.run(path),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_one_process_of_several_is_refused_before_any_work(
    entry, monkeypatch, tmp_path
):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(InputError, match="process 0 of the 2 of one JAX program"):
        ENTRIES[entry](tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_machine_without_the_device_that_is_asked_for_is_one_line(
    entry, monkeypatch, tmp_path
):
    def none():
        raise RuntimeError("Unknown backend: 'gpu' requested,\nbut no platforms")

    monkeypatch.setattr(jax, "process_count", none)
    with pytest.raises(InputError, match="JAX finds no device: .* requested, but no"):
        ENTRIES[entry](tmp_path)
    assert not [*tmp_path.iterdir()]


def test_seeds_that_jax_shifts_are_refused():
    jax.config.update("jax_random_seed_offset", 5)
    try:
        with pytest.raises(InputError, match="JAX adds 5 to every seed .* leave that"):
            machine.prepare()
    finally:
        jax.config.update("jax_random_seed_offset", 0)


@contextlib.contextmanager
def settings():
    """Of a user's other work: 64-bit mode, other random numbers, strict promotion, debugging."""
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("strict"),
        jax.default_prng_impl("rbg"),
        jax.threefry_partitionable(False),
        jax.transfer_guard("disallow"),
        jax.disable_jit(),
    ):
        yield


@pytest.mark.parametrize("entry", [*ENTRIES, "figures"])
def test_settings_of_jax_that_other_work_needs_change_no_bit(
    entry, monkeypatch, tmp_path
):
    def noise(*_):
        drawn = jax.random.normal(jax.random.key(0), (5,)) + np.float32(1)
        found.append((jax.random.split(jax.random.key(1)), drawn, drawn.dtype))
        raise InputError("enough is known")

    found, entries = [], ENTRIES | {"figures": figures.draw}
    with pytest.raises(InputError):
        noise()
    for name in (
        "system.machine.prepare",
        "runs.record.read",
    ):  # the first that happens
        monkeypatch.setattr(f"aevae.{name}", noise)
    with settings(), pytest.raises(InputError, match="enough is known"):
        entries[entry](tmp_path)
    before, after = found
    assert before[0].dtype == after[0].dtype and after[2] == np.float32
    assert (before[0] == after[0]).all() and (before[1] == after[1]).all()


@pytest.mark.slow
def test_settings_of_jax_change_no_bit_of_a_trained_run(tiny):
    run = run_of(models.VAE(2, *NETWORKS), objectives.beta_vae, {"beta": 1.0}, batch=16)
    images, keys = tiny.test["image"], [jax.random.key(0), jax.random.key(0)]

    def found():
        (fitted,) = training.fit(run, tiny)
        codes = np.asarray(fitted.encode(images).mean)
        drawn = fitted.sample(keys.pop(), 3), codes, fitted.decode(codes).mean
        return fitted.params, fitted.row, dict(fitted.history), drawn

    before = found()
    with settings():
        after = found()
    jax.tree.map(np.testing.assert_array_equal, before, after)
    assert all(values.dtype == np.float32 for values in after[3])


PROGRAM = """
import sys, jax
jax.config.update("jax_num_cpu_devices", 1)
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]), initialization_timeout=60)
from aevae import InputError, training
try:
    training.fit("configs/digits.py")
except InputError as error:
    print(error)
"""


def test_two_processes_that_are_one_program():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, address, str(number)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for number, process in enumerate(started):
        said, _ = process.communicate(timeout=120)
        assert said.startswith(f"this is process {number} of the 2 of one JAX program")
        assert process.returncode == 0 and said.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("std::bad_alloc"),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Failed to allocate request"),
        jax.errors.JaxRuntimeError(  # of a CPU, when a program is begun
            "INTERNAL: Error dispatching computation: Out of memory allocating 16 bytes."
        ),
    ],
)
def test_every_lack_of_memory_is_one_line_that_says_what_to_set(error):
    says = pytest.raises(OutOfMemory, match=r"^out of memory \(.*\): buy some$")
    with says, machine.within_memory("buy some"):
        raise error


def differences(was, now):
    """What a history made by one description says under another."""
    told = {"devices": 1, "chunk": 1, "made_by": json.dumps(now)}
    known = History(3, "", 1, 1, json.dumps(was), None)
    return known.differences(told)


def test_other_xla_flags_are_said(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    was = machine.describe()
    assert differences(was, was) == ""
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_deterministic_ops=true")
    now = machine.describe()
    told = "XLA_FLAGS None is now --xla_gpu_deterministic_ops=true: results will agree"
    assert told in differences(was, now)
    assert "XLA_FLAGS --xla_gpu_deterministic_ops=true is now None" in differences(
        now, was
    )
    old = {part: was[part] for part in ("versions", "hardware")}  # of an older version
    assert told in differences(old, now) and differences(old, was) == ""


def test_an_accelerator_has_its_runtime_and_driver(monkeypatch, tmp_path):
    client = SimpleNamespace(platform_version="PJRT C API\ncuda 12090")
    device = SimpleNamespace(platform="cuda", device_kind="H100", client=client)
    monkeypatch.setattr(jax, "devices", lambda: [device])
    monkeypatch.setattr(machine, "DRIVER", str(tmp_path / "version"))
    assert "driver" not in machine.describe()["hardware"]
    (tmp_path / "version").write_text("NVRM version: 535.104.05\nGCC\n")
    found = machine.describe()["hardware"]
    assert found["runtime"] == "PJRT C API cuda 12090"
    assert found["driver"] == "NVRM version: 535.104.05"


GROUPS = {  # /proc/self/cgroup, the files of control groups, the CPUs that they allow
    "version 2": ("0::/job/step", {"job/step/cpu.max": "200000 100000"}, 2),
    "version 2, of a group above": (
        "0::/job/step",
        {"job/step/cpu.max": "max 100000", "job/cpu.max": "150000 100000"},
        1.5,
    ),
    "version 2, the tightest": (
        "0::/job/step",
        {"job/step/cpu.max": "400000 100000", "job/cpu.max": "300000 100000"},
        3,
    ),
    "version 2, in a container": ("0::/", {"cpu.max": "50000 100000"}, 0.5),
    "version 2, of a host that is not seen": (
        "0::/../../kubepods/pod",
        {"cpu.max": "200000 100000"},
        2,
    ),
    "version 1": (
        "5:memory:/a\n4:cpu,cpuacct:/docker/f00\n0::/",
        {
            "cpu,cpuacct/docker/f00/cpu.cfs_quota_us": "250000",
            "cpu,cpuacct/docker/f00/cpu.cfs_period_us": "100000",
            "memory/a/cpu.max": "100000 100000",
        },
        2.5,
    ),
    "version 1, in a container": (
        "3:cpuset:/docker/f00\n1:cpu:/docker/f00",
        {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "50000"},
        2,
    ),
    "version 1, without a limit": (
        "1:cpu:/",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        math.inf,
    ),
    "damaged": ("0::/a", {"a/cpu.max": "", "cpu.max": "x y z"}, math.inf),
    "of no known form": ("0::\nx\n\n1:cpu", {"cpu.max": "300000 100000"}, 3),
    "none": (None, {"cpu.max": "100000 100000"}, math.inf),
}


@pytest.mark.parametrize("groups", GROUPS)
def test_the_quota_of_control_groups(groups, tmp_path):
    listed, texts, allowed = GROUPS[groups]
    texts = {f"sys/fs/cgroup/{name}": text for name, text in texts.items()}
    texts |= {} if listed is None else {"proc/self/cgroup": listed}
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert machine._quota(tmp_path) == allowed


@pytest.mark.parametrize(
    ("quota", "cores"), [(2, 2), (1.5, 2), (0.1, 1), (64, 8), (math.inf, 8)]
)
def test_cores_are_those_that_the_quota_allows_and_at_least_one(
    quota, cores, monkeypatch
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    monkeypatch.setattr(machine, "_quota", lambda: quota)
    monkeypatch.setenv("NPROC", "")
    monkeypatch.delenv("NPROC")
    assert machine.cores() == cores == machine.describe()["hardware"]["cores"]
    machine.prepare()
    assert os.environ.get("NPROC") == (
        None if quota == math.inf else str(max(cores, 2))
    )
    monkeypatch.delattr(os, "sched_getaffinity")  # not Linux
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cores() == 1
