"""Evaluates every run of a folder, and adds the numbers to its results.

    python -m experiments.evaluate --workdir=runs/digits
    python -m experiments.evaluate --workdir=runs/digits --measures=likelihood,ais --k=5000

By default everything that has a meaning for the data and the method, but annealed importance
sampling. The same command again goes on where it was interrupted, and what is known is not
measured again. Exit codes: 0; 1 the disk is full or cannot be written; 2 a fault of the input;
128 + n: signal n.
"""

from absl import flags

from aevae import InputError
from aevae.evaluation import evaluate
from aevae.runs import tables
from experiments import command


def define():
    flags.DEFINE_string("workdir", None, "the run folder")
    flags.DEFINE_list("measures", None, f"some of {', '.join(evaluate.MEASURES)}")
    flags.DEFINE_integer("k", 5000, "samples of the importance-weighted bound")
    flags.DEFINE_integer("ais_chains", 16, "chains an example")
    flags.DEFINE_integer("ais_steps", 500, "temperatures from the prior on")
    flags.DEFINE_integer("ais_examples", 100, "test examples, the first ones")
    flags.DEFINE_integer(
        "minibatch",
        0,
        "how large the batches are that total correlation is estimated from as well, "
        "beside the exact one; 0: none",
    )
    flags.DEFINE_string("data_dir", None, "where TFDS has prepared data sets")


def main(args):
    workdir = args["workdir"].value
    if not workdir:
        raise InputError("name the run folder with --workdir")
    found = evaluate.run(
        workdir,
        args["measures"].value,
        k=args["k"].value,
        chains=args["ais_chains"].value,
        steps=args["ais_steps"].value,
        examples=args["ais_examples"].value,
        minibatch=args["minibatch"].value,
        data_dir=args["data_dir"].value,
    )
    ceilings = [name for name in found if name.endswith("_ceiling")]
    shown = [name for name in found if name not in ceilings]
    for part in _parts(shown):
        print(tables.summary(workdir, part) + "\n")
    if ceilings:
        row = next(r for r in tables.results(workdir) if r.get(ceilings[0]) is not None)
        best = ", ".join(f"{n.removesuffix('_ceiling')} {row[n]:.3f}" for n in ceilings)
        print(f"A perfect code on these factors reaches {best}.")
    print(
        f"Test split, nats, mean ± deviation over seeds. All of it is in {workdir}/results.csv, "
        "and that of each latent in latents.csv."
    )


def _parts(names, width=6):
    """So many columns in a table."""
    return [names[i : i + width] for i in range(0, len(names), width)]


if __name__ == "__main__":
    command.run(define, main)
