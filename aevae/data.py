"""Data sets as arrays, and what turns stored pixels into a batch."""

import functools
import hashlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError
from aevae.sets import cached, own, prepared
from aevae.sets.source import first_line

PARTS = ("train", "validation", "test")


class DataSet(NamedTuple):
    """Arrays of the three splits, and where they come from.

    A split is a dict of arrays with N rows: `image`, [N, H, W, C] or, of vectors, [N, P]; where
    the set has them `label` [N] and ground-truth `factors` [N, F], int32 from 0, and others, such
    as CelebA's `attributes` [N, 40], bool, sorted by their names. The type of the images says what
    they are: uint8 grey levels, of which 255 is 1; bool, binary; float32, values.
    """

    name: str
    version: str
    digest: str  # sha256 of the arrays
    train: dict[str, np.ndarray]
    validation: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    range: tuple[float, float]  # of the images as they are stored
    factors: dict[str, int]  # how many values each has, in the order of `factors`

    @property
    def shape(self):
        """Of one image."""
        return self.train["image"].shape[1:]

    @property
    def parts(self):
        """The three splits by name."""
        return {part: getattr(self, part) for part in PARTS}


def load(name, train, validation, test, data_dir=None):
    """A data set by name; `train`, `validation`, `test` are TFDS splits, as in `train[:50000]`.

    Args:
      name: an embedded set (`digits`, `sprites`, `sprites/64x64`, `gaussian`, ...), prepared on
        first use; a set that TFDS has prepared in a folder as array_record or TFRECORD (`mnist`,
        `emnist/letters`, your own); an .npz or .npy file; or `module:Class`, a TFDS builder.
      data_dir: the folder in which sets are prepared; by default AEVAE_DATA_DIR, or else
        `~/.cache/aevae/tfds` and where TFDS keeps them by itself.
    Raises:
      InputError: what cannot be found, read or used, in one line.
    """
    if own.is_file(name):
        source = own.load(name)
    else:
        source = cached.load(prepared.find(name, data_dir))
    splits = {"train": train, "validation": validation, "test": test}
    parts = {part: _slice(source, split) for part, split in splits.items()}
    return arrays(
        **parts, name=name, version=source.version, factors=dict(source.factors)
    )


def _slice(source, split):
    """The rows of a split as TFDS understands it: `train`, `train[:80%]`, `train+test`."""
    if split in source.splits and len(source.splits[split]["image"]):
        return source.splits[split]
    import tensorflow_datasets as tfds

    sizes = {name: len(fields["image"]) for name, fields in source.splits.items()}
    infos = {
        name: tfds.core.SplitInfo(
            name=name, shard_lengths=[size], num_bytes=0, filename_template=None
        )
        for name, size in sizes.items()
    }
    known = ", ".join(f"{name} ({size})" for name, size in sizes.items())
    try:
        instruction = tfds.core.ReadInstruction.from_spec(split)
        pieces = instruction.to_absolute(tfds.core.SplitDict(infos.values()))
        found = [
            {k: v[piece.from_ : piece.to] for k, v in fields.items()}
            for piece in pieces
            for fields in [source.splits[piece.splitname]]
        ]
    except Exception as error:  # noqa: BLE001, TFDS raises whatever the text leads to
        raise InputError(
            f"cannot read split {split!r} of {source.name} ({first_line(error)}); "
            f"its splits are {known}"
        ) from None
    if not sum(len(part["image"]) for part in found):
        raise InputError(
            f"split {split!r} of {source.name} is empty; its splits are {known}"
        )
    if len(found) == 1:
        return found[0]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def arrays(train, validation, test, name="arrays", version="0", factors=None):
    """A data set of the caller's own arrays: dicts of `image` [N, ...] and perhaps `label`.

    Images are uint8, bool or float32, as `DataSet` says. Images of another type or of none, with
    NaN or infinities, or of one value alone are an InputError.
    """
    digest, ends = hashlib.sha256(), []
    parts = {"train": train, "validation": validation, "test": test}
    for part, split in parts.items():
        ends.append(_range(split["image"], f"{name}, {part}"))
        for field in sorted(split):
            values = np.ascontiguousarray(split[field])
            digest.update(f"{part} {field} {values.dtype} {values.shape}".encode())
            digest.update(values.data)
    low, high = zip(*ends)
    found = min(low), max(high)
    return DataSet(
        name, version, digest.hexdigest(), **parts, range=found, factors=factors or {}
    )


def _range(image, where):
    """The least and the greatest value, if the images can be trained on."""
    good = image.dtype in (np.uint8, np.bool_, np.float32)
    if not good or image.ndim < 2 or not image.size:
        raise InputError(
            f"{where}: images must be uint8, bool or float32 with one row or more, "
            f"not {image.dtype} of shape {list(image.shape)}"
        )
    low, high = float(image.min()), float(image.max())
    if not np.isfinite([low, high]).all():
        count = int((~np.isfinite(image)).sum())
        raise InputError(f"{where}: {count} pixels are NaN or infinite")
    if low == high:
        raise InputError(f"{where}: every pixel is {low:g}")
    return low, high


# Binarisation: (key, stored batch) -> batch, inside the compiled span. What is binary already
# stays as it is under each of them. Fresh keys make fresh draws in training; validation and test
# data are drawn once, with EVALUATION_SEED.

