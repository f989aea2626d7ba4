"""Draws the figures of a run folder again, or some of them.

    python -m experiments.figures --workdir=runs/digits
    python -m experiments.figures --workdir=runs/digits --figures=rates,heat_map

A figure that is not in the package is named by its module and function, as mine.plots:spectrum.
They are made for a paper of two columns; --style, --width and --band make others (experiments/figures.md).
Beside NAME.png and NAME.pdf is the caption, NAME.txt.

Those of test data beyond the ten examples that a folder keeps need the data set: --data_dir.
"""

from absl import flags

from aevae import InputError, figures
from aevae.figures import looks
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
    flags.DEFINE_enum("style", "paper", [*looks.LETTERS], "what figures are made for")
    flags.DEFINE_enum(
        "width",
        None,
        [*looks.WIDTHS],
        "a column of a paper or its whole page, instead of what the content needs",
    )
    flags.DEFINE_enum(
        "band",
        "interval",
        [*looks.BANDS],
        "what bands show of seeds: the 95 % t interval of the mean, least and greatest, or a standard deviation",
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
        style=args["style"].value,
        width=args["width"].value,
        band=args["band"].value,
    ):
        print(path)


if __name__ == "__main__":
    command.run(define, main)
