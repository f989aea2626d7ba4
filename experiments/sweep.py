"""Trains a grid of runs into a run folder; all runs of one network shape train in one program.

    python -m experiments.sweep
    python -m experiments.sweep --config=configs/mnist_beta.py --workdir=runs/beta \\
        --config.epochs=20 --config.hparams.lr=3e-4 \\
        --sweep=latent=2,5,10,20 --sweep=beta=0.5,1,2,4 --sweep=seed=0,1,2

On several processes or machines, by an engine (Parsl) or by any scheduler's tasks:

    python -m experiments.sweep --config=... --workdir=runs/beta --workers=4
    python -m experiments.sweep --config=... --workdir=runs/beta --workers=experiments/workers/slurm.py
    python -m experiments.sweep --config=... --workdir=runs/beta --declare
    python -m experiments.sweep --workdir=runs/beta --group=3     (or --status, --collect)

The same command again resumes what was interrupted. Every value of the config is a flag; --helpfull
lists them. Exit codes: 0; 1 the disk is full or cannot be written, or the memory is too small (--chunk,
--data_gb); 2 a fault of the input; 100 + n: n runs diverged (125: 25 or more), but 0 of --group; 128 + n:
signal n.
"""

from pathlib import Path

from absl import flags

from aevae import InputError, config, figures
from aevae.figures import report as page
from aevae.runs import remarks, statistics, status, study, tables, trained, worker
from aevae.system import files
from experiments import command

ONE_OF = "declare", "group", "status", "collect", "workers"  # one of them at most
OF_A_FOLDER = "group", "status", "collect"  # which is declared already
NOT_OF_A_FOLDER = "config", "sweep", "chunk", "fresh", "init_from", "split", "code"
DIVERGED, MOST = 100, 25  # exit code: 100 + the number of diverged runs, at most 125


def define():
    command.define_config()
    flags.DEFINE_string(
        "workdir", None, "run folder; by default runs/ and config's name"
    )
    flags.DEFINE_multi_string(
        "sweep",
        None,
        "name=value,value,...: an axis of the grid, one flag each. Together they replace the "
        "config's own grid. The name is seed, a hyperparameter, or any other value of the config; "
        "a,b=1:2,3:4 changes two together",
    )
    flags.DEFINE_integer(
        "chunk", None, "how many runs a device trains at a time", lower_bound=1
    )
    flags.DEFINE_float(
        "checkpoint_seconds",
        study.INTERVAL,
        "seconds between checkpoints",
        lower_bound=0,
    )
    flags.DEFINE_float(
        "data_gb",
        None,
        "GB of each device's memory that data may take; by default half of it. Training data "
        "beyond that are fed from the host",
        lower_bound=0,
    )
    flags.DEFINE_enum(
        "code",
        None,
        ["accept"],
        "go on although the package's code, or that of modules that the config imports, "
        "has changed since",
    )
    flags.DEFINE_string(
        "init_from",
        None,
        "FOLDER, FOLDER:3 or FOLDER:latent=8,seed=0: a trained run, from whose parameters every run "
        "starts; which one may be left out where only one fits",
    )
    flags.DEFINE_bool("report", True, "write report.html at the end")
    flags.DEFINE_bool("fresh", False, "start over; an existing run folder is renamed")
    command.define_workers()
    flags.DEFINE_integer(
        "split", None, "divide larger groups into groups of so many runs", lower_bound=1
    )
    flags.DEFINE_integer(
        "tensorboard_images",
        0,
        "of how many runs, spread over the grid, TensorBoard has pictures while they train: "
        "reconstructions and samples",
        lower_bound=0,
    )
    flags.DEFINE_bool("declare", False, "write the run folder for workers, and end")
    flags.DEFINE_integer(
        "group", None, "train this group of a declared folder, and end", lower_bound=0
    )
    flags.DEFINE_bool("status", False, "show how far the groups of --workdir are")
    flags.DEFINE_bool(
        "collect",
        False,
        "make tables and figures of --workdir from what there is, while others train",
    )


