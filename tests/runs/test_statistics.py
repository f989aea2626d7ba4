"""Intervals cover what they claim, p-values are uniform where nothing differs, areas are exact."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from aevae.runs import statistics
from experiments.laws import linear

REPEATS = 10_000  # a share of 0.95 then has a standard error of 0.0022


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_of_few_seeds_cover_the_mean(seeds):
    """95 ± 1 %, of single means, of paired differences and, at least, of Welch's."""
    rng = np.random.default_rng(seeds)
    held = {"mean": 0, "paired": 0, "welch": 0}
    for _ in range(REPEATS):
        luck, one, other = rng.normal(size=(3, seeds))
        found = {
            "mean": statistics.interval(-23 + 0.1 * one),
            "paired": statistics.paired(5 * luck + one, 5 * luck + 0.3 * other + 2),
            "welch": statistics.welch(one, 3 * other),
        }
        for name, truth in (("mean", -23), ("paired", -2), ("welch", 0)):
            held[name] += found[name].low <= truth <= found[name].high
    assert abs(held["mean"] / REPEATS - 0.95) < 0.01
    assert abs(held["paired"] / REPEATS - 0.95) < 0.01
    assert 0.94 < held["welch"] / REPEATS < 0.98  # conservative with few


@pytest.mark.parametrize("comparisons", [1, 12])
def test_intervals_and_p_values_are_scipys(comparisons):
    """Of ttest_1samp, ttest_rel and ttest_ind, also at other sizes and scales."""
    rng = np.random.default_rng(0)
    share = 1 - 0.05 / comparisons
    for count in (2, 3, 7):
        x, y, more = (
            100 + rng.normal(size=n) * s for n, s in ((count, 1), (count, 3), (5, 0.2))
        )
        for found, known in (
            (statistics.interval(x, comparisons), stats.ttest_1samp(x, 0)),
            (statistics.paired(x, y, comparisons), stats.ttest_rel(x, y)),
            (
                statistics.welch(x, more, comparisons),
                stats.ttest_ind(x, more, equal_var=False),
            ),
        ):
            ends = known.confidence_interval(share)
            np.testing.assert_allclose((found.low, found.high), ends, rtol=1e-9)
            np.testing.assert_allclose(found.p, known.pvalue, rtol=1e-9)


