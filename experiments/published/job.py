"""What all published results share: training within a budget, evaluation, and rows that are compared."""

import dataclasses
import json
import re
import time
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from aevae import InputError, config
from aevae.evaluation import evaluate
from aevae.runs import record, study, tables
from aevae.system import files

PILOT = 5  # epochs after which a learning rate is chosen
CURVE = 41  # evaluations in a share of a schedule, about
STAGE = 10  # epochs grow at most by this factor at a time, so that an interruption loses little
ABOUT = "objective", "binarization"  # columns of every run
TABLES = "results.csv", "curves.csv", "timing.csv", "environment.json"  # kept, in order


class Row(NamedTuple):
    """A published number beside ours, in nats unless `what` says otherwise."""

    what: str
    published: float | None
    ours: float
    tolerance: float | None = None  # None where the two are not to be compared
    better: int = 0  # 1 if more is better, -1 if less is, 0 if neither
    main: bool = False  # whether it is in the table of the README
    predicted: tuple | None = (
        None  # what was foretold, and its error, before it was run
    )

    @property
    def difference(self):
        return None if self.published is None else self.ours - self.published

    @property
    def verdict(self):
        """How ours compares: "within" the tolerance, "better" or "worse"; None if not compared."""
        if self.published is None or self.tolerance is None:
            return None
        if abs(self.difference) <= self.tolerance:
            return "within"
        return "better" if self.better * self.difference > 0 else "worse"


class Fact(NamedTuple):
    """A statement of a paper, and whether it holds for our runs."""

    what: str
    holds: bool


class Outcome(NamedTuple):
    """What a result found: its numbers, statements and figure."""

    rows: list[Row]
    facts: list[Fact]
    samples: int  # images that each run has seen; 0 where nothing is trained
    full: int  # images of the whole schedule
    complete: bool = True
    figure: Any = None
    note: str = ""  # how it was made, for the reader of the table


class Result(NamedTuple):
    """A published result: its title, the function that reproduces it, and its default budget."""

    title: str  # with paper and year
    run: Any  # Job -> Outcome
    pixels: str  # real-valued, or how they are binarized
    budget: (
        float | None
    )  # minutes of training on two cores, by default; None: by shares
    share: Fraction | None = None  # of a schedule that ends, by default
    points: tuple = ()  # names of the runs that can be asked for, the default first


class Part(NamedTuple):
    """The runs of one config, with a grid and overrides of their own."""

    base: str
    grid: Any = None
    overrides: Any = None


class Trained:
    """A run folder and how far it is trained."""

    def __init__(self, workdir, epochs, complete):
        self.workdir, self.epochs, self.complete = workdir, epochs, complete
        self.curves = tables.read(workdir / "curves.csv")
        self.samples = int(max(row["samples"] for row in self.curves))

    @property
    def rows(self):
        """The rows of results.csv whose runs have not diverged."""
        return [r for r in tables.results(self.workdir) if r["diverged"] is None]

    def must_not_diverge(self):
        """Returns itself, or raises an `InputError` if a run has diverged."""
        lost = [r for r in tables.results(self.workdir) if r["diverged"] is not None]
        if lost:
            runs = ", ".join(str(row["run"]) for row in lost)
            raise InputError(
                f"{self.workdir}: run {runs} diverged and cannot be compared: start over in "
                "another --workdir"
            )
        return self


