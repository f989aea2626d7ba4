"""Where the bound is lost: gaps of linear-Gaussian models, whose posteriors are known."""

import functools
import itertools
import signal
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from aevae import Interrupted, data, models, networks, objectives, optim
from aevae.config import Config
from aevae.evaluation import contract, evaluate, inference, work
from aevae.models import likelihoods
from aevae.runs import study, tables, trained
from aevae.training import layout

PIXELS, LATENT, SIGMA, COUNT, STEPS = 6, 3, 0.6, 130, 200
KEY = functools.partial(jax.random.key, 3)


def linear():
    parts = networks.MLPEncoder(()), networks.MLPDecoder(())
    return Config(
        models.VAE(LATENT, *parts, likelihoods.gaussian, shape=(PIXELS,)),
        objectives.beta_vae,
        {"beta": 1.0, "sigma": SIGMA, "lr": 1e-3},
        *(optim.adam, optim.constant, data.none),
    )


def loadings(turned):
    """W [Z, P] of orthogonal rows, or rotated in the space of z, so that they are not."""
    random = np.random.default_rng(0)
    axes, _ = np.linalg.qr(random.normal(size=(PIXELS, LATENT)))
    w = axes.T * np.array([[2.0], [1.2], [0.6]])
    turn, _ = np.linalg.qr(random.normal(size=(LATENT, LATENT)))
    return turn @ w if turned else w


def precision(w):
    """That of p(z|x): the same for every x."""
    return w @ w.T / SIGMA**2 + np.eye(LATENT)


def given(w, shift=0.0, wider=0.0):
    """A model with the best encoder of its family, or that with means and log-deviations shifted."""
    exact = precision(w)
    batch = {"image": jnp.zeros((3, PIXELS))}
    init = jax.jit(linear().model.init)
    params = init(jax.random.key(0), batch, None, {"sigma": 1.0})
    inner = params["params"]
    inner["decoder"]["Dense_0"]["kernel"] = jnp.float32(w)
    mean = np.linalg.solve(exact, w / SIGMA**2)
    head = np.concatenate([mean, np.zeros((LATENT, PIXELS))]).T
    bias = np.r_[np.full(LATENT, shift), 2 * wider - np.log(np.diag(exact))]
    inner["posterior"]["Dense_0"] = {
        "kernel": jnp.float32(head),
        "bias": jnp.float32(bias),
    }
    return params, jnp.int32(0), {"beta": 1.0, "sigma": SIGMA, "lr": 1e-3}


def images(w):
    random = np.random.default_rng(1)
    x = random.normal(size=(COUNT, LATENT)) @ w
    return {"image": jnp.float32(x + SIGMA * random.normal(size=x.shape))}


def log_likelihood(w):
    """log p(x) of each image, float64."""
    covariance = w.T @ w + SIGMA**2 * np.eye(PIXELS)
    normal = scipy.stats.multivariate_normal(np.zeros(PIXELS), covariance)
    return normal.logpdf(np.float64(images(w)["image"]))


@functools.cache
def program(steps, k):
    return jax.jit(functools.partial(inference.refine, linear(), steps, k, KEY()))


def gaps(w, own, k=2000, steps=STEPS, cuts=()):
    """Approximation gap, amortization gap and log p(x) of each example, [N]; float64."""
    held = images(w)
    of, units = inference.refining(linear(), steps, k, held)
    carry = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), of(own))
    for start, stop in itertools.pairwise([0, *cuts, units]):
        carry = program(steps, k)(carry, own, (held, start, stop))
    own, refined, log_px = (
        np.float64(carry[name]) for name in ("own", "refined", "log_px")
    )
    return log_px - refined, refined - own, log_px


@pytest.mark.parametrize("turned", [False, True])
def test_the_gaps_of_the_best_encoder(turned):
    """½ (sum log L_ii - log det L) of the family, L the precision of p(z|x), and 0 of the encoder.

    With orthogonal loadings the posterior has no correlations, and nothing is lost; rotated, so that
    the model of x is the same, it is.
    """
    w = loadings(turned)
    exact = precision(w)
    known = 0.5 * (np.log(np.diag(exact)).sum() - np.linalg.slogdet(exact)[1])
    approximation, amortization, log_px = gaps(w, given(w))
    error = approximation.std() / np.sqrt(COUNT)
    if turned:
        assert known > 0.3
        assert abs(approximation.mean() - known) < 3 * error + 2e-3
        assert error < 0.02
    else:
        assert abs(known) < 1e-9
        np.testing.assert_allclose(approximation, 0.0, atol=1e-4)
    assert abs(amortization).max() < 0.02 and abs(amortization.mean()) < 2e-3
    assert abs((log_px - log_likelihood(w)).mean()) < 0.01


