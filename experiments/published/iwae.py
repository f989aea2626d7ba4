"""Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders: table 1, MNIST."""

from fractions import Fraction

import numpy as np

from experiments.published import shares
from experiments.published.job import Fact, Outcome, Part, Row, shown, whole_epochs

FULL, IMAGES, SAMPLES = 3280, 60_000, 5000
TABLE = {  # (layers, method, K): test log p(x), active units of the first layer
    (1, "VAE", 1): (-86.76, 19),
    (1, "VAE", 5): (-86.47, 20),
    (1, "VAE", 50): (-86.35, 20),
    (1, "IWAE", 5): (-85.54, 22),
    (1, "IWAE", 50): (-84.78, 25),
    (2, "VAE", 1): (-85.33, None),
    (2, "IWAE", 5): (-83.89, None),
}
POINTS = {  # by the names of --points
    f"{'two_layers_' * (layers - 1)}{method.lower()}_{k}": (layers, method, k)
    for layers, method, k in TABLE
}
NAMES = {
    point: f"{method}, K = {k}" + ", 2 layers" * (layers == 2)
    for point, (layers, method, k) in POINTS.items()
}
TOLERANCE, UNITS = 0.4, 2.0
# (point, share): log p(x) and its error, foretold from the smaller shares before that share was run
PREDICTED = {
    ("vae_1", Fraction(1, 10)): (-88.50, 0.14),  # from 1/160 to 1/20
    ("vae_1", Fraction(1, 3)): (-87.05, 0.24),  # from 1/160 to 1/10
    ("vae_1", Fraction(1)): (-86.30, 0.32),  # from 1/160 to 1/10
}


def table1(job):
    """Table 1: log p(x) and active units of VAE and IWAE with K samples, by shares of the schedule."""
    parts = {name: _part(*key) for name, key in POINTS.items()}
    trained, found, rows = job.ends(FULL, parts), {}, []
    for (name, share), runs in trained.items():
        asked = job.evaluate(runs.must_not_diverge(), "likelihood", k=SAMPLES)
        value, active = asked[0][f"iwae_{SAMPLES}"], asked[0]["active_units"]
        found[name, share] = value, active
        layers, method, k = key = POINTS[name]
        published, units = TABLE[key]
        what = f"{method}, K = {k}, {layers} stochastic layer{'s'[: layers - 1]}"
        what += f", {shown(share)}"
        near, few = (TOLERANCE, UNITS) if share == 1 else (None, None)
        foretold = PREDICTED.get((name, share))
        rows.append(Row(f"{what}: log p(x)", published, value, near, 1, True, foretold))
        if units is not None:
            rows.append(Row(f"{what}: active units", units, active, few, 0, True))
    most = max(share for _, share in trained)
    note = (
        f"at most {shown(most)}, {whole_epochs(most, FULL):,} of {FULL:,} passes, with all stages of the "
        f"learning rate shortened alike; log p(x) by {SAMPLES:,} importance samples"
    )
    values = {n: v for n, (v, _) in found.items()}
    told = shares.sentences(values, PREDICTED, FULL, NAMES)
    note = "; ".join([note, *told])
    counts = whole_epochs(most, FULL) * IMAGES, FULL * IMAGES, most == 1
    return Outcome(rows, _facts(found), *counts, figure(trained, values), note)


def _part(layers, method, k):
    name = {1: "one_layer", 2: "two_layers"}[layers]
    grid = {"m": 1, "k": k} if method == "IWAE" else {"m": k, "k": 1}
    return Part(f"configs/iwae.py:{name}", [grid])


def _facts(found):
    """The paper's statements, each at the largest share at which all that it names are trained."""
    facts = []

    def state(text, names, holds):
        if common := _common(found, names):
            share = max(common)
            values, units = zip(*(found[name, share] for name in names))
            text = text.format(
                ", ".join(f"{v:.2f}" for v in values),
                ", ".join(f"{u:.0f}" for u in units),
            )
            facts.append(Fact(f"{text}, {shown(share)}", holds(values, units)))

    rising = ["vae_1", "iwae_5", "iwae_50"]
    if not _common(found, rising):
        rising = rising[:2]
    counts = ", ".join(name.rpartition("_")[2] for name in rising)
    state(
        f"IWAE's log p(x) rises with K = {counts} ({{0}})",
        *(rising, lambda values, units: _rises(values)),
    )
    state(
        f"and so do its active units with K = {counts} ({{1}})",
        *(rising, lambda values, units: _rises(units)),
    )
    for k in (5, 50):
        state(
            f"IWAE is above the VAE with as many samples, K = {k} ({{0}})",
            *([f"iwae_{k}", f"vae_{k}"], lambda values, units: values[0] > values[1]),
        )
    for name in ("vae_1", "iwae_5"):
        method, k = POINTS[name][1:]
        state(
            f"two layers are above one, {method} of K = {k} ({{0}})",
            *(
                [f"two_layers_{name}", name],
                lambda values, units: values[0] > values[1],
            ),
        )
    return facts


def _common(found, names):
    """The shares at which all of these points are trained."""
    return set.intersection(*({s for n, s in found if n == m} for m in names))


def _rises(values):
    return bool((np.diff(values) > 0).all())


def figure(trained, found):
    """log p(x) by shares, beside the published, and the single-sample ELBO of K = 1 on the way there."""
    published = {point: TABLE[key][0] for point, key in POINTS.items()}
    note = "Burda et al. (2016): MNIST, stochastic binarization"
    numbers = found, published, PREDICTED
    return shares.figure(trained, *numbers, NAMES, "test_elbo", note)
