"""Evaluation's numbers in float32 against float64, and what it takes of memory."""

import functools
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aevae import models, networks
from aevae.models import Draw
from aevae.training import bounds
from aevae.training.step import State


class Known(NamedTuple):
    """A posterior of known means."""

    mean: jax.Array
    std: jax.Array


def known(apply):
    """What `bounds` needs of a config, for a model that is a function."""
    model = SimpleNamespace(apply=apply)
    return SimpleNamespace(model=model, schedule=lambda hp, step: hp)


def of_rows(params, batch, key, hp):
    """A draw whose posterior mean is the image itself."""
    mean, zero = batch["image"], jnp.zeros(len(batch["image"]))
    return Draw(mean, zero, zero, zero, zero, Known(mean, mean), None, None)


STATE = State(None, (), jnp.int32(0))


@pytest.mark.parametrize("mean", [0.0, 300.0, -1e4])
def test_the_variance_of_a_mean_far_from_zero(mean):
    """Of float32 posterior means, against float64; blocks of 100 and a rest.

    E[m²] - E[m]² gives -0.008 for 0.04 at a mean of 300, and 8 at 10,000.
    """
    std = np.array([0.05, 0.09, 0.12, 0.2, 3.0])
    rows = mean + std * np.random.default_rng(0).standard_normal((641, 5))
    rows = rows.astype(np.float32)
    held, key = {"image": rows}, jax.random.key(0)
    args = known(of_rows), STATE, held, key, {}
    assert bounds.blocks(held, bounds.ROWS_BOUND)[2] > 0
    found = jax.jit(
        functools.partial(bounds.means, bounds.final, bounds.ROWS_BOUND, args[0])
    )(*args[1:])["posterior_mean"]
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(found.variance, exact.var(0), rtol=1e-3)
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=2e-7, atol=1e-6)
    assert (
        jax.jit(functools.partial(bounds.of_split, args[0]))(*args[1:])["active_units"]
        == (exact.var(0) > bounds.ACTIVE).sum()
    )


def test_results_of_large_images_take_the_memory_of_8_draws():
    """A block's images of all 64 draws are 105 MB, were they there at once."""
    model = models.VAE(2, networks.MLPEncoder((4,)), networks.MLPDecoder((4,)))
    model = model.clone(shape=(64, 64, 1))
    config = SimpleNamespace(model=model, schedule=None)
    batch = {"image": jnp.zeros((100, 64, 64, 1)), "size": jnp.float32(100)}
    params = jax.eval_shape(model.init, jax.random.key(0), batch, None, {})
    final = jax.jit(functools.partial(bounds.final, config))
    program = final.lower(State(params, (), 0), batch, jax.random.key(0), {})
    taken = program.compile().memory_analysis().temp_size_in_bytes
    assert taken < 60e6


@pytest.mark.retraced
def test_turns_over_draws_change_no_draw(monkeypatch, tiny):
    """The keys are those of the draws, whatever the turns."""
    model = models.VAE(2, networks.MLPEncoder((4,)), networks.MLPDecoder((4,)))
    config = SimpleNamespace(model=model.clone(shape=(4, 4, 1)), schedule=None)
    image = jnp.float32(tiny.test["image"] > 100)
    batch = {"image": image, "size": jnp.float32(20)}
    params = jax.jit(config.model.init)(jax.random.key(0), batch, None, {})
    found = []
    for large in (bounds.LARGE, 0):
        monkeypatch.setattr(bounds, "LARGE", large)
        final = jax.jit(functools.partial(bounds.final, config))
        found.append(final(State(params, (), 0), batch, jax.random.key(1), {}))
    whole, turns = found
    np.testing.assert_allclose(whole["iwae"], turns["iwae"], rtol=1e-6)
    np.testing.assert_allclose(whole["elbo"], turns["elbo"], rtol=1e-5)
    assert whole["elbo"] < whole["iwae"]
