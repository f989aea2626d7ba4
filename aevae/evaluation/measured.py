"""One measure of the runs of a group, or of several groups: whether it is known, done, and kept."""

import contextlib
import hashlib
import json
from typing import Any, NamedTuple

from aevae import InputError, OutOfMemory, WriteError
from aevae.evaluation import contract
from aevae.evaluation.work import Work
from aevae.runs import evaluated, fitted, record, reports, tables
from aevae.system import files, machine

LACK = "what was found is kept; evaluate fewer runs at a time (--chunk)"


class Asked(NamedTuple):
    """A measure that is asked for, its options, and under which key its values are kept."""

    measure: Any
    options: dict
    key: dict

    @property
    def name(self):
        return self.measure.__name__

    @property
    def across(self):
        return self.measure.contract.across


def ask(measure, options):
    """A measure with its options as `Asked`."""
    declared = measure.contract.options
    named = [f for name in options for f in declared[name].functions(options[name])]
    key = {
        "code": " ".join(map(contract.code_of, [measure, *named])),
        "options": json.loads(json.dumps(options, default=reference)),
    }
    return Asked(measure, options, key)


def reference(function):
    """A function as module:function."""
    return f"{function.__module__}:{function.__qualname__}"


def numbers(groups):
    """The numbers of the runs of groups."""
    return [number for group in groups for number in group.numbers]


def unknown(workdir, asked, groups):
    """Those of measures whose values, of all runs of the groups, are not known."""
    entries = {number: evaluated.of(workdir, number) for number in numbers(groups)}
    keys = [_keys(workdir, one, groups) for one in asked]
    return [
        one
        for one, key in zip(asked, keys)
        if not all(_is_of(own.get(one.name), key[n]) for n, own in entries.items())
    ]


def _is_of(entry, key):
    return entry is not None and {name: entry.get(name) for name in key} == key


def _keys(workdir, asked, groups):
    """Under which the value of each run is kept, beside the parameters of the run, by its number."""
    key, reads = _key(workdir, asked, groups), asked.measure.contract.reads
    if reads is None:
        return dict.fromkeys(numbers(groups), key)
    return {
        number: key | {"reads": reads(workdir, number, asked.options)}
        for number in numbers(groups)
    }


def _key(workdir, asked, groups):
    if not asked.across:
        return asked.key
    paths = (record.params_path(workdir, n) for n in sorted(numbers(groups)))
    looked_at = " ".join(map(files.digest, paths))
    runs = hashlib.sha256(looked_at.encode()).hexdigest()[:16]
    return asked.key | {"runs": runs}


@machine.at_precision
def measure(
    workdir, asked, groups, facts, signals, chunk=None, holding=contextlib.nullcontext
):
    """Evaluates the runs of groups by a measure, and keeps what it finds of each.

    Args:
      asked: an `Asked`.
      groups: as many `TrainedGroup`s as it looks across, or else one.
      facts: a `contract.Facts` for each.
      signals: a `Signals`.
      chunk: how many runs a device evaluates at a time; None for as many as `Work` decides.
      holding: a function of a group that gives a context in which its files are this process's.
    """
    keys, measure = _keys(workdir, asked, groups), asked.measure
    works = [
        Work(workdir, group, asked.name, asked.options, its, signals, chunk)
        for group, its in zip(groups, facts)
    ]
    try:
        with machine.within_memory(LACK), _one_thread():
            found = list(measure(works if asked.across else works[0], **asked.options))
    except Exception as error:
        ours = InputError, WriteError, OutOfMemory
        if measure.__module__.startswith("aevae.") or isinstance(error, ours):
            raise
        reason = (str(error).splitlines() or [""])[0]
        told = f"{reference(measure)} fails: {type(error).__name__}: {reason}"
        raise InputError(told) from error
    count = len(numbers(groups))
    if len(found) != count:
        raise InputError(
            f"{reference(measure)} gave {len(found)} rows for {count} runs: it yields one for each"
        )
    columns = {*record.read(workdir)["columns"], *reports.OWN}
    rows = iter(found)
    entries = [
        {n: _checked(workdir, measure, n, next(rows), columns) for n in g.numbers}
        for g in groups
    ]
    for group, work, own in zip(groups, works, entries):
        with holding(group):
            for number, (entry, prior) in own.items():
                entry = keys[number] | entry
                if prior is not None:
                    latents = work.facts.latents
                    digest = fitted.keep(workdir, number, asked.name, prior, latents)
                    entry |= {"arrays": digest}
                evaluated.keep(workdir, number, asked.name, entry)
            work.done()


@contextlib.contextmanager
def _one_thread():
    """A context in which what NumPy and scikit-learn call uses one thread, as JAX does not.

    Last bits depend on the number of threads, and so do the nearest of neighbors equally far: a
    process that has a part of the cores would find others. For small matrices one is the fastest, too.
    """
    import sklearn  # noqa: F401, only libraries that are loaded are limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def _checked(workdir, measure, number, item, columns):
    """What a measure gave of a run as it is kept, and a prior that it fitted, or None."""
    given = item
    if not isinstance(item, contract.Found):
        item = _of_pair(item)
    others = {
        column
        for name, entry in evaluated.of(workdir, number).items()
        for column in entry["values"]
        if name != measure.__name__
    }
    try:
        found = {"values": _all_written(item.values)}
        of_tables = {
            name: {
                "label": own.label,
                "rows": {str(at): _all_written(v) for at, v in own.rows.items()},
            }
            for name, own in item.tables.items()
        }
    except (AttributeError, TypeError, ValueError):
        raise InputError(
            f"{reference(measure)} must yield {{column: number}}, or that and {{name: numbers of "
            f"latents}}, or a contract.Found, not {given!r}"
        ) from None
    taken = [name for name in found["values"] if name in columns | others]
    if taken:
        raise InputError(
            f"{reference(measure)} gives {', '.join(taken)}, which is another column of "
            "results.csv: give it another name"
        )
    for name, own in of_tables.items():
        _check_table(workdir, measure, number, name, own, columns)
    return found | ({"tables": of_tables} if of_tables else {}), item.fitted


def _of_pair(item):
    """{column: value}, or a pair of that and {column: [Z]} of latents, as a `Found`."""
    if not (isinstance(item, tuple) and len(item) == 2):
        return contract.Found(item)
    values, latents = item
    try:
        return contract.Found(values, contract.of_latents(latents))
    except (AttributeError, TypeError):
        return contract.Found(item)


def _check_table(workdir, measure, number, name, own, columns):
    """Raises InputError where a table's name or columns are taken, or its label is another."""
    what, label = f"{reference(measure)} gives the table {name!r}", own["label"]
    if not (isinstance(name, str) and name.isidentifier()) or name in tables.OWN:
        raise InputError(
            f"{what}: give it a name of letters that is not of {', '.join(tables.OWN)}"
        )
    given = {label, *(column for row in own["rows"].values() for column in row)}
    taken = sorted(({*columns} - {*reports.OWN}) & given)
    if taken or any(label in row for row in own["rows"].values()):
        raise InputError(
            f"{what} with two columns {', '.join(taken) or label}: give one another name"
        )
    for other, entry in evaluated.of(workdir, number).items():
        known = entry.get("tables", {}).get(name, own)["label"]
        if other != measure.__name__ and known != label:
            raise InputError(
                f"{what} with rows for each {label}, and {other} for each {known}: "
                "give it another name"
            )


def _all_written(values):
    return {str(name): _written(value) for name, value in values.items()}


def _written(value):
    """A number rounded to 7 significant digits."""
    return None if value is None else float(f"{float(value):.7g}")
