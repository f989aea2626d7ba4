"""Data sets in TFDS's format: found in a folder, prepared by a builder, read without TensorFlow."""

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
from aevae.data.sources import embedded, files
from aevae.data.sources.source import first_line
from aevae.data.sources.stock import STOCK
from aevae.system.cache import cache_dir, cache_dirs, home
from aevae.system.locks import alone

_VERSION = re.compile(r"\d+\.\d+\.\d+")
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def find(name, data_dir=None):
    """The folder of a prepared data set, which is prepared first where that needs no TensorFlow.

    Args:
      name: `set`, `set/config`, or `module:Class`, a TFDS builder. Embedded sets, builders by
        class, and builders that have been registered with TFDS are prepared on first use.
      data_dir: the folder in which sets are prepared, as for `data.load`.
    Returns:
      None for what is no data set, but can be the path of a file or folder.
    Raises:
      InputError: an unknown set or config, or a set of TFDS's own that is not prepared.
    """
    known = embedded.EMBEDDED.get(name.partition("/")[0])
    if known:
        set_name, _, config = name.partition("/")
        if config not in ("", *known.configs):
            _check_config(builder_class(name), name)
        place = place_of(name)
        config = config or (known.configs or ("",))[0]
        folder = place / set_name / config / known.version
        if not (folder / "dataset_info.json").is_file():
            prepare(builder(name, place))
        return folder
    places, is_path = _places(data_dir), name.startswith(("/", ".", "~"))
    if ":" not in name:
        for place in [*([] if is_path else places), *([Path()] if "/" in name else [])]:
            try:
                if folder := _newest(name, place):
                    return folder
            except OSError as error:
                raise InputError(
                    f"cannot read {error.filename}: {error.strerror}"
                ) from None
    cls = None if is_path else builder_class(name)
    own = cls is None and files.is_path(name)
    if own or (cls is None or is_stock(cls)) and os.path.isdir(name):
        return None
    if cls is None:
        raise InputError(_unknown(name, places))
    if is_stock(cls):
        _check_config(cls, name)
        where = " or ".join(map(str, places))
        proper = "/".join([cls.name, *name.split("/")[1:]])
        flag = f" --data_dir={data_dir}" if data_dir else ""
        raise InputError(
            f"{proper} is not prepared in {where}: `python -m experiments.prepare "
            f"--dataset={proper}{flag}` prepares it, where TensorFlow is installed, or copy the "
            f"folder {cls.name} from a machine that has it; data_dir (--data_dir) or "
            "AEVAE_DATA_DIR names another folder"
        )
    new = builder(name, places[0])
    prepare(new)
    return Path(new.data_dir)


def _check_config(cls, name):
    """Raises an InputError unless `name` has a config of the builder; an embedded set needs none."""
    config = name.partition("/")[2]
    known = [c.name for c in cls.BUILDER_CONFIGS]
    if config not in known and (
        config or (known and cls.name not in embedded.EMBEDDED)
    ):
        listed = ", ".join(f"{cls.name}/{c}" for c in known) or "none"
        fault = f"no config {config!r}" if config else "several configs: name one"
        raise InputError(f"{cls.name} has {fault}; it has {listed}")


def place_of(name, data_dir=None):
    """The folder in which a data set is prepared; for embedded sets always in the cache."""
    is_embedded = name.partition("/")[0] in embedded.EMBEDDED
    return cache_dir() / "tfds" if is_embedded else _places(data_dir)[0]


def _places(data_dir):
    """The folders that may have prepared sets; new ones are prepared in the first."""
    chosen = data_dir or os.environ.get("AEVAE_DATA_DIR")
    if chosen:
        return [_expanded(chosen)]
    found = [place / "tfds" for place in cache_dirs()]
    if theirs := os.environ.get("TFDS_DATA_DIR"):
        return [*found, _expanded(theirs)]
    theirs = home("~/tensorflow_datasets")
    if theirs and os.access(theirs.parent, os.X_OK):  # a home of another user's
        found.append(theirs)
    return found


def _expanded(path):
    found = home(path)
    if found is None:
        raise InputError(
            f"there is no home folder for the ~ of {path}: write the path in full"
        )
    return found