def main(args):
    how = [
        name for name in ONE_OF if args[name].present and args[name].value is not False
    ]
    if len(how) > 1:
        raise InputError(
            f"--{' and --'.join(how)} are different commands: leave all but one out"
        )
    if how and how[0] in OF_A_FOLDER:
        return of_folder(args, how[0])
    memory = args["data_gb"].value
    given = {
        "overrides": command.overrides(args),
        "grid": grid(args["sweep"].value),
        "data_dir": args["data_dir"].value,
        "chunk": args["chunk"].value,
        "fresh": args["fresh"].value,
        "memory": memory and memory * 1e9,
        "code": args["code"].value,
        "init_from": args["init_from"].value,
        "split": args["split"].value,
    }
    file, part = config.split(args["config"].value)
    name = f"{file.stem}_{part}" if part else file.stem
    workdir = args["workdir"].value or f"runs/{files.short_name(name)}"
    if how == ["declare"]:
        left = study.declare(args["config"].value, workdir, **given)
        print(f"{workdir} is declared: {left} groups to train, each by --group=N")
        return 0
    interval, workers = args["checkpoint_seconds"].value, args["workers"].value
    how = {"interval": interval, "workers": workers}
    how |= {"images": args["tensorboard_images"].value}
    _, groups = study.run(args["config"].value, workdir, **given, **how)
    return report(args, workdir, groups)


def of_folder(args, what):
    """What is done with a folder that is declared: --group, --status or --collect."""
    given = [name for name in NOT_OF_A_FOLDER if args[name].present]
    given += [f"config.{name}" for name in command.overrides(args)]
    if given:
        raise InputError(
            f"--{what} takes the runs as the folder declares them: leave out --{', --'.join(given)}"
        )
    workdir, memory = args["workdir"].value, args["data_gb"].value
    if not workdir:
        raise InputError(f"--{what} needs the run folder: name it with --workdir")
    if what == "status":
        print(status.told(workdir))
        return 0
    if what == "group":
        worker.run(
            workdir,
            args["group"].value,
            data_dir=args["data_dir"].value,
            interval=args["checkpoint_seconds"].value,
            memory=memory and memory * 1e9,
            images=args["tensorboard_images"].value,
        )
        return 0
    study.collect(workdir)
    return report(args, workdir, 1)


def report(args, workdir, groups):
    """Draws the figures of a folder and writes its report, if it needs them, and prints its results; the exit code."""
    folder, rows = Path(workdir), tables.results(workdir)
    if groups or not figures.current(workdir):
        # Data that moved are found under the name that this command gives.
        given = command.overrides(args).get("dataset")
        one = len({row["dataset"] for row in rows}) == 1
        dataset = str(config.literal(given)) if given and one else None
        figures.draw(workdir, dataset=dataset, data_dir=args["data_dir"].value)
    if args["report"].value and (groups or not page.current(workdir)):
        page.write([workdir])
    drawn = sorted((folder / "figures").glob("*.png"))
    print(tables.summary(workdir))
    if any(row.get("density") == "yes" for row in rows):
        for line in remarks.floored(trained.runs(workdir)):
            print(line)
    print(f"\nTest split, nats, {statistics.MEANING}. In {workdir}:")
    print("  results.csv curves.csv timing.csv config.json environment.json")
    made = [page.NAME] if (folder / page.NAME).is_file() else []
    print(
        "  params/ tensorboard/", *made, *(path.relative_to(workdir) for path in drawn)
    )
    diverged = sum(row["diverged"] is not None for row in rows)
    if diverged:
        print(
            f"{diverged} of {len(rows)} runs diverged: column `diverged` has the epoch"
        )
    return DIVERGED + min(diverged, MOST) if diverged else 0


def grid(axes):
    """The grid, {name: values}, from the texts of --sweep; None if there are none."""
    product = {}
    for name, values in map(config.axis, axes or []):
        if name in product:
            raise InputError(f"--sweep names {name} twice: leave one out")
        product[name] = values
    return product or None


if __name__ == "__main__":
    command.run(define, main)
