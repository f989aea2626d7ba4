"""Statistics over seeds: intervals of means and differences, p-values, selection, areas.

Pure functions of numbers, a value for each seed. An interval is Student's t, which covers what it
claims at any number of seeds from two on where values are Gaussian; a percentile bootstrap of three
covers 75 % where it claims 95. Means of one seed have none.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

LEVEL = 0.95  # of all intervals
ENOUGH = 3  # seeds: the interval of two is 12.7 standard errors to each side
MEANING = "mean and half-width of the 95 % t interval over seeds"


def few(counts):
    """Says of numbers of seeds that some are fewer than three, and what that means; else "".

    Points without any seed do not count.
    """
    counts = [count for count in counts if count]
    short = sorted({count for count in counts if count < ENOUGH})
    if not short:
        return ""
    where = sum(count in short for count in counts)
    of = "" if where == len(counts) else f" at {where} of {len(counts)} points"
    told = {
        1: "one seed has no interval",
        2: "that of two is 12.7 standard errors to each side",
    }
    return f"Fewer than three seeds{of}: {'; '.join(told[n] for n in short)}"


def comparisons(count):
    """Writes a number of comparisons."""
    return f"{count} comparison{'' if count == 1 else 's'}"


class Estimate(NamedTuple):
    """A mean or a difference of means: its t interval is `mean` ± `half`; None where there is none."""

    mean: float
    half: float | None
    p: float | None  # two-sided, of a mean of 0; None where all values are equal, too
    counts: tuple[
        int, ...
    ]  # of values, or of pairs; of both sides, where they are not paired

    @property
    def low(self):
        return None if self.half is None else self.mean - self.half

    @property
    def high(self):
        return None if self.half is None else self.mean + self.half


def interval(values, comparisons=1):
    """The mean of values [N] and its 95 % interval: mean ± t_{N-1} s / √N, with s of N - 1.

    With several comparisons the interval is Bonferroni's: all of them hold together with at least
    95 %, for each is left (1 - 0.95) / comparisons.
    """
    values = np.asarray(values, np.float64)
    count = len(values)
    mean = float(values.mean())
    if count < 2:
        return Estimate(mean, None, None, (count,))
    error = values.std(ddof=1) / np.sqrt(count)
    return _estimate(mean, error, count - 1, comparisons, (count,))


def paired(values, others, comparisons=1):
    """The mean of `values - others` [N], pair by pair, as `interval`: the paired t-test.

    What both values of a pair share, as a seed's initial weights, drops out.
    """
    difference = np.subtract(values, others, dtype=np.float64)
    return interval(difference, comparisons)


def welch(values, others, comparisons=1):
    """The mean of values [N] less that of others [M], unpaired and of unequal variances.

    Welch (1947): the error is √(s²/N + r²/M), the degrees of freedom are Satterthwaite's.
    """
    sides = [np.asarray(side, np.float64) for side in (values, others)]
    counts = tuple(map(len, sides))
    mean = float(sides[0].mean() - sides[1].mean())
    if min(counts) < 2:
        return Estimate(mean, None, None, counts)
    parts = np.array([side.var(ddof=1) / len(side) for side in sides])
    freedom = np.inf
    if parts.sum():
        freedom = parts.sum() ** 2 / (parts**2 / (np.array(counts) - 1)).sum()
    return _estimate(mean, np.sqrt(parts.sum()), freedom, comparisons, counts)


def _estimate(mean, error, freedom, comparisons, counts):
    quantile = _quantile(1 - (1 - LEVEL) / comparisons / 2, freedom)
    p = None
    if error > 0:
        p = float(2 * _below(-abs(mean) / error, freedom))
    return Estimate(mean, float(quantile * error), p, counts)


def _quantile(share, freedom):
    found = special.stdtrit(freedom, share) if np.isfinite(freedom) else None
    return special.ndtri(share) if found is None else found


def _below(t, freedom):
    return special.stdtr(freedom, t) if np.isfinite(freedom) else special.ndtr(t)


def holm(ps):
    """Holm's adjusted p-values (1979): of the i-th smallest of m, max_{j <= i} (m - j + 1) p_j, at most 1.

    Rejecting those below 5 % makes one false rejection or more in at most 5 % of tables. None, of a
    comparison without a p-value, counts among the m and stays None.
    """
    count = len(ps)
    known = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    found, most = [None] * count, 0.0
    for rank, (p, place) in enumerate(known):
        most = max(most, min(1.0, (count - rank) * p))
        found[place] = most
    return found


def best(found, highest):
    """The key with the best mean, of {key: values}; the first of those that are equal."""
    sign = 1 if highest else -1
    return max(found, key=lambda key: sign * np.mean(found[key]))


def within_one_error(found, highest):
    """The smallest key whose mean is within one standard error of the best (Breiman et al., 1984).

    The error is that of the best key's mean.

    Args:
      found: {number, as a latent size: values over seeds}.
      highest: whether the best is the highest mean.
    Returns:
      The key; None where the best has fewer than two values.
    """
    values = np.asarray(found[best(found, highest)], np.float64)
    if len(values) < 2:
        return None
    sign = 1 if highest else -1
    least = sign * values.mean() - values.std(ddof=1) / np.sqrt(len(values))
    return min(key for key, own in found.items() if sign * np.mean(own) >= least)


def shared_span(curves):
    """The rates that all curves, [(rates, distortions)], go over: (from, to); None if there are none."""
    low = max(min(rates) for rates, _ in curves)
    high = min(max(rates) for rates, _ in curves)
    return (float(low), float(high)) if low < high else None


def area(rates, distortions, low, high):
    """The area under a rate–distortion curve from rate `low` to `high`: nats², exact.

    The curve joins its points [N] by straight lines, in the order of their rates, so that its
    integral is the sum of trapezoids. Points of equal rate, as of runs that collapsed, count as
    their mean.

    Raises:
      ValueError: the curve does not reach from `low` to `high`.
    """
    x, place, count = np.unique(rates, return_inverse=True, return_counts=True)
    y = np.bincount(place, weights=np.asarray(distortions, np.float64)) / count
    if not x[0] <= low < high <= x[-1]:
        raise ValueError(f"the curve goes from {x[0]} to {x[-1]}, not {low} to {high}")
    inner = (x > low) & (x < high)
    at = np.concatenate([[low], x[inner], [high]])
    return float(np.trapezoid(np.interp(at, x, y), at))
