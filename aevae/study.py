"""A study: the runs of a grid, trained group by group into a run folder."""

import math
import time
from typing import Any, NamedTuple

from aevae import (
    InputError,
    Interrupted,
    config,
    data,
    feed,
    machine,
    members,
    preflight,
    results,
    sweep,
)
from aevae.folder import Folder
from aevae.progress import Progress, say
from aevae.signals import Signals

INTERVAL = 60.0  # seconds between the checkpoints of a group


class Task(NamedTuple):
    """A group that is to be trained, and what is known of it before."""

    group: Any  # journal.Group
    dataset: data.DataSet
    parameters: int  # of one run
    metrics: list[str]  # that its objective reports in training
    held: list[str]  # and in evaluation


class Outcome(NamedTuple):
    """What became of a command: the rows of the folder's results, and groups trained for them."""

    rows: list[dict]
    trained: int


def run(
    base,
    workdir,
    *,
    overrides=None,
    grid=None,
    data_dir=None,
    chunk=None,
    interval=INTERVAL,
    fresh=False,
    memory=None,
):
    """Trains every run of a grid into the folder `workdir`, or goes on with it; an Outcome.

    The same again goes on where it stopped, and ends with the same bits as if it never had. More
    epochs continue the runs, new points of the grid are new runs; any other difference from what
    the folder holds is an error.

    Args:
      base: the path of a config file, or a Config.
      workdir: a run folder, or a folder that does not exist yet or is empty.
      overrides: {name: value or text} in place of the config's values.
      grid: {name: values}, or a list of such, in place of the config's grid.
      data_dir: where TFDS has prepared the data sets.
      chunk: how many members a device trains at a time; by default `members.layout` decides.
      interval: seconds between checkpoints. SIGTERM and Ctrl-C make one, too.
      fresh: start over; a run folder that is there is renamed.
      memory: bytes of each device's memory that data may take, by default half of it. Training data
        that do not fit are fed window by window; no bit depends on it.
    Raises:
      InputError: whatever is wrong with the input, before any training.
      WriteError: the disk is full or cannot be written. What was saved is sound.
      Interrupted: SIGTERM or Ctrl-C, after a checkpoint.
    """
    machine.prepare()
    if chunk is not None and chunk < 1:
        raise InputError(f"chunk must be a whole number of at least 1, not {chunk}")
    if memory is not None and not memory > 0:
        raise InputError(f"memory for data must be above 0 bytes, not {memory}")
    if not 0 <= interval < math.inf:
        raise InputError(f"interval must be 0 seconds or more, not {interval}")
    text = part = None
    if not isinstance(base, config.Config):
        file, part = config.split(base)
        base, text = config.load(base), file.read_text()
    with Folder(workdir, fresh) as folder:
        folder.join(base, (text, part), overrides, grid)
        tasks = _tasks(folder, data_dir, memory)
        if tasks:
            metrics, held = ([n for t in tasks for n in t[i]] for i in (3, 4))
            folder.claim(metrics, held, [task.dataset for task in tasks])
            again = f"the same command{' without --fresh' if fresh else ''}"
            how = chunk, interval, memory
            _train_all(tasks, folder, how, Signals(again))
        else:
            folder.mend()
            say(f"{workdir} is finished: nothing to do")
        return Outcome(results.rows_of(workdir), len(tasks))


def _tasks(folder, data_dir, memory):
    """Reads the data and traces one step of every open group: what is wrong shows here."""
    sets, tasks = {}, []
    for group in folder.groups:
        if folder.finished(group):
            continue
        first = group.runs[0]
        name = (first.dataset, *(getattr(first, part) for part in data.PARTS))
        if name not in sets:
            sets[name] = data.load(*name, data_dir)
        stored = (*name, str(config.canonical(first.binarization)))
        if stored not in sets:
            sets[stored] = data.binarized(sets[name], first.binarization)
        folder.check_data(group, sets[stored])
        checked = preflight.check(first, sets[stored])
        held = (sets[stored].validation, sets[stored].test)
        taken = sum(data.held_bytes(first.binarization, split) for split in held)
        seeds = len({run.seed for run in group.runs})
        feed.fit(sets[stored].train, first.batch, seeds, taken, memory)
        tasks.append(Task(group, sets[stored], *checked))
    return tasks


def _train_all(tasks, folder, how, signals):
    progress = Progress(tasks, folder)
    try:
        with signals:
            for task in tasks:
                _train(task, folder, *how, progress, signals)
                if signals.caught:
                    text = f"{folder.path} is saved; {signals.again} goes on from there"
                    raise Interrupted(text, signals.caught)
    finally:
        progress.close()


def _train(task, folder, chunk, interval, memory, progress, signals):
    group = task.group
    progress.begin(task)
    began = time.perf_counter()
    layout = members.layout(len(group.runs), task.parameters, chunk=chunk)
    population = sweep.Population(
        group.runs, task.dataset, layout, task.metrics, memory
    )
    if not population.feed.resident:
        say(
            f"group {group.number + 1}: its training data do not fit on the devices; they are fed "
            f"in windows of {population.feed.length} of {population.steps} steps"
        )
    start, known = folder.begin(group, population, task.dataset)
    progress.go_on(start)
    saved = time.perf_counter()
    for moment in population.train(start):
        now = time.perf_counter()
        known.seconds, began = known.seconds + now - began, now
        if known.add(moment):
            folder.add_epoch(group, known)
        progress.show(moment)
        if moment.results:
            with signals.saving:
                folder.finish(group, population, moment, known)
        elif signals.caught or now - saved >= interval:
            with signals.saving:
                folder.save(group, population, moment, known)
            saved = time.perf_counter()
            if signals.caught:
                at = f"group {group.number + 1}, epoch {moment.epoch}, step {moment.step}"
                text = f"{folder.path} is saved at {at}; {signals.again} goes on from there"
                raise Interrupted(text, signals.caught)