def _newest(name, place):
    """The folder of the newest version of a data set, or of one version; None where none is."""
    root = place / os.path.expanduser(name)
    if not root.is_dir():
        return None
    if (root / "dataset_info.json").is_file():
        return root
    configs = [path for path in root.iterdir() if path.is_dir() and _versions(path)]
    if configs:
        found = ", ".join(sorted(f"{name}/{path.name}" for path in configs))
        raise InputError(f"{place} has configs of {name}: name one, {found}")
    return max(_versions(root), key=_version_numbers, default=None)


def _version_numbers(path):
    return [*map(int, path.name.split("."))]


def _versions(root):
    return [path for path in root.iterdir() if _VERSION.fullmatch(path.name)]


def builder_class(name):
    """The TFDS builder of a data set, given as `set`, `set/config` or `module:Class`; or None."""
    import tensorflow_datasets as tfds

    if name.partition("/")[0] in embedded.EMBEDDED:
        return embedded.builder_class(name.partition("/")[0])
    module, colon, rest = name.partition(":")
    if colon:
        try:
            cls = getattr(importlib.import_module(module), rest.partition("/")[0])
        except Exception as error:  # noqa: BLE001, the module may raise anything
            raise InputError(
                f"cannot import builder {name}: {first_line(error)}"
            ) from None
        if not (isinstance(cls, type) and issubclass(cls, tfds.core.DatasetBuilder)):
            raise InputError(
                f"{name} is not a TFDS builder, a class of tfds.core.DatasetBuilder"
            )
        return cls
    try:
        return tfds.builder_cls(name.partition("/")[0])
    except (tfds.core.DatasetNotFoundError, ValueError):
        return None


def _unknown(name, places):
    """The message about a data set that is unknown."""
    import tensorflow_datasets as tfds

    known = [*embedded.EMBEDDED, *STOCK]
    near = difflib.get_close_matches(name, known, cutoff=0.6)
    near = near or [k for k in known if name and k.startswith(name)]
    near = near or difflib.get_close_matches(
        name, tfds.list_builders(with_community_datasets=False), cutoff=0.6
    )
    suggestion = (
        f"did you mean {' or '.join(near)}? It may be"
        if near
        else f"it may be {', '.join(known)},"
    )
    return (
        f"unknown data set {name!r}: {suggestion} any set prepared in "
        f"{' or '.join(map(str, places))}, the path of a file or folder of yours, or module:Builder"
    )


def builder(name, place):
    """The TFDS builder that prepares a data set in the folder `place`, as array_record."""
    cls = builder_class(name)
    if cls is None:
        raise InputError(_unknown(name, [place]))
    _check_config(cls, name)
    config = name.partition("/")[2] or None
    with _quiet(), _one_line_errors(cls.name, place):
        done = cls(config=config, data_dir=place)
        if is_done(done):
            return done  # whatever its format
        return cls(config=config, data_dir=place, file_format="array_record")


def prepare(builder, manual_dir=None, quiet=True):
    """Prepares a data set unless it is done; returns whether it was prepared now.

    Other processes that prepare the same set wait, and what a killed process has left is removed.

    Args:
      builder: a TFDS builder, as `builder` makes it.
      manual_dir: a folder of the original files under their own names, which are then not
        downloaded; TFDS checks their checksums.
      quiet: whether to suppress TFDS's output.
    Raises:
      InputError: a set that cannot be prepared.
      WriteError: a disk that is full or cannot be written.
    """
    import tensorflow_datasets as tfds

    folder = Path(builder.data_dir)
    if is_done(builder):
        return False
    check_possible(builder)
    with _quiet() if quiet else contextlib.nullcontext():
        lock = folder.with_name(f".{folder.name}.lock")
        with _one_line_errors(builder.name, folder), alone(lock):
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
def _one_line_errors(name, place):
    """Turns whatever preparing a data set raises into an InputError or WriteError."""
    try:
        yield
    except (InputError, WriteError):
        raise
    except ModuleNotFoundError as error:
        raise InputError(
            _not_installed(name, error.name or first_line(error))
        ) from None
    except Exception as error:  # noqa: BLE001, TFDS raises any kind of error
        reason = getattr(error, "strerror", None) or first_line(error)
        full = (
            os.strerror(errno.ENOSPC) in reason
        )  # of array_record, which has no errno
        disk = full or getattr(error, "errno", None) in _DISK
        kind = WriteError if disk else InputError
        raise kind(f"cannot prepare {name} in {place}: {reason}") from None


