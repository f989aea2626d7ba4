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
    nothing of signals: if it has not left the block within GRACE seconds, and is not `saving`
    something, a thread of ours ends the process, which loses what is not saved yet and no more.
    `again` is what goes on from there.
    """

    def __init__(self, again="the same command"):
        self.caught, self.again = None, again
        self.saving = threading.Lock()  # held while a file is written
        self._left = threading.Event()

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
        self._left.set()
        if self._active:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._wakeup)
            self._its.close()
            self._thread.join()

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
        if self._left.wait(GRACE):
            return
        with self.saving:
            pass
        if not self._left.wait(1.0):
            self._leave("left without saving: it was busy compiling or reading")

    def _leave(self, how):
        print(
            f"{self.caught.name}: {how}; {self.again} goes on from the last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        os._exit(128 + self.caught)
