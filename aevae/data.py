"""Data sets, read through TFDS into arrays, and what turns stored pixels into a batch."""

import contextlib
import difflib
import hashlib
import io
import os
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from aevae import InputError

EMBEDDED = ("digits",)  # prepared on first use, from what is installed
PREPARED = ("mnist",)  # read from a folder that TFDS has prepared


class DataSet(NamedTuple):
    """Arrays of the three splits, and where they come from.

    A split is a dict of arrays with N rows: `image`, uint8 [N, H, W, C] or float32, and `label`
    where the set has them.
    """

    name: str
    version: str
    digest: str  # sha256 of the arrays
    train: dict[str, np.ndarray]
    validation: dict[str, np.ndarray]
    test: dict[str, np.ndarray]

    @property
    def shape(self):
        """Of one image."""
        return self.train["image"].shape[1:]


def cache_dir():
    """The folder for what can be made again: prepared data sets, compiled programs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "aevae"


def load(name, train, validation, test, data_dir=None):
    """A data set by name; `train`, `validation`, `test` are TFDS splits, as in `train[:50000]`.

    `digits` is prepared on first use. The others are read from a folder that TFDS has prepared as
    array_record; `data_dir`, or the environment variable AEVAE_DATA_DIR, says where it is.
    """
    if name not in EMBEDDED + PREPARED:
        known = EMBEDDED + PREPARED
        near = difflib.get_close_matches(name, known, cutoff=0.4) or known
        raise InputError(
            f"unknown data set {name!r}: did you mean {' or '.join(near)}?"
        )
    chosen = data_dir or os.environ.get("AEVAE_DATA_DIR")
    splits = {"train": train, "validation": validation, "test": test}
    with _quiet():
        builder = _builder(name, Path(chosen).expanduser() if chosen else None)
        parts = {part: _read(builder, split) for part, split in splits.items()}
    return arrays(**parts, name=name, version=str(builder.version))


def arrays(train, validation, test, name="arrays", version="0"):
    """A data set of the caller's own arrays: dicts of `image` [N, ...] and perhaps `label`.

    Images are uint8, or float32 as the likelihood wants them.
    """
    digest = hashlib.sha256()
    parts = {"train": train, "validation": validation, "test": test}
    for part, split in parts.items():
        image = split["image"]
        if (
            image.dtype not in (np.uint8, np.float32)
            or image.ndim < 2
            or not len(image)
        ):
            raise InputError(
                f"{name}, {part}: images must be uint8 or float32 with one row or more, "
                f"not {image.dtype} of shape {image.shape}"
            )
        for field in sorted(split):
            values = np.ascontiguousarray(split[field])
            digest.update(f"{part} {field} {values.dtype} {values.shape}".encode())
            digest.update(values.tobytes())
    return DataSet(name, version, digest.hexdigest(), **parts)


def _builder(name, folder):
    import tensorflow_datasets as tfds

    where = folder or cache_dir() / "tfds"
    if name in EMBEDDED:
        from aevae.digits import Digits

        where = cache_dir() / "tfds"  # never among somebody's stock sets
        try:
            builder = Digits(data_dir=where, file_format="array_record")
            builder.download_and_prepare()
        except OSError as error:
            raise InputError(f"cannot prepare {name} in {where}: {error}") from None
        return builder

    fault = f"{name} is not readable in {where}: "
    hint = (
        "--data_dir or AEVAE_DATA_DIR must name a folder in which TFDS has prepared it with "
        "file_format='array_record'"
    )
    if not (where / name).is_dir():
        raise InputError(f"{fault}there is no folder {name}; {hint}")
    try:
        builder = tfds.builder(name, data_dir=where)
        builder.as_data_source(split="train[:1]")[0]
    except Exception as error:  # noqa: BLE001, TFDS raises whatever the damage leads to
        raise InputError(f"{fault}{_line(error)}; {hint}") from None
    return builder


def _read(builder, split):
    known = ", ".join(f"{k} ({v.num_examples})" for k, v in builder.info.splits.items())
    try:
        source = builder.as_data_source(split=split)
        rows = source.__getitems__(range(len(source)))  # one call: a third of the time
    except Exception as error:  # noqa: BLE001, as above
        raise InputError(
            f"cannot read split {split!r} of {builder.name} ({_line(error)}); "
            f"its splits are {known}"
        ) from None
    if not rows:
        raise InputError(f"split {split!r} of {builder.name} is empty; it has {known}")
    return {
        "image": np.stack([row["image"] for row in rows]),
        "label": np.array([row["label"] for row in rows], np.int32),
    }


def _line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextlib.contextmanager
def _quiet():
    """TFDS reports preparation, and the lack of OpenCV, at length."""
    import tensorflow_datasets as tfds

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
        tfds.enable_progress_bar()


# Binarisation: (key, stored batch) -> batch, inside the compiled span. Fresh keys make fresh
# draws in training; test data are drawn once, with EVALUATION_SEED.

EVALUATION_SEED = 0


def none(key, batch):
    """Pixels as numbers: uint8 becomes [0, 1], float32 stays as it is."""
    del key
    image = batch["image"]
    if image.dtype == jnp.uint8:
        image = image / jnp.float32(255)
    return batch | {"image": image}


def threshold(key, batch):
    """1 where a pixel is above half, else 0."""
    image = none(key, batch)["image"]
    return batch | {"image": (image > 0.5).astype(jnp.float32)}


def stochastic(key, batch):
    """One Bernoulli draw a pixel with P(1) = x/255, as in Burda et al. (2016).

    From 16 random bits u a pixel: u < 257x + (x >> 7) has probability x/255 to 8e-6, and
    exactly 0 and 1 at the ends. Two pixels share a word of random bits.
    """
    x = batch["image"]
    if x.dtype != jnp.uint8:
        raise InputError(f"binarization `stochastic` needs uint8 images, not {x.dtype}")
    words = jax.random.bits(key, ((x.size + 1) // 2,), "uint32")
    u = jnp.concatenate([words & 0xFFFF, words >> 16])[: x.size]
    level = x.reshape(-1).astype(jnp.uint32)
    ink = (u < 257 * level + (level >> 7)).astype(jnp.float32)
    return batch | {"image": ink.reshape(x.shape)}
