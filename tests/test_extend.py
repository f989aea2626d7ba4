"""Objective, posterior, prior, likelihood and network, each added from outside the package."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from outside import NETWORKS, Laplace, LaplaceVAE, run_of

from aevae import InputError, data, models, objectives
from aevae.training import fit
from aevae.training.check import check_run

pytestmark = pytest.mark.retraced


class Wide(nn.Module):
    """A network of one's own: features of an image."""

    width: int
    activation: Callable = nn.swish

    @nn.compact
    def __call__(self, x):
        return self.activation(nn.Dense(self.width)(x.reshape(len(x), -1)))


def student(out, hp):
    """A likelihood of one's own, from the decoder's output."""
    return Student(out, hp["freedom"])


class Student(NamedTuple):
    mean: jax.Array
    freedom: jax.Array

    def sample(self, key):
        if key is None:
            return self.mean
        return self.mean + jax.random.t(key, self.freedom, self.mean.shape)

    def log_prob(self, x):
        each = jax.scipy.stats.t.logpdf(x, self.freedom, self.mean)
        return each.reshape(len(each), -1).sum(-1)


def bounded_rate(model, params, batch, key, hp):
    """An objective of one's own: distortion + max(rate, limit)."""
    draw = model.apply(params, batch, key, hp)
    terms = objectives.bound_terms(draw)
    return terms["distortion"] + jnp.maximum(terms["rate"], hp["limit"]), terms


def test_the_closed_form_is_that_of_samples():
    """Laplace against Laplace, each latent: the test's own distribution is right."""
    q = Laplace(jnp.array([[0.3, -1.0]]), jnp.array([[0.5, 2.0]]))
    p = Laplace(jnp.zeros((1, 2)), jnp.ones((1, 2)))
    z = q.sample(jax.random.key(0), 400_000)
    found = (q.log_prob_each(z) - p.log_prob_each(z)).mean(0)
    np.testing.assert_allclose(q.kl_each(p)[0], found, atol=0.01)


def test_a_posterior_gets_rate_free_bits_and_active_units(digits):
    made = LaplaceVAE(3, *NETWORKS)
    (plain,) = fit(run_of(made, objectives.beta_vae, {"beta": 1.0}), digits)
    assert plain.row["rate"] > 0 and plain.row["iwae"] >= plain.row["elbo"]
    held = data.held_out(data.stochastic, digits, "test")
    q = plain.encode(held["image"])
    p = Laplace(jnp.zeros((1, 3)), jnp.ones((1, 3)))
    rate = float(q.kl_each(p).sum(-1).mean())
    assert plain.row["rate"] == pytest.approx(rate, rel=1e-5)
    active = (np.var(q.mean, axis=0) > 0.01).sum()
    assert plain.row["active_units"] == active

    @jax.jit
    def free(params, batch, floor):
        draw = made.clone(shape=(8, 8, 1)).apply(params, batch, jax.random.key(0), {})
        return objectives.free_bits(draw, floor), draw.q.kl_each(draw.p)

    batch = data.none(None, data.rows(digits.test, slice(100)))
    bits, each = free(plain.params, batch, 0.1)
    assert bits == pytest.approx(np.maximum(each.mean(0), 0.1).sum(), rel=1e-6)


def test_a_posterior_without_log_prob_each_is_named(digits):
    class Bare(NamedTuple):
        inner: Laplace

        def sample(self, key):
            return self.inner.sample(key)

        def log_prob(self, z):
            return self.inner.log_prob(z)

        def draw(self, key):
            return self.inner.draw(key)

    class BareVAE(LaplaceVAE):
        def encode(self, batch):
            return Bare(super().encode(batch))

    hp = {"alpha": 1.0, "beta": 2.0, "gamma": 1.0}
    run = run_of(BareVAE(3, *NETWORKS), objectives.beta_tcvae, hp)
    with pytest.raises(
        InputError, match="independent latents: Bare has no log_prob_each"
    ):
        check_run(run, digits)
    # Its rate is by sampling.
    (trained,) = fit(
        run_of(BareVAE(3, *NETWORKS), objectives.beta_vae, {"beta": 1.0}), digits
    )
    assert np.isfinite(trained.row["elbo"]) and "active_units" not in trained.row


def test_total_correlation_of_a_posterior_from_outside(digits):
    """The decomposition's parts sum to log q(z|x) - log p(z), by float64 sums over the batch."""
    made = LaplaceVAE(3, *NETWORKS).clone(shape=(8, 8, 1))
    batch = data.none(None, data.rows(digits.test, slice(50)))

    @jax.jit
    def parts(key):
        params = made.init(key, batch, None, {})
        draw = made.apply(params, batch, jax.random.key(1), {})
        weights = objectives.weighted(50, 300)
        return objectives.decomposition(draw, weights), draw

    found, draw = parts(jax.random.key(0))
    mean, scale, z = (np.float64(v) for v in (draw.q.mean, draw.q.scale, draw.z))
    each = -abs(z[:, None] - mean) / scale - np.log(2 * scale)
    log_q = np.log(np.exp(each.sum(-1)).sum(1) / (300 * 50))
    log_each = np.log(np.exp(each).sum(1) / (300 * 50)).sum(-1)
    tc = (log_q - log_each).mean()
    assert found["total_correlation"] == pytest.approx(tc, abs=1e-3)


def test_a_network_a_likelihood_and_an_objective(digits):
    made = models.VAE(3, Wide(16), NETWORKS[1], likelihood=student)
    hp = {"limit": 5.0, "freedom": 4.0}
    run = run_of(made, bounded_rate, hp, binarization=data.none)
    (trained,) = fit(run, digits)
    x = trained.decode(np.zeros((1, 3), np.float32))
    assert type(x) is Student
    image = data.none(None, {"image": jnp.asarray(digits.test["image"][:1])})["image"]
    from scipy.stats import t

    exact = t.logpdf(np.float64(image), 4.0, np.float64(x.mean)).sum()
    assert float(x.log_prob(image)[0]) == pytest.approx(exact, rel=1e-5)
    loss = trained.history["test_loss"]
    terms = [trained.history[f"test_{name}"] for name in ("distortion", "rate")]
    np.testing.assert_allclose(loss, terms[0] + np.maximum(terms[1], 5.0), rtol=1e-5)
    with pytest.raises(InputError, match="'limit' is neither a hyperparameter"):
        check_run(
            dataclasses.replace(run, hparams={"lr": 1e-3, "freedom": 4.0}), digits
        )
