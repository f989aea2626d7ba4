"""The tables of a run folder, made from the histories of its groups."""

from aevae import InputError, config, data
from aevae.runs import history, tables
from aevae.runs.progress import say
from aevae.runs.tables import Table

TERMS = ("elbo", "distortion", "rate")  # first in every table
RESULTS = (*TERMS, "iwae", "active_units")
ERRORS = ("squared_error", "cross_entropy")
TAIL = (
    *("validation_elbo", "validation_distortion"),
    *("kept", "epoch", "epochs", "diverged"),
    *(*history.ABOUT, "density"),
)
TIMING = ("group", "runs", "devices", "chunk", "seconds", "images_per_second")
OWN = (*RESULTS, *TAIL)  # columns of results.csv that a sweep writes
TAKEN = {*RESULTS, "run", "epoch", "step", "samples", "diverged", "kept", "density"}


class Reports:
    """curves.csv, results.csv and timing.csv of a folder.

    Rows are in the order of a grid, however the folder grew: those of results.csv as
    `tables.in_order` has their columns; in curves.csv the runs of one program stand together, epoch
    by epoch.

    Args:
      path: the folder.
      groups: its `history.Group`s.
      histories: {number of a group: its `History`}, of those that have begun; read at each call.
      finished: group -> whether there is nothing left to do for it.
      columns: those that tell runs apart.
      metrics, held_out_metrics: names of what groups without a history will report, in training
        and in evaluation.
    """

    def __init__(
        self, path, groups, histories, finished, columns, metrics, held_out_metrics
    ):
        self._path, self._groups, self._histories = path, groups, histories
        self._names = columns
        self._finished = finished
        self._programs, self._place = _in_order(groups, columns)
        names = [name for known in histories.values() for name in known.curves]
        train = [n.removeprefix("train_") for n in names if n.startswith("train_")]
        test = [n.removeprefix("test_") for n in names if n.startswith("test_")]
        train, held_out_metrics = (
            _ordered([*train, *metrics]),
            _ordered([*test, *held_out_metrics]),
        )
        curves = [*columns, "epoch", "step", "samples"]
        curves += [f"train_{name}" for name in train]
        curves += [
            f"{part}_{name}" for part in data.PARTS[1:] for name in held_out_metrics
        ]
        errors = [name for name in held_out_metrics if name in ERRORS]
        self._result_columns = [*dict.fromkeys([*columns, *RESULTS, *errors, *TAIL])]
        self._curves = Table(path / "curves.csv", [*curves, "diverged"])
        self._results = Table(path / "results.csv", self._result_columns)
        self._timing = Table(path / "timing.csv", TIMING)

    def write(self):
        """Writes anew every table that differs from the histories."""
        for table in (self._curves, self._results, self._timing):
            path = table.path
            if path.is_file() and not path.read_bytes().endswith(b"\n"):
                say(f"{path}: its last row was cut short; the table is written anew")
        self._write_curves()
        self._write_results()

    def begin(self, group, resumed):
        """Makes room for the rows of a group at the end.

        `resumed` says that the folder knew the group before.
        """
        if resumed or not self._comes_last(group):
            self._write_curves(last=group)
            self._write_results()

    def add_epochs(self, group, count):
        """Adds the rows of the epochs that a group's curves have last, so many."""
        since = len(self._histories[group.number].curves["epoch"]) - count
        self._curves.add(self._curve_rows([group], since))

    def finish(self, group):
        """Adds the results of a group, and puts the curves in order."""
        self._write_results()
        if not self._comes_last(group):
            self._write_curves()

    def _comes_last(self, group):
        """Whether the rows of a group stand behind those of all others that have begun."""
        known = self._histories
        begun = [[g.number for g in own if g.number in known] for own in self._programs]
        return [own for own in begun if own][-1] == [group.number]

    def _write_curves(self, last=None):
        """Writes the rows in order, but at the end those of the group that is being trained."""
        order = [[g for g in own if g is not last] for own in self._programs]
        order += [[last]] if last else []
        self._curves.write(row for own in order for row in self._curve_rows(own))

    def _curve_rows(self, groups, since=0):
        begun = [group for group in groups if group.number in self._histories]
        rows = [
            r for g in begun for r in self._histories[g.number].curve_rows(g, since)
        ]
        return sorted(rows, key=lambda row: (row["epoch"], self._place[row["run"]]))

    def _write_results(self):
        done = [group for group in self._groups if self._finished(group)]
        known = [(group, self._histories[group.number]) for group in done]
        rows = [row for group, its in known for row in its.result_rows(group)]
        rows.sort(key=lambda row: self._place[row["run"]])
        table = self._results
        table.columns, rows = tables.merged(self._path, self._result_columns, rows)
        table.write(rows)
        if tables.written(self._path):
            tables.write_parts(self._path, [*self._names], rows)
        self._timing.write([its.timing_row(group) for group, its in known])


def _in_order(groups, columns):
    """The groups of each program, and the place of each run, {number: place}."""
    runs = {n: run for group in groups for n, run in zip(group.numbers, group.runs)}
    numbers, of = sorted(runs), {}
    for program in config.groups_of_one_program([runs[n] for n in numbers]):
        of |= {numbers[index]: program[0] for index in program}
    rows = sorted((row for g in groups for row in g.names), key=lambda row: row["run"])
    rows = tables.in_order(rows, [name for name in columns if name != "run"])
    place = {row["run"]: number for number, row in enumerate(rows)}
    programs = {}
    for group in sorted(groups, key=lambda g: min(place[n] for n in g.numbers)):
        programs.setdefault(of[group.numbers[0]], []).append(group)
    return [*programs.values()], place


def check_columns(paths):
    """Raises InputError if a value that tells runs apart has the name of a built-in column."""
    taken = set(paths) & TAKEN
    if taken:
        raise InputError(
            f"{', '.join(taken)} is a column of the tables already: give it another name"
        )


def _ordered(names):
    return list(dict.fromkeys(["loss", *TERMS, *sorted(names)]))
