"""What a run folder was made from, as HTML: the command again, versions, hardware, data and config."""

import json
import shlex
from html import escape

import numpy as np

from aevae.system import files


def html(folder):
    """What is known of a `folders.Runs`, as HTML that is folded."""
    parts = [_titled("The command again", commands(folder))]
    for number, made in enumerate(_environments(folder)):
        known = made.get("versions", {}) | {"python": made.get("python")}
        known |= made.get("hardware", {})
        told = ", ".join(f"{k} {v}" for k, v in known.items() if v is not None)
        sets = "\n".join(_told(entry) for entry in made.get("data", ()))
        parts.append(_titled("Versions and hardware" if not number else "And", told))
        parts.append(_titled("Data", sets))
    for sweep in {
        s["file"]: s for s in folder.record["sweeps"] if s.get("file")
    }.values():
        parts.append(_titled(sweep["file"], _text(folder.path / sweep["file"])))
    declared = json.dumps(folder.record.get("config", {}), indent=2, ensure_ascii=False)
    parts.append(_titled("The config of the first run", declared))
    head = f"What {folder.name} was made from"
    return f"<details><summary>{escape(head)}</summary>{''.join(parts)}</details>"


def _titled(title, text):
    if not text:
        return ""
    return f'<h3>{escape(title)}</h3><pre class="wrap">{escape(text)}</pre>'


def _text(path):
    try:
        return files.text(path).encode("utf-8", "replace").decode()
    except OSError:
        return f"{path} is not there"


def _environments(folder):
    try:
        made = json.loads((folder.path / "environment.json").read_text("utf-8"))
        return [entry for entry in made if isinstance(entry, dict)]
    except (OSError, ValueError, TypeError):
        folder.notes.append(f"{folder.path / 'environment.json'} cannot be read")
        return []


def _told(entry):
    """A data set in a line."""
    counts = ", ".join(f"{count} {part}" for part, count in entry["examples"].items())
    shape = "×".join(map(str, entry["shape"]))
    low, high = (np.ravel(entry["range"]).tolist() or [None])[
        :: max(np.size(entry["range"]) - 1, 1)
    ]
    return (
        f"{entry['name']} {entry['version'] or ''}: {counts}; {shape}, stored as {entry['stored']} from "
        f"{low:g} to {high:g}; sha256 {entry['sha256']}"
    )


def commands(folder):
    """The command lines that train a folder's runs again, into another; "" where it was given a Config."""
    again = f"{folder.path}_again"
    lines = []
    for sweep in folder.record["sweeps"]:
        if not sweep.get("file"):
            return ""
        part = f":{sweep['part']}" if sweep.get("part") else ""
        words = [f"--config={folder.path / sweep['file']}{part}", f"--workdir={again}"]
        for name, value in sweep["overrides"].items():
            words.append(f"--config.{name}={_value(value)}")
        grid = sweep["grid"] or {}
        if isinstance(grid, list):
            lines.append("# the grid is a list of products, as Python gives it:")
            lines.append(f"# {json.dumps(grid)}")
            grid = {}
        for name, values in grid.items():
            listed = values if isinstance(values, list) else [values]
            joint = "," in name
            words.append(f"--sweep={name}={','.join(_value(v, joint) for v in listed)}")
        start = folder.record.get("init_from")
        if start:
            words.append(
                f"--init_from={start.get('name', start) if isinstance(start, dict) else start}"
            )
        lines.append(shlex.join(["python", "-m", "experiments.sweep", *words]))
    return "\n".join(lines)


def _value(value, joint=False):
    """A value as --sweep and --config.NAME read it."""
    if isinstance(value, list):
        inner = ",".join(_value(item) for item in value)
        return f"({inner}{',' if len(value) == 1 and not joint else ''})"
    return str(value)
