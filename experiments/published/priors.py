"""Standard prior and VampPrior, Tomczak and Welling (2018), table 1; and the VAE of flax's example."""

import numpy as np

from aevae.figures import sheet
from experiments.published.job import Fact, Outcome, Row

FULL, IMAGES = 2000, 50_000
TABLE = {  # test log p(x)
    ("standard", "stochastic"): -84.50,
    ("standard", "fixed"): -88.56,
    ("vamp", "stochastic"): -82.38,
    ("vamp", "fixed"): -85.57,
}
NAMES = {"standard": "standard prior", "vamp": "VampPrior"}
KINDS = {"stochastic": "dynamic", "fixed": "static"}
TOLERANCE = 0.5


def table1(job):
    """log p(x) of two priors on two binarisations, and flax's ELBO after 10 epochs."""
    found, runs = {}, {}
    for part in NAMES:
        runs[part] = job.train(part, f"configs/priors.py:{part}", FULL, share=0.48)
        ended = all(row["epochs"] < runs[part].epochs for row in runs[part].rows)
        full = runs[part].complete or ended
        k = 5000 if full else 500
        for row in job.evaluate(runs[part], "likelihood", k=k):
            found[part, row["binarization"]] = row[f"iwae_{k}"], full
    rows = []
    for (part, kind), published in TABLE.items():
        value, full = found[part, kind]
        what = f"{NAMES[part]}, {KINDS[kind]} MNIST: log p(x)"
        tolerance = TOLERANCE if full else None
        rows.append(Row(what, published, value, tolerance, 1, True))
    flax = job.train("flax", "configs/priors.py:flax", 10, share=0.04)
    if flax.complete:
        (row,) = flax.rows
        what = "VAE of flax's example, static MNIST: ELBO after 10 epochs"
        rows.append(Row(what, -104.0, row["elbo"], 1.0, 1, True))
    better = [found["vamp", kind][0] > found["standard", kind][0] for kind in KINDS]
    worse = [found[part, "fixed"][0] < found[part, "stochastic"][0] for part in NAMES]
    facts = [
        Fact("VampPrior is above the standard prior on both", all(better)),
        Fact("static is below dynamic with both priors", all(worse)),
    ]
    seen = " and ".join(f"{r.samples // IMAGES:,}" for r in runs.values())
    note = f"at most {seen} epochs, standard prior and VampPrior"
    samples = min(r.samples for r in runs.values())
    return Outcome(rows, facts, samples, FULL * IMAGES, figure(runs), note)


def figure(runs):
    """Validation and training ELBO against images seen."""
    figure, panels = sheet.canvas(1, 2, 3.4, 3.0, sharey=True)
    colours = sheet.colours(list(runs))
    least = []
    for panel, kind in zip(panels[0], KINDS):
        for part, trained in runs.items():
            own = [r for r in trained.curves if r["binarization"] == kind]
            for split, style in (("train", "--"), ("validation", "-")):
                pairs = [(r["samples"], r[f"{split}_elbo"]) for r in own]
                pairs = np.array([p for p in pairs if p[1] is not None], float)
                label = f"{NAMES[part]}, {split}"
                panel.plot(*pairs.T, style, color=colours[part], label=label)
                least += [*pairs[len(pairs) // 20 :, 1]]
        panel.set_xscale("log")
        sheet.log_ticks(panel.xaxis)
        panel.set_title(f"{KINDS[kind]} MNIST", fontsize=9)
        panel.grid(alpha=0.25)
    panels[0, 0].set_ylim(max(min(least), -130) - 1, max(least) + 1)
    panels[0, 0].set_ylabel("ELBO at beta = 1 (nats)", fontsize=8)
    panels[0, 1].legend(fontsize=7)
    figure.supxlabel("training images seen", fontsize=9)
    sheet.caption(figure, "Tomczak and Welling (2018): gated layers of 300, 40 latents")
    return figure
