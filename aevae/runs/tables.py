"""Tables of a run folder: CSV files written and read, and the summary of results."""

import csv
import io
import itertools
import json
import os
from pathlib import Path

import numpy as np

from aevae import InputError, config
from aevae.runs import evaluated, record, remarks, statistics
from aevae.system import files

ROWS = 10_000  # in memory at a time
FIRST = "train", "standard", "own"  # of priors, in a table
OWN = "results", "curves", "timing"  # that no measure may write
BEFORE = "latents", "priors"  # of folders that do not say which tables they have
LONG = 30  # letters of a text, beyond which a label is shorter


class Table:
    """A CSV file. A cell that a row lacks is blank, never 0."""

    def __init__(self, path, columns):
        self.path, self.columns = Path(path), columns

    def write(self, rows):
        """Makes these the rows of the table, at once; the file is left alone if they are already."""
        rows = itertools.chain([dict(zip(self.columns, self.columns))], rows)
        with files.whole(self.path, same=True) as file:
            while some := [*itertools.islice(rows, ROWS)]:
                file.write(files.encoded(self._text(some)))

    def add(self, rows):
        """Adds rows at the end."""
        files.append(self.path, files.encoded(self._text(rows)))

    def _text(self, rows):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows(
            [_cell(row.get(name)) for name in self.columns] for row in rows
        )
        return text.getvalue()


def _cell(value):
    """The text of a cell: None is blank; an np.float32 has the fewest digits that identify it."""
    return "" if value is None else str(value)


def read(path):
    """The rows of a table as dicts: numbers where they are numbers, None where blank.

    A last row that was being written when the process died is left out.
    """
    text = files.text(path)
    whole = io.StringIO(text[: text.rfind("\n") + 1], newline="")
    return [{k: parsed(v) for k, v in row.items()} for row in csv.DictReader(whole)]


