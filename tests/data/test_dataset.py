"""The embedded set, the stock path, and what becomes of a pixel."""

import functools
from typing import NamedTuple

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits

from aevae import InputError, config, data, models, networks, objectives, optim
from aevae.data import dataset
from aevae.data.sources import source
from aevae.training import check
from aevae.training.check import check_run

ALL = np.arange(256, dtype=np.uint8)


def test_digits_are_scikit_learns_each_once(digits):
    counts = load_digits().images
    gray = np.round(counts * 255 / 16).astype(np.uint8).reshape(-1, 64)
    parts = [digits.train, digits.validation, digits.test]
    ours = np.concatenate([part["image"].reshape(-1, 64) for part in parts])
    assert [len(part["image"]) for part in parts] == [1200, 297, 300]
    assert sorted(map(bytes, ours)) == sorted(map(bytes, gray))
    assert ours.max() == 255  # a count of 16


def test_digits_keep_their_labels(digits):
    truth = load_digits()
    gray = np.round(truth.images * 255 / 16).astype(np.uint8).reshape(-1, 64)
    labels = {bytes(image): label for image, label in zip(gray, truth.target)}
    for part in (digits.train, digits.validation, digits.test):
        mine = [labels[bytes(image.reshape(-1))] for image in part["image"]]
        np.testing.assert_array_equal(part["label"], mine)
        assert len(set(mine)) == 10


def test_splits_share_no_image_and_digest_knows_the_arrays(digits):
    sets = [{bytes(i) for i in part["image"]} for part in digits.parts.values()]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    other = digits.train | {"image": digits.train["image"].copy()}
    other["image"][0, 0, 0, 0] ^= 1
    same = data.arrays(**digits.parts)
    changed = data.arrays(**digits.parts | {"train": other})
    assert same.digest == digits.digest != changed.digest


def test_slices_are_tfdss():
    cut = data.load("digits", "train[:50%]", "train[50%:]", "test[:7]")
    assert [len(part["image"]) for part in cut.parts.values()] == [600, 600, 7]


def test_mnist_is_read_from_a_prepared_folder(mnist):
    found = data.load("mnist", "train[:100]", "train[100:150]", "test[:10]", mnist)
    assert found.shape == (28, 28, 1)
    assert found.train["image"].dtype == np.uint8
    assert found.train["image"].max() == 255
    assert [len(part["image"]) for part in found.parts.values()] == [100, 50, 10]


def test_environment_names_the_folder_too(mnist, monkeypatch):
    monkeypatch.setenv("AEVAE_DATA_DIR", str(mnist))
    assert (
        len(data.load("mnist", "train[:9]", "train[:8]", "test[:7]").train["image"])
        == 9
    )


def test_stochastic_has_probability_x_over_255_for_every_value():
    # The rule itself, over all 2^16 equally likely values of u ...
    u = np.arange(2**16)
    x = ALL.astype(np.int64)[:, None]
    chance = (u[None] < 257 * x + (x >> 7)).mean(1)
    np.testing.assert_allclose(chance, ALL / 255, atol=8e-6)
    # ... and the function, which must follow it: 5 sigma at 40,000 draws.
    batch = {"image": np.tile(ALL, (40_000, 1))}
    drawn = np.asarray(data.stochastic(jax.random.key(0), batch)["image"])
    assert set(np.unique(drawn)) == {0, 1}
    chance = ALL / 255
    error = 5 * np.sqrt(chance * (1 - chance) / len(drawn))
    assert (abs(drawn.mean(0) - chance) <= error + 8e-6).all()
    assert not drawn[:, 0].any() and drawn[:, 255].all()


def test_stochastic_pixels_are_independent():
    batch = {
        "image": np.full((20_000, 5), 128, np.uint8)
    }  # an odd number of pixels a row
    drawn = np.asarray(data.stochastic(jax.random.key(1), batch)["image"])
    matrix = np.corrcoef(drawn.T) - np.eye(5)
    assert abs(matrix).max() < 5 / np.sqrt(len(drawn))
    again = data.stochastic(jax.random.key(2), batch)["image"]
    assert 0.4 < (drawn != again).mean() < 0.6


def test_none_and_threshold():
    batch = {"image": ALL[None]}
    scaled = np.asarray(data.none(None, batch)["image"])
    np.testing.assert_allclose(scaled, ALL[None] / 255, rtol=1e-6)
    assert scaled.min() == 0 and scaled.max() == 1
    np.testing.assert_array_equal(
        data.threshold(None, batch)["image"], ALL[None] > 127.5
    )
    floats = np.linspace(-2, 2, 5, dtype=np.float32)[None]
    np.testing.assert_array_equal(data.none(None, {"image": floats})["image"], floats)


def test_floats_are_probabilities():
    chance = np.linspace(0, 1, 9, dtype=np.float32)
    batch = {"image": np.tile(chance, (40_000, 1))}
    drawn = np.asarray(data.stochastic(jax.random.key(3), batch)["image"])
    error = 5 * np.sqrt(chance * (1 - chance) / len(drawn))
    assert (abs(drawn.mean(0) - chance) <= error).all()


