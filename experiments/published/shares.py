"""What results by shares have in common: what larger shares are to reach, and a figure."""

from fractions import Fraction

import numpy as np

from aevae.figures import sheet
from experiments.published import draw
from experiments.published.job import shown, whole_epochs

POWERS = np.geomspace(0.05, 3, 600)  # of shares, by which log p(x) may grow


def sentences(found, predicted, full, names):
    """What was predicted of shares that are not run, and log p(x) extrapolated to 1/3 and to the whole.

    A point is extrapolated that has four shares, and none as large.

    Args:
      found: {(point, share): log p(x)}.
      predicted: {(point, share): (log p(x), its error)}.
      full: epochs of the whole schedule.
      names: {point: its name}.
    """
    points = dict.fromkeys(point for point, _ in found)
    told = [
        f"predicted of {names[point]}, {shown(share)}: {value:.2f} ± {error:.2f}"
        for (point, share), (value, error) in predicted.items()
        if point in points and (point, share) not in found
    ]
    for point in points:
        known = {s: v for (n, s), v in found.items() if n == point}
        larger = [s for s in (Fraction(1, 3), Fraction(1)) if s > max(known)]
        if len(known) < 4 or not larger:
            continue
        exact = {Fraction(whole_epochs(s, full), full): v for s, v in known.items()}
        values = [
            "{:.2f} ± {:.2f} at {}".format(*extrapolated(exact, share), shown(share))
            for share in larger
        ]
        told.append(
            f"{names[point]}, extrapolated from shares {min(known)} to {max(known)}: {', '.join(values)}"
        )
    return told


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


def figure(trained, found, published, predicted, names, measure, note):
    """log p(x) at the end of each share of a schedule, and a bound of the first point on the way there.

    Args:
      trained: {(point, share): `Trained`}.
      found: {(point, share): log p(x)}.
      published: {point: log p(x)}, a dotted line of each point that is found.
      predicted: {(point, share): (log p(x), its error)}.
      names: {point: its name}.
      measure: the column of curves.csv.
      note: the caption.
    """
    made, ((ends, bound),) = sheet.canvas(1, 2, 3.4, 3.0)
    colors, first = dict(zip(names, sheet.CLASSES)), next(iter(trained))[0]
    shades = sheet.colors(sorted({share for point, share in trained if point == first}))
    handles, told, ways = [], [], []
    for point in dict.fromkeys(point for point, _ in found):
        own = sorted((float(s), v) for (name, s), v in found.items() if name == point)
        style = {"color": colors[point], "lw": 1.2, "marker": "o", "ms": 4}
        handles += ends.plot(*zip(*own), label=names[point], **style)
        ends.axhline(published[point], color=colors[point], ls=":", lw=1.2)
    for (point, share), (value, error) in predicted.items():
        if any(name == point for name, _ in found):
            style = {"color": colors[point], "fmt": "D", "mfc": "white", "ms": 4}
            told.append(ends.errorbar(float(share), value, error, capsize=3, **style))
            told[-1].set_label("predicted")
    ends.set_ylabel("log p(x) of the test split (nats)")
    ends.set_xlabel("share of the schedule; dotted: published, of the whole")
    for share, shade in shades.items():
        line, label = draw.curve(trained[first, share].curves, measure), shown(share)
        ways += bound.plot(*line, color=shade, lw=1.2, label=f"{names[first]}, {label}")
    split = measure.removesuffix("_elbo")
    bound.set(ylabel=f"{split} ELBO (nats)", xlabel="training images seen")
    for panel in (ends, bound):
        panel.set_xscale("log")
        sheet.log_ticks(panel.xaxis)
        panel.grid(alpha=0.25)
    sheet.legend(made, handles + told[:1] + ways)
    sheet.caption(made, note)
    return made
