"""Files that survive a crash: written atomically, checked by SHA-256, locked between processes.

Wherever the process is killed or the disk fills up, a file holds its old content or all of its
new content.
"""

import contextlib
import errno
import hashlib
import json
import os
import platform
import shutil
import sys
from pathlib import Path

from aevae import InputError, WriteError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

SUMS = "SHA256SUMS"  # the checksums of a folder, in the format of `sha256sum --check`
LACKING = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # the service is
LACKING += (errno.ENOLCK, errno.EINVAL)
UNSYNCED = (*LACKING, errno.EACCES, errno.EPERM, errno.EBADF, errno.EISDIR)


@contextlib.contextmanager
def writing(path):
    """A context in which an OSError becomes a WriteError that names `path` and the reason."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(f"cannot write to {path}: {reason}") from error


@contextlib.contextmanager
def whole(path):
    """Opens a file that replaces `path` when the block ends, complete and flushed to the disk."""
    partial = path.with_name(f"{path.name}.partial")
    with writing(path):
        try:
            with partial.open("wb") as file:
                yield file
                _flush(file)
            os.replace(partial, path)
            _sync(path.parent)
        except OSError:
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


def lock(folder):
    """Locks a folder for this process until the returned file is closed.

    The system releases the lock when the process dies, however it dies. InputError where another
    process has the lock.
    """
    path = Path(folder) / ".lock"
    if fcntl is None:
        raise InputError(
            f"{folder} cannot be locked: this system ({platform.system()}) has no flock, which run "
            "folders need: take Linux, or WSL on Windows; training.fit trains without a folder"
        )
    with writing(folder):
        file = path.open("a+")
        try:
            _flock(file, path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip()
            file.close()
            raise InputError(
                f"{folder} is in use by another process{owner and f' ({owner})'}: wait for it to "
                "end, or take another folder"
            ) from None
        if not path.exists() or not os.path.samestat(
            os.fstat(file.fileno()), path.stat()
        ):
            file.close()
            raise InputError(
                f"{folder} is being renamed by another process: run the command again"
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
    return file


def _flock(file, path, how):
    """Locks an open file; InputError where its file system has no locks."""
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno not in LACKING:
            raise
        file.close()
        raise InputError(
            f"{path} cannot be locked: its file system has no flock ({error.strerror}): take a "
            "folder on another one, such as a local disk (--workdir for runs, --data_dir for data, "
            "XDG_CACHE_HOME for the cache)"
        ) from None


@contextlib.contextmanager
def alone(path):
    """Holds the lock file `path` within the block, after other processes have released it.

    A wait is reported on stderr. A system without locks (Windows) goes on: what two processes write
    at once is found by its checksums.
    """
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    with file:
        with writing(path):
            try:
                if fcntl:
                    _flock(file, path, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(
                    f"waiting for another process, which holds {path}", file=sys.stderr
                )
                _flock(file, path, fcntl.LOCK_EX)
        yield


class Broken(Exception):
    """Raised for files that are missing, unreadable or not what was written."""


@contextlib.contextmanager
def whole_folder(target):
    """Yields a folder to fill, which replaces `target` when the block ends.

    The files in it are flushed to the disk, and their checksums added, which `verify` checks.
    """
    partial = target.with_name(f"{target.name}.partial")
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
            os.replace(partial, target)
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
