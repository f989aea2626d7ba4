"""Signals to leave: noted at once, obeyed at the next checkpoint or within a few seconds.

SIGTERM, and Ctrl-C; SIGUSR1 and SIGUSR2, which SLURM sends before time is up; SIGHUP, of a terminal
that closes; SIGXCPU, of a limit on processor time.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time

INSISTENT = (signal.SIGTERM, signal.SIGINT)
OTHERS = ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGXCPU")  # as far as the system has them
OTHERS = tuple(getattr(signal, name) for name in OTHERS if hasattr(signal, name))
GRACE = 3.5  # seconds in which the main thread should leave the block
ONCE = 0.2  # seconds within which the same request may come twice, as SLURM sends it


class Signals:
    """A context that catches signals to leave; `caught` is the first that arrived, or None.

    Those beside SIGTERM and Ctrl-C are caught where nothing else is to happen: what nohup ignores
    stays ignored, and a handler of the user's own stays. A second SIGTERM or Ctrl-C ends the process
    at once, unless it comes with the first; the others may come again and again. The main thread may
    be inside the compiler, which does not look at signals: if it has not left the block within GRACE
    seconds and is not `saving` anything, another thread ends the process. Only what was not saved yet
    is lost. `again` says what resumes from there, for the message.
    """

    def __init__(self, again="the same command"):
        self.caught, self.again = None, again
        self.saving = threading.Lock()  # held while files are written
        self._left = threading.Event()

    def __enter__(self):
        self._active = threading.current_thread() is threading.main_thread()
        if self._active:
            self._reader, self._writer = socket.socketpair()
            self._writer.setblocking(False)
            self._wakeup = signal.set_wakeup_fd(
                self._writer.fileno(), warn_on_full_buffer=False
            )
            free = [s for s in OTHERS if signal.getsignal(s) is signal.SIG_DFL]
            caught = *INSISTENT, *free
            self._before = {s: signal.signal(s, lambda *_: None) for s in caught}
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_):
        self._left.set()
        if self._active:
            for number, handler in self._before.items():
                if handler is not None:  # one that is not Python's
                    signal.signal(number, handler)
            signal.set_wakeup_fd(self._wakeup)
            self._writer.close()
            self._thread.join()

    def _watch(self):
        """Reads the signals' numbers, which the system writes to the socket as they arrive."""
        came = 0.0  # when the first did
        with self._reader:
            while content := self._reader.recv(1):
                if content[0] not in self._before:
                    continue
                if self.caught:
                    if content[0] in INSISTENT and time.monotonic() - came > ONCE:
                        self._leave("left at once")
                    continue
                self.caught, came = signal.Signals(content[0]), time.monotonic()
                threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self):
        if self._left.wait(GRACE):
            return
        with self.saving:
            pass
        if not self._left.wait(1.0):
            self._leave("left without saving: it was busy compiling or reading")

    def _leave(self, how):
        line = (
            f"{self.caught.name}: {how}; {self.again} resumes from the last checkpoint"
        )
        with contextlib.suppress(OSError):  # a terminal that was closed
            print(line, file=sys.stderr, flush=True)
        os._exit(128 + self.caught)
