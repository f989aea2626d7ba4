"""Standardization: stored values with the mean and deviation of the training split taken out.

A config declares it: `each` value of an image (each column of a table) has its own mean and standard
deviation, each `channel` has, or `all` values share one. They are found in float64 on the training
split alone, with 1/N, and serve all three splits.
"""

import functools
import math

import jax
import numpy as np

from aevae import InputError
from aevae.data.binarization import none
from aevae.data.sources.source import listed, slices

NO = "no"
OVER = {  # the axes of images [N, ...] over which a mean is taken, of their number
    "each": lambda count: (0,),
    "channel": lambda count: tuple(range(count - 1)),
    "all": lambda count: tuple(range(count)),
}
STANDARDIZATIONS = (NO, *OVER)


class Scaling:
    """The map between stored values x and standardized ones, y = (x - mean) / std.

    `mean` and `std` are float64 arrays that broadcast to [B, *shape]. The mean is taken out
    in two float32 parts, so that data far from 0 keep their digits. As values of a compiled program,
    two are the same only if they are one object.
    """

    def __init__(self, mean, std, shape):
        self.mean, self.std, self.shape = np.float64(mean), np.float64(std), shape
        self.scale, self._high = np.float32(std), np.float32(mean)
        self._low = np.float32(self.mean - self._high)

    def standardize(self, x):
        """Standardized values [B, ...] of stored ones, float32."""
        return (_rounded(x - self._high) - self._low) / self.scale

    def restore(self, y):
        """Stored values [B, ...] of standardized ones, float32."""
        return _rounded(y * self.scale + self._low) + self._high

    @functools.cached_property
    def log_std(self):
        """The logarithm of each value's deviation, float32 of [1, *shape] or 1 along shared axes."""
        return np.float32(np.log(self.std))

    @functools.cached_property
    def jacobian(self):
        """Σ log std over the values of an image, in nats: log p(x) = log p(y) - it."""
        return float(np.broadcast_to(np.log(self.std), (1, *self.shape)).sum())


def _rounded(x):
    """`x` as it is in float32, which XLA does not join with what follows."""
    return jax.lax.optimization_barrier(x) if isinstance(x, jax.Array) else x


class Moments:
    """Mean and standard deviation of images [N, ...] by a kind of standardization, float64 [1, ...].

    `constant` says which are of a single value, whose mean is that value and whose deviation is 0;
    so is a deviation that float32 arithmetic takes for 0.
    """

    def __init__(self, images, kind):
        axes = OVER[kind](images.ndim)
        count = math.prod(images.shape[axis] for axis in axes)
        blocks = [images[rows] for rows in slices(images)]

        def total(f):
            return sum(
                f(as_floats(b)).sum(axes, np.float64, keepdims=True) for b in blocks
            )

        least, most = (
            np.float64(as_floats(f([f(b, axes, keepdims=True) for b in blocks], 0)))
            for f in (np.min, np.max)
        )
        mean = total(lambda x: x) / count
        std = np.sqrt(total(lambda x: (x - mean) ** 2) / count)
        self.constant = (least == most) | (std < np.finfo(np.float32).tiny)
        self.mean = np.where(self.constant, least, mean)
        self.std = np.where(self.constant, 0.0, std)


def as_floats(images):
    """Images as float32, gray levels from 0 to 1, as `none` gives them; on the host."""
    if images.dtype == np.uint8:
        return images / np.float32(255)
    return images.astype(np.float32, copy=False)


def standardized(dataset, kind, binarization):
    """The data set that training reads under a standardization: float32 images, and its `scaling`.

    What is constant in training keeps the deviation 1. The `digest` stays that of the data before.

    Raises:
      InputError: another binarization than `none`, channels of vectors, and values that are beyond float32 afterwards.
    """
    if kind == NO:
        return dataset
    if binarization is not none:
        name = getattr(binarization, "__name__", type(binarization).__name__)
        raise InputError(
            f"standardize={kind} is for values as they are stored, and binarization {name} "
            "changes them: set --config.binarization=none and a likelihood that is a density, or "
            "--config.standardize=no"
        )
    if kind == "channel" and len(dataset.shape) == 1:
        raise InputError(
            f"standardize=channel is for images, and {dataset.name} has vectors {list(dataset.shape)}: "
            "`each` standardizes each column, `all` all values together"
        )
    moments = Moments(dataset.train["image"], kind)
    std = np.where(moments.constant, 1.0, moments.std)
    scaling = Scaling(moments.mean, std, dataset.shape)
    parts, ends = {}, []
    for part, split in dataset.parts.items():
        image = np.empty(split["image"].shape, np.float32)
        for rows in slices(image):
            with np.errstate(over="ignore", invalid="ignore"):
                image[rows] = scaling.standardize(as_floats(split["image"][rows]))
        ends += [float(image.min()), float(image.max())]
        if not np.isfinite(ends).all():
            row, *place = np.argwhere(~np.isfinite(image))[0].tolist()
            raise InputError(
                f"{dataset.name}, {part}: once standardized by the training split, row {row} is "
                f"beyond float32 in {named(dataset, [place])}: remove or rescale it"
            )
        parts[part] = split | {"image": image}
    found = {"range": (min(ends), max(ends)), "scaling": scaling, "drawn": {}}
    return dataset._replace(**parts, **found, stored=dataset)


def named(dataset, places):
    """Names values of an image by their places: `columns 0, 3`, or `pixels (0, 1, 0), (0, 2, 0)`.

    Columns that have names are called by these.
    """
    columns = getattr(dataset, "columns", ())
    flat = len(places[0]) == 1
    names = [columns[p[0]] if columns else p[0] if flat else tuple(p) for p in places]
    kind = "column" if flat else "pixel"
    return f"{kind}{'s' * (len(places) > 1)} {listed(names)}"
