"""Checks before any work: one step and one evaluation of a run are traced, none is run."""

import dataclasses
import difflib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError, data
from aevae.config import help_of
from aevae.training import bounds, scales
from aevae.training.step import init_state, initial_batch, train_step
from aevae.training.unread import unread


class Checked(NamedTuple):
    """What is known of a run before any work."""

    parameters: int  # how many
    metrics: list[str]  # names of the metrics in training ...
    held_out_metrics: list[str]  # ... and in evaluation
    density: bool | None  # whether the likelihood is one; None where it does not say
    warnings: list[str]  # of the data, in a line each


def check_run(config, dataset):
    """Traces a step and an evaluation of a run, so that faults show before any work: a `Checked`.

    Raises:
      InputError: whatever fails in it, a hyperparameter that is missing or that nothing reads,
        and data outside the likelihood's range, in one line.
    """
    size = len(dataset.train["image"])
    if config.batch > size:
        raise InputError(
            f"batch {config.batch} is larger than the {size} training examples of {dataset.name}: "
            f"--config.batch={size} is the most"
        )
    config = with_image_shape(config, dataset)
    _check_classes(config.model, dataset)
    hp = {name: jnp.float32(value) for name, value in config.hparams.items()}
    names = f"{_name(config.objective)} with {_name(config.model)}"
    traced = dataclasses.replace(
        config, **{n: _checked(config, n) for n in RETURNED if n != "binarization"}
    )
    seen = {}

    def one(hp):
        state = init_state(traced, initial_batch(dataset.train), 0, hp)
        batch = data.rows(dataset.train, np.arange(config.batch))
        batch = _checked(config, "binarization")(jax.random.key(0), batch)

        def step(state, _):
            return train_step(traced, state, batch, jax.random.key(0), hp)

        # As a loop, so that what the optimizer only stores is not taken for read.
        after, metrics = jax.lax.scan(step, state, length=2)
        metrics = jax.tree.map(lambda values: values[0], metrics)
        rows = _smallest_block(dataset)
        keys = jax.random.split(jax.random.key(0), len(rows["image"]))
        held = data.none(None, data.by_row(config.binarization, keys, rows))
        held |= {"size": rows["size"]}
        now = traced.schedule(hp, state.step)
        held = bounds.terms(config, state, held, jax.random.key(0), now)
        draw = config.model.apply(state.params, batch, None, now)
        x, read = draw.x, (after.params, metrics["loss"], draw.log_px)
        seen["scales"] = hasattr(x, "std") and x.std.shape[1:] == x.mean.shape[1:]
        return read, state.params, metrics, held, x

    try:
        jaxpr, shapes = jax.make_jaxpr(one, return_shape=True)(hp)
    except Exception as error:
        if isinstance(error, KeyError) and {*error.args[:1]} <= {*hp}:
            raise InputError(
                f"{names}: {error} is a hyperparameter, and was not in hp: read it as hp[{error}], "
                "without taking it out"
            ) from error
        if isinstance(error, KeyError) and {*error.args[:1]} <= {*data.FIELDS} - {
            *dataset.train
        }:
            raise InputError(
                f"{names} reads {error} of the batch, and {dataset.name} has none: give a data set "
                "with them, or another model"
            ) from error
        if isinstance(error, KeyError):
            near = _nearest(error.args[:1], [*hp, *dataset.train])
            raise InputError(
                f"{names}: {error}{near} is neither a hyperparameter ({', '.join(hp) or 'none'}) "
                f"nor a field of the batch ({', '.join(dataset.train)}, size)"
            ) from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{names} fails: {reason}{_too_small(config)}") from error
    trained, params, metrics, held, x = shapes
    for name, value in (metrics | held).items():
        if getattr(value, "shape", None) != () or value.dtype != jnp.float32:
            raise InputError(
                f"{names}: the metric {name} must be a float32 scalar, the mean over a batch, not "
                f"{getattr(value, 'dtype', type(value).__name__)} of shape "
                f"{getattr(value, 'shape', '')}"
            )
    idle = unread(jaxpr, len(jax.tree.leaves(trained)))
    idle = [name for name, spare in zip(sorted(hp), idle) if spare]
    if idle:
        read = sorted(set(hp) - set(idle))
        raise InputError(
            f"{names}: nothing reads hyperparameter {', '.join(idle)}{_nearest(idle, read)}; "
            f"it reads {', '.join(read) or 'none'}"
        )
    _check_density(config, dataset, x)
    _check_range(dataset, config.binarization, x)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    density = getattr(x, "density", None)
    warnings = list(scales.doubts(config, dataset, density, seen["scales"]))
    return Checked(parameters, sorted(metrics), sorted(held), density, warnings)


