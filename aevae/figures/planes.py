"""Figures over the grid of a folder: the rate-distortion plane, and heat maps."""

import numpy as np

from aevae.figures import contract, sheet


@contract.of_tables(contract.BOUNDED)
def rate_distortion(tables):
    """Draws every run as a point of the rate-distortion plane, with lines of equal ELBO.

    elbo = -(rate + distortion).

    The means over seeds are joined along beta, or another swept number; a color and a marker are a
    latent size, or another swept value. What else is swept makes lines of its own.
    """
    rows, axes = tables.bounded, tables.axes
    figure, ((panel,),) = sheet.canvas(1, 1, 5.6, 3.8)
    along = "beta" if "beta" in axes else None
    axis = "latent" if "latent" in axes else next((a for a in axes if a != along), None)
    if along is None:
        numbers = [a for a in axes if a != axis and _ordered(rows, a)]
        along = numbers[0] if numbers else None
    others = [a for a in axes if a not in (axis, along)]
    found = sheet.values(rows, axis) if axis else [None]
    colors, means = sheet.colors(found), []
    for i, (value, color) in enumerate(colors.items()):
        own = [r for r in rows if axis is None or r[axis] == value]
        own = [r for r in own if np.isfinite(r["elbo"])]
        look = {"color": color, "marker": sheet.MARKERS[i % len(sheet.MARKERS)]}
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
            panel.plot(*np.transpose(middle), color=color, lw=1)
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
        notes[-1] += "\ngray: equal ELBO (nats)"
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
    """Averages a column over the runs of each pair of values: [down, across], NaN where none is."""
    ys, xs = sheet.values(rows, down), sheet.values(rows, across)
    table = np.full((len(ys), len(xs)), np.nan)
    for i, j in np.ndindex(table.shape):
        own = [r[name] for r in rows if (r[down], r[across]) == (ys[i], xs[j])]
        own = [value for value in own if value is not None and np.isfinite(value)]
        table[i, j] = np.mean(own) if own else np.nan
    return table


@contract.of_tables(contract.TWO_AXES, contract.SOUND)
def heat_map(tables):
    """Draws test ELBO (or distortion) and active units over two swept axes, a number in each cell.

    Means over seeds, and over what else is swept, of the runs that have not diverged.
    """
    rows, axes, measure = tables.sound, tables.axes, tables.measure
    down, across = (("latent", "beta") if {"latent", "beta"} <= {*axes} else axes)[:2]
    titles = {
        measure: f"test {'ELBO' if measure == 'elbo' else measure} (nats)",
        "active_units": "active units",
    }
    shown = {name: cells(rows, down, across, name) for name in titles}
    shown = {n: table for n, table in shown.items() if np.isfinite(table).any()}
    ys, xs = sheet.values(rows, down), sheet.values(rows, across)
    width = 0.62 * len(xs) + 0.9
    figure, panels = sheet.canvas(1, len(shown), width, 0.4 * len(ys) + 1.2)
    for (name, table), panel in zip(shown.items(), panels[0]):
        low = 0 if name == "active_units" else np.nanmin(table)
        high = np.nanmax(table)
        image = panel.imshow(table, cmap="cividis", vmin=low, vmax=high, aspect="auto")
        for (i, j), value in np.ndenumerate(table):
            dark = np.isfinite(value) and np.mean(image.cmap(image.norm(value))[:3])
            text = sheet.number(value, 2 if abs(value) < 1000 else 0)
            text = text if np.isfinite(value) else "–"
            color = "white" if np.isfinite(value) and dark < 0.5 else "black"
            place = {"ha": "center", "va": "center", "fontsize": 8, "color": color}
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
