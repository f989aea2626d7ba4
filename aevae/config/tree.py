"""The values of a config by their paths: found by name, replaced, parsed from text, described.

A value is named by its path (`batch`, `hparams.beta`, `model.encoder.widths`, `objective.k`), or
by any end of it that no other path shares (`beta`, `latent`, `k`). Overrides, grids and the
columns of the tables all use these names.
"""

import ast
import dataclasses
import difflib
import functools
import hashlib
import importlib
import inspect
import math
import re
import reprlib
import sys
import types
from collections.abc import Mapping

import numpy as np

from aevae import InputError

NEW = "hparams."  # paths that begin so may be new to a config
PLAIN = (bool, int, str, type(None))  # what JSON has as it is
# What has no values of its own, of the types that most values have: they are looked at no further.
ENDS = frozenset((*PLAIN, float, tuple, list, types.FunctionType))
CONFIG_FILE = re.compile(r"^config_\d+(_modules)?(?=\.|$)")


def leaves(node, path=""):
    """Every value of a config, {path: value}."""
    if type(node) in ENDS:
        return {path: node} if path else {}
    found = {path: node} if path and not _is_tree(node) else {}
    for name, value in _children(node).items():
        found |= leaves(value, f"{path}.{name}" if path else name)
    return found


def _is_tree(node):
    return hasattr(type(node), "__dataclass_fields__") or isinstance(node, Mapping)


def _children(node):
    if type(node) in ENDS:
        return {}
    if isinstance(node, functools.partial):
        return node.keywords
    if isinstance(node, Mapping):
        return node
    if _is_tree(node):
        flax = hasattr(node, "apply")
        return {name: getattr(node, name) for name in _fields(type(node), flax)}
    return {}


@functools.lru_cache
def _fields(kind, flax):
    """The names of a dataclass's values: none that Flax adds or data give, and no grid of runs."""
    skip = ("parent", "name", "shape", "scaling") if flax else ("grid",)
    return [f.name for f in dataclasses.fields(kind) if f.init and f.name not in skip]


def get(node, path):
    """The value of a config at a path."""
    for name in path.split("."):
        node = _children(node)[name]
    return node


def replace(node, path, value):
    """A copy of a config with `value` at `path`."""
    return replace_all(node, {path: value})


def replace_all(node, changes):
    """A copy of a config with other values, {path: value}."""
    fields, nested = {}, {}
    for path, value in changes.items():
        name, _, rest = path.partition(".")
        if rest:
            nested.setdefault(name, {})[rest] = value
        else:
            fields[name] = value
    for name, inner in nested.items():
        fields[name] = replace_all(fields.get(name, _children(node)[name]), inner)
    if isinstance(node, functools.partial):
        return functools.partial(node.func, *node.args, **node.keywords | fields)
    if isinstance(node, Mapping):
        return {**node, **fields}
    return dataclasses.replace(node, **fields)


class Names:
    """The names of paths: the path itself, and each end of it that no other path shares.

    A hyperparameter that is not there yet has the name of its path, as `hparams.alpha`.
    """

    def __init__(self, paths):
        self._paths, self._ends = dict.fromkeys(paths), {}
        for path in paths:
            parts = path.split(".")
            for start in range(1, len(parts)):
                self._ends.setdefault(".".join(parts[start:]), []).append(path)

    def find(self, name):
        """The path of that name; InputError where there is none or several."""
        ends = [name] if name in self._paths else self._ends.get(name, [])
        if len(ends) == 1:
            return ends[0]
        new = name.startswith(NEW) and name.removeprefix(NEW).isidentifier()
        if new and not ends:
            return name
        if ends:
            raise InputError(
                f"{name!r} is ambiguous: it may be {' or '.join(ends)}; name one of them"
            )
        names = [*map(self.short, self._paths)]
        near = difflib.get_close_matches(name, names, 1, 0.7)
        question = f"did you mean {near[0]}? A" if near else "a"
        raise InputError(
            f"there is no {shown(name)}: {question} sweep or override may name "
            f"{', '.join(names)}, or a new hyperparameter as {NEW}NAME"
        )

    def short(self, path):
        """The shortest name of a path, which is its column in the tables."""
        parts = path.split(".")
        for start in range(len(parts) - 1, 0, -1):
            end = ".".join(parts[start:])
            if end not in self._paths and self._ends.get(end, [path]) == [path]:
                return end
        return path


