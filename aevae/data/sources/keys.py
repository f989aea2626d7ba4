"""Which of a file's named arrays are images, labels and factors, and of which split."""

import re

from aevae import InputError

SPLITS = {  # and what else they are called
    "train": ("training",),
    "validation": ("valid", "val", "dev"),
    "test": ("testing",),
}
FIELDS = {
    "image": ("images", "imgs", "img", "x", "data"),
    "label": ("labels", "y", "target", "targets"),
    "factors": ("latents_classes",),  # of dSprites
}


def _either(words):
    return "|".join(word for name, others in words.items() for word in (name, *others))


_FIRST = re.compile(rf"({_either(SPLITS)})(?:[-_./ ]?({_either(FIELDS)}))?")
_LAST = re.compile(rf"({_either(FIELDS)})(?:[-_./ ]?({_either(SPLITS)}))?")


def split_of(word):
    """The split that is called so, `val` or `Training`; None if none is."""
    word = word.lower()
    return next((k for k, more in SPLITS.items() if word in (k, *more)), None)


def _field_of(word):
    return next(k for k, more in FIELDS.items() if word in (k, *more))


def meaning(key):
    """The split (or None) and the field of an array that is called so, `x_train`; else None."""
    if match := _FIRST.fullmatch(key.lower()):
        return split_of(match[1]), _field_of(match[2] or "image")
    if match := _LAST.fullmatch(key.lower()):
        return match[2] and split_of(match[2]), _field_of(match[1])
    return None


def proper(split, field):
    """The name that the guide gives to an array: `train`, `train_label`, `image`, `label`."""
    if split is None:
        return field
    return split if field == "image" else f"{split}_{field}"


def roles(name, arrays, chosen=None):
    """What a file's arrays are, by their names, and notes on what was read or left out.

    The names are those of `proper`, or other tools' (SPLITS, FIELDS). If one array alone can be
    images, its name does not matter.

    Args:
      name: of the file, in messages.
      arrays: {name: array}, of which only types and shapes are looked at.
      chosen: the name of the images, if it is given.
    Returns:
      {split or None: {field: name of an array}}, and notes.
    Raises:
      InputError: no images, or several arrays that may be the images.
    """
    notes, parts = [], {}
    if chosen is not None:
        if chosen not in arrays:
            raise InputError(
                f"{name} has no array {chosen!r}; it has {', '.join(arrays) or 'none'}"
            )
        split = (meaning(chosen) or (None, None))[0]
        parts[None] = {"image": chosen} | _annotations(name, arrays, split, notes)
    elif "train" in arrays or (
        "image" not in arrays and _images(name, arrays, "train")
    ):
        for split in SPLITS:
            if image := _images(name, arrays, split):
                more = _annotations(name, arrays, split, notes)
                parts[split] = {"image": image} | more
    else:
        image = _images(name, arrays, None) or _only(name, arrays)
        split = (meaning(image) or (None, None))[0]
        parts[None] = {"image": image} | _annotations(name, arrays, split, notes)
    return parts, [*_said(name, arrays, parts, chosen), *notes]


def _named(arrays, split, field):
    """The arrays that may be a field of a split: the one that has the proper name, or others'."""
    if proper(split, field) in arrays:
        return [proper(split, field)]
    return [key for key in arrays if meaning(key) == (split, field)]


def _images(name, arrays, split):
    found = _named(arrays, split, "image")
    if found != [proper(split, "image")]:
        found = [key for key in found if arrays[key].ndim >= 2]
    if len(found) > 1:
        _several(name, arrays, found, split)
    return found[0] if found else None


def _only(name, arrays):
    """The one array that can be images, whatever its name."""
    spare = {k for k in arrays if (meaning(k) or (None, "image"))[1] != "image"}
    usable = [
        key
        for key, values in arrays.items()
        if key not in spare and values.ndim >= 2 and values.dtype.kind in "biuf"
    ]
    if len(usable) > 1:
        _several(name, arrays, usable, None)
    if not usable and len(arrays) == 1 and not spare:
        usable = [*arrays]  # whose fault is named
    if not usable:
        raise InputError(
            f"{name} has no array of images, [N, H, W, C] or [N, P]; it has "
            f"{described(arrays)}"
        )
    return usable[0]


def _several(name, arrays, usable, split):
    found = described({key: arrays[key] for key in usable})
    of = f" of {split}" if split else ""
    other = "" if split else f", or name one as in {name}:{usable[0]}"
    raise InputError(
        f"{name} has several arrays that may be the images{of}, {found}: call one "
        f"{proper(split, 'image')}{other}"
    )


def _annotations(name, arrays, split, notes):
    found = {}
    for field in ("label", "factors"):
        names = _named(arrays, split, field)
        if len(names) == 1:
            found[field] = names[0]
        elif names:
            notes.append(
                f"{name}: {' and '.join(names)} may each be the {field}, and none is: call one "
                f"{proper(split, field)}"
            )
    return found


def _said(name, arrays, parts, chosen):
    """Notes: what is read under another name than the guide's, and what is not read."""
    used, said = set(), []
    for split, fields in parts.items():
        for field, key in fields.items():
            used.add(key)
            plain = key in (proper(split, field), chosen) or len(arrays) == 1
            said += [] if plain else [f"{key} as {proper(split, field)}"]
    notes = [f"{name}: read {', '.join(said)}"] if said else []
    rest = {key: values for key, values in arrays.items() if key not in used}
    if rest:
        notes.append(f"{name}: not read: {described(rest)}")
    return notes


def described(arrays):
    """Arrays by name, type and shape, or `none`."""
    found = [f"{k or repr(k)} {v.dtype} {list(v.shape)}" for k, v in arrays.items()]
    return ", ".join(found) or "none"
