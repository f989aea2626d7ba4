"""Estimates that take long, of one run: in units of work that may be cut and gone on with anywhere.

`f(carry, given, shared)` does units `start` to `stop` (traced) of its work, as `members.work` calls
it: `given` is (params, step, hp, ...) of a run and `shared` (data, start, stop). What it has found is
in the carry, an entry for each of N examples.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from aevae import data
from aevae.models.distributions import Normal, kl_each, log_mean_exp, per_example
from aevae.training import bounds

ROWS = 100  # examples at a time ...
DRAWS = 20  # ... and codes of each
FLOATS = 4_000_000  # between codes and posteriors at a time
LEAPFROGS = 10
ACCEPTED = 0.65  # of the proposals, to which step sizes are tuned: Neal (2011)
TUNING = 1.05  # by which factor a step changes


def _rows(held, most=ROWS):
    """Examples of a block, and of how many blocks a split consists. The last may overlap."""
    count = len(held["image"])
    rows = min(count, most)
    return rows, -(-count // rows)


def _block(held, block, rows):
    """The first row of a block, and its batch."""
    count = len(held["image"])
    first = jnp.minimum(block * rows, count - rows)
    batch = {
        name: jax.lax.dynamic_slice_in_dim(values, first, rows)
        for name, values in held.items()
    }
    return first, data.none(None, batch) | {"size": jnp.float32(count)}


def _put(values, part, first):
    return jax.lax.dynamic_update_slice_in_dim(values, part, first, 0)


# Codes


def encode(config, key, carry, given, shared):
    """Of every example its code and what is between code and image; a unit is a block.

    `code` is the code without noise; where q is a diagonal Gaussian `mean` and `std`, and a draw `z`
    with its `log_qz` and `log_pz`; `rate` each latent's, in closed form; `squared_error` and
    `cross_entropy` those of the image without noise, nats. What a model lacks is not there.
    """
    (params, step, hp), (held, start, stop) = given, shared
    rows, _ = _rows(held)

    def unit(block, carry):
        first, batch = _block(held, block, rows)
        found = _codes(config, params, step, hp, batch, jax.random.fold_in(key, block))
        return jax.tree.map(lambda old, new: _put(old, new, first), carry, found)

    return jax.lax.fori_loop(start, stop, unit, carry)


def _codes(config, params, step, hp, batch, key):
    hp = config.schedule(hp, step)
    still = config.model.apply(params, batch, None, hp)
    found = bounds.errors(still.x, batch["image"])
    if isinstance(still.z, jax.Array):
        found["code"] = still.z
    if isinstance(still.q, Normal):
        draw = config.model.apply(params, batch, key, hp)
        found |= {"mean": still.q.mean, "std": still.q.std, "z": draw.z}
        found |= {"log_qz": draw.log_qz, "log_pz": draw.log_pz}
    each = kl_each(still.q, still.p)
    return found if each is None else found | {"rate": each}


def codes(config, key, held):
    """The shapes of what `encode` carries for one run, and its units."""
    rows, blocks = _rows(held)

    def of(given):
        _, batch = _block(held, 0, rows)
        found = _codes(config, *given, batch, key)
        count = len(held["image"])
        return {n: jnp.zeros((count, *v.shape[1:]), v.dtype) for n, v in found.items()}

    return functools.partial(jax.eval_shape, of), blocks


# Importance sampling


def importance(config, k, key, carry, given, shared):
    """log sum_k p(x, z_k) / q(z_k|x) of every example, z_k ~ q(z|x): Burda et al. (2016), eq. 8.

    Less log K it is the bound with K samples. A unit is a block's next DRAWS samples.
    """
    (params, step, hp), (held, start, stop) = given, shared
    hp = config.schedule(hp, step)
    rows, _ = _rows(held)
    turns = -(-k // DRAWS)

    def unit(u, carry):
        block, turn = u // turns, u % turns
        first, batch = _block(held, block, rows)
        keys = jax.random.fold_in(jax.random.fold_in(key, block), turn)
        draws = jax.vmap(lambda key: config.model.apply(params, batch, key, hp))(
            jax.random.split(keys, DRAWS)
        )
        log_w = draws.log_px + draws.log_pz - draws.log_qz
        counted = (turn * DRAWS + jnp.arange(DRAWS) < k)[:, None]
        new = jax.nn.logsumexp(jnp.where(counted, log_w, -jnp.inf), axis=0)
        old = jax.lax.dynamic_slice_in_dim(carry, first, rows)
        old = jnp.where(turn == 0, -jnp.inf, old)
        return _put(carry, jnp.logaddexp(old, new), first)

    return jax.lax.fori_loop(start, stop, unit, carry)


def importance_units(held, k):
    """Of how many units it consists."""
    return _rows(held)[1] * -(-k // DRAWS)


# Annealed importance sampling


def hmc(log_density, z, step, key):
    """One Hamiltonian Monte Carlo step of each row: Neal (2011). (z, accepted [B]).

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
    """0 = b_0 < ... < b_count = 1, a sigmoid: Wu et al. (2017), section 4."""
    ends = jax.nn.sigmoid(jnp.linspace(-4.0, 4.0, count + 1))
    return (ends - ends[0]) / (ends[-1] - ends[0])


