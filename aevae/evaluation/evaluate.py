"""Evaluates every run of a folder by measures, and adds what they find to the folder's results."""

import hashlib
import json
from pathlib import Path

from aevae import InputError, OutOfMemory, WriteError, data
from aevae.config.lookup import find
from aevae.evaluation import (
    aggregate,
    annealing,
    contract,
    disentanglement,
    likelihood,
    representation,
)
from aevae.evaluation.work import TrainedGroup, Work, facts_of
from aevae.runs import evaluated, record, reports, tables, trained
from aevae.runs.progress import say
from aevae.runs.tables import Table
from aevae.system import files, machine
from aevae.system.signals import Signals
from aevae.training.layout import check_chunk

MEASURES = (  # the one that takes longest last
    *(likelihood.likelihood, aggregate.latents),
    *(representation.reconstruction, representation.representation),
    *(disentanglement.disentanglement, disentanglement.udr),
    *(likelihood.train_likelihood, annealing.ais),
)

LACK = "what was found is kept; evaluate fewer runs at a time (--chunk)"


@machine.standard()
@machine.within_memory(LACK)
def run(
    workdir,
    measures=None,
    *,
    fresh=False,
    dataset=None,
    data_dir=None,
    base=None,
    chunk=None,
    **options,
):
    """Evaluates every finished run of a folder that has not diverged; the columns that were found.

    What was found before is kept, if it is of the same parameters, by the same code of the measure
    (see `contract.code_of`) and with the same options. results.csv has the values beside the sweep's own, latents.csv those
    of each latent.

    Args:
      workdir: a run folder.
      measures: names of functions of `MEASURES`, "module:function", or functions that carry a
        `contract`. One that has no meaning for the runs is an InputError, with the reason. By
        default all that have a meaning, except those that are measured on request alone.
      fresh: measure again what is known.
      dataset: the runs' data as `study.run` was given them, where the config does not name them, or
        where they are now.
      data_dir: where TFDS has prepared data sets.
      base: the Config that the sweep was given, or a file of it, where it was not given a file.
      chunk: how many runs a device evaluates at a time; by default `layout.lay_out` decides, and on
        an accelerator its memory. Another one may change the last bits.
      options: of the measures, as `k`.
    Raises:
      InputError: whatever is wrong with the input, before any work.
      OutOfMemory: the memory of a device or of the host is too small. What was found is kept.
      Interrupted: a signal, such as Ctrl-C. What was found is kept, and so is the work so far.
    """
    machine.prepare()
    check_chunk(chunk)
    asked = MEASURES if measures is None else _find(measures)
    _check_names(asked, options)
    record.read(workdir)
    with files.lock(workdir):
        groups = _groups(workdir, base)
        facts = _facts(workdir, groups, dataset, data_dir)
        work = list(_planned(asked, groups, facts, options, measures is not None))
        with Signals() as signals:
            for measure, own, chosen in work:
                if fresh or not _is_known(workdir, measure, own, chosen):
                    its = dict(zip(map(id, groups), facts))
                    _evaluate(workdir, measure, own, chosen, its, signals, chunk)
                    _report(workdir)
        _report(workdir)
    return list(
        dict.fromkeys(
            column
            for measure, own, _ in work
            for number in _numbers(own)
            for column in evaluated.of(workdir, number)[measure.__name__]["values"]
        )
    )


def _find(names):
    how = "aevae.evaluation.contract.measure"
    return find(names, MEASURES, "measure", "contract", how)


def _check_names(asked, options):
    known = {
        name for measure in (*MEASURES, *asked) for name in measure.contract.options
    }
    for name in options:
        if name not in known:
            raise InputError(
                f"no measure has the option {name!r}; there are {', '.join(sorted(known))}"
            )


def _groups(workdir, base):
    """The finished runs, group by group; those that diverged are reported and left out."""
    rows = {row["run"]: row for row in tables.results(workdir)}
    configs = record.declared(workdir, base)
    diverged = [n for n, row in rows.items() if row["diverged"] is not None]
    if diverged:
        names = ", ".join(map(str, diverged))
        say(f"{workdir}: run {names} diverged, and is left out")
    if len(diverged) == len(rows):
        raise InputError(f"{workdir}: every run has diverged: nothing to evaluate")
    found = []
    for indices in record.read(workdir)["groups"]:
        own = [n for n in indices if n in rows and n not in diverged]
        if own:
            opened = [trained.open_run(workdir, rows[n], configs=configs) for n in own]
            states = [(run.params, run.step) for run in opened]
            found.append(
                TrainedGroup(
                    own, [rows[n] for n in own], [configs[n] for n in own], states
                )
            )
    return found


def _facts(workdir, groups, dataset, data_dir):
    """What is known of each group before any work."""
    known, points = {}, [disentanglement.point(run) for g in groups for run in g.runs]
    seeds = len(set(points)) < len(points)
    declaration = record.read(workdir)
    firsts = [record.here(declaration, group.runs[0]) for group in groups]
    found = []
    data.check_given(dataset, firsts)
    for group, first in zip(groups, firsts):
        try:
            stored = data.of(first, data_dir, dataset=dataset, known=known)
        except InputError as error:
            if dataset is None and str(error).startswith("cannot read"):
                way = "if the file moved, --dataset names its new place"
                raise InputError(f"{error}; {way}") from None
            raise
        _check_data(workdir, stored)
        found.append(facts_of(group, stored, seeds))
    return found


