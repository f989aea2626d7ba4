"""Spans of about a second, whatever the units cost, and never one that lasts much longer."""

from types import SimpleNamespace

import pytest

from aevae.training import layout


def spans(monkeypatch, costs, units, length=None, first=1, cut=None):
    """The seconds of all spans of units whose kinds' costs are {kind: seconds}."""
    clock, found = SimpleNamespace(at=0.0), []
    monkeypatch.setattr(layout.time, "perf_counter", lambda: clock.at)
    pace, done = layout.Pace(length, first), 0

    def kinds(unit):
        same = next(
            (n for n in range(unit, len(units)) if units[n] != units[unit]), None
        )
        return units[unit], len(units) if same is None else same

    while done < len(units):
        stop = pace.begin(done, len(units), cut, kinds)
        assert stop > done
        clock.at += (taken := sum(costs[k] for k in units[done:stop]))
        clock.at += 5 * (not found)  # of the compiler
        assert pace.end(0) == stop
        found.append((stop - done, taken))
        done = stop
    return found


@pytest.mark.parametrize("block", [1e-4, 0.01, 0.4])
@pytest.mark.parametrize("evaluated", ["block", None])
def test_a_span_takes_about_a_second(monkeypatch, block, evaluated):
    """Steps and blocks that cost 100 times as much, or a tenth; and blocks that are left out."""
    units = [*["step"] * 300, *[evaluated] * 40] * 50
    found = spans(monkeypatch, {"step": 1e-3, "block": block, None: 0.0}, units)
    assert max(taken for _, taken in found) < 1.5
    total = sum(taken for _, taken in found)
    assert len(found) < 2 * total + 20


def test_slow_units_are_spans_of_their_own(monkeypatch):
    found = spans(monkeypatch, {"step": 3.0}, ["step"] * 9)
    assert [count for count, _ in found] == [1] * 9


def test_spans_of_a_given_length_and_at_cuts(monkeypatch):
    units = [*["step"] * 12, *["block"] * 3] * 2
    costs = {"step": 1e-3, "block": 1e-3}
    found = spans(monkeypatch, costs, units, length=4)
    assert [count for count, _ in found] == [4] * 7 + [2]

    def cut(unit):
        epoch, rest = divmod(unit, 15)
        return 15 * epoch + (rest // 6 * 6 if rest < 12 else rest)

    found, at = spans(monkeypatch, costs, units * 20, first=6, cut=cut), 0
    for count, _ in found:
        at += count
        assert cut(at) == at
