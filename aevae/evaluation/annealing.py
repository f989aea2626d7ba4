"""Annealed importance sampling: bounds on log p(x) that do not use the encoder."""

import functools
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from aevae.evaluation.codes import block_of, put, rows_of
from aevae.evaluation.contract import at_least, bound, continuous, measure
from aevae.evaluation.work import standard_error
from aevae.models.distributions import log_mean_exp, per_example

LEAPFROGS = 10
ACCEPTED = 0.65  # of the proposals, to which step sizes are tuned: Neal (2011)
TUNING = 1.05  # by which factor a step size changes


@measure(bound, continuous, default=lambda facts: False)
def ais(
    work,
    *,
    ais_chains: Annotated[int, "chains for each example", at_least(1)] = 16,
    ais_steps: Annotated[int, "temperatures from the prior on", at_least(1)] = 500,
    ais_examples: Annotated[int, "test examples, the first ones", at_least(1)] = 100,
):
    """Measures annealing's lower bound on test examples, and the two-sided gap on simulated ones.

    `ais` is a lower bound on log p(x) of the first test examples from the prior alone, `bdmc_gap`
    the upper bound less the lower one on images that the model drew; nats. See `anneal`.
    """
    held, found = work.held("test", ais_examples), {}
    for simulated in (False, True):
        how = ais_chains, ais_steps, simulated
        of, units = annealing(work.config, *how, held)

        def f(carry, given, shared, how=how):
            own = work.key(6 + how[-1])
            return anneal(work.config, *how, own, carry, given, shared)

        carry = work.through(f, of(work.shapes()), units, work.given, held)
        found |= {(simulated, n): carry[n] for n in ("lower", "upper") if n in carry}
    for i in range(len(work.group.runs)):
        lower = found[False, "lower"][i].astype(np.float64)
        gap = np.float64(found[True, "upper"][i]) - found[True, "lower"][i]
        values = {"ais": lower.mean(), "ais_error": standard_error(lower)}
        yield values | {"bdmc_gap": gap.mean(), "ais_examples": len(lower)}


def hmc(log_density, z, step, key):
    """Takes one Hamiltonian Monte Carlo step of each row: Neal (2011); (z, accepted [B]).

    The step size is drawn within a fifth around `step` [B], against closed orbits.
    """
    rows = len(step)
    key, jitter_key = jax.random.split(key)
    step = step * jax.random.uniform(jitter_key, (rows,), minval=0.8, maxval=1.2)

    def spread(values, like):
        return values.reshape(rows, *[1] * (like.ndim - 1))

    def total(values):
        return sum(per_example(v) for v in jax.tree.leaves(values))

    slope = jax.grad(lambda z: log_density(z).sum())
    leaves, tree = jax.tree.flatten(z)
    accept_key, *keys = jax.random.split(key, len(leaves) + 1)
    p = tree.unflatten([jax.random.normal(k, v.shape) for k, v in zip(keys, leaves)])

    def kick(p, z, share):
        return jax.tree.map(lambda p, g: p + share * spread(step, g) * g, p, slope(z))

    def drift(z, p):
        return jax.tree.map(lambda z, p: z + spread(step, p) * p, z, p)

    def leap(_, now):
        z, p = now
        z = drift(z, p)
        return z, kick(p, z, 1.0)

    after, q = jax.lax.fori_loop(0, LEAPFROGS - 1, leap, (z, kick(p, z, 0.5)))
    after = drift(after, q)
    q = kick(q, after, 0.5)
    energy = log_density(after) - log_density(z)
    energy += 0.5 * total(jax.tree.map(lambda a, b: a**2 - b**2, p, q))
    accepted = jnp.log(jax.random.uniform(accept_key, (rows,))) < energy
    keep = jax.tree.map(
        lambda new, old: jnp.where(spread(accepted, new), new, old), after, z
    )
    return keep, accepted


def temperatures(count):
    """Inverse temperatures 0 = b_0 < ... < b_count = 1 along a sigmoid: Wu et al. (2017), section 4."""
    ends = jax.nn.sigmoid(jnp.linspace(-4.0, 4.0, count + 1))
    return (ends - ends[0]) / (ends[-1] - ends[0])


