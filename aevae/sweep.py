"""Many runs of one network shape, trained by one program."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError, data, evaluate, feed, train
from aevae.members import Members, Pace

TERMS = evaluate.terms, evaluate.ROWS
BOUNDS = evaluate.bounds, evaluate.ROWS_BOUND


class Standing(NamedTuple):
    """What is known of each run at the end of an epoch, int or float [M]; epoch 0 is the start."""

    score: (
        np.ndarray
    )  # the best so far: validation ELBO, or -distortion where there is none
    best: np.ndarray  # the epoch of it
    stopped: np.ndarray  # the epoch after which a run was stopped, or 0
    diverged: np.ndarray  # the first epoch with a number that was not finite, or 0


class Moment(NamedTuple):
    """Where a group stands: after `step` steps of epoch `epoch`, both from 0.

    `carry` is (State, sums of the epoch's metrics) and `best` the State of the best epoch, without
    its optimiser's part, or None if the config keeps the last; every leaf [M + padding, ...].
    `metrics`, {part_name: [M]}, is there at the end of an epoch alone, `results` at the end of all.
    """

    epoch: int
    step: int
    carry: Any
    best: Any
    standing: Standing
    metrics: dict[str, np.ndarray] | None = None
    results: dict[str, np.ndarray] | None = None


class Population(Members):
    """The runs of a group: alike but for hyperparameters and seed, and trained together.

    Members lie along one axis, split over the devices without any communication between them, and
    on each device `layout.chunk` at a time. Members that share a seed share initial weights, data
    order and noise, so that differences along a hyperparameter are paired. A member equals the
    same run alone to rounding, and its bits do not depend on its neighbours.
    """

    def __init__(self, runs, dataset, layout, metrics, memory=None):
        super().__init__(runs, dataset, layout)
        config, everyone = self.config, self.everyone
        self._distinct, which = np.unique(self.seeds, return_inverse=True)
        given = which.astype(np.int32), self.seeds, self.hp
        self._given = jax.device_put(given, self.along)

        held = {part: held_out(config, dataset, part) for part in data.PARTS[1:]}
        self._first = {k: v[: train.INIT_ROWS] for k, v in dataset.train.items()}
        taken = sum(map(feed.bytes_of, held.values()))
        visited = dataset.train, config.batch
        length = feed.fit(*visited, len(self._distinct), taken, memory)
        self.feed = feed.Feed(*visited, self._distinct, self.everywhere, length)
        self._held = jax.device_put(held, self.everywhere)

        # Run once: half the compile time is worth more than faster code.
        quick = {"xla_backend_optimization_level": 1}
        start = functools.partial(_start, config, metrics, len(dataset.train["image"]))
        self._start = everyone(start, compiler_options=quick)
        self._run = everyone(functools.partial(_run, config), donate_argnums=0)
        self._better = jax.jit(_better, donate_argnums=0)
        self._held_runs = {
            (measure, most): everyone(
                functools.partial(_held, measure, most, config), donate_argnums=0
            )
            for measure, most in (TERMS, BOUNDS)
        }
        self._final = BOUNDS if "elbo" in metrics else TERMS
        self._paces, self._sums = {}, {}

    @property
    def steps(self):
        """In an epoch."""
        return self.feed.steps

    def start(self):
        """The moment before the first step."""
        first = jax.device_put(self._first, self.everywhere)
        carry = self._start(None, self._given, first)
        best = None
        if self.config.keep == "best":
            best = _copy(carry[0]._replace(opt=()))
        none = np.zeros(len(self.runs), np.int32)
        score = np.full(len(self.runs), -np.inf, np.float32)
        return Moment(0, 0, carry, best, Standing(score, none, none, none))

    def dump(self, moment):
        """The arrays of a moment by name, [M, ...]: with its numbers, all there is to go on from."""
        count = len(self.runs)
        leaves = jax.tree.leaves_with_path((moment.carry, moment.best))
        return {_path(path): np.asarray(leaf)[:count] for path, leaf in leaves}

    def load(self, arrays, epoch, step, standing):
        """The moment that was dumped, on whatever layout this population has."""
        carry = self._start.eval_shape(None, self._given, self._first)
        best = carry[0]._replace(opt=()) if self.config.keep == "best" else None
        leaves, structure = jax.tree.flatten_with_path((carry, best))
        names = [_path(path) for path, _ in leaves]
        if set(names) != set(arrays):
            odd = ", ".join(sorted(set(names) ^ set(arrays))[:3])
            raise InputError(
                f"a checkpoint is of another state than this code's: {odd}"
            )
        count, padded = len(self.runs), self.layout.padded
        spread = [*range(count), *[count - 1] * (padded - count)]
        placed = [
            arrays[name].view(leaf.dtype)[spread]
            for name, (_, leaf) in zip(names, leaves)
        ]
        placed = jax.device_put(jax.tree.unflatten(structure, placed), self.along)
        return Moment(epoch, step, *placed, standing)

    def train(self, moment, length=None):
        """Yields a moment about every second, or every `length` units of work, to the results.

        A unit is a step, or a block of an evaluation; there is a moment at each epoch's end. The
        moment that was yielded before is spent: its arrays now hold the next.
        """
        epoch, step, carry, best, standing, *_ = moment
        pace = Pace(length)
        while epoch < self.config.epochs and not standing.stopped.all():
            running = self.spread(standing.stopped == 0)
            for window in self.feed.windows(epoch, step):
                while step < self.feed.end(window):
                    stop = pace.begin(step, self.feed.end(window))
                    carry = self.span(carry, window, step, stop, running)
                    step = pace.end(carry)
                    if step < self.steps:
                        yield Moment(epoch, step, carry, best, standing)
            for held in self._measure(TERMS, carry[0], length):
                if held is None:  # not yet done
                    yield Moment(epoch, step, carry, best, standing)
            sums = {f"train_{name}": np.asarray(v) for name, v in carry[1].items()}
            metrics = {
                name: v[: len(self.runs)] / self.steps for name, v in sums.items()
            }
            metrics |= held
            epoch, step = epoch + 1, 0
            better, standing = self._judge(epoch, metrics, standing)
            if best is not None:
                best = self._better(
                    best, carry[0]._replace(opt=()), self.spread(better)
                )
            yield Moment(epoch, step, carry, best, standing, metrics)
        judged = carry[0] if best is None else best
        for held in self._measure(self._final, judged, length):
            if held is not None:
                held = {k: v for k, v in held.items() if not k.endswith("_loss")}
                standing = _marked(standing, held, epoch)
            yield Moment(epoch, step, carry, best, standing, None, held)

    def _measure(self, which, state, length):
        """Yields None while there is more to do, and then {part_name: [M]}."""
        (measure, most), run = which, self._held_runs[which]
        pace = self._paces.setdefault((which, length), Pace(length))
        state = state._replace(opt=())
        blocks = sum(
            evaluate.count_blocks(split, most) for split in self._held.values()
        )
        if which not in self._sums:
            self._sums[which] = self._zeros(measure, most, state)
        sums, given = self._sums[which], (*self._given, state)
        # What is in the sums before the first unit is not counted.
        for done, new in self.work(run, sums, given, (self._held,), 0, blocks, pace):
            self._sums[which] = sums = new
            if done < blocks:
                yield None
        yield {
            f"{part}_{name}": values[: len(self.runs)]
            for part, terms in jax.device_get(sums).items()
            for name, values in evaluate.summary(terms).items()
        }

    def _zeros(self, measure, most, state):
        """Of the shapes of a measure's means, for every member."""
        one = jax.tree.map(
            lambda v: jax.ShapeDtypeStruct(v.shape[1:], v.dtype), (state, self._given)
        )
        of_one = functools.partial(_held_zeros, measure, most, self.config)
        return self.zeros(jax.eval_shape(of_one, *one, self._held))

    def _judge(self, epoch, metrics, standing):
        """Which runs are better than ever, and how all of them stand now."""
        running = standing.stopped == 0
        score = evaluate.score(metrics)
        better = running & np.isfinite(score) & (score > standing.score)
        best = np.where(better, epoch, standing.best).astype(np.int32)
        late = running & (epoch - best >= self.config.patience)
        stopped = np.where(late, epoch, standing.stopped).astype(np.int32)
        score = np.where(better, score, standing.score)
        marked = _marked(standing, metrics, epoch)
        return better, marked._replace(score=score, best=best, stopped=stopped)

    def span(self, carry, window, start, stop, running=None):
        """Steps `start` to `stop` of an epoch, within a window of it; `carry` is spent."""
        return self._run(carry, *self._inputs(window, start, stop, running))

    def _inputs(self, window, start, stop, running):
        if running is None:
            running = self.spread([True] * len(self.runs))
        return (*self._given, running), (window, np.int32(start), np.int32(stop))

    def compiled_text(self):
        """The compiled program that trains, as XLA's text."""
        inputs = self._inputs(next(self.feed.windows(0)), 0, 1, None)
        return self._run.lower(self.start().carry, *inputs).compile().as_text()

    def states(self, moment):
        """The state of every member after its last step, as NumPy arrays."""
        return self._apart(moment.carry[0])

    def judged(self, moment):
        """The state of every member that the results are of."""
        return self._apart(moment.carry[0] if moment.best is None else moment.best)

    def _apart(self, state):
        leaves, structure = jax.tree.flatten(jax.device_get(state))
        members = zip(*leaves, strict=True)  # padding comes last
        return [jax.tree.unflatten(structure, m) for m, _ in zip(members, self.runs)]

    def examples(self, count):
        """The first test examples, as they are evaluated."""
        first = {name: v[:count] for name, v in self._held["test"].items()}
        return {k: np.asarray(v) for k, v in data.none(None, first).items()}


def _marked(standing, metrics, epoch):
    """Marks runs that have a number which is not finite, at the first such epoch of theirs."""
    sound = np.isfinite(list(metrics.values())).all(0)
    first = ~sound & (standing.diverged == 0)
    diverged = np.where(first, epoch, standing.diverged).astype(np.int32)
    return standing._replace(diverged=diverged)


def _start(config, metrics, size, own, given, first):
    """A run's first state, and a zero for each of its metrics."""
    del own
    _, seed, hp = given
    state = train.init(config, train.everything(first, size), seed, hp)
    return state, dict.fromkeys(metrics, jnp.float32(0))


def _run(config, carry, given, shared):
    (which, seed, hp, running), (window, start, stop) = given, shared
    if config.patience < math.inf:
        stop = jnp.where(running, stop, start)  # a run that was stopped stays as it is
    window = window._replace(order=window.order[which])
    return train.span(config, window, carry, seed, hp, start, stop)


def _held(measure, most, config, sums, given, shared):
    """Blocks `start` to `stop` of the validation data and, after them, the test data."""
    (_, _, hp, state), (held, start, stop) = given, shared
    found, before = {}, 0
    for part, split in held.items():
        key = evaluation_key(part, measure.__name__)
        own = start - before, stop - before
        blocks = evaluate.count_blocks(split, most)
        before += blocks
        own = (jnp.clip(at, 0, blocks) for at in own)
        found[part] = evaluate.span(
            measure, most, config, state, split, sums[part], key, hp, *own
        )
    return found


def _held_zeros(measure, most, config, state, given, held):
    _, _, hp = given
    return {
        part: evaluate.zeros(measure, most, config, state, split, hp)
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


def held_out(config, dataset, part):
    """A split as every run of a config is evaluated on it."""
    key = evaluation_key(part, "binarization")
    return data.held_out(config.binarization, key, getattr(dataset, part))


def evaluation_key(part, use):
    """Of the `binarization`, and of the noise of `terms` and `bounds`, on a split.

    The same for every run and epoch: all meet the same images and the same noise.
    """
    uses, parts = ("binarization", "terms", "bounds"), ("validation", "test")
    place = parts.index(part) if part in parts else 2 * len(uses)  # of "train"
    root = jax.random.fold_in(jax.random.key(data.EVALUATION_SEED), 2)
    return jax.random.fold_in(root, 2 * uses.index(use) + place)
