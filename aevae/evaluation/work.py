"""The work of one measure on one group: its runs on the devices, its data, and its progress."""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from aevae import Interrupted, data
from aevae.evaluation import codes
from aevae.evaluation.contract import Facts
from aevae.models.distributions import kl_each
from aevae.runs import record
from aevae.runs.progress import say
from aevae.system import files, machine
from aevae.training.layout import (
    USED,
    Members,
    Pace,
    chunk_of,
    fitting,
    lay_out,
    temporary,
)

SAVED = 30.0  # seconds between what is kept of unfinished work
ASKED_OF = (  # methods and attributes of distributions that measures may need
    *("mean", "std", "log_prob_each", "kl_each", "quantile"),
    *("discrete", "levels", "support", "cross_entropy", "book", "cells", "unbounded"),
)


class TrainedGroup(NamedTuple):
    """Finished runs of one network shape, their rows, and what was trained of them."""

    number: int  # of the group
    numbers: list[int]  # of the runs
    rows: list[dict]
    runs: list[Any]
    states: list[Any] | None = None  # (params, step), once they are read


def facts_of(group, dataset, seeds):
    """What is known of a group before any work: see `contract.Facts`."""
    members = _members(group, dataset)
    config, given = members.config, _one(_given(group, members))
    held = data.held_out(config.binarization, dataset, "test", slice(2))
    batch = data.none(None, held)
    found = {}

    def look(given):
        params, step, hp = given
        draw = config.model.apply(params, batch, None, config.schedule(hp, step))
        kinds = {"posterior": draw.q, "prior": draw.p, "likelihood": draw.x}
        found["names"] = {kind: type(d).__name__ for kind, d in kinds.items()}
        for kind, d in kinds.items():
            found[kind] = frozenset(name for name in ASKED_OF if hasattr(d, name))
        found["rates"] = kl_each(draw.q, draw.p) is not None
        found["vector"] = isinstance(draw.z, jax.Array)
        found["latents"] = draw.z.shape[-1] if found["vector"] else None
        found["levels"] = getattr(draw.x, "levels", None)
        return draw.log_px

    jax.eval_shape(look, given)
    levels = found.pop("levels")
    bounded = group.rows[0]["elbo"] is not None
    found["multi_rate"] = getattr(config.model, "multi_rate", False)
    return Facts(dataset, bounded, seeds, levels=levels, **found)


def _members(group, dataset, chunk=None):
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(group.states[0][0]))
    count = len(group.runs)
    layout = lay_out(count, chunk or chunk_of(count, size))
    return Members(group.runs, dataset, layout)


def _given(group, members):
    params, step = jax.tree.map(lambda *v: np.stack(v), *group.states)
    placed = jax.tree.map(members.spread, (params, np.int32(step)))
    return *placed, jax.device_put(members.hp, members.along)


def _one(given):
    """The shapes of what one run is given."""
    return jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape[1:], v.dtype), given)


def unfinished(workdir, group):
    """The file of the work on a group that was interrupted."""
    return Path(workdir) / "evaluated" / f"unfinished-{group.number:04d}.npz"


