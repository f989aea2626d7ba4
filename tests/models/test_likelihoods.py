"""Likelihoods: closed forms, moments, extreme outputs, and what is outside the support."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from aevae.models import distributions, likelihoods
from aevae.models.likelihoods import Bernoulli

RNG = np.random.default_rng(0)


def test_bernoulli_log_prob_is_scipys_over_whole_images():
    logits = RNG.normal(size=(3, 4, 4, 1)).astype(np.float32)
    x = RNG.integers(0, 2, logits.shape).astype(np.float32)
    chance = 1 / (1 + np.exp(-np.float64(logits)))
    theirs = scipy.stats.bernoulli.logpmf(x, chance).sum((1, 2, 3))
    np.testing.assert_allclose(
        Bernoulli(jnp.asarray(logits)).log_prob(x), theirs, rtol=1e-5
    )


@pytest.mark.parametrize("logit", [1e3, -1e3])
def test_bernoulli_is_finite_at_extreme_logits(logit):
    def log_prob(logits, x):
        return Bernoulli(logits).log_prob(x).sum()

    for x, expected in ((0.0, min(-logit, 0.0)), (1.0, min(logit, 0.0))):
        value, slope = jax.value_and_grad(log_prob)(
            jnp.full((1, 1), logit), jnp.full((1, 1), x)
        )
        assert value == expected
        assert np.isfinite(slope).all()


def test_half_variance_makes_squared_error():
    out, x = jnp.asarray(RNG.normal(size=(2, 5, 7)).astype(np.float32))
    log_p = likelihoods.gaussian(out, {"sigma": 0.5**0.5}).log_prob(x)
    squared = ((out - x) ** 2).sum(-1)
    np.testing.assert_allclose(-log_p, squared + 7 * 0.5 * np.log(np.pi), rtol=1e-5)


LOGITS = np.float32([-1e3, -30, -3, -0.011, -0.009, -1e-4, 0, 1e-3, 0.5, 4, 30, 1e3])


def test_continuous_bernoulli_is_a_density_and_its_mean_and_samples_agree():
    """By quadrature on a grid that is fine at both ends."""
    inner = np.linspace(0, 1, 20_001)
    ends = np.geomspace(1e-7, 1e-2, 4000)
    x = np.unique(np.concatenate([inner, ends, 1 - ends, [0, 1]])).astype(np.float32)
    d = likelihoods.ContinuousBernoulli(jnp.asarray(LOGITS[:, None]))
    grid = jnp.asarray(np.tile(x, (len(LOGITS), 1)))[:, :, None]
    log_p = jax.vmap(lambda x: d.log_prob(x), 1, 1)(grid)
    density = np.exp(np.float64(log_p))
    np.testing.assert_allclose(np.trapezoid(density, x, axis=1), 1, rtol=2e-3)
    mean = np.trapezoid(density * x, x, axis=1)
    np.testing.assert_allclose(d.mean[:, 0], mean, atol=1e-3)
    keys = jax.random.split(jax.random.key(0), 20_000)
    drawn = np.asarray(jax.vmap(d.sample)(keys))[..., 0]
    assert drawn.min() >= 0 and drawn.max() <= 1
    error = 5 * drawn.std(0) / np.sqrt(len(drawn)) + 1e-6
    assert (abs(drawn.mean(0) - mean) < error + 1e-3).all()


def test_gradients_of_the_continuous_bernoulli_are_finite_everywhere():
    def total(logits):
        d = likelihoods.ContinuousBernoulli(logits)
        return (d.log_prob(jnp.full(logits.shape, 0.3)) + d.mean.sum()).sum()

    assert np.isfinite(jax.grad(total)(jnp.asarray(LOGITS[:, None]))).all()


@pytest.mark.parametrize(
    ("location", "scale"),
    [(0.4, 0.05), (0.0, 0.02), (1.3, 0.1), (0.5, 1e-4), (-2.0, 0.03)],
)
def test_discretized_logistic_sums_to_1_and_is_finite_far_away(location, scale):
    x = jnp.arange(256)[:, None] / 255
    d = likelihoods.DiscretizedLogistic(
        jnp.full((256, 1), location), jnp.full((256, 1), jnp.log(scale))
    )
    log_p = np.float64(d.log_prob(x))
    assert np.isfinite(log_p).all()
    np.testing.assert_allclose(np.exp(log_p).sum(), 1, rtol=5e-4)
    np.testing.assert_allclose(d.mean[0, 0], np.exp(log_p) @ x[:, 0], atol=1e-4)
    edges = (np.arange(255) + 0.5) / 255
    below = scipy.stats.logistic.cdf(edges, location, scale)
    mass = np.diff(np.concatenate([[0], below, [1]]))
    np.testing.assert_allclose(np.exp(log_p), mass, rtol=2e-3, atol=1e-6)
    drawn = np.asarray(d.sample(jax.random.key(0)))[:, 0]
    np.testing.assert_allclose(drawn * 255, np.round(drawn * 255), atol=1e-3)

    def total(location, scale):
        return likelihoods.DiscretizedLogistic(location, scale).log_prob(x).sum()

    for slope in jax.grad(total, (0, 1))(*d):
        assert np.isfinite(slope).all()


def test_categorical_is_scipys():
    logits = RNG.normal(size=(3, 4, 5)).astype(np.float32)
    d = likelihoods.Categorical(jnp.asarray(logits))
    chance = scipy.special.softmax(np.float64(logits), -1)
    level = RNG.integers(0, 5, (3, 4))
    expected = np.log(np.take_along_axis(chance, level[..., None], -1)).sum((1, 2))
    np.testing.assert_allclose(d.log_prob(jnp.asarray(level / 4)), expected, rtol=1e-5)
    np.testing.assert_allclose(d.mean, chance @ (np.arange(5) / 4), rtol=1e-5)
    drawn = jax.vmap(d.sample)(jax.random.split(jax.random.key(0), 20_000))
    assert abs(np.mean(drawn, 0) - d.mean).max() < 0.02


HUGE = [-1e4, 0.0, 1e4]
OUTPUTS = {
    "bernoulli": (likelihoods.bernoulli, 1, {}),
    "continuous": (likelihoods.continuous_bernoulli, 1, {}),
    "gaussian": (likelihoods.gaussian, 1, {"sigma": 1e-3}),
    "pair": (likelihoods.gaussian_pair, 2, {}),
    "logistic": (likelihoods.discretized_logistic, 1, {"scale": 0.01}),
    "any logistic": (
        lambda out, hp: likelihoods.DiscretizedLogistic(
            out[..., 0], distributions.bounded(out[..., 1], *distributions.LOG_STD)
        ),
        2,
        {},
    ),
    "categorical": (likelihoods.categorical, 3, {}),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_likelihoods_are_finite_at_huge_outputs(name):
    """All combinations of -1e4, 0 and 1e4 as what a decoder puts out for a pixel."""
    likelihood, outputs, hp = OUTPUTS[name]
    out = np.array(list(itertools.product(HUGE, repeat=outputs)), np.float32)
    out = jnp.asarray(out if outputs > 1 else out[:, 0])[None]
    for x in (0.0, 1.0):

        def both(out, x=x):
            p = likelihood(out, hp)
            return p.log_prob(jnp.full(p.mean.shape, x)).sum() + p.mean.sum()

        value, slope = jax.jit(jax.value_and_grad(both))(out)
        assert np.isfinite(value) and np.isfinite(slope).all()


@pytest.mark.parametrize(
    ("kind", "inside", "outside"),
    [
        ("bernoulli", (0.0, 0.3, 1.0), (-0.1, 1.5, np.nan)),
        ("continuous_bernoulli", (0.0, 0.3, 1.0), (-0.1, 1.5, np.nan)),
        ("discretized_logistic", (0.0, 5 / 255, 1.0), (-1 / 255, 256 / 255, 0.5 / 255)),
        ("categorical", (0.0, 0.5, 1.0), (-0.5, 1.5, 0.3)),
    ],
)
def test_outside_the_support_the_log_probability_is_minus_infinity(
    kind, inside, outside
):
    out = jnp.ones((3, 1, 3) if kind == "categorical" else (3, 1))
    p = getattr(likelihoods, kind)(out, {"scale": 0.1})
    for values, there in ((inside, True), (outside, False)):
        log_p = p.log_prob(jnp.float32(values)[:, None])
        assert (np.isfinite(log_p) if there else np.isneginf(log_p)).all()
        if hasattr(p, "log_prob_pairs") and there:
            pairs = p.log_prob_pairs(jnp.float32(values)[:, None])
            np.testing.assert_allclose(pairs[:, 0], log_p, rtol=1e-6)


def test_whether_a_likelihood_is_a_density():
    found = [likelihoods.bernoulli, likelihoods.categorical, likelihoods.gaussian]
    found = [f(jnp.zeros((1, 1, 2)), {"sigma": 1.0}).density for f in found]
    assert found == [False, False, True]
