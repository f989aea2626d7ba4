"""Priors fitted to the codes of trained runs: what they gain, how they are kept, what is refused."""

import os
import shutil
import signal
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from outside import NETWORKS, run_of
from scipy import stats

from aevae import InputError, Interrupted, data, models, objectives, optim
from aevae.evaluation import contract, evaluate, fitting, second_stage, worker
from aevae.figures import codes as pictures
from aevae.figures.views import View
from aevae.models import priors
from aevae.models.distributions import Code, Normal, Uniform
from aevae.runs import evaluated, fitted, study, tables, trained
from aevae.training import layout
from experiments import command
from experiments import prior as prior_command

SMALL = {
    "epochs": 10,
    "batch": 400,
    "encoder.widths": (16,),
    "decoder.widths": (16,),
    "latent": 3,
}


ALL = [second_stage.gmm, second_stage.maf, second_stage.two_stage]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two betas, far from 1, and two seeds."""
    path = tmp_path_factory.mktemp("runs") / "digits"
    grid = {"beta": (0.1, 0.3), "seed": (0, 1)}
    study.run("configs/digits.py", path, overrides=SMALL, grid=grid)
    evaluate.run(path, [second_stage.gaussian])
    return path


def of(path, number, prior):
    rows = tables.read(path / "priors.csv")
    return next(r for r in rows if (r["run"], r["prior"]) == (number, prior))


# What a prior gains


@pytest.mark.retraced
def test_a_gaussian_gains_what_the_moments_say(folder, digits):
    """At beta != 1, from the exact moments of the aggregate posterior: no draw of a code."""

    def codes(run, part):
        q = run.encode(data.none(None, data.held_out(data.stochastic, digits, part)))
        return (np.asarray(v, np.float64) for v in (q.mean, q.std))

    for run in trained.runs(folder):
        mean, std = codes(run, "train")
        m, c = mean.mean(0), np.cov(mean, rowvar=False, bias=True)
        c += np.diag((std**2).mean(0))
        mean, std = codes(run, "test")
        # log p2(z) - log p(z) is quadratic, with this Hessian and these slopes at the means.
        hessian, variance = np.eye(3) - np.linalg.inv(c), std**2
        slope = mean - (mean - m) @ np.linalg.inv(c)
        gain = (mean**2).sum(1) - ((mean - m) * (mean - slope)).sum(1)
        gain = (gain + variance @ np.diag(hessian) - np.linalg.slogdet(c)[1]) / 2
        noise = np.einsum("ni,ij,nj->n", variance, hessian**2, variance) / 2
        noise += (slope**2 * variance).sum(1)
        error = np.sqrt((gain.var(ddof=1) + noise.mean() / 10) / len(gain))  # 10 draws
        found = of(folder, run.row["run"], "gaussian")
        assert found["gain"] > 0.2  # nothing that is small anyway
        assert abs(found["gain"] - gain.mean()) < 3 * error
        np.testing.assert_allclose(found["gain_error"], error, rtol=0.1)


def test_the_gain_of_a_gaussian_in_closed_form():
    """½ (tr S + mᵀm - d - log det S), where it is fitted to the codes that it is measured on."""
    random = np.random.default_rng(0)
    z = random.normal(size=(4000, 3)) @ random.normal(size=(3, 3)) + [1.0, -0.5, 0.0]
    z = np.float32(z)
    own = Normal(*jnp.zeros((2, 1, 3)))
    mean, covariance = z.mean(0), np.cov(z, rowvar=False, bias=True)
    gain = np.trace(covariance) + mean @ mean - 3 - np.linalg.slogdet(covariance)[1]
    (found,) = judged(second_stage._of_moments(z), z[:, None], own)
    np.testing.assert_allclose(
        found.tables["priors"].rows["mine"]["gain"], gain / 2, rtol=1e-4
    )
    # An autoencoder has no bound that could rise, and a prior that was learned is another.
    for elbo, p in ((None, own), (-3.0, own._replace(mean=own.mean + 1))):
        (found,) = judged(second_stage._of_moments(z), z[:, None], p, elbo)
        assert found.tables["priors"].rows["mine"]["gain"] is None


def judged(prior, z, own, elbo=-3.0):
    """What `second_stage.found` says of one run whose test codes are z [N, draws, Z]."""
    model = SimpleNamespace(apply=lambda params, batch, method: own)
    group = SimpleNamespace(rows=[{"elbo": elbo}], states=[({}, 0)])
    config = SimpleNamespace(model=model)
    work = SimpleNamespace(group=group, config=config, stop=lambda: None)
    return second_stage.found(work, "mine", [prior], [z])


class AsGiven(models.VAE):
    """An autoencoder whose code is the example itself, if nothing draws from its posterior."""

    def encode(self, batch):
        return Normal(batch["image"], jnp.zeros((1, 1)))


class Numbered(models.VAE):
    """A model whose codes are discrete, and the example itself: numbers from 0 to 3."""

    def encode(self, batch):
        cells = batch["image"][:, :, None]
        return Code(cells, cells)

    def prior(self, batch):
        del batch
        return Uniform(jnp.arange(4.0)[:, None], self.latent)


def of_codes(path, kind, codes, objective, **fields):
    """A folder of one run with these codes [N, Z], of which a third is tested on."""
    third = len(codes) // 3
    parts = codes[: 2 * third], codes[:200], codes[2 * third :]
    stored = data.arrays(*({"image": np.float32(part)} for part in parts))
    model = kind(codes.shape[1], *NETWORKS, likelihood=models.gaussian)
    run = run_of(model, objective, {"sigma": 1.0}, binarization=data.none, **fields)
    study.run(run, path, dataset=stored)
    return {"base": run, "dataset": stored}


def test_codes_of_a_known_mixture_have_its_entropy(tmp_path):
    """By the mixture and by MAF, within the error; a single Gaussian's is far above."""
    random = np.random.default_rng(0)
    weights, means = np.array([0.25, 0.25, 0.5]), [[-1.5, 0.0], [1.5, 0.5], [0.0, 2.0]]
    shears = [
        [[1.0, 0.0], [0.5, 0.6]],
        [[0.5, 0.0], [-0.5, 1.0]],
        [[0.8, 0.0], [0, 0.4]],
    ]
    which = random.choice(3, 12000, p=weights)
    noise = random.normal(size=(12000, 2))
    z = np.array(means)[which] + np.einsum("nij,nj->ni", np.array(shears)[which], noise)
    given = of_codes(tmp_path / "mixture", AsGiven, z, objectives.autoencoder)
    asked = [second_stage.gaussian, *ALL]
    options = {"components": 3, "steps": 1500}
    evaluate.run(tmp_path / "mixture", asked, **given, **options)
    density = sum(
        w * stats.multivariate_normal(m, np.array(s) @ np.array(s).T).pdf(z[8000:])
        for w, m, s in zip(weights, means, shears)
    )
    entropy = -np.log(density).mean()
    excess = {
        name: -of(tmp_path / "mixture", 0, name)["log_density"] - entropy
        for name in ("gaussian", "gmm", "maf", "two_stage")
    }
    error = of(tmp_path / "mixture", 0, "gmm")["log_density_error"]
    assert 0.01 < error < 0.02
    assert -0.01 < excess["gmm"] < 0.01  # of the same test codes: their noise is shared
    assert -0.01 < excess["maf"] < 2 * error
    assert excess["two_stage"] > -0.01  # of a lower bound
    assert excess["gaussian"] > 10 * error
    assert of(tmp_path / "mixture", 0, "gmm")["gain"] is None


