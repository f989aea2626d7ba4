"""Tomczak and Welling (2018), VAE with a VampPrior: table 1, MNIST; and the VAE of flax's example."""

import dataclasses
from fractions import Fraction

from aevae import data
from experiments.published import shares
from experiments.published.job import Fact, Outcome, Part, Row, shown

FULL, IMAGES, SAMPLES = 2000, 50_000, 5000
FLAX = 10  # epochs of the whole schedule of flax's example
TABLE = {  # test log p(x)
    ("standard", "fixed"): -88.56,
    ("standard", "stochastic"): -84.50,
    ("vamp", "fixed"): -85.57,
    ("vamp", "stochastic"): -82.38,
}
NAMES = {"standard": "standard prior", "vamp": "VampPrior"}
KINDS = {"stochastic": "dynamic", "fixed": "static"}
POINTS = {f"{part}_{KINDS[kind]}": (part, kind) for part, kind in TABLE}
ROWS = {
    point: f"{NAMES[part]}, {KINDS[kind]}" for point, (part, kind) in POINTS.items()
}
TOLERANCE = 0.5
PREDICTED = {  # (point, share): log p(x) and its error, foretold from shares 1/160 to 1/20
    ("standard_static", Fraction(1, 10)): (-87.94, 0.36),
    ("standard_static", Fraction(1)): (-85.85, 0.90),
}


def table1(job):
    """log p(x) of two priors on two binarizations, by shares of the schedule, and flax's example."""
    parts = {
        name: Part(f"configs/priors.py:{part}", {"binarization": getattr(data, kind)})
        for name, (part, kind) in POINTS.items()
    }
    trained, found, rows = job.ends(FULL, parts), {}, []
    for (name, share), runs in trained.items():
        (row,) = job.evaluate(runs.must_not_diverge(), "likelihood", k=SAMPLES)
        found[name, share] = row[f"iwae_{SAMPLES}"]
        part, kind = POINTS[name]
        what = f"{ROWS[name]} MNIST, {shown(share)}: log p(x)"
        near = TOLERANCE if share == 1 else None
        foretold = PREDICTED.get((name, share))
        own = TABLE[part, kind], found[name, share], near, 1, True, foretold
        rows.append(Row(what, *own))
    own = {"shares": (Fraction(1),), "points": ("flax",)}
    part = {"flax": Part("configs/priors.py:flax")}
    (flax,) = dataclasses.replace(job, **own).ends(FLAX, part).values()
    flax.must_not_diverge()
    what = f"VAE of flax's example, static MNIST: ELBO after {FLAX} epochs"
    rows.append(Row(what, -104.0, flax.rows[0]["elbo"], 1.0, 1, True))
    most = max(share for _, share in trained)
    epochs = max(row["epochs"] for runs in trained.values() for row in runs.rows)
    note = f"at most {epochs:,} epochs; log p(x) by {SAMPLES:,} importance samples"
    note = "; ".join([note, *shares.sentences(found, PREDICTED, FULL, ROWS)])
    counts = epochs * IMAGES, FULL * IMAGES, most == 1
    return Outcome(rows, _facts(found), *counts, figure(trained, found), note)


def _facts(found):
    """What of the paper's order holds wherever both of a pair are trained by one share."""
    pairs = {
        "VampPrior is above the standard prior": [
            (f"vamp_{kind}", f"standard_{kind}") for kind in KINDS.values()
        ],
        "static is below dynamic": [
            (f"{part}_dynamic", f"{part}_static") for part in NAMES
        ],
    }
    facts = []
    for text, own in pairs.items():
        differences = [
            found[high, share] - found[low, share]
            for high, low in own
            for share in sorted({share for _, share in found})
            if {(high, share), (low, share)} <= {*found}
        ]
        if differences:
            by = ", ".join(f"{d:.2f}" for d in differences)
            facts.append(Fact(f"{text} (by {by})", min(differences) > 0))
    return facts


def figure(trained, found):
    """log p(x) by shares, beside the published, and the validation ELBO of one prior on the way there."""
    published = {point: TABLE[key] for point, key in POINTS.items()}
    numbers = found, published, PREDICTED
    note = "Tomczak and Welling (2018): MNIST, gated layers of 300, 40 latents"
    return shares.figure(trained, *numbers, ROWS, "validation_elbo", note)
