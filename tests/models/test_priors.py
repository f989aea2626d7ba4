"""Priors of the second stage: densities that integrate to 1, and samples that follow them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from aevae.models import priors


def moved(module, *args, seed=1, by=0.4):
    """Parameters of a module away from its initial ones, at which flows are the identity."""
    params = module.init(jax.random.key(0), {"image": args[0]}, *args[1:], {})
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    noise = [by * jax.random.normal(k, v.shape) for k, v in zip(keys, leaves)]
    return jax.tree.unflatten(tree, [v + n for v, n in zip(leaves, noise)])


def network(module, *args, **options):
    return priors.Network(module, moved(module, *args, **options))


@pytest.fixture(scope="module")
def mixture():
    """Three Gaussians of full covariance in two dimensions, and scipy's."""
    random = np.random.default_rng(3)
    weights, means = np.array([0.2, 0.3, 0.5]), random.normal(size=(3, 2)) * 2
    factors = np.tril(random.normal(size=(3, 2, 2)))
    factors[:, range(2), range(2)] = np.abs(factors[:, range(2), range(2)]) + 0.3
    own = [stats.multivariate_normal(m, f @ f.T) for m, f in zip(means, factors)]
    covariances = [part.cov for part in own]
    # Weights count in proportion: these sum to 7.
    return priors.Gaussians.of(7 * weights, means, covariances), weights, own


def test_gaussians_have_scipys_density(mixture):
    ours, weights, own = mixture
    z = np.random.default_rng(0).normal(size=(50, 2)) * 3
    density = sum(w * part.pdf(z) for w, part in zip(weights, own))
    found = ours.log_prob(jnp.float32(z))
    np.testing.assert_allclose(found, np.log(density), rtol=2e-5, atol=2e-5)


def test_gaussians_are_sampled_as_they_are_weighed(mixture):
    ours, weights, own = mixture
    z = np.asarray(ours.sample(jax.random.key(0), 40_000), np.float64)
    mean = sum(w * part.mean for w, part in zip(weights, own))
    second = sum(
        w * (part.cov + np.outer(part.mean, part.mean)) for w, part in zip(weights, own)
    )
    error = z.std(0) / 200
    assert (abs(z.mean(0) - mean) < 4 * error).all()
    products = np.einsum("ni,nj->nij", z, z)
    assert (abs(products.mean(0) - second) < 4 * products.std(0) / 200).all()


def test_an_affine_distribution_has_the_jacobian():
    unit = priors.Gaussians.of([1.0], np.zeros((1, 2)), np.eye(2)[None])
    ours = priors.Affine(unit, jnp.array([1.0, -2.0]), jnp.array([0.1, 30.0]))
    z = jnp.array([[1.05, 10.0], [0.9, -40.0]])
    known = stats.norm([1.0, -2.0], [0.1, 30.0]).logpdf(z).sum(1)
    np.testing.assert_allclose(ours.log_prob(z), known, rtol=1e-5)
    drawn = ours.sample(jax.random.key(0), 10_000)
    np.testing.assert_allclose(drawn.std(0), [0.1, 30.0], rtol=0.03)


def grid(ends, count):
    """Points of a square, and the area of each."""
    x = np.linspace(-ends, ends, count)
    z = np.stack(np.meshgrid(x, x), -1).reshape(-1, 2)
    return jnp.float32(z), (x[1] - x[0]) ** 2


def test_a_flow_has_a_density_that_is_1_in_all_and_of_its_samples():
    flow = network(priors.MAF(2, 8, 3), jnp.zeros((4, 2)), None, by=0.1)
    z, area = grid(14, 701)
    density = np.exp(np.float64(flow.log_prob(z))) * area
    assert abs(density.sum() - 1) < 2e-3
    drawn = np.asarray(flow.sample(jax.random.key(0), 20_000), np.float64)
    mean = (density[:, None] * z).sum(0)
    assert (abs(drawn.mean(0) - mean) < 4 * drawn.std(0) / 141 + 2e-3).all()
    quarter = (z[:, 0] > mean[0]) & (z[:, 1] > mean[1])
    share = np.mean((drawn[:, 0] > mean[0]) & (drawn[:, 1] > mean[1]))
    assert abs(share - density[quarter].sum()) < 0.02