@pytest.mark.parametrize("binarization", data.PACKAGED)
def test_what_is_binary_stays_as_it_is(binarization):
    image = np.random.default_rng(0).integers(0, 2, (3, 4, 4, 1)).astype(bool)
    out = binarization(jax.random.key(0), {"image": image})["image"]
    np.testing.assert_array_equal(out, image)
    assert out.dtype == np.float32


def levels(kind):
    """A set in which each part has every gray level 400 times."""
    image = np.tile(ALL, (400, 1))
    if kind == "floats":
        image = (image / 255).astype(np.float32)
    return data.arrays(*[{"image": image}] * 3)


@pytest.mark.parametrize("kind", ["gray", "floats"])
def test_fixed_is_one_draw_of_the_same_chance(kind):
    dataset = levels(kind)
    drawn = data.binarized(dataset, data.fixed)
    assert drawn.train["image"].dtype == bool and drawn.digest == dataset.digest
    ink, chance = drawn.train["image"], ALL / 255
    error = 5 * np.sqrt(chance * (1 - chance) / len(ink)) + 1e-9
    assert (abs(ink.mean(0) - chance) <= error).all()
    batches = [data.fixed(jax.random.key(k), {"image": ink})["image"] for k in (0, 1)]
    np.testing.assert_array_equal(*batches)  # whatever the key of the step
    again = data.binarized(dataset, functools.partial(data.fixed, seed=0))
    other = data.binarized(dataset, functools.partial(data.fixed, seed=1))
    np.testing.assert_array_equal(again.train["image"], ink)
    assert (other.train["image"] != ink).any()
    assert (drawn.train["image"] != drawn.test["image"]).any()


def test_fixed_must_be_drawn_before():
    with pytest.raises(InputError, match="drawn before training"):
        data.fixed(jax.random.key(0), {"image": ALL[None]})


def test_what_needs_no_drawing_is_left_alone():
    dataset = levels("gray")
    for binarization in (data.none, data.stochastic, data.threshold, str):
        assert data.binarized(dataset, binarization) is dataset


@pytest.mark.parametrize("name", ["stochastic", "fixed", "threshold"])
def test_probabilities_are_in_0_to_1(name):
    x = {"image": np.float32([[0.0, 1.5]])}
    with pytest.raises(InputError, match=f"from 0 to 1.5 .* {name} takes prob"):
        data.binarized(data.arrays(x, x, x), getattr(data, name))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("digit", "train", "train", "test"),
            "unknown data set 'digit': did you mean digits",
        ),
        (("cifar", "train", "train", "test"), "did you mean cifar10"),
        (("xyz", "train", "train", "test"), "it may be digits, .*celeb_a.*, any set"),
        (
            ("sprites/16x16", "train", "train", "test"),
            "no config '16x16'; it has sprites/32x32",
        ),
        (("digits", "trian", "train", "test"), "Unknown split .* its splits are train"),
        (
            ("digits", "train[:0]", "train", "test"),
            "'train.:0.' of digits is empty; its",
        ),
        (("digits", "train[", "train", "test"), "its splits are train"),
        (("digits", "train[5:9", "train", "test"), "its splits are train"),
        (
            ("mnist", "train", "train", "test", "/nowhere"),
            "not prepared in /nowhere: .*experiments.prepare --dataset=mnist.* copy",
        ),
    ],
)
def test_a_fault_is_one_line(arguments, says):
    with pytest.raises(InputError, match=says) as fault:
        data.load(*arguments)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.eye(2), "must be uint8, bool or float32 .* not float64"),
        (np.eye(2, dtype=np.float32)[0], "with at least one row, .* shape .2."),
        (np.zeros((0, 2), np.uint8), "with at least one row, .* shape .0, 2."),
        (np.float32([[0, np.nan, np.inf]]), "arrays, train: 2 pixels are NaN or inf"),
        (np.full((3, 2), 7, np.uint8), "arrays, train: every pixel is 7"),
    ],
)
def test_arrays_that_nothing_can_be_learned_from_are_refused(image, says):
    good = {"image": np.eye(2, dtype=np.float32)}
    with pytest.raises(InputError, match=says):
        data.arrays({"image": image}, good, good)


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        (
            {"label": np.array([0, -1])},
            {},
            "train: label must be whole .*, not -1; data",
        ),
        (
            {"label": np.array([0, 0.5])},
            {},
            r"whole numbers .* not float64 \[2\]; data",
        ),
        ({"label": np.array(["a", "b"])}, {}, r"not <U1 \[2\]; data.load takes texts"),
        ({"label": np.array([[0], [1]])}, {}, r"not int64 \[2, 1\]"),
        ({"label": [0, 1]}, {}, "train: label must be an array"),
        ({"label": np.array([0])}, {}, "train: label has 1 rows, and image 2"),
        ({}, {"label": np.array([0, 1])}, r"of label train has none, .* int64 \[N\]"),
        ({}, {"image": np.eye(3)}, "test: images must be uint8"),
        ({}, {"image": np.eye(3, dtype="f4")}, r"of image .* float32 \[N, 3\]"),
        ({}, {"image": np.eye(2, dtype=bool)}, "of image .* test has bool "),
    ],
)
def test_splits_are_alike_and_labels_are_numbers(train, test, says):
    """Labels of -1 and 0.5 were trained on without a word; the others ended in a traceback."""
    good = {"image": np.eye(2, dtype=np.float32)}
    with pytest.raises(InputError, match=says):
        data.arrays(good | train, good, good | test)


