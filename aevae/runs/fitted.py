"""Priors that were fitted to the codes of a folder's runs: kept as arrays, and loaded back.

A fitted prior is a distribution made of arrays: a NamedTuple or dataclass of arrays, numbers, dicts
and such again, as those of `models.priors`. Its file has the arrays by their paths, and how they
belong together as JSON: names of classes, which are imported. Nothing is pickled.
"""

import dataclasses
import importlib
import json
import zipfile

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError
from aevae.runs import evaluated
from aevae.system import files

OWN, STANDARD = "own", "standard"  # priors that nobody fitted: the model's, N(0, I)
REFERENCE = "train"  # the row of training images in their place
NOT_FIELDS = "parent", "name"  # of a Flax module


def keep(workdir, number, name, distribution, latents=None):
    """Writes a fitted prior of a run; the digest by which its entry in `evaluated` knows it.

    Raises:
      InputError: it is not what can be kept, has a name that another row has, or draws codes of
        other than so many latents.
    """
    _check(name, distribution, latents)
    path, leaves = evaluated.arrays_path(workdir, number, name), {}
    about = json.dumps(_taken_apart(distribution, "prior", leaves))
    with files.writing(path):
        path.parent.mkdir(exist_ok=True)
    with files.whole(path, same=True) as file:
        np.savez(file, about=about, **leaves)
    return files.digest(path)


def _check(name, distribution, latents):
    if name in (REFERENCE, OWN, STANDARD):
        raise InputError(f"{name} is the name of another row of priors.csv: rename it")
    if not hasattr(distribution, "sample"):
        kind = type(distribution).__name__
        raise InputError(f"the prior {name}, a {kind}, has no sample(key, count)")
    drawn = jax.eval_shape(lambda key: distribution.sample(key, 2), jax.random.key(0))
    shapes = [list(leaf.shape) for leaf in jax.tree.leaves(drawn)]
    if latents is not None and shapes != [[2, latents]]:
        raise InputError(
            f"the prior {name} draws two codes as {' and '.join(map(str, shapes))}, and the runs have "
            f"{latents} latents"
        )


def names(workdir, number):
    """The fitted priors of a run's present parameters, by name."""
    entries = evaluated.of(workdir, number)
    return [name for name, entry in entries.items() if "arrays" in entry]


def digest(workdir, number, name):
    """The digest of a fitted prior; InputError where there is none of that name."""
    if name not in names(workdir, number):
        raise InputError(_missing(workdir, number, name))
    return evaluated.of(workdir, number)[name]["arrays"]


def load(workdir, number, name):
    """A prior that was fitted to the codes of a run: a distribution with `sample(key, count)`.

    Raises:
      InputError: none of that name was fitted to the run, or the run was trained on since.
    """
    digest(workdir, number, name)
    path = evaluated.arrays_path(workdir, number, name)
    try:
        with path.open("rb") as file, np.load(file) as archive:
            leaves = dict(archive)
    except (zipfile.BadZipFile, ValueError, EOFError):
        raise InputError(f"{path} is damaged: delete it, and fit it again") from None
    return _put_together(json.loads(leaves["about"].item()), "prior", leaves)


def _missing(workdir, number, name):
    """Says that a run has no fitted prior of a name, and why."""
    there, path = names(workdir, number), evaluated.arrays_path(workdir, number, name)
    there = ", ".join(there) or "none"
    command = f"python -m experiments.prior --workdir={workdir}"
    if name in (OWN, STANDARD):
        return f"{name} is not a fitted prior: those of run {number} are {there}"
    if path.is_file() and evaluated.is_stale(workdir, number):
        return (
            f"{workdir}: run {number} has been trained on since its prior {name} was fitted; "
            f"{command} --prior={name} fits it"
        )
    if path.is_file():
        return f"{path} is damaged; {command} --prior={name} writes it again"
    has = f"has no fitted prior {name}, but {there}"
    return f"{workdir}: run {number} {has}; {command} fits some"


def _taken_apart(value, path, leaves):
    """How a distribution is made, for JSON; its arrays go into `leaves` by their paths."""
    if isinstance(value, (bool, int, float, str)):
        return {"value": value}
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        leaves[path] = np.asarray(value)
        return {}
    if isinstance(value, dict):
        made, fields = {}, value
    elif hasattr(value, "_asdict"):
        made, fields = {"class": _reference(type(value))}, value._asdict()
    elif dataclasses.is_dataclass(value):
        named = [f.name for f in dataclasses.fields(value) if f.init]
        named = [name for name in named if name not in NOT_FIELDS]
        made = {"class": _reference(type(value))}
        fields = {name: getattr(value, name) for name in named}
    else:
        raise InputError(
            "a fitted prior must be a NamedTuple or dataclass of arrays, numbers and dicts: "
            f"{path} is of type {type(value).__name__}"
        )
    parts = {k: _taken_apart(v, f"{path}/{k}", leaves) for k, v in fields.items()}
    return made | {"fields": parts}


def _put_together(made, path, leaves):
    if "value" in made:
        return made["value"]
    if "fields" not in made:
        return jnp.asarray(leaves[path])
    fields = {
        name: _put_together(part, f"{path}/{name}", leaves)
        for name, part in made["fields"].items()
    }
    return _class(made["class"])(**fields) if "class" in made else fields


def _reference(kind):
    """A class as module:name; InputError where another process could not import it."""
    reference = f"{kind.__module__}:{kind.__qualname__}"
    if kind.__module__ == "__main__" or _class(reference) is not kind:
        raise InputError(
            f"the class {kind.__qualname__} of a fitted prior is of this process alone: put it into "
            "a module"
        )
    return reference


def _class(reference):
    module, _, name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        raise InputError(
            f"the class {reference} of a fitted prior cannot be imported: put its module where "
            "Python finds it"
        ) from None
