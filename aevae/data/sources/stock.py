"""The data sets of the field that TFDS has, and how a TFDS example becomes a row of arrays."""

from typing import NamedTuple

import numpy as np

from aevae import InputError

STOCK = (
    *("mnist", "fashion_mnist", "kmnist", "emnist", "binarized_mnist", "omniglot"),
    *("dsprites", "shapes3d", "smallnorb", "celeb_a", "cifar10", "svhn_cropped"),
)


def upright(image):
    """EMNIST's image the right way up: it is stored with rows and columns exchanged."""
    return image.swapaxes(0, 1)


def strokes(image):
    """Omniglot's drawing of 105x105 pixels as gray levels [28, 28, 1]: 255 is ink, 0 is paper.

    Each is the exact mean over a square of 3.75 pixels. The file of Burda et al. (2016) differs: it
    was reduced and divided in another way.
    """
    ink = image[..., 0] == 0  # black on white, whether white is 255 or 1
    covered = _AVERAGE @ ink @ _AVERAGE.T
    return np.round(255 * covered).astype(np.uint8)[..., None]


def _average(size, smaller):
    """The matrix [smaller, size] of means over `smaller` equal parts of `size` pixels."""
    at = np.arange(size) * (smaller / size)
    ends = np.arange(smaller)[:, None]
    low, high = np.maximum(at, ends), np.minimum(at + smaller / size, ends + 1)
    return np.maximum(high - low, 0)


_AVERAGE = _average(105, 28)


def face(image):
    """CelebA's central 148x148 pixels, resized to [64, 64, 3] by Pillow's bilinear filter."""
    from PIL import Image

    top, left = (image.shape[0] - 148) // 2, (image.shape[1] - 148) // 2
    crop = Image.fromarray(image[top : top + 148, left : left + 148])
    return np.asarray(crop.resize((64, 64), Image.Resampling.BILINEAR))


CHANGED = {  # {data set: (function of a stored image, shape of what it gives)}
    "emnist": (upright, (28, 28, 1)),
    "omniglot": (strokes, (28, 28, 1)),
    "celeb_a": (face, (64, 64, 3)),
}
FACTORS = {  # in the order of their papers
    "dsprites": ("shape", "scale", "orientation", "x_position", "y_position"),
    "shapes3d": (
        "floor_hue",
        "wall_hue",
        "object_hue",
        "scale",
        "shape",
        "orientation",
    ),
    "smallnorb": ("category", "elevation", "azimuth", "lighting"),
    "sprites": ("shape", "scale", "orientation", "x_position", "y_position"),
}


class Rows(NamedTuple):
    """How examples become rows: the type and shape of every field, and the function."""

    kinds: dict[str, tuple[np.dtype, tuple[int, ...]]]
    factors: dict[str, int]  # {name: number of values, 0 where the features do not say}
    of: object  # example -> {field: row}


def rows(name, features):
    """How a data set's examples become rows, from its TFDS features.

    `image` is the feature of that name, or the only one that can be images; `label` the integer of
    that name; `factors` are the integers called `label_*`; `attributes` are those of CelebA, sorted
    by name.
    """
    key = _image_feature(name, features)
    change, shape = CHANGED.get(name, (np.asarray, features[key].shape))
    if len(shape) == 2:
        change, shape = (lambda image: image[..., None]), (*shape, 1)
    kinds = {"image": (_stored(name, features[key]), tuple(shape))}
    labels = {k: f for k, f in features.items() if _is_integer(f)}
    if "label" in labels:
        kinds["label"] = (np.dtype(np.int32), ())
    # Features that were read from a folder are in no particular order.
    found = sorted(k.removeprefix("label_") for k in labels if k.startswith("label_"))
    ordered = [f for f in FACTORS.get(name, found) if f in found]
    if ordered:
        kinds["factors"] = (np.dtype(np.int32), (len(ordered),))
    marks = sorted(features["attributes"]) if name == "celeb_a" else []
    if marks:
        kinds["attributes"] = (np.dtype(bool), (len(marks),))

    def of(example):
        row = {"image": change(example[key])}
        if "label" in kinds:
            row["label"] = example["label"]
        if ordered:
            row["factors"] = [example[f"label_{factor}"] for factor in ordered]
        if marks:
            row["attributes"] = [example["attributes"][mark] for mark in marks]
        return row

    sizes = {f: getattr(labels[f"label_{f}"], "num_classes", 0) or 0 for f in ordered}
    return Rows(kinds, sizes, of)


def _image_feature(name, features):
    """The name of the feature that has the images."""
    usable = [key for key, feature in features.items() if _can_be_images(feature)]
    if "image" in usable:
        return "image"
    if len(usable) == 1:
        return usable[0]
    found = ", ".join(f"{key} {feature!r}" for key, feature in features.items())
    raise InputError(
        f"{name} has {'several features' if usable else 'no feature'} that can be images "
        f"of one size; call one `image`. It has {' '.join(found.split())}"
    )


def _can_be_images(feature):
    shape = getattr(feature, "shape", None)
    return (
        isinstance(shape, tuple)
        and 1 <= len(shape) <= 3
        and None not in shape
        and np.dtype(feature.np_dtype).kind in "ufb"
    )


def _is_integer(feature):
    kind = getattr(feature, "np_dtype", None)
    return getattr(feature, "shape", None) == () and np.dtype(kind).kind in "iu"


def _stored(name, feature):
    """The type in which images of a feature are stored."""
    kind = np.dtype(feature.np_dtype)
    if kind.kind == "f":
        return np.dtype(np.float32)
    if kind not in (np.uint8, np.bool_):
        raise InputError(
            f"{name} has images of {kind}: only uint8, bool and floats can be used"
        )
    return kind
