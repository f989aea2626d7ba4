"""What a swept value changes: differences from one of its values, paired by seed, as a table.

Runs that share a seed share initial weights, the order of the data and, where one program trains
them, the noise, so that most of what differs between seeds drops out of a difference. Where the
start is not shared, as across latent sizes, a difference is unpaired, by Welch's interval.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from aevae import InputError, config
from aevae.runs import record, statistics, tables

FILE = "paired.csv"
SELECTS = {  # what the validation split selects the best by
    "elbo": "validation_elbo",
    "iwae": "validation_elbo",
    "distortion": "validation_distortion",
}
HIGHEST, LOWEST = ("elbo", "iwae", "accuracy"), ("distortion", "entropy", "error")
SAME = "the same numbers"
FEW = 6  # values that a line names
CORRELATED = 5  # pairs from which on a correlation is told


class Side(NamedTuple):
    """The runs of one value of the axis at a point of the others, {seed: row}, and their start."""

    rows: dict
    run: int  # one of them, whose config is that of all but for the seed

    def values(self, name):
        found = {seed: row.get(name) for seed, row in self.rows.items()}
        return {s: v for s, v in found.items() if v is not None and np.isfinite(v)}


class Differences(NamedTuple):
    """The rows of paired.csv, and what is said below them, as lines."""

    rows: list
    notes: list
    others: list  # columns of a point ...
    by: list  # ... and of the axis


def differences(workdir, by, measure="elbo", against=None, highest=None, base=None):
    """Differences of a measure along swept values, point by point of all others.

    Args:
      workdir: the run folder.
      by: the column, or columns that change together, as ("beta", "lr").
      measure: a column of results.csv.
      against: the value (of several columns, a list) that the others are set against; by default
        the first of the table.
      highest: whether the best is the highest mean, or the lowest; by default as it is known for
        the measure. Where it is not known, none is marked.
      base: the Config that the sweep was given, if it was none of a file.
    Returns:
      `Differences`.
    Raises:
      InputError: a column or value that is not there, or no two runs that differ in it alone.
    """
    by = [by] if isinstance(by, str) else [*by]
    rows, names = tables.results(workdir), record.read(workdir)["columns"]
    names = [name for name in names if name not in ("run", "seed")]
    for name in by:
        if name not in names:
            raise InputError(f"{workdir} has no axis {name!r}: it has {_list(names)}")
    numbers = [n for n in rows[0] if n not in names and _is_measured(rows, n)]
    if measure not in numbers:
        raise InputError(
            f"{workdir} has measured no {measure!r}: name one of {_list(numbers)}"
        )
    others = [n for n in names if n not in by and len({r[n] for r in rows}) > 1]
    grid = _grid(rows, others, by, measure)
    first = _against(grid, by, against)
    configs = record.declared(workdir, base)
    starts = config.starts(configs)
    pairs = _compared(grid, first)
    if not pairs:
        raise InputError(_nothing(grid, others, by, first))
    kinds = {
        pair: "paired t" if starts[a.run] == starts[b.run] else "Welch"
        for pair, (a, b) in pairs.items()
    }
    tested = _tested(pairs, kinds, measure)
    if highest is None:
        highest = _direction(measure)
    table, notes = [], [*_unpaired(pairs, kinds, configs, by, first)]
    without = sum(first not in sides for sides in grid.values())
    if without:
        notes.append(
            f"{without} of {len(grid)} points have no run at {_list(by)} {_text(first)}, and no "
            "differences."
        )
    for point, sides in grid.items():
        best, how, near = _selected(sides, measure, highest)
        for value, side in sides.items():
            own = [*side.values(measure).values()]
            row = dict(zip([*others, *by], (*point, *value)))
            mean = statistics.interval(own)
            row |= {"measure": measure, "seeds": len(own), "mean": mean.mean}
            row |= {"low": mean.low, "high": mean.high, "against": _text(first)}
            row |= tested.get((point, value), {})
            row["best"] = f"selected by {how}" if value == best else None
            row["within_one_error"] = "yes" if value == near else None
            table.append(row)
    return Differences(table, [*notes, *_about(table)], others, by)


def write(workdir, found):
    """Writes paired.csv of several tables of `Differences`, of one axis; returns its path."""
    rows = [row for own in found for row in own.rows]
    columns = dict.fromkeys(name for row in rows for name in row)
    last = ("best", "within_one_error")
    path = Path(workdir) / FILE
    tables.Table(path, [*(n for n in columns if n not in last), *last]).write(rows)
    return path


def told(found, digits=2):
    """Differences as text: their table, and the lines below it."""
    first, measure = (found.rows[0][name] for name in ("against", "measure"))
    head = [
        *found.others,
        *found.by,
        "seeds",
        measure,
        f"less that at {first}",
        "pairs",
    ]
    lines = [[*head, "p (Holm)", ""]]
    for row in found.rows:
        cells = ["" if row[n] is None else str(row[n]) for n in found.others + found.by]
        shown = [
            _shown(row.get(mean), row.get(high), digits)
            for mean, high in (("mean", "high"), ("difference", "difference_high"))
        ]
        tested = {"paired t": row.get("counts"), "Welch": "unpaired"}
        mark = "*" * (row["best"] is not None)
        mark += "≤" * (row["within_one_error"] is not None)
        lines.append([*cells, str(row["seeds"]), *shown])
        lines[-1] += [tested.get(row.get("test"), ""), _p(row.get("p_holm")), mark]
    return "\n".join([tables.aligned(lines), "", *found.notes])


def _shown(mean, high, digits):
    """A mean and its interval as text; "" where there is none."""
    if mean is None:
        return ""
    half = None if high is None else high - mean
    return tables.estimated(statistics.Estimate(mean, half, None, ()), digits)


def _p(value):
    if value is None:
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _list(names):
    return ", ".join(map(str, names))


def _text(value):
    return ":".join("none" if v is None else str(v) for v in value)


def _is_measured(rows, name):
    """Whether a column holds numbers that were measured of runs, as tables show them."""
    left = ("run", "seed", "epoch", "epochs", "diverged")
    return name not in left and any(isinstance(r[name], (int, float)) for r in rows)


def _grid(rows, others, by, measure):
    """{point: {value: Side}} of the runs that did not diverge, in the order of tables."""
    found = {}
    for row in tables.in_order(rows, [*others, *by]):
        known = row["diverged"] is None and row[measure] is not None
        if known and np.isfinite(row[measure]):
            point, value = (tuple(row[n] for n in ns) for ns in (others, by))
            side = found.setdefault(point, {}).setdefault(value, Side({}, row["run"]))
            side.rows[row["seed"]] = row
    return found


def _against(grid, by, against):
    """The value that others are set against, as a tuple of cells."""
    values = [*dict.fromkeys(value for sides in grid.values() for value in sides)]
    if not values:
        raise InputError("every run diverged, or was not measured")
    if len(values) == 1:
        raise InputError(
            f"all runs have {_list(by)} {_text(values[0])}: there is nothing to compare"
        )
    if against is None:
        return values[0]
    cells = against if isinstance(against, (list, tuple)) else [against]
    for value in values:
        if len(value) == len(cells) and all(map(tables.same, value, cells)):
            return value
    there = _list(map(_text, values))
    raise InputError(f"no run has {_list(by)} {_text(cells)}: there are {there}")


def _compared(grid, first):
    """The two sides of each comparison, {(point, value): (side, that of `first`)}."""
    return {
        (point, value): (side, sides[first])
        for point, sides in grid.items()
        for value, side in sides.items()
        if first in sides and value != first
    }


def _nothing(grid, others, by, first):
    """Says that there are no two runs to compare, and what else changes with the axis."""
    points = {
        here: [p for p, s in grid.items() if (first in s) is here]
        for here in (True, False)
    }
    told = [
        name
        for n, name in enumerate(others)
        if not {p[n] for p in points[True]} & {p[n] for p in points[False]}
    ]
    more = (
        f": {_list(told)} changes with it; name all, as --by={','.join([*by, *told])}"
        if told
        else ""
    )
    return f"no two runs differ in {_list(by)}, one of them at {_text(first)}, and the seed alone{more}"


def _tested(pairs, kinds, measure):
    """What a row says of its difference, {(point, value): {column: cell}}; all are compared together."""
    bare = {p: _estimate(*sides, kinds[p], measure) for p, sides in pairs.items()}
    bare = {pair: found for pair, found in bare.items() if found is not None}
    family = [pair for pair, found in bare.items() if found.half is not None]
    adjusted = dict(zip(family, statistics.holm([bare[pair].p for pair in family])))
    rows = {}
    for pair in bare:
        count = len(family) if pair in adjusted else None
        found = _estimate(*pairs[pair], kinds[pair], measure, count or 1)
        rows[pair] = {
            "test": kinds[pair],
            "counts": " ".join(map(str, found.counts)),
            "difference": found.mean,
            "difference_low": found.low,
            "difference_high": found.high,
            "p": found.p,
            "p_holm": adjusted.get(pair),
            "comparisons": count,
        }
        if kinds[pair] == "paired t":
            rows[pair]["correlation"] = _correlation(*pairs[pair], measure)
    return rows


def _estimate(side, other, kind, measure, comparisons=1):
    """The `statistics.Estimate` of a difference; None where no seed is on both sides."""
    values, others = side.values(measure), other.values(measure)
    if kind == "Welch":
        return statistics.welch([*values.values()], [*others.values()], comparisons)
    pair = _pairs(values, others)
    return statistics.paired(*pair, comparisons) if len(pair[0]) else None


def _pairs(values, others):
    """Two lists of the seeds that are in both of {seed: value}."""
    seeds = [seed for seed in values if seed in others]
    return [[own[seed] for seed in seeds] for own in (values, others)]


def _correlation(side, other, measure):
    """Pearson's correlation of the pairs; None of fewer than five, or without any spread."""
    pair = _pairs(side.values(measure), other.values(measure))
    if len(pair[0]) < CORRELATED or not np.std(pair, axis=1).all():
        return None
    return float(np.corrcoef(pair)[0, 1])


