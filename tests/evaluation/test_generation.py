"""Generation, measured: what a perfect model reaches, what a wrong prior and a memory show."""

import dataclasses
import functools
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from outside import NETWORKS, run_of
from scipy.spatial.distance import cdist

from aevae import InputError, data, models, objectives, optim
from aevae.evaluation import contract, evaluate, features, generation, second_stage
from aevae.models import priors
from aevae.models.distributions import Normal
from aevae.runs import study, tables

COLUMNS = ("density", "coverage", "precision", "recall", "two_sample", "nearest_ratio")


class AsGiven(models.VAE):
    """An autoencoder whose code is twice the standardized example, and which decodes it."""

    def encode(self, batch):
        return Normal(2 * batch["image"], jnp.full((1, 1), -20.0))

    def decode(self, z, batch, hp):
        log_std = jnp.full((1, 1), hp["log_std"])
        return self.as_stored(Normal(z / 2 + 0 * self.bias(batch)[None], log_std))


@contract.measure(default=lambda facts: False)
def memory(work):
    """A prior of the training examples alone."""
    train, _, test = second_stage.coded(work)
    narrow = 1e-6 * np.eye(3)
    fitted = [
        priors.Gaussians.of(np.ones(len(z)), z, np.broadcast_to(narrow, (len(z), 3, 3)))
        for z in train
    ]
    yield from second_stage.found(work, "memory", fitted, test[:, :20])


@pytest.fixture(scope="module")
def rings():
    """Vectors of three numbers around a ring of four clusters, sorted by cluster in training."""
    random, parts = np.random.default_rng(0), []
    for count in (1200, 100, 500):
        label = np.sort(random.integers(0, 4, count))
        centers = np.array([[3, 0, 1], [0, 3, 0], [-3, 0, 0], [0, -3, -1]])[label]
        image = np.float32(centers + 0.6 * random.normal(size=(count, 3)))
        parts.append({"image": image, "label": np.int32(label)})
    return data.arrays(*parts)


@pytest.fixture(scope="module")
def found(rings, tmp_path_factory):
    """{prior: row} of the model that decodes what it encodes."""
    path = tmp_path_factory.mktemp("runs") / "rings"
    model = AsGiven(3, *NETWORKS, likelihood=models.gaussian)
    # Which is 1, and the noise of the likelihood much, until the last of three steps.
    schedule = functools.partial(optim.ramp, name="log_std", length="warm")
    run = run_of(
        model,
        objectives.autoencoder,
        {"log_std": -1.6, "warm": 2},
        binarization=data.none,
        standardize="all",
    )
    run = dataclasses.replace(run, schedule=schedule)
    study.run(run, path, dataset=rings)
    given = {"base": run, "dataset": rings}
    evaluate.run(path, [second_stage.gaussian, second_stage.gmm, memory], **given)
    evaluate.run(path, ["generation"], **given)
    return {row["prior"]: row for row in tables.read(path / "priors.csv")}, path, given


def test_the_right_prior_reaches_what_training_examples_reach(found):
    """Training examples are of the same distribution as test examples, though they are sorted."""
    rows, *_ = found
    assert {*rows} == {"train", "standard", "gaussian", "gmm", "memory"}
    for name in ("train", "gmm"):
        row = rows[name]
        assert row["samples"] == 500
        assert abs(row["density"] - 1) < 4 * row["density_error"]
        assert abs(row["coverage"] - 31 / 32) < 4 * row["coverage_error"] + 0.01
        assert abs(row["two_sample"] - 0.5) < 4 * row["two_sample_error"]
        assert abs(row["mmd"]) < 4 * row["mmd_error"]
        assert 0 <= row["frechet_pca"] < 4 * row["frechet_pca_error"] + 0.05
        assert abs(row["nearest_ratio"] - 1) < 0.1


def test_a_wrong_prior_is_seen(found):
    rows, *_ = found
    assert rows["standard"]["two_sample"] > 0.85
    for name in ("gaussian", "standard"):
        row = rows[name]
        assert row["density"] < 1 - 4 * row["density_error"]
        assert row["nearest_ratio"] > 1.2
        assert row["frechet_classifier"] > rows["gmm"]["frechet_classifier"]
    assert rows["standard"]["mmd"] > 4 * rows["standard"]["mmd_error"]


def test_a_memory_is_seen_where_all_else_is_perfect(found):
    """700 of its 1,200 examples are those among which the nearest is looked for."""
    rows, *_ = found
    row = rows["memory"]
    assert abs(row["two_sample"] - 0.5) < 4 * row["two_sample_error"]
    assert abs(row["density"] - 1) < 4 * row["density_error"]
    assert abs(row["nearest_ratio"] - 5 / 12) < 0.1


