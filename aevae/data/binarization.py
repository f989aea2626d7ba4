"""Binarization: what turns stored pixels into what a model sees, and held-out images drawn once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError

# Binarization: (key, stored batch) -> batch, inside the compiled span. What is binary already
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


PACKAGED = none, threshold, stochastic, fixed


def binarized(dataset, binarization):
    """The data set as it is stored for a binarisation: `fixed` is drawn, once for all runs.

    Its `digest` stays that of what was drawn from. Probabilities outside [0, 1] are an InputError,
    whichever binarisation takes them.
    """
    base = getattr(binarization, "func", binarization)
    if base not in PACKAGED[1:] or dataset.train["image"].dtype == np.bool_:
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


def draw_held_out(binarization, key, split):
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
    return base is none or (base in PACKAGED and split["image"].dtype == np.bool_)


def held_bytes(binarization, split):
    """What `held_out` will take."""
    if _stays(binarization, split):
        return sum(values.nbytes for values in split.values())
    base = getattr(binarization, "func", binarization)
    rows = jax.eval_shape(binarization, jax.random.key(0), split)
    sizes = {name: v.size * v.dtype.itemsize for name, v in rows.items()}
    if base in PACKAGED:
        sizes["image"] = rows["image"].size
    return sum(sizes.values())


@functools.cache
def _drawn(binarization):
    return jax.jit(binarization)


def evaluation_key(part, use):
    """Of the `binarization`, and of the noise of `terms` and `bounds`, on a split.

    The same for every run and epoch: all meet the same images and the same noise.
    """
    uses, parts = ("binarization", "terms", "bounds"), ("validation", "test")
    place = parts.index(part) if part in parts else 2 * len(uses)  # of "train"
    root = jax.random.fold_in(jax.random.key(EVALUATION_SEED), 2)
    return jax.random.fold_in(root, 2 * uses.index(use) + place)


def held_out(binarization, dataset, part):
    """A split of a data set as every run with this binarization is evaluated on it."""
    key = evaluation_key(part, "binarization")
    return draw_held_out(binarization, key, getattr(dataset, part))
