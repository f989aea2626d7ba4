"""Figures over the grid of a folder: the rate-distortion plane, and heat maps."""

import textwrap

import numpy as np

from aevae.figures import contract, looks, sheet
from aevae.runs import statistics

STYLES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))  # of lines
FACETS = 6  # of a heat map at most
APART = 0.07  # of a frame: the least from one number beside a line to the next
CROSSES = {
    "interval": "crosses: 95 % t intervals of the means",
    "range": "crosses: from the least to the greatest seed",
    "deviation": "crosses: a standard deviation over seeds to each side",
}


@contract.of_tables(contract.BOUNDED)
def rate_distortion(tables):
    """Draws every run as a point of the rate-distortion plane, with lines of equal ELBO.

    elbo = -(rate + distortion).

    The means over seeds are joined along beta, or another swept number; a color is a latent size, or
    another swept value. A mean has as a cross what bands show, by default its 95 % t
    intervals, of three seeds or more. What else is swept makes lines of its own, told by their
    marker and style.
    """
    axes = tables.axes
    along = "beta" if "beta" in axes else None
    axis = "latent" if "latent" in axes else next((a for a in axes if a != along), None)
    if along is None:
        numbers = [a for a in axes if a != axis and _ordered(tables.bounded, a)]
        along = numbers[0] if numbers else None
    others = [a for a in axes if a not in (axis, along)]
    shown, left = sheet.selected(tables.bounded, others, len(STYLES), along)
    rows = [r for r in tables.bounded if tuple(r[n] for n in others) in shown]
    colors = sheet.colors(sheet.values(rows, axis) if axis else [None])
    labels = [textwrap.fill(sheet.named(others, p), 24) for p in shown if others]
    crowded = axis and len(colors) > sheet.MANY
    entries = (0 if crowded else len(colors)) + len(labels)
    figure, ((panel,),) = sheet.canvas(1, 1, 3.25, 2.6 + 0.06 * entries)
    means, counts = [], set()
    kinds = {point: {"marker": sheet.MARKERS[i]} for i, point in enumerate(shown)}
    for (point, here), style in zip(shown.items(), STYLES):
        for i, (value, color) in enumerate(colors.items()):
            line = [r for r in here if axis is None or r[axis] == value]
            line = [r for r in line if np.isfinite(r["elbo"])]
            if not line:
                continue
            look = kinds[point] if others else {"marker": sheet.marker(i)}
            names, middle, own_counts = curve(panel, line, along, color, style, **look)
            means.append((names, middle))
            counts |= own_counts
    notes = [f"{sheet.PLANE} of the test split, a point a run"]
    if along:
        many = (
            f"means over {sheet.seeds(counts)}"
            if max(counts, default=1) > 1
            else "runs"
        )
        notes.append(f"{many} joined along {along}")
    finish(panel, [r for r in rows if np.isfinite(r["elbo"])], means if along else ())
    if means:
        if along:
            notes[-1] += " (italic)"
            if looks.enough(counts):
                notes.append(CROSSES[looks.current().band])
        notes += left
        notes.append("gray: equal ELBO (nats)")
    else:
        notes = ["all runs diverged"]
    sheet.caption(figure, "; ".join(notes) + f"\n{sheet.source(rows)}")
    if means and axis:
        if crowded:
            sheet.bar(figure, panel, axis, colors)
        _legend(figure, axis, {} if crowded else colors, labels, kinds)
    return figure


def curve(panel, rows, along, color, style="-", **look):
    """Draws runs as points, and joins their means along a column, each with its cross.

    Returns:
      The values of the column, the means, and the numbers of runs that they are of.
    """
    x, y = ([r[name] for r in rows] for name in ("rate", "distortion"))
    panel.scatter(x, y, s=9, lw=0, alpha=0.8, color=color, **look)
    groups = sheet.grouped(rows, [along] if along else [])
    middle = [
        [np.mean([r[n] for r in near]) for n in ("rate", "distortion")]
        for near in groups.values()
    ]
    if along:
        _crosses(panel, groups.values(), color)
    panel.plot(*np.transpose(middle), color=color, lw=0.9, linestyle=style)
    return list(groups), middle, {len(near) for near in groups.values()}


