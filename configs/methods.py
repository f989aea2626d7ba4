"""Every method at small size, on the embedded digits: a config of each, by name.

    python -m experiments.sweep --config=configs/methods.py:factor_vae

Networks are small and epochs few, so that each trains in less than a minute on two cores: these show how a
method is put together, and do not compare methods. Each function returns the objective, hyperparameters and
grid, and what else differs from the shared config. The table in `configs/README.md` describes each method.
Stochastic binarization, except where a likelihood is of real-valued pixels.
"""

import functools
import math

from aevae import InputError, config, data, models, networks, objectives, optim

WARM_UP = functools.partial(optim.ramp, name="beta", length="warmup")


def autoencoder():
    return objectives.autoencoder, {}, {"latent": (2, 8)}


def denoising():
    return objectives.denoising, {"noise": 0.0}, {"noise": (0.0, 0.3)}


def sparse_kl():
    hp = {"sparsity": 0.0, "target": 0.1}
    return objectives.sparse_kl, hp, {"sparsity": (0.0, 1.0)}


def sparse_l1():
    return objectives.sparse_l1, {"sparsity": 0.0}, {"sparsity": (0.0, 0.3)}


def contractive():
    return objectives.contractive, {"contraction": 0.0}, {"contraction": (0.0, 0.1)}


def rae_l2():
    hp = {"beta": 0.01, "lambda": 0.0}
    return objectives.rae_l2, hp, {"lambda": (0.0, 0.1)}


def rae_gp():
    hp = {"beta": 0.01, "lambda": 0.0}
    return objectives.rae_gp, hp, {"lambda": (0.0, 1.0)}


def rae_sn():
    fields = {"decoder": models.SpectralDecoder(networks.MLPDecoder((64,)))}
    return objectives.rae, {"beta": 0.01}, {"beta": (0.01, 0.1)}, fields


def beta_vae():
    return objectives.beta_vae, {"beta": 1.0}, {"beta": (1.0, 2.0)}


def free_bits():
    objective = functools.partial(objectives.beta_vae, free=True)
    return objective, {"beta": 1.0, "floor": 0.0}, {"floor": (0.0, 0.5)}


def warm_up():
    hp = {"beta": 1.0, "warmup": 100.0}
    return objectives.beta_vae, hp, {"warmup": (1.0, 200.0)}, {"schedule": WARM_UP}


def capacity_vae():
    hp = {"gamma": 10.0, "capacity": 0.0}
    return objectives.capacity_vae, hp, {"capacity": (0.0, 4.0)}


def beta_tcvae():
    hp = {"alpha": 1.0, "beta": 1.0, "gamma": 1.0}
    return objectives.beta_tcvae, hp, {"beta": (1.0, 4.0)}


def factor_vae():
    hp = {"gamma": 0.0, "discriminator_lr": 1e-3}
    fields = {
        "kind": models.FactorVAE,
        "discriminator": networks.MLP((64, 64), outputs=2),
        "optimizer": optim.adversarial,
    }
    return objectives.factor_vae, hp, {"gamma": (0.0, 5.0)}, fields


def dip_vae():
    hp = {"off_diagonal": 0.0, "diagonal": 0.0}
    return objectives.dip_vae, hp, {"off_diagonal": (0.0, 5.0)}


def dip_vae_2():
    objective = functools.partial(objectives.dip_vae, second=True)
    return objective, {"off_diagonal": 0.0, "diagonal": 0.0}, {"diagonal": (0.0, 5.0)}


def info_vae():
    hp = {"alpha": 0.0, "lambda": 1.0}
    return objectives.info_vae, hp, {"lambda": (1.0, 20.0)}


def wae_mmd():
    return objectives.wae_mmd, {"lambda": 0.0}, {"lambda": (0.0, 10.0)}


def multi_rate():
    hp = {"log_low": math.log(0.1), "log_high": math.log(10)}
    fields = {"kind": models.MultiRateVAE}
    return objectives.multi_rate_vae, hp, {"latent": (2, 8)}, fields


def iwae():
    return functools.partial(objectives.iwae, k=5), {}, {"k": (1, 5)}


def miwae():
    return functools.partial(objectives.miwae, m=2, k=3), {}, {"m": (1, 5)}


def stl():
    return functools.partial(objectives.stl, k=5), {}, {"k": (1, 5)}


def dreg():
    return functools.partial(objectives.dreg, k=5), {}, {"k": (1, 5)}


def sigma_vae():
    fields = {
        "likelihood": models.LearnedGaussian(),
        "output_bias": models.zeros,
        "binarization": data.none,
    }
    return (
        objectives.beta_vae,
        {"beta": 1.0},
        {"likelihood.per_pixel": (False, True)},
        fields,
    )


def optimal_sigma():
    _, hp, _, fields = sigma_vae()
    fields |= {"likelihood": models.OptimalGaussian(), "optimizer": optim.averaged}
    hp = {**hp, "share": 0.02}
    return objectives.optimal_sigma_vae, hp, {"beta": (1.0, 2.0)}, fields


