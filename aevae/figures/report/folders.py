"""What run folders hold, read without a lock, so that another process may be writing them."""

import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aevae import InputError, data
from aevae.runs import record, remarks, reports, statistics, tables
from aevae.system import files

METRICS = tuple(
    f"{part}_{name}" for name in reports.TERMS for part in (data.PARTS[2], "train")
)  # of the curves that are shown
LAST = ("kept", "epoch", "epochs", "diverged", "dataset", "binarization", "density")


class Runs(NamedTuple):
    """What is known of a run folder.

    Attributes:
      path, name: where it is, and what it is called among the folders of a report.
      record: its config.json.
      rows: a row a run that has begun, as in results.csv; of one that is still being trained what its
        curves say. `status` is finished, training, collapsed, diverged (some number was not
        finite) or lost (a finite ELBO below -1e9 nats).
      columns: those of the rows, but for `run` and those of `names`.
      names: the columns that tell runs apart, without `run`.
      curves: {run: {column of curves.csv: [E]}}.
      declared: how many runs there are to be.
      notes: what there is to say, as sentences.
    """

    path: Path
    name: str
    record: dict
    rows: list
    columns: list
    names: list
    curves: dict
    declared: int
    notes: list

    @property
    def swept(self):
        """The columns, but for the seed, in which runs differ."""
        names = [name for name in self.names if name != "seed"]
        return [n for n in names if len({row[n] for row in self.rows}) > 1]


def read(workdirs):
    """Reads run folders, each as `Runs`, in the order in which they are given.

    Raises:
      InputError: one is no run folder, is of another version, or its tables are damaged.
    """
    paths = [Path(workdir) for workdir in workdirs]
    places = [str(path.absolute()) for path in paths]
    if len({*places}) < len(places):
        raise InputError("a run folder is named twice: leave one out")
    return [_read(path, name) for path, name in zip(paths, _names(places))]


def _names(places):
    """The last parts of paths, as many of them as tell all apart."""
    parts = [Path(place).parts for place in places]
    for count in range(1, max(map(len, parts)) + 1):
        found = ["/".join(own[-count:]) for own in parts]
        if len({*found}) == len(found):
            break
    return found


def _read(path, name):
    declared = record.read(path)
    names = [column for column in declared["columns"] if column != "run"]
    notes, curves = [], {}
    rows = _table(path, "results.csv", names, notes)
    finished = {row["run"] for row in rows}
    try:
        curves, last = _curves(path, names)
    except csv.Error as error:
        raise InputError(
            f"{path / 'curves.csv'} is damaged: {error}; the sweep's command writes it again"
        ) from None
    except OSError:
        last = {}
        notes.append(
            f"{path / 'curves.csv'} is not there: the sweep's command writes it again"
        )
    rows += [row for run, row in last.items() if run not in finished]
    for row in rows:
        row["status"] = _status(row, row["run"] in finished)
    rows = tables.in_order(rows, [*names, "run"])
    known = dict.fromkeys(column for row in rows for column in row)
    own = ("run", "status", *names)
    known = [n for n in known if n not in own and _has(rows, n)]
    known.sort(key=lambda n: LAST.index(n) if n in LAST else -1)
    count = sum(map(len, declared["groups"]))
    known = ["status", *known]
    found = Runs(path, name, declared, rows, known, names, curves, count, notes)
    notes += _said(found, finished)
    return found


def _table(path, name, names, notes):
    """The rows of a table; none, and a note, where there is no such table."""
    place = path / name
    if not place.is_file():
        notes.append(f"{place} is not there: the sweep's command writes it again")
        return []
    try:
        rows = tables.read(place)
    except (TypeError, csv.Error):  # a row of too many cells
        rows = [{}]
    for row in rows:
        _check(
            place, row if isinstance(row.get("run"), int) else {}, [*names, "diverged"]
        )
    return [{k: v for k, v in row.items() if k} for row in rows]


def _check(place, columns, names):
    if not {"run", *names} <= {*columns}:
        raise InputError(
            f"{place} is damaged: it lacks columns of its runs; delete it, and the sweep's command writes "
            "it again"
        )


def _curves(path, names):
    """The curves of each run, {run: {column: [E]}}, and its last row as results.csv would have it.

    A table has a row for every run and epoch, of which few columns are looked at.
    """
    place = path / "curves.csv"
    text = files.text(place)
    lines = csv.reader(
        io.StringIO(text[: text.rfind("\n") + 1], newline="")
    )  # a last row that is being written has no end
    head = next(lines, ["run", "samples", "epoch", *names])
    _check(place, head, [*names, "samples", "epoch"])
    wanted = ["samples", *(n for n in METRICS if n in head)]
    at = [head.index(n) for n in wanted]
    run, found, last = head.index("run"), {}, {}
    for cells in lines:
        if len(cells) != len(head):
            raise InputError(
                f"{place} is damaged: a row has {len(cells)} cells, not {len(head)}; the sweep's command "
                "writes it again"
            )
        found.setdefault(cells[run], []).append([cells[i] or "nan" for i in at])
        last[cells[run]] = cells
    try:
        curves = {
            int(number): dict(zip(wanted, np.array(own, np.float64).T))
            for number, own in found.items()
        }
    except ValueError:
        raise InputError(
            f"{place} is damaged: a cell is not a number; the sweep's command writes it again"
        ) from None
    return curves, {
        int(n): _result(dict(zip(head, own)), names) for n, own in last.items()
    }


def _result(cells, names):
    """The last row of a run's curves as a row of results.csv."""
    cells = {name: tables.parsed(text) for name, text in cells.items()}
    row = {name: cells[name] for name in ("run", *names)}
    row |= {name: cells.get(f"test_{name}") for name in reports.TERMS}
    row |= {name: cells.get(name) for name in reports.TAIL if name in cells}
    return row | {"epochs": None, "diverged": cells.get("diverged")}


def _status(row, finished):
    if row.get("diverged") is not None:
        return "diverged"
    if not finished:
        return "training"
    if remarks.is_lost(row):
        return "lost"
    return "collapsed" if remarks.has_collapsed(row) else "finished"


def _has(rows, name):
    return any(row.get(name) is not None for row in rows)


def _said(found, finished):
    """Yields sentences on what is missing, and on runs that collapsed or diverged."""
    left = found.declared - len(finished)
    if left:
        training = sum(row["run"] not in finished for row in found.rows)
        yield (
            f"{len(finished)} of {found.declared} runs have finished; {training} have begun, "
            f"{left - training} have not"
        )
    rows = [row for row in found.rows if row["run"] in finished]
    yield from remarks.collapsed(rows)
    yield from remarks.diverged(found.path, rows, ["run", *found.names])
    counts = {}
    for row in rows:
        point = tuple(row[n] for n in found.names if n != "seed")
        counts[point] = counts.get(point, 0) + (row["diverged"] is None)
    if line := statistics.few(counts.values()):
        yield line
