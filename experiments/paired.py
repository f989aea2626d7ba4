"""Tabulates what a swept value changes: differences paired by seed, with intervals and p-values.

    python -m experiments.paired --workdir=runs/digits --by=beta --base=1
    python -m experiments.paired --workdir=runs/digits --by=latent --measure=elbo,iwae

Each value of the axis is set against the base value, at each point of all other axes. Intervals of
differences are Student's t, with Bonferroni's correction; p-values are Holm's, both over all
comparisons of a measure. Runs are pairs where they share a seed and their start; across latent
sizes, network widths or batches they share none, and differences are unpaired (Welch). The table is
written to paired.csv, and drawn to paired.png. Axes that change together are named together:
--by=beta,lr --base=1:1e-3.
"""

from pathlib import Path

from absl import flags

from aevae import InputError, config, figures
from aevae.figures import differences
from aevae.runs import paired
from experiments import command


def define():
    flags.DEFINE_string("workdir", None, "the run folder of a sweep")
    flags.DEFINE_list("by", None, "the axis, or axes that change together: columns")
    flags.DEFINE_list("measure", ["elbo"], "columns of results.csv")
    flags.DEFINE_string(
        "base", None, "the value that others are set against; the first"
    )
    flags.DEFINE_enum(
        "best",
        None,
        ["highest", "lowest"],
        "which mean is the best; by default as it is known of the measure",
    )


def main(args):
    if not args["workdir"].value:
        raise InputError("name the run folder with --workdir")
    if not args["by"].value:
        raise InputError("name the axis with --by, as --by=beta")
    if not args["measure"].value:
        raise InputError("name what is compared with --measure, as --measure=elbo")
    workdir, by, against = args["workdir"].value, args["by"].value, args["base"].value
    if against is not None:
        (against,) = config.axis(f"{','.join(by)}={against}")[1]
    best = args["best"].value
    highest = None if best is None else best == "highest"
    found = [
        paired.differences(workdir, by, measure, against, highest)
        for measure in args["measure"].value
    ]
    for own in found:
        digits = 3 if own.rows[0]["measure"].endswith("accuracy") else 2
        print(paired.told(own, digits), end="\n\n")
    print(paired.write(workdir, found))
    with figures.style():
        drawn = differences.drawn(found)
        print(figures.save(drawn, Path(workdir) / "paired.png"))


if __name__ == "__main__":
    command.run(define, main)
