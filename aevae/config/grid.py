"""Grids: expanded into runs, named by what differs, grouped, joined to the runs of a folder."""

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
    """The name and the values in `name=value,value,...`, the text of a --sweep."""
    name, equals, values = text.partition("=")
    if not (name.strip() and equals):
        raise InputError(f"a sweep is name=value,value,..., not {text!r}")
    try:
        return name.strip(), list(ast.literal_eval(f"[{values}]"))
    except (ValueError, SyntaxError):
        return name.strip(), [literal(value) for value in values.split(",")]


def expand(config, grid):
    """The runs of a grid, in its order: configs without a grid of their own, no two of them equal.

    Args:
      config: the config around which the grid lies.
      grid: a list of {name: values}. Each gives the product of its values, the first name slowest;
        the list gives their union, for values that change together.
    Raises:
      InputError: a wrong name or value, an empty grid, or a run that is in it twice.
    """
    runs = []
    for product in grid:
        paths = {find(config, name): values for name, values in product.items()}
        if len(paths) < len(product):
            raise InputError(
                f"the grid names a value twice: {', '.join(product)}; leave one out"
            )
        axes = []
        for path, values in paths.items():
            name, current = short(config, path), config.values[path]
            values = values if isinstance(values, (tuple, list)) else (values,)
            if isinstance(current, tuple) and not all(
                isinstance(v, (tuple, list)) for v in values
            ):
                values = (tuple(values),)
            if not values:
                raise InputError(
                    f"the grid gives {name} no values: it needs at least one"
                )
            axes.append([(path, coerce(value, current, name)) for value in values])
        for point in itertools.product(*axes):
            runs.append(replace_all(config, {"grid": None, **dict(point)}))
    if not runs:
        raise InputError("the grid is empty: it must have at least one run")
    seen = {}
    for run in runs:
        if seen.setdefault(identity(run), run) is not run:
            clash = columns(run, swept(config, runs))
            point = ", ".join(f"{name}={value}" for name, value in clash.items())
            raise InputError(f"the grid has this run twice: {point}; leave one out")
    return runs


def settle(config, overrides=None, grid=None):
    """The runs to train: a config with overrides applied, and its grid expanded.

    Args:
      config: the base config.
      overrides: {name: value}, where a value may be text to parse.
      grid: {name: values}, or a list of them, in place of the config's own; without either there is
        one run.
    Raises:
      InputError: a wrong name or value, or a value that is set twice or set and swept.
    """
    for name, value in (overrides or {}).items():
        config = override(config, name, value)
    paths = [find(config, name) for name in overrides or {}]
    if len(set(paths)) < len(paths):
        raise InputError(f"a value is set twice: {', '.join(overrides)}; leave one out")
    grid = config.grid if grid is None else grid
    if grid is None:
        return [config]
    products = grid if isinstance(grid, Sequence) else [grid]
    over = {find(config, name) for name in grid_names(config, grid)}
    for path in paths:
        if path in over:
            raise InputError(
                f"{short(config, path)} is both set and swept: leave one out"
            )
    return expand(config, products)


def grid_names(config, grid=None):
    """The names in a grid, by default the config's own."""
    grid = config.grid if grid is None else grid
    products = grid if isinstance(grid, Sequence) else [grid or {}]
    return [name for product in products for name in product]


def identity(run):
    """A key that is equal for equal runs; numbers are compared in float32, as they are trained."""
    return tuple(
        float(np.float32(value)) if isinstance(value, float) else repr(canonical(value))
        for value in run.values.values()
    )


def swept(config, runs):
    """The columns that name a run in the tables, {name: path}.

    They are all values that differ between the runs, and always latent, hparams and seed.
    """
    always = [path for path in config.values if path == "model.latent"]
    always += [path for path in config.values if path.startswith("hparams.")]
    differ = [
        path
        for path in config.values
        if path not in (*always, "seed") and len({_cell(r, path) for r in runs}) > 1
    ]
    return {
        short(config, path): path
        for path in [*always[:1], *differ, *always[1:], "seed"]
    }


def columns(run, paths):
    """The cells of a table's row that name the run, {name: text}, for the `paths` of `swept`."""
    return {name: _cell(run, path) for name, path in paths.items()}


def _cell(run, path):
    """A value as the tables show it; blank where the run has no such value."""
    return describe(run.values[path]) if path in run.values else ""


def groups_of_one_program(runs):
    """The groups of runs that share a program, as lists of indices.

    The runs of a group differ only in hyperparameters and seed.
    """
    found = {}
    for index, run in enumerate(runs):
        static = tuple(
            (path, fact if not path.startswith("hparams.") else "")
            for path, fact in run.facts.items()
            if path != "seed"
        )
        things = (getattr(v, "func", v) for v in run.values.values() if not _plain(v))
        found.setdefault((static, *map(id, things)), []).append(index)
    return list(found.values())


def _plain(value):
    """Whether a value is equal to another if their texts are; functions of one name may differ."""
    return isinstance(value, (bool, int, float, str, tuple, list, type(None)))


def join(runs, more, names):
    """The runs of a folder joined with those of a later command, new ones last.

    Args:
      runs: the runs of the folder.
      more: the runs that the command asks for; it may ask for more epochs of all.
      names: the names in the command's grid. The two may differ in these, and in what already
        differs among the folder's runs.
    Raises:
      InputError: any other difference, by name.
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
            f"it was trained with {name} {old}, and now {name} is {new}: name it in the "
            "grid (--sweep) to add runs, take another folder (--workdir), or start over (--fresh)"
        )
    if fixed and other.epochs < first.epochs:
        raise InputError(
            f"it was trained for {first.epochs} epochs: epochs may be more, not {other.epochs}"
        )
    if fixed:
        runs = [dataclasses.replace(run, epochs=other.epochs) for run in runs]
    known = set(map(identity, runs))
    return runs + [run for run in more if identity(run) not in known]


def differences(old, new, axes=(), defaults=()):
    """Yields (name, old value, new value) where two canonical configs differ outside `axes`.

    A path of `defaults` that only the new config has is ignored, so that folders from before a
    field was added can still be resumed.
    """
    old, new = dict(facts(old)), dict(facts(new))
    for path in dict.fromkeys([*old, *new]):
        was, now = old.get(path, "absent"), new.get(path, "absent")
        allowed = axes if path in old else (*axes, *defaults)
        if was != now and not any(f"{path}.".startswith(f"{a}.") for a in allowed):
            field = path.removesuffix(".class").removesuffix(".partial")
            yield field.rpartition(".")[-1], was, now
