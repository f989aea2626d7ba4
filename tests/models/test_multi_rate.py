"""The multi-rate VAE: exact at every beta where theory has it, and a plain network's gates."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from aevae import (
    InputError,
    config,
    data,
    models,
    networks,
    objectives,
    optim,
    training,
)
from aevae.data.builders import gaussian
from aevae.models import multi_rate
from experiments.laws import linear

LINEAR = networks.MLPEncoder(()), networks.MLPDecoder(())
VARIANCE = 0.5  # sigma²
HP = {"sigma": jnp.float32(VARIANCE**0.5)}


def terms(model, params, x, beta):
    """Rate and squared error, means over rows x [N, P], of a model whose decoder is linear."""
    log_beta = jnp.full(len(x), math.log(beta))
    batch = {"image": jnp.float32(x), "log_beta": log_beta}
    q = model.apply(params, batch, method="encode")
    mean, variance = np.float64(q.mean), np.exp(2 * np.float64(q.log_std))

    def decoded(z):
        beside = {"log_beta": jnp.float32(math.log(beta))}
        given = params, jnp.float32(z), beside, HP
        return np.float64(model.apply(*given, method="decode").mean)

    columns = decoded(np.eye(mean.shape[1])) - decoded(np.zeros((1, mean.shape[1])))
    error = ((x - decoded(mean)) ** 2).sum(1) + variance @ (columns**2).sum(1)
    rate = 0.5 * (variance + mean**2 - 1 - np.log(variance)).sum(1)
    return rate.mean(), error.mean()


def moments():
    """Rows [32, 16] whose mean and covariance are exactly those of `gaussian`, and these."""
    _, mean, _ = gaussian.parameters()
    values, axes = np.linalg.eigh(gaussian.covariance())
    values, axes = values[::-1], axes[:, ::-1]
    steps = math.sqrt(len(values)) * (axes * np.sqrt(values)).T
    return mean + np.concatenate([steps, -steps]), mean, values, axes


def closed_form(values, axes, mean, latent=4):
    """The parameters that are best at every beta at once."""
    model = models.MultiRateVAE(latent, *LINEAR, models.gaussian, shape=(len(mean),))
    batch = {"image": jnp.zeros((2, len(mean)))}
    params = jax.tree.map(
        np.zeros_like, model.init(jax.random.key(0), batch, None, HP)["params"]
    )
    scale = np.sqrt(values[:latent])
    v = axes[:, :latent] / scale
    head = params["posterior"]["Dense_0"]
    head["kernel"] = np.concatenate([v, np.zeros_like(v)], axis=1)
    head["bias"] = np.concatenate([-mean @ v, np.zeros(latent)])
    params["decoder"]["Dense_0"]["kernel"] = (axes[:, :latent] * scale).T
    params["bias"]["value"] = mean
    params["response"]["slope"] = np.ones((1, latent))
    params["response"]["threshold"] = np.log(VARIANCE / values[:latent])[None]
    return model, {"params": jax.tree.map(jnp.float32, params)}


def test_one_set_of_weights_is_exact_at_every_beta():
    """Reverse water-filling, from betas at which every latent is open to those at which none is."""
    x, mean, values, axes = moments()
    model, params = closed_form(values, axes, mean)
    open_ones = set()
    for beta in np.geomspace(1e-3, 1e2, 30):
        count, rate, error, _ = linear.frontier(values, 4, beta, VARIANCE)
        found = terms(model, params, x, beta)
        np.testing.assert_allclose(found, (rate, error), rtol=1e-5, atol=1e-4)
        open_ones.add(count)
    assert open_ones == {0, 1, 2, 3, 4}


@pytest.mark.slow
def test_one_training_is_within_a_percent_at_betas_it_never_drew():
    """Of rate and error each, at 16 betas; what is drawn is continuous."""
    low, high, steps = math.log(0.3), math.log(12), 8_000
    dataset = data.load("gaussian")
    x = dataset.train["image"].astype(np.float64)
    values = linear.spectrum(np.cov(x.T, ddof=0))
    hp = {"log_low": low, "log_high": high, "sigma": VARIANCE**0.5, "lr": 0.02}
    whole = config.Config(
        models.MultiRateVAE(4, *LINEAR, models.gaussian),
        *(objectives.multi_rate_vae, hp | {"length": float(steps)}),
        *(optim.adam, functools.partial(optim.cosine, length="length"), data.none),
        batch=2000,
        epochs=steps // 5,
    )
    (run,) = training.fit([whole], dataset)
    for beta in np.exp(np.linspace(low, high, 16)):
        _, rate, error, _ = linear.frontier(values, 4, beta, VARIANCE)
        found = terms(run.config.model, run.params, x, beta)
        np.testing.assert_allclose(found, (rate, error), rtol=0.01)


# The network's gates


@pytest.fixture(scope="module")
def batch(tiny):
    return data.none(None, data.rows(tiny.train, slice(24)))


def model_of(encoder, decoder, kind=models.MultiRateVAE):
    return kind(3, encoder, decoder, shape=(4, 4, 1))


def begun(model, batch):
    """A model's parameters: at the start, and away from it."""
    params = jax.jit(model.init)(jax.random.key(0), batch, None, {})["params"]
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [v + 0.3 * jax.random.normal(k, v.shape) for k, v in zip(keys, leaves)]
    return params, jax.tree.unflatten(tree, moved)


