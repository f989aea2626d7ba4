"""A study: the runs of a grid, trained group by group into a run folder."""

import collections
import contextlib
import functools
import math
import time
from numbers import Real
from pathlib import Path
from typing import NamedTuple

from aevae import InputError, Interrupted, config, data
from aevae.runs import initial, pictures, record, tables
from aevae.runs.folder import Folder
from aevae.runs.progress import Progress, say
from aevae.runs.train import INTERVAL, How, Task, train
from aevae.system import locks, machine
from aevae.system.signals import Signals
from aevae.training import feed
from aevae.training.check import check_run
from aevae.training.layout import check_chunk

LACK = (
    "what was saved is sound; train fewer runs at a time (--chunk), keep less data on the devices "
    "(--data_gb), or take a smaller batch or split"
)


class Outcome(NamedTuple):
    """What `run` returns: the rows of results.csv, and how many groups the call trained."""

    rows: list[dict]
    groups: int


@machine.standard()
@machine.within_memory(LACK)
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
    split=None,
    workers=None,
    images=0,
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
      split: new groups of more runs are divided into groups of so many, which train apart.
      workers: how many processes of this machine train groups side by side, or the path of a
        file whose `config` is Parsl's, of machines that see the folder: see `runs.engine`.
      images: of how many of the folder's runs, spread over them, TensorBoard has pictures while they
        train: reconstructions, and samples. No bit of a run depends on it.
    Raises:
      InputError: whatever is wrong with the input, before any training.
      WriteError: the disk is full or cannot be written. What was saved is sound.
      OutOfMemory: the memory of a device or of the host is too small. What was saved is sound.
      Interrupted: SIGTERM, Ctrl-C or another of `system.signals`, after a checkpoint.
    """
    if workers is not None:
        from aevae.runs import engine

        made = engine.load(workers, workdir)  # before any work
    how = How(chunk, interval, memory, images=images)
    given = {"dataset": dataset, "data_dir": data_dir, "init_from": init_from}
    given |= {"fresh": fresh, "code": code, "split": split}
    given |= {"everywhere": workers is not None}
    with _opened(base, workdir, overrides, grid, how, **given) as opened:
        folder, tasks, start = opened
        how = how._replace(start=start)
        if images and not any(len(task.dataset.shape) == 3 for task in tasks):
            say(pictures.VECTORS)
        again = f"the same command{' without fresh (--fresh)' if fresh else ''}"
        if tasks and workers is not None:
            options = {"data_dir": data_dir}
            engine.train(folder, tasks, how, options, Signals(again), made)
        elif tasks:
            _train_all(tasks, folder, how, Signals(again))
        else:
            folder.end(code)
            say(f"{workdir} is finished: nothing to do")
        return Outcome(tables.results(workdir), len(tasks))


@machine.standard()
def declare(
    base,
    workdir,
    *,
    overrides=None,
    grid=None,
    dataset=None,
    data_dir=None,
    chunk=None,
    memory=None,
    fresh=False,
    code=None,
    init_from=None,
    split=None,
):
    """Writes the folder of a study for workers to train; the number of groups still to be trained.

    Each of them is then a task of its own, `runs.worker.run`. The arguments are those of `run`.
    A step of one group of each structure is traced; the others are checked by their workers.
    """
    how = How(chunk, memory=memory)
    given = {"dataset": dataset, "data_dir": data_dir, "init_from": init_from}
    given |= {"fresh": fresh, "code": code, "split": split, "everywhere": True}
    with _opened(base, workdir, overrides, grid, how, **given) as (folder, tasks, _):
        if not tasks:
            folder.end(code)
        return len(tasks)


def collect(workdir, base=None):
    """Makes the tables of a folder anew from what its groups have so far, while others train them.

    `base` is the Config that the sweep was given, where it was not given a file.
    """
    record.read(workdir)
    with Folder(workdir) as folder:
        folder.open(base)
        folder.report()


@contextlib.contextmanager
def _opened(
    base,
    workdir,
    overrides,
    grid,
    how,
    *,
    dataset,
    data_dir,
    init_from,
    fresh,
    code,
    split,
    everywhere,
):
    """Yields a folder that is declared, the tasks that are left, and the `initial.Start` of them.

    `everywhere`: other processes are to train it, which must find all of it by name.
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
    check_how(how, split)
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
        if everywhere:
            _check_named(source, dataset, init_from)
        folder.join(base, (source, part), overrides, grid, load, code, start, split)
        tasks = _tasks(folder, dataset, load, how.memory, everywhere)
        new = [t for t in tasks if t.group.number not in folder.histories]
        for task in new if start else ():
            initial.check(start, task)
        if start and new:
            say(f"{workdir}: runs start from {start.name}")
        checked = [task.checked for task in tasks if task.checked]
        for line in dict.fromkeys(line for its in checked for line in its.warnings):
            say(line)
        if tasks:
            for line in config.doubts([r for t in tasks for r in t.group.runs]):
                say(line)
            metrics, held = ([n for its in checked for n in its[i]] for i in (1, 2))
            sets = [task.dataset for task in tasks]
            folder.claim(metrics, held, sets, how.chunk)
            for task in tasks:
                folder.place(task.group).forget()
        yield folder, tasks, start