@pytest.mark.retraced
@pytest.mark.parametrize("shift, wider", [(0.3, 0.0), (0.0, 0.4), (-0.2, -0.5)])
def test_a_shifted_encoder_loses_by_amortization(shift, wider):
    """½ dᵀ L d of a mean shifted by d, and per latent ½ (e^2s - 1) - s of a log-deviation by s."""
    w = loadings(True)
    exact, d = precision(w), np.full(LATENT, shift)
    known = 0.5 * d @ exact @ d + LATENT * (0.5 * np.expm1(2 * wider) - wider)
    before, _, _ = gaps(w, given(w))
    approximation, amortization, _ = gaps(w, given(w, shift, wider))
    error = amortization.std() / np.sqrt(COUNT)
    assert known > 0.2 and error < 0.05 * known
    assert abs(amortization.mean() - known) < 3 * error + 2e-3
    assert abs(approximation.mean() - before.mean()) < 0.02


@pytest.mark.retraced
def test_k_counts_the_samples():
    """Of K / 2 = 25, more than are drawn at once: where q is exact each weight is p(x)."""
    w = loadings(False)
    approximation, amortization, log_px = gaps(w, given(w), k=50, steps=5)
    own = log_px - approximation - amortization
    np.testing.assert_allclose(own, log_likelihood(w), atol=1e-3)
    np.testing.assert_allclose(log_px, log_likelihood(w), atol=0.05)


@pytest.mark.bits
@pytest.mark.retraced
def test_cut_work_has_the_same_bits():
    """In the middle of a block's steps, at its first draws, and in the next block."""
    w, how = loadings(True), {"k": 50, "steps": 5}
    straight = gaps(w, given(w, 0.3), **how)
    cut = gaps(w, given(w, 0.3), **how, cuts=(1, 3, 5, 6, 9))
    np.testing.assert_array_equal(cut, straight)


@pytest.mark.retraced
def test_a_refinement_that_ends_lower_leaves_the_encoders_posterior(monkeypatch):
    """By steps that are far too long: nothing is lost by amortization, and nothing gained."""
    w, config = loadings(False), linear()
    monkeypatch.setattr(inference, "LR", 100.0)
    held, k = images(w), 40
    of, units = inference.refining(config, 5, k, held)
    run = jax.jit(functools.partial(inference.refine, config, 5, k, KEY()))
    carry = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), of(given(w)))
    carry = run(carry, given(w), (held, 0, units))
    np.testing.assert_array_equal(carry["own"], carry["refined"])
    np.testing.assert_allclose(carry["log_px"], carry["own"], atol=1e-4)


def test_an_odd_k_is_rounded_up():
    """So that one sample is one of each posterior, and none is no bound."""
    assert [inference._turns(k)[0] for k in (1, 2, 41)] == [1, 1, 21]
    _, _, log_px = gaps(loadings(False), given(loadings(False)), k=1, steps=5)
    assert np.isfinite(log_px).all()


@pytest.mark.parametrize("prefix, part", [("", "test"), ("train_", "train")])
def test_what_is_told_of_the_gaps(monkeypatch, prefix, part):
    """Means over the split that it is named for, each with its own standard error."""
    random = np.random.default_rng(0)
    found = {n: random.normal(size=(1, 50)) for n in ("own", "refined", "log_px")}
    monkeypatch.setattr(inference, "refining", lambda *args: (lambda given: given, 0))
    held = []
    fake = types.SimpleNamespace(
        held=lambda *args: held.append(args),
        through=lambda *args: found,
        **dict.fromkeys(("config", "given"), ()),
        shapes=lambda: (),
        group=types.SimpleNamespace(runs=[0]),
    )
    asked = getattr(inference, f"{prefix}inference_gap")
    (row,) = asked(fake, k=40, gap_steps=1, gap_examples=50)
    assert held == [(part, 50)]
    own, refined, log_px = (v[0] for v in found.values())
    for name, values in {
        "log_px_40": log_px,
        "refined_elbo": refined,
        "inference_gap": log_px - own,
        "approximation_gap": log_px - refined,
        "amortization_gap": refined - own,
    }.items():
        told = row[prefix + name], row[f"{prefix}{name}_error"]
        error = values.std(ddof=1) / np.sqrt(50)
        np.testing.assert_allclose(told, (values.mean(), error), err_msg=name)


