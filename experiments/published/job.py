"""What the results share: training within a budget, evaluation, and what is found."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from aevae import InputError, assess, files, results, study

PILOT = 5  # epochs by which a step size is chosen


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
    full: int  # that the paper's have
    figure: Any = None
    note: str = ""  # what was found on the way, for the reader of the table


class Result(NamedTuple):
    """A published result: how it is made, and what is to be said of it."""

    title: str  # with paper and year
    run: Any  # Job -> Outcome
    budget: float  # minutes of training on two cores, by default
    data: str | None  # that must be prepared
    shortened: str = ""  # what of the protocol a short budget leaves out
    missed: str = ""  # what misses its tolerance, and what was tried to explain it


class Trained(NamedTuple):
    """A run folder, as far as it has come."""

    workdir: Path
    epochs: int
    complete: bool  # as many epochs as the paper has

    @property
    def curves(self):
        return results.read(self.workdir / "curves.csv")

    @property
    def rows(self):
        return results.rows_of(self.workdir)

    @property
    def samples(self):
        return int(max(row["samples"] for row in self.curves))


class Job(NamedTuple):
    """One result in the making: its folder, and the minutes of training that it may take in all."""

    folder: Path
    budget: float
    data_dir: str | None = None

    def train(self, name, base, full, *, grid=None, overrides=None, share=1.0):
        """Trains the runs of a config into `folder/name`, for as many of `full` epochs as fit.

        A budget is of all calls together: the same again does nothing, a larger one goes on. What
        was interrupted goes on, too.
        """
        workdir, allowed = self.folder / name, 60 * self.budget * share
        epochs = _asked(workdir) or 1
        while True:
            given = (overrides or {}) | {"epochs": epochs}
            study.run(
                *(base, workdir),
                overrides=given,
                grid=grid,
                data_dir=self.data_dir,
            )
            spent = _seconds(workdir)
            more = int(min(full - epochs, (allowed - spent) / (spent / epochs)))
            if more < 1 or (more < epochs // 10 and epochs + more < full):
                return Trained(workdir, epochs, epochs >= full)
            epochs += more

    def chosen(self, name, base, axis, values):
        """Which of the values of an axis has the best training ELBO after PILOT epochs."""
        workdir, few = self.folder / name, {"epochs": PILOT}
        grid = {axis: values}
        study.run(base, workdir, overrides=few, grid=grid, data_dir=self.data_dir)
        last = [
            row
            for row in results.read(workdir / "curves.csv")
            if row["epoch"] == PILOT and row["diverged"] is None
        ]
        return max(last, key=lambda row: row["train_elbo"])[axis]

    def evaluate(self, trained, *asked, k=5000):
        """The rows of a folder, with what was asked measured."""
        assess.run(trained.workdir, asked, k=k, data_dir=self.data_dir)
        return trained.rows

    @property
    def minutes(self):
        """Of training, all calls together; compilation and the curves' evaluations included."""
        found = self.folder.glob("*/timing.csv")
        return sum(_seconds(path.parent) for path in found) / 60


def _asked(workdir):
    """The epochs that the folder's last command asked for."""
    if not (workdir / "config.json").is_file():
        return None
    return max(run.epochs for run in results.declared(workdir))


def _seconds(workdir):
    return sum(row["seconds"] for row in results.read(workdir / "timing.csv"))


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
