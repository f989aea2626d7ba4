"""What a trained run is given: new data, read as its training data were, or refused."""

import sys
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from aevae import InputError
from aevae.data.sources.source import first_line, listed
from aevae.data.sources.tables import index_of, label_of

NEAR, FAR = 0.25, 3.0  # widths of a column's range beyond it: said, and refused
SHOWN = 5  # classes, at most, that a message lists


class Seen(NamedTuple):
    """What a run was trained and evaluated on, as far as new data are compared with it.

    `least` and `most` are the least and the greatest value that the model was given, False and True
    of binary data, and of vectors of floats [P] each, the columns'.
    """

    least: Any
    most: Any
    gray: bool = False  # whether the data are gray levels, uint8 as they are stored
    columns: tuple[str, ...] = ()  # the names of the values of vectors
    labels: tuple[str, ...] = ()  # the names of classes 0, 1, ...


def is_unit(low, high):
    """Whether values are on the scale of gray levels as 0 to 1, and take up more than half of it."""
    return 0 <= low and high <= 1 and high - low > 0.5


def is_table(given):
    """Whether something is a DataFrame of pandas or Polars, or a table of pyarrow's."""
    return any(hasattr(type(given), k) for k in ("columns", "__arrow_c_stream__"))


def read_table(frame, columns):
    """A table's values [N, P] in the order of `columns`, if names are known, and its labels or None.

    The values are int64 where all columns are whole numbers, bool where all are, or else float64. A
    column of labels, or of the numbers of the rows, is no value where the names do not have it.
    """
    import pyarrow as pa

    try:
        table = pa.table(frame)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise InputError(f"cannot read the table: {first_line(error)}") from None
    names = [name.strip() for name in table.column_names]
    names = names if len({*names}) == len(names) else table.column_names
    found, columns = dict(zip(names, table.columns)), columns or tuple(names)
    beside = {name: v for name, v in found.items() if name not in columns}
    label = label_of("the table", beside)
    index = index_of("the table", table, beside)
    odd = {
        "several columns": sorted({n for n in names if names.count(n) > 1}),
        "no column": [name for name in columns if name not in found],
        "the column": [n for n in beside if n != label and n not in index],
    }
    for what, own in odd.items():
        if own:
            raise InputError(
                f"the table has {what} {listed(own)}: give the columns that the run was trained on, "
                f"{listed(columns)}"
            )
    values, types = [_numbers(name, found[name]) for name in columns], pa.types
    kinds, kind = {found[name].type for name in columns}, np.float64
    if all(map(types.is_boolean, kinds)):
        kind = bool
    elif all(map(types.is_integer, kinds)):
        kind = np.int64
    missing = [name for name, v in zip(columns, values) if np.isnan(v).any()]
    if missing:
        raise InputError(
            f"the table has missing values in column {listed(missing)}: leave these rows out, or "
            "fill them"
        )
    label = np.array(found[label].to_pylist()) if label else None
    return np.stack(values, 1).astype(kind), label


def _numbers(name, values):
    import pyarrow as pa

    if pa.types.is_boolean(values.type):
        values = values.cast(pa.uint8())
    try:
        numbers = pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal
        if not any(is_usable(values.type) for is_usable in numbers):
            raise pa.ArrowInvalid
        return values.cast(pa.float64(), safe=False).to_numpy()
    except pa.ArrowException:
        raise InputError(
            f"column {name} of the table holds {values.type}: give numbers"
        ) from None


def on_scale(image, seen, scaling=None):
    """Images in the type of what the model is given: bool of binary data, uint8 of gray levels.

    An InputError for images on another scale than what has been seen. A little beyond is none:
    noise, what a Gaussian generates, new rows of a table.
    """
    least, most = np.asarray(seen.least), np.asarray(seen.most)
    low, high = float(least.min()), float(most.max())
    binary, unit = least.dtype == np.bool_, is_unit(low, high)
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise InputError("NaN or infinite values were given: remove or replace them")
    if image.dtype.kind in "iu" and image.dtype != np.uint8:
        image = _whole(image, binary, seen.gray)
    if binary and image.dtype == np.uint8:
        if image.max() > 1:
            raise InputError(
                f"images are uint8 to {image.max()}, and the run was trained on 0 and 1: give "
                "these, or bool"
            )
        return image.astype(bool)
    if image.dtype.kind != "f":
        if not unit:
            raise InputError(
                f"images of {image.dtype} stand for 0 to 1, and the run was trained on {low:g} to "
                f"{high:g}: give floats on that scale"
            )
        if image.dtype == np.uint8 and image.max() == 1:
            raise InputError(
                "images are uint8 of 0 and 1, which may be binary, or gray levels of which 255 "
                "stands for 1: give bool, or x / 255"
            )
        return image
    if least.ndim:
        _check_columns(image, seen, scaling)
    else:
        _check_ends(image, low, high, binary, unit)
    return image


