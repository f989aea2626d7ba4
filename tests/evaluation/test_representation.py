"""PCA against scikit-learn's, by blocks of rows that are made when they are read."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.decomposition import PCA

from aevae import data
from aevae.data.sources import source
from aevae.evaluation import representation

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("exact", [True, False])
def test_components_are_scikit_learns(exact, monkeypatch):
    """Exactly from the covariance, and to 1e-5 of the error by subspace iteration."""
    monkeypatch.setattr(source, "NUMBERS", 60 * 90)  # of 400 rows several blocks
    monkeypatch.setattr(representation, "EXACT", 2_048 if exact else 59)
    scale = 0.9 ** np.arange(60)
    x = 300 + RANDOM.normal(size=(400, 60)) * scale @ RANDOM.normal(size=(60, 60))
    theirs = PCA(5, svd_solver="full").fit(x)
    ours = representation.PCA(x, 5)
    np.testing.assert_allclose(ours.mean, x.mean(0), rtol=1e-12)
    spectrum = theirs.explained_variance_ * 399 / 400
    np.testing.assert_allclose(ours.spectrum, spectrum, rtol=1e-9 if exact else 1e-5)
    for size in (2, 5):
        code = theirs.transform(x)[:, :size]
        again = code @ theirs.components_[:size] + theirs.mean_
        squared = ((x - again) ** 2).sum(1).mean()
        assert ours.error(x, size) == pytest.approx(
            squared, rel=1e-9 if exact else 1e-5
        )
        mine = ours.decode(ours.encode(x, size))
        assert ((x - mine) ** 2).sum(1).mean() == pytest.approx(ours.error(x, size))
    at_random = representation.PCA(RANDOM.normal(size=(50, 60)), 60).spectrum
    assert len(at_random) == 60 and (at_random > -1e-9).all()


@pytest.mark.parametrize("kind", [data.stochastic, data.none])
def test_images_of_a_training_set_are_made_some_rows_at_a_time(kind, monkeypatch):
    image = RANDOM.integers(0, 256, (500, 4, 4, 3), np.uint8)
    dataset = data.arrays(*[{"image": image}] * 3)
    monkeypatch.setattr(source, "NUMBERS", 70 * 48)
    whole = representation._images(data.held_out(kind, dataset, "train"))
    made, images = [], representation._images

    def counted(held):
        made.append(len(held["image"]))
        return images(held)

    monkeypatch.setattr(representation, "_images", counted)
    pixels = representation.Pixels(kind, dataset, "train")
    assert pixels.shape == (500, 48) and len(pixels) == 500
    np.testing.assert_array_equal(pixels[:], whole)
    made.clear()
    pca, known = (representation.PCA(x, 2) for x in (pixels, whole))
    assert pca.error(pixels, 2) == known.error(whole, 2)
    assert max(made) == 70 and sum(made) == 3 * 500


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ([0, 1, 1, 0, 1], None),
        ([2] * 9, "the training labels of mine are of one class"),
        ([0, 1, 1, 0], "mine has 4 training examples: 5 are the least"),
        (None, "mine has no labels"),
    ],
)
def test_what_classifiers_cannot_be_fitted_on_is_said_before(label, says):
    part = {"image": RANDOM.integers(0, 256, (len(label or [0]), 2, 2, 1), np.uint8)}
    if label:
        part["label"] = np.array(label, np.int32)
    facts = SimpleNamespace(dataset=data.arrays(part, part, part, name="mine"))
    needs = representation.representation.contract.needs[:1]
    assert [need(facts) for need in needs] == [says]
