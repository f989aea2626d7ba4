"""Compares what autoencoders and a VAE generate, each from several priors of its codes, by one table.

    python -m experiments.generation
    python -m experiments.generation --config=configs/sprites.py

Trains five methods on the config's network and data, with each seed: the autoencoder, the RAE-L2 and
RAE-GP of Ghosh et al. (2020), the config's VAE, and the WAE-MMD. Fits priors to the codes of each
run, and measures the reconstruction of test images and what is generated from N(0, I) and from the
fitted priors, as mean images: see `aevae.evaluation.generation`. The row `train` is as many training
images, what a perfect model reaches. generation.csv has means over seeds and half-widths of 95 %
intervals, generation.md the table, generation.png samples of each method and prior. The same
command again resumes what was interrupted.

The weights of the methods were chosen on the validation split (--config.test=validation), for digits
and sprites together: those with the least product of the two Fréchet distances of classifier
features, of codes from the gmm for the RAEs and from N(0, I) for the WAE. Tried were rae_beta 0.01,
0.1 and (digits alone) 1, rae_l2 0.001, 0.01, 0.1, rae_gp 0.01, 0.1 and (digits alone) 1, and wae 1,
10, 100, 1000; digits with seeds 5 to 7, sprites for 4 epochs with seeds 5 and 6, and RAE-GP there
for 2 epochs with seed 5. Neighbors on the grid differ little: in the RAEs by less than seeds do.
"""

import dataclasses

import jax
import numpy as np
from absl import flags

from aevae import InputError, config, data, figures, objectives
from aevae.config import lookup
from aevae.evaluation import evaluate, second_stage
from aevae.models.distributions import Normal, is_standard
from aevae.runs import fitted, statistics, study, tables, trained
from aevae.runs.tables import Table
from aevae.system import files
from aevae.training.trained_run import EXAMPLES
from experiments import command, compare

NAMES = {
    "autoencoder": "AE",
    "rae_l2": "RAE-L2",
    "rae_gp": "RAE-GP",
    "vae": "VAE",
    "wae_mmd": "WAE",
}
PRIORS = ["gaussian", "gmm", "maf", "two_stage"]
DIGITS = {  # of the columns, and how many decimals they are shown with
    "squared_error": 2,
    **dict.fromkeys(("density", "coverage", "precision", "recall"), 3),
    "mmd": 4,
    **dict.fromkeys(("two_sample", "frechet_pca"), 3),
    "frechet_classifier": 2,
    "nearest_ratio": 3,
    "gain": 2,
}
OF_RUNS = "squared_error", "gain"  # which the reference has not
REFERENCE = "train"
WEIGHTS = {  # of the methods, and what each weighs
    "rae_beta": (0.1, "the code in both RAEs"),
    "rae_l2": (0.001, "the decoder's parameters in the RAE-L2"),
    "rae_gp": (0.1, "the decoder's gradient in the RAE-GP"),
    "wae": (100.0, "the MMD in the WAE"),
}


def define():
    command.define_config()
    flags.DEFINE_string(
        "workdir", None, "by default runs/generation_ and config's name"
    )
    flags.DEFINE_integer("latent", None, "latent size; by default the config's")
    flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "seeds")
    known = ", ".join(prior.__name__ for prior in second_stage.PRIORS)
    flags.DEFINE_list("priors", PRIORS, f"some of {known}, or module:function")
    for name, (default, what) in WEIGHTS.items():
        flags.DEFINE_float(name, default, f"the weight of {what}")
    flags.DEFINE_integer("steps", None, "training steps of maf and two_stage", 1)
    flags.DEFINE_integer("samples", None, "images of each prior", 8)


def methods(base, rae_beta, rae_l2, rae_gp, wae):
    """The five configs by method; they differ in their objective alone."""
    compare.check_objective(base)
    given = {"rae_beta": rae_beta, "rae_l2": rae_l2, "rae_gp": rae_gp, "wae": wae}
    for name, weight in given.items():
        if not 0 <= weight < np.inf:
            raise InputError(f"{name} must be 0 or more, not {weight}")
    plain = {name: value for name, value in base.hparams.items() if name != "beta"}
    beta = {"beta": rae_beta}

    def of(objective, hparams):
        own = {"objective": objective, "hparams": plain | hparams}
        return dataclasses.replace(base, grid=None, **own)

    return {
        "autoencoder": of(objectives.autoencoder, {}),
        "rae_l2": of(objectives.rae_l2, beta | {"lambda": rae_l2}),
        "rae_gp": of(objectives.rae_gp, beta | {"lambda": rae_gp}),
        "vae": dataclasses.replace(base, grid=None),
        "wae_mmd": of(objectives.wae_mmd, {"lambda": wae}),
    }