def test_independent_discrete_codes_have_their_entropy(tmp_path):
    shares = np.array([0.5, 0.25, 0.125, 0.125])
    numbers = np.random.default_rng(0).choice(4, (6000, 3), p=shares)
    path = tmp_path / "numbers"
    given = of_codes(path, Numbered, numbers, objectives.fsq_vae)
    evaluate.run(path, [second_stage.autoregressive], **given, steps=400, width=16)
    found = of(path, 0, "autoregressive")
    entropy = -3 * (shares * np.log(shares)).sum()
    assert abs(found["rate"] - entropy) < 3 * found["rate_error"] + 0.02
    assert abs(found["gain"] - (3 * np.log(4) - found["rate"])) < 1e-4


@pytest.mark.retraced
def test_discrete_codes_that_depend_on_each_other_cost_less(tmp_path):
    """The second is the first, and the third their sum: the entropy is that of the first."""
    first = np.random.default_rng(0).choice(4, (6000, 1))
    numbers = np.concatenate([first, first, 2 * first % 4], 1)
    path = tmp_path / "numbers"
    given = of_codes(path, Numbered, numbers, objectives.fsq_vae)
    evaluate.run(path, [second_stage.autoregressive], **given, steps=400, width=16)
    assert abs(of(path, 0, "autoregressive")["rate"] - np.log(4)) < 0.05
    drawn = fitted.load(path, 0, "autoregressive").sample(jax.random.key(0), 500)
    drawn = np.asarray(drawn)
    assert (
        np.mean((drawn[:, 0] == drawn[:, 1]) & (2 * drawn[:, 0] % 4 == drawn[:, 2]))
        > 0.97
    )