SMALL = {
    "epochs": 3,
    "batch": 400,
    "encoder.widths": (16,),
    "decoder.widths": (16,),
}
QUICK = {"k": 40, "gap_steps": 10, "gap_examples": 120}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "digits"
    grid = {"beta": (0.5, 2.0)}
    study.run("configs/digits.py", path, overrides=SMALL | {"latent": 2}, grid=grid)
    return path


@pytest.mark.retraced
def test_the_parts_of_the_gap_are_columns(folder, digits):
    """They add up, and every bound of the refined posterior is above the encoder's."""
    asked = ["inference_gap", "train_inference_gap", "collapse"]
    found = evaluate.run(folder, asked, **QUICK)
    rows = tables.results(folder)
    for prefix in ("", "train_"):
        assert f"{prefix}approximation_gap_error" in found
        for row in rows:
            parts = (row[f"{prefix}{n}_gap"] for n in ("approximation", "amortization"))
            np.testing.assert_allclose(
                sum(parts), row[f"{prefix}inference_gap"], atol=1e-5
            )
            lost = row[f"{prefix}log_px_40"] - row[f"{prefix}refined_elbo"]
            np.testing.assert_allclose(
                lost, row[f"{prefix}approximation_gap"], atol=1e-4
            )
            assert row[f"{prefix}amortization_gap"] > -0.01
            assert row[f"{prefix}gap_examples"] == 120
    for row in rows:
        elbo = row["log_px_40"] - row["inference_gap"]  # of some of the examples
        assert abs(elbo - row["elbo"]) < 4 * row["log_px_40_error"]
        kinds = (row[f"{kind}_latents"] for kind in ("active", "mixed", "passive"))
        assert sum(kinds) == 2 >= row["used_latents"]
    of_latents = tables.read(folder / "latents.csv")
    for run, row in zip(trained.runs(folder), rows, strict=True):
        own = [r for r in of_latents if r["run"] == row["run"]]
        np.testing.assert_allclose(sum(r["rate"] for r in own), row["rate"], rtol=1e-4)
        held = data.held_out(data.stochastic, digits, "test")
        variance = np.float64(run.encode(data.none(None, held)).std ** 2)
        v = (
            [r["posterior_variance"] for r in own],
            [r["variance_of_variance"] for r in own],
        )
        np.testing.assert_allclose(v, [variance.mean(0), variance.var(0)], rtol=1e-3)
        cost = sum(r["used_permuted"] for r in own)
        assert abs(cost) > 1e-3  # each is given the code of another example


@pytest.mark.slow
@pytest.mark.bits
def test_interrupted_work_resumes_to_the_same_numbers(folder, monkeypatch):
    straight = evaluate.run(folder, ["inference_gap"], fresh=True, **QUICK)
    before = [[row[name] for name in straight] for row in tables.results(folder)]
    monkeypatch.setattr(work, "SAVED", 0.0)
    save, left = work.Work._save, []

    def dying(self, *args):
        save(self, *args)
        left.append(0)
        if len(left) == 3:
            self._signals.caught = signal.SIGTERM

    monkeypatch.setattr(work.Work, "_save", dying)
    monkeypatch.setattr(layout, "SPAN", 1e-4)
    with pytest.raises(Interrupted, match="is saved; the same command resumes"):
        evaluate.run(folder, ["inference_gap"], fresh=True, **QUICK)
    monkeypatch.undo()
    assert evaluate.run(folder, ["inference_gap"], **QUICK) == straight
    after = [[row[name] for name in straight] for row in tables.results(folder)]
    assert after == before


@pytest.mark.parametrize(
    "posterior, reason",
    [
        ("Flow", "the posterior Flow has no log_prob_each"),
        (
            "Laplace",
            "the arrays of the posterior Laplace may not be any real numbers: it has no",
        ),
    ],
)
def test_a_posterior_that_cannot_be_refined_is_refused(posterior, reason):
    """A flow's steps are shared by all examples; scales that are kept as such may not fall below 0."""
    has = {"log_prob_each"} if posterior == "Laplace" else set()
    facts = dict.fromkeys(contract.Facts._fields) | {"bounded": True, "vector": True}
    facts |= {"posterior": has, "names": {"posterior": posterior}}
    told = contract.missing(inference.inference_gap, contract.Facts(**facts))
    assert told.startswith(reason)
