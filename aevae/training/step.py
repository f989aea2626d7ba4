"""One run: its state, a train step, and a span of steps. This file is for one run."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from aevae import data

INIT_ROWS = 10_000  # training examples that initial values may depend on


class State(NamedTuple):
    """Everything that changes during a run: arrays only, no function, no config, no key."""

    params: Any
    opt: optax.OptState
    step: jax.Array


def init_state(config, batch, seed, hp, params=None):
    """The state before the first step; `batch` is scaled training data, for initial values.

    `params`, as those of a trained run, take the place of new ones.
    """
    hp = config.schedule(hp, jnp.int32(0))
    if params is None:
        key = jax.random.fold_in(jax.random.key(seed), 0)
        params = config.model.init(key, batch, None, hp)
    return State(params, config.optimizer(hp).init(params), jnp.int32(0))


def train_step(config, state, batch, key, hp):
    """One update by the gradient of the objective on a batch; (state, metrics with `loss`).

    The optimizer is rebuilt here from hyperparameters, so that its numbers may be traced.
    """
    hp = config.schedule(hp, state.step)

    def objective(params):
        return config.objective(config.model, params, batch, key, hp)

    (loss, metrics), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
    updates, opt = config.optimizer(hp).update(grads, state.opt, state.params)
    params = optax.apply_updates(state.params, updates)
    return State(params, opt, state.step + 1), metrics | {"loss": loss}


class Window(NamedTuple):
    """Steps of an epoch, or of several, and the rows that they visit.

    Of a set that is on the device as a whole, a window is of many epochs and `stored` the set.
    """

    stored: dict[str, jax.Array]  # arrays of rows
    order: (
        jax.Array
    )  # [T, B], of all seeds [S, E, T, B]: the rows of `stored` in each batch
    first: int  # the step of an epoch that the first of T is
    size: float  # of the set that the rows are of
    epoch: int = 0  # how many epochs come before


def train_span(config, window, carry, seed, hp, start, stop, piece=None):
    """Takes steps `start` to `stop` (traced) of an epoch, within a window of it.

    `carry` is (state, sums of the epoch's metrics so far). Cutting an epoch into spans, or into
    windows, changes no bit of either, so the host may look, save or leave between any two steps.
    The keys come from the seed and the step alone: nothing random is stored, and any step can be
    replayed. Where `piece` divides the number of steps, loops of that known length take them.
    """
    root = jax.random.fold_in(jax.random.key(seed), 1)
    state, sums = carry
    sums = jax.tree.map(lambda s: jnp.where(start == 0, 0.0, s), sums)

    @jax.jit
    def taken(state, batch, key, noise_key, hp):
        batch = config.binarization(key, batch)
        return train_step(config, state, batch, noise_key, hp)

    def body(t, carry):
        state, sums = carry
        key, noise_key = jax.random.split(jax.random.fold_in(root, state.step))
        batch = data.rows(window.stored, window.order[t - window.first], window.size)
        # What follows is then compiled alike, whatever shape the window has.
        batch = jax.lax.optimization_barrier(batch)
        state, metrics = taken(state, batch, key, noise_key, hp)
        return state, jax.tree.map(jnp.add, sums, metrics)

    carry = state, sums
    if piece is None:
        return jax.lax.fori_loop(start, stop, body, carry)

    def pieces(n, carry):
        first = start + n * piece
        return jax.lax.fori_loop(0, piece, lambda t, c: body(first + t, c), carry)

    return jax.lax.fori_loop(0, (stop - start) // piece, pieces, carry)


def initial_batch(split, size=None):
    """Scaled training data that initial values may come from; `size` as in `data.rows`."""
    return data.none(None, data.rows(split, slice(INIT_ROWS), size))
