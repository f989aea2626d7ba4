"""What seeds say together: means with intervals, areas under rate-distortion curves, paired differences."""

import numpy as np

from aevae import InputError
from aevae.runs import paired, statistics

TESTED = 12  # values of an axis, and ...
PAIRED = (
    200  # ... runs of a folder, beyond which differences are left to experiments.paired
)
CURVE = 3  # betas that a curve has at least


def means(folders, names, measures):
    """A row a grid point: its columns, how many of its runs did not diverge, means and half-widths.

    Args:
      folders: `folders.Runs`.
      names: the columns of points, among them perhaps `folder`.
      measures: columns whose means are taken, over seeds, of runs that have finished.
    """
    rows = []
    for folder in folders:
        points = {}
        for row in folder.rows:
            if row["status"] != "training":
                own = row | {"folder": folder.name}
                points.setdefault(tuple(own.get(n) for n in names), []).append(own)
        for point, own in points.items():
            sound = [row for row in own if row["status"] != "diverged"]
            row = dict(zip(names, point)) | {"runs": f"{len(sound)}/{len(own)}"}
            for name in measures:
                values = [r[name] for r in sound if _is_number(r.get(name))]
                if values:
                    found = statistics.interval(values)
                    row |= {name: found.mean, f"± {name}": found.half}
            rows.append(row)
    return rows


def _is_number(value):
    return isinstance(value, (int, float)) and np.isfinite(value)


def areas(folders):
    """Lines on the area under the test rate-distortion curve of each sweep over beta, the mean over seeds.

    All are over the rates that all curves go over, so that they compare; none where these are none.
    """
    found = {}
    for folder in folders:
        others = (
            [n for n in folder.swept if n != "beta"] if "beta" in folder.swept else None
        )
        for row in folder.rows if others is not None else ():
            values = row.get("rate"), row.get("distortion")
            if row["status"] in ("finished", "collapsed") and all(
                map(_is_number, values)
            ):
                point = tuple(f"{n} {row[n]}" for n in others)
                name = (
                    ", ".join((folder.name,) * (len(folders) > 1) + point) or "all runs"
                )
                found.setdefault(name, {}).setdefault(row.get("seed"), []).append(
                    values
                )
    curves = {
        name: [own for own in seeds.values() if len({rate for rate, _ in own}) >= CURVE]
        for name, seeds in found.items()
    }
    curves = {n: [np.array(c).T for c in own] for n, own in curves.items() if own}
    span = (
        statistics.shared_span([c for own in curves.values() for c in own])
        if curves
        else None
    )
    if span is None:
        return []
    low, high = span
    head = (
        f"Area under the test rate-distortion curve from {low:.3g} to {high:.3g} nats of rate (nats², "
        f"the smaller the better), {statistics.MEANING}:"
    )
    lines = [head]
    for name, own in curves.items():
        area = statistics.interval([statistics.area(*c, low, high) for c in own])
        half = "" if area.half is None else f" ± {area.half:.3g}"
        lines.append(
            f"  {name}: {area.mean:.4g}{half} ({len(own)} seed{'s'[: len(own) > 1]})"
        )
    return lines


def differences(folder, measure, base=None):
    """Yields (axis, table) of the differences of a measure along each swept value of a folder, as text.

    None are made while runs are being trained, or of many runs or values: `experiments.paired` has them.
    """
    done = all(row["status"] != "training" for row in folder.rows)
    if not done or len(folder.rows) > PAIRED or "seed" not in folder.names:
        return
    for name in folder.swept:
        if len({row[name] for row in folder.rows}) <= TESTED:
            try:
                yield (
                    name,
                    paired.told(
                        paired.differences(folder.path, name, measure, base=base)
                    ),
                )
            except InputError:  # as where every run of all but one value diverged
                continue
