"""Figures of a folder's tables: curves, the rate-distortion plane, heat maps."""

import itertools

import numpy as np

from aevae.figures import sheet

PANELS = 12  # in a figure at most


def curves(rows, results, axis, others, measure):
    """Train and test against samples seen: a colour a value of `axis`, a panel for the others.

    The line is the mean over seeds, the band goes from the least to the greatest.
    """
    points = list(dict.fromkeys(tuple(row[name] for name in others) for row in rows))
    shown = points[:PANELS]
    columns = min(4, len(shown))
    width, height = (2.3, 2.6) if columns > 2 else (3.4, 3.0)
    down = -(-len(shown) // columns)
    figure, panels = sheet.canvas(
        down, columns, width + 1 / columns, height, sharex=True, sharey=True
    )
    colours = sheet.colours(sheet.values(rows, axis) if axis else [None])
    lasts, diverged = [], set()
    for point, panel in itertools.zip_longest(shown, panels.flat):
        if point is None:
            panel.set_axis_off()
            continue
        here = [r for r in rows if tuple(r[name] for name in others) == point]
        for value, colour in colours.items():
            own = [r for r in here if axis is None or r[axis] == value]
            for part, style in (("train", "--"), ("test", "-")):
                lasts += _band(panel, own, f"{part}_{measure}", style, colour)
            diverged |= _cross(panel, own, f"test_{measure}", colour)
        panel.set_xscale("log")
        named = ", ".join(f"{n} {v}" for n, v in zip(others, point))
        panel.set_title(named, fontsize=9)
        panel.grid(alpha=0.25)
    seen = [row["samples"] for row in rows]
    if seen and min(seen) == max(seen):
        panels[0, 0].set_xlim(seen[0] / 2, seen[0] * 2)
    for panel in panels.flat:
        sheet.log_ticks(panel.xaxis)
    if lasts:
        margin = 0.05 * (max(lasts) - min(lasts)) + 1e-6
        panels[0, 0].set_ylim(min(lasts) - margin, max(lasts) + margin)
    figure.supxlabel("samples seen", fontsize=9)
    title = "ELBO at beta = 1" if measure == "elbo" else "distortion"
    figure.supylabel(f"{title} (nats)", fontsize=9)
    _legend(figure, colours if axis else {}, axis)
    notes = ["mean over seeds, band from least to greatest"]
    if diverged:
        notes.append(f"× {len(diverged)} runs diverged")
    if len(points) > len(shown):
        notes.append(f"{len(points) - len(shown)} panels left out")
    sheet.caption(figure, "; ".join(notes) + f"\n{sheet.source(results)}")
    return figure


def _band(panel, rows, name, style, colour):
    """A line and its band; returns the values but for those of the first tenth."""
    x, table = _by_samples(rows, name)
    if not len(x):
        return []
    low, mean, high = zip(*[(min(v), np.mean(v), max(v)) for v in table])
    marker = "o" if len(x) == 1 else None
    panel.plot(x, mean, style, color=colour, lw=1.2, marker=marker, ms=4)
    panel.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
    return list(np.concatenate(table[len(table) // 10 :]))


def _cross(panel, rows, name, colour):
    """Marks the last finite value of each run that diverged; returns the runs.

    A run without any is marked at the foot of the panel.
    """
    runs = {row["run"] for row in rows if row["diverged"] is not None}
    for run in runs:
        own = [row for row in rows if row["run"] == run]
        sound = [r for r in own if r[name] is not None and np.isfinite(r[name])]
        place = (sound or own[:1])[-1]["samples"], sound[-1][name] if sound else 0.03
        where = panel.transData if sound else panel.get_xaxis_transform()
        panel.plot(*place, "x", color=colour, ms=7, mew=2, transform=where)
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


def _legend(figure, colours, axis):
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, label=f"{axis} {value}")
        for value, colour in colours.items()
    ]
    handles += [
        Line2D([], [], color="0.3", linestyle=style, label=part)
        for part, style in (("test", "-"), ("train", "--"))
    ]
    figure.legend(handles=handles, fontsize=8, loc="outside right center")


def rate_distortion(rows, axes):
    """Every run as a point of the plane; lines of equal ELBO, on which rate + distortion is one.

    The means over seeds are joined along beta, or another swept number; a colour and a marker are a
    latent size, or another swept value. What else is swept makes lines of its own.
    """
    figure, ((panel,),) = sheet.canvas(1, 1, 5.6, 3.8)
    along = "beta" if "beta" in axes else None
    axis = "latent" if "latent" in axes else next((a for a in axes if a != along), None)
    if along is None:
        numbers = [a for a in axes if a != axis and _ordered(rows, a)]
        along = numbers[0] if numbers else None
    others = [a for a in axes if a not in (axis, along)]
    found = sheet.values(rows, axis) if axis else [None]
    colours, means = sheet.colours(found), []
    for i, (value, colour) in enumerate(colours.items()):
        own = [r for r in rows if axis is None or r[axis] == value]
        own = [r for r in own if np.isfinite(r["elbo"])]
        look = {"color": colour, "marker": sheet.MARKERS[i % len(sheet.MARKERS)]}
        x, y = ([r[name] for r in own] for name in ("rate", "distortion"))
        label = f"{axis} {value}" if axis else None
        if own:
            panel.scatter(x, y, s=16, lw=0, alpha=0.8, label=label, **look)
        for line in _grouped(own, others).values():
            groups = _grouped(line, [along] if along else [])
            middle = [
                [np.mean([r[n] for r in near]) for n in ("rate", "distortion")]
                for near in groups.values()
            ]
            means.append((list(groups), middle))
            panel.plot(*np.transpose(middle), color=colour, lw=1)
    panel.margins(0.07)
    panel.set_xlabel("rate, KL(q(z|x) || p(z)) (nats)", fontsize=9)
    panel.set_ylabel("distortion, E[-log p(x|z)] (nats)", fontsize=9)
    notes = ["test split, a point a run"]
    if along:
        notes.append(f"means over seeds joined along {along}")
    if means:
        _equal_elbo(panel, [r for r in rows if np.isfinite(r["elbo"])])
        if along:
            _numbered(panel, *max(means, key=lambda m: np.ptp(m[1], axis=0).sum()))
            notes[-1] += " (italic)"
        notes[-1] += "\ngrey: equal ELBO (nats)"
    else:
        notes = ["all runs diverged"]
    sheet.caption(figure, "; ".join(notes) + f"; {sheet.source(rows)}")
    if means and axis:
        figure.legend(fontsize=8, loc="outside right center")
    return figure


def _ordered(rows, name):
    return all(isinstance(row[name], (int, float)) for row in rows)


def _grouped(rows, names):
    """{values of the columns: rows}, in order where they are numbers."""
    if all(_ordered(rows, name) for name in names):
        rows = sorted(rows, key=lambda row: [row[name] for name in names])
    found = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return found


def _numbered(panel, names, points):
    """The values that a line is joined along, beside its points."""
    for (name,), point in zip(names, points):
        panel.annotate(
            f"{name}",
            point,
            xytext=(-4, -4),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=7,
            style="italic",
        )


def _equal_elbo(panel, rows):
    """Lines of equal rate + distortion, each with its ELBO where it is farthest from the points."""
    from matplotlib.ticker import MaxNLocator

    (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
    corner, size = np.array([left, low]), np.array([right - left, high - low])
    points = np.array([[r["rate"], r["distortion"]] for r in rows])
    points = (points - corner) / size
    place = {"fontsize": 6.5, "color": "0.35", "ha": "center", "va": "center"}
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


def cells(rows, down, across, name):
    """Means over the runs of each pair of values, [values of down, values of across]; NaN of none."""
    ys, xs = sheet.values(rows, down), sheet.values(rows, across)
    table = np.full((len(ys), len(xs)), np.nan)
    for i, j in np.ndindex(table.shape):
        own = [r[name] for r in rows if (r[down], r[across]) == (ys[i], xs[j])]
        own = [value for value in own if value is not None and np.isfinite(value)]
        table[i, j] = np.mean(own) if own else np.nan
    return table


def heat_map(rows, axes, measure):
    """Test ELBO (or distortion) and active units over two swept axes, a number in every cell.

    Means over seeds, and over what else is swept, of `rows` of which none diverged.
    """
    down, across = (("latent", "beta") if {"latent", "beta"} <= {*axes} else axes)[:2]
    titles = {
        measure: f"test {'ELBO' if measure == 'elbo' else measure} (nats)",
        "active_units": "active units",
    }
    tables = {name: cells(rows, down, across, name) for name in titles}
    tables = {n: table for n, table in tables.items() if np.isfinite(table).any()}
    ys, xs = sheet.values(rows, down), sheet.values(rows, across)
    width = 0.62 * len(xs) + 0.9
    figure, panels = sheet.canvas(1, len(tables), width, 0.4 * len(ys) + 1.2)
    for (name, table), panel in zip(tables.items(), panels[0]):
        low = 0 if name == "active_units" else np.nanmin(table)
        high = np.nanmax(table)
        shown = panel.imshow(table, cmap="cividis", vmin=low, vmax=high, aspect="auto")
        for (i, j), value in np.ndenumerate(table):
            dark = np.isfinite(value) and np.mean(shown.cmap(shown.norm(value))[:3])
            text = sheet.number(value, 2 if abs(value) < 1000 else 0)
            text = text if np.isfinite(value) else "–"
            colour = "white" if np.isfinite(value) and dark < 0.5 else "black"
            place = {"ha": "center", "va": "center", "fontsize": 8, "color": colour}
            panel.text(j, i, text, **place)
        panel.set_xticks(range(len(xs)), xs)
        panel.set_yticks(range(len(ys)), ys)
        panel.tick_params(length=0)
        panel.set_xlabel(across, fontsize=9)
        panel.set_title(titles[name], fontsize=9)
    panels[0, 0].set_ylabel(down, fontsize=9)
    over = ["seeds", *(axis for axis in axes if axis not in (down, across))]
    sheet.caption(figure, f"mean over {', '.join(over)}\n{sheet.source(rows)}")
    return figure
