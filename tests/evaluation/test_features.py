"""Features of images: what they are of, that they repeat to the bit, and what they cannot be fitted on."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from aevae import InputError
from aevae.data.sources import source
from aevae.evaluation import features, representation

X, LABEL = load_digits(return_X_y=True)
X = np.float32(X / 16)
TRAIN, TEST = slice(0, 1_200), slice(1_200, None)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """One thread, as measures have it, and fewer steps."""
    monkeypatch.setattr(features, "STEPS", 400)
    with threadpool_limits(1):
        yield


def right(encode, label):
    """How often a linear classifier of features finds a label of test images."""
    model = LogisticRegression(max_iter=5_000).fit(encode(X[TRAIN]), label[TRAIN])
    return model.score(encode(X[TEST]), label[TEST])


def test_components_are_those_of_pca(monkeypatch):
    monkeypatch.setattr(features, "FITTED", 1_000)
    encode = features.components(X)
    known = representation.PCA(X[:1_000], 32).encode(X[TEST], 32)
    np.testing.assert_array_equal(encode(X[TEST]), known)
    small = X.reshape(-1, 4)
    assert features.components(small)(small[:7]).shape == (7, 4)


def test_activations_are_of_the_label_and_repeat_to_the_bit(monkeypatch):
    monkeypatch.setattr(source, "NUMBERS", 64 * 100)  # several blocks
    encode = features.activations(X[TRAIN], label=LABEL[TRAIN])
    assert right(encode, LABEL) > 0.9
    again = features.activations(X[TRAIN], label=LABEL[TRAIN])
    np.testing.assert_array_equal(encode(X), again(X))
    at_random = features.activations(X[TRAIN], label=LABEL[TRAIN][::-1])
    assert right(at_random, LABEL) < right(encode, LABEL) - 0.02


def test_activations_are_of_all_factors_without_labels():
    """A label's parts, beside one factor that does not vary."""
    factors = np.stack([LABEL % 2, LABEL * 0, LABEL // 2], axis=1)
    encode = features.activations(X[TRAIN], factors=factors[TRAIN])
    known = [right(encode, factors[:, i]) for i in (0, 2)]
    for i in (0, 1):  # of one of them alone the other is harder to tell
        encode = features.activations(X[TRAIN], factors=factors[TRAIN][:, [2 * i]])
        assert right(encode, factors[:, 2 - 2 * i]) < known[1 - i] - 0.02


def test_constant_pixels_and_images_break_nothing():
    images = X[:300].copy()
    images[:, :9] = 0.3
    for encode in (
        features.components(images),
        features.activations(images, label=LABEL[:300]),
        features.activations(images * 0, label=LABEL[:300]),
        features.components(images * 0),
    ):
        assert np.isfinite(encode(X)).all()


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"label": LABEL[:300] * 0}, "the training labels are of one class"),
        ({"factors": np.ones((300, 2))}, "every factor has one value alone"),
        ({}, "a classifier needs labels or factors"),
        ({"label": LABEL[:200]}, "200 labels or rows of factors for 300 images"),
    ],
)
def test_what_a_classifier_cannot_be_fitted_on_is_said_in_a_line(target, says):
    with pytest.raises(InputError, match=says):
        features.activations(X[:300], **target)