CODED = []


@contract.measure(contract.vector, default=lambda facts: False)
def coded(work):
    CODED[:] = work.group.numbers, second_stage.coded(work)
    yield from ({} for _ in work.group.runs)


@pytest.mark.retraced
def test_each_code_has_noise_of_its_own(copied, digits):
    """Of all examples, draws and splits no two are alike."""
    evaluate.run(copied, [coded])
    run = next(iter(trained.runs(copied)))
    which = CODED[0].index(run.row["run"])
    noise = []
    for part, z in zip(("train", "validation", "test"), CODED[1]):
        q = run.encode(data.none(None, data.held_out(data.stochastic, digits, part)))
        mean, std = np.asarray(q.mean), np.asarray(q.std)
        noise.append(
            (z[which].reshape(len(mean), -1, 3) - mean[:, None]) / std[:, None]
        )
        assert abs(noise[-1].mean()) < 0.1 and abs(noise[-1].std() - 1) < 0.05
    assert noise[2].shape[1] == 10 and min(noise[0].size, noise[1].size) >= 60_000
    every = np.round(np.concatenate([v.reshape(-1, 3) for v in noise]), 2)
    assert len(np.unique(every, axis=0)) > 0.95 * len(every)


# Networks


class Level(nn.Module):
    """A number, which training moves to the mean of the codes, and how often a row was seen."""

    @nn.compact
    def __call__(self, batch, key, hp):
        del key, hp
        zeros = nn.initializers.zeros
        level, seen = self.param("level", zeros, ()), self.param("seen", zeros, (1000,))
        number, value = batch["image"][:, 0].astype(int), batch["image"][:, 1]
        return ((value - level) ** 2).mean(), seen[number].mean()


def squares(model, params, batch, key, hp):
    loss, seen = model.apply(params, batch, key, hp)
    return loss + 1e-6 * (seen - jax.lax.stop_gradient(seen)), {}


def levels(train, validation, steps):
    """The parameters that are kept of two runs whose codes are these numbers, from 0 by 0.05 a step."""

    def through(f, shapes, units, given):
        zeros = jax.tree.map(lambda v: jnp.zeros((2, *v.shape), v.dtype), shapes)
        return jax.vmap(lambda c, own: f(c, own, (0, units)))(zeros, given)

    key, members = jax.random.key(0), SimpleNamespace(spread=lambda v: v)
    work = SimpleNamespace(members=members, key=lambda use: key, through=through)
    codes = [
        jnp.stack([jnp.stack([jnp.arange(1000.0), jnp.full(1000, v)], 1) for v in part])
        for part in (train, validation)
    ]
    how = fitting.Fit(Level(), squares, {"lr": 0.05}, steps, optim.adam, optim.constant)
    return [tree["params"] for tree in fitting.fitted(work, how, *codes)]


