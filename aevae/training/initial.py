"""Parameters that runs start from in place of new ones: their digest, and whether they fit."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from aevae.training.check import with_image_shape
from aevae.training.step import init_state, initial_batch

NAMED = 3  # parameters that a message names


def digest(params):
    """The sha256 of parameters: of their paths, types, shapes and values, in hexadecimal."""
    found = hashlib.sha256()
    for path, value in sorted(_named(params).items()):
        value = np.asarray(value)
        found.update(f"{path} {value.dtype} {value.shape}".encode())
        found.update(np.ascontiguousarray(value).data)
    return found.hexdigest()


def are_finite(params):
    """Whether no parameter is NaN or infinite: those of a run that diverged are."""
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


def misfit(config, dataset, params, scaling):
    """Says in what parameters of another run do not fit a config's model; "" where they do.

    `scaling` is the mean of its standardization, or None.
    """
    config = with_image_shape(config, dataset)
    hp = {name: jnp.float32(value) for name, value in config.hparams.items()}
    new = jax.eval_shape(
        lambda: init_state(config, initial_batch(dataset.train), 0, hp).params
    )
    here, there = _kinds(new), _kinds(params)
    odd = [path for path in {**here, **there} if here.get(path) != there.get(path)]
    few = [
        f"{path} is {there.get(path, 'absent')} there and {here.get(path, 'absent')} here"
        for path in odd[:NAMED]
    ]
    more = f" and {len(odd) - NAMED} more" if len(odd) > NAMED else ""
    own = None if dataset.scaling is None else dataset.scaling.mean
    if odd or np.shape(own) == np.shape(scaling):
        return f"{', '.join(few)}{more}"
    return (
        f"it was trained with standardize={_kind(scaling)}, and these runs have {_kind(own)}: set "
        f"--config.standardize={_kind(scaling)}"
    )


def _kind(mean):
    """The standardization that has a mean of this shape, as a config names it."""
    if mean is None:
        return "no"
    if np.size(mean) == 1:
        return "all"
    return "each" if np.size(mean) > np.shape(mean)[-1] or mean.ndim == 2 else "channel"


def _named(params):
    leaves = jax.tree.leaves_with_path(params)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
    }


def _kinds(params):
    """{path: shape, and the type where it is not float32}, as text."""
    return {
        path: f"{list(leaf.shape)}{'' if leaf.dtype == np.float32 else f' {leaf.dtype}'}"
        for path, leaf in _named(params).items()
    }
