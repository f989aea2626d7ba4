"""Evaluation during training: means of an objective's terms and of bounds over a whole split.

This file is for one run; `layout` runs it for all.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aevae import data
from aevae.models.distributions import log_mean_exp, per_example
from aevae.objectives import bound_terms

ROWS = 500  # examples that go through a network at a time at most ...
ROWS_BOUND = 100  # ... and with SAMPLES draws each
SAMPLES = 64  # of the importance-weighted bound in the results, all at once ...
TURN = 8  # ... or so many, where a block's images have more than ...
LARGE = 100_000  # ... values: memory is what a network takes of every draw of a block
ACTIVE = 0.01  # variance of an active unit's mean: Burda et al. (2016), section 5.2


class Moments(NamedTuple):
    """Mean and variance (with 1/N) over examples, [Z] each.

    The variance is never the difference of two squares, which in float32 loses every digit of it
    where the mean is some thousand standard deviations.
    """

    mean: jax.Array
    variance: jax.Array

    @classmethod
    def of(cls, values):
        """The moments of values [B, Z]."""
        mean = values[0] + (values - values[:1]).mean(0)
        return cls(mean, ((values - mean[None]) ** 2).mean(0))

    def joined(self, other, share):
        """Those of both together, of which `share` are the other's: Chan et al. (1983)."""
        apart = other.mean - self.mean
        variance = (1 - share) * self.variance + share * other.variance
        return Moments(
            self.mean + share * apart, variance + share * (1 - share) * apart**2
        )


def terms(config, state, batch, key, hp):
    """The objective's own metrics on a batch, `loss` among them.

    Where the objective has no bound, the `reconstruction_errors` stand beside its terms.
    """
    loss, terms = config.objective(config.model, state.params, batch, key, hp)
    if "elbo" not in terms:
        draw = config.model.apply(state.params, batch, None, hp)
        found = reconstruction_errors(draw.x, batch["image"])
        terms |= {name: each.mean() for name, each in found.items()}
    return terms | {"loss": loss}


def final(config, state, batch, key, hp):
    """ELBO, rate, distortion and IWAE bound of a batch, as results.csv reports them; nats.

    `distortion` = E[-log p(x|z)] over 64 draws of z, `rate` = KL(q(z|x) || p(z)),
    `elbo` = -(distortion + rate), `iwae` the bound of Burda et al. (2016), eq. 8, with those
    draws; and, where q has a mean and a standard deviation, the `Moments` of its mean over the
    batch. `summary` makes a table's row of the means of all this.
    """

    def one(key):
        draw = config.model.apply(state.params, batch, key, hp)
        return draw._replace(p=None, x=None)  # of all draws, x is what takes memory

    turn = TURN if batch["image"].size > LARGE else SAMPLES
    draws = jax.lax.map(one, jax.random.split(key, SAMPLES), batch_size=turn)
    iwae = log_mean_exp(draws.log_px + draws.log_pz - draws.log_qz)
    found = bound_terms(draws) | {"iwae": iwae.mean()}
    if hasattr(draws.q, "mean") and hasattr(draws.q, "std"):  # a code has no std
        found |= {"posterior_mean": Moments.of(draws.q.mean[0])}
    return found


USES = {terms: "terms", final: "bounds"}  # of evaluation keys


def summary(means):
    """The means of `final`, [..., Z] or [...], with `active_units` in place of the moments.

    That is the number of latents whose posterior mean has a variance above 0.01 over the data:
    Burda et al. (2016), section 5.2.
    """
    means = dict(means)
    if "posterior_mean" in means:
        variance = means.pop("posterior_mean").variance
        means["active_units"] = (variance > ACTIVE).sum(-1)
    return means


