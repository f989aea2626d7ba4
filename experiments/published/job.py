"""What the results share: training within a budget, evaluation, and what is found."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from aevae import InputError
from aevae.evaluation import evaluate
from aevae.runs import record, study, tables
from aevae.system import files

SAMPLES = {
    True: 5000,
    False: 500,
}  # of the bound, after a whole schedule or a shorter one
PILOT = 5  # epochs by which a step size is chosen
STAGE = 10  # a schedule grows by so much at most, so that what is interrupted is not all of it


class Row(NamedTuple):
    """A number that was published, and ours. Nats, where `what` does not say otherwise."""

    what: str
    published: float | None
    ours: float
    tolerance: float | None = None  # None where the two are not to be compared
    better: int = 0  # 1 if more is better, -1 if less is, 0 if neither
    main: bool = False  # whether README has it

    @property
    def difference(self):
        return None if self.published is None else self.ours - self.published

    @property
    def within(self):
        """Whether it is as published, or better; None where there is nothing to compare."""
        if self.published is None or self.tolerance is None:
            return None
        beyond = self.better * self.difference
        return abs(self.difference) <= self.tolerance or beyond > 0


class Fact(NamedTuple):
    """Something that a paper says in words, and whether it came out."""

    what: str
    holds: bool


class Outcome(NamedTuple):
    """What a result comes to."""

    rows: list[Row]
    facts: list[Fact]
    samples: int  # that each run has seen; 0 where nothing is trained
    full: int  # of the whole schedule
    complete: bool = True
    figure: Any = None
    note: str = ""  # of how it was made, for the reader of the table


class Result(NamedTuple):
    """A published result: how it is made, and what is to be said of it."""

    title: str  # with paper and year
    run: Any  # Job -> Outcome
    budget: float  # minutes of training on two cores, by default
    pixels: str = ""  # real-valued, or how they are binarised
    missed: str = ""  # what is not as published, and what was tried to explain it


class Part(NamedTuple):
    """Runs of one config."""

    base: str
    grid: Any = None
    overrides: Any = None


class Trained:
    """A run folder, and how far it has come."""

    def __init__(self, workdir, epochs, complete):
        self.workdir, self.epochs, self.complete = workdir, epochs, complete
        self.curves = tables.read(workdir / "curves.csv")
        self.samples = int(max(row["samples"] for row in self.curves))

    @property
    def rows(self):
        """Those of results.csv that have not diverged."""
        return [r for r in tables.results(self.workdir) if r["diverged"] is None]

    def must_not_diverge(self):
        """Itself; an error where a run has diverged, which then has nothing to compare."""
        lost = [r for r in tables.results(self.workdir) if r["diverged"] is not None]
        if lost:
            runs = ", ".join(str(row["run"]) for row in lost)
            raise InputError(f"{self.workdir}: run {runs} diverged: nothing to compare")
        return self


@dataclasses.dataclass(frozen=True)
class Job:
    """One result in the making: its folder, and the minutes of training that it may take in all."""

    folder: Path
    budget: float
    data_dir: str | None = None
    took: list = dataclasses.field(
        default_factory=list
    )  # seconds of this call's trainings

    def train(self, full, parts):
        """Trains {name: Part}, all for as many of `full` epochs as fit, and one; {name: Trained}.

        A budget is of all calls together: the same again does nothing, a larger one goes on. What
        was interrupted goes on, too, to where it was to end.
        """
        folders = {name: self.folder / name for name in parts}
        epochs = max(map(_asked, folders.values()))
        while True:
            for name, part in parts.items():
                self._study(name, part, epochs)
            spent = sum(map(_seconds, folders.values()))
            rate, left = spent / epochs, 60 * self.budget - spent
            more = int(min(full - epochs, left / rate, STAGE * epochs))
            if more < 1 or (more < epochs // 10 and epochs + more < full):
                return {
                    name: Trained(folder, epochs, epochs >= full)
                    for name, folder in folders.items()
                }
            epochs += more

    def _study(self, name, part, epochs):
        overrides = (part.overrides or {}) | {"epochs": epochs}
        folder = self.folder / name
        options = {"grid": part.grid, "data_dir": self.data_dir}
        began = time.perf_counter()
        try:
            study.run(part.base, folder, overrides=overrides, **options)
        finally:
            self.took.append(time.perf_counter() - began)

    def chosen(self, name, base, axis, values):
        """Which of the values of an axis has the best training ELBO after PILOT epochs."""
        self._study(name, Part(base, {axis: values}), PILOT)
        last = [
            row
            for row in tables.read(self.folder / name / "curves.csv")
            if row["epoch"] == PILOT and row["diverged"] is None
        ]
        if not last:
            raise InputError(f"{self.folder / name}: no {axis} of {values} trains")
        return max(last, key=lambda row: row["train_elbo"])[axis]

    def evaluate(self, trained, *asked, k=5000):
        """The rows of a folder, with what was asked measured."""
        evaluate.run(trained.workdir, asked, k=k, data_dir=self.data_dir)
        return trained.rows

    @property
    def seconds(self):
        """Of training, all calls together; compilation and the curves' evaluations included."""
        return sum(_seconds(path.parent) for path in self.folder.glob("*/timing.csv"))


def _asked(workdir):
    """The epochs that the folder's last command asked for, or 1."""
    if not (workdir / "config.json").is_file():
        return 1
    return max(run.epochs for run in record.declared(workdir))


def _seconds(workdir):
    return sum(row["seconds"] for row in tables.read(workdir / "timing.csv"))


def keep(path, what):
    """Writes JSON that is to be found whole, or not at all."""
    with files.whole(path) as file:
        file.write((json.dumps(what, indent=1) + "\n").encode())


def kept(path):
    """What was kept, or None."""
    try:
        return json.loads(Path(path).read_text())
    except OSError:
        return None
    except ValueError:
        raise InputError(f"{path} is damaged: delete it") from None
