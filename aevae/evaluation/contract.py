"""Measures: functions decorated with what they need, their options, and what they look at.

    @measure(bound, labels)
    def accuracy(work, *, neighbors: Annotated[int, "that vote", at_least(1)] = 5):
        \"""The accuracy of predicting the label from the code.\"""
        ...
        yield {"accuracy": value}

A measure is given the `work.Work` of a group and yields, run by run in their order, {column:
value}, a pair of that and {column: [Z]} of latents, or a `Found` of more. With `across=True` it is
given the works of all groups of a folder, and yields for all of their runs. Its keyword-only
parameters are its options: from those of the package's measures follow the flags and the help of
`experiments.evaluate`. `--measures=module:function` takes a measure that is not in the package,
with the defaults of its options; from Python they are arguments of `evaluate.run`.
"""

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aevae import InputError
from aevae.config import fingerprint, syntax

NOTHING = types.MappingProxyType({})
KINDS = int, float, str, list  # of options
NO_MORE = (lambda value, facts: None, lambda value: ())  # no check, no functions


class Option(NamedTuple):
    """An option of a measure: what its values depend on beside the run."""

    kind: type  # int, float, str, or list of names
    default: Any
    help: str
    check: Callable  # (value, facts) -> what is wrong, as a sentence, or None
    functions: Callable  # value -> the functions that it names, whose code counts


class Rows(NamedTuple):
    """Rows of a run in a table of their own, whose `label` is the column that tells them apart."""

    label: str  # such as "prior"
    rows: Mapping  # {its value: {column: value}}


class Found(NamedTuple):
    """What a measure yields of a run; values are numbers, or None."""

    values: Mapping = NOTHING  # {column: value}, for results.csv
    tables: Mapping = NOTHING  # {name: Rows}, for NAME.csv
    fitted: Any = None  # a prior of the codes, which `runs.fitted` keeps


def of_latents(columns):
    """The table `latents`, of columns {name: [Z]}: a row for each latent."""
    rows = [dict(zip(columns, values)) for values in zip(*columns.values())]
    return {"latents": Rows("latent_index", dict(enumerate(rows)))}


def of_priors(rows):
    """The table `priors`, of rows {prior: {column: value}}."""
    return {"priors": Rows("prior", rows)}


class Contract(NamedTuple):
    """What a measure carries as its attribute `contract`."""

    needs: tuple[Callable, ...]  # each facts -> what is missing, as a sentence, or None
    options: dict[str, Option]
    across: bool  # whether it looks across all runs of a folder
    default: Callable  # facts -> whether it is measured where none is asked for
    reads: Callable | None  # see `measure`


class Facts(NamedTuple):
    """What is known of a group before any work; where it is a task of its own, without other groups.

    `posterior`, `prior` and `likelihood` are sets of the methods and attributes that each has.
    """

    dataset: Any  # data.DataSet
    bounded: bool  # whether the objective has a bound
    seeds: bool  # whether two runs of the folder differ in their seed alone
    vector: bool  # whether the code of an example is one vector ...
    latents: int | None  # ... of so many numbers
    rates: bool  # whether the rate of each latent has a closed form
    multi_rate: bool  # whether one run is of every beta
    names: dict[str, str]  # of the classes of posterior, prior and likelihood
    posterior: frozenset[str]
    prior: frozenset[str]
    likelihood: frozenset[str]
    levels: int | None  # the number of values that a pixel can take, where limited


def measure(*needs, across=False, default=lambda facts: True, reads=None):
    """Makes a function a measure, which carries its `Contract`.

    Args:
      needs: requirements, such as `labels`: each maps `Facts` to None where it is met, or else to
        a sentence that says what is missing.
      across: whether it is given the works of all groups, not of one.
      default: a function of `Facts`: whether it is measured where no measure is asked for.
      reads: a function of (run folder, number of a run, options) that gives what the values depend on
        beside the run's parameters, for JSON: if it changes, they are measured again. It raises
        InputError where something is missing.
    """

    def carry(function):
        options = _options(function)
        function.contract = Contract(needs, options, across, default, reads)
        return function

    return carry