def anneal(config, chains, count, simulated, key, carry, given, shared):
    """Lower bounds on log p(x), and with `simulated` images upper ones: a unit is a temperature.

    Annealed importance sampling (Neal, 2001) from the prior to p(z) p(x|z)^b, b from 0 to 1 in
    `count` steps, with `chains` chains an example and a step of `hmc` at each. A first pass tunes
    the step sizes, which the others take as they are: so log mean w is a lower bound in
    expectation. With `simulated`, images are drawn from the model, with the codes they came from;
    from those, which are exact draws of p(z|x), a third pass goes back, and its -log mean w is an
    upper bound: bidirectional Monte Carlo (Grosse et al., 2015; Wu et al., 2017).
    """
    (params, step, hp), (held, start, stop) = given, shared
    hp, model = config.schedule(hp, step), config.model
    rows, _ = _rows(held)
    passes = 3 if simulated else 2
    bs = temperatures(count)

    def repeated(values):
        return jax.tree.map(lambda v: jnp.concatenate([v] * chains), values)

    def unit(u, carry):
        block, turn = u // (passes * count), u % (passes * count)
        way, t = turn // count, turn % count
        first, batch = _block(held, block, rows)
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
                new = _put(carry[name], sign * value, first)
                carry[name] = jnp.where(done, new, carry[name])
        return carry

    return jax.lax.fori_loop(start, stop, unit, carry)


def annealing(config, chains, count, simulated, held):
    """The shapes of what `anneal` carries for one run, and its units."""
    rows, blocks = _rows(held)

    def of(given):
        params, _, _ = given
        _, batch = _block(held, 0, rows)
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


# The aggregate posterior


def aggregate(carry, given, shared):
    """log q(z) and sum_z log q(z_z) of codes z [S, Z], by all N posteriors; nats.

    q(z) = 1/N sum_n q(z|x_n), exact, of the whole set: no minibatch stands for it. `given` is (mean
    [N, Z], std [N, Z], z [S, Z]). A unit is a block of codes.
    """
    (mean, std, z), (start, stop) = given, shared
    rows, _ = _codes_at_once(mean, z)

    def unit(block, carry):
        first = jnp.minimum(block * rows, len(z) - rows)
        own = jax.lax.dynamic_slice_in_dim(z, first, rows)
        each = norm.logpdf(own[:, None], mean[None], std[None])
        both = {
            "log_q": jax.nn.logsumexp(each.sum(-1), axis=1) - math.log(len(mean)),
            "log_each": (jax.nn.logsumexp(each, axis=1) - math.log(len(mean))).sum(-1),
        }
        return jax.tree.map(lambda old, new: _put(old, new, first), carry, both)

    return jax.lax.fori_loop(start, stop, unit, carry)


def _codes_at_once(mean, z):
    count = z.shape[-2]  # there may be an axis of runs before
    rows = min(count, max(1, FLOATS // math.prod(mean.shape[-2:])))
    return rows, -(-count // rows)


def aggregate_units(mean, z):
    """Of how many units it consists, for one run's."""
    return _codes_at_once(mean, z)[1]
