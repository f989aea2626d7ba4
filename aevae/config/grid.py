"""The runs of a grid: expanded, told apart, grouped, and joined to those of a folder."""

import ast
import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from aevae import InputError
from aevae.config.tree import (
    canonical,
    coerce,
    describe,
    facts,
    find,
    literal,
    override,
    replace_all,
    short,
)


def axis(text):
    """A name and its values, from `name=value,value,...`."""
    name, equals, values = text.partition("=")
    if not (name.strip() and equals):
        raise InputError(f"a sweep is name=value,value,..., not {text!r}")
    try:
        return name.strip(), list(ast.literal_eval(f"[{values}]"))
    except (ValueError, SyntaxError):
        return name.strip(), [literal(value) for value in values.split(",")]


def expand(config, grid):
    """The runs of a grid, in its order: configs without a grid, no two of them equal.

    A grid is a list of {name: values}: of each the product, the first name slowest, and of these
    the union, for weights that move together.
    """
    runs = []
    for product in grid:
        paths = {find(config, name): values for name, values in product.items()}
        if len(paths) < len(product):
            raise InputError(f"the grid names a value twice: {', '.join(product)}")
        axes = []
        for path, values in paths.items():
            name, current = short(config, path), config.values[path]
            values = values if isinstance(values, (tuple, list)) else (values,)
            if isinstance(current, tuple) and not all(
                isinstance(v, (tuple, list)) for v in values
            ):
                values = (tuple(values),)
            if not values:
                raise InputError(f"the grid gives {name} no values")
            axes.append([(path, coerce(value, current, name)) for value in values])
        for point in itertools.product(*axes):
            runs.append(replace_all(config, {"grid": None, **dict(point)}))
    if not runs:
        raise InputError("the grid is empty: it must have one run at least")
    seen = {}
    for run in runs:
        if seen.setdefault(identity(run), run) is not run:
            clash = columns(run, swept(config, runs))
            point = ", ".join(f"{name}={value}" for name, value in clash.items())
            raise InputError(f"the grid has this run twice: {point}")
    return runs


def settle(config, overrides=None, grid=None):
    """The runs to train: overrides ({name: value or text}) applied, and the grid expanded.

    `grid` takes the place of the config's own; without any there is one run.
    """
    for name, value in (overrides or {}).items():
        config = override(config, name, value)
    paths = [find(config, name) for name in overrides or {}]
    if len(set(paths)) < len(paths):
        raise InputError(f"a value is set twice: {', '.join(overrides)}")
    grid = config.grid if grid is None else grid
    if grid is None:
        return [config]
    products = grid if isinstance(grid, Sequence) else [grid]
    over = {find(config, name) for name in grid_names(config, grid)}
    for path in paths:
        if path in over:
            raise InputError(
                f"{short(config, path)} is set and swept as well: leave one out"
            )
    return expand(config, products)


def grid_names(config, grid=None):
    """What a grid, or without one the config's own, names."""
    grid = config.grid if grid is None else grid
    products = grid if isinstance(grid, Sequence) else [grid or {}]
    return [name for product in products for name in product]


def identity(run):
    """Equal for equal runs. Hyperparameters are equal when they are in float32."""
    return tuple(
        float(np.float32(value)) if isinstance(value, float) else repr(canonical(value))
        for value in run.values.values()
    )


def swept(config, runs):
    """The paths that tell the runs apart, and that every table has: latent, hparams and seed."""
    always = [path for path in config.values if path == "model.latent"]
    always += [path for path in config.values if path.startswith("hparams.")]
    differ = [
        path
        for path in config.values
        if path not in (*always, "seed") and len({_told(r, path) for r in runs}) > 1
    ]
    return {
        short(config, path): path
        for path in [*always[:1], *differ, *always[1:], "seed"]
    }


def columns(run, paths):
    """What a table's row says of which run it is."""
    return {name: _told(run, path) for name, path in paths.items()}


def _told(run, path):
    """A value as tables have it; blank where a run has no such value."""
    return describe(run.values[path]) if path in run.values else ""


def groups(runs):
    """Indices of the runs that one program trains: alike but for hyperparameters and seed."""
    found = {}
    for index, run in enumerate(runs):
        static = tuple(
            (path, fact if not path.startswith("hparams.") else "")
            for path, fact in run.facts.items()
            if path != "seed"
        )
        found.setdefault(static, []).append(index)
    return list(found.values())


def join(runs, more, names):
    """The runs of a folder with those of another command, new ones last.

    The two may differ in what tells the folder's runs apart or the command's grid `names`, and
    the command may ask for more epochs of all. InputError names any other difference.
    """
    first, other = runs[0], more[0]
    axes = {find(other, name) for name in names}
    for path in first.facts:
        if len({run.facts.get(path) for run in runs}) > 1:
            axes.add(path)
    fixed = "epochs" not in axes
    axes.add("epochs")
    for name, old, new in differences(canonical(first), canonical(other), axes):
        raise InputError(
            f"it was trained with {name} {old}, and now {name} is {new}: name it in a "
            "--sweep to add runs, or take another --workdir, or start over with --fresh"
        )
    if fixed and other.epochs < first.epochs:
        raise InputError(
            f"it was trained for {first.epochs} epochs; epochs can be more, not {other.epochs}"
        )
    if fixed:
        runs = [dataclasses.replace(run, epochs=other.epochs) for run in runs]
    known = set(map(identity, runs))
    return runs + [run for run in more if identity(run) not in known]


def differences(old, new, axes=(), defaults=()):
    """Yields (name, old value, new value) where two canonical configs differ, but for `axes`.

    What the old one lacks is no difference at the paths `defaults`: so a field that a later
    version adds refuses no folder of an earlier one.
    """
    old, new = dict(facts(old)), dict(facts(new))
    for path in dict.fromkeys([*old, *new]):
        was, now = old.get(path, "absent"), new.get(path, "absent")
        allowed = axes if path in old else (*axes, *defaults)
        if was != now and not any(f"{path}.".startswith(f"{a}.") for a in allowed):
            what = path.removesuffix(".class").removesuffix(".partial")
            yield what.rpartition(".")[-1], was, now
