"""Trains one group of a run folder, from its newest checkpoint to its end."""

import time
from typing import Any, NamedTuple

import jax

from aevae import Interrupted, data
from aevae.runs.pictures import Pictures
from aevae.runs.progress import say
from aevae.training.loop import snapshots
from aevae.training.population import populate

INTERVAL = 60.0  # seconds between the checkpoints of a group
TOLD = 2.0  # seconds between what a lock says of where its group is


class Task(NamedTuple):
    """A group that is to be trained, and what is known of it before."""

    group: Any  # history.Group
    dataset: data.DataSet
    checked: Any  # what `check_run` gives of the first run; None if a worker is to ask
    whole: int  # of how many runs the group is a part that `split` made, or all of them
    chunk: int | None = None  # runs that a device trains at a time, if declared


class How(NamedTuple):
    """How a command trains groups; no bit of a run depends on `interval`, `memory` and `images`."""

    chunk: int | None = None  # in place of what is declared, and began
    interval: float = INTERVAL
    memory: float | None = None
    start: Any = None  # initial.Start
    images: int = 0  # of how many of the folder's runs TensorBoard has pictures


def train(task, place, how, signals):
    """Trains a group to its end; yields (history, snapshot, epochs that it adds to the curves).

    `place` is the `Place` of the group, taken. The first snapshot is where training starts or
    resumes. A checkpoint is written at every interval, when a signal came, and at the end; a signal
    is then raised as Interrupted.
    """
    group, began = task.group, time.perf_counter()
    known = place.history()
    # What nobody asked for stays as it was laid out, on whatever devices.
    chunk = how.chunk or task.chunk or (known and known.chunk)
    given = {"chunk": chunk, "whole": task.whole, "memory": how.memory}
    population = populate(group.runs, task.dataset, checked=task.checked, **given)
    if not population.feed.resident:
        say(
            f"group {group.number}: its training data do not fit on the devices; they come "
            f"in windows of {population.feed.length} of {population.steps} steps"
        )
    idle = jax.device_count() - population.layout.devices
    if idle and jax.default_backend() != "cpu":
        say(
            f"group {group.number}: {idle} of {jax.device_count()} devices have nothing to do; "
            "--workers trains groups side by side, and a smaller --chunk spreads one"
        )
    start, known = place.begin(population, task.dataset, how.start)
    known.density = {True: "yes", False: "no"}.get(task.checked.density, "")
    events = place.events(group, known)
    pictures = Pictures(group, population, place.chosen(how.images))
    yield known, start, 0
    saved, told = time.perf_counter(), 0.0
    for snapshot in snapshots(population, start):
        now = time.perf_counter()
        known.seconds, began = known.seconds + now - began, now
        count = known.add(snapshot)
        if count:
            events.add(known.event_points(group, len(known.curves["epoch"]) - count))
        if pictures.due(snapshot):
            step = snapshot.epoch * known.steps + snapshot.step
            for member, own in pictures.of(snapshot):
                events.add_pictures(member, step, own)
        if snapshot.results:
            events.end(known.event_results(group), known.status.diverged)
        if now - told > TOLD:
            place.held.tell(f"epoch {snapshot.epoch}, step {snapshot.step}")
            told = now
        yield known, snapshot, count
        if snapshot.results:
            with signals.saving:
                place.finish(group, population, snapshot, known)
        elif signals.caught or now - saved >= how.interval:
            with signals.saving:
                place.save(population, snapshot, known)
            saved = time.perf_counter()
            if signals.caught:
                at = f"group {group.number}, epoch {snapshot.epoch}, step {snapshot.step}"
                text = (
                    f"{place.workdir} is saved at {at}; {signals.again} resumes there"
                )
                raise Interrupted(text, signals.caught)
