"""Trains a grid of runs, all of one network shape in one program, into a run folder.

    python -m experiments.sweep
    python -m experiments.sweep --config=configs/mnist_beta.py --workdir=runs/mnist_beta \\
        --config.epochs=20 --config.hparams.lr=3e-4 \\
        --sweep=latent=2,5,10,20 --sweep=beta=0.5,1,2,4 --sweep=seed=0,1,2
"""

from pathlib import Path

from absl import flags

from aevae import InputError, config, figures, results, study
from experiments import command

flags.DEFINE_string("config", "configs/digits.py", "the config file: base run and grid")
flags.DEFINE_string("workdir", None, "the run folder; by default runs/ and the config's name")
flags.DEFINE_multi_string(
    "sweep",
    None,
    "name=value,value,...: an axis of the grid, which takes the place of the config's; a name is "
    "that of a hyperparameter, of the seed, or of any other value of the config",
)
flags.DEFINE_string("data_dir", None, "where TFDS has prepared data sets")
flags.DEFINE_integer("chunk", None, "runs that a device trains at a time", lower_bound=1)


def main(args):
    overrides = {
        name.removeprefix("config."): args[name].value
        for name in args
        if name.startswith("config.") and args[name].present
    }
    workdir = args["workdir"].value or f"runs/{Path(args['config'].value).stem}"
    rows = study.run(
        args["config"].value,
        workdir,
        overrides=overrides,
        grid=grid(args["sweep"].value),
        data_dir=args["data_dir"].value,
        chunk=args["chunk"].value,
    )
    drawn = figures.draw(workdir)
    print(results.summary(workdir))
    print(f"\nTest split, nats, mean ± deviation over seeds. Written to {workdir}/:")
    print("  results.csv curves.csv config.json environment.json timing.csv params/ tensorboard/")
    print("  " + " ".join(str(path.relative_to(workdir)) for path in drawn))
    diverged = sum(row["diverged"] is not None for row in rows)
    if diverged:
        print(f"{diverged} of {len(rows)} runs diverged: see the column `diverged` of results.csv")


def grid(axes):
    """{name: values} from the texts of --sweep; None without any."""
    product = dict(config.axis(text) for text in axes or [])
    if len(product) < len(axes or []):
        names = ", ".join(name for name in product)
        raise InputError(f"--sweep names a value twice; it names {names}")
    return product or None


if __name__ == "__main__":
    command.run(main)
