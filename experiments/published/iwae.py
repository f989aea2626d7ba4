"""Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders: table 1, MNIST."""

from fractions import Fraction

import numpy as np

from aevae.figures import sheet
from experiments.published import draw
from experiments.published.job import Fact, Outcome, Part, Row, shown

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
TOLERANCE, UNITS = 0.4, 2.0
POWERS = np.geomspace(0.05, 3, 600)  # of shares, by which log p(x) may grow
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
        f"at most {shown(most)}, {round(most * FULL):,} of {FULL:,} passes, with all stages of the "
        f"learning rate shortened alike; log p(x) by {SAMPLES:,} importance samples"
    )
    foretold = extrapolations({n: v for n, (v, _) in found.items()})
    note = "; ".join([note, *foretold])
    counts = round(most * FULL) * IMAGES, FULL * IMAGES, most == 1
    return Outcome(rows, _facts(found), *counts, figure(trained), note)


def _part(layers, method, k):
    name = {1: "one_layer", 2: "two_layers"}[layers]
    grid = {"m": 1, "k": k} if method == "IWAE" else {"m": k, "k": 1}
    return Part(f"configs/iwae.py:{name}", [grid])


def extrapolations(found):
    """Sentences on log p(x) at 1/3 and at the whole, of each point with four shares below them.

    Args:
      found: {(point, share): log p(x)}.
    """
    sentences = []
    for name in dict.fromkeys(name for name, _ in found):
        known = {
            s: v for (n, s), v in found.items() if n == name and s < Fraction(1, 3)
        }
        if len(known) < 4:
            continue
        told = [
            "{:.2f} ± {:.2f} at {}".format(*extrapolated(known, share), shown(share))
            for share in (Fraction(1, 3), Fraction(1))
        ]
        low, high = min(known), max(known)
        method, k = POINTS[name][1:]
        sentences.append(
            f"{method}, K = {k}, extrapolated from shares {low} to {high}: {', '.join(told)}"
        )
    return sentences


def extrapolated(found, share):
    """The value at a larger share by the power law a - b share^(-c), and its error.

    Its c is the best of POWERS, and a and b are those of least squares. The error is the largest difference
    to the same law without the smallest, and without the largest of the shares.

    Args:
      found: {share: value}, four at least.
    """
    known = [(float(s), found[s]) for s in sorted(found)]
    value, *others = (
        _power(own, float(share)) for own in (known, known[1:], known[:-1])
    )
    return value, max(abs(value - other) for other in others)


def _power(known, share):
    """What the power law through (share, value) has at another share."""
    shares, values = np.transpose(known)
    best = None
    for c in POWERS:
        terms = np.stack([np.ones_like(shares), -(shares**-c)], 1)
        fit, *_ = np.linalg.lstsq(terms, values, rcond=None)
        error = ((terms @ fit - values) ** 2).sum()
        if best is None or error < best[0]:
            best = error, fit[0] - fit[1] * share**-c
    return float(best[1])


def _facts(found):
    """The paper's statements, each at the largest share at which all that it names are trained."""
    facts = []

    def state(text, names, holds):
        shares = set.intersection(*({s for n, s in found if n == m} for m in names))
        if shares:
            share = max(shares)
            values, units = zip(*(found[name, share] for name in names))
            text = text.format(
                ", ".join(f"{v:.2f}" for v in values),
                ", ".join(f"{u:.0f}" for u in units),
            )
            facts.append(Fact(f"{text}, {shown(share)}", holds(values, units)))

    rising = [["vae_1", "iwae_5"], ["vae_1", "iwae_5", "iwae_50"]]
    rising = rising[all(any(n == m for m, _ in found) for n in rising[1])]
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


def _rises(values):
    return bool((np.diff(values) > 0).all())


def figure(trained):
    """The single-sample ELBO and the bound that is trained, against images seen, one layer."""
    colors, lines = sheet.colors(sorted({share for _, share in trained})), []
    styles = {
        "vae_1": "-",
        "vae_5": "--",
        "iwae_5": ":",
        "vae_50": "-.",
        "iwae_50": "--",
    }
    for (point, share), runs in trained.items():
        layers, method, k = POINTS[point]
        if layers > 1:
            continue
        name = f"{method}, K = {k}, {shown(share)}"
        for panel, measure in enumerate(("test_elbo", "test_iwae")):
            curve = draw.curve(runs.curves, measure)
            lines.append((panel, name, styles[point], colors[share], 1.2, curve))
    titles = "ELBO", "bound that is trained"
    note = "Burda et al. (2016): MNIST, stochastic binarization, one stochastic layer"
    made, axes = draw.panels(titles, lines, "test split (nats)", note)
    axes[0].set_ylim(-125, -84)
    return made
