"""The data set `sprites` as a TFDS builder: shapes with known factors, also drawn on demand."""

import functools

import numpy as np
import tensorflow_datasets as tfds

from aevae.data.sources.embedded import EMBEDDED

SHAPES = ("square", "ellipse", "heart")
VALUES = {
    "shape": np.arange(len(SHAPES)),
    "scale": np.linspace(0.5, 1.0, 6),
    "orientation": np.arange(10) * (np.pi / 20),  # radians, counter-clockwise
    "x_position": np.arange(16.0),  # 32nds of the width
    "y_position": np.arange(16.0),
}
SIZES = {name: len(values) for name, values in VALUES.items()}
CONFIGS = EMBEDDED["sprites"].configs
HELD_OUT = 3_000  # examples in each of validation and test
SAMPLES = 8  # along each side of a pixel


def combinations():
    """All combinations of the factors: [46080, 5] indices into VALUES, the last factor fastest."""
    return np.indices(tuple(SIZES.values())).reshape(len(SIZES), -1).T


def draw(factors, size=32, binary=False):
    """Draws the images of factor combinations, white on black: uint8 [N, size, size, 1].

    Args:
      factors: [N, 5] indices into VALUES.
      size: 32 or 64 pixels.
      binary: pixels are 1 where the shape covers at least half of them, else 0. Otherwise they are
        the covered fraction, from 8x8 samples, as 0 to 255.
    """
    factors = np.asarray(factors)
    if size not in (32, 64):
        raise ValueError(f"sprites are drawn at 32 or 64 pixels, not {size}")
    shape, scale, orientation, x, y = factors.T
    stamps, half = _stamps(size), size // 4
    which = np.ravel_multi_index((shape, scale, orientation), stamps.shape[:3])
    found = stamps.reshape(-1, *stamps.shape[3:])[which]
    images = np.zeros((len(factors), size, size), np.uint8)
    step = size // 32
    rows = (y * step)[:, None] + np.arange(2 * half + step)
    columns = (x * step)[:, None] + np.arange(2 * half + step)
    images[
        np.arange(len(factors))[:, None, None], rows[:, :, None], columns[:, None]
    ] = found
    if binary:
        images = (images >= 128).astype(np.uint8)
    return images[..., None]


@functools.cache
def _stamps(size):
    """Each shape, scale and orientation, centered in a square of 17/32 of the width.

    [shapes, scales, orientations, pixels, pixels] as uint8, the covered fraction times 255.
    """
    step = size // 32
    pixels = 17 * step
    # Samples in units of the largest shape's radius, 8/32 of the width; y points up.
    along = (np.arange(pixels * SAMPLES) + 0.5) / SAMPLES / step - 8.5
    x, y = np.meshgrid(along / 8, -along / 8)
    shape = tuple(SIZES.values())[:3]
    stamps = np.empty((*shape, pixels, pixels), np.uint8)
    for kind, scale, angle in np.ndindex(shape):
        turn, length = VALUES["orientation"][angle], VALUES["scale"][scale]
        u = (np.cos(turn) * x + np.sin(turn) * y) / length
        v = (np.cos(turn) * y - np.sin(turn) * x) / length
        inside = _INSIDE[kind](u, v)
        covered = inside.reshape(pixels, SAMPLES, pixels, SAMPLES).mean((1, 3))
        stamps[kind, scale, angle] = np.round(255 * covered)
    return stamps


def _square(u, v):
    return np.maximum(abs(u), abs(v)) < 0.65


def _ellipse(u, v):
    return (u / 0.98) ** 2 + (v / 0.49) ** 2 < 1


def _heart(u, v):
    """The inside of the sextic (a² + b² - 1)³ = a² b³, of area 3.66 in a and b."""
    a, b = u * 1.45, v * 1.45 + 0.1
    return (a**2 + b**2 - 1) ** 3 < a**2 * b**3


_INSIDE = (_square, _ellipse, _heart)


class Sprites(tfds.core.GeneratorBasedBuilder):
    """46,080 images of white shapes on black, one for each combination of five factors.

    Modeled on dSprites (Matthey et al., 2017): shape (square, ellipse, heart), scale (6, from 0.5
    to 1), orientation (10), x and y (16 each, 1/32 of the width apart). Orientation stops at 81
    degrees, since a square turned by 90 degrees is the same image, and what no image shows cannot
    be learned. The configs are 32x32 (the default) and 64x64 pixels with gray edges, and
    32x32_binary and 64x64_binary. A permutation (NumPy, seed 0) takes 3,000 each for validation and
    testing.
    """

    VERSION = tfds.core.Version(EMBEDDED["sprites"].version)
    BUILDER_CONFIGS = tuple(tfds.core.BuilderConfig(name=name) for name in CONFIGS)

    def _info(self):
        size = int(self.builder_config.name[:2])
        features = {"image": tfds.features.Image(shape=(size, size, 1))}
        for name, count in SIZES.items():
            features[f"label_{name}"] = tfds.features.ClassLabel(num_classes=count)
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        factors = combinations()
        rows = np.random.default_rng(0).permutation(len(factors))
        ends = [len(rows) - 2 * HELD_OUT, len(rows) - HELD_OUT]
        parts = zip(("train", "validation", "test"), np.split(rows, ends))
        return {name: self._generate_examples(factors, part) for name, part in parts}

    def _generate_examples(self, factors, rows):
        from PIL import Image

        name = self.builder_config.name
        for block in np.array_split(rows, 40):
            images = draw(factors[block], int(name[:2]), name.endswith("binary"))
            for row, image in zip(block, images):
                labels = zip(SIZES, map(int, factors[row]))
                yield (
                    int(row),
                    {"image": Image.fromarray(image[..., 0])}
                    | {f"label_{factor}": value for factor, value in labels},
                )