def finish(panel, rows, means):
    """Names the axes of the plane, and adds lines of equal ELBO and what lines are joined along."""
    panel.margins(0.07)
    panel.set_xlabel("rate (nats)")
    panel.set_ylabel("distortion (nats)")
    if rows:
        _equal_elbo(panel, rows)
    longest = sorted(means, key=lambda m: np.ptp(m[1], axis=0).sum())
    for names, points in {tuple(m[0]): m for m in longest}.values():
        _numbered(panel, names, points)


def _crosses(panel, groups, color):
    """What bands show of both values of groups of runs, of those of seeds enough."""
    for near in groups:
        if looks.enough([len(near)]):
            x, y = ([r[n] for r in near] for n in ("rate", "distortion"))
            look = {"color": color, "lw": 1.2, "alpha": 0.5}
            panel.hlines(np.mean(y), *looks.spread(x), **look)
            panel.vlines(np.mean(x), *looks.spread(y), **look)


def _legend(figure, axis, colors, labels, kinds):
    """Names the colors, and the markers and styles of lines where more was swept."""
    from matplotlib.lines import Line2D

    handles = []
    for i, (value, color) in enumerate(colors.items()):
        marker = "s" if labels else sheet.marker(i)
        look = {"color": color, "marker": marker, "markersize": 4, "linestyle": ""}
        handles.append(Line2D([], [], label=sheet.named([axis], [value]), **look))
    for label, style, own in zip(labels, STYLES, kinds.values()):
        look = {"color": "0.3", "markersize": 4, "linestyle": style, "lw": 1}
        handles.append(Line2D([], [], label=label, **look, **own))
    if handles:
        sheet.legend(figure, handles)


def _ordered(rows, name):
    return all(isinstance(row[name], (int, float)) for row in rows)