def _is_loss(found):
    """Whether it is (loss, metrics): a float scalar and a dict."""
    if not (
        isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict)
    ):
        return False
    loss = found[0]
    return jnp.shape(loss) == () and jnp.issubdtype(jnp.result_type(loss), jnp.floating)


RETURNED = {  # by the functions of a config
    "objective": _is_loss,
    "optimizer": lambda found: hasattr(found, "init") and hasattr(found, "update"),
    "schedule": lambda found: isinstance(found, dict),
    "binarization": lambda found: isinstance(found, dict) and "image" in found,
}


def _checked(config, name):
    """A function of a config; it raises InputError where what it returns is of another kind."""
    function = getattr(config, name)

    def checked(*args):
        try:
            found = function(*args)
        except (TypeError, AttributeError) as error:
            if name == "optimizer":  # of one of optax, which takes hp for a number
                raise InputError(
                    f"the optimizer {_name(function)} must be a function {help_of(name)}, as "
                    f"optim.adam, and fails: {error}"
                ) from error
            raise
        if not RETURNED[name](found):
            raise InputError(
                f"the {name} {_name(function)} must be a function {help_of(name)}, and returns "
                f"{jax.tree.map(_kind, found)}"
            )
        return found

    return checked


def _kind(leaf):
    known = hasattr(leaf, "shape")
    return f"{leaf.dtype} {list(leaf.shape)}" if known else type(leaf).__name__


def _smallest_block(dataset):
    """The smallest of the blocks that an evaluation is cut into, as a batch."""
    found = []
    for split in (dataset.validation, dataset.test):
        _, rows, rest = bounds.blocks(split, bounds.ROWS)
        found.append(data.rows(split, slice(rest or rows), len(split["image"])))
    return min(found, key=lambda batch: len(batch["image"]))


def with_image_shape(config, dataset):
    """The config with the data's image shape, and their scaling, in its model."""
    if getattr(config.model, "shape", dataset.shape) not in ((), dataset.shape):
        raise InputError(
            f"the model's shape is {config.model.shape}, that of {dataset.name} {dataset.shape}"
        )
    given, declared = {"shape": dataset.shape}, config.standardize
    if (declared != data.NO) != (dataset.scaling is not None):
        there = "are not" if dataset.scaling is None else "are"
        raise InputError(
            f"standardize is {declared}, and the data that were given {there} standardized: give "
            "what data.of(config, dataset=...) returns"
        )
    if dataset.scaling is not None:
        if not hasattr(config.model, "scaling"):
            raise InputError(
                f"standardize={declared} needs a model with the field `scaling`, as subclasses of "
                f"models.VAE have it: {_name(config.model)} has none"
            )
        given["scaling"] = dataset.scaling
    return dataclasses.replace(config, model=config.model.clone(**given))


def _too_small(config):
    """What a failure may come from: whole numbers below 1 of a model or an objective, by name."""
    found = {}
    for path, value in config.values.items():
        sizes = value if isinstance(value, tuple) else (value,)
        small = any(type(size) is int and size < 1 for size in sizes)
        if small and path.startswith(("model.", "objective.")):
            found[path.partition(".")[2]] = value
    told = ", ".join(f"{name} is {value}" for name, value in found.items())
    return f"; {told}, and sizes are whole numbers of at least 1" if told else ""


