"""Binarization: how stored pixels become what a model sees, in training and for held-out data.

A binarization is a function (key, stored batch) -> batch that runs inside the compiled training
step. Images that are binary already stay as they are under each of those below. In training a
fresh key gives a fresh draw; validation and test data are drawn once, with EVALUATION_SEED.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError

EVALUATION_SEED = 0
BLOCK = 10_000  # rows that are drawn at a time


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

    `binarized` draws it before training, by NumPy's generator of (seed, split);
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
    if dataset.train["image"].dtype == np.float32 and not 0 <= low <= high <= 1:
        raise InputError(
            f"{dataset.name}: pixels from {low:g} to {high:g} lie outside [0, 1], and "
            f"binarization {base.__name__} takes probabilities: rescale them, or save gray levels "
            "from 0 to 255 as uint8"
        )
    if base is not fixed:
        return dataset
    seed = getattr(binarization, "keywords", {}).get("seed", 0)
    parts = {
        part: split | {"image": _bernoulli(split["image"], [seed, number])}
        for number, (part, split) in enumerate(dataset.parts.items())
    }
    return dataset._replace(**parts, range=(0.0, 1.0))


def _bernoulli(image, seed):
    """A draw per pixel with P(1) = x/255, or x for floats, as bool."""
    random, drawn = np.random.default_rng(seed), np.empty(image.shape, bool)
    for start in range(0, len(image), BLOCK):
        x = image[start : start + BLOCK]
        if x.dtype == np.uint8:
            # From 0 to 254, so that P(u < x) = x/255.
            u = random.integers(0, 255, x.shape, np.uint8)
        else:
            u = random.random(x.shape, np.float32)
        drawn[start : start + BLOCK] = u < x
    return drawn


def draw_held_out(binarization, key, split):
    """A held-out split, binarized once and stored compactly; `none` makes batches of it.

    Images of zeros and ones become bool. Rows are drawn BLOCK at a time, with a key for each block
    where there are several.
    """
    if _is_unchanged(binarization, split):
        return split
    count, blocks = len(split["image"]), []
    for number, start in enumerate(range(0, count, BLOCK)):
        block_key = jax.random.fold_in(key, number) if count > BLOCK else key
        rows = {name: values[start : start + BLOCK] for name, values in split.items()}
        batch = _jitted(binarization)(block_key, rows)
        block = {name: np.asarray(values) for name, values in batch.items()}
        bits = block["image"].astype(bool)
        if np.array_equal(block["image"], bits):
            block["image"] = bits
        blocks.append(block)
    return {name: np.concatenate([b[name] for b in blocks]) for name in blocks[0]}


def _is_unchanged(binarization, split):
    """Whether `draw_held_out` returns the split as it is stored."""
    base = _base(binarization)
    return base is none or (base in PACKAGED and split["image"].dtype == np.bool_)


def held_bytes(binarization, split):
    """The memory that `draw_held_out` needs for a split, in bytes."""
    if _is_unchanged(binarization, split):
        return sum(values.nbytes for values in split.values())
    rows = jax.eval_shape(binarization, jax.random.key(0), split)
    sizes = {name: v.size * v.dtype.itemsize for name, v in rows.items()}
    if _base(binarization) in PACKAGED:
        sizes["image"] = rows["image"].size
    return sum(sizes.values())


@functools.cache
def _jitted(binarization):
    return jax.jit(binarization)


def evaluation_key(part, use):
    """The key of a random use of a split: its `binarization`, or the noise of `terms` or `bounds`.

    It is the same for every run and epoch, so that all are evaluated on the same images and noise.
    """
    uses, parts = ("binarization", "terms", "bounds"), ("validation", "test")
    offset = parts.index(part) if part in parts else 2 * len(uses)  # for "train"
    root = jax.random.fold_in(jax.random.key(EVALUATION_SEED), 2)
    return jax.random.fold_in(root, 2 * uses.index(use) + offset)


def held_out(binarization, dataset, part):
    """A split of a data set, binarized as every run with this binarization is evaluated on it."""
    key = evaluation_key(part, "binarization")
    return draw_held_out(binarization, key, getattr(dataset, part))
