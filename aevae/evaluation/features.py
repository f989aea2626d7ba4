"""Features of images, in which images are compared: functions of images [N, P], fitted on training ones.

Both are fitted on the data set itself, so that no network is downloaded, and have at most 32
features. Images are as `representation.Pixels` gives them, with P numbers each.
"""

import functools
import math

import numpy as np

from aevae import InputError, data
from aevae.evaluation.representation import FITTED, PCA

SIZE = 32  # features at most
STEPS = 1_000  # of Adam, on 200 images each
SEED = 0


def components(images):
    """A function to the first principal components, at most 32, of training images.

    Fitted on the first 10,000. See `representation.PCA`.
    """
    images = images[:FITTED]
    size = min(SIZE, images.shape[1])
    return functools.partial(PCA(images, size).encode, size=size)


def activations(images, *, label=None, factors=None):
    """A function to the hidden layer, 32 units, of a classifier fitted on training images.

    scikit-learn's MLPClassifier: relu(x W + b), then softmax to the label [N]; without labels a
    sigmoid for each value of each of the factors [N, F]. 1,000 steps of Adam on the first 10,000
    (20 epochs of as many), from fixed weights. Images are centered, and divided by one deviation
    for all pixels.
    """
    from sklearn.neural_network import MLPClassifier

    images, target = images[:FITTED], _target(label, factors)
    if len(target) != len(images):
        raise InputError(
            f"{len(target)} labels or rows of factors for {len(images)} images"
        )
    mean = images.mean(0, dtype=np.float64).astype(np.float32)
    centered = np.subtract(images, mean, dtype=np.float32)
    spread = centered.std(dtype=np.float64) or 1.0
    centered /= np.float32(spread)
    classes = np.unique(target) if target.ndim == 1 else np.arange(target.shape[1])
    # Epochs by `partial_fit`, which does not warn that it has not converged. It would draw the same
    # order for each from a number.
    random = np.random.RandomState(SEED)
    model = MLPClassifier((SIZE,), random_state=random)
    for _ in range(math.ceil(STEPS / math.ceil(len(images) / 200))):
        model.partial_fit(centered, target, classes=classes)
    weights, bias = (np.float64(part[0]) for part in (model.coefs_, model.intercepts_))

    def encode(others):
        blocks = [(others[b] - mean) / spread for b in data.slices(others)]
        return np.concatenate([np.maximum(0, x @ weights + bias) for x in blocks])

    return encode


def _target(label, factors):
    """Labels [N], or an indicator of every value of the factors that vary, [N, values]."""
    if label is not None:
        label = np.asarray(label)[:FITTED]
        if len(np.unique(label)) < 2:
            raise InputError(
                "the training labels are of one class: nothing to classify"
            )
        return label
    if factors is None:
        raise InputError("a classifier needs labels or factors, and was given neither")
    values = [(column, np.unique(column)) for column in np.asarray(factors)[:FITTED].T]
    varied = [column[:, None] == v for column, v in values if len(v) > 1]
    if not varied:
        raise InputError("every factor has one value alone: nothing to classify")
    return np.concatenate(varied, axis=1).astype(int)
