"""Tabulates the rate-distortion frontier of a beta sweep, and whether it is as theory has it.

    python -m experiments.frontier --workdir=runs/mnist_frontier

Where runs minimize distortion + beta · rate over one family of models, the rate falls and the
distortion rises with beta, the slope of the chord between two neighbors lies between their betas, and
distortion + rate is least at beta = 1 (Alemi et al., 2018), all on the training split. Its values are
running averages over the last epoch.
"""

from pathlib import Path

import numpy as np
from absl import flags

from aevae import InputError
from aevae.figures import sheet
from aevae.runs import record, tables
from experiments import command


def define():
    flags.DEFINE_string("workdir", None, "the run folder of a sweep over beta")


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

    The last fact, of beta = 1, needs betas on both sides of it. The table is of the seeds that were trained at every beta, whose number stands third.
    """
    betas, seeds = (sorted({row[name] for row in curves}) for name in ("beta", "seed"))
    found = {(row["beta"], row["seed"]): row for row in curves}
    seeds = [seed for seed in seeds if all((beta, seed) in found for beta in betas)]
    if not seeds:
        raise InputError("no seed has been trained at every beta: add one")
    rate, distortion = (
        np.array([[found[b, s][f"train_{name}"] for s in seeds] for b in betas])
        for name in ("rate", "distortion")
    )
    slopes = -np.diff(distortion, axis=0) / np.diff(rate, axis=0)
    total = rate + distortion
    lines = [["beta", "rate", "distortion", "sum", "slope to the next", "between"]]
    between = []
    for i, beta in enumerate(betas):
        lines.append(
            [f"{beta:g}", *map(tables.spread, (rate[i], distortion[i], total[i]))]
        )
        if i < len(slopes):
            mean, error = slopes[i].mean(), 2 * _error(slopes[i])
            between.append(beta - error <= mean <= betas[i + 1] + error)
            lines[-1] += [tables.spread(slopes[i], 3), "yes" if between[-1] else "no"]
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


def _error(values):
    return values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0


def main(args):
    if not args["workdir"].value:
        raise InputError("name the run folder with --workdir")
    found, left = {}, []
    for name, own in sweeps(args["workdir"].value).items():
        try:
            found[name] = table(own)
        except InputError as fault:
            left.append(f"{name}: {fault}" if name else str(fault))
    if not found:
        raise InputError("; ".join(left))
    for name, (lines, facts, seeds) in found.items():
        print(*[f"{name}:"] if name else [], tables.aligned(lines), sep="\n")
        over = sheet.seeds([seeds])
        print(f"\nTraining split, nats, mean ± standard deviation over {over}.")
        for fact, holds in facts:
            print(f"{'holds' if holds else 'DOES NOT HOLD'}: {fact}")
    for line in left:
        print(f"left out, {line}")


if __name__ == "__main__":
    command.run(define, main)