def blocks(held, most):
    """Cuts a split into blocks: the number of whole ones, their rows, and those of a last one.

    A block has between most/2 and `most` rows: a number that divides the split if there is one,
    since a remainder needs a second compiled program; otherwise the one of the largest remainder,
    since some terms, such as a total correlation, need many rows.
    """
    count = len(held["image"])
    if count <= most:
        return 1, count, 0
    rows = max(
        range(most, most // 2, -1), key=lambda r: (count % r == 0, count % r or r)
    )
    return count // rows, rows, count % rows


def count_blocks(held, most):
    """The number of blocks of a split, a last smaller one included."""
    full, _, rest = blocks(held, most)
    return full + (rest > 0)


def count_all(held, most):
    """The number of blocks of all splits, {part: split}."""
    return sum(count_blocks(split, most) for split in held.values())


def of_all(measure, most, config, state, held, sums, hp, start, stop):
    """Adds blocks `start` to `stop` (traced) of all splits, one after another: as `span` of one.

    `held` is {part: split} and `sums` {part: the means so far}. Blocks below 0 are none.
    """
    found, before = {}, 0
    for part, split in held.items():
        key, count = data.evaluation_key(part, USES[measure]), count_blocks(split, most)
        own = [jnp.clip(at - before, 0, count) for at in (start, stop)]
        before += count
        given = config, state, split, sums[part], key, hp
        found[part] = span(measure, most, *given, *own)
    return found


def span(measure, most, config, state, held, sums, key, hp, start, stop):
    """Adds blocks `start` to `stop` (traced) of a split to `sums`, the means so far.

    `measure(config, state, batch, key, hp)` is `terms` or `final`, a mean over its batch, with hyperparameters as
    scheduled at state.step. `held` is what `data.held_out` gives. Cutting a split into spans
    changes no bit. All runs and epochs are given one `key`, and so meet the same noise.
    """
    hp = config.schedule(hp, state.step)
    count = len(held["image"])
    full, rows, rest = blocks(held, most)
    sums = jax.tree.map(lambda s: jnp.where(start == 0, 0.0, s), sums)

    @jax.jit
    def measured(state, batch, key, hp):
        return measure(config, state, batch, key, hp)

    def add(sums, block, length):
        batch = {
            name: jax.lax.dynamic_slice_in_dim(values, block * rows, length)
            for name, values in held.items()
        }
        batch = data.none(None, batch) | {"size": jnp.float32(count)}
        found = measured(state, batch, jax.random.fold_in(key, block), hp)
        share = length / (block * rows + length)  # of the rows so far
        return {
            name: sums[name].joined(value, share)
            if isinstance(value, Moments)
            else sums[name] + value * (length / count)
            for name, value in found.items()
        }

    sums = jax.lax.fori_loop(
        start, jnp.minimum(stop, full), lambda b, sums: add(sums, b, rows), sums
    )
    if rest:
        last = (start <= full) & (full < stop)
        sums = jax.lax.cond(last, lambda s: add(s, full, rest), lambda s: s, sums)
    return sums


def zeros(measure, most, config, state, held, hp):
    """The sums before the first block."""
    batch = {name: values[:most] for name, values in held.items()}
    batch = data.none(None, batch) | {"size": jnp.float32(len(held["image"]))}

    def means(state, batch, hp):
        return measure(config, state, batch, jax.random.key(0), hp)

    shapes = jax.eval_shape(means, state, batch, config.schedule(hp, state.step))
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)


def means(measure, most, config, state, held, key, hp):
    """The means of a measure, `terms` or `final`, over a whole split."""
    sums = zeros(measure, most, config, state, held, hp)
    stop = count_blocks(held, most)
    return span(measure, most, config, state, held, sums, key, hp, 0, stop)


def of_split(config, state, held, key, hp):
    """What a row of the results has of a split, for an objective with a bound."""
    return summary(means(final, ROWS_BOUND, config, state, held, key, hp))


def criterion(measured):
    """The value by which epochs and runs are selected, higher is better: the validation ELBO.

    Without a bound -distortion, and without that -loss.
    """
    for name, sign in (("elbo", 1), ("distortion", -1), ("loss", -1)):
        value = measured.get(f"validation_{name}")
        if value is not None:
            return sign * value
    return -math.inf


def reconstruction_errors(x, image):
    """Squared error and cross-entropy of the mean reconstruction, summed over pixels, [B] each.

    They are in the units of the data as they are stored, where these were standardized.
    The cross-entropy has a meaning for images in [0, 1]. A mean that can leave (0, 1), as a
    Gaussian's can, is clipped to [1e-6, 1 - 1e-6] for it.
    """
    if hasattr(x, "stored"):
        x, image = x.stored(), x.scaling.restore(image)
    mean = jnp.clip(x.mean, 1e-6, 1 - 1e-6)
    entropy = -image * jnp.log(mean) - (1 - image) * jnp.log1p(-mean)
    exact = hasattr(x, "cross_entropy")
    entropy = x.cross_entropy(image) if exact else per_example(entropy)
    squared = per_example((x.mean - image) ** 2)
    return {"squared_error": squared, "cross_entropy": entropy}
