"""What can go wrong, each told in one line."""


class InputError(ValueError):
    """A fault of the user's input, told in one line that says what is allowed."""


class WriteError(Exception):
    """What the disk would not take, told in one line. What was saved before is sound."""


class Interrupted(KeyboardInterrupt):
    """A sweep that SIGTERM or Ctrl-C ended; `signal` is which. It can be gone on with."""

    def __init__(self, message, signal):
        super().__init__(message)
        self.signal = signal
