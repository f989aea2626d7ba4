"""One group of a declared run folder, trained by a process of its own: an idempotent task.

Any scheduler can run it, any number of times: it goes on from the group's own checkpoint, under a lock
of its own, and writes the group's own files alone. Tables are made by who declared the folder.
"""

import os
from pathlib import Path

from aevae import InputError, Interrupted, OutOfMemory, WriteError, data
from aevae.runs import code as codes
from aevae.runs import history, initial, record
from aevae.runs.place import Place
from aevae.runs.progress import Progress, say
from aevae.runs.study import LACK, check_how
from aevae.runs.train import INTERVAL, How, Task, train
from aevae.system import locks, machine
from aevae.system.signals import Signals
from aevae.training.check import check_run

WAIT = 150.0  # seconds: longer than an engine takes a silent worker for alive


@machine.standard()
def run(
    workdir,
    number,
    *,
    data_dir=None,
    interval=INTERVAL,
    memory=None,
    wait=WAIT,
    images=0,
):
    """Trains a group of a declared folder from where it is to its end; its `History`.

    A group that is finished is left alone. What goes wrong is kept in the folder, and shown by
    `status`: a fault of the input or of the code, and a group whose processes were lost three times
    without any progress between.

    Args:
      workdir: a run folder, as `study.declare` or `study.run` has written it.
      number: of the group, from 0.
      data_dir, interval, memory, images: as in `study.run`.
      wait: seconds to wait for another process that has the group, before it is an error.
    Raises:
      InputError: whatever is wrong with the folder, the group or its data, before any training.
      WriteError: the disk is full, or this host was cut off and another process has the group.
      OutOfMemory: the memory of a device or of the host is too small.
      Interrupted: a signal, after a checkpoint.
    """
    machine.prepare()
    how = How(None, interval, memory, images=images)
    check_how(how)
    group = history.Group(number, *record.group(workdir, number))
    workdir = Path(workdir)
    locks.check_place(workdir)
    place = Place(workdir, number)
    if place.is_finished(group, known := place.history()):
        say(f"{place.name} is finished: nothing to do")
        return known
    with place.taken(wait):
        if place.is_finished(group, known := place.history()):  # while it waited
            return known
        try:
            place.begin_attempt()
        except InputError as error:
            place.fail(error)
            raise
        try:
            with machine.within_memory(LACK):
                found = _train(place, group, how, data_dir)
        except Interrupted:  # which counts as a loss if nothing was saved
            raise
        except Exception as error:
            place.end_attempt()
            if not isinstance(error, WriteError):
                ours = isinstance(error, (InputError, OutOfMemory))
                place.fail(error if ours else f"{type(error).__name__}: {error}")
            raise
        place.end_attempt()
        return found


def _train(place, group, how, data_dir):
    workdir, declared = place.workdir, record.read(place.workdir)
    _check_code(declared, group, workdir)
    first = record.here(declared, group.runs[0])
    try:
        dataset = data.of(first, data_dir)
    except InputError as error:
        where = "; a relative path counts from where the sweep was declared"
        relative = not os.path.isabs(first.dataset)
        told = relative and str(error).startswith("cannot read")
        raise InputError(f"{error}{where * told}") from None
    record.check_data(workdir, dataset)
    start = initial.again(declared.get("init_from"))
    layout = record.layout(declared, group)
    task = Task(group, dataset, check_run(group.runs[0], dataset), *layout)
    if start and place.history() is None:
        initial.check(start, task)
    how = how._replace(start=start)
    signals = Signals(f"the same command for group {group.number}")
    progress = Progress([task], [group], len(declared["groups"]))
    try:
        with signals:
            progress.begin(task)
            snapshots = train(task, place, how, signals)
            known, begun, _ = next(snapshots)
            progress.resume(begun)
            for known, snapshot, _ in snapshots:
                progress.show(snapshot)
    finally:
        progress.close()
    return known


def _check_code(declared, group, workdir):
    """Raises InputError where the code here is not that with which the folder was declared."""
    last = declared["sweeps"][-1]
    if last["file"] is None:
        raise InputError(
            f"{workdir} was declared by a Config, which no other process has: declare it by a file"
        )
    source = record.source(workdir, last)
    known = codes.Code(**declared["code"])
    try:
        known.join(codes.of(group.runs, source))
    except InputError as error:
        raise InputError(
            f"the code here is not that of {workdir}: {error} (--code is of the sweep's command, or of "
            "--declare)"
        ) from None
