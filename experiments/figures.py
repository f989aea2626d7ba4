"""Draws the figures of a run folder again, or some of them.

    python -m experiments.figures --workdir=runs/digits
    python -m experiments.figures --workdir=runs/digits --figures=rates,heat_map

A figure that is not in the package is named by its module and function, as mine.plots:spectrum.
Those of test data beyond the ten examples that a folder keeps need the data set: --data_dir.
"""

from absl import flags

from aevae import InputError, figures
from aevae.figures.draw import FIGURES
from aevae.system import machine
from experiments import command


def define():
    flags.DEFINE_string("workdir", None, "the run folder")
    known = ", ".join(function.__name__ for function in FIGURES)
    flags.DEFINE_list(
        "figures",
        None,
        f"figures to draw, instead of all that have a meaning: {known}, or module:function",
    )
    flags.DEFINE_list(
        "prior", None, "fitted priors to sample from, instead of all that were fitted"
    )
    flags.DEFINE_string("data_dir", None, "where TFDS has prepared data sets")
    flags.DEFINE_string("dataset", None, "where the runs' data are now, if they moved")


def main(args):
    if not args["workdir"].value:
        raise InputError("name the run folder with --workdir")
    machine.prepare()
    for path in figures.draw(
        args["workdir"].value,
        args["figures"].value,
        dataset=args["dataset"].value,
        data_dir=args["data_dir"].value,
        priors=args["prior"].value,
    ):
        print(path)


if __name__ == "__main__":
    command.run(define, main)
