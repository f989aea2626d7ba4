"""The exceptions of the package, each with a message of one line."""


class InputError(ValueError):
    """Raised for faulty input; the message says what was found, where, and what is allowed."""


class WriteError(Exception):
    """Raised when the disk refuses a write; whatever was saved before is intact."""


class OutOfMemory(Exception):
    """Raised when the memory of a device or of the host is too small; what was saved is intact."""


class Interrupted(KeyboardInterrupt):
    """Raised when a `signal`, such as Ctrl-C, has ended a sweep, which can be resumed."""

    def __init__(self, message, signal):
        super().__init__(message)
        self.signal = signal
