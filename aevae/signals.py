"""SIGTERM and Ctrl-C: noted at once, obeyed at the next moment, and in seconds at the latest."""

import os
import signal
import socket
import sys
import threading

CAUGHT = (signal.SIGTERM, signal.SIGINT)
GRACE = 3.5  # seconds that the main thread has to notice


class Signals:
    """Within the block, `caught` is the first signal that came, or None.

    A second one ends the process at once. The main thread may be inside a compiler that knows
    nothing of signals: if it has not said by `heed` within GRACE seconds that it is about to save
    and leave, a thread of ours ends the process, which loses what is not saved yet and no more.
    """

    def __init__(self):
        self.caught = None
        self._heeded = threading.Event()

    def __enter__(self):
        self._active = threading.current_thread() is threading.main_thread()
        if self._active:
            self._ours, self._its = socket.socketpair()
            self._its.setblocking(False)
            its = self._its.fileno()
            self._wakeup = signal.set_wakeup_fd(its, warn_on_full_buffer=False)
            self._before = {s: signal.signal(s, lambda *_: None) for s in CAUGHT}
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_):
        self._heeded.set()
        if self._active:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._wakeup)
            self._its.close()
            self._thread.join()

    def heed(self):
        """Says that the process is about to save and leave, however long that takes."""
        self._heeded.set()

    def _watch(self):
        """The system writes the number of a signal to our socket when it comes."""
        with self._ours:
            while content := self._ours.recv(1):
                if content[0] not in CAUGHT:
                    continue
                if self.caught:
                    self._leave("left at once")
                self.caught = signal.Signals(content[0])
                threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self):
        if not self._heeded.wait(GRACE):
            self._leave("left without saving: it was busy compiling or reading")

    def _leave(self, how):
        print(
            f"{self.caught.name}: {how}; the same command goes on from the last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        os._exit(128 + self.caught)
