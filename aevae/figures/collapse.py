"""The figure of posterior collapse: how many latents are left at each beta, and the rate of each."""

import textwrap

import numpy as np

from aevae.evaluation.collapse import ALIVE, KINDS, deaths, is_used
from aevae.figures import contract, sheet

PANELS = 4  # columns at most
TICKS = 9  # of beta at most
LOOKS = {  # of the counts: style and color
    f"rate above {ALIVE} nats": ("o-", "black"),
    **dict(zip(KINDS, (("x:", "0.5"), ("s:", "#aa4499"), ("^:", "#117733")))),
    "used by the decoder": ("D--", "#332288"),
}


@contract.of_tables(contract.BETAS, contract.LATENT_RATES)
def collapse(tables):
    """Draws the number of latents of each kind against beta, and below it the rate of each latent.

    Latents have no names across runs: they are told by their place in the order of rates. Means
    over seeds; a tick on the axis of rates is where `evaluation.collapse.deaths` says that a latent
    collapses. A column is a point of what else was swept.
    """
    from matplotlib.ticker import NullLocator

    rows = [row for row in tables.latents if row["rate"] is not None]
    others = [name for name in tables.axes if name != "beta"]
    shown, left = sheet.selected(rows, others, PANELS, "beta")
    width = 6.75 / len(shown) if len(shown) > 1 else 3.25
    figure, panels = sheet.canvas(
        2, len(shown), min(width, 3.3), 1.9, sharex=True, sharey="row"
    )
    betas, counts = sheet.values(rows, "beta"), set()
    for (point, own), (above, below) in zip(shown.items(), panels.T):
        of_betas = {
            beta: _runs(here) for (beta,), here in sheet.grouped(own, ["beta"]).items()
        }
        counts |= {len(runs) for runs in of_betas.values()}
        _counts(above, of_betas)
        _rates(below, of_betas)
        above.set_title(textwrap.fill(sheet.named(others, point), 27))
        below.set_xlabel("beta")
        for panel in (above, below):
            _scale(panel, betas)
            panel.grid(alpha=0.25)
    betas = betas[:: -(-len(betas) // TICKS)]
    for panel in panels[1]:
        panel.set_xticks(betas, [f"{beta:g}" for beta in betas])
        panel.xaxis.set_minor_locator(NullLocator())
    panels[0, 0].set_ylim(bottom=-0.2)
    panels[0, 0].yaxis.get_major_locator().set_params(integer=True)
    panels[0, 0].set_ylabel("latents")
    panels[1, 0].set_ylim(bottom=0)
    panels[1, 0].set_ylabel("rate of each (nats)")
    handles = {h.get_label(): h for h in panels[0, 0].get_lines()}
    sheet.legend(figure, [*handles.values()])
    many = f"means over {sheet.seeds(counts)}" if max(counts) > 1 else "one seed"
    notes = [f"test split; {many}; latents by their place in the order of rates"]
    notes += ["ticks: where each collapses", *left]
    used = [row for row in tables.results if row["run"] in {r["run"] for r in rows}]
    sheet.caption(
        figure,
        "Latents of each kind, and the rate of each; "
        + "; ".join(notes)
        + f"\n{sheet.source(used)}",
    )
    return figure


def _scale(panel, betas):
    """A logarithmic axis; with beta = 0 on it, linear up to the first beta above it."""
    if min(betas) > 0:
        panel.set_xscale("log")
    else:
        first = min((beta for beta in betas if beta > 0), default=1.0)
        panel.set_xscale("symlog", linthresh=first, linscale=0.5)


def _runs(rows):
    """The rows of each run."""
    return [*sheet.grouped(rows, ["run"]).values()]


def _counts(panel, of_betas):
    """A line for each count of which there is something in latents.csv, means over runs."""
    tests = [lambda row: row["rate"] > ALIVE]
    for kind in range(len(KINDS)):
        tests.append(lambda row, kind=kind: row["kind"] == kind)
    used = "used_permuted", "used_permuted_error"
    tests.append(lambda row: is_used(*map(row.get, used)))
    columns = "rate", *["kind"] * len(KINDS), "used_permuted"
    for (label, (style, color)), test, column in zip(LOOKS.items(), tests, columns):
        found = {}
        for beta, runs in of_betas.items():
            runs = [own for own in runs if own[0].get(column) is not None]
            if runs:
                found[beta] = np.mean([sum(map(test, own)) for own in runs])
        if found:
            panel.plot(*zip(*found.items()), style, color=color, lw=1, label=label)


def _rates(panel, of_betas):
    """The rate of each latent along beta, dark the highest, and where it collapses."""
    rates = {
        b: np.array([[r["rate"] for r in own] for own in runs])
        for b, runs in of_betas.items()
    }
    means = {beta: np.sort(own, axis=1)[:, ::-1].mean(0) for beta, own in rates.items()}
    colors = sheet.colors(range(len(next(iter(means.values())))))
    for rank, color in colors.items():
        y = [own[rank] for own in means.values()]
        panel.plot([*means], y, "o-", color=color, lw=0.9, ms=2)
    for death in deaths(rates):
        if death.estimate is not None:
            panel.axvline(
                death.estimate, ymax=0.06, color=colors[death.rank - 1], lw=1.5
            )
