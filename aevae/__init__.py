"""Autoencoders and variational autoencoders in JAX: pure functions, swept many at a time.

The way of the data, and of every import:
files, config, sets, data, distributions, networks, models, variants, objectives, train, evaluate, feed, preflight, sweep,
machine, plan, results, journal, progress, signals, folder, study, figures.

Letters in names and docstrings: B batch, H W C image height, width and channels,
F features, Z latents, K importance samples, M members of a group (runs trained together),
N examples, T steps of an epoch, S seeds, E epochs.

Units everywhere: nats, summed over pixels and latents, averaged over examples.
"""

__version__ = "0.1.0"


class InputError(ValueError):
    """A fault of the user's input, told in one line that says what is allowed."""


class WriteError(Exception):
    """What the disk would not take, told in one line. What was saved before is sound."""


class Interrupted(KeyboardInterrupt):
    """A sweep that SIGTERM or Ctrl-C ended; `signal` is which. It can be gone on with."""

    def __init__(self, message, signal):
        super().__init__(message)
        self.signal = signal