@dataclasses.dataclass(frozen=True)
class Job:
    """A result being reproduced: its folder, and the minutes of training it may take in all."""

    folder: Path
    budget: float | None
    data_dir: str | None = None
    workers: str | None = None  # as in `study.run`
    took: list = dataclasses.field(
        default_factory=list
    )  # seconds of training, this call
    shares: tuple[Fraction, ...] = ()  # of a schedule that ends ...
    points: tuple[str, ...] = ()  # ... and which of its runs
    kept: Path | None = None  # tables of points that were ended elsewhere
    ended: dict = dataclasses.field(default_factory=dict)  # {name: folder}, of `ends`

    def train(self, full, parts):
        """Trains {name: Part} within the budget; returns {name: Trained}.

        All parts are trained for equally many epochs: at least one, and at most `full` or as many as
        fit the budget. The budget counts all calls: the same call again does nothing, a larger budget
        trains further. An interrupted call is resumed to the epoch that it was to reach.
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

    def ends(self, full, parts):
        """Trains points to the end of shares of their schedule; {(point, share): Trained}, in order.

        A share is that of whole epochs, and a hyperparameter `share` of the config, which is for
        `optim.shortened`, is as exact. What earlier calls have ended is there, too, and what is `kept`, which is
        not trained again. The run is evaluated CURVE times at most, unless the best of its epochs is kept.

        Args:
          full: epochs of the whole schedule.
          parts: {point: Part}.

        Raises:
          InputError: a share is of no epoch, or a folder has not the runs that its name says.
        """
        for share in self.shares:
            if share * full < Fraction(1, 2):
                raise InputError(
                    f"{shown(share)} of {full:,} epochs is none: give more"
                )
        kept, _ = (self._ended(root, full, parts) for root in (self.kept, self.folder))
        for share in self.shares:
            for point in self.points:
                if (point, share) not in kept:
                    self._end(point, parts[point], share, full)
        found = kept | self._ended(self.folder, full, parts)
        order = list(parts)
        found = dict(
            sorted(found.items(), key=lambda e: (order.index(e[0][0]), e[0][1]))
        )
        self.ended.update({_ending(*k): runs.workdir for k, runs in found.items()})
        return found

    def _end(self, point, part, share, full):
        """Trains a point to the end of a share."""
        base, epochs = config.load(part.base), whole_epochs(share, full)
        own = {"evaluate_every": -(-epochs // CURVE) if base.keep == "last" else 1}
        if "share" in base.hparams:
            own["share"] = epochs / full
        part = part._replace(overrides=own | (part.overrides or {}))
        self._study(_ending(point, share), part, epochs)

    def _ended(self, root, full, parts):
        """{(point, share): Trained} of the folders in `root` whose runs were trained to their ends."""
        found = {}
        for folder in sorted(root.glob("*_share_*") if root else ()):
            ending = re.fullmatch(r"(.+)_share_([1-9]\d*)_([1-9]\d*)", folder.name)
            if not ending or ending[1] not in parts:
                continue
            point, share = ending[1], Fraction(int(ending[2]), int(ending[3]))
            if share > 1 or folder.name != _ending(point, share):
                continue
            if root == self.kept:
                whole = (folder / TABLES[-1]).is_file()
            else:
                results = folder / TABLES[0]
                whole = results.is_file() and tables.read(results)
            if whole:
                epochs = whole_epochs(share, full)
                runs = _opened(folder, epochs, share == 1)
                _must_be_of(runs, parts[point], epochs)
                found[point, share] = runs
        return found

    @property
    def folders(self):
        """The run folders of this result by name: where it has shares, those that were ended."""
        if self.shares:
            return self.ended
        paths = sorted(self.folder.glob("*/timing.csv"))
        return {path.parent.name: path.parent for path in paths}

    def keep(self):
        """Copies the tables of what was ended here to those that are kept."""
        for name, folder in self.ended.items():
            place = self.kept / name
            if folder != place:
                place.mkdir(parents=True, exist_ok=True)
                for table in TABLES:
                    with files.whole(place / table, same=True) as file:
                        file.write((folder / table).read_bytes())

    def _study(self, name, part, epochs):
        overrides = (part.overrides or {}) | {"epochs": epochs}
        folder = self.folder / name
        options = {"grid": part.grid, "data_dir": self.data_dir}
        options |= {"workers": self.workers}
        began = time.perf_counter()
        try:
            study.run(part.base, folder, overrides=overrides, **options)
        finally:
            self.took.append(time.perf_counter() - began)

    def chosen(self, name, base, axis, values):
        """The value of an axis with the best training ELBO after PILOT epochs."""
        self._study(name, Part(base, {axis: values}), PILOT)
        last = [
            row
            for row in tables.read(self.folder / name / "curves.csv")
            if row["epoch"] == PILOT and row["diverged"] is None
        ]
        if not last:
            raise InputError(
                f"{self.folder / name}: all runs diverged, with {axis} = {values}: change the values"
            )
        return max(last, key=lambda row: row["train_elbo"])[axis]

    def evaluate(self, trained, *asked, **options):
        """Evaluates these measures of a folder's runs; returns its rows. Kept ones have been evaluated."""
        if trained.workdir.parent == self.kept:
            return trained.rows
        options |= {"data_dir": self.data_dir, "workers": self.workers}
        evaluate.run(trained.workdir, asked, **options)
        return trained.rows

    @property
    def seconds(self):
        """Seconds of training over all calls, with compilation and evaluation of the curves."""
        return sum(map(_seconds, self.folders.values()))


