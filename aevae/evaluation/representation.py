"""What a code is good for beside its own decoder: compression and features, next to PCA's."""

import numpy as np

from aevae import data
from aevae.evaluation.contract import labels, measure, vector

FITTED = 10_000  # examples that a probe is fitted on at most
NEIGHBORS = 5


@measure()
def reconstruction(work):
    """Measures squared error and cross-entropy at the mean code, and PCA's error beside them.

    Summed over pixels, mean over the test examples; PCA has as many components as the code. An
    autoencoder's own results have the first two already.
    """
    held = work.held("test")
    codes = work.encoded(held, 1)
    pca = PCA(_images(work.held("train")))
    images = _images(held)
    for i, row in enumerate(work.group.rows):
        names = () if row["elbo"] is None else ("squared_error", "cross_entropy")
        values = {name: codes[name][i].mean(dtype=np.float64) for name in names}
        if "code" in codes:
            size = min(codes["code"].shape[-1], images.shape[1])
            values["pca_squared_error"] = pca.error(images, size)
        yield values


@measure(labels, vector)
def representation(work):
    """Measures how often a label is told from the code, from PCA's of the same size, and from pixels."""
    train, test = work.held("train", FITTED), work.held("test")
    label = train["label"], test["label"]
    codes = [work.encoded(held, use)["code"] for held, use in ((train, 4), (test, 1))]
    pixels = _images(train), _images(test)
    of_pixels = accuracies(pixels[0], label[0], pixels[1], label[1])
    pca, size = PCA(pixels[0]), min(codes[0].shape[-1], pixels[0].shape[1])
    near = [pca.encode(images, size) for images in pixels]
    of_pca = accuracies(near[0], label[0], near[1], label[1])
    for i in range(len(work.group.runs)):
        work.stop()
        values = accuracies(codes[0][i], label[0], codes[1][i], label[1])
        values |= {f"pca_{name}": value for name, value in of_pca.items()}
        yield values | {f"pixel_{name}": value for name, value in of_pixels.items()}


def _images(held):
    return flat(np.asarray(data.none(None, {"image": held["image"]})["image"]))


def flat(images):
    """Images [N, ...] as float32 [N, P]."""
    return images.reshape(len(images), -1).astype(np.float32)


class PCA:
    """Principal components of images [N, P], from their covariance with 1/N; float64."""

    def __init__(self, images):
        self.mean = images.mean(0, dtype=np.float64)
        second = np.zeros((images.shape[1],) * 2)
        for start in range(0, len(images), 10_000):
            block = images[start : start + 10_000] - self.mean
            second += block.T @ block
        spectrum, axes = np.linalg.eigh(second / len(images))
        self.spectrum, self._axes = spectrum[::-1], axes[:, ::-1]

    def encode(self, images, size):
        """The first `size` components, [N, size]."""
        return (images - self.mean) @ self._axes[:, :size]

    def decode(self, code):
        """The images of codes [N, size]."""
        return code @ self._axes[:, : code.shape[1]].T + self.mean

    def error(self, images, size):
        """The squared error of so many components, summed over pixels, mean over images."""
        centered = images - self.mean
        code = self.encode(images, size)
        return float((centered**2).sum(1).mean() - (code**2).sum(1).mean())


def accuracies(train, train_label, test, test_label):
    """The accuracy of a linear probe and of nearest neighbors on codes [N, F].

    Logistic regression with scikit-learn's defaults on codes of unit variance, and the vote of the 5
    nearest by Euclidean distance; both fitted on the first 10,000 training examples.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    train, label = train[:FITTED], train_label[:FITTED]
    spread = train.std(0)
    scale = np.where(spread > 1e-6 * spread.max(initial=1e-30), spread, 1.0)
    linear = LogisticRegression(max_iter=2000)
    linear.fit((train - train.mean(0)) / scale, label)
    near = KNeighborsClassifier(NEIGHBORS).fit(train, label)
    found = {"probe_accuracy": linear.score((test - train.mean(0)) / scale, test_label)}
    return found | {"knn_accuracy": near.score(test, test_label)}
