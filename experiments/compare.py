"""Compares autoencoder and VAE on one network and one data set, over the four uses of a code.

    python -m experiments.compare
    python -m experiments.compare --config=configs/mnist_vae.py --data_dir=DIR --latents=2,20

Trains the config's VAE, the autoencoder of the same network, and its denoising autoencoder, at each
latent size with each seed, and measures on the test split

* compression: the squared error at the mean code, summed over pixels;
* features: how often a linear probe, and the 5 nearest neighbors, predict the label from the code;
* generation: decoded samples of the prior, as pictures, and the VAE's bound on log p(x) with K
  samples (an autoencoder has no prior and no likelihood);
* denoising: the squared error to the clean image, given one whose pixels are 0 with probability
  `noise`.

PCA of the same size and the pixels themselves stand beside them. Written are a table, compare.csv, and a
page of figures, compare.png. The same command again resumes what was interrupted.
"""

import dataclasses
import functools

import jax
import numpy as np
from absl import flags

from aevae import InputError, config, data, figures, objectives
from aevae.evaluation import evaluate, representation
from aevae.runs import record, statistics, study, tables, trained
from aevae.runs.tables import Table
from aevae.training.trained_run import EXAMPLES
from experiments import command

SHOWN = ("squared_error", "denoised_error", "probe_accuracy", "knn_accuracy")


def define():
    command.define_config()
    flags.DEFINE_string("workdir", None, "by default runs/compare_ and config's name")
    flags.DEFINE_list("latents", ["2", "8"], "latent sizes")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds")
    flags.DEFINE_float("noise", 0.3, "the probability that a pixel is masked")
    flags.DEFINE_integer("k", 5000, "samples of the importance-weighted bound")


def check_objective(base):
    """Raises InputError where the config is not of a VAE that an autoencoder may stand beside."""
    if getattr(base.objective, "func", base.objective) is not objectives.beta_vae:
        raise InputError(
            "the config's objective must be beta_vae, not "
            f"{config.describe(base.objective)}: name another --config"
        )


def methods(base, noise):
    """The three configs by method; they differ in their objective alone."""
    check_objective(base)
    plain = {name: value for name, value in base.hparams.items() if name != "beta"}
    of = functools.partial(dataclasses.replace, base, grid=None)
    return {
        "autoencoder": of(objective=objectives.autoencoder, hparams=plain),
        "denoising": of(
            objective=objectives.denoising, hparams=plain | {"noise": noise}
        ),
        "vae": of(),
    }


def masked(images, noise):
    """Test images with masked pixels; the same pixels for every method."""
    key = jax.random.key(data.EVALUATION_SEED)
    return np.asarray(objectives.masking_noise(key, images, noise))


def check_alike(workdir):
    """Raises InputError where the runs of a folder differ in more than latent size and seed."""
    names, rows = record.read(workdir)["columns"], tables.results(workdir)
    names = [name for name in names if name not in ("run", "latent", "seed")]
    differ = [name for name in names if len({row[name] for row in rows}) > 1]
    if differ:
        raise InputError(
            f"the runs of {workdir} differ in {', '.join(differ)}, beside latent and seed, and "
            "cannot be averaged: name another --workdir"
        )


def measured(workdir, base, k, data_dir):
    """Evaluates a method's runs with the measures that apply to it; returns their rows."""
    check_alike(workdir)
    measures = ["reconstruction"]
    if "label" in data.of(base, data_dir).test:
        measures.append("representation")
    if base.objective is not objectives.autoencoder and "noise" not in base.hparams:
        measures.append("likelihood")
    evaluate.run(workdir, measures, k=k, data_dir=data_dir, base=base)
    return tables.results(workdir)


def denoise(workdir, base, rows, clean, seen):
    """The rows with their squared error to the clean images, given masked ones."""
    for row in rows:
        run = trained.open_run(workdir, row, base)
        again = run.reconstruct(clean | {"image": seen})
        error = ((again - clean["image"]) ** 2).reshape(len(again), -1).sum(1).mean()
        yield row | {"denoised_error": float(error)}


