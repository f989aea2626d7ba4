"""The figure of what a swept value changes: differences with their intervals, as `runs.paired` has them."""

import textwrap

from aevae.figures import sheet

PANELS = 6  # points of the other axes that a page shows
COLORS = {"paired t": "#332288", "Welch": "#cc6677"}
MARKERS = {"paired t": "o", "Welch": "s"}


def drawn(found):
    """Draws differences of several measures along one axis: a row of panels a measure, a panel a point.

    The base value is the line at 0. Paired intervals are dark dots, unpaired ones light squares; what
    is selected as the best has a star below it.

    Args:
      found: `runs.paired.Differences` of each measure.
    """
    by, others = found[0].by, found[0].others
    points = [tuple(row[n] for n in others) for row in found[0].rows]
    points = [*dict.fromkeys(points)]
    shown = points[:PANELS]
    width = max(1.6, 0.28 * len({_value(row, by) for row in found[0].rows}) + 0.7)
    size = max(width, 3.25 / len(shown)), 1.9
    figure, panels = sheet.canvas(len(found), len(shown), *size, sharey="row")
    kinds = {}
    for own, line in zip(found, panels):
        for point, panel in zip(shown, line):
            rows = [r for r in own.rows if tuple(r[n] for n in others) == point]
            _panel(panel, rows, by, kinds)
            title = textwrap.fill(sheet.named(others, point), int(15 * size[0]))
            panel.set_title(title)
        row = own.rows[0]
        label = f"{row['measure']} less that at {','.join(by)} {row['against']}"
        line[0].set_ylabel(textwrap.fill(label, 28))
    figure.supxlabel(", ".join(by))
    count = max(row.get("comparisons") or 0 for own in found for row in own.rows)
    notes = [
        f"differences with intervals that hold together with 95 % (Bonferroni, {count} a measure)"
        if count
        else "differences; one seed has no interval"
    ]
    if len(points) > PANELS:
        notes.append(f"{PANELS} of {len(points)} points: all are in paired.csv")
    if any(row["best"] for own in found for row in own.rows):
        notes.append("★ the best, as selected")
    sheet.caption(figure, "; ".join(notes))
    if len(kinds) > 1 or "Welch" in kinds:
        names = {"paired t": "paired by seed", "Welch": "unpaired"}
        handles = [(kinds[kind], names[kind]) for kind in kinds]
        figure.legend(*zip(*handles), loc="outside lower center", ncols=2)
    return figure


def _value(row, by):
    return ":".join("none" if row[n] is None else str(row[n]) for n in by)


def _panel(panel, rows, by, kinds):
    """The differences of a point, in the order of the table; `kinds` gets a handle of each test."""
    panel.axhline(0, color="0.5", lw=0.8)
    for place, row in enumerate(rows):
        if row["best"]:
            ground = panel.get_xaxis_transform()
            panel.plot(place, 0.05, "*", color="0.2", ms=7, transform=ground)
        if row.get("difference") is None:
            continue
        kind, half = row["test"], None
        if row["difference_high"] is not None:
            half = row["difference_high"] - row["difference"]
        look = {"color": COLORS[kind], "fmt": MARKERS[kind], "ms": 4, "capsize": 2.5}
        kinds[kind] = panel.errorbar(place, row["difference"], half, lw=1.3, **look)
    ticks = [_value(row, by) for row in rows]
    turned = {"rotation": 90} if max(map(len, ticks)) * len(ticks) > 24 else {}
    panel.set_xticks(range(len(rows)), ticks, **turned)
    panel.set_xlim(-0.6, len(rows) - 0.4)
    panel.margins(y=0.12)
    panel.grid(axis="y", alpha=0.25)