@pytest.mark.retraced
def test_each_run_keeps_its_best_parameters_by_its_validation_codes():
    found = [own["level"] for own in levels((1.0, -1.0), (0.5, -0.4), 60)]
    np.testing.assert_allclose(found, (0.5, -0.4), atol=0.03)


@pytest.mark.retraced
def test_the_last_step_is_looked_at_and_all_rows_are_seen():
    """Of 101 steps each other one is looked at, and the last, which here is the best."""
    for own in levels((100.0, -100.0), (100.0, -100.0), 101):
        assert abs(own["level"]) > 4.98  # 4.96 after 100 steps
        assert (own["seen"] != 0).all()


# How priors are kept


QUICK = {"steps": 60, "width": 8, "components": 2}


@pytest.fixture
def copied(folder, tmp_path):
    path = tmp_path / "copy"
    shutil.copytree(folder, path)
    return path


def arrays(path):
    return {
        place.name: place.read_bytes() for place in (path / "evaluated").glob("*.npz")
    }


@pytest.fixture(scope="module")
def straight(folder, tmp_path_factory):
    """The folder with a mixture and a flow, by one process and without a stop."""
    path = tmp_path_factory.mktemp("straight") / "digits"
    shutil.copytree(folder, path)
    evaluate.run(path, ALL[:2], **QUICK)
    return path


@pytest.mark.bits
@pytest.mark.retraced
def test_what_was_interrupted_has_the_same_bits(copied, straight, monkeypatch):
    work, seen = layout.Members.work, []
    monkeypatch.setattr(layout, "SPAN", 1e-4)

    def stopping(self, *args):
        for done, carry in work(self, *args):
            if args[5] == QUICK["steps"]:
                if not seen:
                    os.kill(os.getpid(), signal.SIGTERM)
                seen.append(done)
            yield done, carry

    monkeypatch.setattr(layout.Members, "work", stopping)
    with pytest.raises(Interrupted, match="is saved; the same command resumes there"):
        evaluate.run(copied, ALL[:2], **QUICK)
    before = len(seen)
    assert {"0000.gmm.npz", "0000.maf.npz"} & {*arrays(copied)} == {"0000.gmm.npz"}
    evaluate.run(copied, ALL[:2], **QUICK)
    assert 1 <= seen[before - 1] < seen[before] < QUICK["steps"]  # it went on
    assert arrays(copied) == arrays(straight)
    assert len(arrays(copied)) == 4 * 3
    assert (copied / "priors.csv").read_bytes() == (
        straight / "priors.csv"
    ).read_bytes()


@pytest.mark.bits
@pytest.mark.retraced
def test_a_process_of_its_own_fits_the_same_bits(copied, straight):
    fitted_here = {k: v for k, v in QUICK.items() if k != "components"}
    worker.run(copied, 0, ["aevae.evaluation.second_stage:maf"], **fitted_here)
    found = arrays(copied)
    assert len(found) == 4 * 2
    assert found == {name: arrays(straight)[name] for name in found}


@pytest.mark.retraced
def test_a_prior_comes_back_as_it_was(folder):
    prior = fitted.load(folder, 1, "gaussian")
    assert isinstance(prior.base, priors.Gaussians)
    run = next(run for run in trained.runs(folder) if run.row["run"] == 1)
    key = jax.random.key(3)
    images = run.sample(key, 5, prior=prior)
    np.testing.assert_array_equal(images, run.decode(prior.sample(key, 5)).mean)
    assert abs(images - run.sample(key, 5)).max() > 0.1
    # The figure has its codes, too, and says whose they are.
    view, count = View(run, fitted={"gaussian": prior}), 10
    shown = view.images["samples:gaussian"]
    ours = run.sample(jax.random.key(0), count, prior=prior)
    np.testing.assert_allclose(shown, ours, rtol=1e-4, atol=1e-6)
    labels = [panel.get_ylabel() for panel in pictures.samples([view]).axes]
    assert [label.split("\n")[-1] for label in labels] == ["N(0, I)", "gaussian"]


