"""Strict JAX: reused keys, silent broadcasts and leaked tracers fail, warnings are errors.

Set globally: the context managers are thread-local, and a worker thread would escape them.
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
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_check_tracer_leaks", True)

# A cache of the session's own, and of each of its workers: the embedded data set is prepared anew,
# nothing is left behind, and a program that several tests compile is compiled once.
_cache = tempfile.TemporaryDirectory()
os.environ["XDG_CACHE_HOME"] = _cache.name

_beside = Path(__file__).parents[2] / "shared" / "tfds"
PREPARED = Path(os.environ.pop("AEVAE_DATA_DIR", None) or _beside)


def pytest_configure(config):
    from aevae.system import machine

    machine.prepare()
    config.addinivalue_line("filterwarnings", "error")
    config.addinivalue_line("markers", "slow: takes minutes; -m slow runs them")
    # A module of the library's own, deprecated by its next version.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets  # noqa: F401


def pytest_collection_modifyitems(config, items):
    if not config.option.markexpr:
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


def pytest_runtest_setup():
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
    """48 + 20 + 20 grey images of 4x4 pixels."""
    from aevae import data

    images = np.random.default_rng(7).integers(0, 256, (88, 4, 4, 1)).astype(np.uint8)
    parts = np.split(images, [48, 68])
    return data.arrays(*({"image": part} for part in parts), name="tiny")
