"""Figures of trained runs: what they make of test examples, of their codes and of the prior."""

import textwrap

import numpy as np

from aevae.figures import contract, looks, sheet, strips
from aevae.figures.views import (
    CHARTED,
    GRID,
    INTERPOLATED,
    LATENTS,
    MOVES,
    PAIRS,
    REACH,
    STEPS,
    TRAVERSED,
    quantiles,
    span,
)
from aevae.models.distributions import is_standard
from aevae.training import bounds

STRIPS = 24  # rows of traversals and of interpolations in a figure at most


def _note(views, whose):
    """What is decoded beside the code, where the models need it."""
    names = dict.fromkeys(name for view in views for name in view.given)
    return f"; given the {' and '.join(names)} of {whose}" if names else ""


def _source(views):
    return sheet.source([view.run.row for view in views])


def tiled(views, rows, title, heads=None, ticks=()):
    """The rows as `strips.tiles` has them, on the scale of the data.

    Pictures are black and white at the ends of `views.span`; columns of a table that was standardized
    are shown in their deviations, since on one scale only the largest would be seen.
    """
    spans = [span(view.run) for view in views]
    scalings = [view.run.scaling for view in views if view.run.scaling is not None]
    if scalings and np.ndim(rows[0][1]) == 2:
        rows = [(label, scalings[0].standardize(v)) for label, v in rows]
        title += "\neach value less its mean in training, in standard deviations"
    ends = min(low for low, _ in spans), max(high for _, high in spans)
    return strips.tiles(rows, title, heads, ticks, ends)


@contract.of_runs()
def reconstructions(views):
    """Shows, of each run, the test examples above their reconstructions from the mean code."""
    rows, before = [], None
    for view in views:
        images = view.run.examples["image"]
        if before is None or not np.array_equal(images, before):
            rows.append(("test", images))
        before = images
        label = view.described("\n")
        rows.append((label, view.images["reconstructions"]))
    title = "test examples and their reconstructions from the mean code, best runs"
    return tiled(views, rows, f"{title}\n{_source(views)}")


@contract.of_runs(contract.SAMPLED)
def samples(views):
    """Shows the mean images of codes drawn from the prior, and from fitted ones, a row a prior.

    All runs are shown, or the best one alone where they would be too much for a page.
    """
    if sum(1 + len(view.fitted) for view in views) > STRIPS:
        views = [max(views, key=lambda view: bounds.criterion(view.run.row))]
    rows = []
    for view in views:
        named = {"samples": "N(0, I)" if is_standard(view.prior) else "own prior"}
        named |= {f"samples:{name}": name for name in view.fitted}
        for piece, name in named.items():
            if piece in view.images:
                rows.append((f"{view.described(chr(10))}\n{name}", view.images[piece]))
    title = "mean images of codes drawn from the prior that is named, best runs"
    title += _note(views, "the test examples")
    return tiled(views, rows, f"{title}\n{_source(views)}")


@contract.of_runs(*INTERPOLATED)
def interpolations(views):
    """Shows decoded lines between the mean codes of two test examples, which are at the ends."""
    pairs = PAIRS if PAIRS * len(views) <= STRIPS else 1
    rows, heads = [], {}
    for view in views:
        heads[len(rows)] = view.described(", ")
        rows += [("", strip) for strip in between(view)[:pairs]]
    ticks = ["test", *_shares(), "test"]
    title = (
        "between the codes of two test examples (outermost), a straight line decoded"
    )
    return tiled(views, rows, f"{title}, best runs\n{_source(views)}", heads, ticks)


def between(view):
    """Puts each decoded line between its two test examples, [pairs, 1 + STEPS + 1, ...]."""
    images = view.images["interpolations"]
    images = images.reshape(-1, STEPS, *images.shape[1:])
    ends = view.run.examples["image"][: 2 * len(images)]
    ends = ends.reshape(-1, 2, *ends.shape[1:])
    return np.concatenate([ends[:, :1], images, ends[:, 1:]], axis=1)


def _shares():
    return [f"{t:.2g}" for t in np.linspace(0, 1, STEPS)]


@contract.of_runs(*TRAVERSED)
def traversals(views):
    """Shows one latent at a time moved through the prior, in the order of their rates.

    All runs are shown, or the best one alone where they would be too much for a page.
    """
    if sum(min(len(view.rates), LATENTS) for view in views) > STRIPS:
        views = [max(views, key=lambda view: bounds.criterion(view.run.row))]
    rows, heads = [], {}
    for view in views:
        images = view.images["traversals"]
        found = images.reshape(-1, MOVES, *images.shape[1:])
        heads[len(rows)] = view.described(", ")
        if len(found) < len(view.rates):
            most = f": the {len(found)} of {len(view.rates)} latents of most rate"
            heads[len(rows)] += most
        for latent, strip in zip(view.order, found):
            label = f"z{latent + 1}, {view.rates[latent]:.2f} nats"
            rows.append((label, strip))
    ticks = [sheet.number(t, 1) for t in np.linspace(-REACH, REACH, MOVES)]
    title = (
        "one latent at a time, in standard deviations of the prior; the others as in the code of a "
        "test example"
    )
    title += _note(views, "that example")
    rate = "beside each its rate, mean over " + _counted(views)
    return tiled(views, rows, f"{title}; {rate}\n{_source(views)}", heads, ticks)


