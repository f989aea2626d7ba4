"""Networks that are fitted to codes, trained as those of a sweep are: all runs of a group by one program."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from aevae import optim
from aevae.training.step import init_state, train_step

BATCH = 200
LOOKS = 50  # at the validation codes


class Fit(NamedTuple):
    """A network and how it is trained, as `training.step` takes it."""

    model: Any
    objective: Any
    hparams: dict
    steps: int
    optimizer: Any = optim.adam
    schedule: Any = functools.partial(optim.cosine, length="steps")

    @property
    def hp(self):
        """The hyperparameters of a step."""
        given = self.hparams | {"steps": self.steps}
        return {name: jnp.float32(value) for name, value in given.items()}


class Best(NamedTuple):
    """What training changes: the state, and the parameters of the least validation loss so far."""

    state: Any
    params: Any
    loss: jax.Array


def fitted(work, how, train, validation):
    """The parameters for each run that have the least loss on its validation codes.

    Codes are [M, N, ...], those of a batch drawn with replacement, the same rows for every run.
    """
    given = jax.tree.map(work.members.spread, (train, validation))
    one = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape[1:], v.dtype), given)
    run = functools.partial(_steps, how, work.key(23))
    shapes = jax.eval_shape(functools.partial(_begin, how), *one)
    best = work.through(run, shapes, how.steps, given).params
    return [jax.tree.map(lambda v, i=i: v[i], best) for i in range(len(train))]


def _begin(how, train, validation):
    del validation
    batch = {"image": train[:BATCH], "size": jnp.float32(len(train))}
    state = init_state(how, batch, 0, how.hp)
    return Best(state, state.params, jnp.float32(jnp.inf))


def _steps(how, root, carry, given, shared):
    """Takes steps `start` to `stop` of one run."""
    (train, validation), (start, stop) = given, shared
    every = max(1, how.steps // LOOKS)
    carry = jax.lax.cond(start == 0, lambda: _begin(how, *given), lambda: carry)
    held = {"image": validation, "size": jnp.float32(len(validation))}

    def look(carry):
        params = carry.state.params
        key = jax.random.fold_in(root, how.steps)  # the same noise each time
        loss, _ = how.objective(how.model, params, held, key, how.hp)
        better = loss < carry.loss
        kept = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), params, carry.params
        )
        return Best(carry.state, kept, jnp.minimum(loss, carry.loss))

    def step(t, carry):
        rows_key, key = jax.random.split(jax.random.fold_in(root, t))
        count = len(train)
        rows = jax.random.randint(rows_key, (min(BATCH, count),), 0, count)
        batch = {"image": train[rows], "size": jnp.float32(count)}
        state, _ = train_step(how, carry.state, batch, key, how.hp)
        carry = carry._replace(state=state)
        is_due = ((t + 1) % every == 0) | (t + 1 == how.steps)
        return jax.lax.cond(is_due, look, lambda c: c, carry)

    return jax.lax.fori_loop(start, stop, step, carry)