class Work:
    """One measure of one group: what the measure is given.

    Attributes: `group`, `dataset`, `facts`, `config` (of any of the runs, with the shape of the
    images), `members` (the runs on the devices) and `given` ((params, step, hp) of all of them).
    """

    def __init__(self, workdir, group, name, options, facts, signals, chunk=None):
        self.group, self.dataset, self.facts = group, facts.dataset, facts
        self.workdir = workdir
        self.members = _members(group, facts.dataset, chunk)
        self._limit = machine.memory() if chunk is None else None
        self.config = self.members.config
        self.given = _given(group, self.members)
        self.name = f"{name}, run {group.numbers[0]} to {group.numbers[-1]}"
        self._signals, self._turn = signals, 0
        self._place = unfinished(workdir, group)
        digests = [files.digest(record.params_path(workdir, n)) for n in group.numbers]
        about = {"measure": name, "options": options, "params": digests}
        about |= {"layout": list(self.members.layout)}
        self._about = json.dumps(about, sort_keys=True, default=str)

    def held(self, part, limit=None):
        """A split as it is evaluated, or its first `limit` rows."""
        rows = slice(limit)
        return data.held_out(self.config.binarization, self.dataset, part, rows)

    def key(self, use):
        """A key for one use, the same for every run."""
        root = jax.random.fold_in(jax.random.key(data.EVALUATION_SEED), 3)
        return jax.random.fold_in(root, use)

    def shapes(self):
        """The shapes of what one run is given."""
        return _one(self.given)

    def encoded(self, held, use):
        """What `codes.encode` finds of every run, [M, N, ...], as NumPy arrays."""
        of, blocks = codes.carry_shapes(self.config, self.key(use), held)

        def f(carry, given, shared):
            return codes.encode(self.config, self.key(use), carry, given, shared)

        return self.through(f, of(self.shapes()), blocks, self.given, held)

    def through(self, f, shapes, units, given, *shared):
        """Runs `f` over all its units for every run; its carry as NumPy arrays, [M, ...].

        Progress is shown; unfinished work is kept from time to time, and when a signal comes.
        """
        turn, self._turn = self._turn, self._turn + 1
        first, carry = self._resumed(turn, shapes)
        shared = jax.device_put(shared, self.members.everywhere)
        run = self._compiled(f, carry, given, shared)
        pace, saved = Pace(), time.perf_counter()
        with self._bar(units, first) as bar:
            printed = began = time.perf_counter()
            for start, carry in self.members.work(  # noqa: B020, the last is spent
                run, carry, given, shared, first, units, pace
            ):
                bar.update(start - bar.n)
                now = time.perf_counter()
                if bar.disable and now - printed > 10:
                    left = (now - began) * (units - start) / (start - first)
                    say(f"{self.name}: {start / units:.0%}, {left:.0f} s left")
                    printed = now
                if self._signals.caught or now - saved > SAVED:
                    with self._signals.saving:
                        self._save(turn, start, carry)
                    saved = now
                if self._signals.caught:
                    raise Interrupted(
                        f"{self.name}: {start / units:.0%} is saved; the same command resumes "
                        "there",
                        self._signals.caught,
                    )
        count = len(self.group.runs)
        return jax.tree.map(lambda v: np.asarray(v)[:count], carry)

    def _bar(self, units, first=0):
        how = {"mininterval": 0.5, "leave": False, "disable": None}
        shown = "{desc} {percentage:3.0f}%|{bar:16}| {remaining} left"
        named = {"desc": self.name, "bar_format": shown}
        return tqdm(total=units, initial=first, **named, **how)

    def each(self, items):
        """Yields pieces of work of the host, of which progress is shown; leaves if a signal has come."""
        items = [*items]
        with self._bar(len(items)) as bar:
            for item in items:
                self.stop()
                yield item
                bar.update()

    def _compiled(self, f, carry, given, shared):
        """Compiles `f` for as many members at a time as the devices' memory holds."""
        run = self.members.map_over_runs(f, donate_argnums=0)
        if self._limit is None:
            return run
        inputs = carry, given, (*shared, np.int32(0), np.int32(1))
        of_runs, of_all = (
            sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
            for tree in (inputs[:2], shared)
        )
        _, devices, chunk = self.members.layout
        room = USED * self._limit - of_all - of_runs / devices
        most = fitting(chunk, temporary(run, *inputs), room)
        if most == chunk:
            return run
        # The members are laid out already: only a divisor leaves no turn short.
        most = max(part for part in range(1, most + 1) if chunk % part == 0)
        return self.members.map_over_runs(f, chunk=most, donate_argnums=0)

    def stop(self):
        """Leaves between two pieces of work of the host, if a signal has come."""
        if self._signals.caught:
            raise Interrupted(
                f"{self.name}: interrupted; the same command starts it anew",
                self._signals.caught,
            )

    def _resumed(self, turn, shapes):
        zeros = self.members.zeros(shapes)
        try:
            with np.load(self._place) as kept:
                leaves, tree = jax.tree.flatten(zeros)
                if kept["about"].item() == f"{turn} {self._about}":
                    own = [kept[f"leaf{i}"] for i in range(len(leaves))]
                    say(f"{self.name}: resumes after {kept['start']} units of work")
                    carry = jax.device_put(
                        jax.tree.unflatten(tree, own), self.members.along
                    )
                    return int(kept["start"]), carry
        except (OSError, ValueError, KeyError, EOFError):
            pass
        return 0, zeros

    def _save(self, turn, start, carry):
        leaves = {
            f"leaf{i}": np.asarray(v) for i, v in enumerate(jax.tree.leaves(carry))
        }
        with files.writing(self._place):
            self._place.parent.mkdir(exist_ok=True)
        with files.whole(self._place) as file:
            np.savez(file, about=f"{turn} {self._about}", start=start, **leaves)

    def done(self):
        """Removes what was kept of unfinished work."""
        self._place.unlink(missing_ok=True)


def standard_error(values):
    """The standard error of a mean over examples; None of one example."""
    return values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
