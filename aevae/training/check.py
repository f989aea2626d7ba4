"""Checks before any work: one step and one evaluation of a run are traced, none is run."""

import dataclasses
import difflib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError, data
from aevae.config import help_of
from aevae.training import bounds
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
            f"batch {config.batch} is larger than the {size} training examples of {dataset.name}"
        )
    config = with_image_shape(config, dataset)
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
    _check_range(dataset, config.binarization, x)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    density = getattr(x, "density", None)
    warnings = (
        _constant_pixels(config, dataset, x) if density and seen["scales"] else []
    )
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
        found = function(*args)
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
    """The config with the data's image shape in its model."""
    if getattr(config.model, "shape", dataset.shape) not in ((), dataset.shape):
        raise InputError(
            f"the model's shape is {config.model.shape}, that of {dataset.name} {dataset.shape}"
        )
    return dataclasses.replace(config, model=config.model.clone(shape=dataset.shape))


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
            raise InputError(
                f"{where} from {low:.7g} to {high:.7g} lie outside the {type(x).__name__} "
                f"likelihood's range, {least:g} to {most:g}"
            )
        if between:
            raise InputError(
                f"{where} lie between the {levels} levels of the {type(x).__name__} "
                f"likelihood from {least:g} to {most:g}"
            )


def _constant_pixels(config, dataset, x):
    """A line on pixels that are constant in training, of a density with a scale for each pixel."""
    images = dataset.train["image"]
    count = int((images.min(0) == images.max(0)).sum())
    if not count:
        return []
    floor = config.values.get("model.likelihood.floor")
    least = f"{floor} (--config.likelihood.floor)" if floor else "if it has one"
    line = (
        f"{dataset.name}, train: {count} of {images[0].size} pixels are constant, and the "
        f"{type(x).__name__} likelihood has a scale for each: only the scale's floor, {least}, "
        "bounds their density"
    )
    return [line]


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
