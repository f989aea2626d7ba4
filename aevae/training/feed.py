"""How training data reach the devices: all at once, or window by window from the host."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np

from aevae import InputError
from aevae.system import machine
from aevae.training.step import Window

SHARE = 0.5  # of a device's memory, for data
WINDOWS = 3  # at a time at most: one in use, one in transfer, one being freed
SHORTEST = 2  # steps: a loop of one step is compiled differently, to other last bits
LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # of Linux's control groups


def budget():
    """Bytes of each device's memory that data may take: half. CPU devices share the host's."""
    limit = machine.memory()
    if limit is not None:
        return int(SHARE * limit)
    host = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in LIMITS:
        try:
            host.append(int((Path("/sys/fs/cgroup") / name).read_text("utf-8")))
        except (OSError, ValueError):
            pass  # no such group, or no limit
    return int(SHARE * min(host) / jax.local_device_count())


def window_length(stored, batch, seeds, held, allowed=None):
    """The number of steps in a window: all of an epoch's, if the data fit on the devices.

    Args:
      stored: the training data.
      batch: rows of a step.
      seeds: how many orders of the rows a group has.
      held: bytes of the validation and test data, which are always there.
      allowed: bytes that all data may take on a device; by default `budget()`.
    """
    allowed = budget() if allowed is None else allowed
    limit = f"of the {allowed / 1e9:.2g} GB that data may take on a device"
    if held > allowed / 2:
        raise InputError(
            f"validation and test data take {held / 1e9:.2g} GB {limit}, and at most half is "
            "theirs: take smaller slices, or raise memory (--data_gb)"
        )
    count, steps = len(stored["image"]), len(stored["image"]) // batch
    if bytes_of(stored) <= allowed - held:
        return steps
    step = WINDOWS * seeds * batch * bytes_of(stored) / count
    length = int((allowed - held) // step)
    if length < SHORTEST:
        raise InputError(
            f"windows of {SHORTEST} steps of {seeds} seeds take {SHORTEST * step / 1e9:.2g} GB "
            f"{limit}, and held-out data {held / 1e9:.2g} GB: raise memory (--data_gb), or take a smaller "
            "batch"
        )
    return min(length, steps)


def bytes_of(split):
    """The bytes of all arrays of a split."""
    return sum(values.nbytes for values in split.values())


class Feed:
    """The training data of a group, and the orders in which epochs visit them.

    With a `length` of all steps the data stay on the devices. Otherwise an epoch comes in windows
    of `length` steps, which the host gathers, the next while the present one is trained on. Each
    step sees the same rows either way: no bit depends on it.
    """

    def __init__(self, stored, batch, seeds, place, length):
        self._stored, self._batch, self._seeds = stored, batch, seeds
        self._place, self.length = place, length
        # A last batch that is not full is left out.
        self.steps = len(stored["image"]) // batch
        whole = length == self.steps
        self._data = jax.device_put(stored, place) if whole else None

    @property
    def bytes(self):
        """The most bytes of a device's memory that training data take."""
        each = bytes_of(self._stored) / len(self._stored["image"])
        window = self.length * len(self._seeds) * self._batch
        return bytes_of(self._stored) if self.resident else WINDOWS * window * each

    @property
    def resident(self):
        """Whether all of the data are on the devices."""
        return self._data is not None

    def windows(self, epoch, step=0):
        """Yields the windows of an epoch from the one with `step` on, `order` [S, T, B]."""
        order = self._order(epoch)
        if self.resident:
            yield self._window(self._data, order, 0)
            return
        starts = range(step // self.length * self.length, self.steps, self.length)
        if step >= self.steps:
            return  # what is left of the epoch is its evaluation
        with ThreadPoolExecutor(1) as beside:
            coming = beside.submit(self._gather, order, starts[0])
            for start in starts:
                window = coming.result()
                if start != starts[-1]:
                    following = start + self.length
                    coming = beside.submit(self._gather, order, following)
                yield window
                del window  # its memory, while the next one is trained

    def end(self, window):
        """The step after a window's last."""
        return min(int(window.first) + self.length, self.steps)

    def _order(self, epoch):
        """The order of rows in an epoch, [S, T, B]: a function of (seed, epoch) alone."""
        size, shape = len(self._stored["image"]), (self.steps, self._batch)
        shuffled = [
            np.random.default_rng([int(seed), epoch]).permutation(size)
            for seed in self._seeds
        ]
        used = self.steps * self._batch
        return np.stack(
            [order[:used].reshape(shape).astype(np.int32) for order in shuffled]
        )

    def _gather(self, order, start):
        """A window with rows of its own: those of each seed, as it visits them."""
        own = order[:, start : start + self.length]
        stored = {
            name: values[own.reshape(-1)] for name, values in self._stored.items()
        }
        local = np.arange(own.size, dtype=np.int32).reshape(own.shape)
        missing = self.length - own.shape[1]
        if missing:  # as long as the others, so that one program serves all
            local = np.pad(local, ((0, 0), (0, missing), (0, 0)))
            fill = missing * len(own) * self._batch
            stored = {
                name: np.concatenate([v, np.zeros((fill, *v.shape[1:]), v.dtype)])
                for name, v in stored.items()
            }
        return self._window(jax.device_put(stored, self._place), local, start)

    def _window(self, stored, order, first):
        size = np.float32(len(self._stored["image"]))
        return Window(stored, jax.device_put(order, self._place), np.int32(first), size)
