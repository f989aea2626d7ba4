"""Progress: no estimate before anything compiled has run, and rates of this call alone."""

import errno
import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from aevae.runs import progress
from aevae.training.loop import Snapshot


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(at=0.0)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now.at)
    return now


def started(epochs=4):
    run = SimpleNamespace(epochs=epochs, batch=10)
    group = SimpleNamespace(runs=[run, run], number=0, names=[{"run": 0}, {"run": 1}])
    dataset = SimpleNamespace(train={"image": np.zeros(105)})
    task = SimpleNamespace(group=group, dataset=dataset)
    shown = progress.Progress([task], [group])
    shown.begin(task)
    return shown


def test_no_estimate_before_a_step_has_run(clock, capsys):
    shown = started()
    assert capsys.readouterr().err == "group 0 of 1: compiling\n"
    shown.resume(Snapshot(0, 0, None, None))
    clock.at = 20.0
    shown.show(Snapshot(1, 0, None, None))
    line = "epoch 1/4, ELBO -, 10 images/s, 60 s left\n"
    assert capsys.readouterr().err.endswith(line)


def test_a_resume_counts_what_this_call_trained(clock, capsys):
    shown = started()
    shown.resume(Snapshot(2, 5, None, None))  # 500 of 800 images
    clock.at = 15.0
    shown.show(Snapshot(2, 5, None, None))
    assert capsys.readouterr().err.endswith("epoch 2/4, ELBO -\n")
    clock.at = 30.0
    shown.show(Snapshot(3, 5, None, None))
    line = "epoch 3/4, ELBO -, 7 images/s, 15 s left\n"
    assert capsys.readouterr().err.endswith(line)


def test_a_terminal_that_was_closed_does_not_end_the_training(monkeypatch):
    class Closed(io.StringIO):
        def write(self, _):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sys, "stderr", Closed())
    progress.say("group 0 of 1: epoch 3/10")
