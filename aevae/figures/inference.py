"""The figure of the inference gap: how far below log p(x) the bound is, and why."""

import textwrap

import numpy as np

from aevae.figures import contract, sheet

PANELS = 8  # at most
PARTS = {  # of the gap, from below, and their gray levels
    "approximation_gap": ("approximation (family of q)", "0.25"),
    "amortization_gap": ("amortization (one encoder)", "0.7"),
}
SPLITS = {"": "test", "train_": "train"}  # the columns' prefixes


@contract.of_tables(contract.GAPS)
def inference_gap(tables):
    """Draws log p(x) - ELBO as a bar of two parts, approximation below amortization; nats.

    Cremer et al. (2018). A bar is a mean over seeds, a dot a run; a panel is a point of what else
    was swept. Where training examples were measured, too, theirs are the hatched bars.
    """
    rows = [row for row in tables.results if row.get("inference_gap") is not None]
    axis = "beta" if "beta" in tables.axes else next(iter(tables.axes), None)
    others = [name for name in tables.axes if name != axis]
    shown, left = sheet.selected(rows, others, PANELS, axis)
    columns = min(sheet.across(1.6), len(shown))
    down, found = (
        -(-len(shown) // columns),
        sheet.values(rows, axis) if axis else [None],
    )
    width = max(1.6, 0.6 + 0.26 * len(found)) if columns > 1 else 3.25
    figure, panels = sheet.canvas(down, columns, width, 2.1, sharey=True)
    for panel in panels.flat[len(shown) :]:
        panel.set_axis_off()
    splits = [p for p in SPLITS if any(f"{p}inference_gap" in row for row in rows)]
    splits = [
        p for p in splits if any(row[f"{p}inference_gap"] is not None for row in rows)
    ]
    counts = set()
    for (point, here), panel in zip(shown.items(), panels.flat):
        for i, value in enumerate(found):
            own = [row for row in here if axis is None or row[axis] == value]
            if own:
                counts.add(len(own))
            for j, prefix in enumerate(splits):
                bar(panel, i + (j - (len(splits) - 1) / 2) * 0.4, own, prefix, splits)
        labels = [sheet.short(v) for v in found] if axis else [""]
        panel.set_xticks(range(len(found)), labels)
        panel.set_xlabel(axis or "")
        panel.axhline(0, color="0.3", lw=0.6)
        panel.set_title(textwrap.fill(sheet.named(others, point), 27))
        panel.grid(axis="y", alpha=0.25)
        panel.set_axisbelow(True)
    for panel in panels[:, 0]:
        panel.set_ylabel("log p(x) − ELBO (nats)")
    sheet.legend(figure, handles(splits))
    many = (
        f"mean over {sheet.seeds(counts)}, a dot a run"
        if max(counts) > 1
        else "a bar a run"
    )
    examples = sorted({int(row["gap_examples"]) for row in rows})
    of = " or ".join(f"{n:,}" for n in examples)
    notes = "; ".join([f"log p(x) − ELBO; {of} test examples; {many}", *left])
    sheet.caption(figure, f"{notes}\n{sheet.source(rows)}")
    return figure


def bar(panel, x, rows, prefix="", splits=("",)):
    """Draws a bar of two parts, the mean of rows, and a dot for each row."""
    rows = [row for row in rows if row.get(f"{prefix}inference_gap") is not None]
    foot = 0.0
    for name, (_, color) in PARTS.items():
        if not rows:
            return
        height = np.mean([row[prefix + name] for row in rows])
        look = {"hatch": "////", "edgecolor": "white"} if prefix else {}
        width = 0.38 if len(splits) > 1 else 0.6
        panel.bar(x, height, width, bottom=foot, color=color, lw=0, **look)
        foot += max(height, 0.0)
    if len(rows) > 1:
        gaps = [row[f"{prefix}inference_gap"] for row in rows]
        panel.scatter([x] * len(gaps), gaps, s=8, color="#cc3311", lw=0, zorder=3)


def handles(splits):
    """Handles of a legend for the parts, and for the splits where there are two."""
    from matplotlib.patches import Patch

    found = [Patch(color=color, label=label) for label, color in PARTS.values()][::-1]
    if len(splits) > 1:
        found += [
            Patch(
                facecolor="0.5",
                hatch="////" if p else "",
                edgecolor="white",
                label=name,
            )
            for p, name in SPLITS.items()
        ]
    return found
