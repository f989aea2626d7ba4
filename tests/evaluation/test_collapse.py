"""Posterior collapse, against linear VAEs at their optimum, where all of it has a closed form."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aevae import data, models, networks, objectives, optim
from aevae.config import Config, replace
from aevae.evaluation import collapse, evaluate
from aevae.models import likelihoods
from aevae.runs import study, tables
from experiments.laws import linear

SIGMA2, BETA, COUNT = 0.5, 2.0, 4000
VALUES = np.array(
    [9.0, 4.0, 2.0, 0.5]
)  # of the covariance; the last is below beta sigma²
LATENT = 4


def config(latent=LATENT, **fields):
    parts = networks.MLPEncoder(()), networks.MLPDecoder(())
    return Config(
        models.VAE(latent, *parts, likelihoods.gaussian, **fields),
        objectives.beta_vae,
        {"beta": BETA, "sigma": SIGMA2**0.5, "lr": 0.05, "length": 2000.0},
        *(optim.adam, functools.partial(optim.cosine, length="length"), data.none),
    )


def optimum():
    """Parameters of the best linear beta-VAE of the diagonal covariance: |w|² = l - tau, v = |w| / l."""
    tau = BETA * SIGMA2
    length = np.sqrt(np.maximum(VALUES - tau, 0))
    own = config(shape=(LATENT,))
    batch = {"image": jnp.zeros((3, LATENT))}
    params = jax.jit(own.model.init)(jax.random.key(0), batch, None, own.hparams)
    head = np.concatenate([np.diag(length / VALUES), np.zeros((LATENT, LATENT))], 1)
    bias = np.r_[np.zeros(LATENT), np.log(np.minimum(tau / VALUES, 1))]
    inner = params["params"]
    inner["decoder"]["Dense_0"]["kernel"] = jnp.float32(np.diag(length))
    inner["posterior"]["Dense_0"] = {
        "kernel": jnp.float32(head),
        "bias": jnp.float32(bias),
    }
    return own, (params, jnp.int32(0), own.hparams)


def test_what_replacing_a_latent_costs():
    """(l - tau) / sigma² nats, drawn from the prior or permuted; the image moves by 2 (l - tau).

    At the optimum the aggregate posterior is the prior, tau = beta sigma²; of the collapsed latent
    the decoder sees nothing.
    """
    own, given = optimum()
    random = np.random.default_rng(0)
    x = jnp.float32(random.normal(size=(COUNT, LATENT)) * np.sqrt(VALUES))
    q = own.model.apply(given[0], {"image": x}, method="encode")
    z = q.sample(jax.random.key(1))
    inputs = *given, z, jnp.roll(z, 1, axis=0)
    names = "prior", "permuted", "image", "std"
    carry = {name: jnp.zeros((COUNT, LATENT)) for name in names}
    run = jax.jit(functools.partial(collapse.replace, own, jax.random.key(2)))
    units = COUNT // 100 * LATENT
    carry = run(carry, inputs, ({"image": x}, 0, 7))
    carry = run(carry, inputs, ({"image": x}, 7, units))
    known = np.maximum(VALUES - BETA * SIGMA2, 0)
    for name, cost in (("prior", 1 / SIGMA2), ("permuted", 1 / SIGMA2), ("image", 2)):
        found = np.float64(carry[name])
        error = found.std(0) / np.sqrt(COUNT)
        assert (abs(found.mean(0) - cost * known) <= 4 * error + 1e-6).all(), name
        assert (error[:3] < 0.06 * cost * known[:3]).all()
    np.testing.assert_array_equal(carry["std"], 1.0)


def test_kinds_of_latents():
    """By mean and variance of the posterior's variance over the data; not by the mean alone."""
    random = np.random.default_rng(0)
    noise = 0.02 * random.random((500, 5))
    half = (random.random((500, 1)) < 0.5) + 0.0
    low, high = np.full((500, 1), 0.04), np.full((500, 1), 0.95)
    lone = 4.0 * (random.random((500, 1)) < 0.02) + 0.01  # of mean 0.09, not steady
    v = np.concatenate([low, high, half, np.full((500, 1), 0.5), lone], 1) + noise
    v[:, 4] -= noise[:, 4]
    found = [collapse.KINDS[kind] for kind in collapse.kinds(v)]
    assert v[:, 4].mean() < 0.1 < v[:, 4].var()
    assert found == ["active", "passive", "mixed", "mixed", "mixed"]