def _nearest(names, known):
    """A question, where what is known has names spelled much like these."""
    pairs = [difflib.get_close_matches(str(name), known, 1, 0.7) for name in names]
    near = [match for matches in pairs for match in matches]
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _name(thing):
    return getattr(getattr(thing, "func", thing), "__name__", type(thing).__name__)


def _check_density(config, dataset, x):
    """An InputError where a likelihood of standardized data is not a density of what is stored."""
    if dataset.scaling is None:
        return
    how, base = f"standardize={config.standardize}", getattr(x, "base", x)
    if not getattr(x, "density", False) or hasattr(x, "support"):
        raise InputError(
            f"{how} needs a likelihood that is a density of all real numbers, as a Gaussian's, and "
            f"says so (`density = True`, no `support`): {type(base).__name__} does not; take "
            "models.LearnedGaussian, or --config.standardize=no"
        )
    if not hasattr(x, "stored"):
        raise InputError(
            f"{how}: {_name(config.model)}.decode returns {type(x).__name__}, a density of "
            "standardized values: return self.as_stored(it), the density of what is stored"
        )


def _check_range(dataset, binarization, x):
    """An InputError where a likelihood p(x|z) gives some image no probability.

    A likelihood may declare `support`, the least and the greatest value that it can score, and
    `levels`, the number of equally spaced values within these that alone it can score.
    """
    support, levels = getattr(x, "support", None), getattr(x, "levels", None)
    if support is None:
        return
    least, most = support
    for part, split in dataset.parts.items():
        low, high, between = np.inf, -np.inf, 0
        for values in _met(split, binarization):
            low, high = min(low, values.min()), max(high, values.max())
            if levels:
                place = (values - least) * ((levels - 1) / (most - least))
                between += int((abs(place - np.round(place)) > 1e-3).sum())
        where, edge = f"{dataset.name}, {part}: pixels", data.ROUNDING * (most - least)
        if not (low >= least - edge and high <= most + edge):
            is_unit = (least, most) == (0, 1)
            way = f": {data.rescaling(low, high)}" if is_unit else ""
            raise InputError(
                f"{where} from {low:.7g} to {high:.7g} lie outside the {type(x).__name__} "
                f"likelihood's range, {least:g} to {most:g}{way}"
            )
        if between:
            raise InputError(
                f"{where} lie between the {levels} levels of the {type(x).__name__} "
                f"likelihood from {least:g} to {most:g}"
            )


def _check_classes(model, dataset):
    """An InputError where a model that has `classes` would take a label for none of them."""
    count = getattr(model, "classes", None)
    if count is None or "label" not in dataset.train:
        return
    most = max(int(split["label"].max()) for split in dataset.parts.values())
    if most >= count:
        text = f"{most} ({dataset.labels[most]})" if dataset.labels else most
        raise InputError(
            f"{dataset.name} has label {text}, and the model has {count} classes, of labels 0 to "
            f"{count - 1}: set --config.classes={most + 1}"
        )


def _met(split, binarization):
    """Yields arrays of all values that a likelihood is to score."""
    base, kind = getattr(binarization, "func", binarization), split["image"].dtype
    if base in data.PACKAGED and (base is not data.none or kind == np.bool_):
        yield np.array([0.0, 1.0])
    elif base is data.none and kind == np.uint8:
        yield np.arange(256) / 255
    elif base is data.none:
        yield from (split["image"][rows] for rows in data.slices(split["image"]))
    else:
        count, prepare = len(split["image"]), jax.jit(binarization)
        for rows in data.slices(split["image"]):
            key, batch = jax.random.key(rows.start), data.rows(split, rows, count)
            yield np.asarray(prepare(key, batch)["image"])
