"""Values of a config by their path: found by name, replaced, read from text, described.

A value is found by its path (`batch`, `hparams.beta`, `model.encoder.widths`, `objective.k`),
and by any end of the path that no other path shares (`beta`, `latent`, `k`). Overrides, grids
and the columns of the tables all name values this way.
"""

import ast
import dataclasses
import functools
import importlib
import math
import sys
import types
from collections.abc import Mapping

from aevae import InputError


def leaves(node, path=""):
    """Every value of a config by its path."""
    here = {path: node} if path and not _is_tree(node) else {}
    for name, value in _children(node).items():
        here |= leaves(value, f"{path}.{name}" if path else name)
    return here


def _is_tree(node):
    return isinstance(node, Mapping) or (
        dataclasses.is_dataclass(node) and not isinstance(node, type)
    )


def _children(node):
    if isinstance(node, functools.partial):
        return node.keywords
    if isinstance(node, Mapping):
        return node
    if _is_tree(node):
        fields = [f.name for f in dataclasses.fields(node) if f.init]
        # flax's own fields; the image shape, which is the data's; the grid, which is not a run's
        skip = ("parent", "name", "shape") if hasattr(node, "apply") else ("grid",)
        return {name: getattr(node, name) for name in fields if name not in skip}
    return {}


def get(node, path):
    """The value at a path."""
    for name in path.split("."):
        node = _children(node)[name]
    return node


def replace(node, path, value):
    """The same config with another value at a path; nothing is changed in place."""
    return replace_all(node, {path: value})


def replace_all(node, changes):
    """The same config with other values, {path: value}; nothing is changed in place."""
    own, below = {}, {}
    for path, value in changes.items():
        name, _, rest = path.partition(".")
        if rest:
            below.setdefault(name, {})[rest] = value
        else:
            own[name] = value
    for name, inner in below.items():
        own[name] = replace_all(own.get(name, _children(node)[name]), inner)
    if isinstance(node, functools.partial):
        return functools.partial(node.func, *node.args, **node.keywords | own)
    if isinstance(node, Mapping):
        return {**node, **own}
    return dataclasses.replace(node, **own)


class Names:
    """Which path a name stands for: a path, or an end of one that no other path shares."""

    def __init__(self, paths):
        self._paths, self._ends = dict.fromkeys(paths), {}
        for path in paths:
            parts = path.split(".")
            for start in range(1, len(parts)):
                self._ends.setdefault(".".join(parts[start:]), []).append(path)

    def find(self, name):
        """The path that `name` is, or is the end of."""
        ends = [name] if name in self._paths else self._ends.get(name, [])
        if len(ends) == 1:
            return ends[0]
        if ends:
            raise InputError(f"{name!r} may be {' or '.join(ends)}: name one of them")
        names = ", ".join(map(self.short, self._paths))
        raise InputError(f"there is no {name!r}: a sweep or override may name {names}")

    def short(self, path):
        """The shortest end of a path that no other path shares: how tables name it."""
        parts = path.split(".")
        for start in range(len(parts) - 1, 0, -1):
            end = ".".join(parts[start:])
            if end not in self._paths and len(self._ends[end]) == 1:
                return end
        return path


def find(config, name):
    """The path in a config that `name` is, or is the end of."""
    return config.names.find(name)


def short(config, path):
    """The shortest end of a path of a config that no other path shares."""
    return config.names.short(path)


def override(config, name, value):
    """The config with `value`, or what it says if it is a text, at `name`."""
    path = find(config, name)
    value = literal(value) if isinstance(value, str) else value
    return replace(config, path, coerce(value, config.values[path], name))


def literal(text):
    """A Python literal, an infinite or undefined number, or the text itself."""
    text = text.strip()
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return float(text) if text.lower().lstrip("+-") in ("inf", "nan") else text


def coerce(value, current, name):
    """`value` if it is of the kind of `current`, else an error that says which is wanted.

    A function may be given as `module:name`, or by its name alone if it stands in the module of
    the present one.
    """
    if callable(current) and not isinstance(current, type):
        return value if callable(value) else _function(value, current, name)
    kinds = {bool: "True or False", int: "a whole number", float: "a number"}
    kinds |= {str: "a text", tuple: "a tuple, as (64, 64)"}
    kind = type(current)
    if kind is float and type(value) is int:
        value = float(value)
    if kind is tuple and isinstance(value, (list, int)):
        value = tuple(value) if isinstance(value, list) else (value,)
    if type(value) is not kind:
        raise InputError(
            f"{name} must be {kinds.get(kind, kind.__name__)}, not {value!r}"
        )
    return value


def _function(value, current, name):
    base = current.func if isinstance(current, functools.partial) else current
    module, _, attribute = str(value).rpartition(":")
    try:
        there = importlib.import_module(module or base.__module__)
        found = getattr(there, attribute)
        if callable(found):
            return found
    except (ImportError, AttributeError, ValueError):
        pass
    like = [
        known
        for known, thing in vars(sys.modules[base.__module__]).items()
        if not known.startswith("_") and _arguments(thing) == _arguments(base)
    ]
    raise InputError(
        f"{name} must be a function of {base.__module__}, as {', '.join(like)}, or "
        f"module:name, not {value!r}"
    )


def _arguments(function):
    """The names of what a function must be given; None of what is none."""
    if not isinstance(function, types.FunctionType):
        return None
    return function.__code__.co_varnames[: function.__code__.co_argcount]


def describe(value):
    """A value as the tables show it: functions by their name, numbers in full for float32."""
    if isinstance(value, functools.partial):
        return describe(value.func)
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def canonical(node):
    """A config as JSON: modules by class and fields, functions as module:name."""
    if isinstance(node, functools.partial):
        args = {"args": canonical(node.args)} if node.args else {}
        return {"partial": canonical(node.func), **args, **_canonical_children(node)}
    if isinstance(node, Mapping):
        return _canonical_children(node)
    if _is_tree(node):
        return {"class": _reference(type(node)), **_canonical_children(node)}
    if callable(node):
        return _reference(node)
    if isinstance(node, (tuple, list)):
        return [canonical(item) for item in node]
    if isinstance(node, float) and not math.isfinite(node):
        return str(node)  # JSON has no such number
    return node


def _canonical_children(node):
    return {str(name): canonical(value) for name, value in _children(node).items()}


def _reference(thing):
    module = "config" if thing.__module__.startswith("config_") else thing.__module__
    return f"{module}:{thing.__qualname__}"


def facts(node, path=""):
    """Yields (path, text) of every value of a canonical config, classes and functions among them."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from facts(value, f"{path}.{name}" if path else name)
    else:
        yield path, str(node)


def at_default(node, path=""):
    """Yields the paths of fields that have the default which their class declares."""
    fields = (
        dataclasses.fields(node)
        if _is_tree(node) and dataclasses.is_dataclass(node)
        else ()
    )
    defaults = {f.name: f.default for f in fields}
    for name, value in _children(node).items():
        below = f"{path}.{name}" if path else name
        if name in defaults and _equal(value, defaults[name]):
            yield below
        else:
            yield from at_default(value, below)


def _equal(value, default):
    return type(value) is type(default) and value == default
