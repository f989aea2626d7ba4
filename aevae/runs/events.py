"""TensorBoard's event files of a run folder."""

import struct
import time
from pathlib import Path

from aevae.system import files


class Events:
    """TensorBoard's event files: a folder a run, the scalars of the curves by step.

    What was there is written anew. No file stays open, so that a group may have any number of runs.
    """

    def __init__(self, path, names):
        from tensorboardX.proto.event_pb2 import Event

        self._event = Event
        self._files = [Path(path) / name / "events.out.tfevents.0" for name in names]
        head = _record(Event(wall_time=time.time(), file_version="brain.Event:2"))
        for file in self._files:
            with files.writing(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(head)

    def add(self, member, step, scalars):
        """Appends the scalars of a run at a step."""
        event = self._event(wall_time=time.time(), step=step)
        for tag, value in scalars.items():
            event.summary.value.add(tag=tag, simple_value=value)
        files.append(self._files[member], _record(event))


def _record(event):
    """A TFRECORD: length, its checksum, the bytes, their checksum."""
    from tensorboardX.record_writer import masked_crc32c

    content = event.SerializeToString()
    return b"".join(
        part + struct.pack("<I", masked_crc32c(part))
        for part in (struct.pack("<Q", len(content)), content)
    )
