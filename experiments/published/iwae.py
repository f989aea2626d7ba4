"""Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders: table 1, MNIST."""

from fractions import Fraction

import numpy as np

from aevae.figures import sheet
from experiments.published import draw
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
        f"at most {shown(most)}, {whole_epochs(most, FULL):,} of {FULL:,} passes, with all stages of the "
        f"learning rate shortened alike; log p(x) by {SAMPLES:,} importance samples"
    )
    values = {n: v for n, (v, _) in found.items()}
    note = "; ".join([note, *_foretold(values), *extrapolations(values)])
    counts = whole_epochs(most, FULL) * IMAGES, FULL * IMAGES, most == 1
    return Outcome(rows, _facts(found), *counts, figure(trained, values), note)


def _part(layers, method, k):
    name = {1: "one_layer", 2: "two_layers"}[layers]
    grid = {"m": 1, "k": k} if method == "IWAE" else {"m": k, "k": 1}
    return Part(f"configs/iwae.py:{name}", [grid])


def _foretold(found):
    """Sentences on what was foretold of shares that have not been run."""
    return [
        f"foretold of {_named(name)}, {shown(share)}: {value:.2f} ± {error:.2f}"
        for (name, share), (value, error) in PREDICTED.items()
        if (name, share) not in found and any(n == name for n, _ in found)
    ]


def _named(point):
    _, method, k = POINTS[point]
    return f"{method}, K = {k}"


def extrapolations(found):
    """Sentences on log p(x) at 1/3 and at the whole, of each point with four smaller shares and none larger.

    Args:
      found: {(point, share): log p(x)}.
    """
    sentences = []
    for name in dict.fromkeys(name for name, _ in found):
        known = {s: v for (n, s), v in found.items() if n == name}
        larger = [s for s in (Fraction(1, 3), Fraction(1)) if s > max(known)]
        if len(known) < 4 or not larger:
            continue
        exact = {Fraction(whole_epochs(s, FULL), FULL): v for s, v in known.items()}
        told = [
            "{:.2f} ± {:.2f} at {}".format(*extrapolated(exact, share), shown(share))
            for share in larger
        ]
        sentences.append(
            f"{_named(name)}, extrapolated from shares {min(known)} to {max(known)}: {', '.join(told)}"
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
        if shares := _common(found, names):
            share = max(shares)
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
    """log p(x) at the end of each share beside the published, and the bound on the way there."""
    colors = dict(zip(POINTS, sheet.CLASSES))
    shades = sheet.colors(sorted({share for _, share in trained}))
    made, ((ends, bound),) = sheet.canvas(1, 2, 3.4, 3.0)
    handles, told = [], []
    for point in dict.fromkeys(point for point, _ in found):
        layers, _, _ = POINTS[point]
        name = _named(point) + (f", {layers} layers" if layers > 1 else "")
        own = sorted((float(s), v) for (n, s), v in found.items() if n == point)
        style = {"color": colors[point], "lw": 1.2, "marker": "os"[layers - 1]}
        handles += ends.plot(*zip(*own), label=name, ms=4, **style)
        ends.axhline(TABLE[POINTS[point]][0], color=colors[point], ls=":", lw=1.2)
    for (point, share), (value, error) in PREDICTED.items():
        if any(n == point for n, _ in found):
            style = {"color": colors[point], "fmt": "D", "mfc": "white", "ms": 4}
            told.append(ends.errorbar(float(share), value, error, capsize=3, **style))
            told[-1].set_label("foretold")
    handles += told[:1]
    ends.set_ylabel("log p(x) of the test split (nats)")
    ends.set_xlabel("share of the schedule; dotted: published, of the whole")
    for (point, share), runs in trained.items():
        if point == "vae_1":
            line = draw.curve(runs.curves, "test_elbo")
            handles += bound.plot(
                *line, color=shades[share], lw=1.2, label=shown(share)
            )
    bound.set(ylabel="test ELBO of VAE, K = 1 (nats)", xlabel="training images seen")
    bound.set_ylim(-135, -84)
    for panel in (ends, bound):
        panel.set_xscale("log")
        sheet.log_ticks(panel.xaxis)
        panel.grid(alpha=0.25)
    sheet.legend(made, handles)
    sheet.caption(made, "Burda et al. (2016): MNIST, stochastic binarization")
    return made
