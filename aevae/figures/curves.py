"""The curves of a folder: ELBO, or distortion, against samples seen."""

import textwrap

import numpy as np

from aevae.figures import contract, looks, sheet
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
    the band of the test values what `figures.style` says: the 95 % t interval of the mean where
    there are three or more, of two a thin line each.
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
    columns = min(sheet.across(1.6), len(shown))
    columns = -(-len(shown) // -(-len(shown) // columns)) if shown else 1
    size = {1: (3.25, 2.4), 2: (2.2, 2.0)}.get(columns, (6.75 / columns, 1.9))
    down = max(1, -(-len(shown) // columns))
    figure, panels = sheet.canvas(down, columns, *size, sharex=True, sharey=True)
    colors = sheet.colors(sheet.values(rows, axis) if axis else [None])
    lasts, diverged = [], set()
    counts = [seeds(here, axis) for here in shown.values()]
    everywhere = set().union(*counts)
    for panel in panels.flat[len(shown) :]:
        panel.set_axis_off()
    seen = [row["samples"] for row in rows]
    single = bool(seen) and min(seen) == max(seen)
    if single:
        panels[0, 0].set_xlim(seen[0] / 2, seen[0] * 2)
    for (point, here), count, panel in zip(shown.items(), counts, panels.flat):
        found = lines(panel, here, axis, colors, measure)
        lasts, diverged = lasts + found[0], diverged | found[1]
        title = sheet.named(others, point)
        title += f": {sheet.seeds(count)}" if len(everywhere) > 1 else ""
        panel.set_title(textwrap.fill(title, int(15 * size[0])))
    frame(panels, lasts)
    for panel in panels[-1]:
        panel.set_xlabel("samples seen")
    for panel in panels[:, 0]:
        panel.set_ylabel(label(measure))
    handles = parts(single, everywhere, bool(diverged))
    if axis and len(colors) > sheet.MANY:
        sheet.bar(figure, panels, axis, colors)
    else:
        handles = [*named(axis, colors if axis else {}), *handles]
    sheet.legend(figure, handles)
    text = f"{'ELBO' if measure == 'elbo' else 'Distortion'} against samples seen"
    text += f", a color for each {axis}" if axis else ""
    notes = [text, "one seed"]
    if max(everywhere, default=1) > 1:
        notes[1:] = [f"mean over {sheet.seeds(everywhere)}", *_about_bands(everywhere)]
    if diverged:
        count = len(diverged)
        notes.append(f"× {count} run{'s'[: count > 1]} diverged")
    about = "; ".join(notes + left)
    sheet.caption(figure, f"{about}\n{sheet.source(tables.results)}")
    return figure


def label(measure):
    """What the axis of a measure is called."""
    return "ELBO (nats)" if measure == "elbo" else f"{measure} (nats)"


def lines(panel, rows, axis, colors, measure, split=("train", "test")):
    """Draws the lines and bands of rows of curves.csv, a color for each value of an axis.

    Returns:
      The values but for those of the first tenth, and the runs that diverged.
    """
    lasts, diverged = [], set()
    for value, color in colors.items():
        own = [r for r in rows if axis is None or r[axis] == value]
        for part, style in (("train", "--"), ("test", "-")):
            if part in split:
                lasts += _band(panel, own, f"{part}_{measure}", style, color)
        diverged |= _cross(panel, own, f"{split[-1]}_{measure}", color)
    panel.set_xscale("log")
    panel.grid(alpha=0.25)
    return lasts, diverged


def frame(panels, lasts):
    """Gives panels that share their axes the limits of the values after the first tenth."""
    for panel in np.ravel(panels):
        sheet.log_ticks(panel.xaxis)
    if lasts:
        margin = 0.05 * (max(lasts) - min(lasts)) + 1e-6
        np.ravel(panels)[0].set_ylim(min(lasts) - margin, max(lasts) + margin)


def seeds(rows, axis):
    """The numbers of runs, which differ in the seed alone, that a panel's lines are of."""
    lines = sheet.grouped(rows, [axis] if axis else []).values()
    return {len({row["run"] for row in line}) for line in lines}


def _band(panel, rows, name, style, color):
    """A line and its band; returns the values but for those of the first tenth."""
    x, table = _by_samples(rows, name)
    if not len(x):
        return []
    look = _dots(style) if len(x) == 1 else {}
    look |= {"lw": 0.8, "alpha": 0.8} if style == "--" else {}
    panel.plot(x, [np.mean(v) for v in table], style, color=color, **look)
    band = np.full((len(x), 2), np.nan)
    for place, own in enumerate(table if style == "-" else ()):
        band[place] = looks.spread(own) or np.nan
    if np.isfinite(band).any():
        panel.fill_between(x, *band.T, color=color, alpha=0.2, lw=0)
    if len(x) == 1 and np.isfinite(band).all():
        panel.vlines(x, *band.T, color=color, alpha=0.4, lw=2)
    if max(map(len, table)) == 2 and not looks.enough([2]):
        for run in {row["run"]: None for row in rows}:
            own, values = _by_samples([r for r in rows if r["run"] == run], name)
            panel.plot(own, values, style, color=color, lw=0.5, alpha=0.6)
    kept = len(table) // 10
    ends = band[kept:][np.isfinite(band[kept:])]
    return [*np.concatenate(table[kept:]), *ends]


def _about_bands(counts):
    """Yields what bands are, and of how many seeds there are none."""
    if looks.enough(counts):
        yield f"band: {looks.MEANINGS[looks.current().band]} (test)"
    if 2 in counts and not looks.enough([2]):
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


def named(axis, colors):
    """A handle of a legend for each color of an axis."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=color, label=sheet.named([axis], [value]))
        for value, color in colors.items()
    ]


def parts(single, counts, diverged, split=("train", "test")):
    """Handles of a legend for what is no color: the splits, the band, and runs that diverged."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    found, gray = [], {"color": "0.3"}
    for part, style in (("test", "-"), ("train", "--")):
        look = gray | (_dots(style) if single else {})
        if part in split:
            found.append(Line2D([], [], linestyle=style, label=part, **look))
    if looks.enough(counts) and "test" in split:
        what = looks.BANDS[looks.current().band]
        over = f"{what}, {sheet.seeds(counts)}"
        found.append(Patch(color="0.3", alpha=0.25, lw=0, label=over))
    if diverged:
        look = gray | {"marker": "x", "linestyle": ""}
        found.append(Line2D([], [], label="diverged", **look))
    return found
