"""All of a report as one HTML file: nothing in it asks a network, and every text of a user's is escaped."""

import json
import math
from html import escape
from pathlib import Path

from bokeh import models
from bokeh.document import Document
from bokeh.embed import components
from bokeh.resources import Resources

from aevae.figures.report import about, contents, plots, summary
from aevae.runs import statistics

HERE = Path(__file__).parent


def html(folders, pictures, links, base=None, live=None):
    """The page of several folders.

    Args:
      folders: `folders.Runs`.
      pictures: a `pictures.Picture` of each run, {(number of the folder, run): Picture}.
      links: {(number of the folder, run): the path of its picture from the page}, of those that are
        not in it.
      base: as in `trained.load`, for paired differences.
      live: while a sweep trains, {"stamp", "beside", "every"}: what this page is, the script that says
        which is the newest, and the seconds between two looks at it.
    """
    its = contents.of(folders, pictures, links, live)
    kept = models.CDSView(filter=models.BooleanFilter(name="kept"))
    texts = {axis["name"]: axis["texts"] for axis in its.axes}
    figures = {
        "curves": plots.curves(its.metrics[0][1] if its.metrics else ""),
        "plane": _with_best(plots.plane(its.source, kept), its.rows),
        "scatter": plots.scatter(its.source, kept),
        "table": plots.table(its.source, its.names, its.own, kept, "status", 420),
        "means": _means(folders, its),
    }
    controls = plots.controls(its.metrics, texts, its.numbers, *_first(its))
    figures |= {f"choose {name}": widget for name, widget in controls.items()}
    whole = Document()
    with whole.models.freeze():  # else each root would have all models looked for anew
        for model in figures.values():
            whole.add_root(model)
    script, divs = components(figures)
    parts = dict(divs)
    parts["controls"] = "".join(divs[f"choose {name}"] for name in controls)
    title = f"aevae: {', '.join(folder.name for folder in folders)}"
    made = {
        "title": escape(title),
        "head": escape(_head(folders, its.rows, links)),
        "style": (HERE / "page.css").read_text("utf-8"),
        "resources": Resources(
            mode="inline", components=["bokeh", "bokeh-widgets", "bokeh-tables"]
        ).render(),
        "meaning": escape(
            f"Test split, nats, {statistics.MEANING}; runs: those that did not diverge."
        ),
        "areas": _pre("\n".join(summary.areas(folders))),
        "paired": "".join(_paired(folder, base) for folder in folders),
        "about": "".join(about.html(folder) for folder in folders),
        "bokeh": script,
        "data": _json(its.data),
        "links": (HERE / "links.js").read_text("utf-8"),
    }
    made["notes"] = _notes(folders)  # of which some are of what was read just now
    text = (HERE / "page.html").read_text("utf-8")
    # In one pass: what a user wrote may hold the name of a part.
    pieces = [piece.partition("}") for piece in text.split("{")]
    parts |= made
    return pieces[0][0] + "".join(
        parts[name] + rest if name in parts else "{" + name + mark + rest
        for name, mark, rest in pieces[1:]
    )


def _first(its):
    """The fields that the plot of two columns shows first: what was swept, and the bound."""
    fields = {name: field for field, name in its.numbers}
    swept = [plots.plain(axis["name"]) for axis in its.axes]
    across = [f"log10 {name}" for name in swept] + swept + ["rate", "run"]
    up = ["iwae", "elbo", "distortion", "run"]
    return tuple(
        next((fields[n] for n in some if n in fields), "") for some in (across, up)
    )


def _means(folders, its):
    points = [axis["name"] for axis in its.axes]
    left = {*its.own, "folder", "run", "status", "epoch", "epochs", "diverged"}
    measured = [
        n
        for n in its.names
        if n not in left
        and any(isinstance(row.get(n), (int, float)) for row in its.rows)
    ]
    found = summary.means(folders, points, measured)
    columns = [*points, "runs"]
    for name in measured:
        columns += [name, f"± {name}"]
    columns = [
        n for n in columns if n in points or any(r.get(n) is not None for r in found)
    ]
    source = models.ColumnDataSource(plots.columns_of(found, columns), name="points")
    return plots.table(
        source, columns, {*points}, height=min(420, 60 + 24 * len(found))
    )


def _with_best(figure, rows):
    """The plane with a line through all points whose ELBO is the best one."""
    found = [r["elbo"] for r in rows if isinstance(r.get("elbo"), (int, float))]
    found = [value for value in found if math.isfinite(value)]
    if found:
        slope = figure.select_one({"name": "best elbo"})
        slope.y_intercept, slope.visible = -max(found), True
        figure.xaxis.axis_label = (
            f"rate (nats); dotted: ELBO {max(found):.2f}, the best"
        )
    return figure


def _head(folders, rows, links):
    counts = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    told = ", ".join(f"{n} {name}" for name, n in counts.items()) or "none has begun"
    text = f"{sum(f.declared for f in folders)} runs declared: {told}."
    sets = {
        (r["dataset"], r["binarization"])
        for r in rows
        if r.get("dataset") and r.get("binarization")
    }
    if sets:
        kinds = [
            f"{name}, {'no' if b == 'none' else b} binarization"
            for name, b in sorted(sets)
        ]
        text += f" Data: {'; '.join(kinds)}."
    if links:
        text += (
            f" The pictures of {len(links)} runs are not in this file, but linked: keep "
            f"{Path(next(iter(links.values()))).parent} beside it."
        )
    return text


def _notes(folders):
    several = len(folders) > 1
    said = [
        f"{f.name}: {note}" if several else note for f in folders for note in f.notes
    ]
    items = "".join(f"<li>{escape(line)}</li>" for line in dict.fromkeys(said))
    return f'<ul class="notes">{items}</ul>' if items else ""


def _paired(folder, base):
    bounded = any(row.get("elbo") is not None for row in folder.rows)
    measure = "elbo" if bounded else "distortion"
    made = [
        f"<h3>{escape(name)}</h3>{_pre(text)}"
        for name, text in summary.differences(folder, measure, base)
    ]
    head = f"What each swept value changes in {measure}, paired by seed: {folder.name}"
    return (
        f"<details><summary>{escape(head)}</summary>{''.join(made)}</details>"
        if made
        else ""
    )


def _pre(text):
    return f"<pre>{escape(text)}</pre>" if text else ""


def _json(data):
    """JSON that may stand in a script: nothing in it ends one."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
