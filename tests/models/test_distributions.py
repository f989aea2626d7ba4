"""Closed forms against Monte Carlo, numpyro and scipy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as npd
import pytest
import scipy.stats

from aevae import InputError
from aevae.models import distributions
from aevae.models.distributions import Bernoulli, Normal

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
    p = Normal(jnp.full((1, 2), 3.0), jnp.full((1, 2), jnp.log(0.5)))
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


LOGITS = np.float32([-1e3, -30, -3, -0.011, -0.009, -1e-4, 0, 1e-3, 0.5, 4, 30, 1e3])


def test_continuous_bernoulli_is_a_density_and_its_mean_and_samples_agree():
    """By quadrature on a grid that is fine at both ends."""
    inner = np.linspace(0, 1, 20_001)
    ends = np.geomspace(1e-7, 1e-2, 4000)
    x = np.unique(np.concatenate([inner, ends, 1 - ends, [0, 1]])).astype(np.float32)
    d = distributions.ContinuousBernoulli(jnp.asarray(LOGITS[:, None]))
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
        d = distributions.ContinuousBernoulli(logits)
        return (d.log_prob(jnp.full(logits.shape, 0.3)) + d.mean.sum()).sum()

    assert np.isfinite(jax.grad(total)(jnp.asarray(LOGITS[:, None]))).all()


@pytest.mark.parametrize(
    ("location", "scale"),
    [(0.4, 0.05), (0.0, 0.02), (1.3, 0.1), (0.5, 1e-4), (-2.0, 0.03)],
)
def test_discretized_logistic_sums_to_1_and_is_finite_far_away(location, scale):
    x = jnp.arange(256)[:, None] / 255
    d = distributions.DiscretizedLogistic(
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
        return distributions.DiscretizedLogistic(location, scale).log_prob(x).sum()

    for slope in jax.grad(total, (0, 1))(*d):
        assert np.isfinite(slope).all()


def test_categorical_is_scipys():
    logits = RNG.normal(size=(3, 4, 5)).astype(np.float32)
    d = distributions.Categorical(jnp.asarray(logits))
    chance = scipy.special.softmax(np.float64(logits), -1)
    level = RNG.integers(0, 5, (3, 4))
    expected = np.log(np.take_along_axis(chance, level[..., None], -1)).sum((1, 2))
    np.testing.assert_allclose(d.log_prob(jnp.asarray(level / 4)), expected, rtol=1e-5)
    np.testing.assert_allclose(d.mean, chance @ (np.arange(5) / 4), rtol=1e-5)
    drawn = jax.vmap(d.sample)(jax.random.split(jax.random.key(0), 20_000))
    assert abs(np.mean(drawn, 0) - d.mean).max() < 0.02


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


HUGE = [-1e4, 0.0, 1e4]
OUTPUTS = {
    "bernoulli": (distributions.bernoulli, 1, {}),
    "continuous": (distributions.continuous_bernoulli, 1, {}),
    "gaussian": (distributions.gaussian, 1, {"sigma": 1e-3}),
    "pair": (distributions.gaussian_pair, 2, {}),
    "logistic": (distributions.discretized_logistic, 1, {"scale": 0.01}),
    "any logistic": (
        lambda out, hp: distributions.DiscretizedLogistic(
            out[..., 0], distributions.bounded(out[..., 1], *distributions.LOG_STD)
        ),
        2,
        {},
    ),
    "categorical": (distributions.categorical, 3, {}),
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


# Supports


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
    p = getattr(distributions, kind)(out, {"scale": 0.1})
    for values, there in ((inside, True), (outside, False)):
        log_p = p.log_prob(jnp.float32(values)[:, None])
        assert (np.isfinite(log_p) if there else np.isneginf(log_p)).all()
        if hasattr(p, "log_prob_pairs") and there:
            pairs = p.log_prob_pairs(jnp.float32(values)[:, None])
            np.testing.assert_allclose(pairs[:, 0], log_p, rtol=1e-6)


def test_whether_a_likelihood_is_a_density():
    found = [distributions.bernoulli, distributions.categorical, distributions.gaussian]
    found = [f(jnp.zeros((1, 1, 2)), {"sigma": 1.0}).density for f in found]
    assert found == [False, False, True]
