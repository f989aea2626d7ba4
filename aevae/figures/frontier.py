"""The rate-distortion curve of multi-rate runs, alone or beside runs of one beta each."""

import numpy as np

from aevae.figures import contract, sheet
from aevae.runs import statistics


@contract.of_tables(contract.FRONTIER)
def frontier(tables):
    """Draws the curve of multi-rate runs in the rate-distortion plane, a line for each point of the grid.

    Means over seeds at each beta; a thin line is one run.
    """
    figure, ((panel,),) = sheet.canvas(1, 1, 3.25, 2.5)
    curves = sheet.grouped(tables.frontier, tables.axes)
    for (point, rows), color in zip(curves.items(), sheet.colors(curves).values()):
        draw_curve(panel, rows, color, sheet.named(tables.axes, point) or "multi-rate")
    panel.legend()
    label(panel)
    counts = {len({row["seed"] for row in rows}) for rows in curves.values()}
    what = f"multi-rate, means over {sheet.seeds(counts)} at each beta (italic)"
    text = f"{sheet.PLANE} of the test split; {what}"
    sheet.caption(figure, f"{text}\n{sheet.source(tables.results)}")
    return figure


def draw_curve(panel, rows, color, label):
    """Draws multi-rate runs as one curve, their mean, with a thin line for each; betas beside it."""
    runs = sheet.grouped(rows, ["run"]).values()
    for own in runs if len(runs) > 1 else ():
        panel.plot(*_plane(own), color=color, lw=0.4, alpha=0.6)
    means = _means(rows, "at_beta")
    panel.plot(*_plane(means), "-o", color=color, label=label, zorder=3)
    for at, betas in _labels(means):
        place = {"xytext": (4, 4), "textcoords": "offset points"}
        look = {"ha": "left", "va": "bottom", "fontsize": "small", "style": "italic"}
        panel.annotate(", ".join(f"{b:.3g}" for b in betas), at, **place, **look)


def _labels(means):
    """The betas of a curve, (place, betas) of points that cannot be told apart."""
    points = np.transpose(_plane(means))
    near, found = 0.02 * np.maximum(np.ptp(points, axis=0), 1e-9), []
    for point, row in zip(points, means):
        if found and (abs(found[-1][0] - point) < near).all():
            found[-1][1].append(row["at_beta"])
        else:
            found.append((point, [row["at_beta"]]))
    return found


def beside(rows, separate, differences, source):
    """A figure of multi-rate runs beside runs of one beta each, and of the distance between them.

    Args:
      rows: those of frontier.csv.
      separate: rows of results.csv, with `beta`.
      differences: {beta: [S]}: distortion + beta · rate, multi-rate less separate, of each seed.
      source: the data, in words.
    """
    figure, ((plane, panel),) = sheet.canvas(1, 2, 3.37, 2.6)
    draw_curve(plane, rows, "tab:blue", "one multi-rate run")
    dots = {"color": "tab:red", "s": 14, "lw": 0, "alpha": 0.7, "zorder": 4}
    plane.scatter(*_plane(separate), label="a run for each beta", marker="s", **dots)
    plane.legend()
    label(plane)
    betas = list(differences)
    found = [statistics.interval(differences[beta], len(betas)) for beta in betas]
    means = np.array([one.mean for one in found])
    half = np.array([np.nan if one.half is None else one.half for one in found])
    panel.axhline(0, color="0.6", lw=0.8)
    look = {"fmt": "o", "color": "tab:blue", "ms": 3, "lw": 1, "capsize": 2}
    panel.errorbar(betas, means, np.nan_to_num(half), **look)
    panel.set_xscale("log")
    panel.set_xlabel("beta")
    name = "distortion + beta · rate, less that of\nthe run of that beta (nats)"
    panel.set_ylabel(name)
    count = len(next(iter(differences.values())))
    over = f"95% t intervals over {sheet.seeds([count])}, all together (Bonferroni)"
    sheet.caption(figure, f"test split, right: {over}\n{source}")
    return figure


def label(panel):
    """Names the axes of the rate-distortion plane."""
    panel.margins(0.09)
    panel.set_xlabel("rate (nats)")
    panel.set_ylabel("distortion (nats)")


def _plane(rows):
    return [[row[name] for row in rows] for name in ("rate", "distortion")]


def _means(rows, name):
    """Rate and distortion at each value of a column, means over the other rows."""
    return [
        {name: value} | dict(zip(("rate", "distortion"), np.mean(_plane(own), axis=1)))
        for (value,), own in sheet.grouped(rows, [name]).items()
    ]