def test_p_values_are_uniform_where_nothing_differs():
    """What seeds share is 30 times what differs: unpaired, all would be near 1."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(4_000):
        luck, one, other = rng.normal(size=(3, 3))
        found.append(statistics.paired(30 * luck + one, 30 * luck + other).p)
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_intervals_of_a_table_hold_together():
    """Twelve differences from one base: all hold in 95 %, and some Holm rejection is made in 5."""
    rng = np.random.default_rng(2)
    held, rejected, repeats = 0, 0, 2_000
    for _ in range(repeats):
        base, *others = rng.normal(size=(13, 4))
        found = [statistics.paired(own, base, 12) for own in others]
        held += all(f.low <= 0 <= f.high for f in found)
        rejected += min(statistics.holm([f.p for f in found])) < 0.05
    assert held / repeats > 0.94 and rejected / repeats < 0.06


def test_holm_adjusts_as_closed_testing_by_bonferroni_does():
    """A hypothesis falls if every set of hypotheses with it falls: max over them of |S| min p."""
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
        [0.03, 0.06, 0.06, 0.02]
    )
    rng = np.random.default_rng(3)
    for _ in range(50):
        ps = rng.uniform(size=5) ** 3
        for i, adjusted in enumerate(statistics.holm(ps.tolist())):
            sets = (s for n in range(1, 6) for s in itertools.combinations(range(5), n))
            most = max(min(1, len(s) * ps[[*s]].min()) for s in sets if i in s)
            assert adjusted == pytest.approx(most)
    assert statistics.holm([0.02, None]) == [0.04, None]  # it counts among them


def test_what_has_no_spread_has_no_p_value():
    """One seed has no interval; equal differences, as of active units, have no t."""
    one = statistics.interval([3.0])
    assert one == (3.0, None, None, (1,)) and one.low is None
    assert statistics.paired([5, 5, 6], [2, 2, 3]) == (3.0, 0.0, None, (3,))
    assert statistics.welch([1.0, 1.0], [1.0, 1.0]) == (0.0, 0.0, None, (2, 2))
    assert statistics.welch([1.0, 2.0], [4.0]) == (-2.5, None, None, (2, 1))


def test_few_seeds_are_said():
    assert statistics.few([3, 5, 0]) == ""
    assert statistics.few([2, 3, 1, 0]).startswith(
        "Fewer than three seeds at 2 of 3 points: one seed has no interval; that of two"
    )
    half = statistics.interval([0.0, 2.0]).half  # the standard error is 1
    assert f"{half:.1f}" in statistics.few([2])


def test_the_smallest_within_one_standard_error_of_the_best():
    """By hand: 8 latents have -20, ± 0.5 its error; 4 are within it, 2 are not."""
    error = 0.5 * math.sqrt(3)  # of one run
    found = {
        8: [-20 - error, -20.0, -20 + error],
        2: [-20.6] * 3,
        16: [-20.1] * 3,
        4: [-20.4, -20.4, -20.4],
    }
    assert statistics.best(found, True) == 8
    assert statistics.within_one_error(found, True) == 4
    negated = {key: [-x for x in own] for key, own in found.items()}
    assert statistics.within_one_error(negated, False) == 4
    assert statistics.within_one_error(found | {8: [-20.0]}, True) is None


def test_the_area_under_a_curve_of_lines_is_the_integral():
    """Wherever it is cut, and whatever the order of its points; collapsed runs count as one."""
    rates, distortions = np.array([0.0, 1.0, 4.0, 6.0]), np.array([9.0, 5.0, 2.0, 1.5])
    order = [2, 0, 3, 1]
    for low, high in ((0, 6), (0.5, 5.25), (1.5, 2.5), (1, 4)):
        exact, _ = integrate.quad(
            np.interp, low, high, args=(rates, distortions), points=[1, 4]
        )
        found = statistics.area(rates[order], distortions[order], low, high)
        assert found == pytest.approx(exact, rel=1e-12)
    twice = statistics.area([0, 0, *rates[1:]], [8.0, 10.0, *distortions[1:]], 0, 6)
    assert twice == pytest.approx(statistics.area(rates, distortions, 0, 6))
    with pytest.raises(ValueError, match="the curve goes from 0.0 to 6.0, not 0 to 7"):
        statistics.area(rates, distortions, 0, 7)
    assert statistics.shared_span([([3, 0], 0), ([1, 5], 0)]) == (1, 3)
    assert statistics.shared_span([([0, 1], 0), ([2, 3], 0)]) is None


def test_the_area_of_a_linear_vaes_frontier_is_its_integral():
    """With k active directions dR = -k dτ / 2τ, so D dR has a closed form between eigenvalues.

    Chords of a convex curve lie above it; the error of many is small. A curve's difference from
    itself is 0.
    """
    values, variance = np.array([8.0, 4.0, 2.0, 1.0, 0.5]), 0.25
    betas = np.geomspace(1, 16, 400)
    points = [linear.frontier(values, 4, beta, variance) for beta in betas]
    rates, distortions = (
        np.array([p[i] for p in points]) / s for i, s in ((1, 1), (2, 2 * variance))
    )
    exact, ends = 0.0, [0.25, 1.0, 2.0, 4.0]
    for low, high in itertools.pairwise(ends):
        k = int((values[:4] > low).sum())
        tail = values[k:].sum()
        exact += k * (tail * math.log(high / low) + k * (high - low)) / (4 * variance)
    found = statistics.area(rates, distortions, rates.min(), rates.max())
    assert exact < found < exact * (1 + 1e-5)
    seeds = [found + shift for shift in (0.0, 0.25, 0.5)]
    assert statistics.paired(seeds, seeds)[:2] == (0.0, 0.0)
