"""Pictures and tables are shown on the scale of the data."""

import jax
import numpy as np
import pytest
from outside import NETWORKS, run_of

from aevae import data, models, objectives
from aevae.figures import codes, strips
from aevae.figures.views import View, span
from aevae.training.check import with_image_shape
from aevae.training.trained_run import Trained

pytestmark = pytest.mark.retraced

RNG = np.random.default_rng(0)
ROW = {"elbo": -1.0, "dataset": "made", "binarization": "none"}


def view(images, standardize="no", known=True):
    """A run that was not trained, with its first examples; `known`: the range of its data is."""
    images = np.float32(images)
    model = models.VAE(2, *NETWORKS, models.LearnedGaussian())
    how = {"binarization": data.none, "standardize": standardize}
    config = run_of(model, objectives.beta_vae, {"beta": 1.0}, **how)
    dataset = data.of(config, dataset=data.arrays(*[{"image": images}] * 3))
    config = with_image_shape(config, dataset)
    first = data.none(None, data.rows(dataset.train, slice(4)))
    params = config.model.init(jax.random.key(0), first, None, {})
    seen = (images.min(), images.max()) if known else None
    return View(Trained(config, params, 0, ROW, {"image": images[:4]}, seen=seen))


def shown(figure):
    """The first strip of a figure, and its caption."""
    text = figure.caption.replace("Black", "black").rstrip(".")
    return figure.axes[0].images[0].get_array(), text


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (-1, 1, "black −1 or less, white 1 or more"),
        (-1000, 3000, "black −1000 or less, white 3000 or more"),
        (0, 0.4, "black 0 or less, white 0.4 or more"),
        (-3, 0.5, "black −3 or less, white 0.5 or more"),
        (0, 1, None),
        (0.1, 0.8, None),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_show_the_whole_range_of_the_data(low, high, says, channels):
    image = RNG.uniform(low, high, (4, 3, 3, channels))
    image[0, 0, 0], image[0, 0, 1] = low, high
    seen = view(image)
    strip, title = shown(codes.reconstructions([seen]))
    np.testing.assert_allclose(span(seen.run), (low, high) if says else (0, 1))
    black, white = span(seen.run)
    own = (np.float32(image[0]) - black) / (white - black)
    own = own if channels == 3 else own[..., 0]
    np.testing.assert_allclose(strip[:, :3], own, rtol=1e-5, atol=1e-6)
    assert title.endswith(says) if says else "black" not in title


def test_old_folders_show_the_range_of_their_examples():
    image = RNG.uniform(-1, 1, (4, 3, 3, 1))
    seen = view(image, known=False)
    assert span(seen.run) == (np.float32(image.min()), np.float32(image.max()))


def test_the_manifold_and_standardized_pictures_have_the_same_levels():
    image = RNG.uniform(-1, 1, (8, 3, 3, 1))
    seen = view(image, "all")
    strip, title = shown(codes.reconstructions([seen]))
    own = strips.leveled(image[0, ..., 0], span(seen.run))
    np.testing.assert_allclose(strip[:, :3], own, atol=1e-6)
    black, white = strips.ends(span(seen.run))[1:].split(", ")
    assert black in title and "standard deviations" not in title
    for value in (-1.0, 0.0):
        seen.images["manifold"] = seen.images["manifold"] * 0 + value
        whole, title = shown(codes.manifold([seen]))
        np.testing.assert_allclose(whole, (value + 1) / 2, atol=0.05)
        assert white in title.replace("\n", " ")


def test_columns_of_a_standardized_table_are_all_seen():
    """In their deviations: in gray levels of 0 to 3e5, all but the first would be black."""
    table = RNG.normal(size=(50, 3)) * [8e4, 1, 0.01] + [3e5, 0, 40]
    strip, title = shown(codes.reconstructions([view(table, "each")]))
    own = (table[:4] - table.mean(0)) / table.std(0)
    np.testing.assert_allclose(strip, own, atol=1e-4)
    assert "less its mean in training, in standard deviations" in title
    _, title = shown(codes.reconstructions([view(table)]))
    assert "standard deviations" not in title