def main(args):
    base, folder = command.configured(args, "generation")
    configs = methods(base, **{name: args[name].value for name in WEIGHTS})
    latent = args["latent"].value
    latent = base.model.latent if latent is None else latent
    asked = f"latent={latent}", f"seed={','.join(args['seeds'].value)}"
    grid = dict(map(config.axis, asked))
    how = "aevae.evaluation.contract.measure"
    known = second_stage.PRIORS
    fits = lookup.find(args["priors"].value, known, "prior", "contract", how)
    steps, samples = (
        {name: args[name].value} if args[name].value is not None else {}
        for name in ("steps", "samples")
    )
    if steps and not any("steps" in fit.contract.options for fit in fits):
        raise InputError(
            "no prior that is named is trained in steps: leave out --steps"
        )
    for own in configs.values():
        config.settle(own, {}, grid)  # what is wrong is reported before any work
    names, data_dir, rows = [fit.__name__ for fit in fits], args["data_dir"].value, []
    for method, own in configs.items():
        place, given = folder / method, {"data_dir": data_dir, "base": own}
        study.run(own, place, grid=grid, data_dir=data_dir)
        compare.check_alike(place)
        evaluate.run(place, fits, **given, **steps)
        evaluate.run(place, ["reconstruction", "generation"], **given, **samples)
        rows += found(place, method, grid, names)
    # The training images are the same for every run.
    train = next(values for _, prior, values in rows if prior == REFERENCE)
    train = {name: values[:1] for name, values in train.items()}
    rows = [row for row in rows if row[1] != REFERENCE]
    rows.append(("", REFERENCE, {n: v for n, v in train.items() if n not in OF_RUNS}))
    shown = write(folder, rows)
    print("\n\n".join(tables.aligned(part) for part in shown))
    print(f"\n{caption(base, latent, rows)}")
    with figures.style():
        print(page(folder, configs, grid, names, data_dir))


def found(place, method, grid, names):
    """Yields the rows of a method: itself, the prior, {column: its values over the seeds asked for}.

    Args:
      place: the run folder.
      method: its name.
      grid: {axis: values} of the runs that are asked for.
      names: the fitted priors that are asked for.
    """
    runs = {row["run"]: row for row in chosen(place, grid)}
    measured = tables.read(place / "priors.csv")
    for prior in (fitted.OWN, fitted.STANDARD, *names, REFERENCE):
        own = [r for r in measured if r["run"] in runs and r["prior"] == prior]
        own = [runs[row["run"]] | row for row in own]
        values = {c: [r[c] for r in own if r.get(c) is not None] for c in DIGITS}
        if own:
            yield method, prior, {name: v for name, v in values.items() if v}


def chosen(place, grid):
    """The rows of results.csv that are of the grid and have not diverged."""
    rows = tables.results(place)
    rows = [r for r in rows if all(r[name] in grid[name] for name in grid)]
    return [row for row in rows if row["diverged"] is None]


def write(folder, rows):
    """Writes generation.csv and generation.md; the table as texts, in two parts."""
    columns = [n for n in DIGITS if any(n in values for _, _, values in rows)]
    written, lines = [], [["method", "prior", *columns]]
    for method, prior, values in rows:
        seeds = max(map(len, values.values()))
        written.append({"method": method, "prior": prior, "seeds": seeds})
        lines.append([NAMES.get(method, method), prior])
        for name in columns:
            mean, half = None, None
            if name in values:
                mean, half, *_ = statistics.interval(values[name])
            written[-1] |= {name: mean, f"{name}_half": half}
            ends = (f"{x:.{DIGITS[name]}f}" for x in (mean, half) if x is not None)
            lines[-1].append(" ±".join(ends))
    Table(folder / "generation.csv", [*written[0]]).write(written)
    bars = ["---", "---", *["---:"] * len(columns)]
    marked = (f"| {' | '.join(line)} |\n" for line in (lines[0], bars, *lines[1:]))
    with files.whole(folder / "generation.md", same=True) as file:
        file.write(files.encoded("".join(marked)))
    half = 2 + (len(columns) + 1) // 2
    return [line[:half] for line in lines], [line[:2] + line[half:] for line in lines]


def caption(base, latent, rows):
    seeds = max(len(v) for _, _, values in rows for v in values.values())
    return (
        f"{base.dataset}, binarization {config.describe(base.binarization)}, {latent} latents: mean "
        f"images against the {base.test} split, mean ± half-width of the 95 % t interval\n"
        f"over {seeds} seeds. squared_error: of reconstruction, summed over pixels; gain: nats over "
        "N(0, I); train: as many training images."
    )


def page(folder, configs, grid, names, data_dir):
    """Draws one page: samples of the first seed, a row for each method and prior."""
    own = configs["vae"]
    dataset = data.of(own, data_dir)
    test = data.held_out(data.none, dataset, "test", slice(EXAMPLES))
    beside = {name: values for name, values in test.items() if name != "image"}
    image = data.none(None, test)["image"]
    if dataset.scaling is not None:
        image = dataset.scaling.restore(image)
    rows, heads = [("test images", np.asarray(image))], {}
    for method, own in configs.items():
        place = folder / method
        row = chosen(place, grid)[0]
        run = trained.open_run(place, row, own)
        priors = {} if is_standard(run.prior(beside)) else {"own prior": None}
        priors["N(0, I)"] = Normal(*np.zeros((2, 1, grid["latent"][0]), np.float32))
        priors |= {name: fitted.load(place, row["run"], name) for name in names}
        heads[len(rows)] = NAMES[method]
        for name, prior in priors.items():
            drawn = run.sample(jax.random.key(0), len(image), beside, prior)
            rows.append((name, drawn))
    title = (
        f"{own.dataset}, {grid['latent'][0]} latents: mean images of codes drawn from"
    )
    title += " the prior that is named"
    figure = figures.tiles(rows, title, heads, span=figures.span(run))
    return figures.save(figure, folder / "generation.png")


if __name__ == "__main__":
    command.run(define, main)
