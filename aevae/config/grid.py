"""Grids: read from a command line, checked, and expanded into runs."""

import dataclasses
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from aevae import InputError
from aevae.config.compare import columns, comparable, identities, identity, swept
from aevae.config.tree import (
    converted,
    dimensions,
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


def expand(config, grid, only=None):
    """The runs of a grid, in its order: configs without a grid of their own, no two of them equal.

    Args:
      config: the config around which the grid lies.
      grid: a list of {name: values}. Each gives the product of its values, the first name slowest;
        the list gives their union. Values that change together have their names joined by commas,
        and a tuple for each point: {"code,smooth": ((0.1, 0.01), (1, 0.1))}.
      only: numbers of runs, in rising order: these alone are made, whether or not two are equal.
    Raises:
      InputError: a wrong name or value, an empty grid, or a run that is in it twice.
    """
    runs, first = [], 0
    paths = grid_paths(config, grid)
    for product in grid:
        lengths = [len(_listing(values)) for values in product.values()]
        numbers = range(first, first + math.prod(lengths))
        if only is not None:
            numbers = only[bisect_left(only, first) : bisect_left(only, numbers.stop)]
        if numbers or only is None:
            places = [_place(number - first, lengths) for number in numbers]
            runs += _product(config, product, places)
        first += math.prod(lengths)
    if only is not None:
        return runs
    if not runs:
        raise InputError("the grid is empty: it must have at least one run")
    seen = set()
    for run, own in zip(runs, identities(runs)):
        if own in seen:
            clash = columns(run, swept(runs, paths))
            point = ", ".join(f"{name}={value}" for name, value in clash.items())
            raise InputError(f"the grid has this run twice: {point}; leave one out")
        seen.add(own)
    return runs


def _place(number, lengths):
    """The place on each axis of a product's run, whose number counts the last axis fastest."""
    place = []
    for length in reversed(lengths):
        number, at = divmod(number, length)
        place.append(at)
    return place[::-1]


def _product(config, product, places):
    """The runs at some places of a product; they share each value that is the same in several."""
    names = [name.strip() for key in product for name in key.split(",")]
    if again := _twice(grid_paths(config, product), names):
        raise InputError(f"the grid names a value twice: {again}; leave one out")
    needed = [{*at} for at in zip(*places)] or [()] * len(product)  # without a run: ()
    axes = [_points(config, *item, at) for item, at in zip(product.items(), needed)]
    runs, made = [], {}
    for place in places:
        changes = {}
        for axis, at in zip(axes, place):
            for path, value in axis[at].items():
                changes.setdefault(path.partition(".")[0], {})[path] = value
        for field, own in changes.items():
            key = field, *map(id, own.values())
            if key not in made:
                made[key] = replace_all({field: getattr(config, field)}, own)[field]
            changes[field] = made[key]
        runs.append(dataclasses.replace(config, grid=None, **changes))
    return runs


def _points(config, key, values, at=None):
    """The points of an axis, {place: {path: value}}, or those at some places alone."""
    paths = grid_paths(config, {key: values})
    names = [short(config, path) for path in paths]
    joint = ",".join(names)
    values = _listing(values)
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
    return {
        place: {
            path: converted(config, path, value, name)
            for path, value, name in zip(paths, values[place], names)
        }
        for place in (range(len(values)) if at is None else sorted(at))
    }


def _listing(values):
    """The values of an axis in a list; a single one may stand for itself."""
    return [*values] if _listed(values) else [values]


def _listed(value):
    return isinstance(value, (tuple, list, range)) or dimensions(value) > 0


def settle(config, overrides=None, grid=None, only=None):
    """The runs to train: a config with overrides applied, and its grid expanded.

    Args:
      config: the base config.
      overrides: {name: value}, where a value may be text to parse.
      grid: {name: values}, or a list of them, in place of the config's own; without either there is
        one run.
      only: numbers of runs, in rising order: these alone are made, without a look at the others.
    Raises:
      InputError: a wrong name or value, or a value that is set twice or set and swept.
    """
    config, products = _asked(config, overrides, grid)
    if products is None:
        return [config] if only is None else [[config][number] for number in only]
    return expand(config, products, only)


def asks(config, overrides=None, grid=None):
    """What `settle` is asked for: where it is equal, so are the runs; none of them is made."""
    config, products = _asked(config, overrides, grid)
    return identity(config), [
        [
            [
                {path: comparable(value) for path, value in point.items()}
                for point in _points(config, name, values).values()
            ]
            for name, values in product.items()
        ]
        for product in products or [{}]
    ]


def _asked(config, overrides, grid):
    """A config with overrides, and its grid as a list of products, or None."""
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
        return config, None
    over = grid_paths(config, grid)
    for path in paths:
        if path in over:
            raise InputError(
                f"{short(config, path)} is both set and swept: leave one out{own}"
            )
    return config, grid if isinstance(grid, Sequence) else [grid]


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
