"""Workers that are killed, stopped and cut off, through Parsl and without: not a bit is lost."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from test_workers import CONFIG, assert_same, assert_same_params

from aevae.runs import status, study
from aevae.system import locks

LONG = {"epochs": 500, "encoder.widths": (16,), "decoder.widths": (16,)}
WIDE = {"latent": (2, 3, 4, 5), "beta": (0.5, 1.0)}
NO_GUARD = """
import fcntl, sys
fcntl.flock = lambda *_: None  # as on a file system that keeps locks to one host, or none
sys.argv[0] = "sweep"
from experiments import command, sweep
command.run(sweep.define, sweep.main)
"""


def asked(folder, epochs=LONG["epochs"], grid=WIDE):
    values = LONG | {"epochs": epochs}
    arguments = [f"--config.{name}={value}" for name, value in values.items()]
    arguments += [f"--sweep={k}={','.join(map(str, v))}" for k, v in grid.items()]
    return [*arguments, f"--workdir={folder}", "--checkpoint_seconds=0"]


@contextlib.contextmanager
def driver(arguments, told=subprocess.DEVNULL, workers="2"):
    """A driver of two workers, which is killed at the end of the block if it still runs."""
    command = [sys.executable, "-m", "experiments.sweep", *arguments]
    command += [f"--workers={workers}"]
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=nowhere, stderr=told, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def holder(folder, number):
    """The process that trains a group, and the group's newest checkpoint; None where it has none."""
    path = folder / "checkpoints" / f"{number:04d}"
    with contextlib.suppress(OSError):
        held = locks.holder(path)
        saved = [p.name for p in path.glob("[1-9]*-[0-9]*") if p.suffix == ""]
        if held and saved:
            return int(held[0].split()[1]), max(
                saved, key=lambda s: [*map(int, s.split("-"))]
            )
    return None


def _holders(folder, lost):
    """Yields the processes that train a group and have a checkpoint of it, but for those that are lost."""
    held = (holder(folder, number) for number in range(4))
    yield from (h[0] for h in held if h and h[0] not in lost)


def wait_for(found, seconds=200):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError(f"nothing after {seconds} s")