def check_how(how, split=None):
    """Raises InputError where the options of training are not what they can be."""
    check_chunk(how.chunk)
    if split is not None and (type(split) is not int or split < 1):
        raise InputError(
            f"split must be a whole number of at least 1, not {config.shown(split)}"
        )
    pictures.check(how.images)
    memory, interval = how.memory, how.interval
    if memory is not None and not (isinstance(memory, Real) and memory > 0):
        raise InputError(
            f"memory for data must be above 0 bytes, not {config.shown(memory)}"
        )
    if not (isinstance(interval, Real) and 0 <= interval < math.inf):
        raise InputError(
            f"interval must be 0 seconds or more, not {config.shown(interval)}"
        )


def _check_named(source, dataset, init_from):
    """Raises InputError where another process could not find what a study is made of."""
    if source is None:
        raise InputError(
            "a Config is of this process alone, and workers are others: write it into a file, and "
            "give its path"
        )
    if dataset is not None and not data.is_name(dataset):
        raise InputError(
            "arrays are of this process alone, and workers are others: save them (numpy.savez), "
            "and give the path as dataset"
        )
    if init_from is not None and not isinstance(init_from, (str, Path)):
        raise InputError(
            "a trained run is of this process alone, and workers are others: name it as "
            "FOLDER:RUN"
        )


def _tasks(folder, dataset, load, memory, everywhere):
    """Loads the data and traces a step of each unfinished group, so that faults show before training.

    Where other processes train them, of each structure of runs only the first is traced.
    """
    tasks, said, structures = [], set(), set()
    firsts = [group.runs[0] for group in folder.groups]
    data.check_given(dataset, firsts)
    for group, structure in zip(folder.groups, config.structures(firsts)):
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
        known = everywhere and structure in structures
        structures.add(structure)
        checked = None if known else check_run(first, stored)
        held = (stored.validation, stored.test)
        taken = sum(data.held_bytes(first.binarization, split) for split in held)
        seeds = len({run.seed for run in group.runs})
        feed.window(stored.train, first.batch, seeds, taken, memory)
        tasks.append(Task(group, stored, checked, *folder.layout(group)))
    return tasks


def _train_all(tasks, folder, how, signals):
    """Trains groups in their order; one that another process trains is waited for, at the end."""
    progress = Progress(tasks, folder.groups)
    todo, busy = collections.deque(tasks), 0
    try:
        with signals:
            while todo:
                task = todo.popleft()
                place = folder.place(task.group)
                try:
                    with place.taken():
                        busy = 0
                        if folder.look(task.group):  # by another process, meanwhile
                            progress.skip(task)
                            folder.reports.write()
                        else:
                            _train(task, folder, place, how, progress, signals)
                except locks.Held:
                    todo.append(task)
                    busy += 1
                    if busy >= len(todo):
                        progress.wait(task, place)
                        time.sleep(1)
                if signals.caught:
                    text = f"{folder.path} is saved; {signals.again} resumes there"
                    raise Interrupted(text, signals.caught)
    finally:
        progress.close()


def _train(task, folder, place, how, progress, signals):
    group = task.group
    progress.begin(task)
    resumed = group.number in folder.histories
    snapshots = train(task, place, how, signals)
    folder.histories[group.number], start, _ = next(snapshots)
    folder.reports.begin(group, resumed)
    progress.resume(start)
    for _, snapshot, count in snapshots:
        if count:
            folder.reports.add_epochs(group, count)
        progress.show(snapshot)
    folder.reports.finish(group)
