"""A multi-rate VAE: the network of another config, trained once for every beta of a range.

Bae et al. (2022), with the gates of `models.MultiRateVAE`. By name: `digits` (8 latents, as in `digits.py`)
or `mnist` (the network of `mnist_frontier.py`).

    python -m experiments.sweep --config=configs/multi_rate.py
    python -m experiments.evaluate --workdir=runs/multi_rate --measures=frontier
    python -m experiments.figures --workdir=runs/multi_rate --figures=frontier

What came out, beside a run for each beta, is in `experiments/multi_rate.md`.
"""

import dataclasses
import math

import digits
import mnist_frontier

from aevae import InputError, models, objectives

BASES = {"digits": digits, "mnist": mnist_frontier}
FIELDS = ("latent", "encoder", "decoder", "output_bias", "kernel")


def get_config(name="digits"):
    if name not in BASES:
        raise InputError(f"there is no config {name!r}; there are {', '.join(BASES)}")
    base = BASES[name].get_config()
    fields = {field: getattr(base.model, field) for field in FIELDS}
    low, high = {"digits": (0.1, 10.0), "mnist": (0.1, 16.0)}[name]
    return dataclasses.replace(
        base,
        model=models.MultiRateVAE(**fields),
        objective=objectives.multi_rate_vae,
        hparams={
            "log_low": math.log(low),
            "log_high": math.log(high),
            "lr": base.hparams["lr"],
        },
        grid={"seed": (0, 1, 2)},
    )
