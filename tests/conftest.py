"""Strict JAX, and two levels of compilation, for all tests.

Strict: a reused key, a silent broadcast and a leaked tracer fail, and warnings are errors. This is
set globally: the context managers are thread-local, and a worker thread would escape them.

Two levels: XLA spends most of the suite's time on optimization that most tests do not need, so
their programs are compiled at level 0. The exception is a test marked `bits`, which compares
results bit for bit, or a member of a population with the run alone. XLA's optimization is what
can break such a promise (a window of one step, which it unrolls, has other bits than a loop
unless that is prevented; at level 0 the two agree by themselves), so at level 0 the test would
prove nothing. Where a module-scoped fixture trains what is compared, mark the module. Processes
that a test starts compile as a user's do, at the full level.

The checks of keys and tracers trace every function anew at each call, which is half of a test's
time. What is marked `retraced` is without them: it trains, opens and evaluates runs by functions
that other tests of the default suite trace under both checks (test_feed those that train,
test_figures those of an opened run, test_evaluate's first test those of measures).

A test marked `slow` runs with `-m slow`, or when it is named: `pytest tests/x.py::test_y`.
"""

import gc
import os
import tempfile
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")

# A cache for this session alone, which its workers share: what several tests compile is compiled
# once, and nothing is left behind. JAX writes a program in place, so that a worker may read half
# of one; it then warns, and compiles it itself.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _cache = tempfile.TemporaryDirectory()
    os.environ["XDG_CACHE_HOME"] = _cache.name
HALF = "ignore:Error (reading|writing) persistent compilation cache"

_level = {"quick": None}  # as the flag is; JAX does not let it be read

_beside = Path(__file__).parents[2] / "shared" / "tfds"
PREPARED = Path(os.environ.pop("AEVAE_DATA_DIR", None) or _beside)


def pytest_configure(config):
    from aevae.system import machine

    machine.prepare()
    config.addinivalue_line("filterwarnings", "error")
    config.addinivalue_line("filterwarnings", HALF)
    config.addinivalue_line("markers", "slow: takes minutes; -m slow runs them")
    config.addinivalue_line(
        "markers", "retraced: other modules check its functions for leaks and keys"
    )
    config.addinivalue_line("markers", "bits: needs XLA's full optimization level")
    # A module of the library's own, deprecated by its next version.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets  # noqa: F401


def pytest_collection_modifyitems(config, items):
    if not config.option.markexpr:
        named = [path for path in config.args if "::" in path]
        slow = [i for i in items if i.get_closest_marker("slow")]
        slow = [i for i in slow if not any(_within(i.nodeid, n) for n in named)]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


def _within(node, named):
    """Whether a test is the one that is named, or one of its parameters."""
    path, _, name = named.partition("::")
    file, _, test = node.partition("::")
    same = Path(path).resolve() == (Path(__file__).parents[1] / file).resolve()
    return same and (test == name or test.startswith((f"{name}[", f"{name}::")))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    quick = item.get_closest_marker("bits") is None
    if quick != _level["quick"]:
        jax.config.update("jax_disable_most_optimizations", quick)
        _level["quick"] = quick
        jax.clear_caches()  # they do not tell the levels apart; the cache on disk does
    strict = item.get_closest_marker("retraced") is None
    jax.config.update("jax_debug_key_reuse", strict)
    jax.config.update("jax_check_tracer_leaks", strict)
    # The leak check collects garbage at every trace: it need not look at what is here to stay.
    gc.freeze()


@pytest.fixture(scope="session")
def mnist():
    """A folder in which TFDS has prepared MNIST."""
    if not (PREPARED / "mnist").is_dir():
        pytest.skip(
            f"no prepared MNIST in {PREPARED}; AEVAE_DATA_DIR may name another folder"
        )
    return PREPARED


@pytest.fixture(scope="session")
def digits():
    from aevae import data

    return data.load("digits", "train", "validation", "test")


@pytest.fixture(scope="session")
def tiny():
    """48 + 20 + 20 gray images of 4x4 pixels."""
    from aevae import data

    images = np.random.default_rng(7).integers(0, 256, (88, 4, 4, 1)).astype(np.uint8)
    parts = np.split(images, [48, 68])
    return data.arrays(*({"image": part} for part in parts), name="tiny")
