"""TensorBoard's event files of a run folder."""

import io
import struct
import time
from pathlib import Path

import numpy as np

from aevae.runs import evaluated
from aevae.runs.sessions import HPARAMS, ended, started, status_in, values_in
from aevae.system import files

RESULTS = "results/"  # before the tags of what results.csv has
IMAGES = "images/"  # before those of pictures
NAMED = 64  # letters of a run's folder
LONG = 20  # letters of a value in it


class Events:
    """TensorBoard's event files: a folder a run, the scalars of the curves by step.

    A TensorBoard that is open reads on from where it was in a file, and then goes on to the next: no
    file is ever rewritten. A resume begins another, in which all points come anew after a record
    that withdraws those before, and so do pictures. No file stays open, so that a group may have any
    number of runs.

    Of the records of a session, the first that a reader finds holds forever. Where a resume changes
    what they say (more epochs, or a run that then diverges), a file is added that sorts before all
    others: a TensorBoard that is open shows the change once it is started again.

    Args:
      path: the folder.
      names: those of the runs.
      points: (member, step, {tag: value}) of all that is known.
      hparams: of each run, {name: value}; without them runs are no sessions of the HParams page.
      step: pictures of later steps are withdrawn.
    """

    def __init__(self, path, names, points=(), hparams=None, step=0):
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._event = Event
        now = time.time()
        restart = Event(wall_time=now, session_log=SessionLog(status=SessionLog.START))
        # Readers take the first of a run for its beginning, and only a second for a restart.
        head = b"".join(map(_record, [self._version(now), restart, restart]))
        self._folders = [Path(path) / name for name in names]
        self._files = [_next(folder) for folder in self._folders]
        self._sessions, self._ends = [], []
        for member, folder in enumerate(self._folders):
            known = [*_files(folder)]
            if hparams is None:
                content = head
            else:
                session = _record(started(hparams[member], now))
                before, end = _session(known)
                content = head + session
                self._sessions.append(session)
                self._ends.append(end)
                if before not in (None, hparams[member]):
                    self._precede(member, session)
            content += b"".join(_pictures(known[-1:], step))
            files.append(self._files[member], content)
        self.add(points)

    def add(self, points):
        """Appends points, (member, step, {tag: value}) each, those of a run at once."""
        content = {}
        for member, step, scalars in points:
            content.setdefault(member, []).append(_point(self._event, step, scalars))
        for member, records in content.items():
            files.append(self._files[member], b"".join(records))

    def add_pictures(self, member, step, pictures):
        """Appends pictures of a run, {tag: uint8 [H, W] or [H, W, 3]}."""
        event = self._event(wall_time=time.time(), step=step)
        for tag, picture in pictures.items():
            height, width, *rest = picture.shape
            image = event.summary.value.add(tag=f"{IMAGES}{tag}").image
            image.height, image.width = height, width
            image.colorspace = 3 if rest else 1
            image.encoded_image_string = _png(picture)
        files.append(self._files[member], _record(event))

    def end(self, results, diverged):
        """Appends the results of each run, (step, {name: value}), and whether it diverged, its status."""
        points = [
            (member, step, {f"{RESULTS}{name}": value for name, value in own.items()})
            for member, (step, own) in enumerate(results)
        ]
        self.add(points)
        for member, session in enumerate(self._sessions):
            own = bool(diverged[member])
            end = _record(ended(own, time.time()))
            files.append(self._files[member], end)
            if self._ends[member] not in (None, own):
                self._precede(member, session + end)

    def _precede(self, member, records):
        """Writes a file that readers take to be before all that are there."""
        folder = self._folders[member]
        count = len([*folder.glob("events.out.tfevents.-*")])
        path = folder / f"events.out.tfevents.-{9999 - count:04d}"
        files.append(path, _record(self._version(time.time())) + records)

    def _version(self, now):
        return self._event(wall_time=now, file_version="brain.Event:2")


def named(columns):
    """The folder of a run: its number, and as many of the values that tell it apart as are readable."""
    name = f"{columns['run']:04d}"
    for column, value in columns.items():
        value = str(value).rpartition("/")[2]
        if len(value) > LONG:
            value = f"{value[: LONG // 2]}~{value[1 - LONG // 2 :]}"
        part = f",{column.replace('/', '_')}={value}"
        if column != "run" and value:
            if len(name) + len(part) > NAMED:
                break
            name += part
    return files.short_name(name)


def folders(workdir):
    """The folders of runs that have event files, by number, {run: path}."""
    there = sorted((Path(workdir) / "tensorboard").glob("[0-9]*"))
    return {int(p.name.partition(",")[0]): p for p in there if _is_numbered(p)}


def add_measures(workdir, numbers, step_of):
    """Appends what `experiments.evaluate` found of runs, where their files do not have it yet.

    Args:
      workdir: the run folder.
      numbers: those of the runs.
      step_of: the number of a run -> the step of the parameters that were measured.
    """
    from tensorboardX.proto.event_pb2 import Event

    places = folders(workdir)
    for number in numbers:
        known = [*_files(places[number])] if number in places else []
        entries = evaluated.of(workdir, number).values() if known else ()
        found = {
            f"{RESULTS}{name}": value
            for entry in entries
            for name, value in entry["values"].items()
            if value is not None
        }
        there = _results(known) if found else {}
        new = {k: v for k, v in found.items() if there.get(k) != np.float32(v)}
        if new:
            files.append(known[-1], _point(Event, step_of(number), new))


def _is_numbered(path):
    return path.name.partition(",")[0].isdigit() and path.is_dir()


def _point(kind, step, scalars):
    event = kind(wall_time=time.time(), step=step)
    for tag, value in scalars.items():
        event.summary.value.add(tag=tag, simple_value=value)
    return _record(event)


def _png(picture):
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture).save(content, "png")
    return content.getvalue()


def _files(folder):
    """The event files of a run in the order in which readers take them."""
    return sorted(folder.glob("events.out.tfevents.*"))


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
    content = event.SerializeToString()
    return b"".join(
        part + struct.pack("<I", _masked(part))
        for part in (struct.pack("<Q", len(content)), content)
    )


def _masked(content):
    """The checksum of TFRECORDs: CRC-32C, rotated and moved."""
    import google_crc32c

    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _read(paths, *marks):
    """Yields (event, record) of event files, of those that have one of the marks in their bytes."""
    from tensorboardX.proto.event_pb2 import Event

    for path in paths:
        content, at = path.read_bytes(), 0
        while at + 12 <= len(content):
            (size,) = struct.unpack_from("<Q", content, at)
            end = at + 12 + size + 4
            record = content[at:end]
            if end > len(content):
                break  # cut short
            if any(mark in record for mark in marks):
                yield Event.FromString(record[12:-4]), record
            at = end


def _session(paths):
    """What readers take of a run's sessions: its hyperparameters, and whether it diverged; or None."""
    hparams = diverged = None
    for event, _ in _read(paths, HPARAMS.encode()):
        for value in event.summary.value:
            hparams = values_in(value) if hparams is None else hparams
            diverged = status_in(value) if diverged is None else diverged
    return hparams, diverged


def _pictures(paths, step):
    """The records of pictures up to a step."""
    for event, record in _read(paths, IMAGES.encode()):
        if event.step <= step:
            yield record


def _results(paths):
    """The results that were not withdrawn, {tag: value}."""
    found = {}
    for path in paths:
        own = [event for event, _ in _read([path], RESULTS.encode())]
        # A file of numbers withdraws those before it, and one that precedes them has no results.
        found = {
            v.tag: np.float32(v.simple_value) for e in own for v in e.summary.value
        }
    return found
