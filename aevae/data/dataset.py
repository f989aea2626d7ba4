"""Data sets as arrays: loaded by name or given in memory, divided into splits, indexed by rows."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from aevae import InputError
from aevae.config import canonical
from aevae.data.binarization import binarized
from aevae.data.sources import arrays as user_arrays
from aevae.data.sources import assembly, cache, files, tfds
from aevae.data.sources.source import first_line, printable, slices
from aevae.data.standardization import Scaling, standardized

PARTS = ("train", "validation", "test")
FIELDS = "label", "factors", "attributes"  # that images of a `DataSet` may have


class DataSet(NamedTuple):
    """A data set in memory: the arrays of its three splits, and their provenance.

    A split is a dict of arrays with N rows each: `image`, [N, H, W, C] or for vectors [N, P]; where
    the set has them `label` [N] and ground-truth `factors` [N, F], int32 from 0; and others, such
    as CelebA's `attributes` [N, 40], bool, sorted by name. The type of the images says what they
    are: uint8 is gray levels, of which 255 stands for 1; bool is binary; float32 is values.
    """

    name: str
    version: str
    digest: str  # sha256 of the arrays
    train: dict[str, np.ndarray]
    validation: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    range: tuple[float, float]  # least and greatest stored pixel
    factors: dict[str, int]  # {name: number of values}, in the order of the columns
    origins: dict[
        str, tuple
    ]  # of each split: its rows as (source split, start, stop), ...
    drawn: dict  # what `held_out` has drawn, so that it does so once
    labels: tuple[str, ...] = ()  # the names of classes 0, 1, ..., if they have others
    columns: tuple[
        str, ...
    ] = ()  # the names of the values of vectors, if they have names
    notes: tuple[str, ...] = ()  # what was taken for what, and left out, in a line each
    scaling: Scaling | None = None  # of images that are standardized ...
    stored: Any = None  # ... and the `DataSet` before that
    fixed: bool = False  # whether binary images are a draw, by `fixed`, of gray levels

    @property
    def shape(self):
        """The shape of one image."""
        return self.train["image"].shape[1:]

    @property
    def parts(self):
        """The three splits, {name: arrays}."""
        return {part: getattr(self, part) for part in PARTS}


def of(config, data_dir=None, *, dataset=None, known=None):
    """The data set of a config, as its binarization and its standardization store it.

    Args:
      config: a `Config`, which names the set, its splits, binarization and standardization.
      data_dir: the folder in which data sets are prepared, as for `load`.
      dataset: a name, a `DataSet`, or arrays as `load` takes them, in place of the config's.
      known: a dict that keeps what was loaded, for calls with several configs.
    Raises:
      InputError: a set that cannot be found, read or used.
    """
    known = {} if known is None else known
    splits = config.train, config.validation, config.test
    name = config.dataset, *splits
    if name not in known:
        given = config.dataset if dataset is None else dataset
        found = load(given, *splits, data_dir)
        known[name] = found.stored or found
    how = config.standardize, config.binarization
    stored = *name, str(canonical(how))
    if stored not in known:
        given = standardized(known[name], *how)
        known[stored] = binarized(given, config.binarization)
    return known[stored]


def is_name(dataset):
    """Whether a data set is given by its name, or the path of its file."""
    return isinstance(dataset, (str, Path))


def name_of(dataset):
    """The name of a data set that is given by name, as a `DataSet`, or as arrays."""
    if is_name(dataset):
        return str(dataset)
    return dataset.name if isinstance(dataset, DataSet) else user_arrays.NAME


def check_given(dataset, configs):
    """Raises InputError if configs are swept over data or splits that a given data set ignores."""
    names = () if dataset is None else ("dataset",)
    if isinstance(dataset, DataSet):
        names = "dataset", *PARTS
    for name in names:
        found = list(dict.fromkeys(getattr(config, name) for config in configs))
        if len(found) > 1:
            raise InputError(
                f"the runs differ in {name} ({', '.join(found)}), which the data set that is given "
                "takes the place of: leave one out"
            )


def load(
    name, train="train", validation="validation", test="test", data_dir=None
) -> DataSet:
    """Loads a data set by name, or from arrays, in three splits.

    Args:
      name: an embedded set (`digits`, `sprites`, `sprites/64x64`, `gaussian`, ...), prepared on
        first use; a set that TFDS has prepared in a folder as array_record or TFRECORD (`mnist`,
        `emnist/letters`, your own); the path of a file of arrays, a table or a folder of images;
        `module:Class`, a TFDS builder; an array of images, a dict of arrays as an .npz has them, or
        a DataFrame; or a `DataSet`, which is returned unchanged.
      train, validation, test: splits in TFDS's notation, such as `train[:50000]`.
      data_dir: the folder in which sets are prepared; by default AEVAE_DATA_DIR, or else
        `~/.cache/aevae/tfds` and TFDS's own folder.
    Raises:
      InputError: a set or split that cannot be found, read or used.
    """
    if isinstance(name, DataSet):
        return name
    name = str(name) if is_name(name) else name
    splits = {"train": train, "validation": validation, "test": test}
    try:
        return _loaded(name, splits, data_dir)
    except InputError as fault:
        raise InputError(printable(fault)) from None


def _loaded(name, splits, data_dir):
    source = _source(name, splits, data_dir)
    found = {part: _slice(source, split) for part, split in splits.items()}
    parts = {part: fields for part, (fields, _) in found.items()}
    parts, notes = _without_unlabeled(parts, source)
    return arrays(
        **parts,
        name=name if is_name(name) else source.name,
        version=source.version,
        factors=dict(source.factors),
        origins={part: origin for part, (_, origin) in found.items()},
    )._replace(
        labels=source.labels,
        columns=source.columns,
        notes=tuple(map(printable, notes)),
    )


def _without_unlabeled(parts, source):
    """The splits without labels where some rows have none, as the test splits of contests; notes."""
    odd = [k for k, v in parts.items() if "label" in v and v["label"].min() < 0]
    if not odd:
        return parts, source.notes
    line = (
        f"{source.name}: labels are left out: in {', '.join(odd)} some are below 0, which stands for "
        "rows without one"
    )
    rest = {
        part: {field: values for field, values in fields.items() if field != "label"}
        for part, fields in parts.items()
    }
    return rest, (*source.notes, line)


def _source(name, splits, data_dir):
    """The Source of a data set, by its name or of what is given."""
    if not is_name(name):
        return _completed(user_arrays.given(name), splits)
    if name == user_arrays.NAME:
        raise InputError(
            "the data set 'arrays' was given in memory: give it again, as dataset=..."
        )
    if not files.is_file(name) and (folder := tfds.find(name, data_dir)):
        return cache.load(folder)
    return _completed(files.load(name), splits)


def _completed(source, splits):
    """A user's source with a tenth of `train` as each split that is named and that it has not."""
    missing = [
        part for part in PARTS[1:] if splits[part] == part and part not in source.splits
    ]
    if not missing or splits["train"] != "train":
        return source
    fields = assembly.divided(source.name, source.splits["train"], missing)
    counts = ", ".join(f"{len(fields[part]['image'])} for {part}" for part in missing)
    note = (
        f"{source.name} has no split {' or '.join(missing)}: rows of train are taken, drawn with "
        f"seed 0, {counts}; splits such as 'train[:90%]' and 'train[90%:]' may be named instead"
    )
    return source._replace(splits=source.splits | fields, notes=(*source.notes, note))


