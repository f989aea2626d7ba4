"""Training in memory gives what a study writes into a folder, bit for bit."""

import dataclasses

import jax
import numpy as np
import pytest
from outside import run_of

from aevae import (
    InputError,
    OutOfMemory,
    config,
    data,
    models,
    networks,
    objectives,
    training,
)
from aevae.evaluation import evaluate
from aevae.runs import study, tables, trained
from aevae.training.trained_run import Trained

pytestmark = [pytest.mark.bits, pytest.mark.retraced]

GRID = {"latent": (2, 3), "seed": (0, 1)}
SMALL = {"epochs": 2, "batch": 400, "encoder.widths": (16,), "decoder.widths": (16,)}


@pytest.fixture(scope="module")
def base():
    (run,) = config.settle(config.load("configs/digits.py"), SMALL, {})
    return dataclasses.replace(run, grid=GRID)


@pytest.fixture(scope="module")
def fitted(base):
    return training.fit(base)


@pytest.fixture(scope="module")
def folder(base, tmp_path_factory):
    path = tmp_path_factory.mktemp("fit") / "run"
    study.run(base, path)
    return path


def test_fit_and_a_study_train_the_same_runs(fitted, folder, base):
    loaded = list(trained.runs(folder, base))
    assert [run.config.model.latent for run in fitted] == [2, 2, 3, 3]
    for ours, theirs in zip(fitted, loaded, strict=True):
        jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)
        np.testing.assert_array_equal(ours.examples["image"], theirs.examples["image"])
        for name in ("elbo", "rate", "iwae", "active_units", "validation_elbo"):
            assert np.float32(ours.row[name]) == np.float32(theirs.row[name])
        assert ours.row["epochs"] == theirs.row["epochs"] == 2
        for name in ("train_loss", "validation_elbo", "test_rate"):
            curve = np.float32(theirs.history[name])
            np.testing.assert_array_equal(np.float32(ours.history[name]), curve)
            assert curve.shape == (2,)


def test_a_fitted_run_is_a_model_of_images(fitted, digits):
    run = fitted[-1]
    again = run.reconstruct(digits.test["image"][:5])
    assert again.shape == (5, 8, 8, 1)
    assert run.sample(jax.random.key(0), np.int64(3)).shape == (3, 8, 8, 1)
    for count in (0, -1, 2.5, "3"):  # 0 gave one image
        with pytest.raises(InputError, match="count must be a whole number of at leas"):
            run.sample(jax.random.key(0), count)


def test_what_a_model_does_not_read_is_no_fault(fitted, digits):
    """Texts were a TypeError of JAX, and labels of a run without classes were refused."""
    run, x = fitted[-1], digits.test["image"][:5]
    code, names = np.asarray(run.encode(x).mean), np.array(["a", "b", "c", "a", "b"])
    batch = {"image": x, "label": names, "name": names}
    np.testing.assert_array_equal(run.encode(batch).mean, code)
    for label in (np.full(5, -1), np.eye(5)):
        found = run.read({"image": x, "label": label})["label"]
        np.testing.assert_array_equal(found, label)
    again = run.decode(code.tolist()).mean
    np.testing.assert_array_equal(again, run.decode(code).mean)
    for wrong, says in (
        (code[:, :2], r"not decode \[5, 2\]: give codes as .* latent size 3"),
        (0.5, r"not decode \[\]: give"),
    ):
        with pytest.raises(InputError, match=says):
            run.decode(wrong)


def test_a_model_that_reads_labels_asks_for_them(base, digits):
    labeled = models.ConditionalVAE(
        2, base.model.encoder, base.model.decoder, classes=3
    )
    image = np.zeros((1, 8, 8, 1), np.uint8)
    batch = {"image": image, "label": np.array([2])}
    made = labeled.clone(shape=image.shape[1:])
    params = made.init(jax.random.key(0), batch, jax.random.key(0), {})
    run = Trained(dataclasses.replace(base, model=made), params, 0, {}, {})
    assert run.encode(batch).mean.shape == (1, 2)
    for use in (run.encode, run.reconstruct, lambda _: run.decode(np.zeros((1, 2)))):
        with pytest.raises(InputError, match="reads 'label' of the batch: .*, label}$"):
            use(image)


