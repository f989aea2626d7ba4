"""A user's own arrays: .npz and .npy files, and arrays in memory."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from aevae import InputError
from aevae.data.sources.source import Source, as_stored, division, first_line, is_binary

SPLITS = ("train", "validation", "test")
NAME = "arrays"  # of what is given, not read from a file
ANNOTATIONS = ("label", "factors")  # int [N], and int [N, F]


def is_file(name):
    """Whether `name` is a file of arrays: `data.npy`, `data.npz`, `data.npz:array`."""
    return _parts(name)[0].endswith((".npz", ".npy"))


def _parts(name):
    """The two parts of `data.npz:array`: the file, and the name of an array or None."""
    path, colon, array = name.rpartition(":")
    return (path, array) if colon and path.endswith(".npz") else (name, None)


def load(name):
    """The Source of a file of arrays, which is read into memory.

    An .npz has either an array for each split, `train` and perhaps `validation` and `test`, with
    `train_label`, `train_factors` and so on; or a single array of images with `label` [N] and
    `factors` [N, F]: the one named in `data.npz:array`, or called `image`, or the only one that can
    be images. Images are [N, H, W, C] or [N, H, W], or vectors [N, P]. A single array is divided by
    `source.division`.

    Raises:
      InputError: a file that cannot be read, or arrays of another kind.
    """
    path, chosen = _parts(name)
    return _source(name, _read(Path(path).expanduser()), chosen)


def given(arrays):
    """The Source of arrays in memory: an array of images, or a dict of arrays as in an .npz."""
    named = arrays if isinstance(arrays, Mapping) else {"image": arrays}
    try:
        named = {str(name): np.asarray(values) for name, values in named.items()}
    except ValueError:
        raise InputError(
            f"{NAME}: rows of unequal shapes are no array: pad or crop them to one shape"
        ) from None
    return _source(NAME, named, None)


def _source(name, arrays, chosen):
    if not isinstance(arrays, dict):
        arrays = {"image": arrays}
    if chosen is None and "train" in arrays:
        splits = {
            split: _split(name, arrays, split, f"{split}_")
            for split in SPLITS
            if split in arrays
        }
        _agree(name, splits)
        if len(splits) == 1:
            splits = _divided(name, splits["train"])
    else:
        splits = _divided(name, _split(name, arrays, chosen or _only(name, arrays), ""))
    if all(is_binary(fields["image"]) for fields in splits.values()):
        for fields in splits.values():
            fields["image"] = fields["image"].view(bool)
    return Source(name, "-", splits, _factors(splits))


def _read(path):
    try:
        with path.open("rb") as file:  # NumPy would leave a damaged file open
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return found
            return {name: found[name] for name in found.files}
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise InputError(f"cannot read {path}: {reason}") from None
    except Exception as error:  # noqa: BLE001, NumPy raises any kind on a damaged file
        # NumPy takes whatever it does not know, text too, for a pickle.
        is_pickle = "pickle" in str(error)
        reason = ", without objects" if is_pickle else f": {first_line(error)}"
        raise InputError(
            f"{path} is not a file of arrays, as NumPy saves them{reason}"
        ) from None


def _only(name, arrays):
    """The name of the array of images."""
    usable = [k for k, v in arrays.items() if v.ndim >= 2 and k not in ANNOTATIONS]
    usable = ["image"] if "image" in arrays else usable
    if len(usable) == 1:
        return usable[0]
    found = ", ".join(f"{k} {v.dtype} {list(v.shape)}" for k, v in arrays.items())
    if not usable:
        raise InputError(
            f"{name} has no array of images, [N, H, W, C] or [N, P]; it has {found or 'none'}"
        )
    raise InputError(
        f"{name} has several arrays, {found}: name one as in {name}:{usable[0]}, or call it image"
    )


def _split(name, arrays, key, prefix):
    """The fields of a split: the images `key`, and the annotations under a prefix."""
    if key not in arrays:
        raise InputError(f"{name} has no array {key!r}; it has {', '.join(arrays)}")
    where = f"{name}, array {key},"
    image = as_stored(arrays[key], where)
    if image.ndim not in (2, 3, 4) or not len(image):
        raise InputError(
            f"{where} has shape {list(image.shape)}: images are [N, H, W, C], [N, H, W] or [N, P]"
        )
    if image.ndim == 3:
        image = image[..., None]
    if image.ndim == 4 and image.shape[-1] > 4 >= image.shape[1]:
        raise InputError(
            f"{where} has shape {list(image.shape)}: the channels come last, [N, H, W, C]"
        )
    fields = {"image": image}
    for kind, rank in zip(ANNOTATIONS, (1, 2)):
        values = arrays.get(prefix + kind)
        if values is None:
            continue
        usable = values.dtype.kind in "iu" and values.ndim == rank
        usable = usable and 0 <= values.min(initial=0) <= values.max(initial=0) < 2**31
        if not usable or len(values) != len(image):
            raise InputError(
                f"{name}, array {prefix + kind}, must be whole numbers from 0 to 2^31, "
                f"{'[N]' if rank == 1 else '[N, F]'} with N = {len(image)}, not "
                f"{values.dtype} {list(values.shape)}"
            )
        fields[kind] = values.astype(np.int32)
    return fields


def _agree(name, splits):
    """Raises an InputError unless all splits have the same fields, types and shapes."""
    kinds = {
        split: {k: (v.dtype, v.shape[1:]) for k, v in fields.items()}
        for split, fields in splits.items()
    }
    for split, kind in kinds.items():
        if kind != kinds["train"]:
            raise InputError(
                f"{name}: split {split} has {_listed(kind)}, and split train has "
                f"{_listed(kinds['train'])}: all splits must have the same"
            )


def _listed(kind):
    return ", ".join(f"{k} {t} {list(shape)}" for k, (t, shape) in kind.items())


def _divided(name, fields):
    order, parts = division(name, len(fields["image"]))
    return {
        split: {key: values[order[rows]] for key, values in fields.items()}
        for split, rows in parts.items()
    }


def _factors(splits):
    if "factors" not in splits["train"]:
        return {}
    sizes = np.max([f["factors"].max(0) for f in splits.values()], axis=0) + 1
    return {f"factor{i}": int(size) for i, size in enumerate(sizes)}
