"""Files that are whole or not there, whatever moment the process or the disk ends at."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

from aevae import InputError, WriteError

SUMS = "SHA256SUMS"  # as `sha256sum --check` reads it


def cache_dir():
    """The folder for what can be made again: prepared data sets, their arrays, programs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "aevae"


@contextlib.contextmanager
def writing(path):
    """Tells what goes wrong with the disk in one line; a fault is a WriteError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(f"cannot write to {path}: {reason}") from error


@contextlib.contextmanager
def whole(path):
    """A file to write in the place of `path`: there once it is complete and on the disk."""
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
    """Adds bytes to the end of a file: all of them, or none if the disk has no room."""
    with writing(path), path.open("ab", buffering=0) as file:
        size = file.tell()
        try:
            while content:
                content = content[file.write(content) :]
        except OSError:
            file.truncate(size)
            raise


def replace_text(path, text):
    """Makes `text` the content of `path`, which is left alone if it is that already."""
    try:
        same = path.read_bytes() == text.encode()
    except OSError:
        same = False
    if not same:
        with whole(path) as file:
            file.write(text.encode())


def lock(folder):
    """Keeps other processes out of a folder until the file that is returned is closed.

    The system lets go of the lock when the process dies, however it dies.
    """
    path = Path(folder) / ".lock"
    with writing(folder):
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip()
            file.close()
            raise InputError(
                f"{folder} is in use by another process{owner and f' ({owner})'}"
            ) from None
        if not path.exists() or not os.path.samestat(
            os.fstat(file.fileno()), path.stat()
        ):
            file.close()
            raise InputError(f"{folder} is being renamed by another process")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}\n")
        file.flush()
    return file


@contextlib.contextmanager
def alone(path):
    """Waits until no other process holds the lock `path`, and holds it; tells if it must wait."""
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    with file:
        with writing(path):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another process, which has {path}", file=sys.stderr)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Broken(Exception):
    """Files that cannot be used, and why."""


@contextlib.contextmanager
def whole_folder(target):
    """A folder to fill in the place of `target`: there once it is complete and on the disk.

    Yields one beside it. The sums of its files are added, which `verify` checks.
    """
    partial = target.with_name(f"{target.name}.partial")
    with writing(target):
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            sums = ""
            for path in sorted(partial.iterdir()):
                with path.open("rb") as file:
                    os.fsync(file.fileno())
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
    """Broken, unless these files of a whole folder are what was written, bit by bit."""
    try:
        sums = (place / SUMS).read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        raise Broken(f"{place / SUMS} cannot be read") from None
    for name in names:
        try:
            if f"{digest(place / name)}  {name}\n" not in sums:
                fault = "is not what was saved: its sha256 differs"
                raise Broken(f"{place / name} {fault}")
        except OSError as error:
            fault = f"cannot be read: {error.strerror}"
            raise Broken(f"{place / name} {fault}") from None


def digest(path):
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(file):
    file.flush()
    os.fsync(file.fileno())


def _sync(folder):
    """Makes the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path, content):
    """Makes `content`, as JSON, the content of `path`."""
    replace_text(Path(path), json.dumps(content, indent=2) + "\n")
