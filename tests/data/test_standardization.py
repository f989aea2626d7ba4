"""Standardization: by the training split alone, to the digit, and back."""

import dataclasses
import functools
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from aevae import InputError, config, data

RNG = np.random.default_rng(0)
SCALES = np.float32([8e4, 1, 0.01, 0])  # the last column is constant ...
MEANS = np.float32([3e5, -2, 40, 7])  # ... at 7


def table(rows):
    return np.float32(RNG.normal(size=(rows, 4)) * SCALES + MEANS)


@pytest.fixture(scope="module")
def stored():
    parts = [table(rows) for rows in (64, 20, 20)]
    return data.arrays(*({"image": part} for part in parts), name="made")


def declared(**fields):
    base = config.load("configs/methods.py", "sigma_vae")
    return dataclasses.replace(base, binarization=data.none, grid=None, **fields)


def test_each_column_has_the_training_splits_mean_and_deviation(stored):
    found = data.of(declared(standardize="each"), dataset=stored)
    train = np.float64(stored.train["image"])
    mean, std = train.mean(0), train.std(0)
    std[3] = 1  # which is constant
    for part, split in found.parts.items():
        theirs = (np.float64(getattr(stored, part)["image"]) - mean) / std
        assert split["image"].dtype == np.float32
        np.testing.assert_allclose(split["image"], theirs, rtol=3e-7, atol=1e-6)
    assert not found.train["image"][:, 3].any()
    np.testing.assert_allclose(found.scaling.jacobian, np.log(std).sum(), rtol=1e-12)
    assert found.digest == stored.digest and found.stored is stored
    low, high = found.range
    assert low == min(split["image"].min() for split in found.parts.values())
    assert high == max(split["image"].max() for split in found.parts.values())


def test_what_is_restored_is_what_was_stored(stored):
    """Also far from 0, where a mean in float32 alone would cost digits: 1e6 + 1/16, deviation 1/8."""
    far = np.float32(1e6 + RNG.integers(-2, 3, (64, 4)) / 8 + 1 / 16)
    made = data.arrays(*[{"image": far}] * 3)
    for given in (stored, made):
        found = data.of(declared(standardize="each"), dataset=given)
        again = found.scaling.restore(found.test["image"])
        theirs = given.test["image"]
        ulp = 1e-7 * abs(theirs).max(0, keepdims=True)
        assert (abs(again - theirs) <= ulp).all()
    own = (np.float64(far) - np.float64(far).mean(0)) / np.float64(far).std(0)
    np.testing.assert_allclose(found.train["image"], own, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "axes", "shape"),
    [
        ("each", (0,), (1, 4, 3, 2)),
        ("channel", (0, 1, 2), (1, 1, 1, 2)),
        ("all", None, (1, 1, 1, 1)),
    ],
)
def test_gray_levels_are_standardized_from_0_to_1(kind, axes, shape):
    images = RNG.integers(0, 256, (30, 4, 3, 2)).astype(np.uint8)
    made = data.arrays(*[{"image": images}] * 3)
    found = data.of(declared(standardize=kind), dataset=made)
    x = images / 255
    mean, std = (f(axis=axes, keepdims=True) for f in (x.mean, x.std))
    np.testing.assert_allclose(found.train["image"], (x - mean) / std, atol=1e-5)
    assert found.scaling.mean.shape == shape
    total = np.log(np.broadcast_to(std, (1, 4, 3, 2))).sum()
    np.testing.assert_allclose(found.scaling.jacobian, total)


def test_standardized_data_are_standardized_as_the_config_says(stored):
    """Not once more, and not where the config declares none."""
    once = data.of(declared(standardize="each"), dataset=stored)
    again = data.of(declared(standardize="all"), dataset=once)
    directly = data.of(declared(standardize="all"), dataset=stored)
    np.testing.assert_array_equal(again.test["image"], directly.test["image"])
    assert data.of(declared(), dataset=once) is stored


@pytest.mark.parametrize(
    "binarization",
    [data.stochastic, data.threshold, functools.partial(data.fixed, seed=1)],
)
def test_binary_values_are_not_standardized(binarization, tiny):
    base = dataclasses.replace(
        declared(standardize="each"), binarization=binarization, dataset="tiny"
    )
    with pytest.raises(InputError, match="set --config.binarization=none and a likel"):
        data.of(base, dataset=tiny)


def test_what_leaves_float32_is_named(stored):
    train = np.array(stored.train["image"])
    train[:, 1] = np.where(np.arange(64) % 2, 0, 1e-20)
    test = np.array(stored.test["image"])
    test[3, 1] = 1e20
    made = data.arrays({"image": train}, stored.validation, {"image": test}, name="odd")
    with pytest.raises(InputError, match="odd, .*: once standardized .* row . is bey"):
        data.of(declared(standardize="each"), dataset=made)


def test_columns_are_called_by_their_names():
    made = SimpleNamespace(columns=("age", "mass"))
    assert data.named(made, [[0], [1]]) == "columns age, mass"
    assert data.named(SimpleNamespace(), [[2]]) == "column 2"
    pixels = data.named(SimpleNamespace(columns=()), [[0, n, 0] for n in range(7)])
    assert pixels.startswith("pixels (0, 0, 0), ") and pixels.endswith(" and 2 more")


@pytest.mark.parametrize("value", ["yes", "Each", True, None])
def test_another_kind_is_refused(value):
    with pytest.raises(InputError, match="standardize must be no, each, channel or al"):
        declared(standardize=value)


def test_a_field_at_its_default_is_no_other_run():
    """So that folders from before it are still read."""
    assert "standardize" in config.at_default(declared())
    assert "model.scaling" not in declared().values


@pytest.mark.parametrize("kind", ["each", "channel", "all"])
def test_a_mean_far_from_0_keeps_its_digits_in_a_program(kind):
    """XLA would join the two parts of a mean that all values share."""
    draws = np.random.default_rng(0).normal(size=(40, 2, 3, 1))
    x = (1e7 + 0.3 + np.round(10 * draws)).astype(np.float32)
    found = data.Moments(x, kind)
    scaling = data.Scaling(found.mean, found.std, x.shape[1:])
    exact = (x.astype(np.float64) - found.mean) / found.std
    y = jax.jit(scaling.standardize)(x)
    np.testing.assert_allclose(y, exact, atol=2e-6)
    np.testing.assert_array_equal(jax.jit(scaling.restore)(y), x)
