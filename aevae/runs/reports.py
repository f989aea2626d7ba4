"""The tables and event files of a run folder, made from the histories of its groups."""

from aevae import InputError, data
from aevae.runs import history, tables
from aevae.runs.events import Events
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
    """curves.csv, results.csv, timing.csv and TensorBoard's files of a folder.

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
        self._finished = finished
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
        """Makes room for the rows of a group at the end, and writes its event files anew.

        `resumed` says that the folder knew the group before.
        """
        if resumed or max(self._histories) > group.number:
            self._write_curves(last=group.number)
            self._write_results()
        names = []
        for columns in group.names:
            name = ",".join(f"{k}={v}" for k, v in columns.items() if k != "run")
            names.append(f"{columns['run']:04d},{name.replace('/', '_')}")
        self._events = Events(self._path / "tensorboard", names)
        self._add_events(group, since=0)

    def add_epoch(self, group):
        """Adds the rows and events of the epoch that has ended."""
        known = self._histories[group.number]
        since = known.epoch - 1
        self._curves.add(known.curve_rows(group, since))
        self._add_events(group, since)

    def finish(self, group):
        """Adds the results of a group, and puts the curves in the order of the groups."""
        self._write_results()
        if max(self._histories) > group.number:
            self._write_curves()

    def _write_curves(self, last=None):
        """Writes the rows group by group, those of the group that is being trained last."""
        order = sorted(self._groups, key=lambda group: group.number == last)
        known = [(group, self._histories.get(group.number)) for group in order]
        self._curves.write(
            [row for group, its in known if its for row in its.curve_rows(group)]
        )

    def _write_results(self):
        done = [group for group in self._groups if self._finished(group)]
        known = [(group, self._histories[group.number]) for group in done]
        rows = [row for group, its in known for row in its.result_rows(group)]
        table = self._results
        table.columns, rows = tables.merged(self._path, self._result_columns, rows)
        table.write(rows)
        self._timing.write([its.timing_row(group) for group, its in known])

    def _add_events(self, group, since):
        known = self._histories[group.number]
        for member, epoch, values in known.points(group, since):
            scalars = {n.replace("_", "/", 1): value for n, value in values.items()}
            self._events.add(member, epoch * known.steps, scalars)


def check_columns(paths):
    """Raises InputError if a value that tells runs apart has the name of a built-in column."""
    taken = set(paths) & TAKEN
    if taken:
        raise InputError(
            f"{', '.join(taken)} is a column of the tables already: give it another name"
        )


def _ordered(names):
    return list(dict.fromkeys(["loss", *TERMS, *sorted(names)]))