def vampprior():
    fields = {"kind": models.VampPrior, "pseudo": 50}
    return objectives.beta_vae, {"beta": 1.0}, {"pseudo": (10, 50)}, fields


def mixture_prior():
    fields = {"kind": models.MixturePrior, "components": 10}
    return objectives.beta_vae, {"beta": 1.0}, {"components": (1, 10)}, fields


def iaf():
    fields = {"kind": models.IAF, "depth": 2, "width": 32}
    return objectives.beta_vae, {"beta": 1.0}, {"depth": (1, 2)}, fields


def two_level():
    fields = {"kind": models.TwoLevel, "top": 4, "widths": (32,)}
    return functools.partial(objectives.iwae, k=5), {}, {"top": (2, 4)}, fields


def conditional():
    fields = {"kind": models.ConditionalVAE, "classes": 10}
    return objectives.beta_vae, {"beta": 1.0}, {"latent": (2, 8)}, fields


def vq_vae():
    fields = {"kind": models.VQVAE, "cells": 4, "codes": 16}
    return objectives.vq_vae, {"commitment": 0.25}, {"codes": (4, 16)}, fields


def fsq_vae():
    fields = {"kind": models.FSQ, "levels": 5}
    return objectives.fsq_vae, {}, {"levels": (3, 5)}, fields


def _gray(likelihood, **fields):
    """A beta-VAE of gray levels, not binarized."""
    fields |= {"likelihood": likelihood, "binarization": data.none}
    return objectives.beta_vae, {"beta": 1.0}, {"beta": (1.0, 2.0)}, fields


def continuous_bernoulli():
    return _gray(models.continuous_bernoulli)


def discretized_logistic():
    objective, hp, _, fields = _gray(models.discretized_logistic)
    return objective, hp | {"scale": 0.1}, {"scale": (0.05, 0.1)}, fields


def categorical():
    return _gray(models.categorical, outputs=256, output_bias=models.zeros)


def gaussian_pair():
    likelihood = functools.partial(models.gaussian_pair, floor=1e-3)
    return _gray(likelihood, outputs=2, output_bias=models.zeros)


def _deep(encoder, decoder, epochs=60):
    """A beta-VAE of networks that make no use of the code at first: without warm-up they collapse."""
    fields = {"encoder": encoder, "decoder": decoder, "epochs": epochs}
    fields["schedule"] = WARM_UP
    return (
        objectives.beta_vae,
        {"beta": 1.0, "warmup": 300.0},
        {"beta": (0.5, 1.0)},
        fields,
    )


def gated():
    return _deep(networks.GatedEncoder((64,)), networks.GatedDecoder((64,)))


def convolutional():
    channels, widths = (16, 16), (64,)
    return _deep(
        networks.ConvEncoder(channels, widths), networks.ConvDecoder(channels, widths)
    )


def residual():
    return _deep(
        networks.ResNetEncoder((8, 16), (64,)),
        networks.ResNetDecoder((16, 8), (64,)),
        epochs=40,
    )


def recurrent():
    return _deep(networks.GRUEncoder(32), networks.GRUDecoder(32))


def attention():
    sizes = {"patch": 4, "width": 32, "depth": 1, "heads": 2}
    return _deep(networks.PatchEncoder(**sizes), networks.PatchDecoder(**sizes))


METHODS = {
    method.__name__: method
    for method in (
        *(autoencoder, denoising, sparse_kl, sparse_l1, contractive),
        *(rae_l2, rae_gp, rae_sn),
        *(beta_vae, free_bits, warm_up, capacity_vae, beta_tcvae, factor_vae),
        *(dip_vae, dip_vae_2, info_vae, wae_mmd, multi_rate, iwae, miwae, stl, dreg),
        *(
            sigma_vae,
            optimal_sigma,
            vampprior,
            mixture_prior,
            iaf,
            two_level,
            conditional,
            vq_vae,
            fsq_vae,
        ),
        *(continuous_bernoulli, discretized_logistic, categorical, gaussian_pair),
        *(gated, convolutional, residual, recurrent, attention),
    )
}


def get_config(name="beta_vae"):
    if name not in METHODS:
        raise InputError(f"there is no method {name!r}; there are {', '.join(METHODS)}")
    objective, hp, grid, *more = METHODS[name]()
    fields = more[0] if more else {}
    kind = fields.pop("kind", models.VAE)
    run = {
        field: fields.pop(field, default)
        for field, default in (
            ("optimizer", optim.adam),
            ("schedule", optim.constant),
            ("binarization", data.stochastic),
            ("epochs", 50),
        )
    }
    parts = {
        "latent": 8,
        "encoder": networks.MLPEncoder((64,)),
        "decoder": networks.MLPDecoder((64,)),
        "output_bias": models.mean_logit,
    }
    return config.Config(
        model=kind(**parts | fields),
        objective=objective,
        hparams=hp | {"lr": 3e-3},
        batch=100,
        grid=grid | {"seed": (0, 1)},
        **run,
    )
