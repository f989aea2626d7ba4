"""Labels and factors in their usual forms, as whole numbers from 0."""

import math

import numpy as np

from aevae import InputError

SHOWN, LETTERS = 5, 40  # names, at most, that a note lists, and of how many letters


def label(values, where):
    """Labels as int32 [N], the names of classes that had others, and notes.

    Whole numbers from 0, bool, and floats that are whole stay as they are, [N] or [N, 1]. One-hot
    rows [N, K] become 0 to K - 1. Texts are numbered in their order, and are the names. Where some
    rows have no label (-1, NaN, None, an empty text), there are no labels, but a note.

    Returns:
      labels [N] or None, a tuple of names, and a list of notes.
    Raises:
      InputError: anything else.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    notes = []
    if values.ndim == 2 and values.dtype.kind in "biuf":
        hot = values == 1
        if not (hot | (values == 0)).all() or not (hot.sum(1) == 1).all():
            raise InputError(
                f"{where} is {values.dtype} {list(values.shape)}, and not one-hot in each row: "
                "labels are [N]; several marks a row are `factors`"
            )
        notes.append(
            f"{where} is one-hot, and is read as classes 0 to {values.shape[1] - 1}"
        )
        values = hot.argmax(1)
    if values.ndim != 1:
        raise InputError(
            f"{where} must be whole numbers from 0 to 2^31 or texts, [N], or one-hot, [N, K], not "
            f"{values.dtype} {list(values.shape)}"
        )
    codes, names, said = _codes(values, where)
    notes += said
    if codes is not None and len(codes) > 1 and (codes == codes[0]).all():
        only = names[0] if names else codes[0]
        notes.append(f"{where}: every row is {only}, one class alone")
    return codes, names, notes


def factors(values, where):
    """Ground-truth factors as int32 [N, F], and notes: bool, whole numbers or texts, as `label`.

    [N] is one factor.

    Returns:
      factors [N, F] or None, no names, and a list of notes.
    Raises:
      InputError: anything else.
    """
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2:
        raise InputError(
            f"{where} must be whole numbers from 0 to 2^31 or texts, [N, F], not {values.dtype} "
            f"{list(values.shape)}"
        )
    if values.dtype.kind in "biuf":
        codes, _, notes = _codes(values.reshape(-1), where)
        codes = None if codes is None else codes.reshape(values.shape)
    else:
        read = [_codes(v, f"column {k} of {where}") for k, v in enumerate(values.T)]
        notes = [note for *_, said in read for note in said]
        missing = any(column is None for column, *_ in read)
        codes = None if missing else np.stack([column for column, *_ in read], 1)
    if codes is not None and len(codes) > 1:
        constant = np.flatnonzero((codes == codes[0]).all(0))
        if len(constant):
            places = ", ".join(map(str, constant))
            notes.append(f"{where}: column {places} has one value alone")
    return codes, (), notes


def _codes(values, where):
    """Of one column of classes: int32 [N] or None, the classes' names, and notes."""
    values = _plain(values, where)
    if values is None:
        return None, (), [_left_out(where, "some rows have none (None or NaN)")]
    kind = values.dtype.kind
    if kind in "US":
        return _texts(values, where)
    if kind not in "biuf":
        raise InputError(
            f"{where} must be whole numbers from 0 to 2^31 or texts, not {values.dtype}"
        )
    if kind == "f":
        missing = np.isnan(values).sum()
        if missing:
            reason = f"{missing} of {len(values)} rows are NaN"
            return None, (), [_left_out(where, reason)]
        odd = values != np.floor(values)
        if odd.any():
            raise InputError(
                f"{where} must be whole numbers from 0 to 2^31 or texts, and has "
                f"{values[odd][0]:.7g}"
            )
    low, high = values.min(initial=0), values.max(initial=0)
    if high.item() >= 2**31:
        raise InputError(
            f"{where} must be whole numbers from 0 to 2^31, and has {high}"
        )
    if low < 0:
        reason = (
            f"{(values < 0).sum()} of {values.size} values are below 0, such as {low:g}"
        )
        return None, (), [_left_out(where, reason)]
    return values.astype(np.int32), (), []


def _left_out(where, reason):
    return (
        f"{where} is left out: {reason}. Rows without a class are not supported: leave them out "
        "of the file, or, where that is a class of its own, save np.unique(values, "
        "return_inverse=True)[1]"
    )


def _plain(values, where):
    """Python objects and NumPy's new strings as an array of one plain type; None if some miss."""
    if values.dtype.kind not in "OT":
        return values
    listed = [v.item() if isinstance(v, np.generic) else v for v in values.tolist()]
    if any(v is None or (isinstance(v, float) and math.isnan(v)) for v in listed):
        return None
    kinds = {type(v) for v in listed}
    if any(kinds <= of for of in ({str}, {bytes}, {bool, int, float})):
        return np.array(listed)
    found = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise InputError(
        f"{where} must be whole numbers from 0 to 2^31 or texts, not objects of type {found}"
    )


def _texts(values, where):
    if values.dtype.kind == "S":
        try:
            values = np.char.decode(values, "utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{where} has texts that are not UTF-8") from None
    if (empty := int((values == "").sum())) and len(values):
        reason = f"{empty} of {len(values)} rows are empty texts"
        return None, (), [_left_out(where, reason)]
    names, codes = np.unique(values, return_inverse=True)
    if all(name.isdecimal() for name in names.tolist()):
        order = sorted(range(len(names)), key=lambda k: (int(names[k]), names[k]))
        names, codes = names[order], np.argsort(order)[codes]
    names = tuple(names.tolist())
    shown = ", ".join(name[:LETTERS] for name in names[:SHOWN]) + (
        ", ..." if len(names) > SHOWN else ""
    )
    note = f"{where}: {shown} are classes 0 to {len(names) - 1}"
    if len(names) == 1:
        note = f"{where}: {shown} is class 0"
    return codes.astype(np.int32), names, [note]
