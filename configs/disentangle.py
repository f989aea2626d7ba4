"""Six methods of disentanglement on sprites, over their published grids of strengths.

    python -m experiments.reproduce --result=disentanglement

The strengths are those that Locatello et al. (2019) compare: beta-VAE's beta 1 to 16 (Higgins et al., 2017);
capacity 5 to 100 nats at gamma 1000 (Burgess et al., 2018); FactorVAE's gamma 10 to 100 (Kim and Mnih, 2018);
beta-TCVAE's beta 1 to 10 (Chen et al., 2018); DIP-VAE-I's and II's off-diagonal weight 1 to 50, with a
diagonal weight of 10 times and of once that (Kumar et al., 2018). 10 latents, Bernoulli likelihood, binary
pixels, 3 seeds.

What differs from them:

* data: our own set of 32x32 shapes with five factors (`sprites/32x32_binary`), not dSprites, and a training
  split of it;
* network: 1024-128-128-10-128-128-1024 with ReLU, not convolutions; an output bias from the mean image;
* optimizer: Adam at 1e-3 with batches of 100, not 1e-4 with 64 for 300,000 steps; the whole schedule is 480
  epochs of 400 steps, as many images;
* capacity grows over the first 2,000 steps, not 100,000;
* beta-TCVAE: the total correlation has stratified weights, where its code by default has weighted ones;
* FactorVAE: a discriminator of 2 layers of 128 with ReLU, and Adam at 1e-3 with a second-moment decay of
  0.999, not 6 layers of 1,000 with leaky ReLU, and 1e-4 with 0.9;
* DCI is fitted on 1,000 examples, not 10,000.
"""

import functools

from aevae import InputError, config, data, models, networks, objectives, optim

SEEDS = (0, 1, 2)
WIDTHS = (128, 128)


def beta_vae():
    return {
        "objective": objectives.beta_vae,
        "hparams": {"beta": 1.0},
        "grid": _over("beta", (1, 2, 4, 6, 8, 16)),
    }


def capacity_vae():
    return {
        "objective": objectives.capacity_vae,
        "hparams": {"gamma": 1000.0, "capacity": 5.0, "growth": 2000.0},
        "schedule": functools.partial(optim.ramp, name="capacity", length="growth"),
        "grid": _over("capacity", (5, 10, 25, 50, 75, 100)),
    }


def factor_vae():
    discriminator = networks.MLP(WIDTHS, outputs=2)
    return {
        "model": _model(models.FactorVAE, discriminator=discriminator),
        "objective": objectives.factor_vae,
        "hparams": {"gamma": 10.0, "discriminator_lr": 1e-3},
        "optimizer": optim.adversarial,
        "grid": _over("gamma", (10, 20, 30, 40, 50, 100)),
    }


def beta_tcvae():
    return {
        "objective": objectives.beta_tcvae,
        "hparams": {"alpha": 1.0, "beta": 1.0, "gamma": 1.0},
        "grid": _over("beta", (1, 2, 4, 6, 8, 10)),
    }


def dip_vae_1():
    return _dip(objectives.dip_vae, 10)


def dip_vae_2():
    return _dip(functools.partial(objectives.dip_vae, second=True), 1)


def _dip(objective, times):
    return {
        "objective": objective,
        "hparams": {"off_diagonal": 0.0, "diagonal": 0.0},
        "grid": [
            {"off_diagonal": strength, "diagonal": times * strength, "seed": SEEDS}
            for strength in (1, 2, 5, 10, 20, 50)
        ],
    }


def _over(name, strengths):
    return {name: strengths, "seed": SEEDS}


def _model(kind=models.VAE, **fields):
    return kind(
        latent=10,
        encoder=networks.MLPEncoder(WIDTHS),
        decoder=networks.MLPDecoder(WIDTHS),
        output_bias=models.mean_logit,
        **fields,
    )


PARTS = {
    part.__name__: part
    for part in (beta_vae, capacity_vae, factor_vae, beta_tcvae, dip_vae_1, dip_vae_2)
}


def get_config(part="beta_vae"):
    if part not in PARTS:
        raise InputError(f"there is no {part!r}; there are {', '.join(PARTS)}")
    own = PARTS[part]()
    own["hparams"] = {"lr": 1e-3} | own["hparams"]
    shared = {
        "model": _model(),
        "optimizer": optim.adam,
        "schedule": optim.constant,
        "binarization": data.none,
        "dataset": "sprites/32x32_binary",
        "validation": "validation[:100]",  # nothing is chosen by it
        "epochs": 10,
    }
    return config.Config(**shared | own)
