"""Grids: expanded into runs, named by what differs, grouped, joined to the runs of a folder."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from aevae import InputError
from aevae.config.tree import (
    Names,
    canonical,
    converted,
    describe,
    dimensions,
    facts,
    find,
    literal,
    override,
    plain,
    replace_all,
    short,
    shown,
)


def axis(text):
    """The name and the values in `name=value,value,...`, the text of a --sweep.

    In `code,smooth=0.1:0.01,1:0.1` two change together, and each value is a list. Where one has a
    colon of its own, the values of a point stand in parentheses: `(mine:loss, 0.1)`.
    """
    name, equals, values = text.partition("=")
    if not (name.strip() and equals):
        raise InputError(f"a sweep is name=value,value,..., not {shown(text)}")
    read = _point if "," in name else literal
    return name.strip(), [read(value) for value in _cut(values, ",")]


def point(text):
    """The values in `name=value,name=value`, {name: value}."""
    pairs = [part.partition("=") for part in _cut(text, ",")]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise InputError(f"a run is a number or name=value,..., not {shown(text)}")
    return {name.strip(): literal(value) for name, _, value in pairs}


def _point(text):
    """The values, in a list, of names that change together."""
    text = text.strip()
    if text.startswith("(") and text.endswith(")") and len(_cut(text, ":")) == 1:
        return [literal(part) for part in _cut(text[1:-1], ",")]
    return [literal(part) for part in _cut(text, ":")]


def _cut(text, mark):
    """The parts of a text between marks that are not within brackets or quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        else:
            depth += (letter in "([{") - (letter in ")]}")
            if depth < 0:
                break
        if letter == mark and not (depth or quote):
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise InputError(f"the brackets of {shown(text)} do not match: close each")
    return parts


def expand(config, grid):
    """The runs of a grid, in its order: configs without a grid of their own, no two of them equal.

    Args:
      config: the config around which the grid lies.
      grid: a list of {name: values}. Each gives the product of its values, the first name slowest;
        the list gives their union. Values that change together have their names joined by commas,
        and a tuple for each point: {"code,smooth": ((0.1, 0.01), (1, 0.1))}.
    Raises:
      InputError: a wrong name or value, an empty grid, or a run that is in it twice.
    """
    runs = []
    for product in grid:
        paths = grid_paths(config, product)
        names = [name.strip() for key in product for name in key.split(",")]
        if again := _twice(paths, names):
            raise InputError(f"the grid names a value twice: {again}; leave one out")
        axes = [_points(config, key, values) for key, values in product.items()]
        for points in itertools.product(*axes):
            changes = {path: value for point in points for path, value in point.items()}
            runs.append(replace_all(config, {"grid": None, **changes}))
    if not runs:
        raise InputError("the grid is empty: it must have at least one run")
    seen = {}
    for run in runs:
        if seen.setdefault(identity(run), run) is not run:
            clash = columns(run, swept(runs, grid_paths(config, grid)))
            point = ", ".join(f"{name}={value}" for name, value in clash.items())
            raise InputError(f"the grid has this run twice: {point}; leave one out")
    return runs


def _points(config, key, values):
    """The points of an axis, [{path: value}]."""
    paths = grid_paths(config, {key: values})
    names = [short(config, path) for path in paths]
    joint = ",".join(names)
    values = [*values] if _listed(values) else [values]
    if not values:
        raise InputError(f"the grid gives {joint} no values: it needs at least one")
    if len(paths) == 1:
        of_tuples = isinstance(config.values.get(paths[0]), tuple)
        if of_tuples and len(values) > 1 and not any(map(_listed, values)):
            whole = tuple(map(plain, values))
            each = ",".join(f"({value!r},)" for value in whole)
            raise InputError(
                f'{joint} takes tuples: write "{each}" for {len(values)} runs, or "{whole}" for '
                f"one (in Python, [{each}] or [{whole}])"
            )
        values = [[value] for value in values]
    for value in values:
        if not (_listed(value) and len(value) == len(paths)):
            raise InputError(
                f"{joint} change together: each point needs {len(paths)} values (joined by ':' "
                f"on a command line, a tuple in Python), not {shown(value)}"
            )
    return [
        {p: converted(config, p, v, n) for p, v, n in zip(paths, value, names)}
        for value in values
    ]


