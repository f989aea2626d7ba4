"""The arrays of a prepared data set, decoded once and kept as .npy files with checksums."""

import hashlib
import json
import os
import shutil

import numpy as np

from aevae import InputError
from aevae.data.sources.source import Source, division, is_binary
from aevae.data.sources.stock import rows
from aevae.data.sources.tfds import Prepared
from aevae.system.cache import cache_dir
from aevae.system.files import Broken, verify, whole_folder
from aevae.system.locks import alone

FORMAT = 1  # version of the files kept here: others are not read, but decoded again


def load(prepared):
    """The Source of a prepared folder, its arrays memory-mapped from the cache.

    The first use decodes the folder, example by example, into files; other processes that need the
    same wait. Files whose checksums differ are decoded again.
    """
    place, versions = _place(prepared)
    found = _open(place)
    if found is None:
        with alone(place.parent / f".{place.name}.lock"):
            found = _open(place)
            if found is None:
                _decode(prepared, place)
                for path in place.parent.glob(versions):
                    if path != place and not path.name.startswith("."):
                        shutil.rmtree(path, ignore_errors=True)
                found = _open(place)
    if found is None:
        raise InputError(
            f"{place} cannot be read, though it was just written: check the disk"
        )
    return found


def _place(prepared):
    """The folder of the arrays of a prepared folder, and a pattern of all its versions."""
    try:
        content = [
            (path.name, path.stat().st_size, path.stat().st_mtime_ns)
            for path in sorted(prepared.iterdir())
        ]
    except OSError as error:
        raise InputError(f"cannot read {prepared}: {error.strerror}") from None
    name = "-".join(p.name for p in (prepared.parent.parent, prepared.parent, prepared))
    name += f"-{_short_digest(str(prepared.absolute()))}"
    version = _short_digest(repr((FORMAT, content)))
    return cache_dir() / "arrays" / f"{name}-{version}", f"{name}-*"


def _short_digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _open(place):
    """The Source kept in a folder; None if there is none, or it is damaged."""
    try:
        about = json.loads((place / "about.json").read_text("utf-8"))
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
    """Decodes a prepared folder into the files of the cache."""
    read = Prepared(prepared)
    how = rows(read.name.partition("/")[0], read.features)
    order, parts = None, {k: (k, 0, size) for k, size in read.sizes.items()}
    if len(read.sizes) == 1:
        ((only, size),) = read.sizes.items()
        order, divided = division(read.name, size)
        parts = {k: (only, part.start, part.stop) for k, part in divided.items()}
    with whole_folder(place) as partial:
        written, binary, counts = {}, True, np.zeros(len(how.factors), np.int64)
        for split, size in read.sizes.items():
            written[split] = {field: f"{split}.{field}.npy" for field in how.kinds}
            arrays = {
                field: _empty(partial / written[split][field], kind, (size, *shape))
                for field, (kind, shape) in how.kinds.items()
            }
            places = range(size) if order is None else np.argsort(order)
            for index, example in zip(places, read.examples(split), strict=True):
                for field, value in how.of(example).items():
                    try:
                        arrays[field][index] = value
                    except OverflowError:
                        raise InputError(
                            f"{read.name}, {split}: {field} {value} does not fit in 32 bits"
                        ) from None
            binary = binary and is_binary(arrays["image"])
            if "factors" in arrays and size:
                counts = np.maximum(counts, arrays["factors"].max(0) + 1)
            for values in arrays.values():
                values.flush()
        about = {"name": read.name, "version": read.version, "binary": bool(binary)}
        about |= {"files": written, "splits": parts}
        about["factors"] = {
            name: size or int(count)
            for (name, size), count in zip(how.factors.items(), counts)
        }
        (partial / "about.json").write_text(json.dumps(about, indent=1))


def _empty(path, kind, shape):
    """A new .npy file as a memory-mapped array, with all of its space allocated.

    On a full disk this raises an OSError; writing to unallocated space would kill the process.
    """
    values = np.lib.format.open_memmap(path, "w+", kind, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return values
