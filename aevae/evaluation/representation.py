"""What a code is good for beside its own decoder: compression and features, next to PCA's."""

import functools

import numpy as np

from aevae import data
from aevae.evaluation.contract import labels, measure, vector

FITTED = 10_000  # examples that a probe is fitted on at most
NEIGHBORS = 5
EXACT = 2_048  # pixels up to which PCA has a covariance matrix ...
PASSES = 6  # ... and through the images, without one


@measure()
def reconstruction(work):
    """Measures squared error and cross-entropy at the mean code, and PCA's error beside them.

    Summed over pixels, mean over the test examples; PCA has as many components as the code. An
    autoencoder's own results have the first two already.
    """
    codes = work.encoded(work.held("test"), 1)
    if "code" in codes:
        of = functools.partial(Pixels, work.config.binarization, work.dataset)
        size = min(codes["code"].shape[-1], of("test").shape[1])
        error = PCA(of("train"), size).error(of("test"), size)
    for i, row in enumerate(work.group.rows):
        names = () if row["elbo"] is None else ("squared_error", "cross_entropy")
        values = {name: codes[name][i].mean(dtype=np.float64) for name in names}
        if "code" in codes:
            values["pca_squared_error"] = error
        yield values


def classes(facts):
    """Requires as many training examples, and of two classes, as the classifiers are fitted on."""
    if (missing := labels(facts)) is not None:
        return missing
    found = facts.dataset.train["label"][:FITTED]
    if len(found) < NEIGHBORS:
        return f"{facts.dataset.name} has {len(found)} training examples: {NEIGHBORS} are the least"
    if len(np.unique(found)) < 2:
        return f"the training labels of {facts.dataset.name} are of one class"
    return None


@measure(classes, vector)
def representation(work):
    """Measures how often a label is told from the code, from PCA's of the same size, and from pixels."""
    train, test = work.held("train", FITTED), work.held("test")
    label = train["label"], test["label"]
    codes = [work.encoded(held, use)["code"] for held, use in ((train, 4), (test, 1))]
    of = functools.partial(Pixels, work.config.binarization, work.dataset)
    pixels = of("train")[:FITTED], of("test")[:]
    of_pixels = accuracies(pixels[0], label[0], pixels[1], label[1])
    size = min(codes[0].shape[-1], pixels[0].shape[1])
    pca = PCA(pixels[0], size)
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
    return images.reshape(len(images), -1).astype(np.float32, copy=False)


class Pixels:
    """The images of a split as they are evaluated, [N, P], made in float32 where they are sliced.

    So the whole of a training set is gone through without a copy of it in floats. Data that are
    standardized are as before that.
    """

    def __init__(self, binarization, dataset, part):
        dataset = dataset.stored or dataset
        self._held = functools.partial(data.held_out, binarization, dataset, part)
        self._count = len(getattr(dataset, part)["image"])
        self.shape = self._count, self[:1].shape[1]

    def __len__(self):
        return self._count

    def __getitem__(self, rows):
        return _images(self._held(rows))


class PCA:
    """The first `size` principal components of images [N, P], from their covariance with 1/N.

    In float64, by blocks of rows, so that `images` may be anything with a shape and slices of rows.
    Up to 2,048 pixels the components are those of the covariance matrix, exactly. Above, the matrix
    is never formed: subspace iteration from random directions (Halko et al., 2011, algorithm 4.4),
    twice as many as components and 10 more, in 6 passes. The squared error that is left is then
    within 2e-6 of the least for 20 components of MNIST, and within 2e-4 for 100.
    """

    def __init__(self, images, size):
        (count, pixels), blocks = images.shape, data.slices(images)
        self.mean = sum(images[b].sum(0, dtype=np.float64) for b in blocks) / count
        if pixels <= EXACT:
            axes = None
            spectrum, turn = np.linalg.eigh(self._times(images, None))
        else:
            columns = min(pixels, 2 * size + 10)
            times = np.random.default_rng(0).standard_normal((pixels, columns))
            for _ in range(PASSES):
                axes = np.linalg.qr(times)[0]
                times = self._times(images, axes)
            spectrum, turn = np.linalg.eigh(axes.T @ times)
        turn = turn[:, ::-1][:, :size]
        self.spectrum = spectrum[::-1][:size]
        self._axes = turn if axes is None else axes @ turn

    def _times(self, images, axes):
        """The covariance matrix; or it times `axes`, of products of blocks in float32."""
        kind, total = np.float64 if axes is None else np.float32, 0.0
        for block in data.slices(images):
            centered = np.subtract(images[block], self.mean, dtype=kind)
            other = centered if axes is None else centered @ axes.astype(kind)
            total += np.float64(centered.T @ other)
        return total / len(images)

    def encode(self, images, size):
        """The first `size` components, [N, size]."""
        axes = self._axes[:, :size]
        blocks = [(images[b] - self.mean) @ axes for b in data.slices(images)]
        return np.concatenate(blocks)

    def decode(self, code):
        """The images of codes [N, size]."""
        return code @ self._axes[:, : code.shape[1]].T + self.mean

    def error(self, images, size):
        """The squared error of so many components, summed over pixels, mean over images."""
        total = 0.0
        for block in data.slices(images):
            centered = images[block] - self.mean
            code = centered @ self._axes[:, :size]
            total += (centered**2).sum() - (code**2).sum()
        return max(0.0, float(total / len(images)))  # rounding may leave less than 0


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
