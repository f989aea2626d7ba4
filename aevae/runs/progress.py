"""Progress of a sweep: a bar on a terminal, lines elsewhere."""

import contextlib
import sys
import time

import numpy as np
from tqdm import tqdm

from aevae.runs.tables import labels
from aevae.system import locks
from aevae.training import bounds

BAR = "{desc} {percentage:3.0f}%|{bar:16}|"
ESTIMATE = " {rate_fmt}, {remaining} left"  # once a compiled step has run


def say(text):
    """Prints a line to stderr, above a bar that is shown there."""
    with contextlib.suppress(OSError):  # a terminal or a pipe that was closed
        tqdm.write(text, file=sys.stderr)


class Progress:
    """The progress of a sweep: a bar on a terminal, elsewhere a line every ten seconds."""

    def __init__(self, tasks, groups, of=None):
        """`groups` are those that are named, of `of` in all."""
        named = zip(groups, heads(groups, of))
        self._heads = {group.number: head for group, head in named}
        work = sum(_images(task) * task.group.runs[0].epochs for task in tasks)
        live = sys.stderr.isatty()
        self._bar = tqdm(
            total=work,
            unit=" images",
            unit_scale=True,
            bar_format=BAR,
            dynamic_ncols=True,
            file=sys.stderr,
            mininterval=0.1 if live else 10,
            disable=not live,
        )
        self._done = self._before = 0
        self._waited = None  # for whom
        self._began = self._printed = time.perf_counter()

    def begin(self, task):
        """Starts the progress of a group."""
        self._task, self._best = task, "ELBO -"
        self._before = self._done
        self._show("compiling", over=not self._done)

    def resume(self, snapshot):
        """Subtracts what was trained before the resume from the work to do."""
        self._bar.total -= self._seen(snapshot)
        self._before -= self._seen(snapshot)

    def show(self, snapshot):
        """Shows where the group is."""
        epochs = self._task.group.runs[0].epochs
        over = snapshot.results is not None
        done = self._before + (
            _images(self._task) * epochs if over else self._seen(snapshot)
        )
        self._bar.bar_format = BAR + ESTIMATE * (done > 0)
        self._bar.update(done - self._done)
        self._done = done
        if snapshot.metrics is not None:
            self._best = _best(snapshot)
        at = (
            "evaluating"
            if snapshot.epoch == epochs
            else f"epoch {snapshot.epoch}/{epochs}"
        )
        at = f"epoch {snapshot.epoch}/{epochs}" if over else at
        self._show(f"{at}, {self._best}", over)

    def skip(self, task):
        """Leaves out a group that another process has trained."""
        self._bar.total -= _images(task) * task.group.runs[0].epochs

    def wait(self, task, place):
        """Says who trains a group that this process waits for."""
        who = locks.holder(place.path)
        if who and self._waited != who[0]:
            self._waited = who[0]
            say(
                f"{self._heads[task.group.number]}: trained by {who[0]}; waiting for it"
            )

    def _seen(self, snapshot):
        """The images that the runs of the group have seen by then."""
        batch, runs = self._task.group.runs[0].batch, len(self._task.group.runs)
        return _images(self._task) * snapshot.epoch + snapshot.step * batch * runs

    def _show(self, text, over=False):
        head = self._heads[self._task.group.number]
        self._bar.set_description_str(f"{head}: {text}", refresh=False)
        now = time.perf_counter()
        if self._bar.disable and (now - self._printed > 10 or over):
            line = f"{head}: {text}"
            if self._done:
                rate = self._done / (now - self._began)
                left = (self._bar.total - self._done) / rate
                line += f", {rate:,.0f} images/s, {left:.0f} s left"
            say(line)
            self._printed = now

    def close(self):
        """Closes the bar."""
        self._bar.close()


class Line:
    """A line that changes on a terminal; elsewhere another one every ten seconds, and a last one."""

    def __init__(self):
        self._live, self._printed = sys.stderr.isatty(), time.perf_counter()
        self._bar = tqdm(
            bar_format="{desc}",
            dynamic_ncols=True,
            file=sys.stderr,
            disable=not self._live,
        )

    def show(self, text, over=False):
        """Shows a text; the last one where it is over."""
        self._bar.set_description_str(text)
        now = time.perf_counter()
        if not self._live and (now - self._printed > 10 or over):
            say(text)
            self._printed = now

    def close(self):
        """Closes the line."""
        self._bar.close()


