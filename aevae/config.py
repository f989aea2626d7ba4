"""One run, declared.

A value in a config is found by its path (`batch`, `hparams.beta`, `model.encoder.widths`,
`objective.k`), and by any end of the path that no other path shares (`beta`, `latent`,
`k`). Overrides, grids and the columns of the tables all name values this way.
"""

import ast
import dataclasses
import functools
import hashlib
import importlib.util
import math
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from aevae import InputError


@dataclasses.dataclass(frozen=True)
class Config:
    """A run, and the grid of runs that is trained around it by default."""

    model: Annotated[Any, "a Flax module, as models.VAE"]
    objective: Annotated[Callable, "(model, params, batch, key, hp) -> (loss, metrics)"]
    hparams: Annotated[Mapping[str, float], "hp: numbers that are traced, and swept"]
    optimizer: Annotated[Callable, "hp -> optax.GradientTransformation"]
    schedule: Annotated[Callable, "(hp, step) -> hp, before objective and optimiser"]
    binarization: Annotated[Callable, "(key, stored batch) -> batch"]
    dataset: Annotated[str, "the name of a data set"] = "digits"
    train: Annotated[str, "training split, as TFDS slices it"] = "train"
    validation: Annotated[str, "the split that the best run is chosen by"] = (
        "validation"
    )
    test: Annotated[str, "the split that results are of"] = "test"
    batch: Annotated[int, "examples in a step"] = 100
    epochs: Annotated[int, "passes over the training split"] = 10
    keep: Annotated[str, "the parameters that results are of: last or best"] = "last"
    patience: Annotated[
        float, "epochs without a better validation ELBO that end a run"
    ] = math.inf
    seed: Annotated[int, "of initial weights, data order and noise"] = 0
    grid: Annotated[
        Any, "{name: values}, a product, or a list of such, their union"
    ] = None

    def __post_init__(self):
        for name in ("batch", "epochs"):
            _require(getattr(self, name), name, "a whole number of at least 1", _counts)
        _require(self.seed, "seed", "a whole number from 0 to 2147483647", _seeds)
        _require(self.keep, "keep", "last or best", ("last", "best").__contains__)
        allowed = "a whole number of at least 1, or inf"
        _require(self.patience, "patience", allowed, _patience)
        latent = getattr(self.model, "latent", 1)
        _require(latent, "latent", "a whole number of at least 1", _counts)
        for name, value in self.hparams.items():
            positive = name in ("lr", "sigma")
            allowed = "a number above 0" if positive else "a finite number"
            check = _positive if positive else _finite
            _require(value, f"hyperparameter {name}", allowed, check)
        hparams = {name: float(value) for name, value in self.hparams.items()}
        object.__setattr__(self, "hparams", hparams)
        for name in ("objective", "optimizer", "schedule", "binarization"):
            _require(getattr(self, name), name, "a function", callable)


def _require(value, name, allowed, check):
    if not check(value):
        raise InputError(f"{name} must be {allowed}, not {value!r}")


def _counts(value):
    return type(value) is int and value >= 1


def _seeds(value):
    return type(value) is int and 0 <= value < 2**31


def _patience(value):
    return value >= 1 and (value == math.inf or value == int(value))


def _finite(value):
    return type(value) in (int, float) and math.isfinite(value) and abs(value) < 3e38


def _positive(value):
    return _finite(value) and value > 0


def split(path):
    """The file, and what `configs/methods.py:factor_vae` names of it, or None."""
    file, colon, part = str(path).rpartition(":")
    return (Path(file), part) if colon and file.endswith(".py") else (Path(path), None)


def load(path, part=None):
    """The config that a config file's `get_config()` returns.

    `part` is its argument, for a file of several configs; it may stand after a colon of the path.
    """
    path, named = split(path)
    part = part or named
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        found = ", ".join(str(p) for p in sorted(path.parent.glob("*.py")))
        beside = f"; beside it are {found}" if found else ""
        reason = getattr(error, "strerror", None) or "it is not a text"
        raise InputError(f"cannot read config file {path}: {reason}{beside}") from None
    # A name of its own by content: flax looks its classes' annotations up in sys.modules.
    name = f"config_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = (
        types.ModuleType(name)
        if spec is None
        else importlib.util.module_from_spec(spec)
    )
    sys.modules[name] = module
    try:
        exec(compile(text, str(path), "exec"), module.__dict__)  # noqa: S102
        config = module.get_config(*([part] if part else []))
    except InputError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"config file {path} fails with {reason}") from error
    if not isinstance(config, Config):
        raise InputError(f"get_config() of {path} must return a Config, not {config!r}")
    return config


def code(text):
    """What a config file runs but for the values in `get_config`: comments change nothing.

    Functions within `get_config` may use its values, and then all of it is code.
    """
    body = ast.parse(text).body
    if ast.get_docstring(ast.Module(body, [])) is not None:
        body = body[1:]
    inner = (ast.Lambda, ast.FunctionDef, ast.ClassDef)
    return [
        ast.dump(node)
        for node in body
        if getattr(node, "name", None) != "get_config"
        or any(isinstance(n, inner) for n in ast.walk(node) if n is not node)
    ]


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
    name, _, rest = path.partition(".")
    if rest:
        value = replace(_children(node)[name], rest, value)
    if isinstance(node, functools.partial):
        return functools.partial(node.func, *node.args, **node.keywords | {name: value})
    if isinstance(node, Mapping):
        return {**node, name: value}
    return dataclasses.replace(node, **{name: value})


def find(config, name):
    """The path that `name` is, or is the end of."""
    paths = leaves(config)
    if name in paths:
        return name
    ends = [path for path in paths if path.endswith(f".{name}")]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise InputError(f"{name!r} may be {' or '.join(ends)}: name one of them")
    names = ", ".join(short(config, path) for path in paths)
    raise InputError(f"there is no {name!r}: a sweep or override may name {names}")


def short(config, path):
    """The shortest end of a path that no other path shares: how tables name it."""
    paths = leaves(config)
    parts = path.split(".")
    for start in range(len(parts) - 1, 0, -1):
        end = ".".join(parts[start:])
        if end not in paths and sum(p.endswith(f".{end}") for p in paths) == 1:
            return end
    return path


def override(config, name, value):
    """The config with `value`, or what it says if it is a text, at `name`."""
    path, value = (
        find(config, name),
        literal(value) if isinstance(value, str) else value,
    )
    return replace(config, path, coerce(value, get(config, path), name))


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


def help_of(path):
    """What a field is, for --help."""
    hints = get_type_hints(Config, include_extras=True)
    return get_args(hints[path.split(".")[0]])[1]
