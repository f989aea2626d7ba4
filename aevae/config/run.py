"""The dataclass `Config`, which declares one run, and the config files that return one."""

import ast
import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from aevae import InputError
from aevae.config import sources, syntax, tree

# How many positional arguments the functions of a config are given.
ARGUMENTS = {"objective": 5, "optimizer": 1, "schedule": 2, "binarization": 2}
# Hyperparameters of the package that have a range; others are free.
POSITIVE = ("lr", "discriminator_lr", "sigma", "scale", "clip")
WEIGHTS = (
    *("beta", "gamma", "lambda", "off_diagonal", "diagonal", "commitment", "sparsity"),
    *("contraction", "weight_decay", "capacity", "floor", "noise"),
)
LEAST = 2.0**-126  # float32 arithmetic takes what is closer to 0 for 0
MOST = 1e6  # a weight beyond it leaves nothing of the likelihood in float32


@dataclasses.dataclass(frozen=True)
class Config:
    """A run: model, objective, optimizer, data and hyperparameters, and a default grid around it.

    Raises:
      InputError: a value that is out of its range, by name.
    """

    model: Annotated[Any, "a Flax module, as models.VAE"]
    objective: Annotated[Callable, "(model, params, batch, key, hp) -> (loss, metrics)"]
    hparams: Annotated[
        Mapping[str, float],
        "hp: numbers that are traced and can be swept; empty: left out",
    ]
    optimizer: Annotated[Callable, "hp -> optax.GradientTransformation"]
    schedule: Annotated[
        Callable, "(hp, step) -> hp, applied before objective and optimizer"
    ]
    binarization: Annotated[Callable, "(key, stored batch) -> batch"]
    standardize: Annotated[
        str,
        "no, or by the training split's mean and deviation: of each value, channel or all",
    ] = "no"
    dataset: Annotated[str, "the name or path of a data set"] = "digits"
    train: Annotated[str, "training split, as TFDS slices it"] = "train"
    validation: Annotated[str, "the split that selects the best epoch and run"] = (
        "validation"
    )
    test: Annotated[str, "the split that results are reported on"] = "test"
    batch: Annotated[int, "examples in a step"] = 100
    epochs: Annotated[int, "passes over the training split"] = 10
    keep: Annotated[str, "the epoch whose parameters are reported: last or best"] = (
        "last"
    )
    patience: Annotated[
        float, "epochs without a better validation ELBO after which a run stops"
    ] = math.inf
    evaluate_every: Annotated[
        int, "epochs from one evaluation to the next; there is one after the last, too"
    ] = 1
    precision: Annotated[
        str, "precision of matrix products in training: default, high or highest"
    ] = "default"
    seed: Annotated[int, "seed of initialization, data order and noise"] = 0
    grid: Annotated[
        Any,
        '{name: values}: their product, where "a,b" names values that change together; a list '
        "of these: the union",
    ] = None

    def __post_init__(self):
        _require_model(self.model)
        for name, count in ARGUMENTS.items():
            _require_function(getattr(self, name), name, count)
        if isinstance(self.dataset, Path):
            object.__setattr__(self, "dataset", str(self.dataset))
        if not _is_text(self.dataset):
            raise InputError(
                f"dataset must be the name of a data set, not {_kind(self.dataset)}: give arrays "
                "as dataset=... to study.run or training.fit"
            )
        for name in ("train", "validation", "test"):
            _require(getattr(self, name), name, "text, as train[:80%]", _is_text)
        _require(self.hparams, "hparams", "numbers by name, {name: number}", _are_named)
        latent = getattr(self.model, "latent", 1)
        counts = {"batch": self.batch, "epochs": self.epochs, "latent": latent}
        counts |= {"evaluate_every": self.evaluate_every}
        for name, value in counts.items():
            _require(value, name, "a whole number of at least 1", _counts)
            _require(value, name, "at most 2147483647", (2**31).__gt__)
        _require(self.seed, "seed", "a whole number from 0 to 2147483647", _seeds)
        _require(self.keep, "keep", "last or best", ("last", "best").__contains__)
        check = ("no", "each", "channel", "all").__contains__
        _require(self.standardize, "standardize", "no, each, channel or all", check)
        check = ("default", "high", "highest").__contains__
        _require(self.precision, "precision", "default, high or highest", check)
        allowed = "a whole number of at least 1, or inf"
        _require(self.patience, "patience", allowed, _patience)
        hparams = {k: v for k, v in self.hparams.items() if v is not None}
        for name, value in hparams.items():
            if not tree.dimensions(value):
                hparams[name] = tree.plain(value)
        for name, value in hparams.items():
            allowed, check = "a finite number", _finite
            if name in POSITIVE:
                allowed, check = "a number above 0", _positive
            elif name in WEIGHTS:
                allowed, check = f"a finite number from 0 to {MOST:,.0f}", _weight
            _require(value, f"hyperparameter {name}", allowed, check)
        hparams = {name: float(value) for name, value in hparams.items()}
        object.__setattr__(self, "hparams", hparams)

    @functools.cached_property
    def values(self):
        """Every value of the config by its path, {path: value}."""
        return tree.leaves(self)

    @functools.cached_property
    def names(self):
        """The names by which the values can be found, as `tree.Names`."""
        return tree.Names(self.values)

    @functools.cached_property
    def facts(self):
        """Every value, class and function by its path, as text: equal facts make equal runs."""
        return dict(tree.facts(tree.canonical(self)))