def shown(share):
    """A share of a schedule as tables say it."""
    return "whole schedule" if share == 1 else f"share {share}"


def whole_epochs(share, full):
    """The epochs of a share of `full`: one at least."""
    return max(1, round(share * full))


def _opened(folder, epochs, complete):
    """What was trained to its end, every table of it read."""
    try:
        runs = Trained(folder, epochs, complete)
        last = tables.results(folder)[0]["epochs"], runs.curves[-1]["epoch"]
        if not (all(last) and _seconds(folder)):
            raise ValueError
    except (ArithmeticError, LookupError, OSError, TypeError, ValueError, InputError):
        raise InputError(
            f"{folder} is damaged: delete it, and its runs are trained again"
        ) from None
    return runs


def _must_be_of(runs, part, epochs):
    """An InputError if the folder has others than the runs of its name, or not all of them to their end."""
    asked = config.settle(config.load(part.base), part.overrides, part.grid)
    rows, paths = tables.results(runs.workdir), config.swept(asked)
    paths.pop("share", None)  # the epochs say it
    other = [f"{len(rows)} of {len(asked)} runs"] if len(rows) != len(asked) else []
    for row, run in zip(rows, asked) if not other else ():
        cells = config.columns(run, paths)
        cells |= {name: config.describe(getattr(run, name)) for name in ABOUT}
        other += [
            f"{name} = {row.get(name)}"
            for name, cell in cells.items()
            if not _is(row.get(name), cell)
        ]
        short = row["kept"] == "best" or row["diverged"] is not None
        if row["epochs"] != epochs and not (short and row["epochs"] < epochs):
            other.append(f"{row['epochs']} epochs, not {epochs}")
        drawn = [c["epoch"] for c in runs.curves if c["run"] == row["run"]]
        if row["diverged"] is None and row["epochs"] not in drawn:
            other.append(f"no curve of run {row['run']} to its end")
    if other:
        raise InputError(
            f"{runs.workdir} has not the runs of its name, but {', '.join(dict.fromkeys(other))}: "
            "delete it, or name it as it is"
        )


def _is(cell, text):
    """Whether a table's cell is a value of a config, whose text it may have with options in brackets."""
    return cell == tables.parsed(text) or str(cell).partition("(")[0] == text


def _ending(point, share):
    """The name of a point's folder, as vae_1_share_1_40."""
    return f"{point}_share_{share.numerator}_{share.denominator}"


def _asked(workdir):
    """The epochs that the folder's last call was to reach, or 1."""
    if not (workdir / "config.json").is_file():
        return 1
    return max(run.epochs for run in record.declared(workdir))


def _seconds(workdir):
    return sum(row["seconds"] for row in tables.read(workdir / "timing.csv"))


def keep(path, what):
    """Writes JSON atomically: it is found whole or not at all."""
    with files.whole(path) as file:
        file.write((json.dumps(what, indent=1) + "\n").encode())


def kept(path):
    """Reads what `keep` wrote; None if there is no such file."""
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except OSError:
        return None
    except ValueError:
        raise InputError(f"{path} is damaged: delete it") from None
