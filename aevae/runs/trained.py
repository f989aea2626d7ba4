"""Trained runs, saved into a folder and loaded back."""

import dataclasses
import functools
import zipfile
from pathlib import Path

import jax
import numpy as np

from aevae import InputError, config, data
from aevae.runs import record, tables
from aevae.system import files
from aevae.training.given import Seen
from aevae.training.trained_run import Trained

NAMES = "columns", "labels"  # of a `Seen`


def save(path, state, examples, seen, scaling=None):
    """Writes a run's parameters and step, test examples, and `Seen`, by name into an .npz file.

    And the mean and deviation of the `scaling` of standardized data.
    """
    known = {"seen": seen[:2], "gray": seen.gray}
    known |= {name: np.array(getattr(seen, name), str) for name in NAMES}
    trees = {"params": state.params, "examples": examples}
    if scaling is not None:
        trees["scaling"] = {"mean": scaling.mean, "std": scaling.std}
    leaves = {_path(path): leaf for path, leaf in jax.tree.leaves_with_path(trees)}
    with files.whole(Path(path)) as file:
        np.savez(file, step=state.step, **known, **leaves)


def _path(keys):
    return "/".join(str(key.key) for key in keys)


def _nested(leaves):
    tree = {}
    for path, leaf in leaves.items():
        *folders, name = path.split("/")
        functools.reduce(lambda node, key: node.setdefault(key, {}), folders, tree)[
            name
        ] = leaf
    return tree


def load(workdir, base=None, *, last=False, **where):
    """Loads the one run of a folder whose columns are as given: `load("runs/digits", beta=4)`.

    What is not named must not matter: several runs that match are an error, and so is none.
    `base` is the Config that the sweep was given, or a file of it, where the folder does not keep a
    config file; another Config is an error. Where a run keeps its best parameters, they are what is
    loaded, unless the `last` are asked for.
    """
    found = matching(workdir, where)
    if len(found) != 1:
        raise InputError(ambiguous(workdir, found, where))
    return open_run(workdir, found[0], base, last=last)


def matching(workdir, where):
    """The rows of the runs whose columns are as given, {name: value}."""
    where = {name: config.plain(value) for name, value in where.items()}
    rows, names = tables.results(workdir), record.read(workdir)["columns"]
    for name in where:
        if name not in names:
            raise InputError(
                f"{workdir} tells runs apart by {', '.join(names)}, not {name!r}"
            )
    return [
        row for row in rows if all(tables.same(row[k], v) for k, v in where.items())
    ]


def ambiguous(workdir, found, where):
    """Says that the rows that were found, of the runs that match, are not one."""
    near, names = found or tables.results(workdir), record.read(workdir)["columns"]
    there = {k: [str(v) for v in _values(near, k)] for k in names}
    values = "; ".join(f"{k} {', '.join(v)}" for k, v in there.items() if len(v) > 1)
    asked = ", ".join(f"{k}={v}" for k, v in where.items()) or "no condition"
    return f"{len(found) or 'none'} of the runs of {workdir} match {asked}; they differ in {values}"


def _values(rows, name):
    """The values of a column, each once, numbers in their order."""
    found = [*dict.fromkeys(row[name] for row in rows)]
    numbers = all(isinstance(value, (int, float)) for value in found)
    return sorted(found) if numbers else found


def runs(workdir, base=None, *, last=False):
    """Yields the trained runs of a folder, in the order of results.csv; each has its `row`.

    `base` and `last` are those of `load`.
    """
    configs = record.declared(workdir, base)
    for row in tables.results(workdir):
        yield open_run(workdir, row, configs=configs, last=last)


def open_run(workdir, row, base=None, *, configs=None, last=False):
    """Loads the trained run that a row of results.csv is of.

    `configs` are the folder's, as `record.declared` gives them, where several runs are opened.
    """
    workdir, number = Path(workdir), row["run"]
    run = (configs or record.declared(workdir, base))[number]
    trees, step, seen = stored(workdir, number, last and run.keep == "best")
    shape = trees["examples"]["image"].shape[1:]
    given = {"shape": shape}
    if run.standardize != data.NO:
        given["scaling"] = data.Scaling(**trees["scaling"], shape=shape)
    run = dataclasses.replace(run, model=run.model.clone(**given))
    curves = functools.partial(_history, workdir, number)
    known = row, trees["examples"], curves, seen
    return Trained(run, trees["params"], step, *known)


def stored(workdir, number, last=False):
    """What a folder keeps of a run: ({"params", "examples"}, the step, and its `Seen` or None)."""
    path = record.params_path(workdir, number, last)
    record.existing(workdir, path.relative_to(workdir))
    try:
        with path.open("rb") as file, np.load(file) as archive:
            leaves = dict(archive)
    except (zipfile.BadZipFile, ValueError, EOFError):
        raise InputError(
            f"{path} is damaged: delete it, and the sweep's command writes it again"
        ) from None
    step, ends = leaves.pop("step"), leaves.pop("seen", None)
    gray = bool(leaves.pop("gray", False))  # not known of folders of before
    names = [tuple(map(str, leaves.pop(name, ()))) for name in NAMES]
    seen = None if ends is None else Seen(*ends, gray, *names)
    return _nested(leaves), step, seen


def step(workdir, number):
    """The step of the parameters that a folder keeps of a run."""
    with np.load(record.params_path(workdir, number)) as archive:
        return int(archive["step"])


def _history(workdir, number):
    """The curves of a run, {name: [E]}."""
    names = ("epoch", "train_", "validation_", "test_")
    rows = tables.read(record.existing(workdir, "curves.csv"))
    rows = [row for row in rows if row["run"] == number]
    names = [name for name in (rows or [{}])[0] if name.startswith(names)]
    found = {name: [row[name] for row in rows] for name in names}
    return {k: np.array(v) for k, v in found.items() if None not in v}
