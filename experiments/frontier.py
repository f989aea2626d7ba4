"""Tabulates the rate-distortion frontier of a beta sweep, and whether it is as theory has it.

    python -m experiments.frontier --workdir=runs/mnist_frontier
    python -m experiments.frontier --workdir=runs/mnist_frontier --multi_rate=runs/multi_rate

Where runs minimize distortion + beta · rate over one family of models, the rate falls and the
distortion rises with beta, the slope of the chord between two neighbors lies between their betas, and
distortion + rate is least at beta = 1 (Alemi et al., 2018), all on the training split. Its values are
running averages over the last epoch.

The area under the curve that joins a seed's points is one number for all of it, the smaller the
better; that of several sweeps is over the rates that all of them, with all seeds, go over. Differences
from that of the first sweep are paired by seed where runs share their start, and else Welch's.

The second command sets multi-rate runs (`configs/multi_rate.py`) beside the sweep, on the test split: the
distance of what a run of each beta minimizes, and a figure of both in the multi-rate folder.
"""

from pathlib import Path

import numpy as np
from absl import flags

from aevae import InputError, config
from aevae.figures import frontier, looks, sheet
from aevae.runs import record, statistics, tables
from aevae.system import files
from experiments import command


def define():
    flags.DEFINE_string("workdir", None, "the run folder of a sweep over beta")
    flags.DEFINE_string(
        "multi_rate", None, "the run folder of multi-rate runs, to set beside it"
    )


def sweeps(workdir):
    """The sweeps over beta of a run folder, {what else tells their runs apart: rows of curves.csv}.

    They are of the last epoch of runs that have not diverged. Runs of other values, as another
    latent size, are a sweep of their own; those that have fewer than two betas are left out.
    """
    names = record.read(workdir)["columns"]
    rows = [row for row in tables.results(workdir) if row["diverged"] is None]
    rows = [row for row in rows if None not in (row.get("beta"), row["elbo"])]
    if not rows:
        raise InputError(
            f"{workdir} has no beta and rate: it is no sweep over beta; name another --workdir"
        )
    last = {row["run"]: row["epochs"] for row in rows}
    curves = [
        row
        for row in tables.read(Path(workdir) / "curves.csv")
        if row["epoch"] == last.get(row["run"])
    ]
    names = [name for name in names if name not in ("run", "beta", "seed")]
    names = [name for name in names if len(sheet.values(curves, name)) > 1]
    found = {
        sheet.named(names, point): own
        for point, own in sheet.grouped(curves, names).items()
        if len({row["beta"] for row in own}) > 1
    }
    if not found:
        raise InputError(f"{workdir} has no two betas of otherwise equal runs")
    return found


def table(curves):
    """The table of a sweep, as lines of cells, and [(fact, whether it holds)].

    The last fact, of beta = 1, needs betas on both sides of it. The table is of the seeds that were
    trained at every beta, whose number stands third.
    """
    betas, seeds, rate, distortion = plane(curves)
    slopes = -np.diff(distortion, axis=0) / np.diff(rate, axis=0)
    total = rate + distortion
    lines = [["beta", "rate", "distortion", "sum", "slope to the next", "between"]]
    between = []
    for i, beta in enumerate(betas):
        lines.append(
            [f"{beta:g}", *map(tables.interval, (rate[i], distortion[i], total[i]))]
        )
        if i < len(slopes):
            mean, error = slopes[i].mean(), 2 * _error(slopes[i])
            between.append(beta - error <= mean <= betas[i + 1] + error)
            lines[-1] += [tables.interval(slopes[i], 3), "yes" if between[-1] else "no"]
        else:
            lines[-1] += ["", ""]
    least = betas[int(total.mean(1).argmin())]
    monotone = (np.diff(rate.mean(1)) < 0).all() and (
        np.diff(distortion.mean(1)) > 0
    ).all()
    facts = [
        ("the rate falls and the distortion rises with beta", monotone),
        ("every slope lies between its betas, within 2 standard errors", all(between)),
    ]
    if 1 in betas[1:-1]:
        name = f"distortion + rate is least at beta = 1 (here at {least:g})"
        facts.append((name, least == 1))
    return lines, facts, len(seeds)