class Counting:
    """One line on what workers do to groups: how many are done, workers there, time left."""

    def __init__(self, count, of):
        """`count` groups of `of` are to be done."""
        self._line, self._count, self._of = Line(), count, of
        self._began = time.perf_counter()

    def show(self, todo, workers, failed=0):
        """Shows how far it is, as `Following.show` does."""
        lost = f" ({failed} failed)" if failed else ""
        line = f"groups {self._of - len(todo)} of {self._of}{lost}, {workers()} workers"
        if done := self._count - len(todo):
            left = (time.perf_counter() - self._began) / done * len(todo)
            line += f", {left:,.0f} s left"
        self._line.show(line, over=not todo)

    def close(self):
        """Closes the line."""
        self._line.close()


class Following:
    """One line on what workers do: groups done, workers there, images per second, time left."""

    def __init__(self, tasks, folder):
        self._line = Line()
        self._tasks = {task.group.number: task for task in tasks}
        self._folder, self._all = folder, len(folder.groups)
        begun = folder.histories.items()
        self._at = {n: known.epoch for n, known in begun if n in self._tasks}
        self._begun = sum(map(self._left, self._tasks))
        self._began, self._looked = time.perf_counter(), 0.0

    def end(self, task):
        """Counts a group that has ended."""
        self._at.pop(task.group.number, None)

    def show(self, todo, workers, failed=0):
        """Shows how far it is.

        `todo` are the numbers of the groups that are not done; `workers()` says how many workers
        there are. `failed` is how many groups have.
        """
        lost = f" ({failed} failed)" if failed else ""
        now = time.perf_counter()
        if now - self._looked < 2 and todo:
            return
        self._looked, workers = now, workers()
        for number in list(todo)[: 2 * max(workers, 1)]:  # in the order of the tasks
            place = self._folder.place(self._tasks[number].group)
            if found := locks.holder(place.path):
                self._at[number] = _epoch_in(found[1])
        left = sum(map(self._left, todo))
        rate = max(self._begun - left, 0) / (now - self._began)
        line = f"groups {self._all - len(todo)} of {self._all}{lost}, {workers} workers"
        if rate:
            line += f", {rate:,.0f} images/s, {left / rate:,.0f} s left"
        self._line.show(line, over=not todo)

    def _left(self, number):
        """The images that the runs of a group are still to see, as far as is known."""
        task = self._tasks[number]
        epochs = task.group.runs[0].epochs - self._at.get(number, 0)
        return _images(task) * max(epochs, 0)

    def close(self):
        """Closes the line."""
        self._line.close()


def _epoch_in(text):
    """The epoch in what the holder of a group's lock tells."""
    words = text.replace(",", "").split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def heads(groups, of=None):
    """What each group is called: its number, and its values of the columns in which groups differ."""
    columns = [name for name in groups[0].names[0] if name != "run"]
    values = [
        {n: [*dict.fromkeys(r[n] for r in g.names)] for n in columns} for g in groups
    ]
    short = {n: labels([v for own in values for v in own[n]]) for n in columns}
    told = [n for n in columns if any(own[n] != values[0][n] for own in values)]
    for group, own in zip(groups, values):
        few = {n: [short[n][v] for v in own[n]] for n in told if own[n] != [""]}
        text = ", ".join(
            f"{n} {' & '.join(v) if len(v) < 5 else f'{v[0]} to {v[-1]}'}"
            for n, v in few.items()
        )
        yield f"group {group.number} of {of or len(groups)}" + (
            f" ({text})" if text else ""
        )


def _images(task):
    """The images that the runs of a group see in an epoch."""
    size, runs = len(task.dataset.train["image"]), task.group.runs
    return size // runs[0].batch * runs[0].batch * len(runs)


def _best(snapshot):
    last = {name: rows[-1] for name, rows in snapshot.metrics.items()}
    values = bounds.criterion(last)
    best = np.max(values, initial=-np.inf, where=np.isfinite(values))
    if "validation_elbo" in snapshot.metrics:
        return f"best ELBO {_shown(best)}"
    name = "distortion" if "validation_distortion" in snapshot.metrics else "loss"
    return f"best {name} {_shown(-best)}"


def _shown(value):
    return f"{value:.2f}" if abs(value) < 1e6 else f"{value:.3g}"