def test_samples_of_a_flow_are_its_inverse(monkeypatch):
    """log p(z) = log N(u) - log |dz/du| of the noise u of z, far from the identity."""
    flow = network(priors.MAF(3, 8, 2), jnp.zeros((4, 3)), None)
    u = jnp.array([0.3, -1.2, 0.8])

    def made(u):
        with monkeypatch.context() as patched:
            patched.setattr(jax.random, "normal", lambda key, shape: u[None])
            return flow.module.apply(
                flow.params, jax.random.key(0), 1, method="sample"
            )[0]

    z, slope = jax.jit(lambda u: (made(u), jax.jacfwd(made)(u)))(u)
    known = stats.norm.logpdf(u).sum() - np.linalg.slogdet(slope)[1]
    # A layer's slope is triangular: not so where the order of the latents is reversed between two.
    assert (
        min(abs(half(slope, k)).max() for half, k in ((jnp.triu, 1), (jnp.tril, -1)))
        > 0.01
    )
    np.testing.assert_allclose(flow.log_prob(z[None]), [known], rtol=1e-4)


def test_a_latent_of_a_flow_is_shifted_by_those_before_it_alone():
    """A layer's Jacobian is triangular: its diagonal is what the determinant is made of."""
    net = priors.MaskedNetwork(8, 2)
    z = jnp.arange(5.0)[None]
    params = net.init(jax.random.key(0), z[..., None])
    params = jax.tree.map(lambda v: jnp.ones_like(v) + 0.1, params)
    slope = jax.jacfwd(lambda z: net.apply(params, z[..., None])[0, :, 0])(z)[:, 0]
    reads = np.asarray(slope) != 0
    np.testing.assert_array_equal(reads, np.tril(np.ones((5, 5), bool), -1))


def test_a_second_vae_bounds_its_density_from_below():
    """Of one latent the density is an integral; 100 draws are within 0.02 nats of it."""
    second = network(priors.TwoStage(1, 8), jnp.zeros((4, 1)), None, by=0.2)
    u = jnp.linspace(-8, 8, 4001)[:, None]
    x = second.module.apply(
        second.params,
        u,
        method=lambda module, u: module.vae.decode(u, {"image": u}, {}),
    )
    z = second.sample(jax.random.key(5), 200)
    joint = stats.norm(x.mean[:, 0], x.std[:, 0]).logpdf(np.asarray(z))  # [200, 4001]
    weights = stats.norm.pdf(np.asarray(u[:, 0])) * 0.004
    known = np.log((np.exp(joint) * weights).sum(1))
    found = np.float64(second.log_prob(z))
    assert second.is_bound
    assert -0.02 < (found - known).mean() < 0.005
    # Samples have the likelihood's noise, without which they would be all but one point.
    square = x.mean[:, 0] ** 2 + x.std[:, 0] ** 2
    z = second.sample(jax.random.key(6), 20_000)
    np.testing.assert_allclose((z**2).mean(), (square * weights).sum(), rtol=0.04)


def test_probabilities_of_discrete_codes_are_1_in_all_and_of_their_samples():
    shape = jnp.zeros((4, 3), int)
    ours = network(priors.Autoregressive(3, 4, 8, 5), shape, None, by=1.0)
    every = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    probability = np.exp(np.float64(ours.log_prob(jnp.asarray(every))))
    np.testing.assert_allclose(probability.sum(), 1, rtol=1e-5)
    assert probability.max() > 4 / 64  # not the uniform one
    drawn = np.asarray(ours.sample(jax.random.key(0), 20_000))
    counts = np.bincount(drawn @ [16, 4, 1], minlength=64)
    expected = 20_000 * probability
    common = expected > 5
    chi2 = ((counts - expected)[common] ** 2 / expected[common]).sum()
    assert stats.chi2.sf(chi2, common.sum()) > 1e-3


def test_codewords_are_told_by_their_nearest_row():
    book = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 5.0]])
    n = jnp.array([[0, 2], [1, 1]])
    z = book[n].reshape(2, -1)
    np.testing.assert_array_equal(priors.numbers(z + 1e-3, book), n)
    base = network(priors.Autoregressive(2, 3, 8, 5), n, None, by=1.0)
    ours = priors.Codewords(base, book)
    np.testing.assert_allclose(ours.log_prob(z), base.log_prob(n))
    drawn = ours.sample(jax.random.key(0), 6)
    np.testing.assert_array_equal(
        drawn, book[base.sample(jax.random.key(0), 6)].reshape(6, -1)
    )