@pytest.mark.bits
def test_a_killed_a_stopped_worker_and_a_killed_driver_lose_no_bit(tmp_path):
    """Four groups by two workers, of a core each; against one process of all cores.

    The second driver takes its workers from a file.
    """
    arguments = asked(tmp_path / "run")
    with driver(arguments) as first:
        lost = set()
        for sent in (signal.SIGKILL, signal.SIGTERM, 0):
            process = wait_for(lambda: next(_holders(tmp_path / "run", lost), None))
            os.kill(process, sent)
            lost.add(process)
        first.kill()
    with driver(arguments, subprocess.PIPE, "experiments/workers/local.py") as again:
        told = again.communicate(timeout=300)[1]
    assert again.returncode == 0, told
    assert "groups 4 of 4" in told
    study.run(CONFIG, tmp_path / "alone", overrides=LONG, grid=WIDE)
    assert_same(tmp_path / "run", tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.bits
def test_twenty_random_kills_lose_nothing(tmp_path):
    """Over two workers and the driver, in a sweep of 12 groups."""
    seed = int(os.environ.get("AEVAE_SEED", time.time()))
    print(f"AEVAE_SEED={seed}")
    dice, grid = random.Random(seed), {"latent": range(2, 14), "beta": (0.5, 1.0)}
    folder, seen, kills = tmp_path / "run", {}, 0
    arguments = asked(folder, 2000, grid)
    while kills < 20:
        with driver(arguments) as process:
            while kills < 20 and process.poll() is None:
                time.sleep(dice.uniform(0.5, 3))
                if dice.random() < 0.2:
                    kills += 1
                    print("driver", flush=True)
                    break
                held = {n: holder(folder, n) for n in range(12)}
                # One that has come further since it was last killed.
                moved = [n for n, h in held.items() if h and seen.get(n) != h[1]]
                if moved:
                    number = dice.choice(moved)
                    what = dice.choice((signal.SIGKILL, signal.SIGTERM))
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(held[number][0], what)
                        kills += 1
                        seen[number] = held[number][1]
                        print(number, *held[number], what.name, flush=True)
            else:
                assert process.poll() in (None, 0)
                if process.poll() == 0:
                    break
    with driver(arguments, subprocess.PIPE) as last:
        told = last.communicate(timeout=900)[1]
    assert last.returncode == 0, told
    print(f"{kills} kills")
    overrides = LONG | {"epochs": 2000}
    study.run(CONFIG, tmp_path / "alone", overrides=overrides, grid=grid)
    assert_same(folder, tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.bits
def test_of_two_hosts_without_locks_the_first_stops(tmp_path):
    """The second takes the group; the first is told so at its next checkpoint, and writes nothing."""
    folder, grid = tmp_path / "run", {"latent": (2,), "beta": (0.5, 1.0)}
    overrides = LONG | {"epochs": 3000}
    study.declare(CONFIG, folder, overrides=overrides, grid=grid)
    one = [sys.executable, "-c", NO_GUARD, f"--workdir={folder}", "--group=0"]
    one += ["--checkpoint_seconds=0"]
    with subprocess.Popen(one, stderr=subprocess.PIPE, text=True) as first:
        place = folder / "checkpoints" / "0000"
        wait_for(lambda: [*place.glob("[1-9]*-[0-9]*")])
        with subprocess.Popen(one, stderr=subprocess.PIPE, text=True) as second:
            told = first.communicate(timeout=100)[1]
            assert first.returncode == 1
            assert f"belongs to process {second.pid} on" in told.splitlines()[-1]
            told = second.communicate(timeout=300)[1]
            assert second.returncode == 0, told
    assert "1 finished" in status.told(folder)
    study.run(CONFIG, tmp_path / "alone", overrides=overrides, grid=grid)
    assert_same_params(folder, tmp_path / "alone")


CUT = """
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.launchers import WrappedLauncher
from parsl.providers import LocalProvider

workers = HighThroughputExecutor(
    label="two", address="{address}", max_workers_per_node=1, cores_per_worker=1,
    heartbeat_period=2, heartbeat_threshold=10,
    provider=LocalProvider(
        init_blocks=2, min_blocks=2, max_blocks=2, launcher=WrappedLauncher("{script}")
    ),
)
config = Config(executors=[workers])
"""


@pytest.fixture
def other_host(tmp_path):
    """A network namespace: (its name, the address of this one, the name of the line between them)."""
    name = f"aevae{os.getpid()}"
    line, address = f"ae{os.getpid()}", "10.213.7"
    commands = [
        f"netns add {name}",
        f"link add {line} type veth peer name eth0 netns {name}",
        f"addr add {address}.1/24 dev {line}",
        f"link set {line} up",
        f"-n {name} addr add {address}.2/24 dev eth0",
        f"-n {name} link set eth0 up",
        f"-n {name} link set lo up",
    ]
    try:
        for text in commands:
            subprocess.run(["ip", *text.split()], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        pytest.skip(f"no network namespaces here: {error}")
    yield name, f"{address}.1", line
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.mark.slow
@pytest.mark.bits
def test_a_worker_that_is_cut_off_ends_and_its_group_goes_to_another(
    tmp_path, other_host
):
    """Two workers, one in a network of its own, whose line to the driver is cut in mid-training."""
    name, address, line = other_host
    folder, script = tmp_path / "run", tmp_path / "launch.sh"
    script.write_text(  # of two blocks, the second goes there, and so do those that follow
        f'#!/bin/sh\nmkdir {tmp_path}/first 2>/dev/null && exec "$@"\n'
        f'exec ip netns exec {name} "$@"\n'
    )
    script.chmod(0o755)
    (tmp_path / "two.py").write_text(CUT.format(address=address, script=script))
    arguments = asked(folder, 3000) + [f"--workers={tmp_path / 'two.py'}"]

    def there():
        held = [holder(folder, n) for n in range(4)]
        inside = subprocess.run(
            ["ip", "netns", "pids", name], check=False, capture_output=True
        )
        return {h[0] for h in held if h} & {*map(int, inside.stdout.split())}

    command = [sys.executable, "-m", "experiments.sweep", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        (cut,) = wait_for(there)
        subprocess.run(["ip", "link", "set", line, "down"], check=True)
        began = time.monotonic()
        wait_for(lambda: not os.path.exists(f"/proc/{cut}"), 60)
        print(f"the worker ended {time.monotonic() - began:.1f} s after the cut")
        told = process.communicate(timeout=600)[1]
    assert process.returncode == 0, told
    overrides = LONG | {"epochs": 3000}
    study.run(CONFIG, tmp_path / "alone", overrides=overrides, grid=WIDE)
    assert_same(folder, tmp_path / "alone")
