"""Locks between processes, on one host or several: files that one process at a time holds."""

import contextlib
import os
import platform
import secrets
import sys
import time
from pathlib import Path

from aevae import InputError, WriteError
from aevae.system.files import LACKING, writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

OBJECTS = [
    "s3fs",
    "gcsfuse",
    "goofys",
    "mountpoint-s3",
    "blobfuse",
    "rclone",
    "geesefs",
]
RETRY = 0.2  # seconds between attempts to get a lock
WIDTH = 200  # bytes of what a holder tells: a line is replaced at once


class Held(InputError):
    """Raised where another process holds a lock."""


class Lock:
    """A lock file that this process holds until it is closed or the process ends, however it ends.

    Its first line says who holds it, the second what the holder tells of itself.
    """

    def __init__(self, file, path, what):
        self._file, self._path, self._what = file, path, what
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.mark = secrets.token_hex(8)
        self.owner = f"{_here()}, since {since}, {self.mark}\n"
        file.truncate(0)
        os.pwrite(file.fileno(), self.owner.encode(), 0)

    def tell(self, text):
        """Says something of this process beside its name, in place of what it said before.

        WriteError where another process has taken the lock.
        """
        self.check()
        line = text.encode()[:WIDTH].ljust(WIDTH) + b"\n"
        os.pwrite(self._file.fileno(), line, len(self.owner.encode()))

    def check(self):
        """Raises WriteError where another process has taken the lock, as this host was cut off."""
        try:
            owner = self._path.read_text("utf-8", "replace").partition("\n")[0] + "\n"
        except OSError as error:
            owner = f"nobody: it cannot be read ({error.strerror})"
        if owner != self.owner:
            raise WriteError(
                f"{self._what} now belongs to {_shown(owner)}: this process was cut off, and stops"
            )

    def close(self):
        """Releases the lock."""
        with self._file, contextlib.suppress(OSError, WriteError):
            self.check()
            self._file.truncate(0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def lock(folder, what=None, wait=0.0):
    """Takes the lock of a folder for this process: a `Lock`.

    `what` is what the folder is called in messages. InputError where another process still has the
    lock after `wait` seconds (`Held`), and where the file system has no locks.
    """
    path, what = Path(folder) / ".lock", what or str(folder)
    if fcntl is None:
        raise InputError(
            f"{what} cannot be locked: this system ({platform.system()}) has no flock, which run "
            "folders need: take Linux, or WSL on Windows; training.fit trains without a folder"
        )
    with writing(folder):
        # Not "a+": what appends writes at the end, whatever place `pwrite` is given.
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
        until, told = time.monotonic() + wait, False
        while True:
            try:
                _flock(file, path, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                who = _shown(path.read_text("utf-8", "replace"))
                if time.monotonic() >= until:
                    file.close()
                    raise Held(
                        f"{what} is in use by another process{who and f' ({who})'}: wait for it "
                        "to end, or take another folder"
                    ) from None
                if not told and wait > 5:
                    print(f"{what}: waiting for {who}", file=sys.stderr)
                    told = True
                time.sleep(RETRY)
        if not path.exists() or not os.path.samestat(
            os.fstat(file.fileno()), path.stat()
        ):
            file.close()
            raise InputError(
                f"{what} is being renamed by another process: run the command again"
            )
        return Lock(file, path, what)


def holder(folder):
    """Who holds the lock of a folder, (name, what it tells); None where nobody does."""
    path = Path(folder) / ".lock"
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
        if not lines or is_free(folder):
            return None
    except OSError:
        return None
    return _shown(lines[0]), lines[1].strip() if len(lines) > 1 else ""


def is_free(folder):
    """Whether no process that this host sees holds the lock of a folder."""
    with (Path(folder) / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def check_place(folder):
    """Raises InputError where a folder is in object storage, which has neither locks nor renames."""
    advice = (
        "which has no locks, appends and renames: take a local disk, NFS, Lustre, Filestore or "
        "the like, and copy the folder there when it is done"
    )
    if "://" in str(folder):
        raise InputError(f"{folder} is an address of object storage, {advice}")
    kind = file_system(folder)
    if any(name in kind for name in OBJECTS):
        raise InputError(f"{folder} is on object storage ({kind}), {advice}")


def file_system(folder, mounts="/proc/self/mounts"):
    """The type of the file system of a folder, as `ext4` or `fuse.gcsfuse`; "" where it is unknown."""
    try:
        lines = Path(mounts).read_text("utf-8", "surrogateescape").splitlines()
    except OSError:  # not Linux
        return ""
    place, found = Path(os.path.realpath(folder)), (0, "")
    for line in lines:
        _, mount, kind = line.split(" ")[:3]
        mount = mount.replace("\\040", " ")
        if place.is_relative_to(mount):
            found = max(found, (len(mount), kind), key=lambda pair: pair[0])
    return found[1]


def _here():
    return f"process {os.getpid()} on {platform.node()}"


def _shown(owner):
    """Who holds a lock, as its file has it, without the mark."""
    return owner.partition("\n")[0].rpartition(", ")[0] or owner.strip()


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
