"""What a page shows, as `links.js` and the models of Bokeh have it: rows, axes, curves, pictures."""

import base64
import math
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
from bokeh import models

from aevae.figures.report import lines, plots
from aevae.figures.report.folders import METRICS
from aevae.runs import reports, tables
from aevae.training.trained_run import EXAMPLES

DASHES = "solid", "dashed", "dotted", "dashdot", "dotdash"
STROKES = "──", "╌╌", "┈┈", "─·", "╌·"  # of dashes, in the legend, and of markers:
MARKS = "●■▲◆▼★⬢✚"
MARKERS = (
    "circle",
    "square",
    "triangle",
    "diamond",
    "inverted_triangle",
    "star",
    "hex",
    "plus",
)
TERMS = {"elbo": "ELBO"}
UNSOUND = "diverged", "lost"
STATES = "diverged", "lost", "collapsed", "training"
NONE = "none"  # a value that a run of another folder does not have


class Contents(NamedTuple):
    """What a page shows.

    Attributes:
      rows: those of all folders, each with its `folder` and `place`, (number of the folder, run).
      names: the columns of the table, and `own`, those that are hyperparameters.
      source: the table as a source of Bokeh.
      axes: what was swept, and how each of its values looks.
      metrics: [(name, label)] of the curves.
      numbers: [(field, name)] of the columns that a plot may have as an axis.
      data: what `links.js` is given.
    """

    rows: list
    names: list
    own: dict
    source: models.ColumnDataSource
    axes: list
    metrics: list
    numbers: list
    data: dict


def of(folders, pictures, links, live=None):
    """The `Contents` of a page, of what `page.html` is given."""
    rows, names, own = _rows(folders)
    places = {row["place"]: n for n, row in enumerate(rows)}
    labels = [_label(row, folders) for row in rows]
    source = models.ColumnDataSource(plots.columns_of(rows, names), name="runs")
    axes = _axes(folders, rows)
    numbers = _numbers(source, names, own)
    _add_looks(source, rows, labels)
    curves = lines.of(folders, METRICS)
    metrics = [m for m in METRICS if any(np.isfinite(c.mean[m]).any() for c in curves)]
    data = {
        "labels": labels,
        "keys": [f"{row['run']} of {row['folder']}" for row in rows],
        "fields": {name: f"c{n}" for n, name in enumerate(names)},
        "axes": axes,
        "color": plots.colors([""], True)[0],
        "lines": [_line(curve, metrics, rows, labels) for curve in curves],
        "line": _lines_of(curves, len(rows)),
        "own": _own(curves, metrics, len(rows)),
        "pictures": {
            places[key]: _picture(own, links.get(key))
            for key, own in pictures.items()
            if key in places
        },
        "sound": [row["status"] not in UNSOUND for row in rows],
        "without": {n: _without(row) for n, row in enumerate(rows)},
        "kept": EXAMPLES,
        **(live or {}),
    }
    told = [(m, _metric(m)) for m in metrics]
    return Contents(rows, names, own, source, axes, told, numbers, data)


def _rows(folders):
    """The rows of all folders, the columns of the table, and those that are hyperparameters."""
    rows = []
    for number, folder in enumerate(folders):
        for row in folder.rows:
            rows.append(row | {"folder": folder.name, "place": (number, row["run"])})
    own = dict.fromkeys(name for folder in folders for name in folder.names)
    measured = dict.fromkeys(name for folder in folders for name in folder.columns)
    first = [n for n in ("status", *reports.RESULTS) if n in measured]
    rest = [n for n in measured if n not in first]
    head = ["folder", "run"] if len(folders) > 1 else ["run"]
    return rows, [*head, *own, *first, *rest], own


