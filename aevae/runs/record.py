"""The declaration of a run folder: config.json, and the runs that it declares."""

import dataclasses
import json
import os
from pathlib import Path

from aevae import InputError, __version__, config

FORMAT = 3  # of config.json, and of what a folder's checkpoints hold


def read(workdir):
    """The declaration in config.json; an InputError where another version of the package reads it."""
    path = existing(workdir, "config.json")
    try:
        record = json.loads(path.read_text("utf-8"))
        form = record.get("format", 1)
    except (ValueError, AttributeError):
        raise InputError(f"{path} is damaged: it is not what was written") from None
    if form != FORMAT:
        made = record.get("aevae", "0.1.0")
        raise InputError(
            f"{workdir} has format {form!r}, which aevae {made} wrote and reads; this is aevae "
            f"{__version__}, which reads format {FORMAT}: take another folder (--workdir), or that version"
        )
    if not all(record.get(name) for name in ("sweeps", "groups", "columns")):
        raise InputError(f"{path} is damaged: it lacks sweeps, groups or columns")
    return record


def declared(workdir, base=None, only=None):
    """The configs of a folder's runs, made again from what its commands asked for.

    With `only`, some numbers of runs, it is these alone, {number: config}: where the folder is of
    one command, no others are made.

    Raises:
      InputError: `base` is not the Config, or its file, that the sweep was given.
    """
    runs, sweeps = [], read(workdir)["sweeps"]
    base = _base(workdir, sweeps[0], base)
    if only is not None and len(sweeps) == 1:
        numbers = sorted({*only})
        _, some = _asked(workdir, sweeps[0], base, numbers)
        return dict(zip(numbers, some, strict=True))
    for sweep in sweeps:
        own, more = _asked(workdir, sweep, base)
        if runs:
            more = config.join(runs, more, config.grid_paths(own, sweep["grid"]))
        runs = more
    return runs if only is None else {number: runs[number] for number in only}


def source(workdir, sweep):
    """The `config.sources.Source` of the config file of one of a folder's sweeps."""
    path = Path(workdir) / sweep["file"]
    config.load(path, sweep.get("part"))
    return config.sources.of(path)


def layout(declaration, group):
    """How a group is laid out: (the number of runs of which its own are a part, the chunk or None)."""
    wholes = declaration.get("wholes", {})
    return wholes.get(str(group.number), len(group.runs)), declaration.get("chunk")


def group(workdir, number):
    """One group of a folder, as `history.grouped` makes all: (numbers of its runs, runs, names)."""
    record = read(workdir)
    groups = record["groups"]
    if type(number) is not int or number not in range(len(groups)):
        raise InputError(
            f"{workdir} has no group {number!r}: its groups are 0 to {len(groups) - 1}"
        )
    runs = declared(workdir, only=groups[number])
    names = [_named(n, run, record["columns"][1:]) for n, run in runs.items()]
    return [*runs], [*runs.values()], names


def _named(number, run, columns):
    """What a table's row says of which run it is; blank where it has no such value."""
    found = {"run": number}
    for name in columns:
        try:
            found[name] = config.describe(config.get(run, config.find(run, name)))
        except InputError:
            found[name] = ""
    return found


def _asked(workdir, sweep, base, only=None):
    """The Config of a command, and the runs that it asked for."""
    own = base or config.load(Path(workdir) / sweep["file"], sweep.get("part"))
    runs = config.settle(own, sweep["overrides"], sweep["grid"], only)
    return own, renamed(runs, sweep.get("moved", {}))


def moved(runs, known, more, load):
    """The data sets that a later command gives under another name than they had, {new: old}.

    Args:
      runs: those of the folder.
      known: {sha256: name} of the data that they were trained on.
      more: the runs that the command asks for.
      load: run -> its data set.
    """
    names, asked, found = {r.dataset for r in runs}, {r.dataset for r in more}, {}
    for run in more if known else ():
        if run.dataset not in (*names, *found):
            digest = load(run).digest
            if digest in known and known[digest] not in asked:
                found[run.dataset] = known[digest]
    return found


def returned(places, known, more, load):
    """The data sets of a declaration's `places` that are where they were at first, names.

    Args:
      places: {name: where a command last found it}.
      known, more, load: as in `moved`.
    """
    asked = {run.dataset: run for run in more if run.dataset in places}
    return [
        name
        for name, run in asked.items()
        if _is_path(name) and known.get(load(run).digest) == name
    ]


def renamed(runs, moved):
    """Runs whose data sets have the names that they had before they moved, {new: old}."""
    return [
        dataclasses.replace(run, dataset=moved[run.dataset])
        if run.dataset in moved
        else run
        for run in runs
    ]


def here(declaration, run):
    """A run with its data set where a command last found it, if that still exists."""
    new = declaration.get("places", {}).get(run.dataset, "")
    return dataclasses.replace(run, dataset=new) if _is_path(new) else run


def place(name):
    """A path of data as it is from any folder; any other name as it is."""
    if not _is_path(name):
        return name
    return str(Path(os.path.expanduser(name)).absolute())


def _is_path(name):
    """Whether a file or folder is there, perhaps with an array of it: `data.npz:array`."""
    name = os.path.expanduser(name)
    return os.path.exists(name) or os.path.isfile(name.rpartition(":")[0])


def _base(workdir, sweep, base):
    """The Config of a folder that was given one; None where it keeps config files."""
    if sweep["file"] is not None:
        if base is not None:
            raise InputError(
                f"{workdir} keeps the config file that it was trained from: leave base out"
            )
        return None
    if base is None:
        raise InputError(
            f"{workdir} was trained from a Config, not a file: pass it as base=..."
        )
    base = base if isinstance(base, config.Config) else config.load(base)
    now = json.loads(json.dumps(config.canonical(base)))
    defaults = tuple(config.at_default(base))
    for name, old, new in config.differences(sweep["base"], now, (), defaults):
        raise InputError(
            f"{name} of the Config of {workdir} was {old}, and now is {new}: what changes goes into "
            "overrides or the grid"
        )
    return base


def data_sets(workdir):
    """What environment.json has of the data sets of a folder; [] where it cannot be read."""
    try:
        made = json.loads((Path(workdir) / "environment.json").read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return [entry for environment in made for entry in environment["data"]]


def check_data(workdir, found):
    """Raises InputError if a folder, which knows the sha256 of its data, is of others than these."""
    known = {entry["sha256"] for entry in data_sets(workdir)}
    if known and found.digest not in known:
        raise InputError(
            f"{workdir} was trained on other data than {found.name} with sha256 "
            f"{found.digest[:12]}..."
        )


def params_path(workdir, number, last=False):
    """The file of a run's reported parameters; with `last`, of those of its last epoch."""
    return Path(workdir) / "params" / f"{number:04d}{'.last' if last else ''}.npz"


def existing(workdir, name):
    """The path of a file that every run folder has."""
    named = isinstance(workdir, (str, Path))
    path = Path(workdir if named else "") / name
    if not (named and os.path.isfile(path)):
        raise InputError(f"{workdir} is not a run folder: it has no {name}")
    return path
