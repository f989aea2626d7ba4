"""Signals that ask to leave, as schedulers and terminals send them."""

import os
import signal
import time

import pytest

from aevae.system.signals import Signals

ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
ASKING += (signal.SIGHUP, signal.SIGXCPU)


def send(number, signals):
    """Sends a signal to this process, and waits until it is noted, for a second at most."""
    os.kill(os.getpid(), number)
    end = time.monotonic() + 1
    while signals.caught is None and time.monotonic() < end:
        time.sleep(0.001)


@pytest.fixture
def handlers():
    """The handlers of a process as it starts, whoever runs the tests."""
    before = {number: signal.getsignal(number) for number in ASKING}
    for number in ASKING[2:]:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ASKING)
def test_each_is_noted_and_the_handlers_are_then_as_before(number, handlers):
    before = signal.getsignal(number)
    with Signals() as signals:
        send(number, signals)
    assert signals.caught == number and signals.caught.name == number.name
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("again", ASKING[2:])
def test_what_schedulers_and_terminals_repeat_does_not_end_the_process(again, handlers):
    """SIGHUP comes from the shell and from the kernel, SIGXCPU each second."""
    with Signals() as signals:
        send(signal.SIGUSR1, signals)
        for _ in range(3):
            os.kill(os.getpid(), again)
            time.sleep(0.01)
    assert signals.caught == signal.SIGUSR1


def test_a_request_that_comes_twice_at_once_is_one(handlers):
    """SLURM sends SIGTERM two times within milliseconds as a job's time ends."""
    with Signals() as signals:
        send(signal.SIGTERM, signals)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
    assert signals.caught == signal.SIGTERM


def test_what_nohup_ignores_stays_ignored(handlers):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(0.05)
        assert signals.caught is None
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_handler_of_the_users_own_stays(handlers):
    """As submitit has one, to submit the job again."""
    came = []
    signal.signal(signal.SIGUSR1, lambda number, _: came.append(number))
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.05)
        assert signals.caught is None and came == [signal.SIGUSR1]