def _direction(measure):
    """Whether the best is the highest, True, or the lowest, False; None where it is neither."""
    words = measure.removeprefix("validation_").split("_")
    if words[0] in HIGHEST and words[-1] != "error" or words[-1] in HIGHEST:
        return True
    return False if words[0] in LOWEST or words[-1] in LOWEST else None


def _selected(sides, measure, highest):
    """The best value of the axis at a point, by what it was selected, and the least near it.

    The last is the smallest number whose mean of that is within one standard error of the best.
    """
    if highest is None:
        return None, None, None
    by = SELECTS.get(measure.partition("_")[0], measure)
    known = {v: [*side.values(by).values()] for v, side in sides.items()}
    if by == measure or not all(known.values()):
        by, known = (
            measure,
            {v: [*side.values(measure).values()] for v, side in sides.items()},
        )
    known = {value: own for value, own in known.items() if own}
    if len(known) < 2:
        return None, None, None
    near = None
    if all(len(v) == 1 and isinstance(v[0], (int, float)) for v in known):
        near = statistics.within_one_error(known, highest)
    return statistics.best(known, highest), SAME if by == measure else by, near


def _unpaired(pairs, kinds, configs, by, first):
    """Yields a line for each set of paths in which starts differ, so that runs are no pairs."""
    found = {}
    for pair, kind in kinds.items():
        if kind == "Welch":
            side, other = pairs[pair]
            paths = config.unlike(configs[side.run], configs[other.run])
            found.setdefault(_list(paths), []).append(pair)
    for paths, own in found.items():
        values = [*dict.fromkeys(_text(value) for _, value in own)]
        more = f" and {len(values) - FEW} more" if len(values) > FEW else ""
        values = _list(values[:FEW]) + more
        yield (
            f"Unpaired (Welch): {_list(by)} {values} against {_text(first)}, whose runs differ in {paths}: "
            "they do not share initial weights, data and their order."
        )