def _counted(views):
    counts = sorted({len(view.code) for view in views})
    return f"{' or '.join(f'{n:,}' for n in counts)} test examples"


@contract.of_runs(contract.BOUND, contract.VECTORS, contract.RATES)
def rates(views):
    """Shows the rate of every latent in nats, sorted, a panel a run."""
    columns = min(sheet.across(1.6), len(views))
    down = -(-len(views) // columns)
    size = 6.75 / columns if columns > 2 else 3.25 / columns, 1.7
    figure, panels = sheet.canvas(down, columns, *size, sharey=True)
    for panel in panels.flat[len(views) :]:
        panel.set_axis_off()
    for view, panel in zip(views, panels.flat):
        found = view.rates[view.order]
        panel.bar(range(len(found)), found, color="0.4", width=0.8)
        few = len(found) <= 20
        marks = [f"z{latent + 1}" for latent in view.order] if few else []
        rotation = 90 if len(found) > 9 else 0
        panel.set_xticks(range(len(marks)), marks, fontsize="small", rotation=rotation)
        panel.set_xlim(-0.7, max(len(found), 4) - 0.3)
        head = textwrap.fill(view.described(", "), 24)
        panel.set_title(f"{head}\nsum {found.sum():.2f} nats")
        panel.grid(axis="y", alpha=0.25)
        panel.set_axisbelow(True)
    figure.supxlabel("latents by rate")
    figure.supylabel("rate (nats)")
    title = f"rate of each latent, mean over {_counted(views)}, best runs"
    sheet.caption(figure, f"{title}\n{_source(views)}")
    return figure


@contract.of_runs(*CHARTED)
def manifold(views):
    """Shows mean images on a grid of the prior's quantiles: Kingma and Welling (2014), figure 4."""
    view = views[0]
    figure, ((panel,),) = sheet.canvas(1, 1, 3.25, 3.2)
    ends = span(view.run)
    images = strips.leveled(view.images["manifold"], ends)
    height, width, depth = images.shape[1:]
    whole = images.reshape(GRID, GRID, height, width, depth).transpose(0, 2, 1, 3, 4)
    whole = whole.reshape(GRID * height, GRID * width, depth)
    whole = whole if depth == 3 else whole[..., 0]
    panel.imshow(
        whole, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto"
    )
    at = quantiles(view.prior, GRID).reshape(GRID, GRID, 2)
    marked = range(0, GRID, 5)
    x, y = at[0, :, 0], at[:, 0, 1]
    across, down = ([(i + 0.5) * n - 0.5 for i in marked] for n in (width, height))
    for line, step in ((panel.axvline, width), (panel.axhline, height)):
        for i in range(1, GRID):
            line(step * i - 0.5, color="0.5", lw=0.2)
    panel.set_xticks(across, [sheet.number(x[i], 2) for i in marked])
    panel.set_yticks(down, [sheet.number(y[i], 2) for i in marked])
    panel.set_xlabel("z1")
    panel.set_ylabel("z2")
    title = f"decoder's mean at the prior's quantiles; {view.described(', ')}"
    title += _note([view], "the first test example")
    sheet.caption(figure, f"{title}\n{_source([view])}{strips.ends(ends)}")
    return figure


@contract.of_runs(contract.VECTORS, contract.TWO_LATENTS, contract.TEST_DATA)
def codes(views):
    """Shows the mean codes of test examples with two latents, each marked by its label."""
    view = views[0]
    figure, ((panel,),) = sheet.canvas(1, 1, 3.25, 2.7)
    code, label = view.code, view.labels
    classes = [] if label is None else sorted(set(label.tolist()))
    names = dict(enumerate(sheet.drawn(view.classes)))
    size = (14 if len(code) <= 1000 else 5) * looks.current().letters ** 2
    look = {"linewidths": 0, "alpha": 0.85, "rasterized": len(code) > 1000}
    if label is None:
        panel.scatter(*code.T, s=size / 2, color="0.2", **look)
    elif len(classes) <= len(sheet.CLASSES):
        for kind, color in zip(classes, sheet.CLASSES):
            own = code[label == kind]
            panel.scatter(
                *own.T,
                s=size,
                color=color,
                marker=rf"$\mathbf{{{kind}}}$",
                label=names.get(kind, kind),
                **look,
            )
        figure.legend(title="label", loc="outside right center", handletextpad=0.1)
    else:
        shown = panel.scatter(*code.T, s=size / 2, c=label, cmap="viridis", **look)
        figure.colorbar(shown, ax=panel, label="label")
    panel.set_aspect("equal", adjustable="datalim")
    panel.set_xlabel("z1")
    panel.set_ylabel("z2")
    panel.grid(alpha=0.25)
    title = f"mean codes of {len(code):,} test examples; {view.described(', ')}"
    sheet.caption(figure, f"{title}\n{_source([view])}")
    return figure
