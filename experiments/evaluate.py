"""Evaluates every run of a folder, and adds the numbers to its results.

    python -m experiments.evaluate --workdir=runs/digits
    python -m experiments.evaluate --workdir=runs/digits --measures=likelihood,ais --k=5000
    python -m experiments.evaluate --workdir=runs/digits --measures=mine:accuracy

By default everything that has a meaning for the data and the method, except what takes long. A
measure that is not in the package is named as module:function. The same command again resumes
where it was interrupted, and what is known of the same parameters, by the same code and with the
same options, is not measured again, unless by --fresh. Exit codes: 0; 1 the disk is full or cannot
be written, or the memory is too small; 2 a fault of the input; 128 + n: signal n.
"""

from pathlib import Path

from absl import flags

from aevae import InputError
from aevae.evaluation import evaluate
from aevae.runs import tables
from experiments import command

OPTIONS = {  # of all measures, each by its name
    name: option
    for measure in evaluate.MEASURES
    for name, option in measure.contract.options.items()
}


def define():
    names = ", ".join(measure.__name__ for measure in evaluate.MEASURES)
    flags.DEFINE_string("workdir", None, "the run folder")
    flags.DEFINE_list("measures", None, f"some of {names}, or module:function")
    flags.DEFINE_bool("fresh", False, "measure again what is known")
    flags.DEFINE_integer(
        "chunk", None, "how many runs a device evaluates at a time", lower_bound=1
    )
    flags.DEFINE_string("data_dir", None, "where TFDS has prepared data sets")
    flags.DEFINE_string("dataset", None, "where the runs' data are now, if they moved")
    for name, option in OPTIONS.items():
        make = flags.DEFINE_list if option.kind is list else flags.DEFINE_integer
        default = list(option.default) if option.kind is list else option.default
        make(name, default, option.help)


def main(args):
    workdir = args["workdir"].value
    if not workdir:
        raise InputError("name the run folder with --workdir")
    found = evaluate.run(
        workdir,
        args["measures"].value,
        fresh=args["fresh"].value,
        dataset=args["dataset"].value,
        data_dir=args["data_dir"].value,
        chunk=args["chunk"].value,
        **{name: args[name].value for name in OPTIONS if args[name].present},
    )
    ceilings = [name for name in found if name.endswith("_ceiling")]
    shown = [name for name in found if name not in ceilings]
    for part in _parts(shown):
        print(tables.summary(workdir, part) + "\n")
    if ceilings:
        rows = tables.results(workdir)
        row = next(row for row in rows if row.get(ceilings[0]) is not None)
        best = ", ".join(f"{n.removesuffix('_ceiling')} {row[n]:.3f}" for n in ceilings)
        print(f"A perfect code on these factors reaches {best}.")
    latents = (Path(workdir) / "latents.csv").is_file()
    print(
        "Test split, nats, mean ± standard deviation over seeds. All of it is in "
        f"{workdir}/results.csv{', and that of each latent in latents.csv' * latents}."
    )


def _parts(names, width=6):
    """The names, so many at a time."""
    return [names[i : i + width] for i in range(0, len(names), width)]


if __name__ == "__main__":
    command.run(define, main)
