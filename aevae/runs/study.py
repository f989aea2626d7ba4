"""A study: the runs of a grid, trained group by group into a run folder."""

import functools
import math
import time
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

from aevae import InputError, Interrupted, config, data
from aevae.runs import initial, tables
from aevae.runs.folder import Folder
from aevae.runs.progress import Progress, say
from aevae.system import machine
from aevae.system.signals import Signals
from aevae.training import feed
from aevae.training.check import check_run
from aevae.training.layout import check_chunk
from aevae.training.loop import snapshots
from aevae.training.population import populate

INTERVAL = 60.0  # seconds between the checkpoints of a group


class Task(NamedTuple):
    """A group that is to be trained, and what is known of it before."""

    group: Any  # history.Group
    dataset: data.DataSet
    checked: tuple  # what `check_run` gives of the first run


class Outcome(NamedTuple):
    """What `run` returns: the rows of results.csv, and how many groups the call trained."""

    rows: list[dict]
    groups: int


@machine.standard()
@machine.within_memory(
    "what was saved is sound; train fewer runs at a time (--chunk), keep less data on the devices "
    "(--data_gb), or take a smaller batch or split"
)
def run(
    base,
    workdir,
    *,
    overrides=None,
    grid=None,
    dataset=None,
    data_dir=None,
    chunk=None,
    interval=INTERVAL,
    fresh=False,
    memory=None,
    code=None,
    init_from=None,
):
    """Trains every run of a grid into the folder `workdir`, or resumes it; an `Outcome`.

    The same call again resumes where it stopped, and ends with the same bits as if it never had
    stopped. More epochs continue the runs, new points of the grid are new runs, and data under
    another name are the same data where their sha256 is; any other difference from what the folder
    holds is an error.

    Args:
      base: the path of a config file, or a Config.
      workdir: a run folder, or a folder that does not exist yet or is empty.
      overrides: {name: value or text} in place of the config's values.
      grid: {name: values}, or a list of such, in place of the config's grid.
      dataset: in place of the set that the config names, another name, a `data.DataSet`, or
        arrays as `data.load` takes them.
      data_dir: where TFDS has prepared the data sets.
      chunk: how many runs a device trains at a time; by default as many as a group began with, or
        else as `populate` decides.
      interval: seconds between checkpoints. A signal that ends the process makes one, too.
      fresh: start over; a run folder that is there is renamed.
      code: "accept" goes on where the package's code, or that of the user's modules, is not what the
        folder was trained with; config.json records it. A method's own code may not change.
      memory: bytes of each device's memory that data may take, by default half of it. Training data
        that do not fit are fed window by window; no bit depends on it.
      init_from: FOLDER, FOLDER:3, FOLDER:latent=8,seed=0 or a `Trained`: every run starts from this
        trained run's parameters, with a new optimizer state and at step 0 of its schedule. The
        folder records it. Which of a folder's runs may be left out where only one fits.
    Raises:
      InputError: whatever is wrong with the input, before any training.
      WriteError: the disk is full or cannot be written. What was saved is sound.
      OutOfMemory: the memory of a device or of the host is too small. What was saved is sound.
      Interrupted: SIGTERM, Ctrl-C or another of `system.signals`, after a checkpoint.
    """
    machine.prepare()
    if not isinstance(workdir, (str, Path)) or not str(workdir):
        raise InputError(
            f"workdir must be the path of a run folder, not {config.shown(workdir)}: "
            "training.fit trains without a folder"
        )
    config.check_overrides(overrides)
    if dataset is not None:
        if "dataset" in (overrides or {}):
            raise InputError(
                "dataset is given, and in the overrides as well: leave one out"
            )
        overrides = (overrides or {}) | {"dataset": data.name_of(dataset)}
    check_chunk(chunk)
    if memory is not None and not (isinstance(memory, Real) and memory > 0):
        raise InputError(
            f"memory for data must be above 0 bytes, not {config.shown(memory)}"
        )
    if not (isinstance(interval, Real) and 0 <= interval < math.inf):
        raise InputError(
            f"interval must be 0 seconds or more, not {config.shown(interval)}"
        )
    if code not in (None, "accept"):
        raise InputError(f'code must be "accept" or left out, not {config.shown(code)}')
    source = part = None
    if not isinstance(base, config.Config):
        file, part = config.split(base)
        base, source = config.load(base), config.sources.of(file)
    with Folder(workdir, fresh) as folder:
        known = {}
        load = functools.partial(
            data.of, data_dir=data_dir, dataset=dataset, known=known
        )
        asked = functools.partial(config.settle, base, overrides, grid)
        start = initial.find(init_from, folder, asked, load)
        folder.join(base, (source, part), overrides, grid, load, code, start)
        tasks = _tasks(folder, dataset, load, memory)
        new = [t for t in tasks if t.group.number not in folder.histories]
        for task in new if start else ():
            initial.check(start, task)
        if start and new:
            say(f"{workdir}: runs start from {start.name}")
        for line in dict.fromkeys(line for t in tasks for line in t.checked.warnings):
            say(line)
        if tasks:
            for line in config.doubts([r for t in tasks for r in t.group.runs]):
                say(line)
            metrics, held = ([n for t in tasks for n in t.checked[i]] for i in (1, 2))
            folder.claim(metrics, held, [task.dataset for task in tasks])
            again = f"the same command{' without fresh (--fresh)' if fresh else ''}"
            how = chunk, interval, memory
            _train_all(tasks, folder, how, Signals(again))
        else:
            folder.end(code)
            say(f"{workdir} is finished: nothing to do")
        return Outcome(tables.results(workdir), len(tasks))


