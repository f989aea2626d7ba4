"""Many runs of one network shape, trained by one program."""

import dataclasses
import functools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from aevae import InputError, data, evaluate, train

SPAN = 1.0  # seconds: how long the host waits for the devices at most, about
SMALL = 50_000  # parameters: below it, a CPU trains several members at a time
CHUNK = 8  # so many


class Moment(NamedTuple):
    """Where a group stands: after `step` steps of epoch `epoch`, both from 0.

    `carry` is (State, sums of the epoch's metrics), every leaf [M + padding, ...]. `metrics`,
    {part_name: [M]}, is there at the end of an epoch alone.
    """

    epoch: int
    step: int
    carry: Any
    metrics: dict[str, np.ndarray] | None = None


class Layout(NamedTuple):
    """How members lie: over `devices`, and `chunk` at a time on each."""

    members: int
    devices: int
    chunk: int

    @property
    def padded(self):
        return (
            -(-self.members // (self.devices * self.chunk)) * self.devices * self.chunk
        )


def layout(members, parameters, devices=None, chunk=None):
    """The layout for so many members of so many parameters each.

    A group smaller than the device count uses only as many devices as it has members. On a CPU
    large networks go one at a time, whose state stays in the cache; small ones `CHUNK` at a time.
    An accelerator takes all at once. The bits of a run depend on the chunk.
    """
    devices = min(members, devices or jax.device_count())
    each = -(-members // devices)
    if chunk is None:
        on_cpu = jax.default_backend() == "cpu"
        chunk = (CHUNK if parameters < SMALL else 1) if on_cpu else each
    turns = -(-each // min(chunk, each))
    return Layout(members, devices, -(-each // turns))


def check(config, dataset):
    """A step and an evaluation of a run, traced and not run.

    Returns the number of parameters, and the names of the metrics in training and in evaluation.
    Whatever fails in it, a hyperparameter that is missing or that nothing reads, and data outside
    the likelihood's range are told here, in one line, before any work.
    """
    size = len(dataset.train["image"])
    if config.batch > size:
        raise InputError(
            f"batch {config.batch} is larger than the {size} training examples"
        )
    config = shaped(config, dataset)
    hp = {name: jnp.float32(value) for name, value in config.hparams.items()}
    names = f"{_name(config.objective)} with {_name(config.model)}"

    def one(hp):
        state = train.init(config, _everything(dataset.train), 0, hp)
        batch = train.rows(dataset.train, np.arange(config.batch))
        batch = config.binarization(jax.random.key(0), batch)
        after, metrics = train.step(config, state, batch, jax.random.key(0), hp)
        held = {name: batch[name] for name in dataset.test}
        held = evaluate.split(config, state, held, jax.random.key(0), hp)
        x = config.model.apply(state.params, batch, None, hp).x
        return (after, metrics["loss"]), state.params, metrics, held, x

    try:
        jaxpr, shapes = jax.make_jaxpr(one, return_shape=True)(hp)
    except Exception as error:
        if isinstance(error, KeyError):
            raise InputError(
                f"{names}: there is no {error}; hparams has {', '.join(hp) or 'nothing'}, "
                f"a batch {', '.join(dataset.train)}, size"
            ) from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{names} fails: {reason}") from error
    trained, params, metrics, held, x = shapes
    used = _read(jaxpr, len(jax.tree.leaves(trained)))
    unread = [name for name, read in zip(sorted(hp), used) if not read]
    if unread:
        read = ", ".join(sorted(set(hp) - set(unread))) or "none"
        raise InputError(
            f"{names}: nothing reads hyperparameter {', '.join(unread)}; it reads {read}"
        )
    _check_range(dataset, getattr(x, "support", None), type(x).__name__)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    return parameters, sorted(metrics), sorted(held)


def shaped(config, dataset):
    """The config with the data's image shape in its model."""
    if getattr(config.model, "shape", dataset.shape) not in ((), dataset.shape):
        raise InputError(
            f"the model's shape is {config.model.shape}, that of {dataset.name} {dataset.shape}"
        )
    return dataclasses.replace(config, model=config.model.clone(shape=dataset.shape))


def _name(thing):
    return getattr(getattr(thing, "func", thing), "__name__", type(thing).__name__)


def _read(jaxpr, outputs):
    """For each input of a jaxpr, whether one of so many first outputs depends on it."""
    needed = set(map(id, jaxpr.jaxpr.outvars[:outputs]))
    for equation in reversed(jaxpr.jaxpr.eqns):
        if needed & set(map(id, equation.outvars)):
            needed |= set(map(id, equation.invars))
    return [id(var) in needed for var in jaxpr.jaxpr.invars]


def _check_range(dataset, support, name):
    if support is None:
        return
    for part in ("train", "validation", "test"):
        image = getattr(dataset, part)["image"]
        low, high = (0, 1) if image.dtype == np.uint8 else (image.min(), image.max())
        if not (low >= support[0] and high <= support[1]):
            raise InputError(
                f"{dataset.name}, {part}: pixels from {low:g} to {high:g} lie outside the "
                f"{name} likelihood's range, {support[0]:g} to {support[1]:g}"
            )


def _everything(split):
    """Scaled training data, for initial values that come from it."""
    return data.none(None, train.rows(split, slice(train.INIT_ROWS)))


class Population:
    """The runs of a group: alike but for hyperparameters and seed, and trained together.

    Members lie along one axis, split over the devices without any communication between them, and
    on each device `layout.chunk` at a time. Members that share a seed share initial weights, data
    order and noise, so that differences along a hyperparameter are paired. A member equals the
    same run alone to rounding, and its bits do not depend on its neighbours.
    """

    def __init__(self, runs, dataset, layout, metrics):
        self.runs, self.layout = runs, layout
        self.config = config = shaped(runs[0], dataset)
        devices = jax.devices()[: layout.devices]
        mesh = jax.make_mesh((len(devices),), ("M",), (AxisType.Auto,), devices=devices)
        self._everywhere = NamedSharding(mesh, P())
        members = NamedSharding(mesh, P("M"))

        padded = [*runs, *[runs[-1]] * (layout.padded - len(runs))]
        seeds = np.array([run.seed for run in padded], np.int32)
        self._seeds, which = np.unique(seeds, return_inverse=True)
        hp = {
            name: np.array([run.hparams[name] for run in padded], np.float32)
            for name in config.hparams
        }
        self._given = jax.device_put((which.astype(np.int32), seeds, hp), members)

        prepare = jax.jit(config.binarization)
        held = {
            part: prepare(evaluation_key(part, "binarization"), getattr(dataset, part))
            for part in ("validation", "test")
        }
        self._data = jax.device_put(dataset.train, self._everywhere)
        self._held = jax.device_put(held, self._everywhere)

        everyone = functools.partial(_everyone, mesh, layout.chunk)
        # Run once: half the compile time is worth more than faster code.
        quick = {"xla_backend_optimization_level": 1}
        start = functools.partial(_start, config, metrics)
        self._start = everyone(start, compiler_options=quick)
        self._run = everyone(functools.partial(_run, config), donate_argnums=0)
        self._epoch = everyone(functools.partial(_held, evaluate.split, config))
        self._results = everyone(functools.partial(_held, evaluate.results, config))

    @property
    def steps(self):
        """In an epoch; a last batch that is not full is left out."""
        return len(self._data["image"]) // self.config.batch

    def start(self):
        """The moment before the first step."""
        return Moment(0, 0, self._start(None, self._given, self._data))

    def train(self, moment, length=None):
        """Yields a moment about every second, or every `length` steps, and one at an epoch's end.

        The moment that was yielded before is spent: its arrays now hold the next.
        """
        epoch, step, carry, _ = moment
        steps = length or 1  # the first span waits for the compiler
        while epoch < self.config.epochs:
            order = jax.device_put(self.order(epoch), self._everywhere)
            while step < self.steps:
                began, stop = time.perf_counter(), min(step + steps, self.steps)
                shared = self._data, order, np.int32(step), np.int32(stop)
                carry = jax.block_until_ready(self._run(carry, self._given, shared))
                each = (time.perf_counter() - began) / (stop - step)
                steps, step = length or max(1, int(SPAN / each)), stop
                if step < self.steps:
                    yield Moment(epoch, step, carry)
            epoch, step = epoch + 1, 0
            yield Moment(epoch, step, carry, self._metrics(carry))

    def order(self, epoch):
        """The data order of an epoch for each seed, [S, T, B]: a function of (seed, epoch) alone."""
        size, batch = len(self._data["image"]), self.config.batch
        shuffled = [
            np.random.default_rng([int(seed), epoch]).permutation(size)[
                : self.steps * batch
            ]
            for seed in self._seeds
        ]
        return np.stack(shuffled).reshape(-1, self.steps, batch).astype(np.int32)

    def compiled_text(self):
        """The compiled program that trains, as XLA's text."""
        moment, order = self.start(), jax.device_put(self.order(0), self._everywhere)
        shared = self._data, order, np.int32(0), np.int32(1)
        return self._run.lower(moment.carry, self._given, shared).compile().as_text()

    def results(self, moment):
        """{part_name: [M]}: `evaluate.results` on the validation and the test split."""
        return self._host(self._results(moment.carry[0], self._given, self._held))

    def states(self, moment):
        """The state of every member, as NumPy arrays."""
        leaves, structure = jax.tree.flatten(jax.device_get(moment.carry[0]))
        members = zip(*leaves, strict=True)  # padding comes last
        return [jax.tree.unflatten(structure, m) for m, _ in zip(members, self.runs)]

    def examples(self, count):
        """The first test examples, as they are evaluated."""
        return {name: np.asarray(v[:count]) for name, v in self._held["test"].items()}

    def _metrics(self, carry):
        state, sums = carry
        train_ = {
            f"train_{name}": np.asarray(v) / self.steps for name, v in sums.items()
        }
        held = self._host(self._epoch(state, self._given, self._held))
        return {name: v[: len(self.runs)] for name, v in train_.items()} | held

    def _host(self, parts):
        parts = jax.device_get(parts)
        return {
            f"{part}_{name}": values[: len(self.runs)]
            for part, terms in parts.items()
            for name, values in terms.items()
        }


def _everyone(mesh, chunk, f, **options):
    """`f(own, given, shared)` of one run, for all: over the devices, then in chunks."""

    def of_all(own, given, shared):
        def one(both):
            return f(*both, shared)

        return jax.lax.map(one, (own, given), batch_size=chunk if chunk > 1 else None)

    specs = {"in_specs": (P("M"), P("M"), P()), "out_specs": P("M")}
    return jax.jit(
        jax.shard_map(of_all, mesh=mesh, check_vma=False, **specs), **options
    )


def _start(config, metrics, own, given, stored):
    """A run's first state, and a zero for each of its metrics."""
    del own
    _, seed, hp = given
    state = train.init(config, _everything(stored), seed, hp)
    return state, dict.fromkeys(metrics, jnp.float32(0))


def _run(config, carry, given, shared):
    (which, seed, hp), (stored, order_SxTxB, start, stop) = given, shared
    return train.span(config, stored, order_SxTxB[which], carry, seed, hp, start, stop)


def _held(measure, config, state, given, held):
    """`measure` of one run on the validation and test data."""
    _, _, hp = given
    return {
        part: measure(config, state, held[part], evaluation_key(part, "noise"), hp)
        for part in held
    }


def evaluation_key(part, use):
    """Of the `binarization` and of the `noise` in evaluating "validation" or "test".

    The same for every run and epoch: all meet the same images and the same noise.
    """
    number = 2 * ("binarization", "noise").index(use) + ("validation", "test").index(
        part
    )
    root = jax.random.fold_in(jax.random.key(data.EVALUATION_SEED), 2)
    return jax.random.fold_in(root, number)