def _listed(value):
    return isinstance(value, (tuple, list, range)) or dimensions(value) > 0


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
    check_overrides(overrides)
    paths = []
    for name, value in (overrides or {}).items():
        paths.append(find(config, name))
        config = override(config, name, value)
    if again := _twice(paths, overrides or ()):
        raise InputError(f"a value is set twice: {again}; leave one out")
    own = "" if grid is not None else ", or give a grid in place of the config's own"
    grid = config.grid if grid is None else grid
    if grid is None:
        return [config]
    over = grid_paths(config, grid)
    for path in paths:
        if path in over:
            raise InputError(
                f"{short(config, path)} is both set and swept: leave one out{own}"
            )
    return expand(config, grid if isinstance(grid, Sequence) else [grid])


def _twice(paths, names):
    """The names of the first path that is there twice, as text; None where there is none such."""
    known = {}
    for path, name in zip(paths, names):
        if path in known:
            return name if known[path] == name else f"{known[path]} and {name}"
        known[path] = name
    return None


def check_overrides(overrides):
    """Raises InputError where overrides are not {name: value}."""
    if overrides is not None and not _are_named(overrides):
        raise InputError(f"overrides are {{name: value}}, not {shown(overrides)}")


def _are_named(values):
    return isinstance(values, Mapping) and all(type(name) is str for name in values)


def grid_paths(config, grid=None):
    """The paths of the names in a grid, by default the config's own."""
    grid = config.grid if grid is None else grid
    products = grid if isinstance(grid, Sequence) else [{} if grid is None else grid]
    for product in products:
        if not _are_named(product):
            raise InputError(
                f"a grid is {{name: values}} or a list of these, not {shown(grid)}"
            )
    names = [name for product in products for key in product for name in key.split(",")]
    return [find(config, name.strip()) for name in names]


def identity(run):
    """A key that is equal for equal runs; numbers are compared in float32, as they are trained."""
    return frozenset(
        (path, float(np.float32(v)) if isinstance(v, float) else repr(canonical(v)))
        for path, v in run.values.items()
    )


def swept(runs, named=()):
    """The columns that name a run in the tables, {name: path}.

    They are the paths that are named and all whose values differ between the runs, and always
    latent, hparams and seed.
    """
    paths = dict.fromkeys(path for run in runs for path in run.values)
    names = Names(paths)
    named = {names.find(name) for name in named}
    latent = [path for path in paths if path == "model.latent"]
    hparams = [path for path in paths if path.startswith("hparams.")]
    others = [path for path in paths if path not in (*latent, *hparams, "seed")]
    told = [p for p in others if p in named or len({_cell(r, p) for r in runs}) > 1]
    return {names.short(path): path for path in [*latent, *told, *hparams, "seed"]}


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
      names: the paths in the command's grid. The two may differ in these, and in what already
        differs among the folder's runs.
    Raises:
      InputError: any other difference, by name.
    """
    first, other = runs[0], more[0]
    axes = set(names)
    for path in dict.fromkeys(path for run in runs for path in run.facts):
        if len({run.facts.get(path) for run in runs}) > 1:
            axes.add(path)
    fixed = "epochs" not in axes
    axes.add("epochs")
    for name, old, new in differences(canonical(first), canonical(other), axes):
        raise InputError(
            f"it was trained with {name} {old}, and now {name} is {new}: name it in the "
            "grid (--sweep) to add runs, take another folder (--workdir; with --init_from=FOLDER:RUN "
            "runs go on from trained parameters), or start over (--fresh); what is to change during "
            "a run is a schedule (--config.schedule)"
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
