"""Many runs of one network shape, trained by one program."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError, data
from aevae.system import machine
from aevae.training import bounds, feed
from aevae.training.check import check_run
from aevae.training.layout import USED, Members, Pace, fitting, lay_out, temporary
from aevae.training.loop import Snapshot, Status
from aevae.training.step import INIT_ROWS, init_state, initial_batch, train_span
from aevae.training.trained_run import seen

TERMS = bounds.terms, bounds.ROWS  # after each epoch
BOUNDS = bounds.final, bounds.ROWS_BOUND  # after training
USES = {bounds.terms: "terms", bounds.final: "bounds"}  # of evaluation keys


class Population(Members):
    """The runs of a group with their data, and the programs that train and evaluate them together.

    Members that share a seed share initial weights, data order and noise, so that differences
    along a hyperparameter are paired. A member equals the same run alone to rounding, and its
    bits do not depend on its neighbors.
    """

    def __init__(self, runs, dataset, layout, metrics, memory=None):
        super().__init__(runs, dataset, layout)
        config, map_over_runs = self.config, self.map_over_runs
        self._distinct, which = np.unique(self.seeds, return_inverse=True)
        given = which.astype(np.int32), self.seeds, self.hp
        self._given = jax.device_put(given, self.along)

        held = {
            part: data.held_out(config.binarization, dataset, part)
            for part in data.PARTS[1:]
        }
        self._first = {k: v[:INIT_ROWS] for k, v in dataset.train.items()}
        taken = sum(map(feed.bytes_of, held.values()))
        visited = dataset.train, config.batch
        length = feed.window_length(*visited, len(self._distinct), taken, memory)
        self.feed = feed.Feed(*visited, self._distinct, self.everywhere, length)
        self._held = jax.device_put(held, self.everywhere)
        self.seen = seen(config.binarization, dataset, held)
        self.scaling = dataset.scaling
        self._stored = dataset.stored
        self._data_bytes = taken + self.feed.bytes

        # It runs once: half the compile time is worth more than faster code.
        quick = {"xla_backend_optimization_level": 1}
        start = functools.partial(_start, config, metrics, len(dataset.train["image"]))
        self._start = map_over_runs(start, compiler_options=quick)
        self._run = map_over_runs(
            functools.partial(_run, config),
            precision=config.precision,
            donate_argnums=0,
        )
        self.better = jax.jit(_better, donate_argnums=0)
        self._held_runs = {
            (measure, most): map_over_runs(
                functools.partial(_held, measure, most, config), donate_argnums=0
            )
            for measure, most in (TERMS, BOUNDS)
        }
        self.terms = TERMS
        self.final = BOUNDS if "elbo" in metrics else TERMS
        self._paces, self._sums = {}, {}

    @property
    def steps(self):
        """The number of steps in an epoch."""
        return self.feed.steps

    def start(self, params=None):
        """The snapshot before the first step; `params` are what every run starts from, if not new."""
        shared = jax.device_put((self._first, params), self.everywhere)
        carry = self._start(None, self._given, shared)
        best = None
        if self.config.keep == "best":
            best = _copy(carry[0]._replace(opt=()))
        none = np.zeros(len(self.runs), np.int32)
        score = np.full(len(self.runs), -np.inf, np.float32)
        return Snapshot(0, 0, carry, best, Status(score, none, none, none))

    def dump(self, snapshot):
        """The arrays of a snapshot by name, [M, ...]: with its numbers, all that a resume needs."""
        count = len(self.runs)
        leaves = jax.tree.leaves_with_path((snapshot.carry, snapshot.best))
        return {_path(path): np.asarray(leaf)[:count] for path, leaf in leaves}

    def load(self, arrays, epoch, step, status):
        """The snapshot that was dumped, on whatever layout this population has."""
        carry = self._start.eval_shape(None, self._given, (self._first, None))
        best = carry[0]._replace(opt=()) if self.config.keep == "best" else None
        leaves, structure = jax.tree.flatten_with_path((carry, best))
        names = [_path(path) for path, _ in leaves]
        if set(names) != set(arrays):
            odd = ", ".join(sorted(set(names) ^ set(arrays))[:3])
            raise InputError(
                f"the checkpoint does not match this code; arrays that only one of them has: {odd}"
            )
        count, padded = len(self.runs), self.layout.padded
        spread = [*range(count), *[count - 1] * (padded - count)]
        placed = [
            arrays[name].view(leaf.dtype)[spread]
            for name, (_, leaf) in zip(names, leaves)
        ]
        placed = jax.device_put(jax.tree.unflatten(structure, placed), self.along)
        return Snapshot(epoch, step, *placed, status)

    def evaluate(self, which, state, length):
        """Evaluates all members: yields None until it is done, and then {part_name: [M]}."""
        (measure, most), run = which, self._held_runs[which]
        pace = self._paces.setdefault((which, length), Pace(length))
        state = state._replace(opt=())
        blocks = sum(bounds.count_blocks(split, most) for split in self._held.values())
        if which not in self._sums:
            self._sums[which] = self._zeros(measure, most, state)
        sums, given = self._sums[which], (*self._given, state)
        # `bounds.span` resets the sums at its first block, so the old buffer serves again.
        for done, new in self.work(run, sums, given, (self._held,), 0, blocks, pace):
            self._sums[which] = sums = new
            if done < blocks:
                yield None
        yield {
            f"{part}_{name}": values[: len(self.runs)]
            for part, terms in jax.device_get(sums).items()
            for name, values in bounds.summary(terms).items()
        }

    def _zeros(self, measure, most, state):
        """Zeros of the shapes of a measure's means, for every member."""
        one = jax.tree.map(
            lambda v: jax.ShapeDtypeStruct(v.shape[1:], v.dtype), (state, self._given)
        )
        of_one = functools.partial(_held_zeros, measure, most, self.config)
        return self.zeros(jax.eval_shape(of_one, *one, self._held))

    def span(self, carry, window, start, stop, running=None):
        """Takes steps `start` to `stop` of an epoch, within a window of it; `carry` is donated."""
        return self._run(carry, *self._inputs(window, start, stop, running))

    def _inputs(self, window, start, stop, running=None):
        if running is None:
            running = self.spread([True] * len(self.runs))
        return (*self._given, running), (window, np.int32(start), np.int32(stop))

    def fitting(self, limit):
        """How many members at a time `limit` bytes of each device hold, in every program."""
        placed = functools.partial(jax.ShapeDtypeStruct, sharding=self.along)
        carry = self._start.eval_shape(None, self._given, (self._first, None))
        carry = jax.tree.map(lambda v: placed(v.shape, v.dtype), carry)
        window = next(self.feed.windows(0))
        state, span = carry[0]._replace(opt=()), (np.int32(0), np.int32(1))
        programs = [(self._run, carry, *self._inputs(window, *span))]
        for which in {self.terms, self.final}:
            given, shared = (*self._given, state), (self._held, *span)
            sums = self._zeros(*which, state)
            programs.append((self._held_runs[which], sums, given, shared))
        kept = carry, state if self.config.keep == "best" else None
        states = sum(v.size * v.dtype.itemsize for v in jax.tree.leaves(kept))
        room = USED * limit - self._data_bytes - states / self.layout.devices
        return min(fitting(self.layout.chunk, temporary(*p), room) for p in programs)

    def compiled_text(self):
        """The compiled program that trains, as XLA's text."""
        inputs = self._inputs(next(self.feed.windows(0)), 0, 1)
        return self._run.lower(self.start().carry, *inputs).compile().as_text()

    def states(self, snapshot):
        """The state of every member after its last step, as NumPy arrays."""
        return self._apart(snapshot.carry[0])

    def selected(self, snapshot):
        """The state of every member that is reported: of its best epoch, or its last."""
        return self._apart(
            snapshot.carry[0] if snapshot.best is None else snapshot.best
        )

    def _apart(self, state):
        leaves, structure = jax.tree.flatten(jax.device_get(state))
        members = zip(*leaves, strict=True)  # padding comes last
        return [jax.tree.unflatten(structure, m) for m, _ in zip(members, self.runs)]

    def examples(self, count):
        """The first `count` test examples, as they are evaluated; not standardized."""
        test = self._stored.test if self._stored else self._held["test"]
        first = {name: v[:count] for name, v in test.items()}
        return {k: np.asarray(v) for k, v in data.none(None, first).items()}


