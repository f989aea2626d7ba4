"""The machine: its devices, the cache of compiled programs, and its versions and hardware."""

import contextlib
import functools
import importlib.metadata
import math
import os
import platform
import sys
import time
import zlib
from pathlib import Path, PurePosixPath

import jax

from aevae import InputError, OutOfMemory, __version__
from aevae.system import cache

DRIVER = "/proc/driver/nvidia/version"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "tensorflow-datasets")
LEAST = (
    2  # devices of a CPU: XLA compiles a program of one otherwise, to other last bits
)
LACK = ("resource_exhausted", "out of memory", "failed to allocate")  # of memory
SETTINGS = ("XLA_FLAGS", "NVIDIA_TF32_OVERRIDE")  # on which compiled code depends


def prepare(programs=None):
    """Makes every CPU core a JAX device, at least two, and turns on JAX's cache of compiled programs.

    Call it before the first JAX operation: later, the number of devices is fixed. Settings of the
    user's own stay. `programs` is the folder of the cache; by default JAX's setting, or else a
    folder in `cache.cache_dir()`.

    Raises:
      InputError: this process is one of several of one JAX program, or JAX has no device.
    """
    if programs or jax.config.jax_compilation_cache_dir is None:
        programs = programs or cache.cache_dir() / "programs"
        _remove_broken(programs)
        jax.config.update("jax_compilation_cache_dir", str(programs))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if _quota() < math.inf:
        os.environ.setdefault("NPROC", str(max(cores(), LEAST)))  # of XLA's threads
    if jax.config.jax_num_cpu_devices == -1:
        try:
            jax.config.update("jax_num_cpu_devices", max(cores(), LEAST))
        except RuntimeError:
            pass  # JAX is already in use: its devices stay
    if offset := jax.config.jax_random_seed_offset:
        raise InputError(
            f"JAX adds {offset} to every seed (JAX_RANDOM_SEED_OFFSET, jax_random_seed_offset), and "
            "a run is known by its seed alone: leave that setting at 0"
        )
    try:
        jax.process_count()
    except (RuntimeError, AssertionError) as error:
        asked = jax.config.jax_platforms
        reason = " ".join(str(error).split()) or "none of that kind"
        raise InputError(
            f"JAX finds no device{f' of JAX_PLATFORMS={asked}' if asked else ''}: {reason}"
        ) from None
    if jax.process_count() > 1:
        raise InputError(
            f"this is process {jax.process_index()} of the {jax.process_count()} of one JAX "
            "program, and a group is trained by one process: leave out jax.distributed.initialize, "
            "and give each process runs and a folder of its own"
        )


def prefer_cpu():
    """Leaves accelerators to other processes: JAX of this one uses the CPU, if it is not in use yet."""
    jax.config.update("jax_platforms", "cpu")


