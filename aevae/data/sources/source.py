"""What every set is, wherever it comes from: arrays by split, and their provenance."""

from typing import NamedTuple

import numpy as np

from aevae import InputError

DIVISION_SEED = 0  # of the order in which a set without splits is divided ...
SHARES = {"validation": 0.1, "test": 0.1}  # ... into these, and `train` with the rest


class Source(NamedTuple):
    """A set as it is stored: {split: {field: array of N rows}}, and what is known of it.

    `image` is uint8 (grey levels, 255 is 1), bool (already binary) or float32; beside it there may
    be `label` [N], `factors` [N, F] and others.
    """

    name: str
    version: str
    splits: dict[str, dict[str, np.ndarray]]
    factors: dict[str, int]  # how many values each ground-truth factor has


def division(name, count):
    """How a set of one split is divided: the order of its rows, and {split: slice of that order}.

    By NumPy's permutation with DIVISION_SEED: a tenth each to `validation` and `test`.
    """
    sizes = {split: max(1, int(count * share)) for split, share in SHARES.items()}
    first = count - sum(sizes.values())
    if first < 1:
        raise InputError(
            f"{name} has {count} examples: three are needed, one for each split"
        )
    parts, start = {"train": slice(0, first)}, first
    for split, size in sizes.items():
        parts[split], start = slice(start, start + size), start + size
    return np.random.default_rng(DIVISION_SEED).permutation(count), parts


def as_stored(image, name):
    """Images in a type that we store: float64 becomes float32, and whole numbers are refused."""
    image = np.asarray(image)
    if image.dtype.kind == "f" and image.dtype != np.float32:
        image = image.astype(np.float32)
    if image.dtype not in (np.uint8, np.bool_, np.float32):
        raise InputError(
            f"{name} is {image.dtype}: images must be uint8 (grey levels to 255), bool "
            "(binary) or floats"
        )
    return image


def is_binary(image):
    """Whether uint8 images hold nothing but 0 and 1: they are then binary, not grey levels."""
    return image.dtype == np.uint8 and image.size > 0 and image.max() <= 1


def first_line(error):
    """Of what an exception says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