def test_a_stored_set_with_rows_without_a_label(monkeypatch):
    """The test split of a contest, as TFDS keeps it: all its labels are -1."""
    image, label = np.eye(4, dtype=np.float32), np.arange(4, dtype=np.int32)
    parts = {"image": image, "label": label}, {"image": image, "label": 0 * label - 1}
    stored = source.Source("contest", "1", dict(zip(("train", "test"), parts)), {})
    monkeypatch.setattr(dataset, "_source", lambda *_: stored)
    found = data.load("contest", "train", "test", "test")
    assert "label" not in found.train and "in validation, test some" in found.notes[0]
    found = data.load("contest", "train[:2]", "train[2:]", "train")
    np.testing.assert_array_equal(found.test["label"], label)
    assert found.notes == ()


def test_a_set_is_gone_through_some_rows_at_a_time(monkeypatch):
    """With what was found before: its digest, what is wrong with it, and what is off the levels."""
    image = np.linspace(0, 1, 60, dtype=np.float32).reshape(20, 3)
    labeled = {"image": image, "label": np.arange(20, dtype=np.int32)}
    digest, shapes = data.arrays(labeled, labeled, labeled).digest, set()

    def own(key, batch):
        shapes.add(batch["image"].shape)
        return data.none(key, batch)

    monkeypatch.setattr(source, "NUMBERS", 12)
    dataset = data.arrays(labeled, labeled, labeled)
    assert dataset.digest == digest
    sizes = [len(values) for values in check._met(dataset.train, data.none)]
    assert sizes == [len(values) for values in check._met(dataset.train, own)]
    assert sizes == [4] * 5 and shapes == {(4, 3)}
    odd = {"image": np.where(image > 0.9, np.nan, image)}
    with pytest.raises(InputError, match="test: 6 pixels are NaN or infinite"):
        data.arrays(labeled, labeled, odd)


class Levels(NamedTuple):
    """A likelihood of 5 levels from 0 to 1."""

    mean: jax.Array
    support = (0.0, 1.0)
    levels = 5

    def log_prob(self, x):
        return -((x - self.mean) ** 2).sum(-1)


def squared(out, hp):
    del hp
    return Levels(out)


class Exact(Levels):
    """Of 256 levels: those of uint8."""

    levels = 256


class Wide(Exact):
    """From -1: what is x/255 lies between its levels."""

    support = (-1.0, 1.0)


def exact(out, hp):
    del hp
    return Exact(out)


def wide(out, hp):
    del hp
    return Wide(out)


def labeled(key, batch):
    """A binarization that reads more than the image."""
    del key
    return batch | {"image": batch["image"] * (batch["label"] < batch["size"])[:, None]}


@pytest.mark.parametrize(
    ("values", "binarization", "likelihood", "says"),
    [
        ([0, 1, 2], data.none, None, "from 0 to 2 lie outside the Bernoulli"),
        ([-1, 0, 1], data.none, None, "from -1 to 1 lie outside the Bernoulli"),
        ([0, 0.5, 1], data.none, None, None),
        ([0, 0.25, 1], data.none, squared, None),
        ([0, 0.3, 1], data.none, squared, "train: pixels lie between the 5 levels of"),
        ([0, 0.3, 1], data.threshold, squared, None),
        ([0, 1, 255], data.none, wide, "lie between the 256 levels of"),
        ([0, 1, 255], data.none, exact, None),
        ([0, 0.5, 1], labeled, None, None),
        ([0, 0.5, 2], lambda k, b: b | {"image": b["image"] / 2}, None, None),
        (
            [0, 0.5, 1],
            lambda k, b: b | {"image": 3 * b["image"]},
            None,
            "train: pixels from 0 to 3 lie outside",
        ),
    ],
)
def test_data_must_be_in_the_likelihoods_range(values, binarization, likelihood, says):
    kind = np.uint8 if values[-1] == 255 else np.float32
    part = {"image": np.array([values], kind), "label": np.zeros(1, np.int32)}
    dataset = data.binarized(data.arrays(part, part, part), binarization)
    run = config.Config(
        model=models.VAE(
            2,
            networks.MLPEncoder(()),
            networks.MLPDecoder(()),
            *([likelihood] if likelihood else []),
        ),
        objective=objectives.beta_vae,
        hparams={"beta": 1.0, "lr": 1e-3},
        optimizer=optim.adam,
        schedule=optim.constant,
        binarization=binarization,
        batch=1,
    )
    if says is None:
        check_run(run, dataset)
        return
    with pytest.raises(InputError, match=says) as fault:
        check_run(run, dataset)
    assert "\n" not in str(fault.value)
