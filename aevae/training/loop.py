"""The training loop as a generator: a snapshot of a group about every second, to its results."""

from typing import Any, NamedTuple

import numpy as np

from aevae.training import bounds
from aevae.training.layout import Pace


class Status(NamedTuple):
    """What is known of each run at the end of an epoch, [M] each; epochs count from 1, and 0 is none yet.

    `score` is the best `bounds.criterion` so far.
    """

    score: np.ndarray
    best: np.ndarray  # the epoch of it
    stopped: np.ndarray  # the epoch after which a run was stopped, or 0
    diverged: np.ndarray  # the first epoch with a number that was not finite, or 0


class Snapshot(NamedTuple):
    """A group of runs after `epoch` whole epochs and `step` steps of the next.

    `carry` is (State, sums of the epoch's metrics) and `best` the State of the best epoch without
    its optimizer's part, or None if the config keeps the last; every leaf is [M + padding, ...].
    `metrics`, {part_name: [M]}, is there at the end of an epoch alone, `results` at the end of all
    epochs.
    """

    epoch: int
    step: int
    carry: Any
    best: Any
    status: Status
    metrics: dict[str, np.ndarray] | None = None
    results: dict[str, np.ndarray] | None = None


def snapshots(population, start=None, length=None):
    """Trains a population, and yields a `Snapshot` about every second until the results are there.

    There is one at each epoch's end. The arrays of a snapshot are donated to the next step:
    copy what is needed before advancing.

    Args:
      population: a `Population`.
      start: the snapshot to resume from; by default training begins.
      length: units of work between snapshots, in place of about a second. A unit is a step, or a
        block of an evaluation. No bit depends on it.
    """
    start = population.start() if start is None else start
    epoch, step, carry, best, status, *_ = start
    pace = Pace(length)
    while epoch < population.config.epochs and not status.stopped.all():
        running = population.spread(status.stopped == 0)
        for window in population.feed.windows(epoch, step):
            while step < population.feed.end(window):
                stop = pace.begin(step, population.feed.end(window))
                carry = population.span(carry, window, step, stop, running)
                step = pace.end(carry)
                if step < population.steps:
                    yield Snapshot(epoch, step, carry, best, status)
        for held in population.evaluate(population.terms, carry[0], length):
            if held is None:  # not yet done
                yield Snapshot(epoch, step, carry, best, status)
        sums = {f"train_{name}": np.asarray(v) for name, v in carry[1].items()}
        metrics = {
            name: v[: len(population.runs)] / population.steps
            for name, v in sums.items()
        }
        metrics |= held
        epoch, step = epoch + 1, 0
        better, status = _judge(population, epoch, metrics, status)
        if best is not None:
            best = population.better(
                best, carry[0]._replace(opt=()), population.spread(better)
            )
        yield Snapshot(epoch, step, carry, best, status, metrics)
    judged = carry[0] if best is None else best
    for held in population.evaluate(population.final, judged, length):
        if held is not None:
            held = {k: v for k, v in held.items() if not k.endswith("_loss")}
            status = _mark(status, held, epoch)
        yield Snapshot(epoch, step, carry, best, status, None, held)


def _judge(population, epoch, metrics, status):
    """Which runs are at their best so far, and the new status of all."""
    running = status.stopped == 0
    score = bounds.criterion(metrics)
    better = running & np.isfinite(score) & (score > status.score)
    best = np.where(better, epoch, status.best).astype(np.int32)
    late = running & (epoch - best >= population.config.patience)
    stopped = np.where(late, epoch, status.stopped).astype(np.int32)
    score = np.where(better, score, status.score)
    marked = _mark(status, metrics, epoch)
    return better, marked._replace(score=score, best=best, stopped=stopped)


def _mark(status, metrics, epoch):
    """Marks runs with a number that is not finite, at their first such epoch."""
    sound = np.isfinite(list(metrics.values())).all(0)
    first = ~sound & (status.diverged == 0)
    diverged = np.where(first, epoch, status.diverged).astype(np.int32)
    return status._replace(diverged=diverged)