def populate(runs, dataset, *, chunk=None, memory=None, checked=None):
    """The population of the runs of a group, checked and laid out.

    Args:
      runs: configs alike but for hyperparameters and seed.
      dataset: their `data.DataSet`, as `data.of` gives it.
      chunk: how many runs a device trains at a time; by default `lay_out` decides, and on an
        accelerator its memory, for which the programs are compiled at most twice.
      memory: bytes of each device's memory that data may take, by default half of it.
      checked: what `check_run` gives of the first run, where that is known.
    Raises:
      InputError: whatever is wrong with the runs or the data.
    """
    checked = checked or check_run(runs[0], dataset)
    layout = lay_out(len(runs), checked.parameters, chunk=chunk)
    population = Population(runs, dataset, layout, checked.metrics, memory)
    limit = machine.memory() if chunk is None else None
    if limit is not None:
        most = population.fitting(limit)
        if most < layout.chunk:
            del population  # its data leave the devices before they come anew
            layout = lay_out(len(runs), checked.parameters, chunk=most)
            population = Population(runs, dataset, layout, checked.metrics, memory)
    return population


def _start(config, metrics, size, own, given, shared):
    """A run's first state, and a zero for each of its metrics."""
    del own
    (_, seed, hp), (first, params) = given, shared
    state = init_state(config, initial_batch(first, size), seed, hp, params)
    return state, dict.fromkeys(metrics, jnp.float32(0))


def _run(config, carry, given, shared):
    (which, seed, hp, running), (window, start, stop) = given, shared
    if config.patience < math.inf:
        stop = jnp.where(running, stop, start)  # a run that was stopped stays as it is
    window = window._replace(order=window.order[which])
    return train_span(config, window, carry, seed, hp, start, stop)


def _held(measure, most, config, sums, given, shared):
    """Blocks `start` to `stop` of the validation data and, after them, the test data."""
    (_, _, hp, state), (held, start, stop) = given, shared
    found, before = {}, 0
    for part, split in held.items():
        key = data.evaluation_key(part, USES[measure])
        own = start - before, stop - before
        blocks = bounds.count_blocks(split, most)
        before += blocks
        own = (jnp.clip(at, 0, blocks) for at in own)
        found[part] = bounds.span(
            measure, most, config, state, split, sums[part], key, hp, *own
        )
    return found


def _held_zeros(measure, most, config, state, given, held):
    _, _, hp = given
    return {
        part: bounds.zeros(measure, most, config, state, split, hp)
        for part, split in held.items()
    }


def _better(best, state, better):
    """The state where it is better, for every member."""

    def choose(old, new):
        return jnp.where(better.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    return jax.tree.map(choose, best, state)


@jax.jit
def _copy(state):
    return jax.tree.map(jnp.copy, state)


def _path(keys):
    return jax.tree_util.keystr(keys, simple=True, separator="/")
