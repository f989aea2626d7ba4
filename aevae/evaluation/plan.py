"""What is to be measured of a folder: its finished runs, group by group, and the measures of each."""

import functools
from pathlib import Path
from typing import Any, NamedTuple

from aevae import InputError, config, data
from aevae.config.lookup import find
from aevae.evaluation import (
    aggregate,
    annealing,
    collapse,
    contract,
    disentanglement,
    frontier,
    generation,
    inference,
    likelihood,
    measured,
    representation,
)
from aevae.evaluation.work import TrainedGroup, facts_of
from aevae.runs import history, record, tables, trained
from aevae.runs.place import Place
from aevae.runs.progress import say

MEASURES = (  # the one that takes longest last
    *(likelihood.likelihood, aggregate.latents, frontier.frontier),
    *(representation.reconstruction, representation.representation),
    *(disentanglement.disentanglement, disentanglement.udr),
    *(generation.generation, collapse.collapse, likelihood.train_likelihood),
    *(inference.inference_gap, inference.train_inference_gap, annealing.ais),
)


class Task(NamedTuple):
    """A group, what is known of it, and the measures of it alone, each `measured.Asked`."""

    group: TrainedGroup
    facts: contract.Facts
    asked: list[measured.Asked]


class Across(NamedTuple):
    """A measure that looks across groups, the groups, and what is known of each."""

    asked: measured.Asked
    groups: list[TrainedGroup]
    facts: list[contract.Facts]


def named(measures):
    """The functions of measures that are named; all of the package's where none is (None)."""
    if measures is None:
        return MEASURES
    how = "aevae.evaluation.contract.measure"
    return find(measures, MEASURES, "measure", "contract", how)


def check_names(measures, options):
    """Raises InputError where no measure has an option of that name."""
    known = {
        name for measure in (*MEASURES, *measures) for name in measure.contract.options
    }
    for name in options:
        if name not in known:
            raise InputError(
                f"no measure has the option {name!r}; there are {', '.join(sorted(known))}"
            )


# The groups of a folder


def finished(workdir, base):
    """The finished runs, group by group; those that diverged are reported and left out."""
    rows = {row["run"]: row for row in tables.results(workdir)}
    configs = record.declared(workdir, base)
    diverged = [n for n, row in rows.items() if row["diverged"] is not None]
    _say_diverged(workdir, diverged)
    if len(diverged) == len(rows):
        raise InputError(f"{workdir}: every run has diverged: nothing to evaluate")
    found = []
    for number, indices in enumerate(record.read(workdir)["groups"]):
        own = [n for n in indices if n in rows and n not in diverged]
        if own:
            its = [rows[n] for n in own], [configs[n] for n in own]
            found.append(TrainedGroup(number, own, *its))
    return found


def alone(workdir, number):
    """The finished runs of one group, as its own files have them; `finished` reads all tables.

    Raises:
      InputError: there is no such group, it is not finished, or all of its runs have diverged.
    """
    group = history.Group(number, *record.group(workdir, number))
    place = Place(Path(workdir), number)
    known = place.history()
    if not place.is_finished(group, known):
        raise InputError(f"{place.name} is not finished: train it first")
    rows = {row["run"]: {"elbo": None} | row for row in known.result_rows(group)}
    lost = [n for n, row in rows.items() if row["diverged"] is not None]
    _say_diverged(workdir, lost)
    own = [n for n in group.numbers if n not in lost]
    if not own:
        raise InputError(f"{place.name}: every run has diverged: nothing to evaluate")
    configs = dict(zip(group.numbers, group.runs))
    return TrainedGroup(number, own, [rows[n] for n in own], [configs[n] for n in own])


def _say_diverged(workdir, numbers):
    if numbers:
        names = ", ".join(map(str, numbers))
        say(f"{workdir}: run {names} diverged, and is left out")


def opened(workdir, group):
    """A group with what was trained of its runs."""
    configs = dict(zip(group.numbers, group.runs))
    runs = [trained.open_run(workdir, row, configs=configs) for row in group.rows]
    return group._replace(states=[(run.params, run.step) for run in runs])


# What is measured of them


class Given(NamedTuple):
    """Where the data of runs are: what `evaluate.run` is given."""

    dataset: Any = None
    data_dir: str | None = None


def made(workdir, groups, measures, options, by_name, given, once=False):
    """What is to be done: a `Task` for each group, and an `Across` for each measure across them.

    Args:
      groups: those of the folder that are finished, or one of them.
      measures: functions. Where they are asked for `by_name`, one that has no meaning for a group is
        an InputError; else it is left out.
      options: theirs, by name.
      given: a `Given`.
      once: groups that differ in numbers alone, as in widths, are looked into once.
    """
    facts = _facts(workdir, groups, given, once)
    several = {id(its): its for its in facts}
    for its in several.values():
        for measure in {*MEASURES, *measures}:
            contract.check_options(measure, options, its, defaults=False)
    full = functools.partial(contract.check_options, defaults=False)
    asked = [measured.ask(m, full(m, options, facts[0])) for m in measures]
    chosen = {key: _chosen(asked, its, by_name) for key, its in several.items()}
    for key, its in several.items():
        for one in chosen[key]:
            contract.check_options(one.measure, options, its)
    tasks, across = [], {}
    for group, its in zip(groups, facts):
        its_own = chosen[id(its)]
        for one in its_own:
            if one.measure.contract.reads:  # what it lacks is said before any work
                for number in group.numbers:
                    one.measure.contract.reads(workdir, number, one.options)
        tasks.append(Task(group, its, [one for one in its_own if not one.across]))
        for one in (one for one in its_own if one.across):
            found = across.setdefault(one.name, Across(one, [], []))
            found.groups.append(group)
            found.facts.append(its)
    return tasks, [*across.values()]


def _chosen(asked, facts, by_name):
    """Those of the measures that have a meaning for a group."""
    found = []
    for one in asked:
        reason = contract.missing(one.measure, facts)
        if reason and by_name:
            raise InputError(f"{one.name} cannot be measured: {reason}")
        if reason is None and (by_name or one.measure.contract.default(facts)):
            found.append(one)
    return found


def _facts(workdir, groups, given, once):
    """What is known of each group before any work."""
    known, points = {}, [disentanglement.point(run) for g in groups for run in g.runs]
    seeds = len(set(points)) < len(points)
    declaration = record.read(workdir)
    firsts = [record.here(declaration, group.runs[0]) for group in groups]
    keys = config.structures(firsts) if once else range(len(groups))
    keys = [(key, group.rows[0]["elbo"] is None) for key, group in zip(keys, groups)]
    found = {}
    data.check_given(given.dataset, firsts)
    for group, first, key in zip(groups, firsts, keys):
        if key not in found:
            stored = _loaded(first, given, known)
            record.check_data(workdir, stored)
            found[key] = facts_of(opened(workdir, group), stored, seeds)
    return [found[key] for key in keys]


def _loaded(run, given, known):
    try:
        return data.of(run, given.data_dir, dataset=given.dataset, known=known)
    except InputError as error:
        if given.dataset is None and str(error).startswith("cannot read"):
            way = "if the file moved, --dataset names its new place"
            raise InputError(f"{error}; {way}") from None
        raise
