"""How training data come to the devices: all at once, or window by window from the host."""

import os
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

from aevae import InputError
from aevae.train import Window

SHARE = 0.5  # of a device's memory, for data
WINDOWS = 3  # at a time at most: one is trained, one travels, one is let go
SHORTEST = (
    2  # steps: a loop over one is compiled otherwise, and differs in the last bit
)


def budget():
    """Bytes of each device's memory that data may take: half of it. CPU devices share the host's."""
    device = jax.devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(SHARE * stats["bytes_limit"])
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(SHARE * host / jax.local_device_count())


class Feed:
    """The training data of a group, and the orders in which epochs visit them.

    What fits beside the held-out data stays on the devices. Else an epoch comes in windows of some
    steps, which the host gathers, the next while the present one trains; WINDOWS of them fit the
    `room`, in bytes. Whichever it is, each step sees the same rows: no bit depends on it.
    """

    def __init__(self, stored, batch, seeds, place, room):
        self._stored, self._batch, self._seeds, self._place = (
            stored,
            batch,
            seeds,
            place,
        )
        self.steps = (
            len(stored["image"]) // batch
        )  # a last batch that is not full is left out
        self._data, self.length = None, self.steps
        row = _bytes(stored) // len(stored["image"])
        if _bytes(stored) <= room:
            self._data = jax.device_put(stored, place)
        else:
            step = WINDOWS * len(seeds) * batch * row
            self.length = min(self.steps, max(SHORTEST, int(room // step)))

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
        """The data order of an epoch for each seed, [S, T, B]: a function of (seed, epoch) alone."""
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
        """A window with rows of its own: those of each seed, in the order of their visit."""
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


def _bytes(split):
    return sum(values.nbytes for values in split.values())


def room(held, allowed=None):
    """Bytes for training data beside the `held`-out splits, of those `allowed` on a device."""
    allowed = budget() if allowed is None else allowed
    taken = sum(map(_bytes, held))
    if taken > allowed / 2:
        raise InputError(
            f"validation and test data take {taken / 1e9:.2g} GB of the {allowed / 1e9:.2g} GB "
            "that data may take on a device, and at most half is theirs: take smaller slices, or "
            "raise --data_gb"
        )
    return allowed - taken
