"""One run over many epochs: their steps, evaluations, best parameters and early stopping.

This file is for one run; `layout` runs it for all. The work of an epoch is counted in units: its steps
and, after them, the blocks of its evaluation. The host may stop a run between any two of them, or
not look for many epochs.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from aevae.system import machine
from aevae.training import bounds
from aevae.training.step import State, train_span


class Status(NamedTuple):
    """What is known of a run at the end of an epoch; epochs count from 1, and 0 is none yet.

    `score` is the best `bounds.criterion` so far.
    """

    score: Any
    best: Any  # the epoch of it
    stopped: Any  # the epoch after which the run was stopped, or 0
    diverged: Any  # the first epoch with a number that was not finite, or 0


class Run(NamedTuple):
    """All that training changes of a run, and what it has measured since the host last looked.

    `best` is the state of the best epoch, without the optimizer's, or None where the last is kept.
    """

    state: State
    sums: dict[str, jax.Array]  # of the epoch's metrics in training, so far
    means: dict[str, dict[str, jax.Array]]  # {part: of its evaluation, so far}
    best: State | None
    status: Status
    rows: dict[str, jax.Array]  # {part_name: [E]}: of the epochs of a window


def begin(config, state, metrics, parts, rows):
    """The run before its first step.

    Args:
      config, state: as `step.init_state` has them.
      metrics: names of the metrics in training.
      parts: {part: names of the metrics in its evaluation}.
      rows: the number of epochs in a window.
    """
    zero, none = jnp.float32(0), jnp.int32(0)
    sums = dict.fromkeys(metrics, zero)
    means = {part: dict.fromkeys(names, zero) for part, names in parts.items()}
    best = state._replace(opt=()) if config.keep == "best" else None
    status = Status(jnp.float32(-math.inf), none, none, none)
    rows = dict.fromkeys(_named(sums, means), jnp.zeros(rows))
    return Run(state, sums, means, best, status, rows)


def units(steps, held):
    """The units of an epoch: its steps, and the blocks of the splits that are evaluated."""
    return steps + bounds.count_all(held, bounds.ROWS)


def is_evaluated(config, epoch, last):
    """Whether there is an evaluation at the end of an epoch, of `last` in all."""
    return (epoch % config.evaluate_every == 0) | (epoch == last)


def advance(
    config, steps, piece, run, window, held, which, seed, hp, last, start, stop
):
    """Does units `start` to `stop` (traced) of the epochs of a window; the new `Run`.

    No bit depends on where a run is cut, nor on how many epochs a window has.

    Args:
      config: of the run; the images' shape is bound to its model.
      steps, piece: of an epoch; and how many of them a loop of known length takes, by which every
        cut can be divided, or None. An accelerator asks the host at each turn of other loops.
      run: the `Run` so far.
      window: the `step.Window` of the epochs, with their orders [S, E, T, B].
      held: {part: the split as it is evaluated}.
      which, seed, hp: of the run: the place of its order, its seed and its hyperparameters.
      last: the number of the last epoch.
      start, stop: counted from the beginning of the window's first epoch.
    """
    whole = units(steps, held)

    def epoch(n, run):
        first, end = (jnp.clip(unit - n * whole, 0, whole) for unit in (start, stop))
        own = window._replace(order=window.order[which, n])
        cut = jnp.minimum(first, steps), jnp.minimum(end, steps), piece
        carry = train_span(config, own, (run.state, run.sums), seed, hp, *cut)
        run = run._replace(state=carry[0], sums=carry[1])

        number = window.epoch + n + 1
        evaluated = is_evaluated(config, number, last)
        blocks = (jnp.where(evaluated, unit - steps, 0) for unit in (first, end))
        terms = bounds.terms, bounds.ROWS, config, run.state, held, run.means, hp
        means = machine.at_precision(bounds.of_all)(*terms, *blocks)

        found = _named(run.sums, means)
        for name in _named({}, means):
            found[name] = jnp.where(evaluated, found[name], jnp.nan)
        rows = {name: run.rows[name].at[n].set(found[name]) for name in found}
        better, status = judge(config, number, found, run.status, evaluated)
        ended = end == whole
        status = jax.tree.map(
            lambda new, old: jnp.where(ended, new, old), status, run.status
        )
        best = run.best
        if best is not None:
            now = run.state._replace(opt=())
            best = jax.lax.cond(ended & better, lambda: now, lambda: run.best)
        return run._replace(means=means, best=best, status=status, rows=rows)

    def unless_stopped(n, run):
        # Once or not at all. Of runs side by side, all wait for those that go on, and no longer; the
        # epoch's number and bounds stay those of all.
        def runs(turn):
            return (turn[0] == 0) & (turn[1].status.stopped == 0)

        turn = jnp.int32(0), run
        return jax.lax.while_loop(runs, lambda t: (t[0] + 1, epoch(n, t[1])), turn)[1]

    turn = epoch if config.patience == math.inf else unless_stopped
    return jax.lax.fori_loop(start // whole, -(-stop // whole), turn, run)


def judge(config, epoch, found, status, evaluated):
    """Whether a run is at its best so far, and its new status, from what was found at an epoch's end."""
    score = jnp.float32(bounds.criterion(found))
    better = evaluated & jnp.isfinite(score) & (score > status.score)
    best = jnp.where(better, epoch, status.best)
    late = evaluated & (epoch - best >= config.patience)
    trained = [v for name, v in found.items() if name.startswith("train_")]
    sound = jnp.isfinite(jnp.stack(trained)).all()
    sound &= (
        jnp.logical_not(evaluated) | jnp.isfinite(jnp.stack([*found.values()])).all()
    )
    first = ~sound & (status.diverged == 0)
    return better, Status(
        jnp.where(better, score, status.score),
        best,
        jnp.where(late, epoch, status.stopped),
        jnp.where(first, epoch, status.diverged),
    )


def _named(sums, means):
    """What was found in training and in each part, by the names of the curves."""
    parts = {"train": sums} | means
    return {f"{part}_{n}": v for part, of in parts.items() for n, v in of.items()}