def _about(table):
    """Yields the lines that say what a table's columns are."""
    yield f"Test split, {statistics.MEANING}."
    if any(row.get("test") == "paired t" for row in table):
        yield "Pairs share a seed, and with it initial weights and the order of the data."
        found = [r["correlation"] for r in table if r.get("correlation") is not None]
        if found:
            yield (
                f"Their correlation is {min(found):.2f} to {max(found):.2f}, median "
                f"{np.median(found):.2f}: near 0, pairs gain nothing."
            )
    tested = [row for row in table if row.get("comparisons")]
    if tested:
        many = statistics.comparisons(tested[0]["comparisons"])
        yield (
            f"Intervals of differences hold together with 95 % (Bonferroni, {many}); p is Holm's."
        )
    if any(row["p"] is None for row in tested):
        yield "Without p: all differences are equal, which says nothing of their spread."
    for how in sorted({row["best"] for row in table if row["best"]}):
        told = ", and reported on the test split, of the same runs: the luck of their seeds stays in it"
        if how.endswith(SAME):
            told = ": its mean flatters it, and its interval does not allow for that"
        yield f"*: the best, {how}{told}."
    if any(row["within_one_error"] for row in table):
        yield "≤: the smallest value within one standard error of the best, by what selected it."
    few = [row["seeds"] for row in table]
    few += [min(map(int, row["counts"].split())) for row in table if "counts" in row]
    line = statistics.few(few)
    if line:
        yield f"{line}."
