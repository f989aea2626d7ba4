"""The training loop as a generator: a snapshot of a group about every second, to its results."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from aevae.training.epochs import Status, is_evaluated
from aevae.training.layout import Pace


class Snapshot(NamedTuple):
    """A group of runs after `epoch` whole epochs and `step` steps of the next.

    `run` is the `epochs.Run` of all members, every leaf [M + padding, ...], and `status` what is
    known of each, [M]. `metrics`, {part_name: [N, M]}, is there where N >= 1 epochs have ended and
    were evaluated since the snapshot before: its `epoch` has their numbers, and what a run that was
    stopped has no part in is NaN. `results`, {part_name: [M]}, is there at the end of all epochs.
    """

    epoch: int
    step: int
    run: Any
    status: Status
    metrics: dict[str, np.ndarray] | None = None
    results: dict[str, np.ndarray] | None = None


def snapshots(population, start=None, length=None):
    """Trains a population, and yields a `Snapshot` about every second until the results are there.

    Between two of them there may be many epochs, or a part of one. The arrays of a snapshot are
    donated to the next step: copy what is needed before advancing.

    Args:
      population: a `Population`.
      start: the snapshot to resume from; by default training begins.
      length: units of work between snapshots, in place of about a second. A unit is a step, or a
        block of an evaluation. No bit depends on it.
    """
    now = population.start() if start is None else start
    pace = Pace(length, population.piece or 1)
    for window in population.feed.windows(now.epoch, now.step, population.epochs):
        done = (now.epoch - int(window.epoch)) * population.units + now.step
        end = population.end(window)
        while done < end and not now.status.stopped.all():
            kinds = functools.partial(population.kind, int(window.epoch))
            stop = pace.begin(done, end, population.cut, kinds)
            run = population.advance(now.run, window, done, stop)
            done = pace.end(run)
            now = _look(population, now, run, int(window.epoch), done)
            yield now
        if now.status.stopped.all():
            break
    for held in population.evaluate(now.run, length):
        if held is not None:
            held = {k: v for k, v in held.items() if not k.endswith("_loss")}
            now = now._replace(status=_mark(now.status, held, now.epoch))
        now = now._replace(metrics=None, results=held)
        yield now


def _look(population, before, run, first, done):
    """The snapshot after a span: `done` units of a window have been done whose first epoch is `first`."""
    config, status = population.config, population.status(run)
    epoch, unit = divmod(done, population.units)
    epoch, step = first + epoch, min(unit, population.steps)
    if status.stopped.all():
        epoch, step = int(status.stopped.max()), 0
    numbers = np.arange(before.epoch + 1, epoch + 1)
    numbers = numbers[is_evaluated(config, numbers, config.epochs)]
    if not len(numbers):
        return Snapshot(epoch, step, run, status)
    count = len(population.runs)
    over = (status.stopped > 0) & (numbers[:, None] > status.stopped)
    metrics = {"epoch": np.repeat(numbers[:, None], count, axis=1)}
    for name, rows in jax.device_get(run.rows).items():
        values = rows.T[numbers - first - 1, :count]
        if name.startswith("train_"):
            values = values / population.steps
        metrics[name] = np.where(over, np.float32(np.nan), values)
    return Snapshot(epoch, step, run, status, metrics)


def _mark(status, results, epoch):
    """Marks runs of whose results a number is not finite."""
    sound = np.isfinite([*results.values()]).all(0)
    first = ~sound & (status.diverged == 0)
    diverged = np.where(first, epoch, status.diverged).astype(np.int32)
    return status._replace(diverged=diverged)
