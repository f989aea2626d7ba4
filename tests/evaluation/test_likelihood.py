"""Estimates of log p(x) against exact values, in models where these are known."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from aevae import data, models, networks, objectives, optim
from aevae.config import Config
from aevae.evaluation import aggregate, annealing, likelihood
from aevae.models import distributions, likelihoods

KEY = functools.partial(jax.random.key, 3)
PIXELS, LATENT, SIGMA = 5, 2, 0.6


def linear(kind=models.VAE, latent=LATENT, **fields):
    parts = networks.MLPEncoder(()), networks.MLPDecoder(())
    return Config(
        kind(latent, *parts, likelihoods.gaussian, shape=(PIXELS,), **fields),
        objectives.beta_vae,
        {"beta": 1.0, "sigma": SIGMA, "lr": 1e-3},
        *(optim.adam, optim.constant, data.none),
    )


@pytest.fixture(scope="module")
def given():
    """Parameters whose posterior is not the exact one."""
    config, random = linear(), np.random.default_rng(0)
    batch = {"image": jnp.zeros((3, PIXELS))}
    params = jax.jit(config.model.init)(jax.random.key(0), batch, None, {"sigma": 1.0})
    w = random.normal(size=(LATENT, PIXELS))
    inner = params["params"]
    inner["decoder"]["Dense_0"]["kernel"] = jnp.float32(w)
    exact = np.linalg.solve(w @ w.T + SIGMA**2 * np.eye(LATENT), w)
    head = np.zeros((PIXELS, 2 * LATENT))
    head[:, :LATENT] = exact.T + 0.1 * random.normal(size=(PIXELS, LATENT))
    inner["posterior"]["Dense_0"]["kernel"] = jnp.float32(head)
    bias = np.r_[np.zeros(LATENT), np.full(LATENT, -1.0)]
    inner["posterior"]["Dense_0"]["bias"] = jnp.float32(bias)
    return params, jnp.int32(0), {"beta": 1.0, "sigma": SIGMA, "lr": 1e-3}


@pytest.fixture(scope="module")
def held(given):
    w = np.float64(given[0]["params"]["decoder"]["Dense_0"]["kernel"])
    random = np.random.default_rng(1)
    x = random.normal(size=(130, LATENT)) @ w
    x += SIGMA * random.normal(size=x.shape)
    return {"image": jnp.float32(x)}


def exact(given, images):
    """log p(x) of a linear-Gaussian model, float64."""
    w = np.float64(given[0]["params"]["decoder"]["Dense_0"]["kernel"])
    covariance = w.T @ w + SIGMA**2 * np.eye(PIXELS)
    normal = scipy.stats.multivariate_normal(np.zeros(PIXELS), covariance)
    return normal.logpdf(np.float64(images))


def bound(k, given, held, cuts=()):
    run = jax.jit(functools.partial(likelihood.importance, linear(), k, KEY()))
    carry = jnp.full(len(held["image"]), 7.0)  # what was there does not matter
    ends = [0, *cuts, likelihood.importance_units(held, k)]
    for start, stop in itertools.pairwise(ends):
        carry = run(carry, given, (held, start, stop))
    return np.float64(carry) - math.log(k)


def test_the_bound_rises_to_the_likelihood(given, held):
    """With K samples as with K = 1, 30, 3000; the last is within its error of log p(x)."""
    known = exact(given, held["image"])
    found = [bound(k, given, held) for k in (1, 30, 3000)]
    gaps = [(known - f).mean() for f in found]
    assert gaps[0] > 2 * gaps[1] > 20 * abs(gaps[2])
    assert abs(gaps[2]) < 0.01


def test_k_counts_the_samples(given, held):
    """Of K = 3 and 23, which are no multiples of those drawn at a time: the same draws by hand."""
    k, rows = 23, 100
    keys = [
        key
        for turn in range(2)
        for key in jax.random.split(
            jax.random.fold_in(jax.random.fold_in(KEY(), 0), turn), likelihood.DRAWS
        )
    ][:k]
    batch = {"image": held["image"][:rows]}
    apply = jax.jit(linear().model.apply)
    draws = [apply(given[0], batch, key, given[2]) for key in keys]
    log_w = np.float64([d.log_px + d.log_pz - d.log_qz for d in draws])
    by_hand = scipy.special.logsumexp(log_w, axis=0) - np.log(k)
    ours = bound(k, given, held)[: 130 - rows]  # the second block overlaps the first
    np.testing.assert_allclose(ours, by_hand[: 130 - rows], rtol=1e-5)


@pytest.mark.bits
def test_cut_work_has_the_same_bits(given, held):
    straight = bound(60, given, held)
    np.testing.assert_array_equal(bound(60, given, held, (1, 2, 5)), straight)


def annealed(simulated, given, held, config=None, chains=4, count=60, cut=None):
    config = config or linear()
    of, units = annealing.annealing(config, chains, count, simulated, held)
    fixed = config, chains, count, simulated, KEY()
    run = jax.jit(functools.partial(annealing.anneal, *fixed))
    carry = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), of(given))
    for start, stop in ((0, cut), (cut, units)) if cut else ((0, units),):
        carry = run(carry, given, (held, start, stop))
    return carry


def test_annealing_finds_the_likelihood(given, held):
    """From the prior alone: q(z|x) is not used."""
    own = {"image": held["image"][:60]}
    anneal = functools.partial(annealed, False, given, own, chains=8, count=200)
    found = np.float64(anneal()["lower"])
    gap = exact(given, own["image"]) - found
    assert abs(gap.mean()) < 0.04 and abs(gap).max() < 0.5
    again = anneal(cut=277)["lower"]
    np.testing.assert_array_equal(again, np.float32(found))


def test_bounds_from_both_sides_hold_the_likelihood(given, held):
    """Of images that the model drew: at few temperatures apart, at many together."""
    own = {"image": held["image"][:60]}
    gaps = []
    for count in (4, 60):
        carry = annealed(True, given, own, chains=2, count=count)
        known = exact(given, carry["image"])
        low, high = np.float64(carry["lower"]), np.float64(carry["upper"])
        errors = [5 * v.std() / np.sqrt(60) for v in (known - low, high - known)]
        assert (known - low).mean() > -errors[0] and (high - known).mean() > -errors[1]
        gaps.append((high - low).mean())
    assert gaps[0] > 2.0 and 0 < gaps[1] < 0.6


def test_a_chain_leaves_its_density_as_it_is():
    """From exact draws of N(mean, std²): after 20 steps they are still such draws."""
    mean, std = jnp.array([[1.0, -2.0]]), jnp.array([[0.5, 2.0]])

    def density(z):
        return distributions.Normal(mean, jnp.log(std)).log_prob(z)

    z = distributions.Normal(mean, jnp.log(std)).sample(KEY(), 4000)

    @jax.jit
    def run(z):
        def one(carry, key):
            z, _ = carry
            return annealing.hmc(density, z, jnp.full(4000, 0.3), key), None

        keys = jax.random.split(jax.random.key(8), 20)
        (z, accepted), _ = jax.lax.scan(one, (z, jnp.zeros(4000, bool)), keys)
        return z, accepted

    after, accepted = run(z)
    assert 0.7 < accepted.mean() < 1.0
    for i in range(2):
        normal = scipy.stats.norm(mean[0, i], std[0, i])
        assert scipy.stats.kstest(np.float64(after[:, i]), normal.cdf).pvalue > 1e-3
        assert abs(np.corrcoef(after[:, i], z[:, i])[0, 1]) < 0.3  # and they have moved


@pytest.mark.slow
def test_annealing_goes_through_two_levels(held):
    """z is a pair there; the bound by many samples is the oracle."""
    config = linear(models.TwoLevel, top=1, widths=())
    batch = {"image": held["image"][:40]}
    params = jax.jit(config.model.init)(
        jax.random.key(0), batch, None, {"sigma": SIGMA}
    )
    given = jax.tree.map(lambda v: 0.5 * v, params), jnp.int32(0), {"sigma": SIGMA}
    config = Config(
        *(config.model, config.objective, {"sigma": SIGMA}),
        *(optim.adam, optim.constant, data.none),
    )
    run = jax.jit(functools.partial(likelihood.importance, config, 100_000, KEY()))
    units = likelihood.importance_units(batch, 100_000)
    many = run(jnp.zeros(40), given, (batch, 0, units)) - math.log(100_000)
    low = annealed(False, given, batch, config, chains=16, count=300)["lower"]
    assert abs(np.float64(low - many).mean()) < 0.05


def test_the_aggregate_is_the_mean_of_all_posteriors():
    """Against scipy in float64; and two posteriors far apart have log 2 nats of information."""
    random = np.random.default_rng(0)
    mean, std = random.normal(size=(40, 3)), np.exp(random.normal(size=(40, 3)))
    z = mean[:11] + std[:11] * random.normal(size=(11, 3))
    run = jax.jit(aggregate.aggregate)
    zeros = {name: jnp.zeros(11) for name in ("log_q", "log_each")}
    q = distributions.Normal(jnp.float32(mean), jnp.float32(np.log(std)))
    given = q, jnp.float32(z)
    units = aggregate.aggregate_units(q, z)
    found = run(zeros, given, (0, units))
    each = scipy.stats.norm.logpdf(z[:, None], mean, std)
    joint = scipy.special.logsumexp(each.sum(-1), axis=1) - np.log(40)
    apart = (scipy.special.logsumexp(each, axis=1) - np.log(40)).sum(-1)
    np.testing.assert_allclose(found["log_q"], joint, rtol=1e-4)
    np.testing.assert_allclose(found["log_each"], apart, rtol=1e-4)
