"""Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders: table 1, MNIST."""

import numpy as np

from aevae.figures import sheet
from experiments.published.job import Fact, Outcome, Row

FULL, IMAGES = 3280, 60_000
TABLE = {  # (layers, method, K): test log p(x), active units of the first layer
    (1, "VAE", 1): (-86.76, 19),
    (1, "VAE", 5): (-86.47, 20),
    (1, "VAE", 50): (-86.35, 20),
    (1, "IWAE", 5): (-85.54, 22),
    (1, "IWAE", 50): (-84.78, 25),
    (2, "VAE", 1): (-85.33, None),
    (2, "IWAE", 5): (-83.89, None),
}
TOLERANCE = 0.4
TWO = [{"m": 1, "k": (1, 5)}]  # of two layers, these


def table1(job):
    """log p(x) and active units of VAE and IWAE with K samples, one and two stochastic layers."""
    rows, found, done = [], {}, []
    for layers, part, grid, share in (
        (1, "one_layer", None, 0.75),
        (2, "two_layers", TWO, 0.25),
    ):
        base = f"configs/iwae.py:{part}"
        runs = job.train(part, base, FULL, grid=grid, share=share)
        k = 5000 if runs.complete else 500
        for row in job.evaluate(runs, "likelihood", k=k):
            name = "IWAE" if row["k"] > 1 else "VAE"
            key = layers, name, max(row["k"], row.get("m", 1))
            found[key] = row[f"iwae_{k}"], row["active_units"]
        done.append(runs)
        if layers == 1:
            image = figure(runs)
    for key, (published, units) in TABLE.items():
        complete = done[key[0] - 1].complete
        what = f"{key[1]}, K = {key[2]}, {key[0]} stochastic layer{'s'[: key[0] - 1]}"
        tolerance = TOLERANCE if complete else None
        value, active = found[key]
        rows.append(Row(f"{what}: log p(x)", published, value, tolerance, 1, True))
        if units is not None:
            tolerance = 2 if complete else None
            rows.append(Row(f"{what}: active units", units, active, tolerance))
    seen = " and ".join(f"{runs.samples // IMAGES:,}" for runs in done)
    note = f"{seen} of {FULL:,} passes with one and two layers"
    samples = done[0].samples
    return Outcome(rows, _facts(found), samples, FULL * IMAGES, image, note)


def _facts(found):
    one = [found[1, name, k] for name, k in (("VAE", 1), ("IWAE", 5), ("IWAE", 50))]
    value, units = np.array(one).T
    told = ", ".join(f"{v:.2f}" for v in value)
    counted = ", ".join(f"{u:.0f}" for u in units)
    pairs = [found[1, "IWAE", k][0] > found[1, "VAE", k][0] for k in (5, 50)]
    two = [
        found[2, name, k][0] > found[1, name, k][0]
        for name, k in (("VAE", 1), ("IWAE", 5))
    ]
    return [
        Fact(f"IWAE's log p(x) rises with K = 1, 5, 50 ({told})", _rises(value)),
        Fact(f"and so do its active units ({counted})", _rises(units)),
        Fact("IWAE is above the VAE with as many samples, K = 5 and 50", all(pairs)),
        Fact("two layers are above one, VAE and IWAE of K = 5", all(two)),
    ]


def _rises(values):
    return bool((np.diff(values) > 0).all())


def figure(runs):
    """The single-sample ELBO and the bound that is trained, against images seen."""
    figure, panels = sheet.canvas(1, 2, 3.4, 3.0, sharey=True)
    points = list(dict.fromkeys((row["m"], row["k"]) for row in runs.curves))
    colours = sheet.colours(points)
    for panel, name, title in zip(
        panels[0],
        ("test_elbo", "test_iwae"),
        ("ELBO", "bound that is trained"),
    ):
        for m, k in points:
            own = [r for r in runs.curves if (r["m"], r["k"]) == (m, k)]
            pairs = [(r["samples"], r[name]) for r in own if r[name] is not None]
            label = f"IWAE, K = {k}" if k > 1 else f"VAE, K = {m}"
            panel.plot(*np.array(pairs).T, ".-", color=colours[m, k], label=label)
        panel.set_xscale("log")
        sheet.log_ticks(panel.xaxis)
        panel.set_title(title, fontsize=9)
        panel.grid(alpha=0.25)
    panels[0, 0].set_ylabel("test split (nats)", fontsize=8)
    panels[0, 1].legend(fontsize=7)
    figure.supxlabel("training images seen", fontsize=9)
    sheet.caption(
        figure,
        "Burda et al. (2016): MNIST, stochastic binarisation, one stochastic layer",
    )
    return figure
