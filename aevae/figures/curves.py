"""The curves of a folder: ELBO, or distortion, against samples seen."""

import textwrap

import numpy as np

from aevae.figures import contract, sheet
from aevae.runs import statistics
from aevae.system import files

PANELS = 12  # in a figure at most


def _files(columns):
    """All names that curves may have, whatever the grid."""
    return [
        files.short_name(of + by)
        for of in ("elbo", "distortion")
        for by in ("", *(f"_by_{name}" for name in columns))
    ]


@contract.of_tables(files=_files)
def curves(tables):
    """Draws train and test values against samples seen, a figure for each axis, as `elbo_by_beta`.

    A color is a value of the axis, a panel a point of the others. The line is the mean over seeds,
    the band its 95 % t interval where there are three or more; of two, each has a thin line.
    """
    found = {}
    for axis in tables.axes or [None]:
        name = f"{tables.measure}_by_{axis}" if axis else tables.measure
        found[files.short_name(name)] = _by(axis, tables)
    return found


def _by(axis, tables):
    rows, measure = tables.curves, tables.measure
    others = [name for name in tables.axes if name != axis]
    shown, left = sheet.selected(rows, others, PANELS, axis)
    columns = min(4, len(shown))
    width, height = (2.3, 2.6) if columns > 2 else (3.4, 3.0)
    down = -(-len(shown) // columns)
    figure, panels = sheet.canvas(
        down, columns, width + 1 / columns, height, sharex=True, sharey=True
    )
    colors = sheet.colors(sheet.values(rows, axis) if axis else [None])
    lasts, diverged = [], set()
    counts = [_seeds(here, axis) for here in shown.values()]
    everywhere = set().union(*counts)
    for panel in panels.flat[len(shown) :]:
        panel.set_axis_off()
    seen = [row["samples"] for row in rows]
    single = bool(seen) and min(seen) == max(seen)
    if single:
        panels[0, 0].set_xlim(seen[0] / 2, seen[0] * 2)
    for (point, here), count, panel in zip(shown.items(), counts, panels.flat):
        for value, color in colors.items():
            own = [r for r in here if axis is None or r[axis] == value]
            for part, style in (("train", "--"), ("test", "-")):
                lasts += _band(panel, own, f"{part}_{measure}", style, color)
            diverged |= _cross(panel, own, f"test_{measure}", color)
        panel.set_xscale("log")
        title = sheet.named(others, point)
        title += f": {sheet.seeds(count)}" if len(everywhere) > 1 else ""
        title = textwrap.fill(title, int(14 * width))
        panel.set_title(title, fontsize=9)
        panel.grid(alpha=0.25)
    for panel in panels.flat:
        sheet.log_ticks(panel.xaxis)
    if lasts:
        margin = 0.05 * (max(lasts) - min(lasts)) + 1e-6
        panels[0, 0].set_ylim(min(lasts) - margin, max(lasts) + margin)
    figure.supxlabel("samples seen", fontsize=9)
    title = "ELBO at beta = 1" if measure == "elbo" else "distortion"
    figure.supylabel(f"{title} (nats)", fontsize=9)
    _legend(figure, colors if axis else {}, axis, single)
    notes = ["one seed"]
    if max(everywhere, default=1) > 1:
        notes = [f"mean over {sheet.seeds(everywhere)}", *_about_bands(everywhere)]
    if diverged:
        count = len(diverged)
        notes.append(f"× {count} run{'s'[: count > 1]} diverged")
    sheet.caption(figure, "; ".join(notes + left) + f"\n{sheet.source(tables.results)}")
    return figure


def _seeds(rows, axis):
    """The numbers of runs, which differ in the seed alone, that a panel's lines are of."""
    lines = sheet.grouped(rows, [axis] if axis else []).values()
    return {len({row["run"] for row in line}) for line in lines}


def _band(panel, rows, name, style, color):
    """A line and its band; returns the values but for those of the first tenth."""
    x, table = _by_samples(rows, name)
    if not len(x):
        return []
    look = _dots(style) if len(x) == 1 else {}
    panel.plot(x, [np.mean(v) for v in table], style, color=color, lw=1.2, **look)
    band = np.full((len(x), 2), np.nan)
    for place, own in enumerate(table):
        if len(own) >= statistics.ENOUGH:
            found = statistics.interval(own)
            band[place] = found.low, found.high
    panel.fill_between(x, *band.T, color=color, alpha=0.2, lw=0)
    if len(x) == 1 and np.isfinite(band).all():
        panel.vlines(x, *band.T, color=color, alpha=0.4, lw=2)
    if max(map(len, table)) == 2:
        for run in {row["run"]: None for row in rows}:
            own, values = _by_samples([r for r in rows if r["run"] == run], name)
            panel.plot(own, values, style, color=color, lw=0.5, alpha=0.6)
    kept = len(table) // 10
    ends = band[kept:][np.isfinite(band[kept:])]
    return [*np.concatenate(table[kept:]), *ends]


def _about_bands(counts):
    """Yields what bands are, and of how many seeds there are none."""
    if max(counts) >= statistics.ENOUGH:
        yield "band: its 95 % t interval"
    if 2 in counts:
        yield "two seeds have thin lines and no band"


def _dots(style):
    """The look of a line of a single point: a full dot of `test`, a ring of `train`."""
    return {"marker": "o", "ms": 5, "mfc": "none" if style == "--" else None}


def _cross(panel, rows, name, color):
    """Marks the last finite value of each run that diverged; returns the runs.

    A run without any is marked at the foot of the panel.
    """
    runs = {row["run"] for row in rows if row["diverged"] is not None}
    for run in runs:
        own = [row for row in rows if row["run"] == run]
        sound = [r for r in own if r[name] is not None and np.isfinite(r[name])]
        place = (sound or own[:1])[-1]["samples"], sound[-1][name] if sound else 0.03
        where = panel.transData if sound else panel.get_xaxis_transform()
        panel.plot(*place, "x", color=color, ms=7, mew=2, transform=where)
    return runs


def _by_samples(rows, name):
    """Samples seen, and for each the finite values of the runs that have come so far.

    About a hundred points, evenly spread on the log axis.
    """
    found = {}
    for row in rows:
        if row[name] is not None and np.isfinite(row[name]):
            found.setdefault(row["samples"], []).append(row[name])
    keep = np.unique(np.geomspace(1, max(len(found), 1), 100).round().astype(int)) - 1
    x = np.array(list(found))[keep] if found else np.array([])
    return x, [found[samples] for samples in x]


def _legend(figure, colors, axis, single):
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=color, label=sheet.named([axis], [value]))
        for value, color in colors.items()
    ]
    handles += [
        Line2D(
            *([], []),
            color="0.3",
            linestyle=style,
            label=part,
            **(_dots(style) if single else {}),
        )
        for part, style in (("test", "-"), ("train", "--"))
    ]
    figure.legend(handles=handles, fontsize=8, loc="outside right center")