MLPS = networks.MLPEncoder((8,)), networks.MLPDecoder((8,))
CONV = networks.ConvEncoder((4,), (8,)), networks.ConvDecoder((4,), (8,))
GRU = networks.GRUEncoder(8), networks.GRUDecoder(8)
PATCH = networks.PatchEncoder(2, 8, 1, 2), networks.PatchDecoder(2, 8, 1, 2)
SPECTRAL = CONV[0], models.SpectralDecoder(networks.MLPDecoder((8,)))


@pytest.mark.parametrize("pair", [MLPS, CONV, GRU, PATCH, SPECTRAL])
def test_a_batch_of_betas_is_each_beta_alone(pair, batch):
    """And every network starts with the weights of its VAE, to be compared with it by seed."""
    model = model_of(*pair)
    first, params = begun(model, batch)
    plain, _ = begun(model_of(*pair, models.VAE), batch)
    for name, leaves in plain.items():
        jax.tree.map(np.testing.assert_array_equal, first[name], leaves)
    log_beta = jnp.tile(jnp.log(jnp.array([0.1, 1.0, 5.0])), 8)
    apply = jax.jit(model.apply)
    whole = apply({"params": params}, batch | {"log_beta": log_beta}, None, {})
    for i, one in enumerate(log_beta[:3]):
        own = apply({"params": params}, batch | {"log_beta": one}, None, {})
        for name in ("log_px", "rate"):
            ours, theirs = (getattr(d, name)[i::3] for d in (whole, own))
            np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-5)
    default = apply({"params": params}, batch, None, {})
    np.testing.assert_allclose(default.log_px[1::3], whole.log_px[1::3], rtol=1e-5)
    assert np.ptp([np.asarray(whole.rate[i::3]).mean() for i in range(3)]) > 0.01


def test_a_gate_multiplies_what_a_layer_gives_before_its_activation(batch):
    """A channel whose gate is 0 is one without weights and bias; at the start gates are 1."""
    model = model_of(*CONV)
    first, params = begun(model, batch)
    assert sorted(first["encoder_gates"]) == [
        *("Conv_0_offset", "Conv_0_slope", "Dense_0_offset", "Dense_0_slope")
    ]
    assert len(first["decoder_gates"]) == 2 * len(first["decoder"])
    shut = jax.tree.map(lambda v: v, params)
    shut["encoder_gates"]["Conv_0_offset"] = (
        params["encoder_gates"]["Conv_0_offset"].at[0, 2].set(-200.0)
    )
    without = jax.tree.map(lambda v: v, params)
    layer = params["encoder"]["Conv_0"]
    without["encoder"]["Conv_0"] = {
        "kernel": layer["kernel"].at[..., 2].set(0.0),
        "bias": layer["bias"].at[2].set(0.0),
    }
    found = [
        model.apply({"params": p}, batch | {"log_beta": 0.7}, method="encode").mean
        for p in (shut, without, params)
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)
    assert abs(found[0] - found[2]).max() > 0.01


def test_the_gate_of_a_code_has_a_finite_gradient_where_it_closes():
    u = jnp.array([-30.0, -1.0, -1e-7, 0.0, 1e-7, 3.0])
    np.testing.assert_allclose(
        multi_rate.opening(u), np.sqrt(np.maximum(0, -np.expm1(np.float64(u)))), 1e-6
    )
    assert np.isfinite(jax.vmap(jax.grad(multi_rate.opening))(u)).all()


# The objective


