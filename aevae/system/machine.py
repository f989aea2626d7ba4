"""The machine: its devices, the cache of compiled programs, and what tables are to say of it."""

import importlib.metadata
import os
import platform
import sys
import time
import zlib
from pathlib import Path

import jax

from aevae import __version__
from aevae.system import files

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "tensorflow-datasets")


def prepare(programs=None):
    """Makes every CPU core a device and turns JAX's cache of compiled programs on.

    To be called before the first JAX operation: a process that has used JAX keeps its devices.
    What the user has set stays, but for a folder for the `programs` that is given here.
    """
    if programs or jax.config.jax_compilation_cache_dir is None:
        programs = programs or files.cache_dir() / "programs"
        _remove_broken(programs)
        jax.config.update("jax_compilation_cache_dir", str(programs))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if jax.config.jax_num_cpu_devices == -1:
        try:
            jax.config.update("jax_num_cpu_devices", cores())
        except RuntimeError:
            pass


def _remove_broken(programs):
    """Deletes cached programs that cannot be read: JAX would warn of them at every start.

    It writes them in place, so a process that is killed may leave half of one. Only those that
    came or changed since the last look are read.
    """
    seen, now = programs / "checked", time.time()
    try:
        since = seen.stat().st_mtime if seen.exists() else 0.0
        for path in programs.glob("*-cache"):
            if path.stat().st_mtime >= since and not _sound(path):
                path.unlink()
                print(f"removed {path}: it could not be read", file=sys.stderr)
        programs.mkdir(parents=True, exist_ok=True)
        seen.touch()
        os.utime(seen, (now, now - 1))  # the clock of files may be a little late
    except OSError:
        pass  # JAX says what is wrong with it


def _sound(path):
    content = path.read_bytes()
    if content[:1] != b"\x78":  # not zlib's: JAX uses zstandard where that is installed
        return len(content) > 0
    try:
        zlib.decompress(content)
    except zlib.error:
        return False
    return True


def cores():
    """That this process may use, where the system tells."""
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count()


def processor():
    """The model of the CPU, which decides the code that is compiled for it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor()


def describe():
    """Versions and hardware."""
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        "versions": {"aevae": __version__}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "hardware": {
            "machine": platform.machine(),
            "processor": processor(),
            "cores": cores(),
            "platform": device.platform,
            "device": device.device_kind,
            "devices": jax.device_count(),
        },
    }
