"""A trained run: its model as functions of data."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError, data
from aevae.system import machine

EXAMPLES = 10  # test examples that are kept with a run, to draw reconstructions of


class Trained:
    """A trained run: what is known of it, and its model as functions of data.

    Images are [N, H, W, C], or [N, H, W] of one channel: uint8, bool, or float32 in [0, 1]; or a
    batch, a dict of `image` and what else the model reads. Where the data were standardized, what is given and what comes back is
    in the units of the data as they are stored; `config.model` itself is applied to values that
    `scaling` has standardized. To build on, there are `config`, `params`, `hp` (at the last step),
    `row` (of results.csv), `history`, `examples`, the first test examples as they were evaluated,
    and `seen`, the least and the greatest pixel that the model was given: images beyond them by
    more than a quarter of their distance are on another scale, and refused; and so are uint8 and
    bool images where the scale is not that of these, 0 to 1. Where the data are binary, `seen` is
    False and True, and uint8 images are 0 and 1, not gray levels. Of vectors of floats it is two
    rows, [P] each, and it is a column's median that must not be beyond.
    """

    @machine.standard()
    def __init__(self, config, params, step, row, examples, history=None, seen=None):
        self.config, self.row, self.examples = config, row, examples
        self._history, self.seen = history, seen
        self.step = step
        self.params = jax.tree.map(jnp.asarray, params)
        hp = {name: jnp.float32(value) for name, value in config.hparams.items()}
        self.hp = config.schedule(hp, jnp.int32(step))
        self.scaling = getattr(config.model, "scaling", None)
        self._programs = {}

    @property
    def history(self):
        """The curves by name, [E] each, such as `test_elbo`: what was measured at each epoch's end."""
        if callable(self._history):
            self._history = self._history()
        return self._history

    def encode(self, images):
        """q(z|x), [N, Z]: its `mean` is the code."""
        return self._apply("encode", self._batch(images))

    @machine.standard()
    def decode(self, z, batch=None):
        """p(x|z), [N, H, W, C]: its `mean` is the image."""
        z = jax.tree.map(jnp.asarray, z)
        batch = self._labeled(batch or {}, len(jax.tree.leaves(z)[0]))
        x = self._apply("decode", z, batch, self.hp)
        return x if self.scaling is None else x.stored()

    def prior(self, batch=None):
        """The prior p(z), [1, Z]."""
        return self._apply("prior", self._labeled(batch or {}))

    def reconstruct(self, images):
        """The mean image of the mean code, [N, H, W, C]."""
        batch = self._batch(images)
        return self.decode(self._apply("encode", batch).sample(None), batch).mean

    @machine.standard()
    def sample(self, key, count, batch=None):
        """Generates images: the mean of p(x|z) at `count` codes drawn from the prior, [count, H, W, C].

        `batch` has what the model reads beside the image: the labels of a conditional VAE, [count].
        """
        if not isinstance(count, (int, np.integer)) or count < 1:
            raise InputError(f"count must be a whole number of at least 1, not {count}")
        return self.decode(self.prior(batch).sample(key, count), batch).mean

    @machine.standard()
    def read(self, images):
        """A batch of images [N, H, W, C], checked: bool where the run was trained on 0 and 1."""
        batch = images if isinstance(images, dict) else {"image": images}
        image = _array(batch.get("image"))
        shape, kind = tuple(self.config.model.shape), image.dtype
        if image.shape[1:] == shape[:2] and shape[2:] == (
            1,
        ):  # [N, H, W], as in training
            image = image[..., None]
        known = kind == np.uint8 or kind.kind in "bf"
        if image.shape[1:] != shape or not known or not len(image):
            raise InputError(
                f"images must be uint8, bool or floats, [N, {', '.join(map(str, shape))}], "
                f"not {kind} {list(image.shape)}"
            )
        if self.seen is not None:
            image = _on_scale(image, *np.asarray(self.seen))
        return self._labeled(batch, len(image)) | {"image": image}

    @machine.standard()
    def _batch(self, images):
        batch = self.read(images)
        image = batch["image"]
        if self.scaling is not None:
            image = self.scaling.standardize(data.as_floats(image))
        return data.none(None, batch | {"image": jnp.asarray(image)})

    def _labeled(self, batch, count=None):
        """A batch with its labels, if any, as int32 [N]; an InputError for what are none."""
        if "label" not in batch or isinstance(batch["label"], jax.core.Tracer):
            return batch
        label, classes = (
            _array(batch["label"]),
            getattr(self.config.model, "classes", None),
        )
        odd, most = (
            f"{label.dtype} {list(label.shape)}",
            np.inf if classes is None else classes - 1,
        )
        if (
            label.dtype.kind in "iubf"
            and label.ndim == 1
            and len(label) == (count or len(label))
        ):
            wrong = label[~((label >= 0) & (label <= most) & (label % 1 == 0))]
            if not len(wrong):
                return batch | {"label": label.astype(np.int32)}
            odd = f"{wrong[0]:g}"
        to = "" if classes is None else f" to {most}"
        number = "" if count is None else f"{count} "
        raise InputError(
            f"labels must be {number}whole numbers from 0{to}, [N], not {odd}"
        )

    @machine.standard()
    def _apply(self, method, *args):
        if method not in self._programs:
            apply = functools.partial(self.config.model.apply, method=method)
            self._programs[method] = jax.jit(machine.at_precision(apply))
        try:
            return self._programs[method](self.params, *args)
        except KeyError as error:
            name = error.args[0]
            raise InputError(
                f"the model reads {name!r} of the batch: give a batch, {{image, {name}}}"
            ) from None


