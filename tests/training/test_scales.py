"""Scales of data that a density hardly fits are named before training, with what to do."""

import dataclasses
import re

import numpy as np
import pytest
from outside import NETWORKS, run_of

from aevae import InputError, data, models, objectives
from aevae.models.distributions import Normal
from aevae.training.check import check_run

RNG = np.random.default_rng(0)
HP = {"beta": 1.0}


def lines(image, likelihood=None, **fields):
    """What is said of images [N, ...], all three splits alike."""
    likelihood = likelihood or models.LearnedGaussian()
    made = data.arrays(*[{"image": np.float32(image)}] * 3, name="made")
    how = {"binarization": data.none, "batch": 8} | fields
    model = models.VAE(2, *NETWORKS, likelihood)
    run = run_of(model, objectives.beta_vae, HP, **how)
    return check_run(run, data.of(run, dataset=made)).warnings


MIXED = RNG.normal(size=(60, 3)) * [8e4, 1.0, 0.3] + [3e5, 0.0, 40.0]
CONSTANT = np.concatenate([RNG.normal(size=(60, 2)), np.full((60, 2), 7.0)], 1)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (MIXED, r"columns go from 0.\d+ \(column 2\) to \d.*e\+04 \(column 0\)"),
        (MIXED[:, 1:], r"the means to (40|39.9|40.1) \(column 1\)"),
        (MIXED[:, 1:2] * [1, 300], r"go from .* \(column 0\) to \d+ \(column 1\)"),
        (MIXED[:, :1], r"values have the mean \S*e\+05 and the standard deviation"),
        (1e-3 * MIXED[:, 1:2] * [1, 2], r"go from 0.00\d* \(column 0\) to 0.00"),
    ],
)
def test_scales_of_a_tables_columns(image, says):
    (line,) = lines(image)
    assert line.startswith("made, train: ") and "\n" not in line
    assert re.search(says, line), line
    assert "--config.standardize=each" in line
    assert lines(image, standardize="each") == []


def test_scales_of_images():
    """Hounsfield units, from -1000 to 1000, and an image of 0 to 1, which has none of it."""
    image = RNG.uniform(-1000, 1000, (60, 4, 4, 1))
    (line,) = lines(image)
    assert "standard deviation 5" in line and "--config.standardize=all" in line
    assert lines(image, standardize="all") == lines(image / 2000 + 0.5) == []


def test_constant_columns_are_named():
    (line,) = lines(CONSTANT)
    assert "2 of 4 columns are constant (columns 2, 3): " in line
    (line,) = lines(CONSTANT, standardize="each")
    assert line.endswith("and keep their scale where the others are standardized")
    (line,) = lines(CONSTANT, models.LearnedGaussian(True))
    assert "(columns 2, 3), and the likelihood has a scale for each: only" in line


def test_what_a_scale_of_all_makes_one_value_is_named():
    """It was called constant, and to be left out."""
    large, small = RNG.normal(size=(60, 1)) * 1e9 + 3e9, RNG.normal(size=(60, 2)) * 0.3
    said = lines(np.concatenate([large, small], 1), standardize="all")
    assert "2 of 3 columns (columns 1, 2) vary, but too little beside" in said[0]
    assert not any("constant" in line for line in said)


def test_constant_columns_are_named_whatever_the_likelihood():
    (line,) = lines(CONSTANT > 0, models.bernoulli)
    assert "2 of 4 columns are constant (columns 2, 3): " in line


def test_a_single_channel_is_all():
    image = RNG.normal(size=(60, 5, 3))[..., None]
    (line,) = lines(image, standardize="channel")
    assert "one channel, of which standardize=channel is the same as all" in line
    assert lines(image, standardize="all") == []
    with pytest.raises(InputError, match="for images, and made has vectors .*: `each`"):
        lines(image[:, 0, :, 0], standardize="channel")


def test_splits_on_another_scale_than_train_are_named():
    x, rows = RNG.random((60, 4)), RNG.random((60, 2, 2, 1))
    for image, factor, likelihood, says in (
        (
            x,
            [1, 1, 50, 1],
            None,
            r"of column 2 is 1\d.\d in test and 0.\d+ in train: bri",
        ),
        (rows, 255, None, r"the values is 7\d\S* in test"),
        (rows, 1 / 255, models.bernoulli, r"the values is 0.001\d+ in test"),
        (rows, 5, None, None),
    ):
        parts = [{"image": np.float32(v)} for v in (image, image, image * factor)]
        model = models.VAE(2, *NETWORKS, likelihood or models.LearnedGaussian())
        how = {"binarization": data.none, "batch": 8}
        run = run_of(model, objectives.beta_vae, HP, **how)
        found = [
            line
            for line in check_run(run, data.arrays(*parts)).warnings
            if "bring the splits to one scale" in line
        ]
        assert len(found) == (says is not None)
        assert says is None or re.search(says, found[0]), found


def test_values_far_from_the_training_splits_are_named():
    image = RNG.normal(size=(60, 3))
    image[:, 1] = 0.0
    image[17, 1] = 1.0
    many = np.repeat(image[:1], 20_000, 0) + RNG.normal(size=(20_000, 3)) * [1, 0, 1]
    many[17, 1] = 1.0
    (line,) = lines(many, standardize="each")
    assert "row 17 lies 141 deviations from the mean in column 1" in line
    assert lines(image, standardize="each") == []


class OwnDecoder(models.VAE):
    """A decode that does not end in VAE's."""

    def decode(self, z, batch, hp):
        return Normal(self.decoder(z, self.shape), 0.0 * z[:1, :1])


class Declared(OwnDecoder):
    def decode(self, z, batch, hp):
        return self.as_stored(super().decode(z, batch, hp))


def run_with(model, **fields):
    how = {"binarization": data.none, "batch": 8, "standardize": "each"} | fields
    return run_of(model, objectives.beta_vae, HP, **how)


@pytest.mark.parametrize(
    ("likelihood", "name"),
    [
        (models.bernoulli, "Bernoulli"),
        (models.continuous_bernoulli, "ContinuousBernoulli"),
    ],
)
def test_only_a_density_of_real_numbers_is_standardized(likelihood, name, tiny):
    run = run_with(models.VAE(2, *NETWORKS, likelihood))
    with pytest.raises(InputError, match=f"no `support`.: {name} does not"):
        check_run(run, data.of(run, dataset=tiny))


def test_a_decoder_without_the_jacobian_is_refused(tiny):
    run = run_with(OwnDecoder(2, *NETWORKS))
    with pytest.raises(InputError, match="OwnDecoder.decode returns Normal, a density"):
        check_run(run, data.of(run, dataset=tiny))
    check_run(run_with(Declared(2, *NETWORKS)), data.of(run, dataset=tiny))


def test_data_that_are_not_as_declared_are_refused(tiny):
    run = run_with(models.VAE(2, *NETWORKS, models.LearnedGaussian()))
    with pytest.raises(InputError, match="standardize is each, and the data .* are no"):
        check_run(run, tiny)
    plain = dataclasses.replace(run, standardize="no")
    with pytest.raises(InputError, match="standardize is no, and the data .* are stan"):
        check_run(plain, data.of(run, dataset=tiny))