def parsed(text):
    """The value of a cell: a number where it is one, None where it is blank."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text or None


def same(cell, value):
    """Whether a cell is a value that was asked for; numbers are compared in float32."""
    if isinstance(cell, (int, float)) and isinstance(value, (int, float)):
        return np.float32(cell) == np.float32(value)
    return str(cell) == config.describe(value)


def in_order(rows, columns):
    """Rows in the order of their columns, from the left: numbers rise; others stay as they came."""
    places = []
    for name in columns:
        came = dict.fromkeys(row.get(name) for row in rows)
        places.append({cell: _order(cell, at) for at, cell in enumerate(came)})

    def key(row):
        return [place[row.get(name)] for name, place in zip(columns, places)]

    return sorted(rows, key=key)


def _order(cell, came):
    """What a cell is sorted by: a number, or else when it came."""
    value = parsed(str(cell))
    number = isinstance(value, (int, float)) and not np.isnan(value)
    return (0, value) if number else (1, came)


def merged(workdir, columns, rows):
    """Columns and rows of results.csv with those of evaluations, before `validation_elbo`."""
    found = []
    for row in rows:
        own = evaluated.of(workdir, int(row["run"])).values()
        found.append({k: v for measure in own for k, v in measure["values"].items()})
    names = dict.fromkeys(name for values in found for name in values)
    names = [name for name in names if name not in columns]
    at = list(columns).index("validation_elbo")
    columns = [*columns[:at], *names, *columns[at:]]
    return columns, [row | values for row, values in zip(rows, found)]


def extend(workdir):
    """Writes results.csv anew with what evaluations found; nothing else in it changes."""
    path = record.existing(workdir, "results.csv")
    reader = csv.DictReader(io.StringIO(files.text(path), newline=""))
    rows, columns = list(reader), reader.fieldnames
    columns, rows = merged(workdir, columns, rows)
    Table(path, columns).write(rows)


def write_parts(workdir, names, rows):
    """Writes anew the tables of several rows a run that evaluations found; others of them go.

    As latents.csv, which has of each run and latent what measures give, and priors.csv, of each run
    and prior of its codes. Rows of a run rise by number, or are in the order of their names.

    Args:
      names: the columns that tell runs apart.
      rows: those of results.csv.
    """
    found = {}
    for row in rows:
        own, entries = {}, evaluated.of(workdir, int(row["run"]))
        arrays = {name: entry.get("arrays") for name, entry in entries.items()}
        # Whatever came first: what was fitted, and then what was measured of it.
        for entry in sorted(entries.values(), key=lambda entry: "arrays" not in entry):
            reads = entry.get("reads", {})
            for name, part in entry.get("tables", {}).items():
                known = own.setdefault(name, (part["label"], {}))[1]
                for at, values in part["rows"].items():
                    # Not of a prior that was fitted anew since.
                    if reads.get(at, arrays.get(at)) == arrays.get(at):
                        known[at] = known.get(at, {}) | values
        run = {n: row[n] for n in names}
        for name, (label, known) in own.items():
            found.setdefault(name, []).extend(
                run | {label: at} | known[at] for at in sorted(known, key=_place)
            )
    for name in {*written(workdir)} - {*found}:
        path = Path(workdir) / f"{name}.csv"
        with files.writing(path):
            path.unlink(missing_ok=True)
    for name, own in found.items():
        columns = dict.fromkeys(column for row in own for column in row)
        Table(Path(workdir) / f"{name}.csv", [*columns]).write(own)
    if found or _list(workdir).is_file():
        with files.writing(_list(workdir)):
            _list(workdir).parent.mkdir(exist_ok=True)
        files.write_json(_list(workdir), sorted(found))


def written(workdir):
    """The names of the tables that `write_parts` has written into a folder, and that are there."""
    try:
        names = json.loads(_list(workdir).read_text("utf-8"))
    except (OSError, ValueError):
        names = BEFORE
    return [name for name in names if (Path(workdir) / f"{name}.csv").is_file()]


def _list(workdir):
    return Path(workdir) / "evaluated" / "tables.json"


def _place(at):
    """What the rows of a run are sorted by: a number, one of FIRST, or a name."""
    value = parsed(at)
    if isinstance(value, (int, float)):
        return 0, value, ""
    return 1, FIRST.index(at) if at in FIRST else len(FIRST), at


def results(workdir):
    """The rows of results.csv: one for each run of the groups that are finished."""
    rows = read(record.existing(workdir, "results.csv"))
    if not rows:
        raise InputError(f"{workdir} has no finished run yet")
    return rows


def summary(workdir, only=None):
    """Results as a table of text: mean ± half-width of the 95 % t interval over a grid point's seeds.

    Diverged runs are left out; one seed has no interval. `only`: the columns of evaluations to show;
    by default those of the sweep itself. Lines below it say where the likelihood is a density and,
    by default, where seeds are few and which runs collapsed or diverged, and why.
    """
    rows, names = results(workdir), record.read(workdir)["columns"]
    said = [*few(workdir), *remarks.collapsed(rows)]
    said += remarks.diverged(workdir, rows, names)
    densities = [str(row["run"]) for row in rows if row.get("density") == "yes"]
    if only is None:
        own = [evaluated.of(workdir, row["run"]).values() for row in rows]
        hidden = {n for of in own for measure in of for n in measure["values"]}
        rows = [{k: v for k, v in row.items() if k not in hidden} for row in rows]
    else:
        kept = {*names, *only, "diverged"}
        rows = [{k: v for k, v in row.items() if k in kept} for row in rows]
    points, measures = _points(rows, names), _numbers(rows, [*rows[0]][len(names) :])
    table = _by_point(rows, points, measures)
    told = [table, *_density(densities, rows), *(said if only is None else ())]
    return "\n".join(told)


def priors(workdir, only=None, columns=None):
    """priors.csv as a table of text, as `summary` has results; of some priors and columns, if named."""
    names = record.read(workdir)["columns"]
    path = Path(workdir) / "priors.csv"
    rows = read(path) if path.is_file() else []
    rows = [row | {"diverged": None} for row in rows]
    rows = [row for row in rows if only is None or row["prior"] in only]
    if not rows:
        what = f" {', '.join(only)}" if only else ""
        raise InputError(
            f"{workdir} has no fitted prior{what}: experiments.prior fits some"
        )
    columns = [n for n in without_errors(rows[0]) if columns is None or n in columns]
    columns = [n for n in columns if n not in (*names, "prior", "diverged")]
    points = [*_points(rows, names), "prior"]
    table = _by_point(rows, points, _numbers(rows, columns), digits=3)
    return "\n".join([table, *few(workdir)])


def without_errors(columns):
    """Columns but for the `_error` beside another, as `ais_error`: `squared_error` is a measure."""
    errors = {f"{name}_error" for name in columns}
    return [name for name in columns if name not in errors]


def few(workdir):
    """Yields a line where points of a folder's grid have fewer than three seeds."""
    names, found = record.read(workdir)["columns"], {}
    for row in results(workdir):
        point = tuple(row[n] for n in names if n not in ("run", "seed"))
        found[point] = found.get(point, 0) + (row["diverged"] is None)
    line = statistics.few(found.values())
    if line:
        yield line