def anneal(config, chains, count, simulated, key, carry, given, shared):
    """Finds lower bounds on log p(x), and with `simulated` images upper ones; a unit is a temperature.

    Annealed importance sampling (Neal, 2001) from the prior to p(z) p(x|z)^b, b from 0 to 1 in
    `count` steps, with `chains` chains an example and a step of `hmc` at each. A first pass tunes
    the step sizes, which the others take as they are: so log mean w is a lower bound in
    expectation. With `simulated`, images are drawn from the model, with the codes they came from;
    from those, which are exact draws of p(z|x), a third pass goes back, and its -log mean w is an
    upper bound: bidirectional Monte Carlo (Grosse et al., 2015; Wu et al., 2017).
    """
    (params, step, hp), (held, start, stop) = given, shared
    hp, model = config.schedule(hp, step), config.model
    rows, _ = rows_of(held)
    passes = 3 if simulated else 2
    bs = temperatures(count)

    def repeated(values):
        return jax.tree.map(lambda v: jnp.concatenate([v] * chains), values)

    def unit(u, carry):
        block, turn = u // (passes * count), u % (passes * count)
        way, t = turn // count, turn % count
        first, batch = block_of(held, block, rows)
        own = jax.random.fold_in(jax.random.fold_in(key, block), turn)
        start_key, image_key, hmc_key = jax.random.split(own, 3)

        def begin(carry):
            z = model.apply(params, batch, method="prior").sample(
                start_key, rows * chains
            )
            if simulated:
                exact = jax.tree.map(lambda v: v[:rows], z)
                x = model.apply(params, exact, batch, hp, method="decode")
                fresh = carry | {"exact": exact, "image": x.sample(image_key)}
                carry = jax.tree.map(
                    lambda new, old: jnp.where(turn == 0, new, old), fresh, carry
                )
                z = jax.tree.map(
                    lambda there, new: jnp.where(way == 2, there, new),
                    repeated(carry["exact"]),
                    z,
                )
            zero = jnp.zeros(rows * chains)
            size = jnp.full(rows, 0.5)
            return carry | {"z": z, "log_w": zero, "size": size}

        carry = jax.lax.cond(t == 0, begin, lambda carry: carry, carry)
        if simulated:
            batch = batch | {"image": carry["image"]}
        batch = {n: repeated(v) if jnp.ndim(v) else v for n, v in batch.items()}

        def log_px(z):
            x = model.apply(params, z, batch, hp, method="decode")
            return x.log_prob(batch["image"])

        def log_pz(z):
            return model.apply(params, batch, method="prior").log_prob(z)

        at = jnp.where(way == 2, count - 1 - t, t)  # between b_at and b_at+1
        gain = (bs[at + 1] - bs[at]) * jnp.where(way == 2, -1.0, 1.0)
        size = jnp.where(way == 0, carry["size"], carry["sizes"][at])
        z = carry["z"]
        before = log_px(z)
        z, accepted = hmc(
            lambda z: log_pz(z) + bs[at + 1] * log_px(z),
            z,
            repeated(size),
            hmc_key,
        )
        log_w = carry["log_w"] + gain * jnp.where(way == 2, log_px(z), before)
        share = accepted.reshape(chains, rows).mean(0)
        tuned = size * jnp.where(share > ACCEPTED, TUNING, 1 / TUNING)
        sizes = jnp.where(way == 0, carry["sizes"].at[at].set(size), carry["sizes"])
        value = log_mean_exp(log_w.reshape(chains, rows))
        carry = carry | {"z": z, "log_w": log_w, "size": tuned, "sizes": sizes}
        for name, sign, own in (("lower", 1, 1), ("upper", -1, 2)):
            if name in carry:
                done = (way == own) & (t == count - 1)
                new = put(carry[name], sign * value, first)
                carry[name] = jnp.where(done, new, carry[name])
        return carry

    return jax.lax.fori_loop(start, stop, unit, carry)


def annealing(config, chains, count, simulated, held):
    """A function of what a run is given to the shapes of `anneal`'s carry, and its units."""
    rows, blocks = rows_of(held)

    def of(given):
        params, _, _ = given
        _, batch = block_of(held, 0, rows)
        key = jax.random.key(0)
        prior = config.model.apply(params, batch, method="prior")
        z = prior.sample(key, rows * chains)
        examples = jnp.zeros(len(held["image"]))
        carry = {"z": z, "log_w": jnp.zeros(rows * chains), "lower": examples}
        carry |= {"size": jnp.zeros(rows), "sizes": jnp.zeros((count, rows))}
        if simulated:
            exact = jax.tree.map(lambda v: v[:rows], z)
            carry |= {"upper": examples, "exact": exact, "image": batch["image"]}
        return carry

    passes = 3 if simulated else 2
    return functools.partial(jax.eval_shape, of), blocks * passes * count