def main(args):
    base, folder = command.configured(args, "compare")
    noise, data_dir = args["noise"].value, args["data_dir"].value
    if not 0 < noise < 1:
        raise InputError(f"noise must lie between 0 and 1, not {noise}")
    grid = dict(
        config.axis(f"{axis}={','.join(args[flag].value)}")
        for axis, flag in (("latent", "latents"), ("seed", "seeds"))
    )
    configs = methods(base, noise)
    for method, own in configs.items():
        config.settle(
            own, {}, grid
        )  # what is wrong with it is reported before any work
    found = {}
    for method, own in configs.items():
        place = folder / method
        study.run(own, place, grid=grid, data_dir=data_dir)
        rows = measured(place, own, args["k"].value, data_dir)
        dataset = data.of(own, data_dir)
        held = data.none(None, data.held_out(own.binarization, dataset, "test"))
        clean = {key: np.asarray(value) for key, value in held.items()}
        seen = masked(clean["image"], noise)
        if dataset.scaling is not None:
            seen = dataset.scaling.restore(seen)
            clean["image"] = dataset.scaling.restore(clean["image"])
        found[method] = list(denoise(place, own, rows, clean, seen))
    train = representation.Pixels(own.binarization, dataset, "train")
    pca = representation.PCA(train, max(grid["latent"]))
    images = representation.flat(clean["image"]), representation.flat(seen)
    names = measures(found)
    rows = list(tabulate(found, names, pca, *images))
    Table(folder / "compare.csv", ["latent", "method", *names]).write(
        dict(zip(("latent", "method"), row))
        | {n: np.mean(v) for n, v in values.items()}
        for *row, values in rows
    )
    lines = [["latent", "method", *names]]
    for latent, method, values in rows:
        cells = (
            tables.interval(values.get(name, ()), 3 if "accuracy" in name else 2)
            for name in names
        )
        lines.append([str(latent), method, *cells])
    print(tables.aligned(lines))
    print(
        f"\nTest split, {statistics.MEANING}; errors summed over pixels, nats; denoised: "
        f"of images with {noise:.0%} of the pixels masked."
    )
    for line in [*paired(found, names), *tables.few(folder / "vae")]:
        print(line)
    print(page(folder, configs, found, clean, seen))


def measures(found):
    """The columns of the table, as far as they were measured."""
    known = {name for rows in found.values() for row in rows for name in row}
    bounds = [n for n in found["vae"][0] if n.startswith("iwae_") and "error" not in n]
    return [name for name in SHOWN if name in known] + bounds


def tabulate(found, names, pca, clean, seen):
    """Yields the rows of the table: latent size, method, {measure: its values over seeds}.

    Args:
      found: {method: rows of results.csv}.
      names: the measures.
      pca: the principal components of the training images.
      clean, seen: test images and masked ones, [N, P].
    """

    def beside(row, prefix):  # what stands in a VAE's row, but is not of it
        return {n: [row[prefix + n]] for n in names if prefix + n in row}

    for latent in sorted({row["latent"] for row in found["vae"]}):
        for method, rows in found.items():
            own = [row for row in rows if row["latent"] == latent]
            sound = [row for row in own if row["diverged"] is None]
            values = {n: [r[n] for r in sound if r.get(n) is not None] for n in names}
            yield latent, method, {name: v for name, v in values.items() if v}
        row = next(row for row in found["vae"] if row["latent"] == latent)
        again = pca.decode(pca.encode(seen, latent))
        errors = {"squared_error": [pca.error(clean, latent)]}
        errors["denoised_error"] = [_error(again, clean)]
        yield latent, "PCA", beside(row, "pca_") | errors
    errors = {"denoised_error": [_error(seen, clean)]}
    yield clean.shape[1], "pixels", beside(row, "pixel_") | errors


