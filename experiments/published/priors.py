"""Tomczak and Welling (2018), VAE with a VampPrior: table 1, MNIST; and the VAE of flax's example."""

import dataclasses

from aevae.figures import sheet
from experiments.published import draw
from experiments.published.job import SAMPLES, Fact, Outcome, Part, Row

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
    """log p(x) of two priors on two binarizations, and the ELBO of flax's example after 10 epochs."""
    parts = {part: Part(f"configs/priors.py:{part}") for part in NAMES}
    trained, found = job.train(FULL, parts), {}
    complete = all(_ended(runs.must_not_diverge()) for runs in trained.values())
    k = SAMPLES[complete]
    for part, runs in trained.items():
        for row in job.evaluate(runs, "likelihood", k=k):
            found[part, row["binarization"]] = row[f"iwae_{k}"]
    rows = []
    for (part, kind), published in TABLE.items():
        what = f"{NAMES[part]}, {KINDS[kind]} MNIST: log p(x)"
        near = TOLERANCE if complete else None
        rows.append(Row(what, published, found[part, kind], near, 1, True))
    whole = dataclasses.replace(job, budget=float("inf"))  # its number is of 10 epochs
    flax = whole.train(10, {"flax": Part("configs/priors.py:flax")})["flax"]
    flax.must_not_diverge()
    what = "VAE of flax's example, static MNIST: ELBO after 10 epochs"
    rows.append(Row(what, -104.0, flax.rows[0]["elbo"], 1.0, 1, True))
    better = [found["vamp", kind] > found["standard", kind] for kind in KINDS]
    worse = [found[part, "fixed"] < found[part, "stochastic"] for part in NAMES]
    facts = [
        Fact("VampPrior is above the standard prior on both", all(better)),
        Fact("static is below dynamic with both priors", all(worse)),
    ]
    epochs = max(row["epochs"] for runs in trained.values() for row in runs.rows)
    note = f"at most {epochs:,} epochs; log p(x) by {k} importance samples"
    counts = epochs * IMAGES, FULL * IMAGES, complete
    return Outcome(rows, facts, *counts, figure(trained), note)


def _ended(runs):
    """Whether the whole schedule is trained, or validation has stopped every run before its end."""
    return runs.complete or all(row["epochs"] < runs.epochs for row in runs.rows)


def figure(trained):
    """Validation and training ELBO against images seen."""
    colors, lines = sheet.colors(list(trained)), []
    for part, runs in trained.items():
        for split, style in (("train", "--"), ("validation", "-")):
            for panel, kind in enumerate(KINDS):
                points = draw.curve(runs.curves, f"{split}_elbo", binarization=kind)
                name = f"{NAMES[part]}, {split}"
                lines.append((panel, name, style, colors[part], 1.2, points))
    titles = [f"{kind} MNIST" for kind in KINDS.values()]
    note = "Tomczak and Welling (2018): gated layers of 300, 40 latents"
    figure, axes = draw.panels(titles, lines, "ELBO at beta = 1 (nats)", note)
    axes[0].set_ylim(-125, -80)
    return figure
