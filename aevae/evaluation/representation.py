"""What a code is good for beside its own decoder: compression and features, next to PCA's."""

import numpy as np

FITTED = 10_000  # examples that a probe is fitted on at most
NEIGHBOURS = 5


def flat(images):
    """[N, ...] as float32 [N, P]."""
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
        centred = images - self.mean
        code = self.encode(images, size)
        return float((centred**2).sum(1).mean() - (code**2).sum(1).mean())


def accuracies(train, train_label, test, test_label):
    """Of a linear probe and of k nearest neighbours on codes [N, F]: shares of the test labels.

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
    near = KNeighborsClassifier(NEIGHBOURS).fit(train, label)
    found = {"probe_accuracy": linear.score((test - train.mean(0)) / scale, test_label)}
    return found | {"knn_accuracy": near.score(test, test_label)}