def test_images_on_another_scale_are_refused(fitted, folder, base, digits):
    """Floats from 0 to 255 gave codes without a word."""
    gray = digits.test["image"][:3]
    x = gray.astype(np.float32)
    loaded = next(trained.runs(folder, base))
    for run in (fitted[0], loaded):
        for wrong, says in (
            (x, "from 0 to 255 .* 0 to 1: divide by 255, or give uint8"),
            (x / 127.5 - 1, r"from -1 to 1 .*: give \(x \+ 1\) / 2"),
            (x / 16, "from 0 to 15.9375 .*: bring them to that scale"),
            (x / 255 - 0.5, "from -0.5 to 0.5 .*: bring them to that scale"),
            (np.full_like(x, np.nan), "NaN or infinite values were given: remove"),
            (gray[:0], r"not uint8 \[0, 8, 8, 1\]"),
            ({"label": [0]}, "images must be uint8"),
            ([gray, gray[0]], "images must be uint8"),
        ):
            with pytest.raises(InputError, match=says):
                run.encode(wrong)
    same = (run.encode(images).mean for images in (gray, x / 255, x / 255 + 0.2))
    assert [code.shape for code in same] == [(3, 2)] * 3


def test_memory_that_is_too_small_for_the_data_is_one_line(
    base, folder, tmp_path, monkeypatch
):
    def full(*args, **kwargs):
        raise MemoryError("Unable to allocate 562. MiB")

    monkeypatch.setattr(data, "of", full)
    for entry, way in (
        (lambda: training.fit(base), "or take a smaller batch or split"),
        (lambda: study.run(base, tmp_path / "new"), "what was saved is sound"),
        (lambda: evaluate.run(folder, base=base), "what was found is kept"),
    ):
        with pytest.raises(OutOfMemory, match=f"562. MiB.: .*{way}"):
            entry()


def test_gray_levels_are_not_a_scale_of_floats():
    """A run trained on -1 to 1 took them for 0 to 1, and gave other codes."""
    x = np.linspace(-1, 1, 32, dtype=np.float32).reshape(8, 2, 2, 1)
    model = models.VAE(
        2, networks.MLPEncoder((4,)), networks.MLPDecoder((4,)), models.gaussian
    )
    run = run_of(
        model,
        objectives.beta_vae,
        {"beta": 1.0, "sigma": 1.0},
        batch=4,
        binarization=data.none,
    )
    (run,) = training.fit(run, x)
    assert run.seen[:2] == (-1, 1) and run.encode(x).mean.shape == (8, 2)
    for kind in (np.uint8, bool):
        with pytest.raises(InputError, match="stand for 0 to 1, .* trained on -1 to 1"):
            run.encode(np.ones(x.shape, kind))