def _array(given):
    """What is given as a NumPy array, of the type object where it is none."""
    try:
        return np.asarray(given)
    except ValueError:  # rows of unequal shapes
        return np.empty((), object)


def seen(binarization, dataset, held):
    """The least and the greatest pixel that a model is given, of data and of held-out splits.

    They are False and True where the data are binary as they are stored, and of vectors of floats
    [P] each, the columns'.
    """
    if dataset.stored is not None:  # given as they are stored, and standardized then
        dataset, held = dataset.stored, dataset.stored.parts
    images = [split["image"] for split in held.values()]
    kinds = {dataset.train["image"].dtype, images[0].dtype}
    if kinds == {np.dtype(bool)} and not dataset.fixed:
        return False, True
    if images[0].dtype != np.float32:  # gray levels, or drawn of these
        return 0.0, 1.0
    if binarization is data.none:
        images = [split["image"] for split in dataset.parts.values()]
    axes = 0 if images[0].ndim == 2 else None
    least, most = (f([f(i, axes) for i in images], 0) for f in (np.min, np.max))
    return (least, most) if axes == 0 else (float(least), float(most))


def _on_scale(image, least, most):
    """Images as they are; uint8 as bool where binary data have been seen, from False to True.

    An InputError for images on another scale than from `least` to `most`. A little beyond is none:
    noise, what a Gaussian generates, new rows of a table.
    """
    way, binary = "bring them to that scale", most.dtype == np.bool_
    columns = np.stack([least, most]) if least.ndim else None
    least, most = float(least.min()), float(most.max())
    if binary and image.dtype == np.uint8:
        if image.max() > 1:
            raise InputError(
                f"images are uint8 to {image.max()}, and the run was trained on 0 and 1: give "
                "these, or bool"
            )
        return image.astype(bool)
    if image.dtype.kind != "f":
        if (least, most) == (0, 1):
            return image
        raise InputError(
            f"images of {image.dtype} stand for 0 to 1, and the run was trained on {least:g} to "
            f"{most:g}: give floats on that scale"
        )
    if columns is not None:
        _check_columns(image, *columns)
        return image
    low, high = np.min(image, initial=np.inf), np.max(image, initial=-np.inf)
    margin = 0.25 * (most - least)
    if low >= least - margin and high <= most + margin:
        return image
    if (least, most) == (0, 1):
        if low >= 0 and 100 < high <= 255:
            way = "divide by 255, or give uint8"
        elif -1 <= low < -0.9 and high <= 1:
            way = "give (x + 1) / 2"
    raise InputError(
        f"images from {low:g} to {high:g} are on another scale than the run was trained on, "
        f"{least:g} to {most:g}: {way}"
    )


def _check_columns(rows, least, most):
    """An InputError for rows with a column on another scale than from `least` to `most`, [P] each.

    That is a column whose median is beyond by more than a quarter of their distance, and of few
    rows, any of which may be an outlier, by 1/N of it more.
    """
    if not np.isfinite(rows).all():
        raise InputError("NaN or infinite values were given: remove or replace them")
    width = most - least
    width = np.where(width > 0, width, most.max() - least.min())  # constant in training
    margin, middle = (0.25 + 1 / len(rows)) * width, np.median(rows, 0)
    off = np.flatnonzero((middle < least - margin) | (middle > most + margin))
    if len(off):
        k = off[0]
        raise InputError(
            f"column {k} has the median {middle[k]:g}, and is on another scale than the run was "
            f"trained on, {least[k]:g} to {most[k]:g}: give the columns in the order and on the "
            "scale of the data as they are stored"
        )