def _slice(source, split):
    """The rows of a split in TFDS's notation, `train`, `train[:80%]`, `train+test`; their origin."""
    if split in source.splits and len(source.splits[split]["image"]):
        return source.splits[split], _whole(split, source.splits[split])
    from tensorflow_datasets import core

    sizes = {name: len(fields["image"]) for name, fields in source.splits.items()}
    infos = {
        name: core.SplitInfo(
            name=name, shard_lengths=[size], num_bytes=0, filename_template=None
        )
        for name, size in sizes.items()
    }
    known = ", ".join(f"{name} ({size})" for name, size in sizes.items())
    try:
        instruction = core.ReadInstruction.from_spec(split)
        pieces = instruction.to_absolute(core.SplitDict(infos.values()))
        origin = tuple(
            (p.splitname, *slice(p.from_, p.to).indices(sizes[p.splitname])[:2])
            for p in pieces
        )
        found = [
            {k: v[start:stop] for k, v in source.splits[name].items()}
            for name, start, stop in origin
        ]
    except Exception as error:  # noqa: BLE001, TFDS raises any kind of error
        raise InputError(
            f"cannot read split {split!r} of {source.name} ({first_line(error)}); "
            f"its splits are {known}"
        ) from None
    if not sum(len(part["image"]) for part in found):
        raise InputError(
            f"split {split!r} of {source.name} is empty; its splits are {known}"
        )
    if len(found) == 1:
        return found[0], origin
    whole = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    return whole, origin