def test_what_is_told_of_each_latent():
    """Variances are over the prior's; a cost within its noise is no use, nor one that is exact but small."""
    count, latents = 200, 5
    prior = np.array([3.0, 3.0, 1.0, 1.0, 0.5])
    ratio = np.array(
        [0.05, 1.0, 1.3, 0.5, 0.95]
    )  # a variance above the prior's is mixed
    std = np.tile(prior * np.sqrt(ratio), (1, count, 1))
    noise = np.tile([1.0, -1.0], count // 2)
    permuted = np.array([1.0, 0.05, 0.005, 0.05, -1.0])[None] + np.zeros((count, 1))
    permuted[:, 1] += 2 * noise  # of standard error 0.14
    found = {"permuted": permuted, "prior": permuted + 7, "image": permuted + 9}
    found["std"] = np.tile(prior, (count, 1))
    found = {name: v[None] for name, v in found.items()}
    codes = {"z": np.zeros((1, count, latents)), "rate": np.ones((1, count, latents))}
    work = types.SimpleNamespace(
        held=lambda part: {"image": np.zeros((count, 4))},
        encoded=lambda held, use: codes | {"q": types.SimpleNamespace(std=std)},
        members=types.SimpleNamespace(spread=lambda v: v),
        given=(),
        through=lambda *args: found,
    )
    ((counts, told),) = collapse.collapse(work)
    kinds = [collapse.KINDS[kind] for kind in told["kind"]]
    assert kinds == ["active", "passive", "mixed", "mixed", "passive"]
    assert [counts[f"{kind}_latents"] for kind in collapse.KINDS] == [2, 2, 1]
    np.testing.assert_allclose(told["posterior_variance"], ratio)
    assert counts["used_latents"] == 2  # the first and the fourth
    for name, own in (("prior", 7), ("permuted", 0)):
        costs = told[f"used_{name}"] - own
        np.testing.assert_allclose(costs, permuted.mean(0), atol=1e-9)
    np.testing.assert_allclose(told["image_change"] - 9, permuted.mean(0), atol=1e-9)


def test_where_latents_die_in_closed_form():
    """At beta = l / sigma², from betas on both sides and in any order; the r-th of each run."""
    betas = (30.0, 0.5, 1.5, 3.0, 7.0, 12.0)
    random, rates = np.random.default_rng(0), {}
    for beta in betas:
        own = np.maximum(0.5 * np.log(VALUES / (beta * SIGMA2)), 0)
        rates[beta] = np.stack([random.permutation(own) for _ in range(3)])
    found = collapse.deaths(rates)
    assert [(d.rank, d.alive, d.dead) for d in found] == [
        (1, 12.0, 30.0),
        (2, 7.0, 12.0),
        (3, 3.0, 7.0),
        (4, 0.5, 1.5),
    ]
    estimates = [d.estimate for d in found]
    np.testing.assert_allclose(estimates[:3], VALUES[:3] / SIGMA2, rtol=1e-6)
    assert estimates[3] == np.sqrt(0.5 * 1.5)  # of one point there is no line
    # A line that is steeper ends earlier, but no latent dies before one of less rate.
    steep = {1.0: [[9.0, 0.2]], 2.0: [[0.11, 0.1]], 4.0: [[0.0, 0.0]]}
    both = collapse.deaths({beta: np.array(own) for beta, own in steep.items()})
    assert both[0].estimate == both[1].estimate == pytest.approx(4.0)
    first, *_ = collapse.deaths(
        {1.0: np.array([[2.0, 0.0]]), 2.0: np.array([[1.0, 0.0]])}
    )
    assert first == (1, 2.0, None, None)
    assert collapse.deaths({1.0: np.zeros((1, 1))}) == [(1, None, 1.0, None)]
    # The line goes through the last two that are alive, here rates of 1 and 0.5.
    bent = {0.5: [[9.0]], 1.0: [[1.0]], 2.0: [[0.5]], 8.0: [[0.0]]}
    (bent,) = collapse.deaths({beta: np.array(own) for beta, own in bent.items()})
    assert bent == (1, 2.0, 8.0, pytest.approx(4.0))


@pytest.mark.filterwarnings("error")
def test_beta_0_has_no_logarithm():
    """No estimate beside it, and no line through it."""
    rates = {0.0: [[5.0, 3.0]], 1.0: [[1.0, 0.0]], 4.0: [[0.0, 0.0]]}
    found = collapse.deaths({beta: np.array(own) for beta, own in rates.items()})
    assert found == [(1, 1.0, 4.0, 2.0), (2, 0.0, 1.0, None)]


@pytest.mark.slow
@pytest.mark.retraced
def test_a_sweep_finds_the_thresholds_of_reverse_water_filling(tmp_path):
    """Law 2: trained by the package on `gaussian`, and measured on the same images; within 2 %."""
    path = tmp_path / "linear"
    grid = {"beta": (1.0, 2.0, 4.0, 7.0, 11.0, 16.0, 24.0, 40.0)}
    run, fields = config(6), {"dataset": "gaussian", "test": "train"}
    for name, value in (fields | {"batch": 2000, "epochs": 400}).items():
        run = replace(run, name, value)
    study.run(run, path, grid=grid)
    evaluate.run(path, ["collapse"], base=run)
    stored = data.load("gaussian", "train", "validation", "test")
    values = linear.spectrum(np.cov(stored.train["image"].T.astype(np.float64), ddof=0))
    rates, rows = {}, tables.read(path / "latents.csv")
    for row in rows:
        rates.setdefault(row["beta"], []).append(row["rate"])
    found = collapse.deaths({beta: np.array([own]) for beta, own in rates.items()})
    known = values[:4] / SIGMA2
    np.testing.assert_allclose([d.estimate for d in found[:4]], known, rtol=0.02)
    assert all(d.alive is None for d in found[4:])  # l / sigma² below the least beta
    for row in tables.results(path):
        alive = int((values[:6] > row["beta"] * SIGMA2).sum())
        assert row["used_latents"] == alive
        own = [r for r in rows if r["run"] == row["run"]]
        v = np.sort([r["posterior_variance"] for r in own])
        tau = np.minimum(row["beta"] * SIGMA2 / values[:6], 1)
        np.testing.assert_allclose(v, tau, rtol=0.2)  # their axes turn slowly
        assert row["passive_latents"] == (tau >= 0.9).sum()
        assert row["active_latents"] == (tau <= 0.1).sum()
