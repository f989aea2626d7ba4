"""A group as a task of an engine: what its worker calls."""

import os
import platform
import sys
from pathlib import Path

from aevae import Interrupted, WriteError
from aevae.system import locks


def here():
    """Where this process looks for files and modules, for workers to do so too: (folder, paths)."""
    own = sys.prefix, sys.base_prefix
    paths = [os.path.abspath(path) for path in sys.path]
    return os.getcwd(), [
        path for path in paths if not any(map(Path(path).is_relative_to, own))
    ]


def run(work, workdir, where, mark, options, number):
    """Does the work on a group in this process; what came of it as a dict that any process can read.

    `state` is "finished", "lost" where a signal came before the end, "held" where another process
    has the group, or "failed", and then `why`.
    `notes` are lines to show.

    Args:
      work: an importable function of a run folder, a group's number, and options.
      workdir: the run folder, an absolute path.
      where: what `here` gave the driver: relative paths count from its working directory.
      mark: that of the driver's lock, which this process should see held.
      options, number: what `work` is given.
    """
    import jax

    cwd, paths = where
    if os.path.isdir(cwd):
        os.chdir(cwd)
    sys.path.extend(path for path in paths if path not in sys.path)
    found = {"notes": [] if _guards(workdir, mark) else [_unguarded(workdir)]}
    try:
        work(workdir, number, **options)
        return found | {"state": "finished"}
    except Interrupted:
        return found | {"state": "lost"}
    except locks.Held:
        return found | {"state": "held"}
    except Exception as error:  # noqa: BLE001, it is told
        found |= {"unwritten": isinstance(error, WriteError)}
        return found | {"state": "failed", "why": " ".join(str(error).split())}
    finally:
        jax.clear_caches()  # a worker may train thousands of groups


def _guards(workdir, mark):
    """Whether this host sees that the driver holds its lock."""
    path = Path(workdir) / ".lock"
    try:
        return mark not in path.read_text("utf-8") or not locks.is_free(workdir)
    except OSError:
        return True


def _unguarded(workdir):
    return (
        f"{platform.node()} does not see the locks of other hosts in {workdir}: its file system "
        "cannot guard groups, so that only the engine keeps two workers from one group"
    )
