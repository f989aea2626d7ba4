"""TensorBoard's event files of a run folder."""

import struct
import time
from pathlib import Path

from aevae.system import files


class Events:
    """TensorBoard's event files: a folder a run, the scalars of the curves by step.

    A TensorBoard that is open reads on from where it was in a file, and then goes on to the next: no
    file is ever rewritten. A resume begins another, in which all points come anew after a record
    that withdraws those before. No file stays open, so that a group may have any number of runs.

    Args:
      path: the folder.
      names: those of the runs.
      points: (member, step, {tag: value}) of all that is known.
    """

    def __init__(self, path, names, points=()):
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._event = Event
        now = time.time()
        restart = Event(wall_time=now, session_log=SessionLog(status=SessionLog.START))
        # Readers take the first of a run for its beginning, and only a second for a restart.
        head = [Event(wall_time=now, file_version="brain.Event:2"), restart, restart]
        self._files = [_next(Path(path) / name) for name in names]
        for file in self._files:
            files.append(file, b"".join(map(_record, head)))
        self.add(points)

    def add(self, points):
        """Appends points, (member, step, {tag: value}) each, those of a run at once."""
        content = {}
        for member, step, scalars in points:
            content.setdefault(member, []).append(self._point(step, scalars))
        for member, records in content.items():
            files.append(self._files[member], b"".join(records))

    def _point(self, step, scalars):
        event = self._event(wall_time=time.time(), step=step)
        for tag, value in scalars.items():
            event.summary.value.add(tag=tag, simple_value=value)
        return _record(event)


def _next(folder):
    """The path of a new event file of a run, which readers take to be after those that are there."""
    with files.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        known = [
            p.name.rpartition(".")[2] for p in folder.glob("events.out.tfevents.*")
        ]
    numbers = [int(end) for end in known if end.isdigit()]
    return folder / f"events.out.tfevents.{max(numbers, default=-1) + 1:04d}"


def _record(event):
    """A TFRECORD: length, its checksum, the bytes, their checksum."""
    from tensorboardX.record_writer import masked_crc32c

    content = event.SerializeToString()
    return b"".join(
        part + struct.pack("<I", masked_crc32c(part))
        for part in (struct.pack("<Q", len(content)), content)
    )