def _check_data(workdir, found):
    """Raises InputError if the folder was trained on other data: it knows their sha256."""
    known = {entry["sha256"] for entry in record.data_sets(workdir)}
    if known and found.digest not in known:
        raise InputError(
            f"{workdir} was trained on other data than {found.name} with sha256 "
            f"{found.digest[:12]}..."
        )


def _planned(asked, groups, facts, options, by_name):
    """Yields (measure, its groups, options) in the order of the work."""
    works = {}
    for its in facts:
        for measure in {*MEASURES, *asked}:
            contract.check_options(measure, options, its)
    for group, its in zip(groups, facts):
        for measure in asked:
            own = contract.check_options(measure, options, its)
            reason = contract.missing(measure, its)
            if reason and by_name:
                raise InputError(f"{measure.__name__} cannot be measured: {reason}")
            if reason is None and (by_name or measure.contract.default(its)):
                works.setdefault(measure, ([], own))[0].append((group, its))
    for group in groups:
        for measure, (own, chosen) in works.items():
            if measure.contract.across:
                continue
            if any(group is its for its, _ in own):
                yield measure, [group], chosen
    for measure, (own, chosen) in works.items():
        if measure.contract.across:
            yield measure, [group for group, _ in own], chosen


def _numbers(groups):
    return [number for group in groups for number in group.numbers]


def _key(workdir, measure, groups, options):
    """Under which a value is kept, beside the parameters of its run."""
    declared = measure.contract.options
    named = [f for name in options for f in declared[name].functions(options[name])]
    key = {
        "code": " ".join(map(contract.code_of, [measure, *named])),
        "options": json.loads(json.dumps(options, default=_reference)),
    }
    if measure.contract.across:
        paths = (record.params_path(workdir, n) for n in sorted(_numbers(groups)))
        looked_at = " ".join(map(files.digest, paths))
        key["runs"] = hashlib.sha256(looked_at.encode()).hexdigest()[:16]
    return key


def _reference(function):
    return f"{function.__module__}:{function.__qualname__}"


def _is_known(workdir, measure, groups, options):
    key = _key(workdir, measure, groups, options)
    found = [evaluated.of(workdir, n).get(measure.__name__) for n in _numbers(groups)]
    return all(own and {name: own.get(name) for name in key} == key for own in found)


@machine.at_precision
def _evaluate(workdir, measure, groups, options, facts, signals, chunk):
    """Evaluates the runs of groups by a measure, and keeps what it finds of each."""
    name = measure.__name__
    works = [
        Work(workdir, group, name, options, facts[id(group)], signals, chunk)
        for group in groups
    ]
    key = _key(workdir, measure, groups, options)
    given = works if measure.contract.across else works[0]
    try:
        with machine.within_memory(LACK):
            found = list(measure(given, **options))
    except Exception as error:
        ours = InputError, WriteError, OutOfMemory
        if measure in MEASURES or isinstance(error, ours):
            raise
        reason = (str(error).splitlines() or [""])[0]
        told = f"{_reference(measure)} fails: {type(error).__name__}: {reason}"
        raise InputError(told) from error
    numbers = _numbers(groups)
    if len(found) != len(numbers):
        raise InputError(
            f"{_reference(measure)} gave {len(found)} rows for {len(numbers)} runs: it yields one "
            "for each"
        )
    entries = [key | _checked(workdir, measure, *row) for row in zip(numbers, found)]
    for number, entry in zip(numbers, entries):
        evaluated.keep(workdir, number, name, entry)
    for work in works:
        work.done()


def _checked(workdir, measure, number, item):
    """The values, and those of latents, that a measure gave of a run, as they are kept."""
    values, latents = item if isinstance(item, tuple) and len(item) == 2 else (item, {})
    columns = {*record.read(workdir)["columns"], *reports.OWN}
    others = {
        column
        for name, entry in evaluated.of(workdir, number).items()
        for column in entry["values"]
        if name != measure.__name__
    }
    try:
        found = {"values": {str(name): _written(v) for name, v in values.items()}}
        of_latents = {str(name): [*map(_written, v)] for name, v in latents.items()}
    except (AttributeError, TypeError, ValueError):
        raise InputError(
            f"{_reference(measure)} must yield {{column: number}}, or that and {{name: numbers of "
            f"latents}}, not {item!r}"
        ) from None
    taken = [name for name in found["values"] if name in columns | others]
    if taken:
        raise InputError(
            f"{_reference(measure)} gives {', '.join(taken)}, which is another column of "
            "results.csv: give it another name"
        )
    return found | ({"latents": of_latents} if of_latents else {})


def _written(value):
    """A number rounded to 7 significant digits."""
    return None if value is None else float(f"{float(value):.7g}")


def _report(workdir):
    """Writes results.csv and latents.csv anew with what evaluations found.

    latents.csv has of each run and latent what a measure gives, as its rate.
    """
    tables.extend(workdir)
    names, rows, columns = record.read(workdir)["columns"], [], {}
    for row in tables.results(workdir):
        own = evaluated.of(workdir, row["run"]).values()
        found = {k: v for entry in own for k, v in entry.get("latents", {}).items()}
        columns |= dict.fromkeys(found)
        for latent, values in enumerate(zip(*found.values())):
            own = dict(zip(found, values)) | {"latent_index": latent}
            rows.append({n: row[n] for n in names} | own)
    if rows:
        table = Table(Path(workdir) / "latents.csv", [*names, "latent_index", *columns])
        table.write(rows)
