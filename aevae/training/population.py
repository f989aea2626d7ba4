"""Many runs of one network shape, trained by one program."""

import functools

import jax
import numpy as np

from aevae import InputError, data
from aevae.system import machine
from aevae.training import bounds, epochs, feed
from aevae.training.check import check_run
from aevae.training.layout import (
    USED,
    Members,
    Pace,
    balanced,
    check_chunk,
    chunk_of,
    fitting,
    lay_out,
    piece,
    temporary,
)
from aevae.training.loop import Snapshot
from aevae.training.step import INIT_ROWS, init_state, initial_batch
from aevae.training.trained_run import seen

BOUNDS = bounds.final, bounds.ROWS_BOUND  # after training ...
TERMS = bounds.terms, bounds.ROWS  # ... where there is no bound


class Population(Members):
    """The runs of a group with their data, and the programs that train and evaluate them together.

    Members that share a seed share initial weights, data order and noise, so that differences
    along a hyperparameter are paired. A member equals the same run alone to rounding, and its
    bits do not depend on its neighbors.

    Attributes: `steps`, of an epoch; `units` of work in it, with those of its evaluation; `epochs`,
    the last one; `piece`, as `layout.piece` says; `bounded`, whether there is an ELBO.
    """

    def __init__(self, runs, dataset, layout, checked, memory=None):
        super().__init__(runs, dataset, layout)
        config = self.config
        distinct, which = np.unique(self.seeds, return_inverse=True)
        given = which.astype(np.int32), self.seeds, self.hp
        self._given = jax.device_put(given, self.along)

        held = {
            part: data.held_out(config.binarization, dataset, part)
            for part in data.PARTS[1:]
        }
        self._first = {k: v[:INIT_ROWS] for k, v in dataset.train.items()}
        taken = sum(map(feed.bytes_of, held.values()))
        visited = dataset.train, config.batch
        shape = feed.window(*visited, len(distinct), taken, memory)
        self.feed = feed.Feed(*visited, distinct, self.everywhere, shape)
        self._held = jax.device_put(held, self.everywhere)
        self.seen = seen(config.binarization, dataset, held)
        self.scaling = dataset.scaling
        self._stored = dataset.stored
        self._data_bytes = taken + self.feed.bytes
        self.steps, self.epochs = self.feed.steps, config.epochs
        self.units = epochs.units(self.steps, held)
        self.piece = piece(self.steps)

        # They run once: half the compile time is worth more than faster code, and products
        # and loops over many numbers are as fast.
        quick = {"xla_backend_optimization_level": 1}
        parts = dict.fromkeys(held, checked.held_out_metrics)
        about = len(dataset.train["image"]), checked.metrics, parts, self.feed.epochs
        start = functools.partial(_start, config, *about)
        self._start = self.map_over_runs(start, compiler_options=quick)
        self._programs = {}
        self.bounded = "elbo" in checked.metrics
        self._final = BOUNDS if self.bounded else TERMS
        final = functools.partial(_evaluate, *self._final, config)
        self._evaluate = self.map_over_runs(
            final, compiler_options=quick, donate_argnums=0
        )

    def start(self, params=None):
        """The snapshot before the first step; `params` are what every run starts from, if not new."""
        shared = jax.device_put((self._first, params), self.everywhere)
        run = self._start(None, self._given, shared)
        return Snapshot(0, 0, run, self.status(run))

    def status(self, run):
        """The status of every member, as NumPy arrays of their own."""
        return jax.tree.map(lambda v: np.array(v)[: len(self.runs)], run.status)

    def dump(self, snapshot):
        """The arrays of a snapshot by name, [M, ...]: with its numbers, all that a resume needs."""
        leaves, count = jax.tree.leaves_with_path(_kept(snapshot.run)), len(self.runs)
        return {_path(path): np.asarray(leaf)[:count] for path, leaf in leaves}

    def load(self, arrays, epoch, step, status):
        """The snapshot that was dumped, on whatever layout this population has."""
        run = self._shapes()
        leaves, structure = jax.tree.flatten_with_path(_kept(run))
        names = [_path(path) for path, _ in leaves]
        if set(names) != set(arrays):
            odd = ", ".join(sorted(set(names) ^ set(arrays))[:3])
            raise InputError(
                f"the checkpoint does not match this code; arrays that only one of them has: {odd}"
            )
        placed = [
            self.spread(arrays[name].view(leaf.dtype))
            for name, (_, leaf) in zip(names, leaves)
        ]
        (state, sums), best = jax.tree.unflatten(structure, placed)
        # An evaluation begins anew, and so do the rows that the host has read.
        means, rows = self.zeros(_of_one((run.means, run.rows)))
        known = jax.tree.map(self.spread, status)
        run = epochs.Run(state, sums, means, best, known, rows)
        return Snapshot(epoch, step, run, status)

    def _shapes(self):
        """The shapes of the `epochs.Run` of all members."""
        return self._start.eval_shape(None, self._given, (self._first, None))

    def end(self, window):
        """The last unit of work of a window, counted from the beginning of its first epoch."""
        last = self.feed.end(window)
        before = min(self.feed.epochs, self.epochs - int(window.epoch)) - 1
        return before * self.units + (self.units if last == self.steps else last)

    def kind(self, first, unit):
        """What a unit of a window is whose first epoch is `first`, and where such units end."""
        whole, rest = divmod(unit, self.units)
        if rest < self.steps:
            return "step", whole * self.units + self.steps
        evaluated = epochs.is_evaluated(self.config, first + whole + 1, self.epochs)
        return "block" if evaluated else None, (whole + 1) * self.units

    def cut(self, unit):
        """The last unit up to this one at which loops of known length can be cut."""
        whole, rest = divmod(unit, self.units)
        if self.piece and rest < self.steps:
            rest -= rest % self.piece
        return whole * self.units + rest

    def advance(self, run, window, start, stop):
        """Does units `start` to `stop` of a window; the `epochs.Run` is donated."""
        return self._program(start, stop)(run, *self._inputs(window, start, stop))

    def _program(self, start, stop):
        """The program that trains, by loops of known length if these units are cut by them."""
        known = all(self.cut(unit) == unit for unit in (start, stop))
        length = self.piece if known else None
        if length not in self._programs:
            self._programs[length] = self.map_over_runs(
                functools.partial(_advance, self.config, self.steps, length),
                precision=self.config.precision,
                donate_argnums=0,
            )
        return self._programs[length]

    def _inputs(self, window, start, stop):
        span = map(np.int32, (self.epochs, start, stop))
        return self._given, (window, self._held, *span)

    def evaluate(self, run, length):
        """Evaluates what is reported of all members: yields None until it is done, and then {part_name: [M]}."""
        given, sums, blocks = self._evaluated(_judged(run))
        todo = self.work(
            self._evaluate, sums, given, (self._held,), 0, blocks, Pace(length)
        )
        for done, sums in todo:
            if done < blocks:
                yield None
        yield {
            f"{part}_{name}": values[: len(self.runs)]
            for part, terms in jax.device_get(sums).items()
            for name, values in bounds.summary(terms).items()
        }

    def _evaluated(self, state):
        """What an evaluation is given, its sums before the first block, and the number of blocks."""
        given = *self._given, state._replace(opt=())
        (measure, most), (_, _, hp, shapes) = self._final, _of_one(given)
        zeros = functools.partial(bounds.zeros, measure, most, self.config)
        parts = self._held.items()
        first = jax.eval_shape(zeros, shapes, self._held[data.PARTS[-1]], hp)
        sums = self.zeros({part: first for part, _ in parts})
        return given, sums, bounds.count_all(self._held, most)

    def fitting(self, limit):
        """How many members at a time `limit` bytes of each device hold, in every program."""
        placed = functools.partial(jax.ShapeDtypeStruct, sharding=self.along)
        run = jax.tree.map(lambda v: placed(v.shape, v.dtype), self._shapes())
        window = next(self.feed.windows(0, 0, self.epochs))
        given, sums, _ = self._evaluated(run.state)
        span = np.int32(0), np.int32(1)
        programs = (
            (self._program(0, self.piece or 1), run, *self._inputs(window, *span)),
            (self._evaluate, sums, given, (self._held, *span)),
        )
        states = sum(v.size * v.dtype.itemsize for v in jax.tree.leaves(_kept(run)))
        room = USED * limit - self._data_bytes - states / self.layout.devices
        return min(fitting(self.layout.chunk, temporary(*p), room) for p in programs)

    def compiled_text(self):
        """The compiled program that trains, as XLA's text."""
        window = next(self.feed.windows(0, 0, self.epochs))
        inputs = self.start().run, *self._inputs(window, 0, 1)
        return self._program(0, self.piece or 1).lower(*inputs).compile().as_text()

    def states(self, snapshot):
        """The state of every member after its last step, as NumPy arrays."""
        return self._apart(snapshot.run.state)

    def selected(self, snapshot):
        """The state of every member that is reported: of its best epoch, or its last."""
        return self._apart(_judged(snapshot.run))

    def _apart(self, state):
        leaves, structure = jax.tree.flatten(jax.device_get(state))
        members = zip(*leaves, strict=True)  # padding comes last
        return [jax.tree.unflatten(structure, m) for m, _ in zip(members, self.runs)]

    def examples(self, count):
        """The first `count` test examples, as they are evaluated; not standardized."""
        test = self._stored.test if self._stored else self._held["test"]
        first = {name: v[:count] for name, v in test.items()}
        return {k: np.asarray(v) for k, v in data.none(None, first).items()}


