"""What is wrong with a run is told before any work: one step of it is traced, none is run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError, evaluate, train


def check(config, dataset):
    """A step and an evaluation of a run, traced and not run.

    Returns the number of parameters, and the names of the metrics in training and in evaluation.
    Whatever fails in it, a hyperparameter that is missing or that nothing reads, and data outside
    the likelihood's range are told here, in one line, before any work.
    """
    size = len(dataset.train["image"])
    if config.batch > size:
        raise InputError(
            f"batch {config.batch} is larger than the {size} training examples"
        )
    config = shaped(config, dataset)
    hp = {name: jnp.float32(value) for name, value in config.hparams.items()}
    names = f"{_name(config.objective)} with {_name(config.model)}"

    def one(hp):
        state = train.init(config, train.everything(dataset.train), 0, hp)
        batch = train.rows(dataset.train, np.arange(config.batch))
        batch = config.binarization(jax.random.key(0), batch)
        after, metrics = train.step(config, state, batch, jax.random.key(0), hp)
        held = {name: batch[name] for name in (*dataset.test, "size")}
        held = evaluate.terms(config, state, held, jax.random.key(0), hp)
        x = config.model.apply(state.params, batch, None, hp).x
        return (after, metrics["loss"]), state.params, metrics, held, x

    try:
        jaxpr, shapes = jax.make_jaxpr(one, return_shape=True)(hp)
    except Exception as error:
        if isinstance(error, KeyError):
            raise InputError(
                f"{names}: there is no {error}; hparams has {', '.join(hp) or 'nothing'}, "
                f"a batch {', '.join(dataset.train)}, size"
            ) from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{names} fails: {reason}") from error
    trained, params, metrics, held, x = shapes
    used = _read(jaxpr, len(jax.tree.leaves(trained)))
    unread = [name for name, read in zip(sorted(hp), used) if not read]
    if unread:
        read = ", ".join(sorted(set(hp) - set(unread))) or "none"
        raise InputError(
            f"{names}: nothing reads hyperparameter {', '.join(unread)}; it reads {read}"
        )
    _check_range(dataset, getattr(x, "support", None), type(x).__name__)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    return parameters, sorted(metrics), sorted(held)


def shaped(config, dataset):
    """The config with the data's image shape in its model."""
    if getattr(config.model, "shape", dataset.shape) not in ((), dataset.shape):
        raise InputError(
            f"the model's shape is {config.model.shape}, that of {dataset.name} {dataset.shape}"
        )
    return dataclasses.replace(config, model=config.model.clone(shape=dataset.shape))


def _name(thing):
    return getattr(getattr(thing, "func", thing), "__name__", type(thing).__name__)


def _read(jaxpr, outputs):
    """For each input of a jaxpr, whether one of so many first outputs depends on it."""
    needed = set(map(id, jaxpr.jaxpr.outvars[:outputs]))
    for equation in reversed(jaxpr.jaxpr.eqns):
        if needed & set(map(id, equation.outvars)):
            needed |= set(map(id, equation.invars))
    return [id(var) in needed for var in jaxpr.jaxpr.invars]


def _check_range(dataset, support, name):
    if support is None:
        return
    for part in ("train", "validation", "test"):
        image = getattr(dataset, part)["image"]
        low, high = (0, 1) if image.dtype == np.uint8 else (image.min(), image.max())
        if not (low >= support[0] and high <= support[1]):
            raise InputError(
                f"{dataset.name}, {part}: pixels from {low:g} to {high:g} lie outside the "
                f"{name} likelihood's range, {support[0]:g} to {support[1]:g}"
            )
