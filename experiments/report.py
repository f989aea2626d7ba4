"""Writes a page of run folders for the browser: tables, linked plots and pictures in one HTML file.

    python -m experiments.report --workdir=runs/digits
    python -m experiments.report --workdir=runs/one --workdir=runs/other --out=both.html
    python -m experiments.report --workdir=runs/digits --watch

The file asks no network, and can be sent to others. With --watch it is written anew while a sweep
trains, and a page that is open loads itself again; it ends when all runs have finished, or by Ctrl-C.
"""

from absl import flags

from aevae import InputError
from aevae.figures import report
from aevae.system import machine
from experiments import command


def define():
    flags.DEFINE_multi_string(
        "workdir", None, "a run folder; several flags set several side by side"
    )
    flags.DEFINE_string(
        "out",
        None,
        "the file; by default report.html in the folder, or beside the first of several",
    )
    flags.DEFINE_list(
        "runs",
        None,
        "numbers of up to 100 runs whose pictures are in the file; those of others are beside it",
    )
    flags.DEFINE_bool("watch", False, "write it anew while a sweep trains")
    flags.DEFINE_float(
        "every",
        report.EVERY,
        "with --watch: seconds between two looks at the folders",
        lower_bound=0.1,
    )


def main(args):
    machine.prepare()
    runs = args["runs"].value
    given = args["workdir"].value, args["out"].value
    if "" in (given[0] or ()):
        raise InputError("--workdir is empty: give a path, or leave it out")
    if not args["watch"].value:
        if args["every"].present:
            raise InputError("--every is of --watch: leave it out")
        print(report.write(*given, runs=runs and numbers(runs)))
        return
    told = report.watch(*given, runs=runs and numbers(runs), every=args["every"].value)
    print(f"{told}: all runs have finished")


def numbers(texts):
    """The numbers of runs that --runs names."""
    try:
        return [int(text) for text in texts]
    except ValueError:
        raise InputError(
            f"--runs must be numbers of runs, as 0,3,7, not {','.join(texts)!r}"
        ) from None


if __name__ == "__main__":
    command.run(define, main)