def _options(function):
    hints = typing.get_type_hints(function, include_extras=True)
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind != parameter.KEYWORD_ONLY:
            continue
        kind, *more = typing.get_args(hints.get(name)) or (None,)
        if kind not in KINDS or not more or parameter.default is parameter.empty:
            raise InputError(
                f"the option {name} of {function.__name__} needs a default and an annotation "
                "Annotated[kind, help], kind one of int, float, str, list"
            )
        text, check, functions = (*more, *NO_MORE[len(more) - 1 :])
        found[name] = Option(kind, parameter.default, text, check, functions)
    return found


def missing(function, facts):
    """The sentence of the first need of a measure that is not met; None if all are."""
    found = (need(facts) for need in function.contract.needs)
    return next((sentence for sentence in found if sentence), None)


def check_options(function, given, facts, defaults=True):
    """The options of a measure, its defaults among them; an InputError where one is wrong.

    With `defaults` False only those that are given are checked.
    """
    found = {}
    for name, option in function.contract.options.items():
        value = found[name] = given.get(name, option.default)
        if not (defaults or name in given):
            continue
        listed = option.kind is list and isinstance(value, tuple)
        if listed or type(value) is option.kind:
            fault = option.check(value, facts)
        else:
            fault = f"must be of type {option.kind.__name__}"
        if fault:
            raise InputError(f"{name} {fault}, not {value!r}")
    return found


def code_of(function):
    """A digest of a function's code, under which its values are kept.

    Of the function with all that it calls, and of the module that defines it and the modules in
    the same folder that it imports, directly or through one another; in a notebook or script of
    the function alone. Comments and docstrings do not count.
    """
    own, module = fingerprint.of(function).digest, sys.modules.get(function.__module__)
    if function.__module__ == "__main__" or not hasattr(module, "__file__"):
        return own
    texts = [inspect.getsource(part) for part in _beside(module)]
    return syntax.digest(" ".join([own, *map(syntax.of_text, texts)]))


def _beside(module):
    """A module, and those in its folder that it imports, in the order of their names."""
    folder, found, open_ones = Path(module.__file__).parent, {}, [module]
    while open_ones:
        part = open_ones.pop()
        found[part.__name__] = part
        for value in vars(part).values():
            name = value.__name__ if inspect.ismodule(value) else None
            other = sys.modules.get(name or getattr(value, "__module__", None) or "")
            file = getattr(other, "__file__", None)
            if file and Path(file).parent == folder and other.__name__ not in found:
                open_ones.append(other)
    return [found[name] for name in sorted(found)]


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


def scale(facts):
    """Requires a prior with a standard deviation."""
    return _of(facts, "prior", ("std",))


def independent(facts):
    """Requires a posterior whose log-density is a sum over latents."""
    return _of(facts, "posterior", ("log_prob_each",))


def refinable(facts):
    """Requires a posterior whose arrays gradients may move, each example's by itself."""
    if "unbounded" in facts.posterior:
        return None
    return (
        f"the arrays of the posterior {facts.names['posterior']} may not be any real numbers: it "
        "has no attribute unbounded"
    )


def continuous(facts):
    """Requires a code of real numbers."""
    discrete = "discrete" in facts.posterior
    return "the code is discrete" if discrete else None


def several_seeds(facts):
    """Requires two runs that differ in their seed alone."""
    return None if facts.seeds else "no two runs differ in their seed alone"


def _of(facts, what, methods):
    """A sentence where the posterior, prior or likelihood lacks one of some methods; else None."""
    lacking = [name for name in methods if name not in getattr(facts, what)]
    if lacking:
        return f"the {what} {facts.names[what]} has no {lacking[0]}"
    return None
