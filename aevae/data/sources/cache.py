"""The arrays of a prepared set, decoded once and kept as .npy files whose digest is checked."""

import hashlib
import json
import os
import shutil

import numpy as np

from aevae import InputError
from aevae.data.sources.source import Source, division, is_binary
from aevae.data.sources.stock import rows
from aevae.data.sources.tfds import Prepared
from aevae.system.files import Broken, alone, cache_dir, verify, whole_folder

FORM = 1  # of what is kept: another one is decoded anew


def load(prepared):
    """A Source of a prepared folder, its arrays mapped from the cache.

    The first use decodes it, example by example into files; another process that wants the same
    waits. Files that are not what was written, bit by bit, are decoded anew.
    """
    place, every = _place(prepared)
    found = _open(place)
    if found is None:
        with alone(place.parent / f".{place.name}.lock"):
            found = _open(place)
            if found is None:
                _decode(prepared, place)
                for path in place.parent.glob(every):
                    if path != place and not path.name.startswith("."):
                        shutil.rmtree(path, ignore_errors=True)
                found = _open(place)
    if found is None:
        raise InputError(f"{place} cannot be read again just after it was written")
    return found


def _place(prepared):
    """Where the arrays of a folder are kept, and a pattern for them and those of what it was."""
    try:
        made_of = [
            (path.name, path.stat().st_size, path.stat().st_mtime_ns)
            for path in sorted(prepared.iterdir())
        ]
    except OSError as error:
        raise InputError(f"cannot read {prepared}: {error.strerror}") from None
    name = "-".join(p.name for p in (prepared.parent.parent, prepared.parent, prepared))
    name += f"-{_short(str(prepared.absolute()))}"
    whole = f"{name}-{_short(repr((FORM, made_of)))}"
    return cache_dir() / "arrays" / whole, f"{name}-*"


def _short(text):
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _open(place):
    """What is kept in a place, or None if there is nothing, or it is not what was written."""
    try:
        about = json.loads((place / "about.json").read_text())
        kept = {name for fields in about["files"].values() for name in fields.values()}
        verify(place, [*kept, "about.json"])
        arrays = {name: np.load(place / name, mmap_mode="r") for name in kept}
    except (OSError, ValueError, KeyError, Broken):
        return None
    splits = {}
    for split, (stored, start, stop) in about["splits"].items():
        splits[split] = {
            field: np.asarray(arrays[name])[start:stop]
            for field, name in about["files"][stored].items()
        }
        if about["binary"]:
            splits[split]["image"] = splits[split]["image"].view(bool)
    return Source(about["name"], about["version"], splits, about["factors"])


def _decode(prepared, place):
    """Fills the place from a prepared folder."""
    read = Prepared(prepared)
    how = rows(read.name.partition("/")[0], read.features)
    order, parts = None, {k: (k, 0, size) for k, size in read.sizes.items()}
    if len(read.sizes) == 1:
        ((only, size),) = read.sizes.items()
        order, divided = division(read.name, size)
        parts = {k: (only, part.start, part.stop) for k, part in divided.items()}
    with whole_folder(place) as partial:
        written, binary, most = {}, True, np.zeros(len(how.factors), np.int64)
        for split, size in read.sizes.items():
            written[split] = {field: f"{split}.{field}.npy" for field in how.kinds}
            arrays = {
                field: _empty(partial / written[split][field], kind, (size, *shape))
                for field, (kind, shape) in how.kinds.items()
            }
            to = range(size) if order is None else np.argsort(order)
            for number, example in zip(to, read.examples(split), strict=True):
                for field, value in how.of(example).items():
                    try:
                        arrays[field][number] = value
                    except OverflowError:
                        raise InputError(
                            f"{read.name}, {split}: {field} {value} is not in 32 bits"
                        ) from None
            binary = binary and is_binary(arrays["image"])
            if "factors" in arrays and size:
                most = np.maximum(most, arrays["factors"].max(0) + 1)
            for values in arrays.values():
                values.flush()
        about = {"name": read.name, "version": read.version, "binary": bool(binary)}
        about |= {"files": written, "splits": parts}
        about["factors"] = {
            name: size or int(seen)
            for (name, size), seen in zip(how.factors.items(), most)
        }
        (partial / "about.json").write_text(json.dumps(about, indent=1))


def _empty(path, kind, shape):
    """An array that is a file. Its room is taken at once: a full disk is an OSError here, and
    would be the end of the process when a page of it is written.
    """
    values = np.lib.format.open_memmap(path, "w+", kind, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return values