def accelerators():
    """The numbers of this machine's NVIDIA GPUs that are free to use, without touching JAX."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name not in ("", "-1")]
    found = [p.name.removeprefix("nvidia") for p in Path("/dev").glob("nvidia[0-9]*")]
    return sorted((name for name in found if name.isdigit()), key=int)


def _remove_broken(programs):
    """Deletes damaged files of JAX's cache, of which it would warn at every start.

    JAX writes them in place, so a killed process may leave half a file. Only files that changed
    since the last check are read.
    """
    marker, now = programs / "checked", time.time()
    try:
        since = marker.stat().st_mtime if marker.exists() else 0.0
        for path in programs.glob("*-cache"):
            if path.stat().st_mtime >= since and not _is_intact(path):
                path.unlink()
                print(f"removed {path}: it could not be read", file=sys.stderr)
        programs.mkdir(parents=True, exist_ok=True)
        marker.touch()
        os.utime(marker, (now, now - 1))  # the file system's clock may lag a little
    except OSError:
        pass  # JAX reports what is wrong with the folder


def _is_intact(path):
    content = path.read_bytes()
    if content[:1] != b"\x78":  # not zlib: JAX uses zstandard where it is installed
        return len(content) > 0
    try:
        zlib.decompress(content)
    except zlib.error:
        return False
    return True


def cores():
    """The number of CPU cores that this process may use, within the quota of its control groups."""
    known = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return math.ceil(min(count, _quota()))


def _quota(root=Path("/")):
    """How many CPUs the control groups of this process allow, those of containers and schedulers.

    A group has the quota in cpu.max (version 2) or cpu.cfs_quota_us (version 1) and is bound by the
    groups above it, too. Inside a container its own group may be the root of what can be seen.
    """
    found = [math.inf]
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8", "replace").splitlines()
    except OSError:  # not Linux
        lines = []
    for line in lines:
        _, controllers, path = (line.split(":", 2) + ["", "/"])[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts, names = [""], ["cpu.max"]
        if controllers:
            mounts, names = (
                ["cpu", controllers],
                ["cpu.cfs_quota_us", "cpu.cfs_period_us"],
            )
        path = PurePosixPath("/", path)
        for group in (path, *path.parents):
            for mount in mounts:
                folder = root / "sys/fs/cgroup" / mount / group.relative_to("/")
                found.append(_ratio([folder / name for name in names]))
    return min(found)


def _ratio(files):
    """The quota over its period, which one file has or two; infinity without a limit."""
    try:
        quota, period = " ".join(file.read_text("utf-8") for file in files).split()
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):  # "max", or not there
        return math.inf


@contextlib.contextmanager
def standard():
    """A context of the JAX settings that results depend on, whatever the user's own work needs.

    In 64-bit mode, or by another generator of random numbers, every bit would be another; implicit
    transfers are used here, and without jit an epoch takes hours.
    """
    with (
        jax.enable_x64(False),
        jax.disable_jit(False),
        jax.transfer_guard("allow"),
        jax.numpy_dtype_promotion("standard"),
        jax.default_prng_impl("threefry2x32"),
        jax.threefry_partitionable(True),
    ):
        yield


def memory():
    """Bytes of each device's memory that JAX may use; None where devices share the host's."""
    device = jax.devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    return (stats or {}).get("bytes_limit")


@contextlib.contextmanager
def within_memory(advice):
    """A context in which a lack of memory becomes an `OutOfMemory` with what to do about it."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        reason = " ".join(str(error).split())
        told = any(words in reason.lower() for words in LACK)
        if not told and not isinstance(error, MemoryError):
            raise
        raise OutOfMemory(f"out of memory ({reason[:200]}): {advice}") from error


def at_precision(f, precision="highest"):
    """`f`, with matrix products and convolutions traced at a precision; "highest" is all of float32.

    It is not JAX's setting that counts, but a precision that `f` itself asks for does.
    """

    @functools.wraps(f)
    def traced(*args, **kwargs):
        with jax.default_matmul_precision(precision):
            return f(*args, **kwargs)

    return traced


def processor():
    """The model of the CPU, on which the compiled code depends."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor()


def describe():
    """Versions and hardware of this process, as environment.json keeps them."""
    device = jax.devices()[0]
    hardware = {
        "machine": platform.machine(),
        "processor": processor(),
        "cores": cores(),
        "platform": device.platform,
        "device": device.device_kind,
        "devices": jax.device_count(),
    }
    if device.platform != "cpu":  # CUDA's version, or libtpu's
        hardware["runtime"] = " ".join(device.client.platform_version.split())
        with contextlib.suppress(OSError):
            hardware["driver"] = Path(DRIVER).read_text("utf-8").splitlines()[0].strip()
    return {
        "python": platform.python_version(),
        "versions": {"aevae": __version__}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "hardware": hardware,
        "settings": {name: os.environ.get(name) for name in SETTINGS}
        | {"jax_default_matmul_precision": jax.config.jax_default_matmul_precision},
    }
