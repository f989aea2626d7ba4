"""Encodes a split block by block, so that the work can be resumed.

Functions that a measure runs on the devices have the form `f(carry, given, shared)` of one run,
as `layout.Members.work` calls it: they do units `start` to `stop` (traced), where `given` is
(params, step, hp, ...) of the run and `shared` is (data, start, stop). What they have found is in
the carry, an entry for each of N examples. Work may be cut anywhere between units, and resumed.
"""

import functools

import jax
import jax.numpy as jnp

from aevae import data
from aevae.models.distributions import kl_each
from aevae.training import bounds

ROWS = 100  # examples at a time


def rows_of(held, most=ROWS):
    """The examples of a block, and the number of blocks of a split; the last may overlap."""
    count = len(held["image"])
    rows = min(count, most)
    return rows, -(-count // rows)


def block_of(held, block, rows):
    """The first row of a block, and its batch."""
    count = len(held["image"])
    first = jnp.minimum(block * rows, count - rows)
    batch = {
        name: jax.lax.dynamic_slice_in_dim(values, first, rows)
        for name, values in held.items()
    }
    return first, data.none(None, batch) | {"size": jnp.float32(count)}


def put(values, part, first):
    """The values with those of a block in their place."""
    return jax.lax.dynamic_update_slice_in_dim(values, part, first, 0)


def encode(config, key, carry, given, shared):
    """Encodes every example: its code, posterior, rates and reconstruction errors; by blocks.

    `code` is the code without noise. Where q is a distribution of each latent by itself, `q` is
    that of each example, [N, Z], and `z` a draw with its `log_qz` and `log_pz`. `rate` is each
    latent's, in closed form; `squared_error` and `cross_entropy` are those of the image without
    noise; nats. What a model lacks is not there.
    """
    (params, step, hp), (held, start, stop) = given, shared
    rows, _ = rows_of(held)

    def unit(block, carry):
        first, batch = block_of(held, block, rows)
        found = _codes(config, params, step, hp, batch, jax.random.fold_in(key, block))
        return jax.tree.map(lambda old, new: put(old, new, first), carry, found)

    return jax.lax.fori_loop(start, stop, unit, carry)


def draws(config, count, key, carry, given, shared):
    """Draws codes z ~ q(z|x) of every example, [N, count, Z], by blocks; the codes without a key."""
    (params, step, hp), (held, start, stop) = given, shared
    del step, hp
    rows, _ = rows_of(held)

    def unit(block, carry):
        first, batch = block_of(held, block, rows)
        return put(carry, _drawn(config, params, batch, count, key, block), first)

    return jax.lax.fori_loop(start, stop, unit, carry)


def _drawn(config, params, batch, count, key, block):
    q = config.model.apply(params, batch, method="encode")
    if key is None:
        return jnp.repeat(q.sample(None)[:, None], count, axis=1)
    keys = jax.random.split(jax.random.fold_in(key, block), count)
    return jax.lax.map(q.sample, keys).swapaxes(0, 1)


def _codes(config, params, step, hp, batch, key):
    hp = config.schedule(hp, step)
    still = config.model.apply(params, batch, None, hp)
    found = bounds.reconstruction_errors(still.x, batch["image"])
    if isinstance(still.z, jax.Array):
        found["code"] = still.z
    if hasattr(still.q, "log_prob_each") or hasattr(still.q, "std"):
        draw = config.model.apply(params, batch, key, hp)
        found |= {"q": still.q, "z": draw.z}
        found |= {"log_qz": draw.log_qz, "log_pz": draw.log_pz}
    each = kl_each(still.q, still.p)
    return found if each is None else found | {"rate": each}


def carry_shapes(config, key, held):
    """A function of one run's inputs to the shapes of `encode`'s carry, and the number of blocks."""
    rows, blocks = rows_of(held)

    def of(given):
        _, batch = block_of(held, 0, rows)
        found = _codes(config, *given, batch, key)
        count = len(held["image"])
        return jax.tree.map(lambda v: jnp.zeros((count, *v.shape[1:]), v.dtype), found)

    return functools.partial(jax.eval_shape, of), blocks