def _points(rows, names):
    """The columns in which runs differ, beside their seed."""
    points = [n for n in names if n not in ("run", "seed")]
    return [n for n in points if len({row[n] for row in rows}) > 1] or points[:1]


def _numbers(rows, columns):
    """Those of the columns that hold what was measured."""
    return [
        name
        for name in columns
        if any(isinstance(row[name], (int, float)) for row in rows)
        and name not in ("epoch", "epochs", "diverged", "validation_distortion")
    ]


def _by_point(rows, points, measures, digits=2):
    """Rows of runs as text: a row a point, mean ± half-width of the interval of the measures."""
    grouped = {}
    for row in rows:
        grouped.setdefault(tuple(row[n] for n in points), []).append(row)
    told = {n: labels([str(row[n]) for row in rows]) for n in points}
    lines = [[*points, "runs", *measures]]
    for point, own in grouped.items():
        sound = [row for row in own if row["diverged"] is None]
        cells = ["" if v is None else told[n][str(v)] for n, v in zip(points, point)]
        lines.append([*cells, f"{len(sound)}/{len(own)}"])
        for name in measures:
            values = [row[name] for row in sound if row[name] is not None]
            lines[-1].append(interval(values, digits))
    return aligned(lines)


def _density(densities, rows):
    """Yields a line on the runs whose likelihood is a density, by number, if there are any."""
    if not densities:
        return
    which = f" of run{'s'[: len(densities) > 1]} {', '.join(densities)}"
    which = "" if len(densities) == len(rows) else which
    yield (
        f"The likelihood{which} is a density, whose logarithm may be positive: "
        "a distortion may be below 0, and an ELBO above"
    )


def labels(texts):
    """Short labels of texts, {text: label}, no two of them equal.

    Of long paths the folders that all of them begin with are left out, and of what is still long the
    middle: `results.csv` has them whole.
    """
    long = [text for text in texts if len(text) > LONG and "/" in text]
    shared = os.path.commonprefix([text.rpartition("/")[0] + "/" for text in long])
    shared = shared.rpartition("/")[0]
    found = {}
    for text in dict.fromkeys(texts):
        label = f"…{text[len(shared) :]}" if text in long and shared else text
        if len(label) > 2 * LONG:
            label = f"{label[: LONG - 1]}…{label[-LONG:]}"
        if label in found.values():
            label += f" ({len(found) + 1})"
        found[text] = label
    return found


def interval(values, digits=2):
    """Values as text: their mean ± half-width of its 95 % t interval; "" if there are none."""
    return estimated(statistics.interval(values), digits) if len(values) else ""


def estimated(estimate, digits=2):
    """A `statistics.Estimate` as text: its mean, and ± the half-width where it has an interval."""
    shown = [x for x in (estimate.mean, estimate.half) if x is not None]
    return " ±".join(f"{x:.{digits}{'f' if abs(x) < 1e6 else 'e'}}" for x in shown)


def aligned(rows):
    """Rows of texts as a table, each column aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows
    )
