"""The rate-distortion curve of a multi-rate run: what one run's bound is at each of many betas."""

import math
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError, data
from aevae.evaluation.contract import Found, Rows, bound, measure
from aevae.training import bounds
from aevae.training.step import State

COLUMNS = "elbo", "distortion", "rate", "iwae", "active_units"
COUNT = 9  # betas, where none is named
RANGE = "log_low", "log_high"  # of log beta: see `objectives.multi_rate_vae`


def _multi_rate(facts):
    """Requires a model that has every beta."""
    return (
        None if facts.multi_rate else "the runs are not multi-rate: each has one beta"
    )


def _betas(value, facts):
    """A check: numbers above 0, or their texts."""
    del facts
    good = all(_number(beta) > 0 for beta in value)
    return None if good else "must be numbers above 0"


def _number(beta):
    """A number, or NaN of what is none or not finite."""
    try:
        found = float(beta)
    except (TypeError, ValueError):
        return math.nan
    return found if math.isfinite(found) else math.nan


@measure(bound, _multi_rate)
def frontier(
    work,
    *,
    betas: Annotated[
        list, f"of multi-rate runs; by default {COUNT} over a run's own range", _betas
    ] = (),
):
    """Measures a multi-rate run at each beta, as results.csv has other runs, by the same draws.

    A row each in frontier.csv, never in results.csv, whose row is at beta = 1; nats. `objective` is
    distortion + beta · rate, what a run of that beta alone would minimize.
    """
    grid = np.stack([_grid(work, i, betas) for i in range(len(work.group.runs))])
    held = work.held("test")
    count, points = bounds.count_blocks(held, bounds.ROWS_BOUND), grid.shape[1]

    def f(carry, given, shared):
        return at_betas(work.config, count, carry, given, shared)

    def zeros(given):
        (params, step, hp, _), of = given, (bounds.final, bounds.ROWS_BOUND)
        state, one = State(params, (), step), _at(held, jnp.float32(0))
        sums = bounds.zeros(*of, work.config, state, one, hp)
        return jax.tree.map(lambda v: jnp.broadcast_to(v, (points, *v.shape)), sums)

    given = *work.given, work.members.spread(np.log(grid).astype(np.float32))
    one = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape[1:], v.dtype), given)
    means = work.through(f, jax.eval_shape(zeros, one), count * points, given, held)
    means = bounds.summary(means)
    found = {name: np.asarray(means[name]) for name in COLUMNS if name in means}
    for own_betas, *own in zip(grid, *found.values()):
        rows = {}
        for i, beta in enumerate(own_betas):
            row = {name: values[i] for name, values in zip(found, own)}
            objective = row["distortion"] + beta * row["rate"]
            rows[f"{beta:.6g}"] = row | {"objective": objective}
        yield Found(tables={"frontier": Rows("at_beta", rows)})


def _grid(work, i, betas):
    """The betas at which run i is measured; InputError where they are not of its training."""
    hp, number = work.group.runs[i].hparams, work.group.numbers[i]
    known = [hp[name] for name in RANGE if name in hp]
    if len(known) == 2:
        low, high = sorted(map(math.exp, known))
    if not betas:
        if len(known) < 2:
            raise InputError(
                f"run {number} has no {' and '.join(RANGE)}: name the betas (--betas)"
            )
        return np.geomspace(low, high, COUNT)
    found = np.array(sorted({*map(_number, betas)}))
    odd = [f"{b:g}" for b in found if known and not 0.999 * low <= b <= 1.001 * high]
    if odd:
        raise InputError(
            f"run {number} was trained at betas from {low:.4g} to {high:.4g}, which has not "
            f"{', '.join(odd)}: leave that out of --betas"
        )
    return found


def _at(held, log_beta):
    """A split of which every example is at one beta."""
    return held | {"log_beta": jnp.full(len(held["image"]), log_beta)}


def at_betas(config, count, carry, given, shared):
    """Adds to the means of `bounds.final` at each beta of a run, [K, ...]; a unit is a block of one.

    `given` is (params, step, hp, log betas [K]), and `count` the number of blocks of the split.
    """
    (params, step, hp, log_betas), (held, start, stop) = given, shared
    key, state = data.evaluation_key("test", "bounds"), State(params, (), step)
    of = bounds.final, bounds.ROWS_BOUND

    def one(i, carry):
        own = jax.tree.map(lambda v: v[i], carry)
        cut = [jnp.clip(at - i * count, 0, count) for at in (start, stop)]
        found = bounds.span(
            *of, config, state, _at(held, log_betas[i]), own, key, hp, *cut
        )
        return jax.tree.map(lambda v, new: v.at[i].set(new), carry, found)

    return jax.lax.fori_loop(start // count, -(-stop // count), one, carry)