def _tasks(folder, dataset, load, memory):
    """Loads the data and traces a step of each unfinished group, so that faults show before training."""
    tasks, said = [], set()
    data.check_given(dataset, [group.runs[0] for group in folder.groups])
    for group in folder.groups:
        # Data at hand are compared with what a group was trained on even if it is finished.
        finished = folder.finished(group)
        if finished and (dataset is None or data.is_name(dataset)):
            continue
        first = group.runs[0]
        try:
            stored = load(folder.here(first))
        except InputError as error:
            if folder.histories and str(error).startswith("cannot read"):
                way = "if the file moved, --config.dataset names its new place"
                raise InputError(f"{error}; {way}") from None
            raise
        folder.check_data(group, stored)
        if finished:
            continue
        for line in stored.notes:
            if line not in said:
                say(line)
        said.update(stored.notes)
        checked = check_run(first, stored)
        held = (stored.validation, stored.test)
        taken = sum(data.held_bytes(first.binarization, split) for split in held)
        seeds = len({run.seed for run in group.runs})
        feed.window(stored.train, first.batch, seeds, taken, memory)
        tasks.append(Task(group, stored, checked))
    return tasks


def _train_all(tasks, folder, how, signals):
    progress = Progress(tasks, folder)
    try:
        with signals:
            for task in tasks:
                _train(task, folder, *how, progress, signals)
                if signals.caught:
                    text = f"{folder.path} is saved; {signals.again} resumes there"
                    raise Interrupted(text, signals.caught)
    finally:
        progress.close()


def _train(task, folder, chunk, interval, memory, progress, signals):
    group = task.group
    progress.begin(task)
    began = time.perf_counter()
    known = folder.histories.get(group.number)
    if chunk is None and known:  # a group stays as it was laid out, on whatever devices
        chunk = known.chunk
    how = {"chunk": chunk, "memory": memory, "checked": task.checked}
    population = populate(group.runs, task.dataset, **how)
    if not population.feed.resident:
        say(
            f"group {group.number + 1}: its training data do not fit on the devices; they come "
            f"in windows of {population.feed.length} of {population.steps} steps"
        )
    start, known = folder.begin(group, population, task.dataset)
    known.density = {True: "yes", False: "no"}.get(task.checked.density, "")
    progress.resume(start)
    saved = time.perf_counter()
    for snapshot in snapshots(population, start):
        now = time.perf_counter()
        known.seconds, began = known.seconds + now - began, now
        if count := known.add(snapshot):
            folder.reports.add_epochs(group, count)
        progress.show(snapshot)
        if snapshot.results:
            with signals.saving:
                folder.finish(group, population, snapshot, known)
        elif signals.caught or now - saved >= interval:
            with signals.saving:
                folder.save(group, population, snapshot, known)
            saved = time.perf_counter()
            if signals.caught:
                at = f"group {group.number + 1}, epoch {snapshot.epoch}, step {snapshot.step}"
                text = f"{folder.path} is saved at {at}; {signals.again} resumes there"
                raise Interrupted(text, signals.caught)
