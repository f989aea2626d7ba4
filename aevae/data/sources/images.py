"""Arrays as images: what is stored of them, and what is refused or said of types and shapes."""

import numpy as np

from aevae import InputError
from aevae.data.sources.source import listed, slices

GAUSSIAN = (
    "a Gaussian likelihood takes them as they are, with binarization `none`, as of "
    "configs/methods.py:sigma_vae"
)
DARK = 64  # uint8 images without any value from here on may be counts or labels
DIM = 128  # the same of vectors, which are seldom pixels
STEPS = 100  # of float32, at least, in the deviation of values that it holds well
LEAST = 2.0**-149  # the step of float32 at 0
BITS = 8, 10, 12, 14, 16  # of the pixels of cameras


def stored(found, columns=()):
    """The images of all splits as uint8, bool or float32 [N, ...], and notes on them.

    Args:
      found: {split: (where, array)}; `where` names the array in messages.
      columns: names of the values of vectors, if they have names.
    Raises:
      InputError: arrays that are no images, one line that says why and what to do.
    """
    images, notes = {}, []
    for split, (where, image) in found.items():
        _check_kind(where, image.dtype)
        notes += _shaped(where, image)
        image = np.asarray(image)
        if image.dtype.kind == "f":
            notes += _coarse(where, image)
            image = single(where, image)
        images[split] = image
    kinds = {image.dtype.kind for image in images.values()}
    wheres = ", ".join(where for where, _ in found.values())
    if kinds <= set("iu") and any(v.dtype != np.uint8 for v in images.values()):
        images, note = _whole(wheres, images)
        notes.append(note)
    elif kinds == {"u"}:
        most = max(image.max() for image in images.values())
        vectors = all(image.ndim == 2 for image in images.values())
        if 1 < most < (DIM if vectors else DARK):
            notes.append(
                f"{wheres} is uint8 from 0 to {most}: it is read as gray levels, of which 255 "
                "stands for 1; if these are counts or labels, save them as floats"
            )
    for split, image in images.items():
        _check_finite(found[split][0], image, columns)
        images[split] = image[..., None] if image.ndim == 3 else image
    return images, notes


def _shaped(where, image):
    """Notes on a shape that may be meant otherwise; InputError for one that images cannot have."""
    shape = list(image.shape)
    kinds = "images are [N, H, W, C] or [N, H, W], or as vectors [N, P]"
    if image.ndim == 1:
        way = "x[:, None] has vectors of one value"
        if image.dtype == bool:
            way = "if it marks the rows of a split, save these rows, x[mask], as the split"
        raise InputError(f"{where} has shape {shape}, one value a row: {kinds}; {way}")
    if image.ndim not in (2, 3, 4):
        way = ""
        if image.ndim > 4:
            ones = set(shape[4:]) == {1}
            way = f"; x.reshape({shape[:4]})" if ones else "; x.reshape(N, H, W, -1)"
            way += " has these axes" if ones else " puts all that is left in channels"
        raise InputError(f"{where} has shape {shape}: {kinds}{way}")
    if not image.size:
        raise InputError(f"{where} has shape {shape}, without any value: {kinds}")
    count, *rest = shape
    if image.ndim == 4 and rest[2] > 4 >= rest[0] != rest[1]:
        raise InputError(
            f"{where} has shape {shape}: the channels come last, [N, H, W, C], as in "
            "np.moveaxis(x, 1, -1)"
        )
    read = f"{where} has shape {shape}, and is read as {count} images of " + "x".join(
        map(str, rest)
    )
    matlab = count < 1000 and rest[-1] > 5 * max(shape[:2])
    square = count == rest[0] < rest[-1] and (image.ndim == 3 or rest[1] in (1, 3, 4))
    if image.ndim > 2 and (matlab or square):
        return [
            f"{read}; if the examples come last, as in MATLAB, save np.moveaxis(x, -1, 0)"
        ]
    if image.ndim == 4 and rest[0] != rest[1] == rest[2] > 1:
        return [f"{read}; if the channels come first, save np.moveaxis(x, 1, -1)"]
    return []


def _check_kind(where, kind):
    """InputError for the type of what is no number."""
    if kind.kind in "iubf":
        return
    text = str(kind)
    reasons = {
        "c": "np.stack([x.real, x.imag], -1) has two channels, and np.abs(x) the modulus",
        "O": "objects are never unpickled; pad or crop rows of unequal lengths to one shape",
        "M": "save numbers, such as seconds since the first",
        "m": "save numbers, such as x / np.timedelta64(1, 's')",
        "V": "x.astype('float32') has numbers",
    }
    if kind.names:
        text = f"a structured array of fields {', '.join(kind.names)}"
        reasons["V"] = "np.lib.recfunctions.structured_to_unstructured(x) has columns"
    elif kind.kind == "O":
        text = "an array of Python objects"
    way = reasons.get(kind.kind, "save numbers")
    raise InputError(
        f"{where} is {text}: images must be uint8 (gray levels to 255), bool (binary) or floats; "
        f"{way}"
    )


