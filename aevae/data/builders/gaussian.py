"""The data set `gaussian` as a TFDS builder: linear-Gaussian vectors, for exact tests."""

import numpy as np
import tensorflow_datasets as tfds

from aevae.data.sources.embedded import EMBEDDED

SPLITS = {"train": 10_000, "validation": 1_000, "test": 1_000}
SIZE, LATENT = 16, 4
NOISE = 0.5  # sigma


def parameters():
    """W [16, 4], mean [16] and sigma of x = W z + mean + sigma e, where z and e ~ N(0, I).

    In float64. The columns of W are orthogonal, of lengths 4, 3, 2 and 1.
    """
    random = np.random.default_rng(0)
    axes, _ = np.linalg.qr(random.standard_normal((SIZE, LATENT)))
    return axes * np.arange(LATENT, 0, -1), random.standard_normal(SIZE), NOISE


def covariance():
    """The covariance W Wᵀ + sigma² I of x, [16, 16].

    Its eigenvalues are 16.25, 9.25, 4.25, 1.25, and twelve times 0.25.
    """
    loadings, _, noise = parameters()
    return loadings @ loadings.T + noise**2 * np.eye(SIZE)


class Gaussian(tfds.core.GeneratorBasedBuilder):
    """12,000 draws of x = W z + mean + sigma e in 16 dimensions with 4 latents, float32.

    This is the model of probabilistic PCA (Tipping and Bishop, 1999): its likelihood and the
    maximum of it, its posterior, and the optimum of a linear VAE are known from `parameters` and
    `covariance`. NumPy's generator (seed 1) draws 10,000 for training, 1,000 for validation and
    1,000 for testing.
    """

    VERSION = tfds.core.Version(EMBEDDED["gaussian"].version)

    def _info(self):
        feature = tfds.features.Tensor(shape=(SIZE,), dtype=np.float32)
        features = tfds.features.FeaturesDict({"image": feature})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        del dl_manager
        count = sum(SPLITS.values())
        loadings, mean, noise = parameters()
        random = np.random.default_rng(1)
        x = random.standard_normal((count, LATENT)) @ loadings.T + mean
        x += noise * random.standard_normal(x.shape)
        ends = np.cumsum(list(SPLITS.values()))[:-1]
        parts = np.split(x.astype(np.float32), ends)
        return {name: self._generate_examples(p) for name, p in zip(SPLITS, parts)}

    def _generate_examples(self, rows):
        for number, row in enumerate(rows):
            yield number, {"image": row}
