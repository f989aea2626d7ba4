"""Groups as tasks of Parsl, on this machine or on those of a scheduler; tables as groups end.

Parsl starts the workers and tells which were lost; a group that was lost is given to another worker,
which goes on from its checkpoint. See https://parsl.readthedocs.io.
"""

import contextlib
import importlib.util
import logging
import os
import queue
import sys
import time
import warnings
from pathlib import Path

from aevae import InputError, Interrupted, WriteError
from aevae.runs import task, worker
from aevae.runs.place import Place
from aevae.runs.progress import Following, say
from aevae.system import machine

NEEDS = "workers need Parsl: pip install 'aevae[cluster]'"
LATE = 100.0  # seconds in which a shared file system shows what another host wrote
NAMED = 20  # groups that have failed, in one line
SHARE = 20  # of the time goes into writing tables, at most one part
FORK = r"os\.fork\(\) was called"  # by a process of several threads, as JAX's is
# Becomes another program, which no Ctrl-C reaches, and which is told to end when this process dies, as
# Linux can.
BECOME = (
    "import ctypes, os, signal, sys; call = getattr(ctypes.CDLL(None), 'prctl', None); os.setsid(); "
    "call and call(1, signal.SIGTERM); os.execvp(sys.argv[1], sys.argv[1:])"
)
MORTAL = sys.executable, "-c", BECOME
LOG = "workers"  # Parsl's own logs, in the run folder


def load(workers, folder):
    """Parsl's config of `workers` for a run folder.

    Args:
      workers: how many processes of this machine, or the path of a file whose `config` is a
        `parsl.config.Config`, or a function of the run folder's path that returns one.
      folder: the path of the run folder.
    Raises:
      InputError: it is neither, or Parsl is not installed.
    """
    if importlib.util.find_spec("parsl") is None:
        raise InputError(NEEDS)
    text = str(workers)
    if text.isascii() and text.isdigit():
        if not int(text):
            raise InputError("workers must be at least 1, not 0")
        return _local(int(text))
    path = Path(text)
    if not (path.suffix == ".py" and path.is_file()):
        raise InputError(
            f"workers must be a number of processes, or a Python file with Parsl's `config`, not {text!r}"
        )
    spec = importlib.util.spec_from_file_location("aevae_workers", path)
    module = importlib.util.module_from_spec(spec)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=FORK)  # a provider asks sacct
            spec.loader.exec_module(module)
            found = module.config
            found = found(Path(folder).absolute()) if callable(found) else found
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{path} fails with {reason}") from error
    from parsl.config import Config

    if not isinstance(found, Config):
        raise InputError(
            f"`config` of {path} must be a parsl.config.Config, not {type(found).__name__}"
        )
    return found


def _local(count):
    """Processes of this machine, each with its share of the cores, or with a GPU of its own."""
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.jobs.error_handlers import windowed_error_handler
    from parsl.providers import LocalProvider

    gpus, cores = machine.accelerators(), machine.cores()
    if gpus and count > len(gpus):
        raise InputError(
            f"{count} workers, and this machine has {len(gpus)} GPUs, one for each"
        )
    if not gpus and count > cores:
        raise InputError(
            f"{count} workers, and this process may use {cores} cores: at most one for each"
        )
    share = {"available_accelerators": gpus[:count]} if gpus else {}
    return Config(
        executors=[
            HighThroughputExecutor(
                label="local",
                address="127.0.0.1",
                max_workers_per_node=count,
                cores_per_worker=cores / count,
                cpu_affinity="block",
                heartbeat_period=5,
                heartbeat_threshold=30,
                provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
                block_error_handler=windowed_error_handler,  # three in a row are too many
                **share,
            )
        ]
    )


def train(folder, tasks, how, options, signals, engine):
    """Has workers train groups, and makes the tables of their folder as they end.

    Args:
      folder: a `Folder` that is claimed.
      tasks: a `train.Task` for each group.
      how: a `train.How`.
      options: what else `worker.run` is given.
      signals, engine: as in `follow`, which says what is raised.
    """
    groups = {t.group.number: t for t in tasks}
    given = options | {"interval": how.interval, "memory": how.memory}
    given |= {"images": how.images}
    progress, tables = Following(tasks, folder), Amortized(folder.reports.write)

    def end(number, finished):
        done = finished and folder.look(groups[number].group)
        if done:
            tables.ask()
            progress.end(groups[number])
        return done

    calls = dict.fromkeys(groups, given)
    mine = folder.path, folder.mark
    try:
        follow(*mine, worker.run, calls, end, progress.show, signals, engine)
    finally:
        tables.now()
        progress.close()


