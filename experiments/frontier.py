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
from aevae.runs import record, tables
from experiments import command


def define():
    flags.DEFINE_string("workdir", None, "the run folder of a sweep over beta")


def table(workdir):
    """The table of a run folder, as lines of cells, and [(fact, whether it holds)] of the three facts."""
    record.read(workdir)
    rows = [row for row in tables.results(workdir) if row["diverged"] is None]
    if "beta" not in rows[0] or rows[0]["elbo"] is None:
        raise InputError(
            f"{workdir} has no beta and rate: it is no sweep over beta; name another --workdir"
        )
    last = {row["run"]: row["epochs"] for row in rows}
    curves = [
        row
        for row in tables.read(Path(workdir) / "curves.csv")
        if row["epoch"] == last.get(row["run"])
    ]
    if len({row["latent"] for row in curves}) > 1:
        raise InputError(
            f"{workdir} has several latent sizes: sweep beta and seed alone"
        )
    betas, seeds = (sorted({row[name] for row in curves}) for name in ("beta", "seed"))
    found = {(row["beta"], row["seed"]): row for row in curves}
    if len(found) < len(betas) * len(seeds) or len(betas) < 2:
        raise InputError(
            f"{workdir} must have every seed at every one of several betas"
        )
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
            [f"{beta:g}", *map(command.spread, (rate[i], distortion[i], total[i]))]
        )
        if i < len(slopes):
            mean, error = slopes[i].mean(), 2 * _error(slopes[i])
            between.append(beta - error <= mean <= betas[i + 1] + error)
            lines[-1] += [command.spread(slopes[i], 3), "yes" if between[-1] else "no"]
        else:
            lines[-1] += ["", ""]
    least = betas[int(total.mean(1).argmin())]
    monotone = (np.diff(rate.mean(1)) < 0).all() and (
        np.diff(distortion.mean(1)) > 0
    ).all()
    facts = [
        ("the rate falls and the distortion rises with beta", monotone),
        ("every slope lies between its betas, within 2 standard errors", all(between)),
        (f"distortion + rate is least at beta = 1 (here at {least:g})", least == 1),
    ]
    return lines, facts


def _error(values):
    return values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0


def main(args):
    if not args["workdir"].value:
        raise InputError("name the run folder with --workdir")
    lines, facts = table(args["workdir"].value)
    print(tables.aligned(lines))
    print("\nTraining split, nats, mean ± standard deviation over seeds.")
    for fact, holds in facts:
        print(f"{'holds' if holds else 'DOES NOT HOLD'}: {fact}")


if __name__ == "__main__":
    command.run(define, main)
