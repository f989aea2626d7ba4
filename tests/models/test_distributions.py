"""Closed forms against Monte Carlo, numpyro and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as npd
import pytest
import scipy.stats

from aevae import InputError
from aevae.models import distributions
from aevae.models.distributions import Normal
from aevae.models.likelihoods import Bernoulli

RNG = np.random.default_rng(0)


def normal(rows, width):
    mean, log_std = RNG.normal(size=(2, rows, width)).astype(np.float32)
    return Normal(jnp.asarray(mean), jnp.asarray(log_std))


@pytest.mark.parametrize("standard", [True, False])
def test_kl_is_numpyros(standard):
    q = normal(6, 5)
    p = Normal(*jnp.zeros((2, 1, 5))) if standard else normal(6, 5)
    theirs = (npd.Normal(d.mean, d.std) for d in (q, p))
    theirs = npd.kl_divergence(*theirs).sum(-1)
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


def test_samples_have_the_distributions_moments():
    p = Normal(jnp.full((1, 2), 3.0), jnp.full((1, 2), jnp.log(0.5)))
    z = p.sample(jax.random.key(0), 40_000)
    np.testing.assert_allclose(z.mean(0), [3, 3], atol=0.02)
    np.testing.assert_allclose(z.std(0), [0.5, 0.5], atol=0.02)
    assert p.sample(jax.random.key(0), 0).shape == (0, 2)
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


# Extreme scales


def test_kl_and_log_prob_are_finite_wherever_the_closed_form_is():
    """At log variance -180, where a standard deviation is 0: ½ (180 - 1) and 90 - ½ log 2π."""
    standard = Normal(*jnp.zeros((2, 1, 1)))

    def each(log_std):
        q = Normal(jnp.zeros((1, 1)), log_std)
        return distributions.kl(q, standard).sum(), q.draw(jax.random.key(0))[1].sum()

    at = jnp.full((1, 1), -90.0)
    np.testing.assert_allclose(
        each(at), [89.5, 90 - 0.5 * np.log(2 * np.pi)], rtol=1e-6
    )
    for slope in jax.jacrev(each)(at):
        np.testing.assert_allclose(slope, -1, rtol=1e-6)


def test_a_bound_is_the_identity_within_and_constant_beyond():
    x = jnp.float32([-1e4, -20.5, -19.999999, -3.3, 0, 7.1, 19.5, 20.5, 1e4, jnp.nan])
    value = distributions.bounded(x, *distributions.LOG_STD)
    slope = jax.vmap(jax.grad(distributions.bounded), (0, None, None))(x, -20.0, 20.0)
    np.testing.assert_array_equal(value, [-20, -20, *x[2:7], 20, 20, np.nan])
    np.testing.assert_array_equal(slope[:-1], [0, 0, 1, 1, 1, 1, 1, 0, 0])
    with pytest.raises(InputError, match="floor of a standard deviation must be from"):
        distributions.floored(x, 0.0)


# log q(z|x) of the z that the decoder sees


@pytest.mark.parametrize("kind", ["normal", "chain", "flow"])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_an_exact_posterior_gives_every_sample_the_same_weight(scale, kind):
    """p(x, z) - log q(z|x) in float64 at the z that comes out of a compiled step.

    The mean is a product: a compiler may fuse it into the sums that read it, once rounded and once
    not, which was several nats at a mean of 300 and a standard deviation of 1e-5.
    """
    x = jnp.asarray(RNG.normal(size=(64, 8)).astype(np.float32))
    log_std = jnp.linspace(np.log(1e-5), 0.0, 8)[None]

    @jax.jit
    def drawn(x, key):
        q = Normal(x * scale, log_std + 0 * x)
        if kind == "chain":
            q = distributions.Chain(q, lambda a: Normal(a * 0.7, log_std + 0 * a))
        if kind == "flow":  # that leaves z as it is, but for its order
            q = distributions.Flow(q, x, (lambda z, h: (0 * z, 0 * z + 40),))
        z, log_q = q.draw(key)
        means = x * scale, z[0] * 0.7 if kind == "chain" else None
        return z, log_q, jnp.tanh(jax.tree.leaves(z)[0]).sum(), means

    z, log_q, _, means = drawn(x, jax.random.key(0))
    z = {"normal": lambda z: (z,), "chain": tuple, "flow": lambda z: (z[:, ::-1],)}[
        kind
    ](z)
    std = np.exp(np.float64(log_std))
    exact = sum(
        scipy.stats.norm.logpdf(np.float64(value), np.float64(mean), std).sum(1)
        for value, mean in zip(z, means)
    )
    np.testing.assert_allclose(log_q, exact, atol=1e-4)
