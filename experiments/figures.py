"""Draws the figures of a run folder again.

    python -m experiments.figures --workdir=runs/digits

Those of test data beyond the ten examples that a folder keeps need the data set: --data_dir.
"""

from absl import flags

from aevae import InputError, figures
from aevae.system import machine
from experiments import command


def define():
    flags.DEFINE_string("workdir", None, "the run folder")
    flags.DEFINE_string("data_dir", None, "where TFDS has prepared data sets")


def main(args):
    if not args["workdir"].value:
        raise InputError("name the run folder with --workdir")
    machine.prepare()
    for path in figures.draw(args["workdir"].value, data_dir=args["data_dir"].value):
        print(path)


if __name__ == "__main__":
    command.run(define, main)
