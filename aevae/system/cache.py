"""The folder of what can be rebuilt, on any machine: without a home folder, or one that is read-only."""

import contextlib
import functools
import os
import stat
import sys
import tempfile
from pathlib import Path

from aevae import WriteError
from aevae.system.files import LACKING
from aevae.system.locks import fcntl


def cache_dir():
    """The folder of what can be rebuilt: prepared data sets, their arrays, compiled programs.

    It is in XDG_CACHE_HOME, or else in ~/.cache; where that cannot be written, in the system's
    temporary folder, and a line on stderr says so.
    """
    return cache_dirs()[0]


def cache_dirs():
    """The cache folder, and the one that it stands in for, if that can be read."""
    chosen = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return _found(f"{chosen}/aevae", os.environ.get("HOME"))


@functools.cache
def _found(chosen, _):
    place, found = home(chosen), [home(chosen)]
    reason = _refusal(place) if place else "there is no home folder"
    if reason:
        fault, instead = f"cannot write to {place or chosen} ({reason})", _temporary()
        if instead is None or _refusal(instead):
            raise WriteError(
                f"{fault}, nor to a temporary folder: set XDG_CACHE_HOME to a folder for prepared "
                "data and compiled programs"
            )
        print(
            f"{fault}: prepared data and compiled programs are kept in {instead}; set "
            "XDG_CACHE_HOME to a folder that lasts",
            file=sys.stderr,
        )
        readable = place and os.access(place, os.R_OK | os.X_OK)
        found = [instead, place] if readable else [instead]
    settings = home(os.environ.get("XDG_CONFIG_HOME") or "~/.config")
    if reason or settings is None or not _may_write(settings / "matplotlib"):
        # Without it, matplotlib makes a folder for each process, and says so at length.
        os.environ.setdefault("MPLCONFIGDIR", str(found[0] / "matplotlib"))
    return found


def home(path):
    """The path with the home folder in place of ~; None where there is no home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return None


def _refusal(folder):
    """Why files cannot be written and locked in a folder, which is made; None if they can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))  # a full disk may still make empty files
            file.flush()
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lacking = "it has no flock: " if error.errno in LACKING else ""
        return f"{lacking}{error.strerror or error}"
    return None


def _may_write(path):
    """Whether a folder can probably be written, or made; nothing is touched."""
    try:
        return os.access(next(p for p in (path, *path.parents) if p.exists()), os.W_OK)
    except OSError:
        return False


def _temporary():
    """A temporary folder of this user's own, the same one for every process; None if there is none."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    try:
        place = Path(tempfile.gettempdir(), f"aevae-{user}")
        with contextlib.suppress(FileExistsError):
            place.mkdir(0o700)
        found = place.lstat()
        own = stat.S_ISDIR(found.st_mode) and found.st_uid == user
        if own and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return place
        return Path(tempfile.mkdtemp(prefix="aevae-"))  # that one is another user's
    except OSError:
        return None
