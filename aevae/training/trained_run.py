"""A trained run: its model as functions of data."""

import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError, data
from aevae.system import machine
from aevae.training import given
from aevae.training.given import Seen

EXAMPLES = 10  # test examples that are kept with a run, to draw reconstructions of


class Trained:
    """A trained run: what is known of it, and its model as functions of data.

    Images are [N, H, W, C], or [N, H, W] of one channel, uint8, bool or floats, on the scale of the
    data as they are stored; vectors are [N, P], or a DataFrame of the run's columns, in any order.
    Or they are a batch, a dict of `image` and what else the model reads; labels may be the names of
    the classes, and texts that no model reads are left out. A multi-rate run has a `beta`, by default
    1: a number, or one for each example. Where the data were standardized, what
    is given and what comes back is in the units of the data as they are stored; `config.model`
    itself is applied to values that `scaling` has standardized. To build on, there are `config`,
    `params`, `hp` (at the last step), `row` (of results.csv), `history`, `examples`, the first test
    examples as they were evaluated, and `seen`, a `given.Seen`: the ends of what the model was given,
    and the names of columns and classes. Images beyond these ends by more than a quarter of their
    distance are on another scale, and refused. Of a table it is a column's median that must not be
    far beyond, and a line names one that is beyond. Whole numbers stand for gray levels, 255 for 1,
    where the run was trained on such; in a table of other values they are values. uint8 images of 0
    and 1 are read where the run was trained on binary data, and else refused: they may be either.
    """

    @machine.standard()
    def __init__(self, config, params, step, row, examples, history=None, seen=None):
        self.config, self.row, self.examples = config, row, examples
        self._history = history
        self.seen = None if seen is None else Seen(*seen)
        self.step = step
        self.params = jax.tree.map(jnp.asarray, params)
        hp = {name: jnp.float32(value) for name, value in config.hparams.items()}
        self.hp = config.schedule(hp, jnp.int32(step))
        self.scaling = getattr(config.model, "scaling", None)
        self._programs = {}

    @property
    def history(self):
        """The curves by name, [E] each, such as `test_elbo`: what was measured at the end of each `epoch`."""
        if callable(self._history):
            self._history = self._history()
        return self._history

    def encode(self, images, beta=None):
        """q(z|x), [N, Z]: its `mean` is the code."""
        return self._apply("encode", self._at(beta, self._batch(images)))

    @machine.standard()
    def decode(self, z, batch=None, beta=None):
        """p(x|z), [N, H, W, C]: its `mean` is the image."""
        if isinstance(z, list) and all(map(np.isscalar, jax.tree.leaves(z))):
            z = _array(z)
        shapes = [list(np.shape(code)) for code in jax.tree.leaves(z)]
        odd = (
            f"the model does not decode {' and '.join(map(str, shapes))}: give codes as `encode` gives "
            f"them, [N, Z] of latent size {self.config.model.latent}"
        )
        if not all(shapes):
            raise InputError(odd)
        z = jax.tree.map(jnp.asarray, z)
        count = shapes[0][0]
        batch = self._at(beta, self._labeled(batch or {}, count), count)
        try:
            x = self._apply("decode", z, batch, self.hp)
        except flax.errors.ScopeParamShapeError:
            raise InputError(odd) from None
        return x if self.scaling is None else x.stored()

    def prior(self, batch=None):
        """The prior p(z), [1, Z]."""
        return self._apply("prior", self._labeled(batch or {}))

    def reconstruct(self, images, beta=None):
        """The mean image of the mean code, [N, H, W, C]."""
        batch = self._at(beta, self._batch(images))
        return self.decode(self._apply("encode", batch).sample(None), batch).mean

    @machine.standard()
    def sample(self, key, count, batch=None, prior=None, beta=None):
        """Generates images: the mean of p(x|z) at `count` codes drawn from the prior, [count, H, W, C].

        `batch` has what the model reads beside the image: the labels of a conditional VAE, [count].
        `prior` takes the place of the model's: one that `runs.fitted.load` gives, or another with
        `sample(key, count)`.
        """
        if not isinstance(count, (int, np.integer)) or count < 1:
            raise InputError(f"count must be a whole number of at least 1, not {count}")
        if prior is not None and not hasattr(prior, "sample"):
            raise InputError(
                "prior must be a distribution with sample(key, count), as runs.fitted.load gives it, "
                f"not {prior!r}"
            )
        own = self.prior(batch)
        z = (own if prior is None else prior).sample(key, count)
        if prior is not None:
            needed = jax.eval_shape(lambda: own.sample(key, count))
            given, needs = (
                [list(v.shape) for v in jax.tree.leaves(t)] for t in (z, needed)
            )
            if given != needs:
                raise InputError(
                    f"the prior draws codes {' and '.join(map(str, given))}, and those of this run "
                    f"are {' and '.join(map(str, needs))}: it was fitted to another run's"
                )
        return self.decode(z, batch, beta).mean

    @machine.standard()
    def read(self, images):
        """A batch of images [N, H, W, C], checked: bool where the run was trained on binary data."""
        batch = images if isinstance(images, dict) else {"image": images}
        image, seen = batch.get("image"), self.seen
        if given.is_table(image):
            image, label = given.read_table(image, seen.columns if seen else ())
            batch = batch if label is None else {"label": label} | batch
        image = _array(image)
        shape, kind = tuple(self.config.model.shape), image.dtype
        if image.shape[1:] == shape[:2] and shape[2:] == (
            1,
        ):  # [N, H, W], as in training
            image = image[..., None]
        known = kind == np.uint8 or kind.kind in ("bf" if seen is None else "biuf")
        if image.shape[1:] != shape or not known or not len(image):
            raise InputError(
                f"images must be uint8, bool or floats, [N, {', '.join(map(str, shape))}], "
                f"not {kind} {list(image.shape)}"
            )
        if seen is not None:
            image = given.on_scale(image, seen, self.scaling)
        return self._labeled(batch, len(image)) | {"image": image}

    @machine.standard()
    def _batch(self, images):
        batch = self.read(images)
        image = batch["image"]
        if self.scaling is not None:
            image = self.scaling.standardize(data.as_floats(image))
        return data.none(None, batch | {"image": jnp.asarray(image)})

    def _labeled(self, batch, count=None):
        """A batch with its labels, if any, as int32 [N], and without texts, which no model reads."""
        label = batch.get("label")
        if label is not None and not isinstance(label, jax.core.Tracer):
            classes = getattr(self.config.model, "classes", None)
            names = self.seen.labels if self.seen else ()
            label = given.read_labels(_array(label), count, classes, names)
            batch = batch | {"label": label}
        return {
            name: v for name, v in batch.items() if name == "image" or _is_number(v)
        }

    def _at(self, beta, batch, count=None):
        """A batch with the log betas of its examples, where a beta is given."""
        if beta is None:
            return batch
        if not getattr(self.config.model, "multi_rate", False):
            name = type(self.config.model).__name__
            raise InputError(
                f"a beta is given to multi-rate runs, as of models.MultiRateVAE, and {name} has the one "
                "that it was trained at: leave beta out"
            )
        count = len(batch["image"]) if count is None else count
        return batch | {"log_beta": given.read_betas(beta, count)}

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


def _is_number(value):
    kind = value.dtype if hasattr(value, "dtype") else _array(value).dtype
    return getattr(kind, "kind", "") not in tuple("OUSTVMm")


def seen(binarization, dataset, held):
    """The `Seen` of a model that is given a data set and its held-out splits.

    It is False to True where the data are binary as they are stored, and of vectors of floats
    [P] each, the columns'.
    """
    if dataset.stored is not None:  # given as they are stored, and standardized then
        dataset, held = dataset.stored, dataset.stored.parts
    names = {"columns": dataset.columns, "labels": dataset.labels}
    images = [split["image"] for split in held.values()]
    stored = dataset.train["image"].dtype
    if {stored, images[0].dtype} == {np.dtype(bool)} and not dataset.fixed:
        return Seen(False, True, **names)
    if images[0].dtype != np.float32:  # gray levels, or drawn of these
        return Seen(0.0, 1.0, stored != np.float32, **names)
    if binarization is data.none:
        images = [split["image"] for split in dataset.parts.values()]
    axes = 0 if images[0].ndim == 2 else None
    ends = (f([f(i, axes) for i in images], 0) for f in (np.min, np.max))
    return Seen(*(ends if axes == 0 else map(float, ends)), **names)