def check_possible(builder):
    """Raises an InputError for a set of TFDS's own that is to be prepared without TensorFlow."""
    stock = is_stock(type(builder)) and not is_done(builder)
    if stock and not importlib.util.find_spec("tensorflow"):
        raise InputError(_not_installed(builder.name, "tensorflow"))


def is_done(builder):
    """Whether a data set is prepared; TFDS renames its folder into place once it is complete."""
    return (Path(builder.data_dir) / "dataset_info.json").is_file()


def is_stock(cls):
    """Whether a builder is one of TFDS's own, which need TensorFlow to prepare."""
    return cls.__module__.startswith("tensorflow_datasets.")


def _not_installed(name, module):
    """The message about a module that is needed to prepare a data set."""
    return (
        f"cannot prepare {name}: {module} is not installed; at the root of a clone "
        "pip install -e '.[tf]' installs what preparing needs"
    )


class Prepared:
    """A prepared folder: name, version, features, and the examples of each split.

    InputError for a folder that cannot be read.
    """

    def __init__(self, folder):
        import tensorflow_datasets as tfds

        self.folder = folder
        with _quiet(), self._checked():
            self._info = tfds.builder_from_directory(folder).info
            self.name, self.version = self._info.name, str(self._info.version)
            if self._info.config_name:
                self.name = f"{self.name}/{self._info.config_name}"
            self.features = self._info.features
            self._format = self._info.file_format.value
            self.sizes = {k: v.num_examples for k, v in self._info.splits.items()}
        if self._format not in _READERS:
            self._fail(f"it is stored as {self._format}, not array_record or tfrecord")
        if not self.sizes:
            self._fail("it has no splits")

    def examples(self, split):
        """Yields the examples of a split in their stored order, decoded."""
        info = self._info.splits[split]
        with _quiet(), self._checked():
            for path, count in zip(info.filepaths, info.shard_lengths, strict=True):
                read = 0
                for record in _READERS[self._format](Path(path)):
                    yield self.features.deserialize_example_np(record)
                    read += 1
                if read != count:
                    self._fail(f"{Path(path).name} has {read} examples, not {count}")

    def _fail(self, reason):
        raise InputError(
            f"{self.folder} is not readable: {reason}. Delete it, and prepare or copy it again"
        )

    @contextlib.contextmanager
    def _checked(self):
        """Turns whatever reading the folder raises into an InputError."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001, TFDS raises any kind of error
            self._fail(getattr(error, "strerror", None) or first_line(error))


def _array_records(path, block=1000):
    from array_record.python.array_record_module import ArrayRecordReader

    reader = ArrayRecordReader(str(path))
    try:
        count = reader.num_records()
        if not count:
            reader.read([0])  # raises the reason
        for start in range(0, count, block):
            yield from reader.read([*range(start, min(start + block, count))])
    finally:
        reader.close()


def _tf_records(path):
    """Yields the records of a TFRECORD file: each is length, checksum, content, checksum."""
    with path.open("rb") as file:
        while head := file.read(12):
            if len(head) < 12 or not _is_checksum(head[8:], head[:8]):
                raise ValueError(f"{path.name} is damaged or cut short")
            content = file.read(struct.unpack("<Q", head[:8])[0])
            if not _is_checksum(file.read(4), content):
                raise ValueError(f"{path.name} is damaged or cut short")
            yield content


def _is_checksum(stored, content):
    """Whether 4 bytes are the checksum of `content` in a TFRECORD file, a masked CRC-32C."""
    import google_crc32c

    crc = google_crc32c.value(content)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return struct.pack("<I", masked) == stored


_READERS = {"array_record": _array_records, "tfrecord": _tf_records}


@contextlib.contextmanager
def _quiet():
    """Suppresses the output of TFDS, which is long, and its warning that OpenCV is missing."""
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
