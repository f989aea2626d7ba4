"""Folders that TFDS has prepared: found, made, and read without TensorFlow."""

import contextlib
import difflib
import errno
import importlib
import importlib.util
import io
import os
import re
import shutil
import struct
from pathlib import Path

from absl import logging

from aevae import InputError, WriteError
from aevae.data.sources import embedded
from aevae.data.sources.source import first_line
from aevae.data.sources.stock import STOCK
from aevae.system.files import alone, cache_dir

_VERSION = re.compile(r"\d+\.\d+\.\d+")
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def find(name, data_dir=None):
    """The folder in which TFDS has prepared a set.

    `name` is a set's, or set/config; or `module:Class`, a TFDS builder. The embedded sets, builders
    by class and those that somebody has registered are prepared on first use.
    """
    own = embedded.EMBEDDED.get(name.partition("/")[0])
    if own:
        set_name, _, config = name.partition("/")
        if config not in ("", *own.configs):
            _check_config(builder_class(name), name)
        place = place_of(name)
        config = config or (own.configs or ("",))[0]
        folder = place / set_name / config / own.version
        if not (folder / "dataset_info.json").is_file():
            prepare(builder(name, place))
        return folder
    places = _places(data_dir)
    if ":" not in name:
        for place in places:
            try:
                if folder := _newest(name, place):
                    return folder
            except OSError as error:
                raise InputError(
                    f"cannot read {error.filename}: {error.strerror}"
                ) from None
    cls = builder_class(name)
    if cls is None:
        raise InputError(_missing(name, places))
    if is_stock(cls):
        _check_config(cls, name)
        where = " or ".join(map(str, places))
        proper = "/".join([cls.name, *name.split("/")[1:]])
        given = f" --data_dir={data_dir}" if data_dir else ""
        raise InputError(
            f"{proper} is not prepared in {where}: `python -m experiments.prepare "
            f"--dataset={proper}{given}` prepares it, where TensorFlow is installed, or copy the "
            f"folder {cls.name} from a machine that has it; --data_dir or AEVAE_DATA_DIR names "
            "another place"
        )
    made = builder(name, places[0])
    prepare(made)
    return Path(made.data_dir)


def _check_config(cls, name):
    """Whether a name says which config of a builder it is; only the embedded have a default."""
    config = name.partition("/")[2]
    known = [c.name for c in cls.BUILDER_CONFIGS]
    if config not in known and (
        config or (known and cls.name not in embedded.EMBEDDED)
    ):
        listed = ", ".join(f"{cls.name}/{c}" for c in known) or "none"
        fault = f"no config {config!r}" if config else "several configs: name one"
        raise InputError(f"{cls.name} has {fault}; it has {listed}")


def place_of(name, data_dir=None):
    """Where a set is made; an embedded one never among somebody's stock sets."""
    own = name.partition("/")[0] in embedded.EMBEDDED
    return cache_dir() / "tfds" if own else _places(data_dir)[0]


def _places(data_dir):
    """Where prepared sets are looked for; the first is where they are made."""
    chosen = data_dir or os.environ.get("AEVAE_DATA_DIR")
    if chosen:
        return [Path(chosen).expanduser()]
    tfds = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return [cache_dir() / "tfds", Path(tfds).expanduser()]


def _newest(name, place):
    """The newest version of a set in a place; None where there is none."""
    root = place / name
    if not root.is_dir():
        return None
    configs = [path for path in root.iterdir() if path.is_dir() and _versions(path)]
    if configs:
        found = ", ".join(sorted(f"{name}/{path.name}" for path in configs))
        raise InputError(f"{place} has configs of {name}: name one, {found}")
    return max(_versions(root), key=_numbers, default=None)


def _numbers(path):
    return [*map(int, path.name.split("."))]


def _versions(root):
    return [path for path in root.iterdir() if _VERSION.fullmatch(path.name)]


def builder_class(name):
    """The TFDS builder of that name, or None."""
    import tensorflow_datasets as tfds

    if name.partition("/")[0] in embedded.EMBEDDED:
        return embedded.builder_class(name.partition("/")[0])
    module, colon, rest = name.partition(":")
    if colon:
        try:
            cls = getattr(importlib.import_module(module), rest.partition("/")[0])
        except Exception as error:  # noqa: BLE001, whatever the module does
            raise InputError(
                f"cannot import builder {name}: {first_line(error)}"
            ) from None
        if not (isinstance(cls, type) and issubclass(cls, tfds.core.DatasetBuilder)):
            raise InputError(f"{name} is not a TFDS builder")
        return cls
    try:
        return tfds.builder_cls(name.partition("/")[0])
    except (tfds.core.DatasetNotFoundError, ValueError):
        return None


def _missing(name, places):
    import tensorflow_datasets as tfds

    known = [*embedded.EMBEDDED, *STOCK]
    near = difflib.get_close_matches(name, known, cutoff=0.6)
    near = near or [k for k in known if name and k.startswith(name)]
    near = near or difflib.get_close_matches(
        name, tfds.list_builders(with_community_datasets=False), cutoff=0.6
    )
    meant = (
        f"did you mean {' or '.join(near)}? It may be"
        if near
        else f"it may be {', '.join(known)},"
    )
    return (
        f"unknown data set {name!r}: {meant} any set prepared in "
        f"{' or '.join(map(str, places))}, an .npz or .npy file, or module:Builder"
    )


