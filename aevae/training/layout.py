"""How the runs of a group are distributed: over the devices, and in chunks on each."""

import time
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from aevae import InputError
from aevae.system import machine
from aevae.training.check import with_image_shape

SPAN = 1.0  # seconds: how long the host waits for the devices at most, about
SMALL = 30_000  # parameters: below it, a CPU trains several members at a time ...
CHUNK = (
    8  # ... up to so many: experiments.benchmark, on digits and MNIST networks by width
)
LEAST = 2  # devices
TURNS = 4  # into a multiple of which a group is divided, for cores to share it evenly
PIECE = 64  # steps at most, of an accelerator
USED = 0.9  # of a device's memory: what is freed may leave holes


class Layout(NamedTuple):
    """Members over `devices`, and on each `chunk` at a time."""

    members: int
    devices: int
    chunk: int

    @property
    def padded(self):
        """The number of members, with those that fill the last chunks."""
        return (
            -(-self.members // (self.devices * self.chunk)) * self.devices * self.chunk
        )


def chunk_of(members, parameters):
    """How many of a group's runs a device trains at a time, unless its memory is too small.

    It follows from the group and the kind of the device, never from how many devices there are, for
    the bits of a run depend on it. On a CPU, networks of 30,000 parameters or more are trained one
    at a time, so that their state stays in the cache, and smaller ones 2 to 8 at a time; an
    accelerator trains all at once.
    """
    if jax.default_backend() != "cpu":
        return members
    if parameters >= SMALL:
        return 1
    turns = TURNS * -(-members // (TURNS * CHUNK))
    return max(-(-members // turns), 2 if members >= TURNS else 1)


def balanced(members, most):
    """How many of the members, at most `most` at a time, make turns of equal length."""
    return -(-members // -(-members // most))


def lay_out(members, chunk, devices=None, whole=None):
    """Lays `members` runs out, `chunk` at a time, on as many devices as have work.

    `whole` is the number of runs of the group that they are a part of. Where that is of several
    turns there are two devices at least, if there are so many: a program of one is compiled
    otherwise, to other last bits.
    """
    least = 1 if (whole or members) <= chunk else LEAST
    turns = max(-(-members // chunk), least)
    return Layout(members, min(turns, devices or jax.device_count()), chunk)


def piece(steps):
    """How many of an epoch's steps an accelerator takes in a loop of known length; None on a CPU.

    It asks the host at each turn of a loop whose length it does not know. A loop of one step would
    be compiled differently, to other last bits.
    """
    if jax.default_backend() == "cpu":
        return None
    return max((n for n in range(2, PIECE + 1) if steps % n == 0), default=None)


def check_chunk(chunk):
    """An InputError where a chunk is neither None nor a whole number of at least 1."""
    if chunk is not None and (type(chunk) is not int or chunk < 1):
        raise InputError(f"chunk must be a whole number of at least 1, not {chunk!r}")


def fitting(chunk, temporary, room):
    """How many members at a time fit in `room` bytes, where `chunk` of them take `temporary`."""
    return max(1, min(chunk, int(chunk * room / max(temporary, 1))))


def temporary(program, *inputs):
    """The bytes that a compiled program takes beside its inputs, on each device: XLA's analysis."""
    found = program.lower(*inputs).compile().memory_analysis()
    return (
        found.temp_size_in_bytes
        + found.output_size_in_bytes
        - found.alias_size_in_bytes
    )


class Members:
    """The runs of a group, alike but for hyperparameters and seed, along one axis.

    It is split over the devices without any communication between them, and on each device
    `layout.chunk` members are worked on at a time. The last is repeated to fill the layout.
    """

    def __init__(self, runs, dataset, layout):
        self.runs, self.layout = runs, layout
        self.config = with_image_shape(runs[0], dataset)
        devices = jax.devices()[: layout.devices]
        self._mesh = jax.make_mesh(
            (len(devices),), ("M",), (AxisType.Auto,), devices=devices
        )
        self.everywhere = NamedSharding(self._mesh, P())
        self.along = NamedSharding(self._mesh, P("M"))
        padded = [*runs, *[runs[-1]] * (layout.padded - len(runs))]
        self.seeds = np.array([run.seed for run in padded], np.int32)
        self.hp = {
            name: np.array([run.hparams[name] for run in padded], np.float32)
            for name in self.config.hparams
        }

    def map_over_runs(self, f, *, precision="highest", chunk=None, **options):
        """Compiles `f(carry, given, shared)` of one run for all members: see `map_over_runs`."""
        f = machine.at_precision(f, precision)
        return map_over_runs(self._mesh, chunk or self.layout.chunk, f, **options)

    def spread(self, values):
        """Values of the members, [M, ...], padded and placed as the members are."""
        values = np.asarray(values)
        padding = np.repeat(values[-1:], self.layout.padded - len(values), axis=0)
        return jax.device_put(np.concatenate([values, padding]), self.along)

    def zeros(self, shapes):
        """Zeros of one run's shapes for every member."""
        padded = self.layout.padded
        zeros = jax.tree.map(lambda s: np.zeros((padded, *s.shape), s.dtype), shapes)
        return jax.device_put(zeros, self.along)

    def work(self, run, carry, given, shared, start, units, pace):
        """Does units of work up to `units`, and yields (units done, carry) about every second.

        `run(carry, given, (*shared, start, stop))` is what `map_over_runs` compiled of a function that
        does units `start` to `stop`. The carry that was yielded before is donated.
        """
        while start < units:
            stop = pace.begin(start, units)
            carry = run(carry, given, (*shared, np.int32(start), np.int32(stop)))
            start = pace.end(carry)
            yield start, carry


class Pace:
    """Spans of about a second, or of a given length, in units of several kinds.

    The first two are of `first` units: the first waits for the compiler, and says nothing of the
    time that a unit takes. Another kind begins with a span of one unit.
    """

    def __init__(self, length=None, first=1):
        self._length, self._first, self._compiled = length, first, False
        self._seconds = {}  # of a unit of each kind, once it is known

    def begin(self, start, end, cut=None, kinds=None):
        """Where the span from `start` is to stop: at `cut(stop)`, if that is given and after it.

        `kinds(unit)` is the kind of a unit and the end of its like; by default all are alike. Of
        the kind None are those that take no time.
        """
        stop, left, counts = start, SPAN, {}
        while stop < end:
            kind, to = kinds(stop) if kinds else ("unit", end)
            each = self._seconds.get(kind) if kind else 0.0
            count = int(max(left, 0) / max(each, 1e-9)) if each is not None else 0
            if stop == start:  # a unit at least
                count = max(count, 1 if self._seconds else self._first)
            count = min(count, to - stop, end - stop)
            if self._length:
                count = min(self._length - (stop - start), to - stop, end - stop)
            if not count:
                break
            stop, counts[kind] = stop + count, counts.get(kind, 0) + count
            left -= count * (SPAN if each is None else each)
        if cut is not None and not self._length and start < cut(stop) < stop:
            counts[kind], stop = counts[kind] - (stop - cut(stop)), cut(stop)
        self._stop, self._counts, self._began = stop, counts, time.perf_counter()
        return stop

    def end(self, outputs):
        """Waits for the span; returns where it stopped."""
        jax.block_until_ready(outputs)
        taken = time.perf_counter() - self._began
        counts = {kind: n for kind, n in self._counts.items() if kind}
        if self._compiled and not self._length:
            if len(counts) == 1:
                self._seconds |= {kind: taken / n for kind, n in counts.items()}
            else:
                guess = sum(n * self._seconds[kind] for kind, n in counts.items())
                for kind in counts:
                    self._seconds[kind] *= taken / max(guess, 1e-9)
        self._compiled = True
        return self._stop


def map_over_runs(mesh, chunk, f, **options):
    """Compiles `f(carry, given, shared)` of one run for all runs: over devices, in chunks.

    `carry` and `given` have a leading axis of members, `shared` has none. With a carry, the output
    of `f` overwrites it in place; without, it is returned.
    """

    def of_all(own, given, shared):
        if own is None:
            size = chunk if chunk > 1 else None
            return jax.lax.map(lambda g: f(None, g, shared), given, batch_size=size)
        each = jax.vmap(f, in_axes=(0, 0, None)) if chunk > 1 else f

        def turn(i, own):
            now = [
                jax.tree.map(lambda v: _at(v, i, chunk), tree) for tree in (own, given)
            ]
            new = each(*now, shared)
            return jax.tree.map(lambda v, part: _put(v, part, i, chunk), own, new)

        turns = len(jax.tree.leaves(given)[0]) // chunk
        return jax.lax.fori_loop(0, turns, turn, own)

    specs = {"in_specs": (P("M"), P("M"), P()), "out_specs": P("M")}
    return jax.jit(
        jax.shard_map(of_all, mesh=mesh, check_vma=False, **specs), **options
    )


def _at(values, i, chunk):
    """The members of turn `i`: [chunk, ...], or the only one without an axis."""
    part = jax.lax.dynamic_slice_in_dim(values, i * chunk, chunk)
    return part if chunk > 1 else part[0]


def _put(values, part, i, chunk):
    part = part if chunk > 1 else part[None]
    return jax.lax.dynamic_update_slice_in_dim(values, part, i * chunk, 0)
