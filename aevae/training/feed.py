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
EPOCHS = 128  # in a window, at most ...
ORDERS = 2**22  # ... and so many bytes of their orders, but for a single epoch's
INDEX = 4  # bytes of a row's number
LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # of Linux's control groups


def budget():
    """Bytes of each device's memory that data may take: half.

    CPU devices share the host's, and so do the worker processes of an engine that says how many
    there are (Parsl).
    """
    limit = machine.memory()
    if limit is not None:
        return int(SHARE * limit)
    host = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in LIMITS:
        try:
            host.append(int((Path("/sys/fs/cgroup") / name).read_text("utf-8")))
        except (OSError, ValueError):
            pass  # no such group, or no limit
    sharing = int(os.environ.get("PARSL_WORKER_COUNT", "1")) * jax.local_device_count()
    return int(SHARE * min(host) / sharing)


def window(stored, batch, seeds, held, allowed=None):
    """What comes at once: (epochs, steps of each). All steps, if the data fit on the devices.

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
    order, room = INDEX * seeds * steps * batch, allowed - held - bytes_of(stored)
    if 2 * order <= room:  # one in use, one to come
        return int(min(max(min(ORDERS, room // 2) // order, 1), EPOCHS)), steps
    step = WINDOWS * seeds * batch * (bytes_of(stored) / count + INDEX)
    length = int((allowed - held) // step)
    if length < SHORTEST:
        raise InputError(
            f"windows of {SHORTEST} steps of {seeds} seeds take {SHORTEST * step / 1e9:.2g} GB "
            f"{limit}, and held-out data {held / 1e9:.2g} GB: raise memory (--data_gb), or take a smaller "
            "batch"
        )
    return 1, max(min(length, steps - 1), 1)


def bytes_of(split):
    """The bytes of all arrays of a split."""
    return sum(values.nbytes for values in split.values())


class Feed:
    """The training data of a group, and the orders in which epochs visit them.

    `shape` is what `window` says. With all steps the data stay on the devices, and a window is the
    orders of several epochs. Otherwise an epoch comes in windows of fewer steps with the rows of
    each, which the host gathers. Either way the next window is made while the present one is trained
    on, and each step sees the same rows: no bit depends on it.
    """

    def __init__(self, stored, batch, seeds, place, shape):
        self._stored, self._batch, self._seeds = stored, batch, seeds
        self._place, (self.epochs, self.length) = place, shape  # of a window
        # A last batch that is not full is left out.
        self.steps = len(stored["image"]) // batch
        whole = self.length == self.steps
        self._data = jax.device_put(stored, place) if whole else None

    @property
    def bytes(self):
        """The most bytes of a device's memory that training data take."""
        own = self.length * len(self._seeds) * self._batch
        if self.resident:
            return bytes_of(self._stored) + 2 * INDEX * self.epochs * own
        each = bytes_of(self._stored) / len(self._stored["image"])
        return WINDOWS * own * (each + INDEX)

    @property
    def resident(self):
        """Whether all of the data are on the devices."""
        return self._data is not None

    def windows(self, epoch, step, last):
        """Yields the windows from a step of an epoch on, to the end of epoch `last`.

        Of a window, `order` is [S, E, T, B], and `first` of the steps of each of its epochs.
        """
        with ThreadPoolExecutor(1) as beside:
            following = None
            for place in self._places(epoch, step, last):
                coming, following = following, beside.submit(self._window, *place)
                if coming is not None:
                    yield coming.result()
                del coming  # its memory, while the next one is trained
            if following is not None:
                yield following.result()

    def _places(self, epoch, step, last):
        """Yields (epoch, first step, last epoch) of windows. What is left may be an evaluation alone."""
        if self.resident:
            for first in range(epoch, last, self.epochs):
                yield first, 0, min(first + self.epochs, last)
            return
        begun = min(step, self.steps - 1) // self.length * self.length
        for n in range(epoch, last):
            for first in range(begun, self.steps, self.length):
                yield n, first, n + 1
            begun = 0

    def end(self, window):
        """The step after a window's last, of its last epoch."""
        return min(int(window.first) + self.length, self.steps)

    def order(self, epoch):
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

    def _window(self, epoch, first, last):
        """The window of epochs `epoch` to `last`, or of one from step `first` on."""
        if self.resident:
            shape = len(self._seeds), self.epochs, self.steps, self._batch
            order = np.zeros(shape, np.int32)  # of a length of its own no window is
            for n in range(epoch, last):
                order[:, n - epoch] = self.order(n)
            stored = self._data
        else:
            stored, order = self._gather(self.order(epoch), first)
        size = np.float32(len(self._stored["image"]))
        order = jax.device_put(order, self._place)
        return Window(stored, order, np.int32(first), size, np.int32(epoch))

    def _gather(self, order, start):
        """Rows of a window's own: those of each seed, as it visits them; and their order."""
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
        return jax.device_put(stored, self._place), local[:, None]
