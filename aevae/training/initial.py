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


def misfit(config, dataset, params, standardized):
    """Says in what parameters of another run do not fit a config's model; "" where they do.

    `standardized` says whether they are of standardized values.
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
    if odd or standardized == (dataset.scaling is not None):
        return f"{', '.join(few)}{more}"
    kinds = "values as they are stored", "standardized values"
    return (
        f"it was trained on {kinds[standardized]}, and these runs are not: set "
        "--config.standardize as it was there"
    )


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