def populate(runs, dataset, *, chunk=None, whole=None, memory=None, checked=None):
    """The population of the runs of a group, checked and laid out.

    Args:
      runs: configs alike but for hyperparameters and seed.
      dataset: their `data.DataSet`, as `data.of` gives it.
      chunk: how many runs a device trains at a time; by default `layout.chunk_of` decides, and on
        an accelerator its memory, for which the programs are compiled at most twice.
      whole: of how many runs the group is that these are a part of, and are laid out as; by default
        they are all of it.
      memory: bytes of each device's memory that data may take, by default half of it.
      checked: what `check_run` gives of the first run, where that is known.
    Raises:
      InputError: whatever is wrong with the runs or the data.
    """
    check_chunk(chunk)
    checked = checked or check_run(runs[0], dataset)
    whole = whole or len(runs)
    count = min(chunk, whole) if chunk else chunk_of(whole, checked.parameters)
    layout = lay_out(len(runs), count, whole=whole)
    population = Population(runs, dataset, layout, checked, memory)
    limit = machine.memory() if chunk is None else None
    if limit is not None:
        most = population.fitting(limit)
        if most < count:
            del population  # its data leave the devices before they come anew
            layout = lay_out(len(runs), balanced(len(runs), most), whole=whole)
            population = Population(runs, dataset, layout, checked, memory)
    return population


def _start(config, size, metrics, parts, rows, own, given, shared):
    """A run before its first step."""
    del own
    (_, seed, hp), (first, params) = given, shared
    state = init_state(config, initial_batch(first, size), seed, hp, params)
    return epochs.begin(config, state, metrics, parts, rows)


def _advance(config, steps, length, run, given, shared):
    window, held, *span = shared
    return epochs.advance(config, steps, length, run, window, held, *given, *span)


def _evaluate(measure, most, config, sums, given, shared):
    """Blocks `start` to `stop` of the validation data and, after them, the test data."""
    (_, _, hp, state), (held, start, stop) = given, shared
    return bounds.of_all(measure, most, config, state, held, sums, hp, start, stop)


def _of_one(tree):
    """The shapes of one member, where the leaves of a tree are of all."""
    return jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape[1:], v.dtype), tree)


def _kept(run):
    """What a checkpoint keeps of a run."""
    return (run.state, run.sums), run.best


def _judged(run):
    """What is reported of a run."""
    return run.state if run.best is None else run.best


def _path(keys):
    return jax.tree_util.keystr(keys, simple=True, separator="/")
