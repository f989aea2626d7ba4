"""The trained run that a folder's runs start from: found, compared with the folder's, recorded."""

import os
from pathlib import Path
from typing import Any, NamedTuple

from aevae import InputError, config
from aevae.runs import trained
from aevae.training import Trained, initial


class Start(NamedTuple):
    """Where runs start from."""

    record: (
        dict  # as config.json has it: what was given, the run's number, and its sha256
    )
    params: Any  # None where they are not at hand
    scaling: Any = None  # the mean of the standardized values that they are of
    reason: str = ""  # why they are not at hand

    @property
    def name(self):
        """What it is called in a message."""
        return _named(self.record)

    def at_hand(self):
        """The parameters; InputError where a run needs them that are not at hand."""
        if self.params is None:
            raise InputError(
                f"runs that have not begun start from {self.name}: {self.reason}"
            )
        return self.params


def find(given, folder, asked, load):
    """The `Start` of a folder's runs, or None where they start from new parameters.

    Args:
      given: `FOLDER`, `FOLDER:3` or `FOLDER:latent=8,seed=0`, a `Trained`, or None.
      folder: the `Folder` of the runs.
      asked: a function that gives the runs that a command asks for.
      load: config -> its data set.
    Raises:
      InputError: a run that is none, or not the one that the folder's other runs started from.
    """
    known = folder.init_from
    if given is None:
        if known:
            raise InputError(
                f"the runs of {folder.path} started from {_named(known)}: name it again "
                f"(--init_from={known['given'] or '...'}), or take another folder (--workdir)"
            )
        return None
    if isinstance(given, Trained):
        scaling = given.scaling and given.scaling.mean
        found = _of(given.params, scaling, None, given.row.get("run"))
    elif isinstance(given, (str, Path)) and str(given):
        found = _in_folder(str(given), known, folder.path, asked, load)
    else:
        raise InputError(
            f"init_from must be FOLDER, FOLDER:RUN or a trained run, not {config.shown(given)}"
        )
    if folder.begun and found.record["sha256"] != (known or {}).get("sha256"):
        was = _named(known) if known else "new parameters"
        raise InputError(
            f"the runs of {folder.path} started from {was}, and now from {found.name}: take "
            "another folder (--workdir), or start over (--fresh)"
        )
    return found._replace(record=known) if folder.begun else found


def again(known):
    """The `Start` that config.json has of a folder's runs; None where they start anew."""
    if not known:
        return None
    if known["given"] is None:
        return Start(known, None, reason="only the process that was given it has it")
    try:
        kept = _kept(_split(known["given"])[0], known["run"])
    except InputError as error:
        return Start(known, None, reason=str(error))
    found = _of(*kept, known["given"], known["run"])
    if found.record["sha256"] != known["sha256"]:
        return Start(known, None, reason=f"it now is {found.name}")
    return found


def check(start, task):
    """Raises InputError where the runs of a group, which has not begun, cannot start there."""
    run = task.group.runs[0]
    odd = initial.misfit(run, task.dataset, start.at_hand(), start.scaling)
    if odd:
        first = task.group.names[0]
        names = ", ".join(f"{k}={v}" for k, v in first.items() if k != "run")
        raise InputError(f"{start.name} does not fit the run {names}: {odd}")


def _of(params, scaling, given, number):
    record = {"given": given, "run": number, "sha256": initial.digest(params)}
    start = Start(record, params, scaling)
    if not initial.are_finite(params):
        raise InputError(f"{start.name} has diverged: not all parameters are finite")
    return start


def _named(record):
    """What a start is called: the run, the folder, and the first letters of the digest."""
    run = "a trained run" if record["run"] is None else f"run {record['run']}"
    of = (
        f" of {_split(record['given'])[0]}" if record["given"] else " (given in Python)"
    )
    return f"{run}{of} (sha256 {record['sha256'][:12]}...)"


def _in_folder(given, known, workdir, asked, load):
    source, where = _split(given)
    if Path(workdir).is_dir() and source.is_dir() and os.path.samefile(source, workdir):
        raise InputError(
            f"--init_from={given} is the run folder itself: take another folder (--workdir)"
        )
    if known and known["given"] == given:  # which run it was has been settled
        try:
            kept = _kept(source, known["run"])
        except InputError as error:
            return Start(known, None, reason=str(error))
        return _of(*kept, given, known["run"])
    rows = trained.matching(source, where)
    if len(rows) > 1:
        rows = _fitting(source, where, rows, asked(), load)
    if len(rows) != 1:
        raise InputError(trained.ambiguous(source, rows, where))
    number = rows[0]["run"]
    return _of(*_kept(source, number), given, number)


def _kept(source, number):
    """The parameters of a run, and the mean of its standardization or None."""
    trees, *_ = trained.stored(source, number)
    return trees["params"], trees.get("scaling", {}).get("mean")


def _split(given):
    """The folder, and the columns that name a run of it, {name: value}."""
    folder, colon, run = given.rpartition(":")
    if not colon or Path(given).is_dir():
        return Path(given), {}
    return Path(folder), {"run": int(run)} if run.isdigit() else config.point(run)


def _fitting(source, where, rows, runs, load):
    """The only one of several rows whose parameters fit the runs that are asked for."""
    firsts = [runs[own[0]] for own in config.groups_of_one_program(runs)]
    fits, odd = [], ""
    for row in rows:
        kept = _kept(source, row["run"])
        now = (initial.misfit(run, load(run), *kept) for run in firsts)
        now = next(filter(None, now), "")
        odd = odd or now
        fits += [row] if not now else []
    if not fits:
        raise InputError(
            f"none of {len(rows)} runs of {source} fits all runs that are asked for: sweep each "
            f"network shape in a folder of its own, or name one run; of run {rows[0]['run']}, {odd}"
        )
    if len(fits) > 1:
        raise InputError(
            f"{trained.ambiguous(source, fits, where)}: name one, as --init_from={source}:"
            f"{fits[0]['run']}"
        )
    return fits
