"""Measures: functions decorated with what they need, their options, and what they look at.

    @measure(bound, labels)
    def accuracy(work, *, neighbors: Annotated[int, "that vote", at_least(1)] = 5):
        \"""The accuracy of predicting the label from the code.\"""
        ...
        yield {"accuracy": value}

A measure is given the `work.Work` of a group and yields, run by run in their order, {column:
value}, perhaps with {name: [Z]} of the latents beside it. With `across=True` it is given the works
of all groups of a folder, and yields for all of their runs. Its keyword-only parameters are its
options: from them follow the flags and the help of `experiments.evaluate`, whose
`--measures=module:function` takes a measure that is not in the package.
"""

import ast
import hashlib
import importlib
import inspect
import sys
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

from aevae import InputError


class Option(NamedTuple):
    """An option of a measure: what its values depend on beside the run."""

    kind: type  # int, or list of names
    default: Any
    help: str
    check: Callable  # (value, facts) -> what is wrong, as a sentence, or None


class Contract(NamedTuple):
    """What a measure carries as its attribute `contract`."""

    needs: tuple[Callable, ...]  # each facts -> what is missing, as a sentence, or None
    options: dict[str, Option]
    across: bool  # whether it looks across all runs of a folder
    default: Callable  # facts -> whether it is measured where none is asked for


class Facts(NamedTuple):
    """What is known of a group before any work.

    `posterior`, `prior` and `likelihood` are sets of the methods and attributes that each has.
    """

    dataset: Any  # data.DataSet
    bounded: bool  # whether the objective has a bound
    seeds: bool  # whether two runs of the folder differ in their seed alone
    vector: bool  # whether the code of an example is one vector
    rates: bool  # whether the rate of each latent has a closed form
    names: dict[str, str]  # of the classes of posterior, prior and likelihood
    posterior: frozenset[str]
    prior: frozenset[str]
    likelihood: frozenset[str]
    levels: int | None  # the number of values that a pixel can take, where limited


def measure(*needs, across=False, default=lambda facts: True):
    """Makes a function a measure, which carries its `Contract`.

    Args:
      needs: requirements, such as `labels`: each maps `Facts` to None where it is met, or else to
        a sentence that says what is missing.
      across: whether it is given the works of all groups, not of one.
      default: a function of `Facts`: whether it is measured where no measure is asked for.
    """

    def carry(function):
        function.contract = Contract(needs, _options(function), across, default)
        return function

    return carry


def _options(function):
    hints = typing.get_type_hints(function, include_extras=True)
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind == parameter.KEYWORD_ONLY:
            kind, text, *check = typing.get_args(hints[name])
            check = check[0] if check else lambda value, facts: None
            found[name] = Option(kind, parameter.default, text, check)
    return found


def missing(function, facts):
    """The sentence of the first need of a measure that is not met; None if all are."""
    found = (need(facts) for need in function.contract.needs)
    return next((sentence for sentence in found if sentence), None)


def check_options(function, given, facts):
    """The options of a measure, its defaults among them; an InputError where one is wrong."""
    found = {}
    for name, option in function.contract.options.items():
        value = given.get(name, option.default)
        fault = option.check(value, facts)
        if fault:
            raise InputError(f"{name} {fault}, not {value!r}")
        found[name] = value
    return found


def find(names, known, attribute="contract"):
    """Functions by name: of the known ones, `module:function`, or functions themselves.

    An InputError for a name that is none, or a function that carries no `attribute`.
    """
    ours = {function.__name__: function for function in known}
    found = [ours.get(n) or (n if callable(n) else _imported(n, ours)) for n in names]
    for name, function in zip(names, found):
        if not hasattr(function, attribute):
            raise InputError(
                f"{name} has no {attribute}: decorate it as those of aevae.evaluation are"
            )
        if function not in known and function.__name__ in ours:
            raise InputError(
                f"{name} has the name of one that aevae has: rename the function"
            )
    return found


def _imported(name, ours):
    module, colon, attribute = str(name).partition(":")
    if not colon:
        raise InputError(
            f"there is no {name!r}; there are {', '.join(ours)}, or module:function"
        )
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"cannot import {name}: {error}") from None


def code_of(function):
    """A digest of a function's code, under which its values are kept.

    Of the syntax tree of the module that defines it, or in a notebook of the function alone,
    without comments and docstrings; where there is no source, of its bytecode.
    """
    module = sys.modules.get(function.__module__)
    own = function.__module__ == "__main__"
    try:
        tree = ast.parse(inspect.getsource(function if own else module).lstrip())
    except (OSError, TypeError, SyntaxError):
        code = function.__code__
        return _digest(repr((code.co_code, code.co_consts, code.co_names)))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(getattr(first, "value", None), ast.Constant):
            node.body = body[1:] or [ast.Pass()]
    return _digest(ast.unparse(tree))


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# Checks of options


def at_least(least):
    """A check of an option: whole numbers from `least` on."""

    def check(value, facts):
        del facts
        good = type(value) is int and value >= least
        return None if good else f"must be a whole number of at least {least}"

    return check


# Needs


def bound(facts):
    """Requires a bound: ELBO, rate and distortion."""
    return None if facts.bounded else "the objective has no bound"


def vector(facts):
    """Requires a code that is one vector."""
    return None if facts.vector else "the code is not one vector"


def labels(facts):
    """Requires a label for each example."""
    there = "label" in facts.dataset.train and "label" in facts.dataset.test
    return None if there else f"{facts.dataset.name} has no labels"


def factors(facts):
    """Requires ground-truth factors for each example."""
    return None if facts.dataset.factors else f"{facts.dataset.name} has no factors"


def rates(facts):
    """Requires a rate of each latent in closed form."""
    if facts.rates:
        return None
    kinds = f"{facts.names['posterior']} to {facts.names['prior']}"
    return f"the rate of each latent has no closed form: kl_each of {kinds} gives none"


def moments(facts):
    """Requires a posterior with mean and standard deviation."""
    return _of(facts, "posterior", ("mean", "std"))


def independent(facts):
    """Requires a posterior whose log-density is a sum over latents."""
    return _of(facts, "posterior", ("log_prob_each",))


def continuous(facts):
    """Requires a code of real numbers."""
    discrete = "discrete" in facts.posterior
    return "the code is discrete" if discrete else None


def several_seeds(facts):
    """Requires two runs that differ in their seed alone."""
    return None if facts.seeds else "no two runs differ in their seed alone"


def _of(facts, what, methods):
    lacking = [name for name in methods if name not in getattr(facts, what)]
    if lacking:
        return f"the {what} {facts.names[what]} has no {lacking[0]}"
    return None
