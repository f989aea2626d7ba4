"""The embedded set, the stock path, and what becomes of a pixel."""

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits

from aevae import InputError, data

ALL = np.arange(256, dtype=np.uint8)


def test_digits_are_scikit_learns_each_once(digits):
    counts = load_digits().images
    grey = np.round(counts * 255 / 16).astype(np.uint8).reshape(-1, 64)
    parts = [digits.train, digits.validation, digits.test]
    ours = np.concatenate([part["image"].reshape(-1, 64) for part in parts])
    assert [len(part["image"]) for part in parts] == [1200, 297, 300]
    assert sorted(map(bytes, ours)) == sorted(map(bytes, grey))
    assert ours.max() == 255  # a count of 16


def test_digits_keep_their_labels(digits):
    truth = load_digits()
    grey = np.round(truth.images * 255 / 16).astype(np.uint8).reshape(-1, 64)
    labels = {bytes(image): label for image, label in zip(grey, truth.target)}
    for part in (digits.train, digits.validation, digits.test):
        mine = [labels[bytes(image.reshape(-1))] for image in part["image"]]
        np.testing.assert_array_equal(part["label"], mine)
        assert len(set(mine)) == 10


def test_splits_share_no_image_and_digest_knows_the_arrays(digits):
    sets = [{bytes(i) for i in part["image"]} for part in digits[3:]]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    other = digits.train | {"image": digits.train["image"].copy()}
    other["image"][0, 0, 0, 0] ^= 1
    same = data.arrays(*digits[3:])
    assert same.digest == digits.digest != data.arrays(other, *digits[4:]).digest


def test_slices_are_tfdss():
    cut = data.load("digits", "train[:50%]", "train[50%:]", "test[:7]")
    assert [len(part["image"]) for part in cut[3:]] == [600, 600, 7]


def test_mnist_is_read_from_a_prepared_folder(mnist):
    found = data.load("mnist", "train[:100]", "train[100:150]", "test[:10]", mnist)
    assert found.shape == (28, 28, 1)
    assert found.train["image"].dtype == np.uint8
    assert found.train["image"].max() == 255
    assert [len(part["image"]) for part in found[3:]] == [100, 50, 10]


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


def test_stochastic_needs_grey_levels():
    with pytest.raises(InputError, match="uint8"):
        data.stochastic(jax.random.key(0), {"image": np.zeros((2, 2), np.float32)})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("digit", "train", "train", "test"),
            "unknown data set 'digit': did you mean digits",
        ),
        (("cifar", "train", "train", "test"), "did you mean digits or mnist"),
        (("digits", "trian", "train", "test"), "Unknown split .* its splits are train"),
        (("digits", "train[:0]", "train", "test"), "its splits are train"),
        (("digits", "train[", "train", "test"), "its splits are train"),
        (
            ("mnist", "train", "train", "test", "/nowhere"),
            "no folder mnist; --data_dir",
        ),
    ],
)
def test_a_fault_is_one_line(arguments, says):
    with pytest.raises(InputError, match=says) as fault:
        data.load(*arguments)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("damage", ["empty", "info", "records"])
def test_an_unreadable_folder_is_one_line(damage, mnist, tmp_path):
    import shutil

    copy = tmp_path / "tfds"
    shutil.copytree(mnist, copy, copy_function=shutil.copyfile)
    version = next((copy / "mnist").iterdir())
    for path in copy.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    if damage == "empty":
        shutil.rmtree(version)
    elif damage == "info":
        (version / "dataset_info.json").write_text("{")
    else:
        records = next(version.glob("mnist-train*"))
        records.write_bytes(records.read_bytes()[: 2**20])
    with pytest.raises(InputError, match="mnist is not readable in") as fault:
        data.load("mnist", "train", "train", "test", copy)
    assert "\n" not in str(fault.value)


def test_arrays_of_a_wrong_kind_are_refused():
    images = {"image": np.zeros((3, 2), np.float64)}
    with pytest.raises(InputError, match="uint8 or float32"):
        data.arrays(images, images, images)