def _whole(name, split):
    """The origin of a split that is a source of its own."""
    return ((name, 0, len(split["image"])),)


def arrays(
    train, validation, test, name="arrays", version="0", factors=None, origins=None
):
    """A data set of the caller's own arrays, one dict for each split, as `DataSet` describes them.

    Where `origins` does not say which rows of which source they are, each is a source of its own.

    Raises:
      InputError: images of another type or shape, without rows, with NaN or infinities, or with a
        single value; splits that differ in fields, or in their types or shapes; labels that are no
        whole numbers from 0, [N].
    """
    digest, ranges = hashlib.sha256(), []
    parts = {"train": train, "validation": validation, "test": test}
    for part, split in parts.items():
        _check_fields(split, f"{name}, {part}")
        ranges.append(_range(split["image"], f"{name}, {part}"))
    _check_alike(parts, name)
    for part, split in parts.items():
        for field in sorted(split):
            values = split[field]
            digest.update(f"{part} {field} {values.dtype} {values.shape}".encode())
            for block in slices(values):
                digest.update(np.ascontiguousarray(values[block]).data)
    low, high = zip(*ranges)
    return DataSet(
        name,
        version,
        digest.hexdigest(),
        **parts,
        range=(min(low), max(high)),
        factors=factors or {},
        origins=origins or {part: _whole(part, split) for part, split in parts.items()},
        drawn={},
    )


def _check_fields(split, where):
    """An InputError unless all fields are arrays of a row for each image."""
    if "image" not in split:
        raise InputError(f"{where}: there is no field `image`")
    for field, values in split.items():
        if not (hasattr(values, "dtype") and values.ndim):
            raise InputError(f"{where}: {field} must be an array, a row for each image")
        if len(values) != len(split["image"]):
            raise InputError(
                f"{where}: {field} has {len(values)} rows, and image {len(split['image'])}"
            )
        if field == "label":
            _check_label(values, where)


def _check_alike(parts, name):
    """An InputError unless all splits have the same fields, of the same types and shapes."""

    def kind(part, field):
        values = parts[part].get(field)
        if values is None:
            return None
        return f"{values.dtype} [{', '.join(map(str, ('N', *values.shape[1:])))}]"

    fields = dict.fromkeys(field for split in parts.values() for field in split)
    for field in fields:
        kinds = {part: kind(part, field) for part in parts}
        if len({*kinds.values()}) > 1:
            told = ", ".join(f"{part} has {of or 'none'}" for part, of in kinds.items())
            raise InputError(
                f"{name}: splits must have the same fields, of one type and shape, and of {field} "
                f"{told}"
            )


def _check_label(label, where):
    """An InputError unless labels are whole numbers from 0, [N]."""
    found = f"{label.dtype} {list(label.shape)}"
    if label.dtype.kind in "iu" and label.ndim == 1:
        if not len(label) or label.min() >= 0:
            return
        found = f"{label.min()}"
    raise InputError(
        f"{where}: label must be whole numbers from 0, [N], not {found}; data.load takes texts and "
        "one-hot rows"
    )


def _range(image, where):
    """The least and the greatest pixel; InputError for images that cannot be trained on."""
    usable = image.dtype in (np.uint8, np.bool_, np.float32)
    if not usable or image.ndim < 2 or not image.size:
        raise InputError(
            f"{where}: images must be uint8, bool or float32 with at least one row, "
            f"not {image.dtype} of shape {list(image.shape)}"
        )
    low, high = float(image.min()), float(image.max())
    if not np.isfinite([low, high]).all():
        count = sum(int((~np.isfinite(image[b])).sum()) for b in slices(image))
        raise InputError(
            f"{where}: {count} pixels are NaN or infinite; remove or replace them"
        )
    if low == high:
        raise InputError(
            f"{where}: every pixel is {low:g}, so that there is nothing to learn"
        )
    return low, high


def rows(stored, index, size=None):
    """A batch of the rows `index` of a split, with the number of its examples as `size`.

    Another `size` may be given, where `stored` is a part of the split.
    """
    batch = {
        name: values.reshape(len(values), -1)[index].reshape(-1, *values.shape[1:])
        for name, values in stored.items()
    }
    return batch | {"size": jnp.float32(len(stored["image"]) if size is None else size)}
