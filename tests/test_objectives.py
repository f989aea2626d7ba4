"""Objectives against their definitions, each other, and pPCA's exact likelihood."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from aevae import data, models, networks, objectives, optim
from aevae.config import Config
from aevae.models import distributions, likelihoods
from aevae.training import bounds
from aevae.training.step import Window, init_state, train_span

HP = {"beta": 1.0, "gamma": 3.0, "capacity": 2.0, "sigma": 0.5**0.5}
BOUNDS = [
    objectives.beta_vae,
    objectives.capacity_vae,
    functools.partial(objectives.iwae, k=4),
]


def vae(likelihood=likelihoods.bernoulli, latent=3, widths=(8,)):
    encoder, decoder = networks.MLPEncoder(widths), networks.MLPDecoder(widths)
    return models.VAE(latent, encoder, decoder, likelihood, shape=(4, 4, 1))


@pytest.fixture(scope="module")
def batch(tiny):
    return data.threshold(None, data.rows(tiny.train, slice(32)))


@pytest.fixture(scope="module")
def params(batch):
    return jax.jit(vae().init)(jax.random.key(0), batch, None, HP)


def compiled(objective, model=None, **static):
    """The objective as a function of (params, batch, key, hp); op by op, strict modes crawl."""
    return jax.jit(functools.partial(objective, model or vae(), **static))


def test_rate_is_what_monte_carlo_estimates(batch, params):
    keys = jax.random.split(jax.random.key(1), 20_000)
    draws = jax.jit(jax.vmap(lambda k: vae().apply(params, batch, k, HP)))(keys)
    samples = draws.log_qz - draws.log_pz
    error = 5 * samples.std(0) / np.sqrt(len(samples))
    np.testing.assert_array_less(jnp.abs(samples.mean(0) - draws.rate[0]), error)


def test_log_joint_is_that_of_the_draw(batch, params):
    draw = jax.jit(vae().apply)(params, batch, jax.random.key(1), HP)
    joint = jax.jit(functools.partial(vae().apply, method="log_joint"))
    ours = joint(params, draw.z, batch, HP)
    np.testing.assert_allclose(ours, draw.log_px + draw.log_pz, rtol=1e-6)


@pytest.mark.parametrize("objective", BOUNDS)
def test_elbo_is_the_beta_1_bound_whatever_the_weights(objective, batch, params):
    of = compiled(objective)
    for hp in (HP, HP | {"beta": 7.0, "gamma": 9.0, "capacity": 5.0}):
        _, terms = of(params, batch, jax.random.key(1), hp)
        assert terms["rate"] > 0 and terms["distortion"] > 0
        np.testing.assert_allclose(
            terms["elbo"], -terms["distortion"] - terms["rate"], rtol=1e-6
        )


def test_beta_weighs_the_rate_and_nothing_else(batch, params):
    def loss(beta):
        return objectives.beta_vae(
            vae(), params, batch, jax.random.key(1), HP | {"beta": beta}
        )

    slope, terms = jax.jit(jax.grad(loss, has_aux=True))(2.0)
    np.testing.assert_allclose(slope, terms["rate"], rtol=1e-6)
    np.testing.assert_allclose(jax.jit(loss)(1.0)[0], -terms["elbo"], rtol=1e-6)


def test_capacity_pulls_the_mean_rate_from_both_sides(batch, params):
    of = compiled(objectives.capacity_vae)

    def loss(capacity):
        return of(params, batch, jax.random.key(1), HP | {"capacity": capacity})

    _, terms = loss(0.0)
    for capacity in (0.0, float(terms["rate"]) - 0.1, float(terms["rate"]) + 0.1):
        expected = terms["distortion"] + 3 * abs(terms["rate"] - capacity)
        np.testing.assert_allclose(loss(capacity)[0], expected, rtol=1e-5)


def test_iwae_of_one_sample_is_the_one_sample_elbo(batch, params):
    loss, terms = compiled(objectives.iwae, k=1)(params, batch, jax.random.key(3), HP)
    key = jax.random.split(jax.random.key(3), 1)[0]
    draw = jax.jit(vae().apply)(params, batch, key, HP)
    elbo = (draw.log_px + draw.log_pz - draw.log_qz).mean()
    np.testing.assert_allclose(terms["iwae"], elbo, rtol=1e-6)
    np.testing.assert_allclose(loss, -elbo, rtol=1e-6)


def test_iwae_rises_with_samples_and_its_gradient_weighs_the_best(batch, params):
    def bound(samples):
        def one(key):
            terms = objectives.iwae(vae(), params, batch, key, HP, k=samples)[1]
            return terms["iwae"]

        values = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), 50))
        return values.mean(), values.std() / np.sqrt(50)

    (low, e1), (middle, e2), (high, _) = bound(1), bound(5), bound(50)
    assert low + 3 * e1 < middle and middle + 3 * e2 < high
    # d/d log w of log mean w is the normalized weight: largest for the best sample.
    log_w = jnp.array([[0.0], [2.0]])
    slope = jax.grad(lambda w: distributions.log_mean_exp(w).sum())(log_w)
    np.testing.assert_allclose(slope[:, 0], jax.nn.softmax(log_w[:, 0]), rtol=1e-6)


@pytest.mark.parametrize("objective", [objectives.autoencoder, *BOUNDS])
def test_a_batch_twice_has_the_same_value(objective, batch, params):
    """Means over examples, sums over pixels: the batch size is in no unit."""
    twice = {k: jnp.concatenate([v, v]) if jnp.ndim(v) else v for k, v in batch.items()}

    @jax.jit
    def values(batch):
        keys = jax.random.split(jax.random.key(0), 200)
        return jax.vmap(lambda key: objective(vae(), params, batch, key, HP)[0])(keys)

    once, double = values(batch), values(twice)
    error = 5 * np.hypot(once.std(), double.std()) / np.sqrt(200) + 1e-4
    assert abs(once.mean() - double.mean()) < error


def test_autoencoder_is_deterministic_distortion(batch, params):
    of = compiled(objectives.autoencoder)
    loss, terms = of(params, batch, jax.random.key(0), HP)
    again, _ = of(params, batch, jax.random.key(1), HP)
    assert loss == again == terms["distortion"]
    assert not {"elbo", "rate", "iwae"} & set(terms)
    x = jax.jit(vae().apply)(params, batch, None, HP).x
    found = bounds.reconstruction_errors(x, batch["image"])
    squared = ((x.mean - batch["image"]) ** 2).sum((1, 2, 3)).mean()
    np.testing.assert_allclose(found["squared_error"].mean(), squared, rtol=1e-6)
    np.testing.assert_allclose(found["cross_entropy"].mean(), loss, rtol=1e-6)


def test_autoencoder_under_a_gaussian_is_squared_error(batch, params):
    model = vae(likelihoods.gaussian)
    of = compiled(objectives.autoencoder, model)
    loss, _ = of(params, batch, jax.random.key(0), HP)
    x = jax.jit(model.apply)(params, batch, None, HP).x
    found = bounds.reconstruction_errors(x, batch["image"])
    constant = 16 * 0.5 * np.log(np.pi)
    np.testing.assert_allclose(
        loss, found["squared_error"].mean() + constant, rtol=1e-5
    )
    chance = np.clip(np.float64(x.mean), 1e-6, 1 - 1e-6)
    likelihood = scipy.stats.bernoulli.logpmf(batch["image"], chance).sum((1, 2, 3))
    np.testing.assert_allclose(
        found["cross_entropy"].mean(), -likelihood.mean(), rtol=1e-4
    )


def test_output_bias_starts_at_the_mean_logit(batch):
    model = vae().clone(output_bias=models.mean_logit)
    params = jax.jit(model.init)(jax.random.key(0), batch, None, HP)
    mean = np.clip(np.mean(batch["image"], 0), 0.001, 0.999)
    bias = params["params"]["bias"]["value"]
    np.testing.assert_allclose(jax.nn.sigmoid(bias), mean, rtol=1e-5)
    z = jnp.zeros((1, 3))  # no hidden bias yet, so the decoder adds nothing
    out = model.apply(params, z, {}, HP, method="decode")
    np.testing.assert_allclose(out.mean[0], mean, rtol=1e-5)


def cosine(hp, step):
    """The learning rate falls to 0 over `length` steps."""
    share = jnp.minimum(step / hp["length"], 1.0)
    return hp | {"lr": hp["lr"] * 0.5 * (1 + jnp.cos(jnp.pi * share))}


def test_a_linear_vae_reaches_the_likelihood_of_ppca():
    """Lucas et al. (2019); the exact optimum for a fixed sigma, in float64."""
    rng = np.random.default_rng(0)
    d, q, n, sigma = 8, 3, 600, 0.5
    loading = np.linalg.qr(rng.normal(size=(d, q)))[0] * np.array([2.0, 1.5, 1.0])
    x = (
        rng.normal(size=(n, q)) @ loading.T
        + sigma * rng.normal(size=(n, d))
        + rng.normal(size=d)
    )
    config = Config(
        model=models.VAE(
            q,
            networks.MLPEncoder(()),
            networks.MLPDecoder(()),
            likelihoods.gaussian,
            shape=(d,),
        ),
        objective=objectives.beta_vae,
        hparams={"beta": 1.0, "sigma": sigma, "lr": 0.1, "length": 4000.0},
        optimizer=optim.adam,
        schedule=cosine,
        binarization=data.none,
        batch=n,
    )
    stored = {"image": jnp.asarray(x, jnp.float32)}
    hp = {name: jnp.float32(value) for name, value in config.hparams.items()}
    start = jax.jit(functools.partial(init_state, config))
    state = start(data.rows(stored, slice(None)), 0, hp)
    sums = dict.fromkeys(("loss", "elbo", "distortion", "rate"), jnp.float32(0))
    order = jnp.tile(jnp.arange(n), (4000, 1))
    span = jax.jit(functools.partial(train_span, config))
    window = Window(stored, order, 0, n)
    state, _ = span(window, (state, sums), 0, hp, 0, 4000)

    p = jax.tree.map(np.float64, state.params["params"])
    both = x @ p["posterior"]["Dense_0"]["kernel"] + p["posterior"]["Dense_0"]["bias"]
    mean, variance = both[:, :q], np.exp(both[:, q:])
    w, bias = p["decoder"]["Dense_0"]["kernel"], p["bias"]["value"]
    error = ((x - mean @ w - bias) ** 2).sum(1) + variance @ (w**2).sum(1)
    distortion = 0.5 * (d * np.log(2 * np.pi * sigma**2) + error / sigma**2)
    rate = 0.5 * (variance + mean**2 - 1 - np.log(variance)).sum(1)
    elbo = -(distortion + rate).mean()

    spectrum = np.linalg.eigvalsh(np.cov(x.T, ddof=0))[::-1]
    active, rest = spectrum[:q], spectrum[q:]
    assert (active > sigma**2).all()
    best = -0.5 * (
        d * np.log(2 * np.pi)
        + (np.log(active) + 1).sum()
        + (np.log(sigma**2) + rest / sigma**2).sum()
    )
    assert best - 1e-2 < elbo < best + 1e-6