def follow(path, mark, work, calls, end, show, signals, engine):
    """Has workers do the same work on groups of a run folder, each as a task of its own.

    A group that a process of another kind holds, such as a scheduler's task or a worker whose driver
    died, is waited for. What a lost worker had is given to another.

    Args:
      path: the run folder.
      mark: that of the lock of it which this process holds.
      work: an importable function of the folder, a group's number and options, which can be done
        again and again: see `task.run`.
      calls: {number of a group: its options}.
      end: (number, whether the task came to its end) -> whether the group is done, as its files say.
      show: (numbers that are left, a function that says how many workers there are, how many groups
        have failed): shows progress.
      signals: a `Signals`.
      engine: what `load` gave.
    Raises:
      InputError: groups have failed, by name; the others are done. It is a WriteError where none
        could write.
      Interrupted: a signal. The workers were told to save.
    """
    path = Path(path).resolve()
    left, failed, said, ended = dict(calls), {}, set(), queue.SimpleQueue()
    unwritten, held = set(), set()
    late = {}  # groups whose files this host does not see yet, until when
    given = work, str(path), task.here(), mark

    def close(number, why=None):
        del left[number]
        if why:
            failed[number] = why
            say(f"group {number} failed: {why}")

    # Without signals to wait for, the engine may take its time to end.
    with _engine(engine, path) as (submit, workers), signals:
        for number, options in calls.items():
            if Place(path, number).is_taken():
                held.add(number)
            else:
                submit(given, number, options, ended)
        while left and not signals.caught:
            for number, outcome in _now(ended):
                for line in outcome.get("notes", ()):
                    if line not in said:
                        say(line)
                    said.add(line)
                if outcome["state"] == "lost":
                    submit(given, number, calls[number], ended)
                elif outcome["state"] == "held":
                    held.add(number)
                elif outcome["state"] == "finished":
                    late[number] = time.monotonic() + LATE
                else:
                    unwritten |= {number} if outcome.get("unwritten") else set()
                    end(number, False)
                    close(number, outcome["why"])
            for number, until in [*late.items()]:
                if end(number, True):
                    close(number)
                elif time.monotonic() > until:
                    close(number, f"{path} does not show what its worker has done")
                else:
                    continue
                del late[number]
            for number in [*held]:
                if not Place(path, number).is_taken():
                    held.remove(number)
                    submit(given, number, calls[number], ended)
            show(left, workers, len(failed))
    if signals.caught:
        raise Interrupted(
            f"{path}: the workers were told to save; {signals.again} resumes there",
            signals.caught,
        )
    if failed:
        first = next(iter(failed))
        which = ", ".join(map(str, sorted(failed)[:NAMED]))
        which += f" and {len(failed) - NAMED} more" * (len(failed) > NAMED)
        raise (WriteError if unwritten == {*failed} else InputError)(
            f"{path}: group{'s'[: len(failed) > 1]} {which} failed; {first}: {failed[first]}"
        )


class Amortized:
    """A function that is called now and then, and takes a small part of the time."""

    def __init__(self, f):
        self._f, self._due, self._next = f, False, 0.0

    def ask(self):
        """Calls it, or remembers to do so."""
        self._due = True
        if time.monotonic() >= self._next:
            self.now()

    def now(self):
        """Calls it if it was asked for."""
        if self._due:
            began = time.monotonic()
            self._f()
            self._due, ended = False, time.monotonic()
            self._next = ended + SHARE * (ended - began)


def _now(ended):
    """Yields what has ended, after up to a second's wait for the first."""
    with contextlib.suppress(queue.Empty):
        yield ended.get(timeout=1)
        while True:
            yield ended.get_nowait()


@contextlib.contextmanager
def _engine(made, path):
    """Parsl while the block runs: (submit(given, number, options, ended), workers() -> how many are there)."""
    import parsl

    made.run_dir, made.usage_tracking = str(path / LOG), 0
    made.retries, made.initialize_logging = 0, False
    logging.getLogger("parsl").setLevel(logging.CRITICAL)
    # Its scripts are beside this Python, and it starts them by fork and exec at once.
    os.environ["PATH"] = (
        f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    warnings.filterwarnings("ignore", message=FORK)
    executors = [e for e in made.executors if hasattr(e, "interchange_launch_cmd")]
    # With a driver that was killed it must end, or workers would be idle, and paid for, for ever.
    for own in executors:
        own.interchange_launch_cmd = [*MORTAL, *own.interchange_launch_cmd]
    kernel = parsl.DataFlowKernel(made)
    app = parsl.python_app(task.run, data_flow_kernel=kernel)

    def submit(given, number, options, ended):
        future = app(*given, options, number)
        future.add_done_callback(lambda done: ended.put((number, _outcome(done))))

    def workers():
        if any(own.interchange_proc.poll() is not None for own in executors):
            raise InputError(
                f"Parsl's interchange has ended, and with it the workers: see {path / LOG}; the same "
                "command goes on"
            )
        managers = [m for own in executors for m in own.connected_managers()]
        return sum(manager["worker_count"] for manager in managers)

    try:
        yield submit, workers
    finally:
        kernel.cleanup()


def _outcome(done):
    """What a task returned; "lost" where the worker was, with the engine's reason for any other fault."""
    from parsl.executors.errors import BadStateException

    error = done.exception()
    if error is None:
        return done.result()
    if type(error).__name__ in ("WorkerLost", "ManagerLost"):
        return {"state": "lost"}
    why = "the engine gives up: " if isinstance(error, BadStateException) else ""
    text = " ".join(f"{why}{type(error).__name__}: {error}".split())
    return {"state": "failed", "why": text}
