"""Six methods of disentanglement on sprites, over their published grids of strengths.

    python -m experiments.reproduce --result=disentanglement

Strengths are those that Locatello et al. (2019) compare: beta-VAE's beta 1 to 16 (Higgins et al., 2017); capacity 5 to
100 nats, gamma 1000 (Burgess et al., 2018); FactorVAE's gamma 10 to 100 (Kim and Mnih, 2018); beta-TCVAE's
beta 1 to 10 (Chen et al., 2018); DIP-VAE-I's and II's 1 to 50, with a diagonal of 10 times and of once that
(Kumar et al., 2018). 10 latents, Bernoulli likelihood, 3 seeds.

What differs: our own set of 32x32 shapes with five factors (`sprites/32x32_binary`) in place of dSprites;
1024-128-128-10-128-128-1024 with ReLU in place of convolutions; Adam at 1e-3 with batches of 100 for some
epochs in place of 1e-4 with 64 for 300,000 steps; capacity grows over the first 2,000 steps in place of
100,000; the discriminator of FactorVAE has 2 layers of 128 in place of 6 of 1,000, and Adam at 1e-3.
"""

import functools

from aevae import (
    InputError,
    config,
    data,
    models,
    networks,
    objectives,
    train,
    variants,
)

SEEDS = (0, 1, 2)
WIDTHS = (128, 128)


def beta_vae():
    return objectives.beta_vae, {"beta": 1.0}, {"beta": (1.0, 2.0, 4.0, 6.0, 8.0, 16.0)}


def capacity_vae():
    hp = {"gamma": 1000.0, "capacity": 5.0, "growth": 2000.0}
    grid = {"capacity": (5.0, 10.0, 25.0, 50.0, 75.0, 100.0)}
    grow = functools.partial(train.ramp, name="capacity", length="growth")
    return objectives.capacity_vae, hp, grid, {"schedule": grow}


def factor_vae():
    hp = {"gamma": 10.0, "discriminator_lr": 1e-3}
    fields = {
        "kind": variants.FactorVAE,
        "discriminator": networks.MLP(WIDTHS, outputs=2),
        "optimizer": train.adversarial,
    }
    grid = {"gamma": (10.0, 20.0, 30.0, 40.0, 50.0, 100.0)}
    return objectives.factor_vae, hp, grid, fields


def beta_tcvae():
    hp = {"alpha": 1.0, "beta": 1.0, "gamma": 1.0}
    return objectives.beta_tcvae, hp, {"beta": (1.0, 2.0, 4.0, 6.0, 8.0, 10.0)}


def dip_vae_1():
    return objectives.dip_vae, *_dip(10)


def dip_vae_2():
    return functools.partial(objectives.dip_vae, second=True), *_dip(1)


def _dip(times):
    strengths = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
    grid = [{"off_diagonal": s, "diagonal": times * s} for s in strengths]
    return {"off_diagonal": 0.0, "diagonal": 0.0}, grid


PARTS = {
    part.__name__: part
    for part in (beta_vae, capacity_vae, factor_vae, beta_tcvae, dip_vae_1, dip_vae_2)
}


def get_config(part="beta_vae"):
    if part not in PARTS:
        raise InputError(f"there is no {part!r}; there are {', '.join(PARTS)}")
    objective, hp, grid, *more = PARTS[part]()
    fields = more[0] if more else {}
    kind = fields.pop("kind", models.VAE)
    own = {n: fields.pop(n) for n in [*fields] if n in ("discriminator",)}
    products = grid if isinstance(grid, list) else [grid]
    return config.Config(
        model=kind(
            latent=10,
            encoder=networks.MLPEncoder(WIDTHS),
            decoder=networks.MLPDecoder(WIDTHS),
            output_bias=models.mean_logit,
            **own,
        ),
        objective=objective,
        hparams={"lr": 1e-3} | hp,
        **{"optimizer": train.adam, "schedule": train.constant} | fields,
        binarization=data.none,
        dataset="sprites/32x32_binary",
        validation="validation[:100]",  # nothing is chosen by it
        batch=100,
        epochs=10,
        grid=[product | {"seed": SEEDS} for product in products],
    )
