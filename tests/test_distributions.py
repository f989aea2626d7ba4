"""Closed forms against Monte Carlo, numpyro and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as npd
import pytest
import scipy.stats

from aevae import distributions
from aevae.distributions import Bernoulli, Normal

RNG = np.random.default_rng(0)


def normal(rows, width):
    mean, log_std = RNG.normal(size=(2, rows, width)).astype(np.float32)
    return Normal(jnp.asarray(mean), jnp.exp(jnp.asarray(log_std)))


@pytest.mark.parametrize("standard", [True, False])
def test_kl_is_numpyros(standard):
    q = normal(6, 5)
    p = Normal(jnp.zeros((1, 5)), jnp.ones((1, 5))) if standard else normal(6, 5)
    theirs = npd.kl_divergence(npd.Normal(*q), npd.Normal(*p)).sum(-1)
    np.testing.assert_allclose(distributions.kl(q, p), theirs, rtol=1e-5)


def test_kl_is_what_monte_carlo_estimates():
    q, p = normal(4, 3), normal(4, 3)
    z, log_q = jax.vmap(q.draw)(jax.random.split(jax.random.key(0), 100_000))
    samples = log_q - jax.vmap(p.log_prob)(z)
    error = 5 * samples.std(0) / np.sqrt(len(samples))
    np.testing.assert_array_less(
        jnp.abs(samples.mean(0) - distributions.kl(q, p)), error
    )


def test_kl_of_a_thing_without_closed_form_is_none():
    assert distributions.kl(Bernoulli(jnp.zeros((1, 2))), normal(1, 2)) is None


def test_normal_log_prob_is_scipys():
    q, x = normal(3, 8), RNG.normal(size=(3, 8)).astype(np.float32)
    theirs = scipy.stats.norm.logpdf(x, np.float64(q.mean), np.float64(q.std)).sum(-1)
    np.testing.assert_allclose(q.log_prob(x), theirs, rtol=1e-5)


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
    log_p = distributions.gaussian(out, {"sigma": 0.5**0.5}).log_prob(x)
    squared = ((out - x) ** 2).sum(-1)
    np.testing.assert_allclose(-log_p, squared + 7 * 0.5 * np.log(np.pi), rtol=1e-5)


def test_samples_have_the_distributions_moments():
    p = Normal(jnp.full((1, 2), 3.0), jnp.full((1, 2), 0.5))
    z = p.sample(jax.random.key(0), 40_000)
    np.testing.assert_allclose(z.mean(0), [3, 3], atol=0.02)
    np.testing.assert_allclose(z.std(0), [0.5, 0.5], atol=0.02)
    x = Bernoulli(jnp.full((40_000, 1), 1.0)).sample(jax.random.key(1))
    assert set(np.unique(x)) == {0, 1}
    np.testing.assert_allclose(x.mean(), jax.nn.sigmoid(1.0), atol=0.02)


def test_without_a_key_a_sample_is_the_mean():
    q = normal(4, 3)
    np.testing.assert_array_equal(q.sample(None), q.mean)
    b = Bernoulli(q.mean)
    np.testing.assert_array_equal(b.sample(None), jax.nn.sigmoid(q.mean))


def test_log_mean_exp_does_not_overflow():
    log_w = jnp.array([[1000.0], [1000.0 + np.log(3.0)]])
    np.testing.assert_allclose(
        distributions.log_mean_exp(log_w), [1000 + np.log(2)], rtol=1e-6
    )
