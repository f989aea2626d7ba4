"""What every source gives, a `Source` of arrays by split, and helpers that all sources share."""

import math
from typing import NamedTuple

import numpy as np

from aevae import InputError

NUMBERS = 2**22  # that the host works on at a time, of sets of any size
SHOWN = 5  # names, at most, that a message lists
DIVISION_SEED = 0  # seed of the order in which a set without splits is divided
SHARES = {
    "validation": 0.1,
    "test": 0.1,
}  # fractions of such a set; `train` is the rest


class Source(NamedTuple):
    """A data set as it is stored: {split: {field: array of N rows}}, and its provenance.

    `image` is uint8 (gray levels, 255 stands for 1), bool (binary) or float32; other fields may be
    `label` [N], `factors` [N, F] and more.
    """

    name: str
    version: str
    splits: dict[str, dict[str, np.ndarray]]
    factors: dict[str, int]  # {name: number of values} of the ground-truth factors
    labels: tuple[str, ...] = ()  # the names of classes 0, 1, ..., if they have others
    columns: tuple[
        str, ...
    ] = ()  # the names of the values of vectors, if they have names
    notes: tuple[str, ...] = ()  # what was taken for what, and left out, in a line each


def division(name, count, parts=("validation", "test")):
    """Divides a set without splits: an order of its rows, and {split: slice of that order}.

    The order is NumPy's permutation with DIVISION_SEED; `validation` and `test` get a tenth each,
    or of these only `parts`.
    """
    sizes = {split: max(1, int(count * SHARES[split])) for split in parts}
    first = count - sum(sizes.values())
    if first < 1:
        needed = {2: "three", 1: "two"}[len(parts)]
        raise InputError(
            f"{name} has {count} examples: {needed} are needed, one for each split"
        )
    parts, start = {"train": slice(0, first)}, first
    for split, size in sizes.items():
        parts[split], start = slice(start, start + size), start + size
    return np.random.default_rng(DIVISION_SEED).permutation(count), parts


def rows_at_once(size):
    """How many rows of so many numbers the host works on at a time."""
    return max(1, NUMBERS // max(1, size))


def slices(values):
    """Slices of the rows of an array, in each as many as the host works on at a time."""
    length = rows_at_once(math.prod(values.shape[1:]))
    return [slice(n, n + length) for n in range(0, len(values), length)]


def is_binary(image):
    """Whether uint8 images hold only 0 and 1, and so are binary rather than gray levels."""
    return image.dtype == np.uint8 and image.size > 0 and image.max() <= 1


def listed(names):
    """The first few of many names, and how many more there are."""
    shown = [str(name) or repr(name) for name in names[:SHOWN]]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(shown) + more


def printable(text):
    """A message in one line, though names of files and arrays may have line breaks in them."""
    shown = (c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
    return "".join(shown)


def first_line(error):
    """The first line of an exception's message, or the exception's name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
