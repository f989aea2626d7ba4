"""A user's arrays as a Source: checked, with labels as numbers, and divided if they are not yet."""

from typing import NamedTuple

import numpy as np

from aevae import InputError
from aevae.data.sources import images, labels
from aevae.data.sources.source import Source, division, is_binary, slices


class Field(NamedTuple):
    """An array of a split, what messages call it, and whether its meaning was guessed."""

    where: str
    values: np.ndarray
    guessed: bool = False


def assembled(name, parts, notes=(), columns=()):
    """The Source of a user's arrays.

    Args:
      name: of the file, the folder, or what is given.
      parts: {split: {field: Field}}, fields being `image` and perhaps `label` and `factors`; a
        single part is divided into three splits by `source.division`.
      notes: what has been said so far.
      columns: names of the values of vectors, if they have names.
    Raises:
      InputError: arrays of another kind.
    """
    found = {
        s: (fields["image"].where, fields["image"].values)
        for s, fields in parts.items()
    }
    stored, said = images.stored(found, columns)
    splits = {split: {"image": image} for split, image in stored.items()}
    notes, names = [*notes, *said], ()
    for field, read in (("label", labels.label), ("factors", labels.factors)):
        given = {s: fields[field] for s, fields in parts.items() if field in fields}
        try:
            if 0 < len(given) < len(parts) and all(
                each.guessed for each in given.values()
            ):
                raise InputError(
                    f"{', '.join(each.where for each in given.values())} has no counterpart in "
                    f"{', '.join(s for s in parts if s not in given)}"
                )
            codes, classes, said = _read(read, given, splits)
        except InputError as fault:
            if not any(each.guessed for each in given.values()):
                way = "under another name it is left out"
                way = "leave the column out" if columns else way
                raise InputError(f"{fault}; {way}") from None
            codes, classes, said = {}, (), [f"{fault}: it is left out"]
        notes += said
        names = classes or names
        for split, values in codes.items():
            splits[split][field] = values
    _agree(name, splits)
    if len(splits) == 1:
        (fields,) = splits.values()
        splits = divided(name, fields)
    if all(is_binary(fields["image"]) for fields in splits.values()):
        for fields in splits.values():
            fields["image"] = fields["image"].view(bool)
    train = splits["train"]["image"]
    if len(train) > 1 and all(
        (train[rows] == train[0]).all() for rows in slices(train)
    ):
        notes.append(f"{name}: all images of train are the same")
    return Source(
        *(name, "-", splits, _factors(splits)), names, tuple(columns), tuple(notes)
    )


def _read(read, given, splits):
    """Labels or factors of all splits at once, {split: int32}; their names; and notes."""
    if not given:
        return {}, (), []
    for split, (where, values, _) in given.items():
        count = len(splits[split]["image"])
        if not values.ndim or len(values) != count:
            last = values.ndim and len(values) in splits[split]["image"].shape[-2:]
            way = "; if the examples come last in these, save np.moveaxis(x, -1, 0)"
            raise InputError(
                f"{where} must have a value for each of the N = {count} images, not "
                f"{values.dtype} {list(values.shape)}{way if last else ''}"
            )
    wheres = ", ".join(dict.fromkeys(where for where, *_ in given.values()))
    kinds = {
        (v.shape[1:] if v.ndim > 1 else (1,), v.dtype.kind in "USTO")
        for _, v, _ in given.values()
    }
    if len(kinds) > 1:
        raise InputError(
            f"{wheres} are of different kinds: all splits must have the same"
        )
    values = [
        np.asarray(v).reshape(len(v), *v.shape[1:] or (1,))
        for _, v, _ in given.values()
    ]
    codes, names, notes = read(np.concatenate(values), wheres)
    if codes is None:
        return {}, (), notes
    ends = np.cumsum([len(v) for v in values])[:-1]
    return dict(zip(given, np.split(codes, ends))), names, notes


def _agree(name, splits):
    """Raises an InputError unless all splits have the same fields, types and shapes."""
    kinds = {
        split: {k: (v.dtype, v.shape[1:]) for k, v in fields.items()}
        for split, fields in splits.items()
    }
    for split, kind in kinds.items():
        if "train" in kinds and kind != kinds["train"]:
            raise InputError(
                f"{name}: split {split} has {_listed(kind)}, and split train has "
                f"{_listed(kinds['train'])}: all splits must have the same"
            )


def _listed(kind):
    return ", ".join(f"{k} {t} {list(shape)}" for k, (t, shape) in kind.items())


def divided(name, fields, parts=("validation", "test")):
    """The rows of one split as `train` and other parts, a tenth each."""
    order, slices_of = division(name, len(fields["image"]), parts)
    return {
        split: {key: values[order[rows]] for key, values in fields.items()}
        for split, rows in slices_of.items()
    }


def _factors(splits):
    if "factors" not in splits["train"]:
        return {}
    sizes = np.max([f["factors"].max(0) for f in splits.values()], axis=0) + 1
    return {f"factor{i}": int(size) for i, size in enumerate(sizes)}