def single(where, image):
    """Numbers as float32; InputError where their size is beyond it."""
    if image.dtype == np.float32:
        return image.astype(np.float32, copy=False)
    with np.errstate(over="ignore"):
        single = image.astype(np.float32)
    if image.dtype.itemsize > 4:
        for rows in slices(image):
            lost = np.isinf(single[rows]) & np.isfinite(image[rows])
            if lost.any():
                raise InputError(
                    f"{where} has values beyond float32, such as {image[rows][lost][0]:g}: "
                    "rescale or remove them"
                )
    return single


def steps(values):
    """How many steps of float32 are in the deviation of values [N, ...]; inf for constant ones."""
    count, first = len(values), values[:1].astype(np.float64)
    most, total, squares = np.abs(first[0]), 0.0, 0.0
    with np.errstate(invalid="ignore", over="ignore"):  # what is refused elsewhere
        for rows in slices(values):
            most = np.maximum(most, np.abs(values[rows]).max(0))
            apart = values[rows] - first
            total, squares = total + apart.sum(0), squares + (apart**2).sum(0)
        deviation = np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0))
        varies = deviation > most * 2.0**-40
        step = np.maximum(most * 2.0**-23, LEAST)
        return np.where(varies, deviation / step, np.inf)


def _coarse(where, image):
    """A note on places whose values float32 rounds to a few steps of theirs."""
    if image.dtype.itemsize <= 4:
        return []
    found = steps(image)
    places = np.argwhere(found < STEPS)
    if not len(places):
        return []
    kind = "column" if image.ndim == 2 else "pixel"
    names = [k[0] if image.ndim == 2 else k for k in places.tolist()]
    return coarse(f"{where}: {kind} {listed(names)}", found)


def coarse(what, found):
    """The note on values of few steps; InputError where float32 leaves next to nothing of all."""
    note = (
        f"{what} varies by less than {STEPS} steps of float32, which rounds it: subtract its mean "
        "in float64, or rescale it if it is below 1e-37"
    )
    if np.max(found) < 1:
        raise InputError(note)
    return [note]


def _whole(where, images):
    """Integers that can only be binary, or gray levels, as such, with a note; else InputError."""
    kind = ", ".join(sorted({str(v.dtype) for v in images.values()}))
    low = int(min(v.min() for v in images.values()))
    high = int(max(v.max() for v in images.values()))
    if low >= 0 and high == 1:
        note = f"{where} is {kind} of 0 and 1, and is read as binary images"
        return {split: v.astype(bool) for split, v in images.items()}, note
    if low >= 0 and high == 255:
        note = f"{where} is {kind} from {low} to 255, and is read as gray levels, as of uint8"
        return {split: v.astype(np.uint8) for split, v in images.items()}, note
    way = rescaling(low, high)
    if 0 <= low <= high < 255:
        way = (
            "save x.astype('uint8') if 255 stands for 1, or divide by "
            f"{high or 1}; of counts and other values save x.astype('float32'): {GAUSSIAN}"
        )
    raise InputError(
        f"{where} is {kind}, from {low} to {high}: images must be uint8 (gray levels to 255), bool "
        f"(binary) or floats; {way}"
    )


def rescaling(low, high):
    """How values from `low` to `high` come into [0, 1], and what scores them as they are."""
    if -1 <= low < 0 and high <= 1:
        way = "(x + 1) / 2 brings them into [0, 1]"
    elif low < 0:
        way = f"(x - {low:.7g}) / {high - low:.7g} brings them into [0, 1]".replace(
            "- -", "+ "
        )
    else:
        full = [2**bits - 1 for bits in BITS if high <= 2**bits - 1]
        if high <= 16 or not full:
            way = f"divide them by {high:.7g}"
        elif full[0] == 255:
            way = "divide them by 255, or save gray levels as uint8"
        else:
            way = f"divide them by {full[0]}" + (" or 65535" if full[1:] else "")
    return f"{way}; or {GAUSSIAN}"


def _check_finite(where, image, columns):
    """InputError for NaN or infinities, which says where they are."""
    if image.dtype != np.float32:
        return
    count, rows, places = 0, [], np.zeros(image.shape[1:], int)
    for block in slices(image):
        bad = ~np.isfinite(image[block])
        if bad.any():
            count, places = count + int(bad.sum()), places + bad.sum(0)
            rows.extend(block.start + np.flatnonzero(bad.reshape(len(bad), -1).any(1)))
    if not count:
        return
    lengths = _lengths(image)
    if lengths is not None:
        raise InputError(
            f"{where} has rows that end in NaN, of lengths {lengths.min()} to {lengths.max()}: "
            "padding is not left out of the likelihood. Crop all to one length, or fill with a "
            "value, which is then learned and scored like the rest"
        )
    text = f"{count}, in {len(rows)} of {len(image)} rows, first in row {rows[0]}"
    if image.ndim == 2:
        bad = np.flatnonzero(places)
        names = [columns[k] if columns else k for k in bad.tolist()]
        text += f", and in column {listed(names)}"
    raise InputError(
        f"{where} has NaN or infinite values ({text}): remove or replace them"
    )


def _lengths(image):
    """Of rows that only end in NaN the lengths, [N], where these are various; else None."""
    missing = np.isnan(image).reshape(*image.shape[:2], -1)
    ended = missing.all(-1)
    only = (ended == missing.any(-1)).all() and (ended[:, 1:] >= ended[:, :-1]).all()
    lengths = (~ended).sum(1)
    various = only and len(np.unique(lengths)) >= 3
    return lengths if various and not np.isinf(image).any() else None
