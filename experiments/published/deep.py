"""Hinton and Salakhutdinov (2006), Reducing the Dimensionality of Data: MNIST, codes of 30 numbers."""

import jax
import numpy as np

from aevae import data
from aevae.evaluation import representation
from aevae.figures import strips
from aevae.runs import trained
from aevae.training.trained_run import EXAMPLES
from experiments.published.job import Fact, Outcome, Part, Row

FULL, IMAGES = 100, 60_000


def autoencoder(job):
    """Squared error, summed over pixels, of the 784-1000-500-250-30 autoencoder and of PCA."""
    runs = job.train(FULL, {"runs": Part("configs/deep.py")})["runs"].must_not_diverge()
    (row,) = job.evaluate(runs, "reconstruction")
    run = trained.open_run(runs.workdir, row)
    dataset = data.of(run.config, job.data_dir)
    train, test = (
        np.asarray(data.none(None, {"image": part["image"]})["image"])
        for part in (dataset.train, dataset.test)
    )
    error = float(
        np.mean([_error(run, train[i : i + 2000]) for i in range(0, len(train), 2000)])
    )

    def near(found, known):  # an error that is still falling is not yet called worse
        return (0.0 if runs.complete or found <= known else None), -1, True

    ours, pca = row["squared_error"], row["pca_squared_error"]
    rows = [
        Row("PCA of 30: test squared error", 13.87, pca, 0.005, 0, True),
        Row("autoencoder of 30: test squared error", 3.00, ours, *near(ours, 3.00)),
        Row(
            "autoencoder of 30: training squared error, beside Nesterov's momentum in 750,000 "
            "steps (Sutskever et al., 2013)",
            *(0.73, error),
        ),
        Row(
            "autoencoder of 30: training squared error, beside gradient descent's there",
            2.1,
            error,
            *near(error, 2.1),
        ),
    ]
    facts = [
        Fact("the autoencoder's error is less than a quarter of PCA's", ours < pca / 4)
    ]
    image = figure(run, representation.PCA(representation.flat(train), 30), test)
    note = "" if runs.complete else "the learning rate had not fallen to 0"
    counts = runs.samples, FULL * IMAGES, runs.complete
    return Outcome(rows, facts, *counts, image, note)


def _error(run, images):
    again = np.asarray(run.reconstruct({"image": images}))
    return ((again - images) ** 2).reshape(len(images), -1).sum(1).mean()


def figure(run, pca, test):
    """Test images and their reconstructions by the autoencoder and PCA, as in the paper's figure 2."""
    some = test[:EXAMPLES]
    linear = pca.decode(pca.encode(representation.flat(some), 30)).reshape(some.shape)
    rows = [
        ("test images", some),
        ("autoencoder, 30", jax.device_get(run.reconstruct({"image": some}))),
        ("PCA, 30", np.clip(linear, 0, 1)),
    ]
    return strips.tiles(
        rows, "Hinton and Salakhutdinov (2006): MNIST, real-valued pixels"
    )