def _require_model(model):
    if isinstance(model, type):
        raise InputError(
            f"model must be an instance, {model.__name__}(...), not a class"
        )
    needs = ("encode", "prior", "decode", "__call__", "shape", "apply", "clone")
    lacks = [name for name in needs if not hasattr(model, name)]
    if lacks:
        raise InputError(
            f"model must be {help_of('model')}: {type(model).__name__} has no {', '.join(lacks)}"
        )


def _require_function(value, name, count):
    """An InputError unless the value is a function of so many positional arguments."""
    has = _kind(value)
    if callable(value):
        try:
            signature = _mismatch(value, count)
        except TypeError:  # of what cannot be hashed
            signature = _mismatch.__wrapped__(value, count)
        if not signature:
            return
        has = f"{tree.describe(value)}{signature}"
    raise InputError(f"{name} must be a function {help_of(name)}, not {has}")


@functools.lru_cache  # many runs have the same functions
def _mismatch(function, count):
    """The signature of a function that does not take so many arguments, or None."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of what is not written in Python
        return None
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return signature
    return None


def _kind(value):
    """A value in a message: text and numbers as they are, anything else by its type."""
    plain = value is None or isinstance(value, (str, int, float))
    return tree.shown(value) if plain else f"of type {type(value).__name__}"


def _require(value, name, allowed, check):
    if not check(value):
        zero = ", which is 0 in float32" if _finite(value) and 0 < value < LEAST else ""
        raise InputError(f"{name} must be {allowed}, not {tree.shown(value)}{zero}")


def _is_text(value):
    return isinstance(value, str) and value.strip() != ""


def _are_named(values):
    return isinstance(values, Mapping) and all(isinstance(k, str) for k in values)


def _counts(value):
    return type(value) is int and value >= 1


def _seeds(value):
    return type(value) is int and 0 <= value < 2**31


def _patience(value):
    return type(value) in (int, float) and (
        value == math.inf or (1 <= value < 2**31 and value == int(value))
    )


def _finite(value):
    return type(value) in (int, float) and abs(value) < 3e38


def _positive(value):
    return _finite(value) and value >= LEAST


def _weight(value):
    return _finite(value) and 0 <= value <= MOST


def doubts(runs):
    """Yields a line for each hyperparameter that is allowed but hardly meant."""
    values = {pair for run in runs for pair in run.hparams.items()}
    for name, value in sorted(values):
        if abs(value) > MOST:
            yield f"hyperparameter {name} is {value:g}: values beyond {MOST:,.0f} are rarely meant"


def split(path):
    """The two parts of `configs/methods.py:factor_vae`: the file, and the name or None."""
    if not isinstance(path, (str, Path)):
        raise InputError(
            f"a config is a Config or the path of a config file, not {_kind(path)}"
        )
    file, colon, part = str(path).rpartition(":")
    return (Path(file), part) if colon and file.endswith(".py") else (Path(path), None)


def load(path, part=None):
    """The config that a config file's `get_config()` returns.

    Args:
      path: the file, or `file.py:part`.
      part: the argument of `get_config`, for a file of several configs.
    Raises:
      InputError: a file that cannot be read, that fails, or that returns no `Config`.
    """
    path, named = split(path)
    part = part or named
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = ", ".join(str(p) for p in sorted(path.parent.glob("*.py")))
        beside = f"; beside it are {found}" if found else ""
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InputError(f"cannot read config file {path}: {reason}{beside}") from None
    try:
        module = sources.execute(path, text).module
        config = module.get_config(*([part] if part else []))
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"config file {path} fails with {reason}") from error
    if not isinstance(config, Config):
        raise InputError(
            f"get_config() of {path} must return a Config, not {tree.shown(config)}"
        )
    return config


def code(text):
    """The code of a config file without the values in its `get_config`, as fingerprints.

    Comments and docstrings do not count. Where `get_config` defines functions or classes, all of
    it counts, since they may use its values.
    """
    inner = (ast.Lambda, ast.FunctionDef, ast.ClassDef)
    return [
        syntax.of_tree(node)
        for node in syntax.body(ast.parse(text))
        if getattr(node, "name", None) != "get_config"
        or any(isinstance(n, inner) for n in ast.walk(node) if n is not node)
    ]


def help_of(path):
    """The description of the field that a path begins with, for --help."""
    hints = get_type_hints(Config, include_extras=True)
    return get_args(hints[path.split(".")[0]])[1]
