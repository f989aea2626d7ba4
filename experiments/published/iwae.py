"""Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders: table 1, MNIST."""

import numpy as np

from aevae.figures import sheet
from experiments.published import draw
from experiments.published.job import SAMPLES, Fact, Outcome, Part, Row

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
TOLERANCE, UNITS = 0.4, 2.0
PARTS = {  # by stochastic layers; two of them with a smaller grid
    1: Part("configs/iwae.py:one_layer"),
    2: Part("configs/iwae.py:two_layers", [{"m": 1, "k": (1, 5)}]),
}


def table1(job):
    """Table 1: log p(x) and active units of VAE and IWAE with K samples, one and two stochastic layers."""
    names = {layers: part.base.partition(":")[2] for layers, part in PARTS.items()}
    parts = {names[layers]: part for layers, part in PARTS.items()}
    trained, found = job.train(FULL, parts), {}
    complete = all(runs.complete for runs in trained.values())
    k = SAMPLES[complete]
    for layers, name in names.items():
        runs = trained[name].must_not_diverge()
        for row in job.evaluate(runs, "likelihood", k=k):
            method = "IWAE" if row["k"] > 1 else "VAE"
            key = layers, method, max(row["k"], row.get("m", 1))
            found[key] = row[f"iwae_{k}"], row["active_units"]
    rows = []
    for key, (published, units) in TABLE.items():
        what = f"{key[1]}, K = {key[2]}, {key[0]} stochastic layer{'s'[: key[0] - 1]}"
        value, active = found[key]
        near, few = (TOLERANCE, UNITS) if complete else (None, None)
        rows.append(Row(f"{what}: log p(x)", published, value, near, 1, True))
        if units is not None:
            rows.append(Row(f"{what}: active units", units, active, few))
    one = trained[names[1]]
    note = f"{one.epochs:,} of {FULL:,} passes; log p(x) by {k} importance samples"
    counts = one.samples, FULL * IMAGES, complete
    return Outcome(rows, _facts(found), *counts, figure(one), note)


def _facts(found):
    one = [found[1, name, k] for name, k in (("VAE", 1), ("IWAE", 5), ("IWAE", 50))]
    value, units = np.array(one).T
    values = ", ".join(f"{v:.2f}" for v in value)
    counted = ", ".join(f"{u:.0f}" for u in units)
    pairs = [found[1, "IWAE", k][0] > found[1, "VAE", k][0] for k in (5, 50)]
    both = [(name, k) for layers, name, k in found if layers == 2]
    two = [found[2, name, k][0] > found[1, name, k][0] for name, k in both]
    return [
        Fact(f"IWAE's log p(x) rises with K = 1, 5, 50 ({values})", _rises(value)),
        Fact(f"and so do its active units ({counted})", _rises(units)),
        Fact("IWAE is above the VAE with as many samples, K = 5 and 50", all(pairs)),
        Fact("two layers are above one, VAE and IWAE of K = 5", all(two)),
    ]


def _rises(values):
    return bool((np.diff(values) > 0).all())


def figure(runs):
    """The single-sample ELBO and the bound that is trained, against images seen, one layer."""
    points = list(dict.fromkeys((row["m"], row["k"]) for row in runs.curves))
    colors, lines = sheet.colors(points), []
    for m, k in points:
        name = f"IWAE, K = {k}" if k > 1 else f"VAE, K = {m}"
        for panel, measure in enumerate(("test_elbo", "test_iwae")):
            curve = draw.curve(runs.curves, measure, m=m, k=k)
            lines.append((panel, name, ".-", colors[m, k], 1.2, curve))
    titles = "ELBO", "bound that is trained"
    note = "Burda et al. (2016): MNIST, stochastic binarization, one stochastic layer"
    return draw.panels(titles, lines, "test split (nats)", note)[0]
