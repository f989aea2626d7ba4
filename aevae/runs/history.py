"""The history of a group of runs: kept in its checkpoints, and written into the tables."""

import dataclasses
import json
import math
from typing import NamedTuple

import numpy as np

from aevae import config
from aevae.training.epochs import Status

NEUTRAL = {"cores", "devices"}  # of the hardware, on which no bit depends
SELECTING = "validation_elbo", "validation_distortion"  # runs and epochs
ABOUT = ("objective", "dataset", "binarization")  # columns of every run


class Group(NamedTuple):
    """A group of runs: those that one program trains."""

    number: int  # of the group, from 0
    numbers: list[int]  # of its runs
    runs: list[config.Config]
    names: list[dict[str, str]]  # what a table's row says of which run it is


def grouped(runs, indices, paths):
    """The groups of a folder's runs; `indices` are the numbers of each group's runs."""
    names = [{"run": n} | own for n, own in enumerate(config.all_columns(runs, paths))]
    return [
        Group(number, own, [runs[n] for n in own], [names[n] for n in own])
        for number, own in enumerate(indices)
    ]


@dataclasses.dataclass
class History:
    """The curves of a group, [E, M] by name, its results, [M] by name, and what it cost.

    The curves have the epochs that were evaluated; `epoch` has their numbers.
    All tables are made from histories, so that a damaged table can be written anew.
    """

    steps: int  # in an epoch
    data: str  # digest
    devices: int
    chunk: int
    made_by: str  # versions and hardware, as JSON
    status: Status
    density: str = (
        ""  # whether the likelihood is one: yes, no, or blank where it does not say
    )
    seconds: float = 0.0
    epoch: int = 0
    step: int = 0
    curves: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    results: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def add(self, snapshot):
        """Adds what a snapshot says; returns the number of epochs that it adds to the curves."""
        self.epoch, self.step, self.status = (
            snapshot.epoch,
            snapshot.step,
            snapshot.status,
        )
        for name, values in (snapshot.metrics or {}).items():
            rows = self.curves.get(name, values[:0])
            self.curves[name] = np.concatenate([rows, values])
        self.results = snapshot.results or {}
        return len(snapshot.metrics["epoch"]) if snapshot.metrics else 0

    def finished(self, group):
        """Whether its runs are trained to their end and evaluated."""
        ended = self.epoch >= group.runs[0].epochs or self.status.stopped.all()
        return bool(self.results) and self.step == 0 and bool(ended)

    def dump(self):
        """The whole history as arrays by name."""
        trees = {"curves": self.curves, "results": self.results}
        trees["status"] = self.status._asdict()
        single = {k: v for k, v in vars(self).items() if k not in trees}
        return {name: np.asarray(value) for name, value in single.items()} | {
            f"{tree}/{name}": values
            for tree, of in trees.items()
            for name, values in of.items()
        }

    @classmethod
    def load(cls, arrays):
        """The history that was dumped."""
        fields = {"curves": {}, "results": {}, "status": {}}
        for path, value in arrays.items():
            tree, slash, name = path.partition("/")
            if slash:
                fields[tree][name] = value
            else:
                fields[tree] = value.item()
        for values in [*fields["curves"].values()][
            :1
        ]:  # of every epoch, in older folders
            each = np.arange(1, len(values) + 1)[:, None]
            fields["curves"].setdefault("epoch", np.repeat(each, values.shape[1], 1))
        return cls(**fields | {"status": Status(**fields["status"])})

    def differences(self, here):
        """How the layout and machine `here` differ from those before, and what that means, as text."""
        was, now = json.loads(self.made_by), json.loads(here["made_by"])
        changed = []
        for part in ("versions", "hardware", "settings"):
            old, new = was.get(part, {}), now[part]
            for name in {**old, **new}:
                if old.get(name) != new.get(name) and name not in NEUTRAL:
                    changed.append(f"{name} {old.get(name)} is now {new.get(name)}")
        # Two devices and more have the same bits.
        for name, most in (("devices", 2), ("chunk", math.inf)):
            if min(getattr(self, name), most) != min(here[name], most):
                changed.append(
                    f"{name} {getattr(self, name)} in use is now {here[name]}"
                )
        if not changed:
            return ""
        return (
            f" ({'; '.join(changed)}: results will agree to rounding, not bit for bit)"
        )

    def points(self, group, since=0):
        """Yields (member, epoch, metrics) of a run's rows, from row `since` of the curves on."""
        ends = np.where(self.status.stopped, self.status.stopped, np.inf)
        measured = {k: v for k, v in self.curves.items() if k != "epoch"}
        for row, numbers in enumerate(self.curves.get("epoch", ())[since:], since):
            for member, epoch in enumerate(numbers.tolist()):
                if epoch <= ends[member]:
                    values = {k: v[row, member] for k, v in measured.items()}
                    yield member, epoch, values

    def event_points(self, group, since=0):
        """Yields (member, step, scalars) of the rows, as TensorBoard has them."""
        for member, epoch, values in self.points(group, since):
            scalars = {n.replace("_", "/", 1): value for n, value in values.items()}
            yield member, epoch * self.steps, scalars

    def event_results(self, group):
        """Yields (step, results) of each run, at the step of the parameters that they are of."""
        for member, run in enumerate(group.runs):
            status = Status(*(values[member] for values in self.status))
            best = run.keep == "best"
            epoch = status.best if best else status.stopped or self.epoch
            kept = {
                name.removeprefix("test_"): values[member]
                for name, values in self.results.items()
                if name.startswith("test_") or name in SELECTING
            }
            yield int(epoch) * self.steps, kept

    def curve_rows(self, group, since=0):
        """The rows of `curves.csv`."""
        for member, epoch, values in self.points(group, since):
            step = epoch * self.steps
            at = {"epoch": epoch, "step": step, "samples": step * group.runs[0].batch}
            diverged = self.status.diverged[member]
            at["diverged"] = diverged if 0 < diverged <= epoch else None
            yield values | at | group.names[member]

    def result_rows(self, group):
        """The rows of `results.csv`, of a group that has results."""
        for member, (run, names) in enumerate(zip(group.runs, group.names)):
            status = Status(*(values[member] for values in self.status))
            epochs = status.stopped or self.epoch
            row = {k.removeprefix("test_"): v[member] for k, v in self.results.items()}
            row |= {name: config.describe(getattr(run, name)) for name in ABOUT}
            row["binarization"] += _options(run.binarization)
            row |= {"density": self.density, "kept": run.keep, "epochs": epochs}
            row |= {"epoch": status.best if run.keep == "best" else epochs}
            yield row | {"diverged": status.diverged or None} | names

    def timing_row(self, group):
        """The row of `timing.csv`."""
        epochs = np.where(self.status.stopped, self.status.stopped, self.epoch).sum()
        images = epochs * self.steps * group.runs[0].batch
        return {
            "group": group.number,
            "runs": len(group.runs),
            "devices": self.devices,
            "chunk": self.chunk,
            "seconds": f"{self.seconds:.2f}",
            "images_per_second": f"{images / self.seconds:.0f}",
        }


def _options(function):
    """What is bound to it, as in `(seed=1)`."""
    options = getattr(function, "keywords", None) or {}
    shown = ", ".join(f"{name}={config.describe(v)}" for name, v in options.items())
    return f"({shown})" if shown else ""