EVALUATION_SEED = 0
BLOCK = 10_000  # rows that are drawn at a time on the host


def none(key, batch):
    """Pixels as numbers: grey levels become [0, 1], floats stay as they are."""
    del key
    image = batch["image"]
    if image.dtype == jnp.uint8:
        image = image / jnp.float32(255)
    return batch | {"image": image.astype(jnp.float32)}


def threshold(key, batch):
    """1 where a pixel is above half, else 0."""
    image = none(key, batch)["image"]
    return batch | {"image": (image > 0.5).astype(jnp.float32)}


def stochastic(key, batch):
    """One Bernoulli draw a pixel with P(1) = x/255, as in Burda et al. (2016); fresh at each visit.

    From 16 random bits u a pixel: u < 257x + (x >> 7) has probability x/255 to 8e-6, and
    exactly 0 and 1 at the ends. Two pixels share a word of random bits. Floats in [0, 1] are
    probabilities themselves.
    """
    x = batch["image"]
    if x.dtype == jnp.bool_:
        return none(key, batch)
    if x.dtype != jnp.uint8:
        ink = jax.random.uniform(key, x.shape) < x
        return batch | {"image": ink.astype(jnp.float32)}
    words = jax.random.bits(key, ((x.size + 1) // 2,), "uint32")
    u = jnp.concatenate([words & 0xFFFF, words >> 16])[: x.size]
    level = x.reshape(-1).astype(jnp.uint32)
    ink = (u < 257 * level + (level >> 7)).astype(jnp.float32)
    return batch | {"image": ink.reshape(x.shape)}


def fixed(key, batch, *, seed=0):
    """One Bernoulli draw a pixel with P(1) = x/255, the same at every visit and in every run.

    Drawn by `binarized` with NumPy's generator of (seed, split) before training. Another draw is
    `functools.partial(fixed, seed=1)`. It is not the draw of Larochelle and Murray (2011), which is
    the set `binarized_mnist`.
    """
    del seed
    if batch["image"].dtype != jnp.bool_:
        raise InputError(
            "binarization `fixed` is drawn before training, by data.binarized"
        )
    return none(key, batch)


OURS = none, threshold, stochastic, fixed


def binarized(dataset, binarization):
    """The data set as it is stored for a binarisation: `fixed` is drawn, once for all runs.

    Its `digest` stays that of what was drawn from. Probabilities outside [0, 1] are an InputError,
    whichever binarisation takes them.
    """
    base = getattr(binarization, "func", binarization)
    if base not in OURS[1:] or dataset.train["image"].dtype == np.bool_:
        return dataset
    low, high = dataset.range
    if dataset.train["image"].dtype == np.float32 and not 0 <= low <= high <= 1:
        raise InputError(
            f"{dataset.name}: pixels from {low:g} to {high:g} lie outside [0, 1], and "
            f"binarization {base.__name__} takes probabilities: divide them, or save grey levels "
            "to 255 as uint8"
        )
    if base is not fixed:
        return dataset
    seed = getattr(binarization, "keywords", {}).get("seed", 0)
    parts = {
        part: split | {"image": _ink(split["image"], [seed, number])}
        for number, (part, split) in enumerate(dataset.parts.items())
    }
    return dataset._replace(**parts, range=(0.0, 1.0))


def _ink(image, seed):
    """A draw with P(1) = x/255, or x for floats, as bool."""
    random, ink = np.random.default_rng(seed), np.empty(image.shape, bool)
    for start in range(0, len(image), BLOCK):
        x = image[start : start + BLOCK]
        if x.dtype == np.uint8:
            u = random.integers(0, 255, x.shape, np.uint8)  # to 254: exactly x/255
        else:
            u = random.random(x.shape, np.float32)
        ink[start : start + BLOCK] = u < x
    return ink


def held_out(binarization, key, split):
    """Validation or test data as they are evaluated: binarised once, and stored as small as can be.

    What is 0 and 1 becomes bool. `none` makes the batch of it. BLOCK rows are drawn at a time, each
    block but an only one with a key of its own.
    """
    if _stays(binarization, split):
        return split
    count, found = len(split["image"]), []
    for block, start in enumerate(range(0, count, BLOCK)):
        own = jax.random.fold_in(key, block) if count > BLOCK else key
        rows = {name: values[start : start + BLOCK] for name, values in split.items()}
        batch = _drawn(binarization)(own, rows)
        found.append({name: np.asarray(values) for name, values in batch.items()})
        image = found[-1]["image"]
        if np.array_equal(image, image.astype(bool)):
            found[-1]["image"] = image.astype(bool)
    return {name: np.concatenate([f[name] for f in found]) for name in found[0]}


def _stays(binarization, split):
    base = getattr(binarization, "func", binarization)
    return base is none or (base in OURS and split["image"].dtype == np.bool_)


def held_bytes(binarization, split):
    """What `held_out` will take."""
    if _stays(binarization, split):
        return sum(values.nbytes for values in split.values())
    base = getattr(binarization, "func", binarization)
    rows = jax.eval_shape(binarization, jax.random.key(0), split)
    sizes = {name: v.size * v.dtype.itemsize for name, v in rows.items()}
    if base in OURS:
        sizes["image"] = rows["image"].size
    return sum(sizes.values())


@functools.cache
def _drawn(binarization):
    return jax.jit(binarization)
