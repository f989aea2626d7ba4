"""Binarization: how stored pixels become what a model sees, in training and for held-out data.

A binarization is a function (key, stored batch) -> batch that runs inside the compiled training
step. Images that are binary already stay as they are under each of those below. In training a
fresh key gives a fresh draw. What is held out is drawn once: the draw of a row is a function of
EVALUATION_SEED, the split that the row is stored in and its number there, whatever slice it is in.
"""

import functools
import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError
from aevae.data.sources.images import rescaling
from aevae.data.sources.source import rows_at_once

EVALUATION_SEED = 0
ROUNDING = 1e-5  # of a range, by which float32 arithmetic may leave it
ROWS = 100  # of a stored split share a stream of random bits: another number is another draw
MAPPED = 1_000  # rows at a time, at most, under a binarization of the user's own


def none(key, batch):
    """Keeps pixels as numbers: gray levels x become x/255, floats stay as they are."""
    del key
    image = batch["image"]
    if image.dtype == jnp.uint8:
        image = image / jnp.float32(255)
    return batch | {"image": image.astype(jnp.float32)}


def threshold(key, batch):
    """Sets pixels above one half to 1, and all others to 0."""
    image = none(key, batch)["image"]
    return batch | {"image": (image > 0.5).astype(jnp.float32)}