def find(config, name):
    """The path of a name in a config; InputError where there is none or several."""
    return config.names.find(name)


def short(config, path):
    """The shortest name of a path in a config, which is its column in the tables."""
    return config.names.short(path)


def override(config, name, value):
    """A copy of a config with another value for a name; the value may be text, which is parsed."""
    path = find(config, name)
    value = literal(value) if isinstance(value, str) else value
    value = converted(config, path, value, name)
    if value is None and path not in config.values:
        known = ", ".join(config.hparams) or "none"
        raise InputError(f"there is no {name!r} to leave out; hyperparameters: {known}")
    return replace(config, path, value)


def converted(config, path, value, name):
    """Converts a value to what the config has at the path, as `coerce`.

    A hyperparameter may be one that the config lacks; None, or an empty text, leaves it out. The
    name of a data set is left to `Config`, which says what to do with arrays.
    """
    if path == "dataset":
        return value
    if not path.startswith(NEW):
        return coerce(value, config.values[path], name)
    left_out = value is None or (isinstance(value, str) and not value)
    return None if left_out else coerce(value, 0.0, name)


def literal(text):
    """The value that text stands for: a Python literal, inf or nan, or else the text itself."""
    text = text.strip()
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return float(text) if text.lower().lstrip("+-") in ("inf", "nan") else text


def coerce(value, current, name):
    """Converts a value to the type of the current one; InputError where it is of another type.

    A function may be given as `module:name`, or by its name alone if it is in the module of the
    current one. `name` is what the message calls the value.
    """
    if callable(current) and not isinstance(current, type):
        return value if callable(value) else _function(value, current, name)
    kind = type(current)
    if dimensions(value) <= (kind in (tuple, list)):
        value = plain(value)
    kinds = {bool: "True or False", int: "a whole number", float: "a number"}
    kinds |= {str: "text", tuple: "a tuple, such as (64, 64)"}
    if kind is float and type(value) is int and abs(value) <= sys.float_info.max:
        value = float(value)
    if kind is tuple and isinstance(value, (list, int)):
        value = tuple(value) if isinstance(value, list) else (value,)
    if type(value) is not kind:
        raise InputError(
            f"{name} must be {kinds.get(kind, kind.__name__)}, not {shown(value)}"
        )
    return value


def _function(value, current, name):
    base = current.func if isinstance(current, functools.partial) else current
    module, _, attribute = str(value).rpartition(":")
    home = _public_module(base)
    try:
        found = getattr(importlib.import_module(module or home), attribute)
        if callable(found):
            return found
    except Exception:  # noqa: BLE001, whatever the module does
        found = None
    like = _arguments(base)
    known = [
        name
        for name, thing in vars(sys.modules[home]).items()
        if like and not name.startswith("_") and _arguments(thing) == like
    ]
    known = f" ({', '.join(known)})" if known else ""
    raise InputError(
        f"{name} must be a function of {home}{known}, or module:name, not {shown(value)}"
    )


def _public_module(function):
    """The module by which users know a function: `jax.nn`, not `jax._src.nn.functions`."""
    home = getattr(function, "__module__", None) or type(function).__module__
    name = getattr(function, "__name__", "")
    package = home.partition(".")[0]
    if "._" not in home:
        return home
    public = [
        known
        for known, module in list(sys.modules.items())
        if known.partition(".")[0] == package and "._" not in known
        if getattr(module, "__dict__", {}).get(name) is function
    ]
    return min(public, key=len, default=home)


