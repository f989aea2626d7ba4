"""TensorBoard's own readers, open while a sweep is killed and resumed, show every point once."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    EventAccumulator as ServerAccumulator,
)

from aevae.runs.events import Events

RUN = "0000,beta=1"


def scalars(reader):
    """(step, value) of what a reader shows of test/elbo after it has looked again."""
    reader.Reload()
    if isinstance(reader, EventAccumulator):
        return [(e.step, e.value) for e in reader.Scalars("test/elbo")]
    found = reader.Tensors("test/elbo")
    return [(e.step, e.tensor_proto.float_val[0]) for e in found]


def points(*pairs):
    return [(0, step, {"test/elbo": value}) for step, value in pairs]


@pytest.mark.parametrize("kind", [EventAccumulator, ServerAccumulator])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_reader_that_is_open_sees_what_a_resume_adds(kind, tmp_path):
    first = Events(tmp_path, [RUN], points())
    reader = kind(str(tmp_path / RUN))
    for point in points((3, -9.0), (6, -8.0), (9, -7.0)):
        first.add([point])
    assert scalars(reader) == [(3, -9.0), (6, -8.0), (9, -7.0)]
    first.add(points((12, -6.5)))  # not yet read
    # The last checkpoint has two epochs; on another machine the third has other bits.
    again = Events(tmp_path, [RUN], points((3, -9.0), (6, -8.0)))
    assert scalars(reader) == [(3, -9.0), (6, -8.0)]
    for point in points((9, -7.25), (12, -6.0), (15, -5.0)):
        again.add([point])
    whole = [(3, -9.0), (6, -8.0), (9, -7.25), (12, -6.0), (15, -5.0)]
    assert scalars(reader) == whole == scalars(kind(str(tmp_path / RUN)))
    # Without any sound checkpoint it starts anew, and is killed amid a record.
    Events(tmp_path, [RUN], points())
    last = max((tmp_path / RUN).iterdir())
    with last.open("ab") as file:
        file.write(b"\x18\x00\x00\x00")
    for number in range(12):  # more than nine
        Events(tmp_path, [RUN], points((3, -9.0 - number)))
    assert scalars(reader) == [(3, -20.0)] == scalars(kind(str(tmp_path / RUN)))


def test_files_of_before_are_withdrawn_too(tmp_path):
    """Those without a record of their beginning, and a name that sorts first."""
    Events(tmp_path, [RUN], points((3, -9.0), (6, -8.0)))
    (file,) = (tmp_path / RUN).iterdir()
    content = file.read_bytes()
    head, size = 24 + 16, 12 + int.from_bytes(content[40:48], "little") + 4
    old = file.with_name("events.out.tfevents.0")
    old.write_bytes(content[:head] + content[head + 2 * size :])
    file.unlink()
    reader = ServerAccumulator(str(tmp_path / RUN))
    assert scalars(reader) == [(3, -9.0), (6, -8.0)]
    Events(tmp_path, [RUN], points((3, -7.0)))
    assert scalars(reader) == [(3, -7.0)]