def _numbered(panel, names, points):
    """The values that a line is joined along, beside its points."""
    (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
    size, last = np.array([right - left, high - low]), None
    for (name,), point in zip(names, points):
        if name is None:  # a run without this value
            continue
        place = np.array(point) / size
        if last is not None and np.hypot(*(place - last)) < APART:
            continue
        last = place
        look = {"ha": "right", "va": "top", "fontsize": "small", "style": "italic"}
        offset = {"xytext": (-3, -3), "textcoords": "offset points"}
        panel.annotate(sheet.short(name), point, **offset, **look)


def _equal_elbo(panel, rows):
    """Lines of equal rate + distortion, each with its ELBO where it is farthest from the points."""
    from matplotlib.ticker import MaxNLocator

    (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
    corner, size = np.array([left, low]), np.array([right - left, high - low])
    points = np.array([[r["rate"], r["distortion"]] for r in rows])
    points = (points - corner) / size
    place = {"fontsize": "small", "color": "0.35", "ha": "center", "va": "center"}
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    for total in MaxNLocator(8).tick_values(left + low, right + high):
        ends = [left, right], [total - left, total - right]
        panel.plot(*ends, color="0.6", lw=0.6, zorder=0.5)
        x = np.linspace(left, right, 101)
        line = (np.stack([x, total - x], 1) - corner) / size
        inside = line[((line > 0.06) & (line < 0.94)).all(1)]
        if not len(inside):
            continue
        far = np.linalg.norm(inside[:, None] - points[None], axis=-1).min(1)
        if far.max() > 0.05:
            at = inside[far.argmax()] * size + corner
            panel.text(
                *at, f"{-total:g}".replace("-", "−"), bbox=box, zorder=0.6, **place
            )
    panel.set_xlim(left, right)
    panel.set_ylim(low, high)


def cells(rows, axes, name):
    """Averages a column over the seeds of each cell, with intervals, and counts them.

    Args:
      rows: rows of results.csv that differ in the two axes and the seed alone.
      axes: {column: its values}, down and across.
      name: the column.
    Returns:
      The means, [down, across], NaN where there is no run, the half-widths of their 95 % t intervals,
      NaN of fewer than three seeds, and the numbers of seeds.
    """
    (down, ys), (across, xs) = axes.items()
    found = sheet.grouped(rows, [down, across])
    table, halves = np.full((2, len(ys), len(xs)), np.nan)
    counts = np.zeros((len(ys), len(xs)), int)
    for i, j in np.ndindex(table.shape):
        own = [row[name] for row in found.get((ys[i], xs[j]), ())]
        own = [value for value in own if value is not None and np.isfinite(value)]
        table[i, j], counts[i, j] = np.mean(own) if own else np.nan, len(own)
        if len(own) >= statistics.ENOUGH:
            halves[i, j] = statistics.interval(own).half
    return table, halves, counts


@contract.of_tables(contract.TWO_AXES, contract.SOUND)
def heat_map(tables):
    """Draws test ELBO (or distortion) and active units over two swept axes, a number in each cell.

    Means over seeds, of the runs that have not diverged, with the half-widths of their 95 % t
    intervals, where there are three seeds or more. What else is swept makes panels below each
    other, that share their colors.
    """
    swept, measure = tables.axes, tables.measure
    down, across = (("latent", "beta") if {"latent", "beta"} <= {*swept} else swept)[:2]
    others = [name for name in swept if name not in (down, across)]
    titles = {
        measure: f"test {'ELBO' if measure == 'elbo' else measure} (nats)",
        "active_units": "active units",
    }
    facets, left = sheet.selected(tables.sound, others, FACETS)
    rows = [r for r in tables.sound if tuple(r[n] for n in others) in facets]
    axes = {name: sheet.values(rows, name) for name in (down, across)}
    ticks = {n: ["none" if v is None else v for v in vs] for n, vs in axes.items()}
    found = {n: [cells(own, axes, n) for own in facets.values()] for n in titles}
    found = {n: f for n, f in found.items() if np.isfinite([t for t, *_ in f]).any()}
    counts = np.ravel([count for own in found.values() for *_, count in own])
    usual = np.bincount(counts[counts > 0]).argmax()
    width, height = 0.5 * len(axes[across]) + 0.5, 0.3 * len(axes[down]) + 0.75
    if sheet.across(width) < len(found):  # one below the other
        figure, panels = sheet.canvas(len(facets) * len(found), 1, width, height)
        panels = panels.reshape(len(found), len(facets)).T
    else:
        figure, panels = sheet.canvas(len(facets), len(found), width, height)
    for (name, own), column in zip(found.items(), panels.T):
        values = [table for table, *_ in own]
        low, high = (
            0 if name == "active_units" else np.nanmin(values),
            np.nanmax(values),
        )
        for point, (table, halves, count), panel in zip(facets, own, column):
            odd = np.where(count == usual, 0, count)
            heat(panel, table, halves, odd, low, high)
            panel.set_xticks(range(table.shape[1]), ticks[across])
            panel.set_yticks(range(table.shape[0]), ticks[down])
            panel.tick_params(length=0)
            panel.set_xlabel(across)
            title = textwrap.fill(sheet.named(others, point), max(14, int(14 * width)))
            panel.set_title(f"{titles[name]}\n{title}".strip())
    for panel in panels[:, 0]:
        panel.set_ylabel(down)
    same = len({*counts} - {0}) == 1
    over = f"Test split, mean over {sheet.seeds([usual])} a cell" + (
        "" if same else ", or over n where it says so"
    )
    if max(counts) >= statistics.ENOUGH:
        over += ", ± half-width of the 95 % t interval"
    sheet.caption(figure, "; ".join([over, *left]) + f"\n{sheet.source(rows)}")
    return figure


def heat(panel, table, halves, count, low, high):
    """Colors cells by their values, which are written in them; `count` is written where it is not 0."""
    image = panel.imshow(table, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    for (i, j), value in np.ndenumerate(table):
        finite = np.isfinite(value)
        dark = finite and np.mean(image.cmap(image.norm(value))[:3]) < 0.5
        text = sheet.number(value, 2 if abs(value) < 1000 else 0) if finite else "–"
        half = halves[i, j]
        if np.isfinite(half):
            text += f"\n±{sheet.number(half, 2 if abs(half) < 1000 else 0)}"
        text += f"\nn={count[i, j]}" if finite and count[i, j] else ""
        size = "medium" if "\n" not in text else "small"
        place = {"ha": "center", "va": "center", "fontsize": size}
        panel.text(j, i, text, color="white" if dark else "black", **place)