def test_what_is_drawn_may_be_samples_of_the_likelihood(found):
    """Which are noisier than the test examples, by e^-1.6 = 0.2 standard deviations of the data."""
    rows, path, given = found
    before = rows["gmm"]["frechet_pca"]
    evaluate.run(path, ["generation"], priors=["gmm"], image="sample", **given)
    rows = {row["prior"]: row for row in tables.read(path / "priors.csv")}
    assert rows["gmm"]["frechet_pca"] > before
    assert 1.1 < rows["gmm"]["nearest_ratio"] < 1.6
    assert "standard" not in rows  # it was not asked for this time
    evaluate.run(path, ["generation"], **given)


def test_a_classifier_sees_each_image_with_its_own_label(rings, monkeypatch):
    """Of those among which the nearest is looked for, which are none of those of the row train."""
    seen = {}
    monkeypatch.setattr(
        features, "activations", lambda images, **v: seen.update(images=images, **v)
    )
    compared = generation.Compared(SimpleNamespace(dataset=rings), 500, 5, True)
    known = {tuple(x): y for x, y in zip(rings.train["image"], rings.train["label"])}
    bank = [tuple(x) for x in seen["images"]]
    assert [known[x] for x in bank] == [*seen["label"]] and len(bank) == 700
    assert {*map(tuple, compared.train)} == {*known} - {*bank}


def test_half_of_few_training_examples_are_left_to_look_among():
    facts = SimpleNamespace(
        dataset=data.arrays(
            *({"image": np.eye(n, 2, dtype=np.float32)} for n in (21, 5, 90))
        )
    )
    says = generation._neighbors(10, facts)
    assert says.startswith("must be below the 10 examples of")
    assert generation._neighbors(9, facts) is None


@pytest.mark.retraced
def test_samples_of_each_run_are_compared_with_images_as_binarized(tmp_path, digits):
    """Of two learning rates, one too low: that run generates worse. N(0, I) is both runs' own."""
    path, grid = tmp_path / "digits", {"lr": (1e-6, 1e-2), "seed": (0,)}
    small = {"epochs": 20, "latent": 4}
    study.run("configs/digits.py", path, overrides=small, grid=grid)
    evaluate.run(path, ["generation"], samples=200, image="sample")
    rows = tables.read(path / "priors.csv")
    assert [row["prior"] for row in rows] == ["train", "standard"] * 2
    assert rows[1]["frechet_pca"] > 1.5 * rows[3]["frechet_pca"]
    parts = (digits.train["image"], digits.test["image"])
    train, test = (
        data.none(None, {"image": v})["image"].reshape(-1, 64) for v in parts
    )
    assert rows[0]["nearest"] > 1.5 * cdist(test, train).min(1).mean()


def test_another_fit_is_measured_again(found):
    _, path, given = found
    evaluate.run(path, ["generation"], **given)
    known = (path / "priors.csv").read_bytes()
    evaluate.run(path, [second_stage.gmm], components=1, **given)
    rows = {row["prior"]: row for row in tables.read(path / "priors.csv")}
    assert rows["gmm"]["density"] is None  # that was of the prior before
    assert rows["gaussian"]["density"] is not None
    evaluate.run(path, ["generation"], **given)
    rows = {row["prior"]: row for row in tables.read(path / "priors.csv")}
    assert rows["gmm"]["density"] < 1 - 4 * rows["gmm"]["density_error"]
    evaluate.run(path, [second_stage.gmm], **given)
    evaluate.run(path, ["generation"], **given)
    assert (path / "priors.csv").read_bytes() == known


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ({"neighbors": 500}, "neighbors must be below the 500 examples"),
        ({"neighbors": 0}, "neighbors must be a whole number of at least 1"),
        (
            {"samples": 20, "neighbors": 20},
            "neighbors must be below the 20 samples",
        ),
        ({"priors": ["own"]}, "must not have own: the objective trains no prior"),
        (
            {"priors": ["maf"]},
            "run 0 has no fitted prior maf, but gaussian,",
        ),
        ({"priors": [3]}, "must be names of priors"),
        ({"image": "median"}, "image must be mean or sample, not 'median'"),
    ],
)
def test_bad_input_is_one_line(ask, says, found):
    _, path, given = found
    with pytest.raises(InputError, match=says):
        evaluate.run(path, ["generation"], **ask, **given)


@pytest.mark.retraced
def test_a_prior_that_was_trained_is_measured_as_the_runs_own(tmp_path):
    """Discrete codes have no N(0, I); of digits there is a classifier, of their labels."""
    path = tmp_path / "vq"
    overrides = {"epochs": 2}
    study.run(
        "configs/methods.py:vq_vae", path, overrides=overrides, grid={"seed": (0,)}
    )
    with pytest.raises(
        InputError, match="must not have standard: the code is discrete"
    ):
        evaluate.run(path, ["generation"], priors=["standard"])
    evaluate.run(path, [second_stage.autoregressive], steps=20)
    evaluate.run(path, ["generation"], samples=64)
    rows = {row["prior"]: row for row in tables.read(path / "priors.csv")}
    assert {*rows} == {"train", "own", "autoregressive"}
    for row in rows.values():
        assert row["samples"] == 64
        assert all(np.isfinite(row[name]) for name in (*COLUMNS, "frechet_classifier"))