def paired(found, names):
    """Yields a table of what the VAE's runs have less than the others', and the lines below it.

    Runs of one seed start from the same weights: the methods differ in their objective alone.
    """
    pairs = []
    for latent in sorted({row["latent"] for row in found["vae"]}):
        own = {
            method: {r["seed"]: r for r in rows if r["latent"] == latent}
            for method, rows in found.items()
        }
        for method in [method for method in found if method != "vae"]:
            values = {n: _pairs(own[method], own["vae"], n) for n in names}
            pairs.append((latent, method, {n: v for n, v in values.items() if len(v)}))
    names = [n for n in names if any(n in values for *_, values in pairs)]
    tested = [(i, n) for i, (*_, own) in enumerate(pairs) for n in own]
    tested = [(i, n) for i, n in tested if len(pairs[i][2][n]) > 1]
    ps = [statistics.interval(pairs[i][2][n]).p for i, n in tested]
    low = {
        at for at, p in zip(tested, statistics.holm(ps)) if p is not None and p < 0.05
    }
    lines = [["latent", "method", *names]]
    for i, (latent, method, own) in enumerate(pairs):
        lines.append([str(latent), f"{method} - vae"])
        for name in names:
            estimate = name in own and statistics.interval(own[name], len(tested) or 1)
            digits = 3 if "accuracy" in name else 2
            cell = tables.estimated(estimate, digits) if estimate else ""
            lines[-1].append(cell + " *"[(i, name) in low])
    if not names:
        return
    yield "\n" + tables.aligned(lines)
    yield (
        "\nDifferences paired by seed, whose weights start alike; intervals hold together with 95 % "
        f"(Bonferroni, {statistics.comparisons(len(tested))}).\n*: p below 0.05 (Holm)."
    )


def _pairs(rows, others, name):
    """The differences of a measure between runs of one seed, [N]."""
    sound = [
        (rows[seed].get(name), others[seed].get(name))
        for seed in rows
        if seed in others and rows[seed]["diverged"] is others[seed]["diverged"] is None
    ]
    return np.array([a - b for a, b in sound if None not in (a, b)])


def _error(again, images):
    return float(((again - images) ** 2).sum(1).mean())


def _about(own):
    return f"{own.dataset}, binarization {config.describe(own.binarization)}"


@figures.style()
def page(folder, configs, found, clean, seen):
    """Draws one page: reconstructions, decoded samples of N(0, I), denoised images; first seed."""
    latent = max(row["latent"] for row in found["vae"])
    runs = {
        method: trained.open_run(
            folder / method,
            next(row for row in rows if row["latent"] == latent),
            configs[method],
        )
        for method, rows in found.items()
    }
    some = {name: values[:EXAMPLES] for name, values in clean.items()}
    noisy = some | {"image": seen[:EXAMPLES]}
    beside = {name: values for name, values in some.items() if name != "image"}
    rows = [("test images", some["image"])]
    names = {"autoencoder": "AE", "denoising": "denoising AE", "vae": "VAE"}
    for method in ("autoencoder", "vae"):
        rows.append((f"{names[method]}", runs[method].reconstruct(some)))
    for method in ("autoencoder", "vae"):
        drawn = runs[method].sample(jax.random.key(0), EXAMPLES, beside)
        rows.append((f"{names[method]}, codes\nfrom N(0, I)", drawn))
    rows.append(("masked", noisy["image"]))
    for method in ("autoencoder", "denoising", "vae"):
        rows.append((f"{names[method]},\nof masked", runs[method].reconstruct(noisy)))
    return figures.save(
        figures.tiles(
            rows,
            f"{_about(configs['vae'])}: test images, {latent} latents",
            span=figures.span(runs["vae"]),
        ),
        folder / "compare.png",
    )


if __name__ == "__main__":
    command.run(define, main)
