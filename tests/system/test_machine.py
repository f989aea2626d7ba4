"""What is said of the machine, and of going on on another."""

import json
from types import SimpleNamespace

import jax

from aevae.runs.history import History
from aevae.system import machine


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
