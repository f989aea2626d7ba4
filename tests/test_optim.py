"""Optimizers against their papers' updates, and schedules at some steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aevae import optim


def test_schedules_at_some_steps():
    hp = {"beta": 4.0, "lr": 1.0, "length": 10.0, "rise": 0.5, "factor": 0.1}

    def at(schedule, of, step, **options):
        return float(schedule(hp, jnp.int32(step), **options)[of])

    ramp = functools.partial(at, optim.ramp, "beta", name="beta", length="length")
    assert [ramp(s) for s in (0, 5, 10, 99)] == [0, 2, 4, 4]
    cycle = functools.partial(
        at, optim.cycle, "beta", name="beta", length="length", rise="rise"
    )
    found = [cycle(s) for s in (0, 2, 5, 9, 10, 12, 15)]
    np.testing.assert_allclose(found, [0, 1.6, 4, 4, 0, 1.6, 4], rtol=1e-5)
    cosine = functools.partial(at, optim.cosine, "lr", length="length")
    np.testing.assert_allclose(
        [cosine(s) for s in (0, 5, 10, 50)], [1, 0.5, 0, 0], atol=1e-6
    )
    steps = functools.partial(at, optim.steps, "lr", length="length", factor="factor")
    np.testing.assert_allclose(
        [steps(s) for s in (0, 9, 10, 25)], [1, 1, 0.1, 0.01], rtol=1e-5
    )
    stages = functools.partial(at, optim.stages, "lr", ends=(10, 40), factor="factor")
    np.testing.assert_allclose(
        [stages(s) for s in (0, 9, 10, 39, 40, 900)],
        [1, 1, 0.1, 0.1, 0.01, 0.01],
        rtol=1e-5,
    )
    both = functools.partial(
        optim.chain,
        schedules=(
            functools.partial(optim.ramp, name="beta", length="length"),
            functools.partial(optim.cosine, length="length"),
        ),
    )
    assert (at(both, "beta", 5), at(both, "lr", 5)) == (2.0, pytest.approx(0.5))


def test_adagrad_starts_at_zero_as_its_paper():
    """One step from any gradient is lr in every coordinate; optax's own start of 0.1 is less."""
    hp = {"lr": 0.1}
    grads = {"w": jnp.array([1e-2, 3.0])}
    optimizer = optim.adagrad(hp)
    updates, _ = optimizer.update(grads, optimizer.init(grads))
    np.testing.assert_allclose(updates["w"], [-0.1, -0.1], rtol=1e-3)


def test_decay_is_the_gradient_of_a_gaussian_prior_on_the_parameters():
    """Of L(w) + |w|²/(2N): what an optimizer then sees of L alone differs by w/N."""
    w, grads, hp = jnp.array([3.0, -2.0]), jnp.array([0.1, 0.2]), {"lr": 1.0}
    hp |= {"momentum": 0.0, "weight_decay": 1 / 50}
    optimizer = optim.decayed(hp, optimizer=optim.sgd)
    updates, _ = optimizer.update(grads, optimizer.init(w), w)

    def objective(w):
        return (grads * w).sum() + (w**2).sum() / (2 * 50)

    np.testing.assert_allclose(updates, -jax.grad(objective)(w), rtol=1e-6)


def test_clipping_bounds_the_global_norm():
    hp = {"lr": 1.0, "momentum": 0.0, "clip": 2.0}
    grads = {"a": jnp.array([30.0]), "b": jnp.array([40.0])}
    optimizer = optim.clipped(hp, optimizer=optim.sgd)
    updates, _ = optimizer.update(grads, optimizer.init(grads))
    np.testing.assert_allclose([*updates["a"], *updates["b"]], [-1.2, -1.6], rtol=1e-5)