def _whole(image, binary, gray):
    """Whole numbers as uint8 where the run was trained on such, and as values where it was not."""
    if not (binary or gray):
        return image.astype(np.float32)
    if image.min() < 0 or image.max() > 255:
        known = "0 and 1" if binary else "gray levels, 0 to 255"
        raise InputError(
            f"images are {image.dtype} from {image.min()} to {image.max()}, and the run was trained "
            f"on {known}: bring them to that scale"
        )
    return image.astype(np.uint8)


def _check_ends(image, least, most, binary, unit):
    low, high = float(image.min()), float(image.max())
    margin = 0.25 * (most - least)
    if low >= least - margin and high <= most + margin:
        return
    way = "bring them to that scale"
    if unit and low >= 0 and 100 < high <= 255:
        way = "divide by 255" if binary else "divide by 255, or give uint8"
    elif unit and -1 <= low < -0.9 and high <= 1:
        way = "give (x + 1) / 2"
    raise InputError(
        f"images from {low:g} to {high:g} are on another scale than the run was trained on, "
        f"{least:g} to {most:g}: {way}"
    )


def _check_columns(rows, seen, scaling):
    """A line on rows with a column whose median is beyond what was seen; InputError if far beyond.

    The measure is the column's width. Few rows may be outliers, and have 1/N of it more. A column
    that was constant has the width of the widest, in the units that the model is given.
    """
    least, most = np.float64(seen.least), np.float64(seen.most)
    std = 1.0 if scaling is None else np.broadcast_to(scaling.std, (1, *least.shape))[0]
    width, middle = most - least, np.median(rows, 0)
    width = np.where(width > 0, width, (width / std).max() * std)
    beyond = np.maximum(least - middle, middle - most) / width - 1 / len(rows)
    k = int(np.argmax(beyond))
    if beyond[k] <= NEAR:
        return
    name = seen.columns[k] if seen.columns else k
    line = f"column {name} has the median {middle[k]:g}, and "
    range_of = f"the run was trained on, {least[k]:g} to {most[k]:g}"
    way = (
        "give the columns in the order and on the scale of the data as they are stored"
    )
    if beyond[k] > FAR:
        raise InputError(
            f"{line}is on another scale than {range_of}: {way}, and outliers among usual rows"
        )
    print(
        f"{line}lies beyond what {range_of}: unless these are outliers, {way}",
        file=sys.stderr,
    )


def read_labels(label, count, classes, names):
    """Labels as int32 [N]; names of classes are read as their numbers.

    Args:
      label: an array.
      count: how many there must be, or None.
      classes: how many the model has; None for a model without, of which what is no label is left
        as it is.
      names: of the classes, if they are known.
    Raises:
      InputError: what is no label of the classes.
    """
    odd, ways = f"{label.dtype} {list(label.shape)}", ""
    if label.ndim == 1 and len(label) == (count or len(label)):
        if label.dtype.kind in "UTO" and all(
            isinstance(v, str) for v in label.tolist()
        ):
            numbers = {name: k for k, name in enumerate(names)}
            wrong = [v for v in label.tolist() if v not in numbers]
            if not wrong:
                return np.array([numbers[v] for v in label.tolist()], np.int32)
            odd = f"{wrong[0]!r}" if names else odd
            shown = ", ".join(f"{v} {k}" for k, v in enumerate(names[:SHOWN]))
            more = ", ..." if len(names) > SHOWN else ""
            ways = f"; their names are {shown}{more}" if names else ""
        elif label.dtype.kind in "iubf":
            most = np.inf if classes is None else classes - 1
            fits = (label >= 0) & (label <= most) & (label % 1 == 0)
            if fits.all():
                return label.astype(np.int32)
            odd = f"{label[~fits][0]:g}"
    if classes is None:
        return label
    number = "" if count is None else f"{count} "
    raise InputError(
        f"labels must be {number}whole numbers from 0 to {classes - 1}, [N], not {odd}{ways}"
    )


def read_betas(beta, count):
    """The log betas of so many examples, [count] float32, of one beta or of one for each."""
    try:
        found = np.asarray(beta, np.float64)
    except (TypeError, ValueError):
        found = np.array(np.nan)
    if found.shape not in ((), (count,)):
        raise InputError(
            f"beta must be a number, or one for each of the {count} examples, not of shape "
            f"{list(found.shape)}"
        )
    if not (np.isfinite(found) & (found > 0)).all():
        raise InputError(f"beta must be a number above 0, not {beta!r}")
    return jnp.asarray(np.broadcast_to(np.log(found), count), jnp.float32)
