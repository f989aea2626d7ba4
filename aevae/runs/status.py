"""How far the groups of a run folder are, whoever trains them: read from their own files."""

from pathlib import Path
from typing import NamedTuple

from aevae.runs import checkpoints, record
from aevae.runs.place import Place
from aevae.system import locks

STATES = "waiting", "training", "finished", "failed"


class State(NamedTuple):
    """What is known of a group: its number, one of STATES, and what there is to say of it."""

    number: int
    state: str
    text: str


def states(workdir, base=None):
    """Yields the `State` of every group of a folder; `base` as in `record.declared`."""
    for number, epochs in enumerate(_epochs(workdir, base)):
        yield of(Place(Path(workdir), number), epochs)


def of(place, epochs):
    """The `State` of a group that is to be trained for so many epochs."""
    holder = locks.holder(place.path) if place.path.is_dir() else None
    if holder and not holder[1].startswith("evaluating"):
        who, at = holder
        return State(place.number, "training", f"{who}{at and f': {at} of {epochs}'}")
    found = checkpoints.find(place.path)
    at = [*map(int, found[0].name.split("-"))] if found else [0, 0]
    if len(at) > 2 and (at[0] >= epochs or _is_stopped(place)):
        return State(place.number, "finished", f"epoch {at[0]}")
    if reason := place.failure():
        return State(place.number, "failed", reason)
    saved = f"saved at epoch {at[0]}, step {at[1]}" if found else ""
    return State(place.number, "waiting", saved)


def _epochs(workdir, base):
    """For how many epochs each group is declared."""
    runs, groups = record.declared(workdir, base), record.read(workdir)["groups"]
    return [runs[own[0]].epochs for own in groups]


def _is_stopped(place):
    known = place.history()
    return known is not None and bool(known.status.stopped.all())


def told(workdir, base=None):
    """The states of a folder's groups as text: how many, and a line for each that is not waiting."""
    found = [*states(workdir, base)]
    counts = {name: sum(own.state == name for own in found) for name in STATES}
    lines = [", ".join(f"{count} {name}" for name, count in counts.items() if count)]
    shown = [own for own in found if own.state != "waiting" or own.text]
    for number, state, text in shown:
        lines.append(f"  group {number}: {state}{text and f' ({text})'}")
    return f"{workdir}: {len(found)} groups: " + "\n".join(lines)