@contract.measure(contract.vector, default=lambda facts: False)
def narrow(work):
    train, _, test = second_stage.coded(work)
    unit = priors.Gaussians.of([1.0], np.zeros((1, 3)), np.eye(3)[None])
    own = [priors.Affine(unit, z.mean(0), z.std(0) / 2) for z in train]
    yield from second_stage.found(work, "narrow", own, test)


@pytest.mark.retraced
def test_a_prior_of_ones_own_is_a_measure(copied):
    """Any distribution made of arrays, here of one Gaussian a latent, is kept and named."""
    evaluate.run(copied, [narrow])
    assert of(copied, 0, "narrow")["gain"] < of(copied, 0, "gaussian")["gain"]
    assert fitted.names(copied, 0) == ["gaussian", "narrow"]
    assert fitted.load(copied, 0, "narrow").sample(jax.random.key(0), 4).shape == (4, 3)


@pytest.mark.retraced
def test_a_prior_is_stale_when_its_run_trains_on(copied):
    grid = {"beta": (0.1, 0.3), "seed": (0, 1)}
    more = SMALL | {"epochs": 11}
    study.run("configs/digits.py", copied, overrides=more, grid=grid)
    assert not (copied / "priors.csv").exists()
    with pytest.raises(InputError, match="run 2 has been trained on since its prior"):
        fitted.load(copied, 2, "gaussian")
    with pytest.raises(
        InputError, match="has been trained on since its prior gaussian"
    ):
        asked = [second_stage.gmm, "generation"]
        evaluate.run(copied, asked, priors=["gaussian"], components=2)
    assert "0000.gmm.npz" not in arrays(copied)  # it was said before any work
    evaluate.run(copied, [second_stage.gaussian])
    assert fitted.names(copied, 2) == ["gaussian"]


@pytest.mark.retraced
def test_arrays_that_are_gone_or_changed_are_fitted_again(copied):
    path = evaluated.arrays_path(copied, 0, "gaussian")
    whole = path.read_bytes()
    for content in (None, whole[:-30]):
        path.unlink() if content is None else path.write_bytes(content)
        assert fitted.names(copied, 0) == []
        evaluate.run(copied, [second_stage.gaussian])
        assert path.read_bytes() == whole


@pytest.mark.retraced
def test_columns_of_what_was_fitted_come_first_whatever_was_known_before(copied):
    for number in range(4):
        evaluated.path(copied, number).unlink()
        rows = {"label": "prior", "rows": {"gaussian": {"density": 1.0}}}
        known = {"values": {}, "tables": {"priors": rows}}
        evaluated.keep(copied, number, "early", known)
    evaluate.run(copied, [second_stage.gaussian])
    names = [*of(copied, 3, "gaussian")]
    assert names.index("prior") < names.index("log_density") < names.index("density")


