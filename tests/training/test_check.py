"""What is said of a run before any work."""

import functools
import re

import numpy as np
import pytest

from aevae import config, data, models, networks, objectives, optim
from aevae.training.check import check_run


def run(likelihood, outputs=1):
    encoder, decoder = networks.MLPEncoder((4,)), networks.MLPDecoder((4,))
    model = models.VAE(2, encoder, decoder, likelihood, outputs=outputs)
    hp = {"beta": 1.0, "lr": 1e-3}
    hp |= {"sigma": 1.0} if likelihood is models.gaussian else {}
    how = optim.adam, optim.constant, data.none
    return config.Config(model, objectives.beta_vae, hp, *how, batch=4)


@pytest.mark.parametrize(
    ("likelihood", "outputs", "density", "floor"),
    [
        (models.bernoulli, 1, False, None),
        (models.gaussian, 1, True, None),
        (models.LearnedGaussian(), 1, True, None),
        (models.LearnedGaussian(True, floor=0.02), 1, True, r"0.02 \(--config"),
        (functools.partial(models.gaussian_pair, floor=0.03), 2, True, r"0.03 \(--"),
        (models.gaussian_pair, 2, True, "if it has one"),
    ],
)
def test_constant_pixels_are_named_where_each_has_a_scale(
    likelihood, outputs, density, floor, tiny
):
    images = np.array(tiny.train["image"])
    images[:, 0, :3] = 7
    dataset = tiny._replace(train=tiny.train | {"image": images})
    found = check_run(run(likelihood, outputs), dataset)
    assert found.density is density
    if floor is None:
        assert found.warnings == []
    else:
        (line,) = found.warnings
        assert "3 of 16 pixels are constant, and the Normal" in line
        assert re.search(floor, line)
    assert check_run(run(likelihood, outputs), tiny).warnings == []