def _axes(folders, rows):
    """What was swept, and how each of its values looks."""
    names = dict.fromkeys(n for f in folders for n in f.names if n != "seed")
    found = []
    for name in (*(["folder"] if len(folders) > 1 else []), *names):
        values = [row.get(name) for row in tables.in_order(rows, [name])]
        values = [*dict.fromkeys(values)]
        if len(values) < 2:
            continue
        texts = tables.labels([NONE if v is None else str(v) for v in values])
        place = {value: n for n, value in enumerate(values)}
        ordered = all(isinstance(v, (int, float)) for v in values)
        found.append(
            {
                "name": name,
                "texts": [*texts.values()],
                "of": [place[row.get(name)] for row in rows],
                "colors": plots.colors(values, ordered),
                "dashes": [DASHES[n % len(DASHES)] for n in range(len(values))],
                "marks": [
                    f"{STROKES[n % len(STROKES)]}{MARKS[n % len(MARKS)]}"
                    for n in range(len(values))
                ],
                "markers": [MARKERS[n % len(MARKERS)] for n in range(len(values))],
            }
        )
    return found


def _label(row, folders):
    folder = folders[row["place"][0]]
    names = [*folder.swept, *(["seed"] if "seed" in folder.names else [])]
    values = ", ".join(f"{n} {row[n]}" for n in names if row.get(n) is not None)
    whose = f" of {folder.name}" if len(folders) > 1 else ""
    status = "" if row["status"] == "finished" else f" ({row['status']})"
    return f"run {row['run']}{whose}{': ' if values else ''}{values}{status}"


def _numbers(source, names, own):
    """[(field, name)] of the columns that a plot may have as an axis, and logarithms of some."""
    found = []
    for name, field in zip(names, [*source.data]):
        values = source.data[field]
        if isinstance(values, list) or not np.isfinite(values).any():
            continue
        found.append((field, plots.plain(name)))
        known = values[np.isfinite(values)]
        if name in own and known.min() > 0 and known.max() >= 10 * known.min():
            source.data[f"log {field}"] = np.log10(values)
            found.append((f"log {field}", plots.plain(f"log10 {name}")))
    return found


def _add_looks(source, rows, labels):
    for name in ("rate", "distortion"):
        values = [row.get(name) for row in rows]
        # Of a run whose loss is not finite nothing is drawn.
        source.data[name] = np.array(
            [math.nan if v is None else v for v in values], float
        )
    source.data["label"] = labels
    source.data["status color"] = [
        plots.COLORS.get(row["status"], "#222222") for row in rows
    ]
    for name, usual in (
        ("x", 0.0),
        ("y", 0.0),
        ("color", "black"),
        ("marker", "circle"),
    ):
        source.data[name] = [usual] * len(rows)


def _line(curve, metrics, rows, labels):
    first = labels[curve.runs[0]].partition(": ")
    status = [rows[n]["status"] for n in curve.runs]
    sound = [own not in UNSOUND for own in status]
    label = first[2].rpartition("seed ")[0].rstrip(", ") or first[0]
    count = len(curve.runs)
    return {
        "x": _rounded(curve.samples),
        "mean": {m: _rounded(curve.mean[m]) for m in metrics},
        "band": {m: [_rounded(end) for end in curve.band[m]] for m in metrics},
        "runs": curve.runs,
        "sound": any(sound),
        "label": f"{label}: {count} run{'s'[: count > 1]}"
        + "".join(f", {status.count(n)} {n}" for n in STATES if n in status),
    }


def _lines_of(curves, count):
    found = [0] * count
    for number, curve in enumerate(curves):
        for place in curve.runs:
            found[place] = number
    return found


def _own(curves, metrics, count):
    """The curves of each run, where they are not those of its line."""
    found = [None] * count
    for curve in curves:
        for at, place in enumerate(curve.runs if len(curve.runs) > 1 else ()):
            found[place] = {m: _rounded(curve.own[m][at]) for m in metrics}
    return found


def _rounded(values):
    return [
        float(f"{v:.6g}") if math.isfinite(v) else None
        for v in np.asarray(values).tolist()
    ]


def _metric(name):
    part, _, what = name.partition("_")
    return f"{part} {TERMS.get(what, what)} (nats)"


def _picture(picture, link):
    src = (
        quote(link)
        if link
        else f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"
    )
    rates = [(name, _rounded([nats])[0] or 0.0) for name, nats in picture.rates]
    return {**picture._asdict(), "png": None, "rates": rates, "src": src}


def _without(row):
    if row["status"] == "training":
        return "Its pictures come when it has been trained."
    if row["status"] == "diverged":
        return "It diverged: some number was not finite, and there is nothing to see."
    return "Without pictures: the notes above say why."
