"""Evaluates every run of a folder, and adds the numbers to its results.

    python -m experiments.evaluate --workdir=runs/digits
    python -m experiments.evaluate --workdir=runs/digits --measures=likelihood,ais --k=5000
    python -m experiments.evaluate --workdir=runs/digits --measures=mine:accuracy

By default everything that has a meaning for the data and the method, except what takes long. A
measure that is not in the package is named as module:function. The same command again resumes
where it was interrupted, and what is known of the same parameters, by the same code and with the
same options, is not measured again, unless by --fresh.

On several processes or machines, as `experiments.sweep` does:

    python -m experiments.evaluate --workdir=runs/digits --workers=4
    python -m experiments.evaluate --workdir=runs/digits --group=3     (or --collect)

Exit codes: 0; 1 the disk is full or cannot be written, or the memory is too small; 2 a fault of the
input; 128 + n: signal n.
"""

from pathlib import Path

from absl import flags

from aevae import InputError
from aevae.evaluation import collapse, evaluate, generation, worker
from aevae.runs import record, statistics, tables
from experiments import command

ONE_OF = "workers", "group", "collect"  # one of them at most
NOT_COLLECTED = "fresh", "chunk", "data_dir", "dataset"
MAKERS = {  # of flags, by the kind of an option
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    list: flags.DEFINE_list,
}
OPTIONS = {  # of all measures, each by its name
    name: option
    for measure in evaluate.MEASURES
    for name, option in measure.contract.options.items()
}


def define():
    names = ", ".join(measure.__name__ for measure in evaluate.MEASURES)
    flags.DEFINE_list("measures", None, f"some of {names}, or module:function")
    define_work(OPTIONS)


def define_work(options):
    """Defines the flags of a command that does measures, but for which, with their options."""
    flags.DEFINE_string("workdir", None, "the run folder")
    flags.DEFINE_bool("fresh", False, "measure again what is known")
    flags.DEFINE_integer(
        "chunk", None, "how many runs a device evaluates at a time", lower_bound=1
    )
    flags.DEFINE_string("data_dir", None, "where TFDS has prepared data sets")
    flags.DEFINE_string("dataset", None, "where the runs' data are now, if they moved")
    command.define_workers()
    flags.DEFINE_integer(
        "group",
        None,
        "evaluate this group alone, without tables, and end",
        lower_bound=0,
    )
    flags.DEFINE_bool("collect", False, "make tables from what is known, and end")
    for name, option in options.items():
        default = list(option.default) if option.kind is list else option.default
        MAKERS[option.kind](name, default, option.help)


def main(args):
    measures = args["measures"].value
    found = work(args, "measures", measures, OPTIONS)
    if found is None:
        return 0
    if measures and generation.generation.__name__ in measures:
        for part in _parts(generation.COLUMNS):
            print(tables.priors(args["workdir"].value, columns=part) + "\n")
    if measures and collapse.collapse.__name__ in measures:
        _deaths(args["workdir"].value)
    return report(args["workdir"].value, found)


def _deaths(workdir):
    """Prints at which beta each latent collapses, if several betas were swept."""
    names = [n for n in record.read(workdir)["columns"] if n not in ("run", "seed")]
    rows = tables.read(Path(workdir) / "latents.csv")
    names = [n for n in names if len({row[n] for row in rows}) > 1 and n != "beta"]
    found = collapse.along_beta(rows, names)
    if not found:
        return
    lines = [[*names, "latent by rate", "alive at beta", "dead at", "estimate"]]
    for point, deaths in found.items():
        for death in deaths:
            ends = ["" if v is None else f"{v:g}" for v in (death.alive, death.dead)]
            estimate = "" if death.estimate is None else f"{death.estimate:.3g}"
            lines.append([*map(str, point), str(death.rank), *ends, estimate])
    print(tables.aligned(lines) + "\n")


def work(args, flag, measures, options):
    """Has measures done as the flags of `define_work` say; the columns, or None of one group alone.

    `flag` is the name of the flag that the measures were given by.
    """
    workdir = args["workdir"].value
    if not workdir:
        raise InputError("name the run folder with --workdir")
    how = [
        name for name in ONE_OF if args[name].present and args[name].value is not False
    ]
    if len(how) > 1:
        raise InputError(
            f"--{' and --'.join(how)} are different commands: leave all but one out"
        )
    if how == ["collect"]:
        wrong = [n for n in (flag, *NOT_COLLECTED, *options) if args[n].present]
        if wrong:
            raise InputError(
                f"--collect takes what is known: leave out --{', --'.join(wrong)}"
            )
        return evaluate.collect(workdir)
    given = {name: args[name].value for name in options if args[name].present}
    given |= {
        name: args[name].value for name in ("fresh", "dataset", "data_dir", "chunk")
    }
    if how == ["group"]:
        number = args["group"].value
        done = worker.run(workdir, number, measures, **given)
        print(f"group {number} of {workdir} is evaluated by {', '.join(done)}")
        return None
    return evaluate.run(workdir, measures, workers=args["workers"].value, **given)


def report(workdir, found):
    """Prints the columns that were found; the exit code."""
    ceilings = [name for name in found if name.endswith("_ceiling")]
    shown = tables.without_errors(found)
    hidden = len(shown) < len(found)
    for part in _parts([name for name in shown if name not in ceilings]):
        print(tables.summary(workdir, part) + "\n")
    if ceilings:
        rows = tables.results(workdir)
        row = next(row for row in rows if row.get(ceilings[0]) is not None)
        best = ", ".join(f"{n.removesuffix('_ceiling')} {row[n]:.3f}" for n in ceilings)
        print(f"A perfect code on these factors reaches {best}.")
    more = [f"{workdir}/{name}.csv" for name in tables.written(workdir)]
    print(
        f"Test split, nats, {statistics.MEANING}. All of it is in "
        f"{' and '.join([f'{workdir}/results.csv', *more])}."
    )
    if hidden:
        print(
            "The standard error of each run's own estimate stands there, as `_error`."
        )
    for line in tables.few(workdir):
        print(line)
    return 0


def _parts(names, width=6):
    """The names, so many at a time."""
    return [names[i : i + width] for i in range(0, len(names), width)]


if __name__ == "__main__":
    command.run(define, main)
