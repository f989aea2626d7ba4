"""Autoencoder against VAE, on one network and one data set, over the four uses of a code.

    python -m experiments.compare
    python -m experiments.compare --config=configs/mnist_vae.py --data_dir=DIR --latents=2,20

Trains the config's VAE, the autoencoder of the same network, and its denoising autoencoder, at each
latent size with each seed, and measures on the test split

* compression: the squared error at the mean code, summed over pixels;
* features: how often a linear probe, and the 5 nearest neighbours, tell the label from the code;
* generation: what decoding draws of the prior gives, in pictures, and the VAE's bound on log p(x) with
  K samples: an autoencoder has no prior and no likelihood;
* denoising: the squared error to the clean image, given one whose pixels are 0 with probability
  `noise`;

with PCA of the same size beside them: a table, compare.csv, and a page of figures. The same command
again goes on where it was interrupted.
"""

import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np
from absl import flags

from aevae import InputError, config, data, figures, objectives
from aevae.evaluation import evaluate, representation
from aevae.runs import study, tables, trained
from aevae.runs.tables import Table
from aevae.training.trained import EXAMPLES
from experiments import command

SHOWN = ("squared_error", "denoised_error", "probe_accuracy", "knn_accuracy")


def define():
    command.define_config()
    flags.DEFINE_string("workdir", None, "by default runs/compare_ and config's name")
    flags.DEFINE_list("latents", ["2", "8"], "latent sizes")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds")
    flags.DEFINE_float("noise", 0.3, "the share of pixels that are masked")
    flags.DEFINE_integer("k", 5000, "samples of the bound")


def methods(base, noise):
    """The three configs, which differ in their objective alone."""
    if getattr(base.objective, "func", base.objective) is not objectives.beta_vae:
        raise InputError("the config's objective must be beta_vae, to compare with")
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
    """Test images with pixels that are 0; the same ones for every method."""
    key = jax.random.key(data.EVALUATION_SEED)
    return np.asarray(objectives.masking_noise(key, images, noise))


def measured(workdir, base, k, data_dir):
    """The rows of a method's runs, with all measures that have a meaning."""
    measures = ["reconstruction"]
    if "label" in data.of(base, data_dir).test:
        measures.append("representation")
    if base.objective is not objectives.autoencoder and "noise" not in base.hparams:
        measures.append("likelihood")
    evaluate.run(workdir, measures, k=k, data_dir=data_dir, base=base)
    return tables.results(workdir)


def denoise(workdir, base, rows, clean, seen):
    """Adds to each row its squared error to the clean image, given a masked one."""
    for row in rows:
        run = trained.open_run(workdir, row, base)
        again = run.reconstruct(clean | {"image": seen})
        error = ((again - clean["image"]) ** 2).reshape(len(again), -1).sum(1).mean()
        yield row | {"denoised_error": float(error)}


def main(args):
    file, part = config.split(args["config"].value)
    name = f"{file.stem}_{part}" if part else file.stem
    folder = Path(args["workdir"].value or f"runs/compare_{name}")
    base = config.load(args["config"].value)
    for value in command.overrides(args).items():
        base = config.override(base, *value)
    noise, data_dir = args["noise"].value, args["data_dir"].value
    if not 0 < noise < 1:
        raise InputError(f"noise must lie between 0 and 1, not {noise}")
    grid = dict(
        config.axis(f"{axis}={','.join(args[flag].value)}")
        for axis, flag in (("latent", "latents"), ("seed", "seeds"))
    )
    configs = methods(base, noise)
    for method, own in configs.items():
        config.settle(own, {}, grid)  # whatever is wrong with it shows before any work
    found = {}
    for method, own in configs.items():
        place = folder / method
        study.run(own, place, grid=grid, data_dir=data_dir)
        rows = measured(place, own, args["k"].value, data_dir)
        dataset = data.of(own, data_dir)
        held = data.none(None, data.held_out(own.binarization, dataset, "test"))
        clean = {key: np.asarray(value) for key, value in held.items()}
        seen = masked(clean["image"], noise)
        found[method] = list(denoise(place, own, rows, clean, seen))
    components = representation.PCA(_flat(own, dataset, "train"))
    lines, table = tabulate(
        found,
        components,
        representation.flat(clean["image"]),
        representation.flat(seen),
    )
    Table(folder / "compare.csv", list(table[0])).write(table)
    print(tables.aligned(lines))
    print(
        "\nTest split, mean ± deviation over seeds; errors summed over pixels, nats; denoised: "
        f"of images with {noise:.0%} of the pixels masked."
    )
    print(page(folder, configs, found, clean, seen))


def _flat(own, dataset, part):
    held = data.none(
        None, {"image": data.held_out(own.binarization, dataset, part)["image"]}
    )
    return representation.flat(np.asarray(held["image"]))


def tabulate(found, components, clean, seen):
    """Lines for who reads, and the same as rows of numbers."""
    measures = [
        n for n in SHOWN if any(n in row for rows in found.values() for row in rows)
    ]
    measures += [
        n for n in found["vae"][0] if n.startswith("iwae_") and "error" not in n
    ]
    lines, table = [["latent", "method", *measures]], []
    for latent in sorted({row["latent"] for row in found["vae"]}):
        for method, rows in found.items():
            own = [row for row in rows if row["latent"] == latent]
            sound = [row for row in own if row["diverged"] is None]
            cells = [[r[n] for r in sound if r.get(n) is not None] for n in measures]
            lines.append([str(latent), method, *map(_told, measures, cells)])
            means = [float(np.mean(values)) if values else None for values in cells]
            table.append(
                {"latent": latent, "method": method} | dict(zip(measures, means))
            )
        like = next(r for r in found["vae"] if r["latent"] == latent)
        pca = {"squared_error": components.error(clean, latent)}
        code = components.encode(seen, latent)
        again = components.decode(code)
        pca["denoised_error"] = float(((again - clean) ** 2).sum(1).mean())
        pca |= {
            n: like[f"pca_{n}"] for n in measures if f"pca_{n}" in like and n not in pca
        }
        _add(lines, table, latent, "PCA", measures, pca)
    pixels = {n: like[f"pixel_{n}"] for n in measures if f"pixel_{n}" in like}
    pixels["denoised_error"] = float(((seen - clean) ** 2).sum(1).mean())
    _add(lines, table, clean.shape[1], "pixels", measures, pixels)
    return lines, table


def _add(lines, table, latent, method, measures, values):
    cells = [[values[n]] if n in values else [] for n in measures]
    lines.append([str(latent), method, *map(_told, measures, cells)])
    table.append(
        {"latent": latent, "method": method} | {n: values.get(n) for n in measures}
    )


def _told(name, values):
    digits = 3 if "accuracy" in name else 2
    spread = f" ±{np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}" if values else ""


def _about(own):
    return f"{own.dataset}, binarization {config.describe(own.binarization)}"


def page(folder, configs, found, clean, seen):
    """One page: reconstructions, decoded draws of N(0, I), and denoised images; first seed."""
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
        figures.tiles(rows, f"{_about(configs['vae'])}: test images, {latent} latents"),
        folder / "compare.png",
    )


if __name__ == "__main__":
    command.run(define, main)