def plane(curves):
    """Betas [B], seeds [S] that were trained at all of them, and rate and distortion [B, S]."""
    betas, seeds = (sorted({row[name] for row in curves}) for name in ("beta", "seed"))
    found = {(row["beta"], row["seed"]): row for row in curves}
    seeds = [seed for seed in seeds if all((beta, seed) in found for beta in betas)]
    if not seeds:
        raise InputError("no seed has been trained at every beta: add one")
    rate, distortion = (
        np.array([[found[b, s][f"train_{name}"] for s in seeds] for b in betas])
        for name in ("rate", "distortion")
    )
    return betas, seeds, rate, distortion


def areas(found):
    """The areas under curves of sweeps, {name: {seed: nats²}}, and the rates (from, to) they are over.

    Args:
      found: {name: rows of curves.csv}, as `sweeps` gives them.
    Returns:
      None in place of the rates, and no areas, where the curves share none.
    """
    planes = {name: plane(own)[1:] for name, own in found.items()}
    curves = {
        name: {s: (r, d) for s, r, d in zip(seeds, rate.T, distortion.T)}
        for name, (seeds, rate, distortion) in planes.items()
    }
    span = statistics.shared_span([c for own in curves.values() for c in own.values()])
    if span is None:
        return {}, None
    return {
        name: {seed: statistics.area(*curve, *span) for seed, curve in own.items()}
        for name, own in curves.items()
    }, span


def distances(workdir, multi_rate):
    """Multi-rate runs beside runs of one beta each, on the test split.

    Returns:
      The rows of frontier.csv and of results.csv of the betas that both have, and {beta:
      {"separate", "multi_rate": [S]}}: distortion + beta · rate, of the seeds that all have.
    Raises:
      InputError: the folders do not compare.
    """
    path = Path(multi_rate) / "frontier.csv"
    betas, rows = _separate(workdir)
    asked = ",".join(f"{beta:g}" for beta in betas)
    way = (
        f"python -m experiments.evaluate --workdir={multi_rate} --measures=frontier "
        f"--betas={asked}"
    )
    if not path.is_file():
        record.read(multi_rate)
        raise InputError(f"{path} is not there: {way}")
    curve = tables.read(path)
    names = [n for n in record.read(multi_rate)["columns"] if n not in ("run", "seed")]
    points = sheet.grouped(curve, names)
    if len(points) > 1:
        swept = [name for name in names if len(sheet.values(curve, name)) > 1]
        raise InputError(f"{multi_rate} has several curves, by {', '.join(swept)}")
    both = {
        beta: [row for row in curve if np.isclose(row["at_beta"], beta, 1e-5)]
        for beta in betas
    }
    lacking = [f"{beta:g}" for beta, own in both.items() if not own]
    if lacking:
        raise InputError(f"{path} has no beta {', '.join(lacking)}: {way}")
    seeds = [{row["seed"] for row in own} for own in both.values()]
    seeds += [{r["seed"] for r in rows if r["beta"] == beta} for beta in betas]
    seeds = sorted(set.intersection(*seeds))
    if not seeds:
        raise InputError("no seed has been trained at every beta in both folders")

    def objective(found, beta):
        by_seed = {row["seed"]: row for row in found}
        own = [by_seed[seed] for seed in seeds]
        return np.array([row["distortion"] + beta * row["rate"] for row in own])

    found = {
        beta: {
            "separate": objective([r for r in rows if r["beta"] == beta], beta),
            "multi_rate": objective(own, beta),
        }
        for beta, own in both.items()
    }
    return [row for own in both.values() for row in own], rows, found


def _separate(workdir):
    """The betas of a sweep of nothing else, and the rows of its results."""
    found = sweeps(workdir)
    if len(found) > 1:
        raise InputError(
            f"{workdir} has several sweeps over beta ({'; '.join(found)}): multi-rate runs are set "
            "beside one"
        )
    (curves,) = found.values()
    runs = {row["run"] for row in curves}
    rows = [row for row in tables.results(workdir) if row["run"] in runs]
    return sorted({row["beta"] for row in rows}), rows


