"""Curves as the page has them: thinned, the mean over seeds of each grid point, and its interval."""

from typing import NamedTuple

import numpy as np

from aevae.runs import statistics

POINTS, FEWER = 80, 40  # of a curve at most; of each of more than MANY curves
MANY = 100


class Line(NamedTuple):
    """The mean curves of the runs that differ in the seed alone.

    Attributes:
      runs: places of their rows among those of the page.
      samples: [P], training examples seen.
      mean: {metric: [P]}, over the runs with a finite value there.
      band: {metric: (low [P], high [P])}, the 95 % t interval; nan where seeds are fewer than three.
      own: {metric: [runs, P]}, the curve of each run.
    """

    runs: list
    samples: np.ndarray
    mean: dict
    band: dict
    own: dict


def of(folders, metrics):
    """The `Line` of each grid point of several `folders.Runs`, in the order of their rows."""
    points, place = {}, 0
    for number, folder in enumerate(folders):
        for row in folder.rows:
            point = tuple(row[n] for n in folder.names if n != "seed")
            points.setdefault((number, point), []).append(place)
            place += 1
    rows = [(f.curves.get(row["run"]), row) for f in folders for row in f.rows]
    count = POINTS if len(rows) <= MANY else FEWER
    return [
        _line(own, [rows[n][0] for n in own], metrics, count) for own in points.values()
    ]


def _line(places, curves, metrics, count):
    known = [own for own in curves if own is not None]
    samples = np.unique(np.concatenate([own["samples"] for own in known] or [[]]))
    samples = samples[_spread(len(samples), count)]
    own = {
        name: np.array([_at(samples, curve, name) for curve in curves])
        for name in metrics
    }
    mean, band = {}, {}
    for name, values in own.items():
        found = [column[np.isfinite(column)] for column in values.T]
        mean[name] = np.array([c.mean() if len(c) else np.nan for c in found])
        ends = [_interval(column) for column in found]
        band[name] = tuple(np.array(ends).reshape(-1, 2).T)
    return Line(places, samples, mean, band, own)


def _spread(length, count):
    """At most so many places of a curve, evenly spread on a log axis, both ends included."""
    if not length:
        return []
    found = np.geomspace(1, length, count).round().astype(int)
    return np.unique([*found, length]) - 1


def _at(samples, curve, name):
    """The values of a curve [P] at some samples; nan where it has none."""
    found = np.full(len(samples), np.nan)
    if curve is None or name not in curve:
        return found
    # The same epoch twice, as of an older table: the later row counts.
    order = {seen: place for place, seen in enumerate(curve["samples"])}
    for place, seen in enumerate(samples):
        at = order.get(seen)
        found[place] = np.nan if at is None else curve[name][at]
    return found


def _interval(values):
    if len(values) < statistics.ENOUGH:
        return np.nan, np.nan
    found = statistics.interval(values)
    return found.low, found.high


def last(line, metric):
    """The last finite value of each run of a line, [(samples, value)]; None of a run without any."""
    found = []
    for values in line.own[metric]:
        (there,) = np.nonzero(np.isfinite(values))
        at = there[-1] if len(there) else None
        found.append(None if at is None else (line.samples[at], values[at]))
    return found
