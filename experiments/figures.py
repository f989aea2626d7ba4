"""Draws the figures of a run folder again.

python -m experiments.figures --workdir=runs/digits
"""

from absl import flags

from aevae import InputError, figures, machine
from experiments import command


def define():
    flags.DEFINE_string("workdir", None, "the run folder")


def main(args):
    if not args["workdir"].value:
        raise InputError("name the run folder with --workdir")
    machine.prepare()
    for path in figures.draw(args["workdir"].value):
        print(path)


if __name__ == "__main__":
    command.run(define, main)
