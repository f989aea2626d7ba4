"""Files that survive a crash: written atomically, and checked by SHA-256.

Wherever the process is killed or the disk fills up, a file holds its old content or all of its
new content.
"""

import contextlib
import errno
import filecmp
import hashlib
import json
import os
import platform
import shutil
from pathlib import Path

from aevae import WriteError

SUMS = "SHA256SUMS"  # the checksums of a folder, in the format of `sha256sum --check`
LACKING = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # the service is
LACKING += (errno.ENOLCK, errno.EINVAL)
PARTIAL = ".partial"  # how names of what is being written end
UNSYNCED = (*LACKING, errno.EACCES, errno.EPERM, errno.EBADF, errno.EISDIR)


@contextlib.contextmanager
def writing(path):
    """A context in which an OSError becomes a WriteError that names `path` and the reason."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(f"cannot write to {path}: {reason}") from error


_guards = []  # called before each last rename: see `guarded`


@contextlib.contextmanager
def guarded(check):
    """A context in which `check()` is called before a new file or folder takes its place.

    It raises where what is written is no longer this process's to write.
    """
    _guards.append(check)
    try:
        yield
    finally:
        _guards.remove(check)


def _take_place(partial, path):
    for check in _guards:
        check()
    os.replace(partial, path)


def _partial(path):
    """A name beside `path` that no other process has, on whatever host."""
    mine = f"{platform.node()}-{os.getpid()}"
    return path.with_name(short_name(f"{path.name}.{mine}{PARTIAL}"))


def remove_partial(folder, names="*"):
    """Removes what killed processes left half written in a folder, of files of these names."""
    for path in folder.glob(f"{names}{PARTIAL}"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def whole(path, same=False):
    """Opens a file that replaces `path` when the block ends, complete and flushed to the disk.

    With `same`, a file that has this content already is not touched.
    """
    partial = _partial(path)
    with writing(path):
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                known = same and path.is_file()
                known = known and filecmp.cmp(partial, path, shallow=False)
                if not known:
                    _flush(file)
            if known:
                partial.unlink()
                return
            _take_place(partial, path)
            _sync(path.parent)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def append(path, content):
    """Appends bytes to a file: all of them, or none where the disk refuses."""
    with writing(path), path.open("ab", buffering=0) as file:
        size = file.tell()
        try:
            while content:
                content = content[file.write(content) :]
        except OSError:
            file.truncate(size)
            raise


def text(path):
    """The text of a file that `encoded` gave the bytes of."""
    return Path(path).read_bytes().decode("utf-8", "surrogateescape")


def encoded(text):
    """Text as files have it, in any locale: UTF-8, and bytes of paths that are none as they were."""
    return text.encode("utf-8", "surrogateescape")


def short_name(name, most=100):
    """A name of at most so many bytes for a file or folder; a longer one is cut, with a digest."""
    content = encoded(name)
    if len(content) <= most:
        return name
    mark = f"~{hashlib.sha256(content).hexdigest()[:8]}~"
    head = (most - len(mark)) // 2
    tail = most - len(mark) - head
    parts = (
        part.decode("utf-8", "ignore") for part in (content[:head], content[-tail:])
    )
    return mark.join(parts)


def replace_text(path, text):
    """Replaces the content of `path` by `text`; a file that already has it is not touched."""
    try:
        same = path.read_bytes() == encoded(text)
    except OSError:
        same = False
    if not same:
        with whole(path) as file:
            file.write(encoded(text))


def write_json(path, content):
    """Replaces the content of `path` by `content` as JSON."""
    replace_text(Path(path), json.dumps(content, indent=2) + "\n")


class Broken(Exception):
    """Raised for files that are missing, unreadable or not what was written."""


@contextlib.contextmanager
def whole_folder(target):
    """Yields a folder to fill, which replaces `target` when the block ends.

    The files in it are flushed to the disk, and their checksums added, which `verify` checks.
    """
    partial = _partial(target)
    with writing(target):
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            sums = ""
            for path in sorted(partial.iterdir()):
                with path.open("r+b") as file:
                    _flush(file)
                sums += f"{digest(path)}  {path.name}\n"
            with (partial / SUMS).open("wb") as file:
                file.write(sums.encode())
                _flush(file)
            _sync(partial)
            shutil.rmtree(target, ignore_errors=True)
            _take_place(partial, target)
            _sync(target.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def verify(place, names):
    """Checks files of a `whole_folder` against their checksums; Broken where one differs."""
    try:
        sums = (place / SUMS).read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        raise Broken(f"{place / SUMS} cannot be read") from None
    for name in names:
        try:
            if f"{digest(place / name)}  {name}\n" not in sums:
                raise Broken(
                    f"{place / name} is not what was saved: its sha256 differs"
                )
        except OSError as error:
            raise Broken(f"{place / name} cannot be read: {error.strerror}") from None


def digest(path):
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(file):
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in LACKING:
            raise


def _sync(folder):
    """Flushes the entries of a folder to the disk, what was renamed in it, where systems do that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in UNSYNCED:
            raise