def stochastic(key, batch):
    """Draws each pixel as a Bernoulli with P(1) = x/255, anew at each visit: Burda et al. (2016).

    Each pixel takes 16 random bits u, half a word: u < 257x + (x >> 7) has probability x/255 to
    within 8e-6, and exactly 0 and 1 at x = 0 and 255. Floats in [0, 1] are the probabilities.
    """
    x = batch["image"]
    if x.dtype == jnp.bool_:
        return none(key, batch)
    if x.dtype != jnp.uint8:
        drawn = jax.random.uniform(key, x.shape) < x
        return batch | {"image": drawn.astype(jnp.float32)}
    words = jax.random.bits(key, ((x.size + 1) // 2,), "uint32")
    u = jnp.concatenate([words & 0xFFFF, words >> 16])[: x.size]
    level = x.reshape(-1).astype(jnp.uint32)
    drawn = (u < 257 * level + (level >> 7)).astype(jnp.float32)
    return batch | {"image": drawn.reshape(x.shape)}


def fixed(key, batch, *, seed=0):
    """Draws each pixel once as a Bernoulli with P(1) = x/255, the same for all visits and runs.

    `binarized` draws it before training, by NumPy, as held-out data are drawn but from `seed`:
    `functools.partial(fixed, seed=1)` is another draw. The draw of Larochelle and Murray (2011) is
    a data set, `binarized_mnist`.
    """
    del seed
    if batch["image"].dtype != jnp.bool_:
        raise InputError(
            f"binarization `fixed` met images of {batch['image'].dtype}: they are drawn before "
            "training, by data.binarized"
        )
    return none(key, batch)


PACKAGED = none, threshold, stochastic, fixed


def _base(binarization):
    """The function of a binarization, without arguments bound by functools.partial."""
    return getattr(binarization, "func", binarization)


def binarized(dataset, binarization):
    """The data set that training reads under a binarization: for `fixed`, its draw.

    The `digest` stays that of the data before the draw.

    Raises:
      InputError: pixels outside [0, 1] under a binarization that takes probabilities.
    """
    base = _base(binarization)
    if base not in PACKAGED[1:] or dataset.train["image"].dtype == np.bool_:
        return dataset
    low, high = dataset.range
    is_float = dataset.train["image"].dtype == np.float32
    if is_float and not -ROUNDING <= low <= high <= 1 + ROUNDING:
        raise InputError(
            f"{dataset.name}: pixels from {low:.7g} to {high:.7g} lie outside [0, 1], and "
            f"binarization {base.__name__} takes probabilities: {rescaling(low, high)}"
        )
    if base is not fixed:
        return dataset
    seed = getattr(binarization, "keywords", {}).get("seed", 0)
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(
            f"the seed of `fixed` must be a whole number from 0, not {seed!r}"
        )
    parts = {
        part: split
        | {"image": _bernoulli(split["image"], seed, *_sources(dataset, part))}
        for part, split in dataset.parts.items()
    }
    return dataset._replace(**parts, range=(0.0, 1.0), drawn={}, fixed=True)


def held_out(binarization, dataset, part, rows=slice(None)):
    """A split of a data set, or some rows of it, as every run with this binarization is evaluated.

    Images of zeros and ones are stored as bool: `none` makes batches of what is returned. A split
    is drawn once and kept with the data set; `rows`, a slice or indices, are drawn alone.

    The draw of a row is a function of (EVALUATION_SEED, source split, row there) alone: of a slice
    as of the whole. For `stochastic` it is NumPy's, whatever JAX is installed. A binarization of
    the user's own is given one row at a time, [1, ...], with a key folded from these three.
    """
    split = getattr(dataset, part)
    if _is_unchanged(binarization, split):
        return {name: values[rows] for name, values in split.items()}
    known, drawn = dataset.drawn.get((binarization, part), (None, None))
    if known is split:
        return {name: values[rows] for name, values in drawn.items()}
    drawn = _drawn(binarization, dataset, part, rows)
    if isinstance(rows, slice) and rows == slice(None):
        dataset.drawn[binarization, part] = split, drawn
    return dict(drawn)


def _drawn(binarization, dataset, part, rows):
    split, base = getattr(dataset, part), _base(binarization)
    some = {name: values[rows] for name, values in split.items()}
    if base is threshold:
        half = 127 if some["image"].dtype == np.uint8 else 0.5
        return some | {"image": some["image"] > half}
    if base is fixed:
        return fixed(None, some)
    sources = _sources(dataset, part, rows)
    if base is stochastic:
        return some | {"image": _bernoulli(some["image"], EVALUATION_SEED, *sources)}
    return _mapped(binarization, some, len(split["image"]), *sources)


def _sources(dataset, part, rows=slice(None)):
    """Of each row of a part: the checksum of its source split's name, and its number there."""
    count = len(getattr(dataset, part)["image"])
    origin = dataset.origins[part]
    sizes = np.array([max(0, stop - start) for _, start, stop in origin])
    if sizes.sum() != count:  # the part was replaced, and is a source of its own
        origin, sizes = [(part, 0, count)], np.array([count])
    names, starts, _ = zip(*origin)
    index, ends = np.arange(count)[rows], np.cumsum(sizes)
    piece = np.searchsorted(ends, index, side="right")
    checksums = np.array([zlib.crc32(name.encode()) for name in names])
    return checksums[piece], index + (np.array(starts) - ends + sizes)[piece]


def _bernoulli(image, seed, splits, numbers):
    """A draw per pixel with P(1) = x/255 exactly, or x rounded up to 24 bits for floats, as bool.

    ROWS successive rows of a source split share a stream of raw bits of PCG64, which NumPy does not
    change, seeded with (split, which of these blocks, seed).
    """
    drawn, shape = np.empty(image.shape, bool), (ROWS, *image.shape[1:])
    block = numbers // ROWS
    order = np.lexsort((block, splits))
    ends = np.diff(splits[order]).astype(bool) | np.diff(block[order]).astype(bool)
    for rows in np.split(order, np.flatnonzero(ends) + 1):
        bits = np.random.PCG64([int(splits[rows[0]]), int(block[rows[0]]), seed])
        u = _uniform(bits, shape, image.dtype)
        drawn[rows] = u[numbers[rows] % ROWS] < image[rows]
    return drawn


def _uniform(bits, shape, kind):
    """Uniform numbers: 0 to 254 for gray levels, so that P(u < x) = x/255; else floats in [0, 1)."""
    count = math.prod(shape)
    if kind == np.uint8:
        u = _bytes(bits, count)
        while len(again := np.flatnonzero(u == 255)):
            u[again] = _bytes(bits, len(again))
        return u.reshape(shape)
    high = _bytes(bits, 4 * count).view("<u4") >> 8
    return (high.astype(np.float32) * np.float32(2**-24)).reshape(shape)


def _bytes(bits, count):
    """Raw random bytes, the same on every machine."""
    return bits.random_raw(-(-count // 8)).astype("<u8").view(np.uint8)[:count]


def _mapped(binarization, split, size, splits, numbers):
    """The rows of a split under the user's own binarization, some at a time."""
    count, pixels = len(split["image"]), math.prod(split["image"].shape[1:])
    length, blocks = min(MAPPED, rows_at_once(pixels)), []
    for start in range(0, count, length):
        # Filled up with the last row, so that one program serves all.
        own = np.minimum(np.arange(start, start + length), count - 1)
        rows = {name: values[own] for name, values in split.items()}
        rows["size"] = np.float32(size)
        found = _jitted(binarization)(_row_keys(splits[own], numbers[own]), rows)
        block = {name: np.asarray(v)[: count - start] for name, v in found.items()}
        bits = block["image"].astype(bool)
        if np.array_equal(block["image"], bits):
            block["image"] = bits
        blocks.append(block)
    return {name: np.concatenate([b[name] for b in blocks]) for name in blocks[0]}


def by_row(binarization, keys, batch):
    """A binarization of each row by itself, [1, ...], with a key of its own, as of held-out data."""
    rows = {name: values for name, values in batch.items() if name != "size"}

    def one(given):
        key, row = given
        row = {name: values[None] for name, values in row.items()}
        found = binarization(key, row | {"size": batch["size"]})
        return {name: values[0] for name, values in found.items() if name != "size"}

    return jax.lax.map(one, (keys, rows))


def _is_unchanged(binarization, split):
    """Whether `held_out` returns the split as it is stored."""
    base = _base(binarization)
    return base is none or (base in PACKAGED and split["image"].dtype == np.bool_)


def held_bytes(binarization, split):
    """The memory that a split takes as `held_out` returns it, in bytes."""
    if _is_unchanged(binarization, split):
        return sum(values.nbytes for values in split.values())
    if _base(binarization) in PACKAGED:
        image = split["image"]
        return image.size + held_bytes(none, split) - image.nbytes
    rows = {n: jax.ShapeDtypeStruct(v.shape, v.dtype) for n, v in split.items()}
    rows["size"] = jax.ShapeDtypeStruct((), np.float32)
    keys = jax.eval_shape(_row_keys, *np.zeros((2, len(split["image"])), int))
    found = jax.eval_shape(functools.partial(by_row, binarization), keys, rows)
    return sum(v.size * v.dtype.itemsize for v in found.values())


@functools.cache
def _jitted(binarization):
    return jax.jit(functools.partial(by_row, binarization))


def evaluation_key(part, use):
    """The key of the noise of `terms` or `bounds` on a held-out split.

    It is the same for every run and epoch, so that all are evaluated with the same noise.
    """
    number = {"terms": 2, "bounds": 4}[use] + ("validation", "test").index(part)
    return jax.random.fold_in(_evaluation_root(), number)


def _row_keys(splits, numbers):
    """The keys of a user's own binarization of held-out rows, [N]."""
    root = jax.random.fold_in(_evaluation_root(), 0)

    def key(split, number):
        return jax.random.fold_in(jax.random.fold_in(root, split), number)

    return jax.vmap(key)(*(jnp.asarray(v, jnp.uint32) for v in (splits, numbers)))


def _evaluation_root():
    return jax.random.fold_in(jax.random.key(EVALUATION_SEED), 2)