# What is refused


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ({"prior": "gmm", "components": 1201}, "from 1 to the 1200 training examples"),
        ({"prior": "gmm", "components": 0}, "components must be a whole number from 1"),
        ({"prior": "autoregressive"}, "cannot be measured: the code is not discrete"),
        (
            {"prior": "normal"},
            "no prior is named 'normal': there are gaussian, gmm, maf",
        ),
        ({"prior": "maf", "steps": 0}, "steps must be a whole number of at least 1"),
        ({"prior": None}, "name a prior with --prior: gaussian, gmm, maf, two_stage"),
    ],
)
def test_bad_input_is_one_line(ask, says, folder, capsys):
    given = [f"--{name}={value}" for name, value in ask.items() if value is not None]
    given = [f"--workdir={folder}", *given]
    assert command.execute(prior_command.define, prior_command.main, given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.retraced
def test_the_command_prints_what_a_prior_gains_and_draws_its_samples(copied, capsys):
    arguments = [f"--workdir={copied}", "--prior=gaussian"]
    assert command.execute(prior_command.define, prior_command.main, arguments) == 0
    printed = capsys.readouterr().out
    head, *lines = [line.split() for line in printed.splitlines()[:3]]
    assert head[0] == "beta" and head[-2:] == ["log_density", "gain"]
    for beta, line in zip((0.1, 0.3), lines):
        rows = tables.read(copied / "priors.csv")
        gains = [row["gain"] for row in rows if row["beta"] == beta]
        assert f"{np.mean(gains):.3f}" in line
    assert (copied / "figures" / "samples.png").is_file()


class Stray(NamedTuple):
    """A prior of one array, whose log-density is what is asked."""

    value: np.ndarray

    def sample(self, key, count):
        return jnp.broadcast_to(self.value, (count, *self.value.shape))

    def log_prob(self, z):
        return jnp.full(len(z), self.value.sum())


def stray(name, value, kind=Stray):
    def fit(work):
        _, _, test = second_stage.coded(work)
        fitted_here = [kind(np.float32(value))] * len(test)
        yield from second_stage.found(work, name, fitted_here, test)

    fit.__name__ = fit.__qualname__ = name
    return contract.measure(default=lambda facts: False)(fit)


@pytest.mark.retraced
@pytest.mark.parametrize(
    ("measure", "says"),
    [
        (
            stray("wide", [0.0, 0.0]),
            r"wide draws two codes as \[2, 2\], and the runs have 3",
        ),
        (stray("own", [0.0] * 3), "own is the name of another row of priors.csv"),
        (
            stray("inner", [0.0] * 3, type("Inner", (Stray,), {})),
            "the class Inner of a fitted prior is of this process alone",
        ),
    ],
)
def test_a_prior_that_cannot_be_kept_is_refused(measure, says, copied):
    with pytest.raises(InputError, match=says):
        evaluate.run(copied, [measure])
    assert fitted.names(copied, 0) == ["gaussian"]


@pytest.mark.retraced
def test_a_prior_that_is_not_finite_is_not_kept(copied, capfd):
    evaluate.run(copied, [stray("lost", [np.nan] * 3)])
    assert (
        "run 3: log p(z) of lost is not finite; it is not kept"
        in capfd.readouterr().err
    )
    assert of(copied, 3, "lost")["log_density"] is None
    assert fitted.names(copied, 3) == ["gaussian"]


@pytest.mark.retraced
def test_few_examples_are_enough_for_what_needs_no_more(tmp_path):
    """Of 10 examples there are not 6 to compare, which nobody asked for."""
    images = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 1)).astype(np.uint8)
    stored = data.arrays(*({"image": images} for _ in range(3)))
    model = models.VAE(2, *NETWORKS)
    run = run_of(model, objectives.beta_vae, {"beta": 1.0}, batch=10)
    study.run(run, tmp_path / "few", dataset=stored)
    given = {"base": run, "dataset": stored}
    evaluate.run(
        tmp_path / "few",
        [second_stage.gaussian, second_stage.gmm],
        **given,
        components=2,
    )
    assert np.isfinite(of(tmp_path / "few", 0, "gmm")["gain"])
    with pytest.raises(InputError, match="neighbors must be below the 5 examples"):
        evaluate.run(tmp_path / "few", ["generation"], **given)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--collect"], "has no fitted prior: experiments.prior fits some"),
        (
            ["--prior=aevae.evaluation.representation:reconstruction"],
            "has no fitted prior reconstruction",
        ),
    ],
)
@pytest.mark.retraced
def test_a_command_that_fits_nothing_says_so(arguments, says, copied, capsys):
    shutil.rmtree(copied / "evaluated")
    given = [f"--workdir={copied}", *arguments]
    assert command.execute(prior_command.define, prior_command.main, given) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_a_prior_of_another_shape_is_refused(folder):
    run = next(iter(trained.runs(folder)))
    unit = priors.Gaussians.of([1.0], np.zeros((1, 2)), np.eye(2)[None])
    with pytest.raises(
        InputError, match=r"draws codes \[5, 2\], and those of this run are \[5, 3\]"
    ):
        run.sample(jax.random.key(0), 5, prior=unit)
