"""Importance sampling: bounds on log p(x) by many samples of the posterior, or of a mixture."""

import math
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError
from aevae.evaluation.codes import block_of, put, rows_of
from aevae.evaluation.contract import at_least, bound, measure
from aevae.evaluation.work import standard_error
from aevae.system.machine import at_precision

DRAWS = 20  # codes of each example that are drawn by one key ...
TURN = 10  # ... so many at a time: memory depends on it, and no bit
SAMPLES = Annotated[int, "samples of the importance-weighted bound", at_least(1)]


@measure(bound)
def likelihood(work, *, k: SAMPLES = 5000):
    """Measures the bound with K samples; bits per dimension where images are of 256 levels.

    log 1/K sum_k p(x, z_k) / q(z_k|x), z_k ~ q(z|x): Burda et al. (2016), eq. 8; nats, with its
    standard error over the test examples.
    """
    held = work.held("test")
    for own in _bounds(work, k, held, 0):
        values = {f"iwae_{k}": own.mean(), f"iwae_{k}_error": standard_error(own)}
        if work.facts.levels == 256:
            pixels = math.prod(held["image"].shape[1:])
            values["bits_per_dimension"] = -own.mean() / pixels / math.log(2)
        yield values


@measure(bound, default=lambda facts: False)
def train_likelihood(work, *, k: SAMPLES = 5000):
    """Measures the same bound on the first training examples, as many as there are test examples."""
    held = work.held("train", len(work.held("test")["image"]))
    for own in _bounds(work, k, held, 8):
        yield {
            f"train_iwae_{k}": own.mean(),
            f"train_iwae_{k}_error": standard_error(own),
        }


def _bounds(work, k, held, use):
    """The bound of each run and example, [M, N]."""

    def f(carry, given, shared):
        return importance(work.config, k, work.key(use), carry, given, shared)

    shapes = jax.ShapeDtypeStruct((len(held["image"]),), jnp.float32)
    units = importance_units(held, k)
    found = work.through(f, shapes, units, work.given, held)
    return found.astype(np.float64) - math.log(k)


def importance(config, k, key, carry, given, shared):
    """Finds log sum_k p(x, z_k) / q(z_k|x) of every example, z_k ~ q(z|x); nats.

    Less log K it is the bound with K samples: Burda et al. (2016), eq. 8. A unit is a block's next
    DRAWS samples.
    """
    (params, step, hp), (held, start, stop) = given, shared
    hp = config.schedule(hp, step)
    rows, _ = rows_of(held)
    turns = -(-k // DRAWS)

    def unit(u, carry):
        block, turn = u // turns, u % turns
        first, batch = block_of(held, block, rows)
        keys = jax.random.fold_in(jax.random.fold_in(key, block), turn)

        def weight(key):
            draw = config.model.apply(params, batch, key, hp)
            return draw.log_px + draw.log_pz - draw.log_qz

        keys = jax.random.split(keys, DRAWS)
        log_w = jax.lax.map(weight, keys, batch_size=TURN)
        counted = (turn * DRAWS + jnp.arange(DRAWS) < k)[:, None]
        new = jax.nn.logsumexp(jnp.where(counted, log_w, -jnp.inf), axis=0)
        old = jax.lax.dynamic_slice_in_dim(carry, first, rows)
        old = jnp.where(turn == 0, -jnp.inf, old)
        return put(carry, jnp.logaddexp(old, new), first)

    return jax.lax.fori_loop(start, stop, unit, carry)


def importance_units(held, k):
    """The number of units of `importance`."""
    return rows_of(held)[1] * -(-k // DRAWS)


MIXED = [2**19, 1000]  # samples of the prior, and of each posterior
BLOCK = 8192  # samples of the prior at a time


@at_precision
def mixture(run, images, samples=MIXED, block=BLOCK, seed=0):
    """Estimates log p(x) of each image from samples of the prior and of the posterior, [N]; nats.

    Importance sampling from a mixture: of S samples of p(z), the same for all images, and K of
    each q(z|x),

        p(x) ≈ sum_s p(x, z_s) / (S p(z_s) + K q(z_s|x)),

    unbiased (the balance heuristic: Veach and Guibas, 1995), so that its log is a lower bound in
    expectation. No weight is above p(x|z) / S, while with q(z|x) alone there is no bound: an
    encoder that has overfitted then costs tens of nats. It is for few latents, since S samples of
    the prior must find the posterior where the encoder does not.

    Args:
      run: a `training.Trained` whose posterior has `log_prob_each`, and whose likelihood has
        `log_prob_pairs`.
      images: [N, ...] in [0, 1].
      samples: [S, K], S a multiple of `block`.
      block: samples of the prior at a time.
      seed: of the samples.
    """
    shared, own = samples
    q, p = run.encode(images), run.prior()
    for given, method in (
        (q, "log_prob_each"),
        (run.decode(q.sample(None)), "log_prob_pairs"),
    ):
        if not hasattr(given, method):
            name = type(given).__name__
            raise InputError(f"the mixture estimate needs {method}, which {name} lacks")

    def weights(log_px, log_pz, log_qz):
        mixed = jnp.logaddexp(math.log(shared) + log_pz, math.log(own) + log_qz)
        return log_px + log_pz - mixed

    @jax.jit
    def of_prior(key, found):
        z = p.sample(key, block)
        every = jax.tree.map(lambda v: v[:, None], q)
        log_qz = every.log_prob_each(z[None]).sum(-1)  # [N, block]
        log_px = run.decode(z).log_prob_pairs(images)
        w = weights(log_px, p.log_prob(z)[None], log_qz)
        return jnp.logaddexp(found, jax.nn.logsumexp(w, axis=1))

    @jax.jit
    def of_posterior(key, found):
        z = q.sample(key)
        log_qz = q.log_prob_each(z).sum(-1)
        w = weights(run.decode(z).log_prob(images), p.log_prob(z), log_qz)
        return jnp.logaddexp(found, w)

    found = jnp.full(len(images), -jnp.inf)
    prior_key, posterior_key = jax.random.split(jax.random.key(seed))
    for turn in range(shared // block):
        found = of_prior(jax.random.fold_in(prior_key, turn), found)
    for turn in range(own):
        found = of_posterior(jax.random.fold_in(posterior_key, turn), found)
    return found