def test_another_config_than_a_folder_was_trained_with(folder, base, tmp_path):
    """It loaded the parameters into another model, or with other hyperparameters."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from aevae import config\n"
        "def get_config():\n"
        "    base = config.load('configs/digits.py')\n"
        f"    return config.settle(base, {SMALL}, {{}})[0]\n"
    )
    for seed in (0, np.float32(0), np.int64(0), np.array(0), "0"):
        assert trained.load(folder, file, latent=2, seed=seed).row["seed"] == 0
    other = config.replace(base, "hparams.beta", 9.0)
    for given, says in (
        (other, "beta of the Config of .* was 1.0, and now is 9.0"),
        ("configs/digits.py", "widths of the Config of"),
        (None, "was trained from a Config, not a file: pass it"),
        (3, "a config is a Config or the path of a config file, not 3"),
    ):
        with pytest.raises(InputError, match=says):
            trained.load(folder, given, latent=2, seed=0)
    with pytest.raises(InputError, match="beta of the Config of"):
        evaluate.run(folder, ["reconstruction"], base=other)
    for nothing in (None, 3):
        with pytest.raises(InputError, match="is not a run folder"):
            trained.load(nothing)


def test_what_is_hardly_meant_is_said(base, capsys):
    run = dataclasses.replace(base, grid=None)
    with pytest.raises(InputError, match="raise memory"):  # before any training
        training.fit(config.replace(run, "hparams.lr", 1e30), memory=1)
    (line,) = capsys.readouterr().err.splitlines()
    assert "lr is 1e+30: values beyond 1,000,000 are rarely meant" in line


def test_several_configs_and_one_that_stops_early(digits, base):
    plain = dataclasses.replace(base, grid=None)
    ae = dataclasses.replace(
        plain, objective=objectives.autoencoder, hparams={"lr": 1e-3}, batch=600
    )
    early = config.replace(plain, "hparams.lr", 1e-30)  # never better again
    early = dataclasses.replace(early, epochs=9, patience=2)
    first, second = training.fit([ae, early], digits)
    assert "elbo" not in first.row and first.row["squared_error"] > 0
    assert first.row["validation_distortion"] > 0
    assert second.row["epochs"] < 9
    assert len(second.history["test_elbo"]) == second.row["epochs"]


def test_images_are_enough(base):
    """An array, or a dict of arrays as an .npz has them, is divided as such a file is."""
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4)).astype(np.uint8)
    small = dataclasses.replace(base, batch=10, epochs=1, grid=None)
    (run,) = training.fit(small, images)
    assert run.examples["image"].shape == (6, 4, 4, 1)
    labeled = {"image": images, "label": np.arange(60) % 3}
    dataset = data.load(labeled)
    assert len(dataset.train["image"]) == 48 and set(dataset.test["label"]) <= {0, 1, 2}
    plain = data.load(images)
    for part, split in plain.parts.items():
        np.testing.assert_array_equal(dataset.parts[part]["image"], split["image"])


def test_a_study_of_arrays_resumes_with_the_same_and_refuses_others(base, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4)).astype(np.uint8)
    asked = {"overrides": {"batch": 10, "epochs": 1}, "grid": {"seed": (0,)}}
    study.run(base, tmp_path / "run", dataset=images, **asked)
    (row,) = tables.results(tmp_path / "run")
    assert row["dataset"] == "arrays"
    asked["overrides"] = {"batch": 10, "epochs": 2}
    with pytest.raises(InputError, match="was trained on other data"):
        study.run(base, tmp_path / "run", dataset=images[::-1], **asked)
    rows, groups = study.run(base, tmp_path / "run", dataset=images, **asked)
    assert rows[0]["epochs"] == 2 and groups == 1
    with pytest.raises(InputError, match="was trained on other data"):  # all finished
        study.run(base, tmp_path / "run", dataset=images[::-1], **asked)
    assert study.run(base, tmp_path / "run", dataset=images, **asked).groups == 0
    with pytest.raises(InputError, match="workdir must be the path of a run folder"):
        study.run(base, None, dataset=images)


def test_nothing_to_train_is_one_line(digits):
    with pytest.raises(InputError, match="no run to train"):
        training.fit([], digits)
    for given in (None, [None], 3):
        with pytest.raises(InputError, match="a Config or the path of a config file"):
            training.fit(given, digits)
    with pytest.raises(InputError, match="images must be uint8"):
        training.fit(config.load("configs/digits.py"), np.zeros((9, 4, 4), complex))


def test_functions_of_one_name_are_programs_of_their_own(base, digits):
    def weighed(weight):
        def objective(model, params, batch, key, hp):
            loss, terms = objectives.autoencoder(model, params, batch, key, hp)
            return weight * loss, terms

        return objective

    plain = dataclasses.replace(base, grid=None, epochs=1, hparams={"lr": 1e-3})
    both = [dataclasses.replace(plain, objective=weighed(w)) for w in (1.0, 3.0)]
    first, second = training.fit(both, digits)
    ratio = second.history["test_loss"] / second.history["test_distortion"]
    assert ratio == pytest.approx(3.0)
    assert first.history["test_loss"] == pytest.approx(first.history["test_distortion"])


def test_what_a_given_set_takes_the_place_of_cannot_be_swept(base, digits, tmp_path):
    swept = dataclasses.replace(base, grid={"dataset": ("digits", "gaussian")})
    with pytest.raises(InputError, match="differ in dataset .digits, gaussian."):
        training.fit(swept, np.zeros((9, 4, 4), np.uint8))
    split = dataclasses.replace(base, grid={"train": ("train", "train[:50%]")})
    with pytest.raises(InputError, match="the runs differ in train"):
        training.fit(split, digits)
    with pytest.raises(InputError, match="the runs differ in train"):
        study.run(split, tmp_path / "run", dataset=digits)
    with pytest.raises(InputError, match="in the overrides as well"):
        study.run(base, tmp_path / "run", dataset=digits, overrides={"dataset": "x"})
    with pytest.raises(InputError, match="chunk must be a whole number"):
        training.fit(base, digits, chunk=0)


@pytest.mark.parametrize("metric", [lambda x: x, lambda x: x.mean().astype(int)])
def test_a_metric_is_a_mean(metric, base, digits):
    def objective(model, params, batch, key, hp):
        loss, terms = objectives.beta_vae(model, params, batch, key, hp)
        return loss, terms | {"odd": metric(batch["image"])}

    with pytest.raises(InputError, match="the metric odd must be a float32 scalar"):
        training.fit(dataclasses.replace(base, objective=objective), digits)