def compare(workdir, multi_rate):
    """Prints the distances, and draws the figure `beside` into the multi-rate folder."""
    curve, rows, found = distances(workdir, multi_rate)
    lines = [["beta", "a run each", "multi-rate", "difference", "95 % interval"]]
    differences = {}
    for beta, own in found.items():
        differences[beta] = own["multi_rate"] - own["separate"]
        mean, half, *_ = statistics.interval(differences[beta], len(found))
        told = "" if half is None else f"{mean - half:.3f} to {mean + half:.3f}"
        both = [tables.interval(own[name], 3) for name in ("separate", "multi_rate")]
        lines.append([f"{beta:.4g}", *both, f"{mean:.3f}", told])
    count = len(next(iter(differences.values())))
    print(tables.aligned(lines))
    print(
        "\nDistortion + beta · rate, test split, nats, mean and half-width of the 95 % t interval "
        f"over {sheet.seeds([count])}; intervals of differences of equal seeds, which hold together "
        f"with 95 % (Bonferroni, {statistics.comparisons(len(found))})."
    )
    folder = Path(multi_rate) / "figures"
    with files.writing(folder):
        folder.mkdir(exist_ok=True)
    with looks.style():
        figure = frontier.beside(curve, rows, differences, sheet.source(rows))
        path = sheet.save(figure, folder / "beside.png")
    print(f"Drawn into {path}.")


def _error(values):
    return values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0


def area_differences(workdir, curves, found):
    """Areas of sweeps less that of the first: {name: (`statistics.Estimate`, "paired t" or "Welch")}.

    Intervals hold together with 95 %. Sweeps of which no seed is on both sides are left out.

    Args:
      curves: {name: rows of curves.csv}, as `sweeps` gives them.
      found: {name: {seed: nats²}}, as `areas` gives them.
    Raises:
      InputError: the configs of the folder cannot be made again.
    """
    first, *others = found
    starts = config.starts(record.declared(workdir))
    own = {name: {starts[row["run"]] for row in curves[name]} for name in found}
    estimates = {}
    for name in others:
        a, b = found[name], found[first]
        if len(own[name] | own[first]) > 1:
            sides = [*a.values()], [*b.values()]
            estimate = statistics.welch(*sides, len(others))
            estimates[name] = estimate, "Welch"
        elif seeds := [seed for seed in a if seed in b]:
            sides = ([side[seed] for seed in seeds] for side in (a, b))
            estimates[name] = statistics.paired(*sides, len(others)), "paired t"
    return estimates


def _area_differences(workdir, curves, found):
    """Yields lines on the differences of areas, where there are several."""
    if len(found) < 2:
        return
    try:
        estimates = area_differences(workdir, curves, found)
    except InputError as fault:
        yield f"no differences of areas: {fault}"
        return
    adjusted = statistics.holm([estimate.p for estimate, _ in estimates.values()])
    for p, (name, (estimate, test)) in zip(adjusted, estimates.items()):
        p = "" if p is None else f", p = {p:.3g}"
        yield (
            f"area of {name} less that of {next(iter(found))}: {tables.estimated(estimate)} nats² "
            f"({test}{p})"
        )
    if not estimates:
        yield "no differences of areas: no seed is in the first sweep and another"
        return
    many = statistics.comparisons(len(found) - 1)
    yield f"Intervals of differences hold together with 95 % (Bonferroni, {many}); p is Holm's."


def _areas(workdir, curves):
    """Yields lines on the areas under the curves of sweeps, and on their differences."""
    found, span = areas(curves)
    if span is None:
        yield "area under the curves: none, for they share no rates"
    for name, own in found.items():
        values = np.array([*own.values()])
        wide = span[1] - span[0]
        yield (
            f"area under the curve{f' of {name}' if name else ''} from rate {span[0]:.2f} to "
            f"{span[1]:.2f}: {tables.interval(values)} nats², a mean distortion of "
            f"{tables.interval(values / wide)}"
        )
    yield from _area_differences(workdir, curves, found)


def main(args):
    if not args["workdir"].value:
        raise InputError("name the run folder with --workdir")
    if args["multi_rate"].value:
        return compare(args["workdir"].value, args["multi_rate"].value)
    found, left, curves = {}, [], sweeps(args["workdir"].value)
    for name, own in curves.items():
        try:
            found[name] = table(own)
        except InputError as fault:
            left.append(f"{name}: {fault}" if name else str(fault))
    if not found:
        raise InputError("; ".join(left))
    for name, (lines, facts, seeds) in found.items():
        print(*[f"{name}:"] if name else [], tables.aligned(lines), sep="\n")
        over = sheet.seeds([seeds])
        print(f"\nTraining split, nats, {statistics.MEANING} ({over}).")
        for fact, holds in facts:
            print(f"{'holds' if holds else 'DOES NOT HOLD'}: {fact}")
        few = statistics.few([seeds])
        print(*[few] if few else [], end="\n" if few else "")
    for line in _areas(args["workdir"].value, {name: curves[name] for name in found}):
        print(line)
    for line in left:
        print(f"left out, {line}")


if __name__ == "__main__":
    command.run(define, main)