def test_the_loss_weighs_each_rate_by_its_own_beta(batch):
    model = model_of(*MLPS)
    _, params = begun(model, batch)
    hp = {"log_low": -2.0, "log_high": 1.0}
    given = model, {"params": params}, batch, jax.random.key(3), hp
    loss, found = objectives.multi_rate_vae(*given)
    key, own = jax.random.split(jax.random.key(3))
    still = jax.random.fold_in(own, 1)
    log_beta = objectives.log_betas(own, 24, -2.0, 1.0)
    given = batch | {"log_beta": log_beta}
    draw = model.apply({"params": params}, given, key, hp)
    beta = np.exp(np.float64(log_beta))
    by_hand = np.mean(beta * np.float64(draw.rate) - np.float64(draw.log_px))
    np.testing.assert_allclose(loss, by_hand, rtol=1e-5)
    given = batch | {"log_beta": 0.0}
    at_one = model.apply({"params": params}, given, still, hp)
    elbo = np.mean(np.float64(at_one.log_px) - np.float64(at_one.rate))
    np.testing.assert_allclose(found["elbo"], elbo, rtol=1e-5)
    assert {*found} == {"elbo", "distortion", "rate"}


def test_log_betas_are_uniform_each_and_spread_together():
    keys = jax.random.split(jax.random.key(0), 2000)
    found = jax.vmap(lambda k: objectives.log_betas(k, 8, -2.0, 1.0))(keys)
    for column in np.asarray(found).T:
        assert scipy.stats.kstest(column, scipy.stats.uniform(-2, 3).cdf).pvalue > 1e-3
    distances = np.diff(np.sort(found, axis=1), axis=1)
    np.testing.assert_allclose(distances, 3 / 8, atol=1e-5)
    still = objectives.log_betas(None, 3, 0.0, 3.0)
    np.testing.assert_allclose(still, [0.5, 1.5, 2.5], rtol=1e-6)


def test_a_model_that_does_not_read_beta_is_refused(batch):
    model = model_of(*MLPS, models.VAE)
    params = model.init(jax.random.key(0), batch, None, {})
    hp = {"log_low": -2.0, "log_high": 1.0}
    with pytest.raises(InputError, match="reads batch.'log_beta'., as models.Multi"):
        objectives.multi_rate_vae(model, params, batch, jax.random.key(0), hp)


# A trained run


@pytest.fixture(scope="module")
def run(tiny):
    (base,) = config.settle(config.load("configs/multi_rate.py"), {"batch": 24}, {})
    base = dataclasses.replace(base, model=model_of(*MLPS).clone(shape=()), epochs=2)
    (found,) = training.fit([base], tiny)
    return found


def test_a_trained_run_encodes_decodes_and_samples_at_a_beta(run, tiny):
    images = tiny.test["image"]
    stds = [np.asarray(run.encode(images, beta=b).std) for b in (0.1, 1, 10.0)]
    assert (stds[0] < stds[1]).any() and (stds[1] < stds[2]).any()
    np.testing.assert_array_equal(run.encode(images).std, stds[1])
    each = run.encode(images, beta=[0.1] * 10 + [10.0] * 10).std
    np.testing.assert_allclose(each[:10], stds[0][:10], rtol=1e-5)
    np.testing.assert_allclose(each[10:], stds[2][10:], rtol=1e-5)
    code = run.encode(images, beta=0.1).mean
    again = run.decode(code, beta=0.1).mean
    np.testing.assert_array_equal(run.reconstruct(images, beta=0.1), again)
    assert abs(again - run.decode(code).mean).max() > 0
    closed = run.sample(jax.random.key(0), 5, beta=1e6)  # every latent is closed
    np.testing.assert_allclose(closed, np.broadcast_to(closed[:1], closed.shape))


@pytest.mark.parametrize(
    ("beta", "says"),
    [
        (0, "beta must be a number above 0, not 0$"),
        (math.nan, "beta must be a number above 0, not nan"),
        ("much", "beta must be a number above 0, not 'much'"),
        ([1.0, 2.0], r"one for each of the 20 examples, not of shape \[2\]"),
    ],
)
def test_what_is_no_beta_is_refused(run, tiny, beta, says):
    with pytest.raises(InputError, match=says):
        run.encode(tiny.test["image"], beta=beta)


def test_a_run_of_one_beta_takes_no_other(tiny):
    (base,) = config.settle(config.load("configs/digits.py"), {"batch": 24}, {})
    base = dataclasses.replace(base, epochs=1)
    (plain,) = training.fit([base], tiny)
    with pytest.raises(InputError, match="VAE has the one that it was trained at"):
        plain.sample(jax.random.key(0), 2, beta=2.0)
