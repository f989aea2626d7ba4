"""SIGTERM and Ctrl-C: noted at once, obeyed at the next checkpoint or within a few seconds."""

import os
import signal
import socket
import sys
import threading

CAUGHT = (signal.SIGTERM, signal.SIGINT)
GRACE = 3.5  # seconds in which the main thread should leave the block


class Signals:
    """A context that catches SIGTERM and Ctrl-C; `caught` is the first that arrived, or None.

    A second signal ends the process at once. The main thread may be inside the compiler, which
    does not look at signals: if it has not left the block within GRACE seconds and is not `saving`
    anything, another thread ends the process. Only what was not saved yet is lost. `again` says
    what resumes from there, for the message.
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
            self._before = {s: signal.signal(s, lambda *_: None) for s in CAUGHT}
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_):
        self._left.set()
        if self._active:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._wakeup)
            self._writer.close()
            self._thread.join()

    def _watch(self):
        """Reads the signals' numbers, which the system writes to the socket as they arrive."""
        with self._reader:
            while content := self._reader.recv(1):
                if content[0] not in CAUGHT:
                    continue
                if self.caught:
                    self._leave("left at once")
                self.caught = signal.Signals(content[0])
                threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self):
        if self._left.wait(GRACE):
            return
        with self.saving:
            pass
        if not self._left.wait(1.0):
            self._leave("left without saving: it was busy compiling or reading")

    def _leave(self, how):
        print(
            f"{self.caught.name}: {how}; {self.again} resumes from the last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        os._exit(128 + self.caught)