def builder(name, place):
    """The builder of a set that is to be prepared in `place`, as array_record."""
    cls = builder_class(name)
    if cls is None:
        raise InputError(_missing(name, [place]))
    _check_config(cls, name)
    config = name.partition("/")[2] or None
    with _quiet(), _place_faults(cls.name, place):
        there = cls(config=config, data_dir=place)
        if is_done(there):
            return there  # in whatever format
        return cls(config=config, data_dir=place, file_format="array_record")


def prepare(builder, manual_dir=None, quiet=True):
    """Prepares a set, once: another process that does the same waits. Tells whether it had to be.

    What a process that was killed has left is removed. `manual_dir` has the original files under
    their own names, in place of a download; TFDS compares their checksums with its own.
    """
    import tensorflow_datasets as tfds

    folder = Path(builder.data_dir)
    if is_done(builder):
        return False
    check_possible(builder)
    with _quiet() if quiet else contextlib.nullcontext():
        lock = folder.with_name(f".{folder.name}.lock")
        with _place_faults(builder.name, folder), alone(lock):
            if is_done(builder):
                return False
            for left in folder.parent.glob(f"incomplete.*_{folder.name}*"):
                shutil.rmtree(left, ignore_errors=True)
            config = tfds.download.DownloadConfig(
                manual_dir=manual_dir, try_download_gcs=False
            )
            builder.download_and_prepare(download_config=config)
            return True


@contextlib.contextmanager
def _place_faults(name, place):
    try:
        yield
    except (InputError, WriteError):
        raise
    except ModuleNotFoundError as error:
        raise InputError(_lacking(name, error.name or first_line(error))) from None
    except Exception as error:  # noqa: BLE001, TFDS raises whatever a fault leads to
        reason = getattr(error, "strerror", None) or first_line(error)
        kind = WriteError if getattr(error, "errno", None) in _DISK else InputError
        raise kind(f"cannot prepare {name} in {place}: {reason}") from None


def check_possible(builder):
    """TFDS's own builders need TensorFlow, unless they are done."""
    stock = is_stock(type(builder)) and not is_done(builder)
    if stock and not importlib.util.find_spec("tensorflow"):
        raise InputError(_lacking(builder.name, "tensorflow"))


def is_done(builder):
    """Whether its folder is there; TFDS renames it into place when it is whole."""
    return (Path(builder.data_dir) / "dataset_info.json").is_file()


def is_stock(cls):
    """Whether a builder is one of TFDS's own."""
    return cls.__module__.startswith("tensorflow_datasets.")


def _lacking(name, module):
    return (
        f"cannot prepare {name}: {module} is not installed; at the root of a clone "
        "pip install -e '.[tf]' brings what preparing needs"
    )


class Prepared:
    """A prepared folder: name, version, features, and the examples of each split."""

    def __init__(self, folder):
        import tensorflow_datasets as tfds

        self.folder = folder
        with _quiet(), self._faults():
            self._info = tfds.builder_from_directory(folder).info
            self.name, self.version = self._info.name, str(self._info.version)
            if self._info.config_name:
                self.name = f"{self.name}/{self._info.config_name}"
            self.features = self._info.features
            self._form = self._info.file_format.value
            self.sizes = {k: v.num_examples for k, v in self._info.splits.items()}
        if self._form not in _READERS:
            self._fail(f"it is stored as {self._form}, not array_record or tfrecord")
        if not self.sizes:
            self._fail("it has no splits")

    def examples(self, split):
        """Yields the examples of a split in their stored order, decoded."""
        info = self._info.splits[split]
        with _quiet(), self._faults():
            for path, count in zip(info.filepaths, info.shard_lengths, strict=True):
                read = 0
                for record in _READERS[self._form](Path(path)):
                    yield self.features.deserialize_example_np(record)
                    read += 1
                if read != count:
                    self._fail(f"{Path(path).name} has {read} examples, not {count}")

    def _fail(self, reason):
        raise InputError(
            f"{self.folder} is not readable: {reason}. Delete it and prepare it again, or copy it "
            "anew"
        )

    @contextlib.contextmanager
    def _faults(self):
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001, as above
            self._fail(getattr(error, "strerror", None) or first_line(error))


def _array_records(path, block=1000):
    from array_record.python.array_record_module import ArrayRecordReader

    reader = ArrayRecordReader(str(path))
    try:
        count = reader.num_records()
        if not count:
            reader.read([0])  # tells why
        for start in range(0, count, block):
            yield from reader.read([*range(start, min(start + block, count))])
    finally:
        reader.close()


def _tf_records(path):
    """A record is its length, the checksum of that, the bytes, and their checksum."""
    with path.open("rb") as file:
        while head := file.read(12):
            if len(head) < 12 or not _is_sum_of(head[:8], head[8:]):
                raise ValueError(f"{path.name} is damaged or cut short")
            content = file.read(struct.unpack("<Q", head[:8])[0])
            if not _is_sum_of(content, file.read(4)):
                raise ValueError(f"{path.name} is damaged or cut short")
            yield content


def _is_sum_of(content, stored):
    """TFRECORD's masked CRC-32C."""
    import google_crc32c

    crc = google_crc32c.value(content)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return struct.pack("<I", masked) == stored


_READERS = {"array_record": _array_records, "tfrecord": _tf_records}


@contextlib.contextmanager
def _quiet():
    """TFDS reports preparation, and the lack of OpenCV, at length."""
    import tensorflow_datasets as tfds

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
        tfds.enable_progress_bar()
