"""What a battery is run on: a config's model at generic parameters, a few examples, and its programs.

The parameters are initial ones, each moved a little at random, so that no bias is 0 and no posterior
is the prior. A hyperparameter that is 0 is given a value, or what it weighs would be seen by no
check.
"""

import dataclasses
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError, data
from aevae.training.check import with_image_shape
from aevae.training.step import init_state, initial_batch
from experiments.battery import claims

ROWS = 16  # of a batch; some checks take two of them
KEYS = 64  # over which what is random is averaged
DRAWS = 320  # of z for each example
MOVED = 0.1  # standard deviation, at most, of what is added to parameters
LATE = 10**6  # the step of the schedules: after every warm-up


class Subject:
    """A config on a data set, with what its checks share; programs are compiled once, when asked for.

    Attributes: `config`, `dataset`, `params`, `hp` (after its schedule), `twice`, a batch of 2 ROWS
    distinct examples, `batch` and `other`, its halves, and `disclaimed`, {check: why}.
    """

    def __init__(self, config, dataset):
        count = len(dataset.train["image"])
        if count < 2 * ROWS:
            raise InputError(
                f"the battery needs {2 * ROWS} training examples, and {dataset.name} has {count}"
            )
        self.given = config
        self.config = dataclasses.replace(
            with_image_shape(config, dataset), hparams=nonzero(config)
        )
        self.dataset = dataset
        self.disclaimed = claims.disclaimed(config)
        hp = {k: jnp.float32(v) for k, v in self.config.hparams.items()}
        start = jax.jit(functools.partial(init_state, self.config))
        state = start(initial_batch(dataset.train), 0, hp)
        self.hp = self.config.schedule(hp, jnp.int32(LATE))
        self.start, self.params = state.params, moved(state.params)
        self.model = self.config.model
        self.twice = self._examples(slice(2 * ROWS))
        self.batch = part(self.twice, slice(ROWS))
        self.other = part(self.twice, slice(ROWS, None))

    def _examples(self, which):
        stored = data.rows(self.dataset.train, which)
        prepare = jax.jit(self.config.binarization)
        return prepare(jax.random.key(3), stored)

    @functools.cached_property
    def over_keys(self):
        """The loss and metrics for each of many keys, (params, batch, keys, hp) -> {name: [K]}."""
        return over_keys(self.config.objective, self.model)

    @functools.cached_property
    def fixed_over_keys(self):
        """The same of a model whose draws of z are always `draw`."""
        return over_keys(self.config.objective, fixed(self.model))

    @functools.cached_property
    def keys(self):
        return jax.random.split(jax.random.key(5), KEYS)

    @functools.cached_property
    def found(self):
        """Loss and metrics of the batch for each key; NumPy, float64."""
        return self.values(self.batch)

    def values(self, batch, params=None, hp=None, of="over_keys"):
        """Loss and metrics of a batch for each of the keys, {name: [K]}; NumPy, float64."""
        params, hp = params or self.params, hp or self.hp
        return numpy(getattr(self, of)(params, batch, self.keys, hp))

    @functools.cached_property
    def fixed(self):
        """Loss and metrics at the z of `draw`, {name: [K]}; what is random besides varies."""
        return self.values(self.batch, of="fixed_over_keys")

    @functools.cached_property
    def has_bound(self):
        return "rate" in self.found or "elbo" in self.found

    @functools.cached_property
    def draw(self):
        """The `Draw` of the model that `fixed` always gives, or at the mean code without a bound."""
        model = fixed(self.model)
        key = jax.random.key(0) if self.has_bound else None
        take = jax.jit(lambda params, batch, hp: model.apply(params, batch, key, hp))
        return take(self.params, self.batch, self.hp)

    @functools.cached_property
    def draws(self):
        """DRAWS of z: {z, log_px, log_pz, log_qz} by the distributions, [S, B]; NumPy, float64."""
        keys = jax.random.split(jax.random.key(11), DRAWS)
        return numpy(draws(self.model)(self.params, self.batch, keys, self.hp))

    def option(self, name):
        """An argument that is bound to the objective, or its default; None where there is none."""
        objective = self.config.objective
        bound = getattr(objective, "keywords", {})
        if name in bound:
            return bound[name]
        known = inspect.signature(objective).parameters
        if name not in known or known[name].default is inspect.Parameter.empty:
            return None
        return known[name].default


def over_keys(objective, model):
    """A compiled function (params, batch, keys, hp) -> {loss and metrics: [K]}."""

    @jax.jit
    def run(params, batch, keys, hp):
        def one(key):
            loss, terms = objective(model, params, batch, key, hp)
            return {**terms, "loss": loss}

        return jax.lax.map(one, keys, batch_size=16)

    return run


def draws(model):
    """A compiled function (params, batch, keys, hp) -> the densities of draws of z, by key."""

    @jax.jit
    def run(params, batch, keys, hp):
        def one(key):
            draw = model.apply(params, batch, key, hp)
            flat = [leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(draw.z)]
            return {
                "z": jnp.concatenate(flat, 1),
                "log_px": draw.log_px,
                "log_pz": jnp.broadcast_to(draw.p.log_prob(draw.z), draw.log_px.shape),
                "log_qz": draw.q.log_prob(draw.z),
                "log_pz of the draw": draw.log_pz,
                "log_qz of the draw": draw.log_qz,
            }

        return jax.lax.map(one, keys, batch_size=16)

    return run


def fixed(model):
    """The model with one key in place of every other: what is drawn is always the same z."""
    kind = type(model)

    class Fixed(kind):
        def __call__(self, batch, key, hp):
            key = None if key is None else jax.random.key(17)
            return super().__call__(batch, key, hp)

    return remade(model, Fixed)


def remade(model, kind):
    """A model with the fields of another, of a class that has the same."""
    fields = [field.name for field in dataclasses.fields(model) if field.init]
    given = {n: getattr(model, n) for n in fields if n not in ("parent", "name")}
    return kind(**given)


def nonzero(config):
    """Hyperparameters with another value for 0: the greatest of the config's grid, or ½."""
    found = dict(config.hparams)
    grids = config.grid if isinstance(config.grid, (list, tuple)) else [config.grid]
    for name, value in found.items():
        if value == 0:
            swept = [v for grid in grids for v in (grid or {}).get(name, ())]
            found[name] = max([v for v in swept if v], default=0.5)
    return found


def moved(params):
    """Parameters with Gaussian noise: of half their own deviation, or MOVED where that is less."""
    rng = np.random.default_rng(0)

    def one(leaf):
        own = 0.5 * float(jnp.std(leaf))
        size = min(own, MOVED) if own > 0 else MOVED
        return leaf + jnp.float32(size * rng.normal(size=leaf.shape))

    return jax.tree.map(one, params)


def part(batch, rows):
    """Rows of a batch, with its other fields as they are."""
    return {k: v[rows] if jnp.ndim(v) else v for k, v in batch.items()}


def numpy(tree):
    """Arrays as NumPy's float64."""
    return jax.tree.map(np.float64, jax.device_get(tree))