def _arguments(function):
    """The names of a function's positional arguments; None for what is no function."""
    if not callable(function) or isinstance(function, type):
        return None
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of what is not written in Python
        return None
    return [
        p.name
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]


def describe(value):
    """A value as the tables show it: a function by its name, a number to float32's precision."""
    if isinstance(value, functools.partial):
        return describe(value.func)
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return f"{value:.9g}" if isinstance(value, float) else str(value)


class _Short(reprlib.Repr):
    def repr_instance(self, value, level):
        if dimensions(value):
            return f"an array {list(value.shape)} of {value.dtype}"
        return " ".join(super().repr_instance(value, level).split())


_SHORT = _Short()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 80


def shown(value):
    """A value as a message shows it: short, on one line, and an array by shape and type alone."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # of an integer with thousands of digits
        return f"of type {type(value).__name__}"


def dimensions(value):
    """How many axes an array has; 0 for anything else."""
    array = hasattr(value, "__array__") and not isinstance(value, type)
    return len(getattr(value, "shape", ())) if array else 0


def plain(value):
    """Arrays, their scalars and ranges as Python's lists and numbers; anything else as it is.

    A float32 becomes the shortest number that is it in float32: 0.1, not 0.10000000149.
    """
    if isinstance(value, range):
        return list(value)
    if not hasattr(value, "__array__") or isinstance(value, type):
        return value
    try:
        value = np.asarray(value)[()]
    except TypeError:  # as of random keys
        return value
    if value.ndim:
        return [plain(item) for item in value]
    return value.item() if value.dtype.kind in "biuU" else float(str(value))


def canonical(node):
    """A config as JSON has it: modules by class and fields, functions as `module:name`."""
    if type(node) in PLAIN:
        return node
    node = plain(node)
    if isinstance(node, functools.partial):
        args = {"args": canonical(node.args)} if node.args else {}
        return {"partial": canonical(node.func), **args, **_canonical_children(node)}
    if isinstance(node, Mapping):
        return _canonical_children(node)
    if _is_tree(node):
        return {"class": reference(type(node)), **_canonical_children(node)}
    if callable(node):
        return reference(node)
    if isinstance(node, (tuple, list)):
        return [canonical(item) for item in node]
    if isinstance(node, float) and not math.isfinite(node):
        return str(node)  # JSON has no such number
    if hasattr(node, "__array__") and not isinstance(node, float):
        return array(node)
    return node


def _canonical_children(node):
    return {str(name): canonical(value) for name, value in _children(node).items()}


def reference(thing):
    """`module:name` of a function or class; a config file's is the same wherever the file lies."""
    module = CONFIG_FILE.sub("config", thing.__module__ or "")
    return f"{module}:{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def array(value):
    """An array as text: its type, its shape and a digest of its values."""
    try:
        content = np.asarray(value)
    except TypeError:  # as of random keys
        return repr(value)
    digest = hashlib.sha256(content.tobytes()).hexdigest()[:16]
    return f"array {content.dtype} {list(content.shape)} {digest}"


def facts(node, path=""):
    """Yields (path, text) for every value of a canonical config, classes and functions included."""
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


def things(node, path=""):
    """Yields (path, thing) for every function and class of a config.

    A partial has the arguments that it binds by position; those by name are values of the config.
    """
    if isinstance(node, functools.partial):
        yield path, functools.partial(node.func, *node.args) if node.args else node.func
    elif _is_tree(node):
        if path and not isinstance(node, Mapping):
            yield path, type(node)
    elif isinstance(node, (tuple, list)):
        for number, item in enumerate(node):
            yield from things(item, f"{path}.{number}")
    elif callable(node):
        yield path, node
    for name, value in _children(node).items():
        yield from things(value, f"{path}.{name}" if path else name)
