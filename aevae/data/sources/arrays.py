"""Named arrays: .npz, .npy and HDF5 files, and arrays in memory."""

import contextlib
import zipfile
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from aevae import InputError
from aevae.data.sources import keys, tables
from aevae.data.sources.assembly import Field, assembled
from aevae.data.sources.source import first_line

NAME = "arrays"  # of what is given, not read from a file


class Pickled(NamedTuple):
    """An array of Python objects in a file, which is not read: unpickling may run any code."""

    shape: tuple[int, ...]
    dtype: np.dtype = np.dtype(object)

    @property
    def ndim(self):
        return len(self.shape)


class Frame(NamedTuple):
    """A DataFrame among arrays: where it is the images, it is read as a table is."""

    values: object
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def ndim(self):
        return len(self.shape)


def load(name, path, chosen=None):
    """The Source of a file of arrays; `chosen` names the images, as in `data.npz:array`.

    What the arrays are is told by their names: `keys.roles`.

    Raises:
      InputError: a file that cannot be read, or arrays of another kind.
    """
    with contextlib.ExitStack() as stack:
        is_hdf5 = path.suffix.lower() in (".h5", ".hdf5")
        arrays = _hdf5(path, stack) if is_hdf5 else _numpy(path)
        return _source(name, arrays, chosen)


def given(arrays):
    """The Source of arrays in memory: an array, a dict of arrays as in an .npz, or a table.

    A dict for each split, {"train": {"image": x}}, is taken as well, and tables as the images.
    """
    if any(hasattr(type(arrays), k) for k in ("columns", "__arrow_c_stream__")):
        return tables.given(NAME, arrays)
    several = isinstance(arrays, (tuple, list)) and len(arrays) in (2, 3)
    if several and any(_is_frame(x) or getattr(x, "ndim", 0) > 1 for x in arrays):
        raise InputError(
            f"{NAME}: {len(arrays)} arrays are given: images and labels are given as "
            "{'image': x, 'label': y}, and splits as {'train': x, 'test': y}"
        )
    named = arrays if isinstance(arrays, Mapping) else {"image": arrays}
    nested = [(k, v) for k, v in named.items() if isinstance(v, Mapping)]
    named = {k: v for k, v in named.items() if not isinstance(v, Mapping)}
    named |= {f"{k}/{field}": x for k, fields in nested for field, x in fields.items()}
    if any(np.ma.is_masked(values) for values in named.values()):
        raise InputError(
            f"{NAME}: an array has masked values, which NumPy would unmask: fill them first"
        )
    try:
        named = {str(name): _array(values) for name, values in named.items()}
    except ValueError:
        raise InputError(
            f"{NAME}: rows of unequal shapes are no array: pad or crop them to one shape; images "
            "and labels are given as {'image': x, 'label': y}"
        ) from None
    return _source(NAME, named, None)


def _is_frame(values):
    return hasattr(type(values), "columns") and hasattr(values, "shape")


def _array(values):
    array = np.asarray(values)
    return Frame(values, array.shape, array.dtype) if _is_frame(values) else array


def _source(name, arrays, chosen):
    roles, notes = keys.roles(name, arrays, chosen)
    parts, frames, columns = {split: {} for split in roles}, {}, ()
    for split, fields in roles.items():
        key = fields["image"]
        if isinstance(arrays[key], Frame):
            where = f"array {key} of {name}"
            frames[split] = where, tables.table(where, arrays[key].values)
    if frames:
        read, columns, said = tables.parts_of(name, frames)
        parts, notes = parts | read, [*notes, *said]
    for split, fields in roles.items():
        for field, key in fields.items():
            values, where = arrays[key], f"array {key} of {name}"
            if isinstance(values, Frame):
                if field == "image":
                    continue
                values = np.asarray(values.values)
            if field in parts[split]:
                raise InputError(
                    f"{where} is the label, and so is {parts[split][field].where}: leave one out"
                )
            if field != "image" and isinstance(values, Pickled):
                notes.append(
                    f"{where} is left out: it holds Python objects, which are never unpickled; "
                    "save numbers, or texts as np.array(values, str), of which None becomes a text, too"
                )
                continue
            guessed = key != keys.proper(split, field)
            parts[split][field] = Field(where, values, guessed)
    return assembled(name, parts, notes, columns)


def _numpy(path):
    """The arrays of an .npz by name; that of an .npy as `image`."""
    try:
        with path.open("rb") as file:  # NumPy would leave a damaged file open
            head = file.read(8)
            file.seek(0)
            if head.startswith(np.lib.format.MAGIC_PREFIX):
                return {"image": _read(lambda: np.load(file), lambda: file)}
            found = np.load(file)
            return {
                name: _read(
                    lambda name=name: found[name],
                    lambda name=name: found.zip.open(f"{name}.npy"),
                )
                for name in found.files
            }
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise InputError(f"cannot read {path}: {reason}") from None
    except Exception as error:  # noqa: BLE001, NumPy raises any kind on a damaged file
        # NumPy takes whatever it does not know, text too, for a pickle.
        is_pickle = "pickle" in str(error)
        reason = "" if is_pickle else f": {first_line(error)}"
        raise InputError(
            f"{path} is not a file of arrays, as NumPy saves them{reason}"
        ) from None


def _read(read, opened):
    """An array as `read` gives it, or Pickled with the shape that its file says."""
    try:
        values = read()
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        file = opened()
        file.seek(0)
        version = np.lib.format.read_magic(file)
        one, two = (
            np.lib.format.read_array_header_1_0,
            np.lib.format.read_array_header_2_0,
        )
        return Pickled((one if version == (1, 0) else two)(file)[0])
    if not isinstance(values, np.ndarray):
        raise zipfile.BadZipFile("it has a member that is no array")
    return values


def _hdf5(path, stack):
    """The data sets of an HDF5 file by name, `group/name`; they are read when they are used."""
    try:
        import h5py
    except ImportError:
        raise InputError(
            f"{path} needs h5py, which is not installed: pip install h5py, or save an .npz"
        ) from None
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            found[name] = item

    try:
        stack.enter_context(h5py.File(path, "r")).visititems(visit)
    except OSError as error:
        raise InputError(f"cannot read {path}: {first_line(error)}") from None
    return found
