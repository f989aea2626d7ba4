"""Curves against images seen, read from tables and drawn as the papers draw them."""

import numpy as np

from aevae.figures import sheet


def curve(table, name, **where):
    """A curve of curves.csv, (images, values) [2, T], of the rows whose columns are as `where` says."""
    own = [row for row in table if all(row[k] == v for k, v in where.items())]
    pairs = [(row["samples"], row[name]) for row in own if row[name] is not None]
    return np.array(pairs, float).reshape(-1, 2).T


def panels(titles, lines, label, note, width=3.4):
    """A figure of panels side by side; `lines` are (panel, label, style, color, width, (x, y))."""
    figure, axes = sheet.canvas(1, len(titles), width, 3.0, sharex=True, sharey=True)
    handles = {}
    for panel, name, style, color, thick, points in lines:
        options = {"color": color, "lw": thick, "label": name}
        (handles[name],) = axes[0, panel].plot(*points, style, **options)
    for panel, title in zip(axes[0], titles):
        panel.set_xscale("log")
        sheet.log_ticks(panel.xaxis)
        panel.set_title(title)
        panel.grid(alpha=0.25)
    axes[0, 0].set_ylabel(label)
    axes[0, len(titles) // 2].set_xlabel("training images seen")
    sheet.legend(figure, [*handles.values()])
    sheet.caption(figure, note)
    return figure, axes[0]
