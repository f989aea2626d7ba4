"""The machine: prepared before any work, described, and one process of one program."""

import json
import math
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import jax
import pytest

from aevae import InputError, training
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
    assert os.environ.get("NPROC") == (None if quota == math.inf else str(cores))
    monkeypatch.delattr(os, "sched_getaffinity")  # not Linux
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cores() == 1
