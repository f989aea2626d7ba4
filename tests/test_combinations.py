"""Objectives with models and networks: each combination is traced, or refused with a reason."""

import dataclasses
import functools
import re

import jax
import numpy as np
import pytest

from aevae import InputError, config, data, models, networks, objectives, optim
from aevae.models import likelihoods
from aevae.training.check import check_run

OBJECTIVES = {
    name: getattr(objectives, name)
    for name in (
        *("autoencoder", "denoising", "sparse_kl", "sparse_l1", "contractive"),
        *("rae", "rae_l2", "rae_gp"),
        *("beta_vae", "optimal_sigma_vae", "capacity_vae", "beta_tcvae", "dip_vae"),
        *("factor_vae", "info_vae", "wae_mmd", "vq_vae", "fsq_vae", "multi_rate_vae"),
    )
} | {
    "free_bits": functools.partial(objectives.beta_vae, free=True),
    "miwae": functools.partial(objectives.miwae, m=2, k=2),
    **{
        name: functools.partial(getattr(objectives, name), k=2)
        for name in ("iwae", "stl", "dreg")
    },
}
WEIGHTS = (
    *("beta", "alpha", "gamma", "lambda", "capacity", "noise", "sparsity", "target"),
    *(
        "contraction",
        "off_diagonal",
        "diagonal",
        "commitment",
        "floor",
        "log_low",
        "log_high",
    ),
)
MODELS = {
    "vae": (models.VAE, {}),
    "vampprior": (models.VampPrior, {"pseudo": 5}),
    "mixture": (models.MixturePrior, {}),
    "iaf": (models.IAF, {}),
    "two": (models.TwoLevel, {"top": 2, "widths": (4,)}),
    "conditional": (models.ConditionalVAE, {}),
    "vq": (models.VQVAE, {"cells": 2}),
    "fsq": (models.FSQ, {}),
    "factor": (
        models.FactorVAE,
        {"discriminator": networks.MLP((8,), outputs=2)},
    ),
    "multi": (models.MultiRateVAE, {}),
    "learned": (models.VAE, {"likelihood": models.LearnedGaussian()}),
    "optimal": (models.VAE, {"likelihood": models.OptimalGaussian()}),
    "pair": (
        models.VAE,
        {"likelihood": likelihoods.gaussian_pair, "outputs": 2},
    ),
}
PAIRS = {
    "gated": (networks.GatedEncoder((8,)), networks.GatedDecoder((8,))),
    "conv": (networks.ConvEncoder((4,), (8,)), networks.ConvDecoder((4,), (8,))),
    "resnet": (
        networks.ResNetEncoder((4,), (8,)),
        networks.ResNetDecoder((4,), (8,)),
    ),
    "spectral": (
        networks.ConvEncoder((4,), (8,)),
        models.SpectralDecoder(networks.ConvDecoder((4,), (8,))),
    ),
    "gru": (networks.GRUEncoder(8), networks.GRUDecoder(8)),
    "patch": (
        networks.PatchEncoder(4, 8, 1, 2),
        networks.PatchDecoder(4, 8, 1, 2),
    ),
}
# Where the maths does not allow it: what between the models is said in the reason.
WITHOUT_CLOSED_FORM = {"vampprior", "mixture", "iaf", "two", "vq", "fsq"}
NOT_GAUSSIAN = {"iaf", "two", "vq", "fsq"}
REFUSED = {
    "sparse_kl": ({"two"}, "needs a code that is one vector"),
    "sparse_l1": ({"two"}, "needs a code that is one vector"),
    "contractive": ({"two"}, "needs a code that is one vector"),
    "rae": ({"two"}, "needs a code that is one vector"),
    "rae_l2": ({"two"}, "needs a code that is one vector"),
    "rae_gp": ({"two"}, "needs a code that is one vector"),
    "info_vae": ({"two"}, "needs a code that is one vector"),
    "wae_mmd": ({"two"}, "needs a code that is one vector"),
    "free_bits": (WITHOUT_CLOSED_FORM, "a sum over latents in closed form"),
    "beta_tcvae": (NOT_GAUSSIAN, "needs a posterior of independent latents"),
    "dip_vae": (NOT_GAUSSIAN, "needs the moments of"),
    "factor_vae": ({*MODELS} - {"factor"}, "needs a model with a discriminator"),
    "optimal_sigma_vae": (
        {*MODELS} - {"optimal"},
        "needs the likelihood models.Optimal",
    ),
    "multi_rate_vae": ({*MODELS} - {"multi"}, "needs a model that reads batch"),
    "vq_vae": ({*MODELS} - {"vq", "fsq"}, "needs a code of codewords"),
}


@pytest.fixture(scope="module")
def small():
    images = np.random.default_rng(7).integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)
    label = np.arange(60) % 10
    parts = zip(np.split(images, [24, 40]), np.split(label, [24, 40]))
    return data.arrays(*({"image": i, "label": n} for i, n in parts), name="small")


def check(objective, kind, encoder, decoder, dataset, **fields):
    """With those weights alone that the objective reads."""
    model = kind(4, encoder, decoder, **fields)
    hp = dict.fromkeys((*WEIGHTS, "lr"), 0.5)
    whole = config.Config(
        *(model, OBJECTIVES[objective], hp),
        *(optim.adam, optim.constant, data.none),
        batch=20,
    )
    try:
        check_run(whole, dataset)
    except InputError as error:
        read = re.search("nothing reads hyperparameter .*; it reads (.*)", str(error))
        if read is None:
            raise
        own = {name: hp[name] for name in read.group(1).split(", ")}
        check_run(dataclasses.replace(whole, hparams=own), dataset)


MLPS = networks.MLPEncoder((8,)), networks.MLPDecoder((8,))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_model_is_trained_by_an_objective_or_refused(objective, model, small):
    kind, fields = MODELS[model]
    refused, reason = REFUSED.get(objective, ((), ""))
    if model in refused:
        with pytest.raises(InputError, match=reason) as e:
            check(objective, kind, *MLPS, small, **fields)
        assert isinstance(e.value.__cause__, InputError)  # a reason, not an accident
    else:
        check(objective, kind, *MLPS, small, **fields)


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_networks_combine_freely(objective, pair, small):
    own = {"factor_vae": "factor", "optimal_sigma_vae": "optimal", "vq_vae": "vq"}
    own |= {"multi_rate_vae": "multi"}
    kind, fields = MODELS[own.get(objective, "vae")]
    others = [e for name, (e, _) in PAIRS.items() if name != pair]
    encoder = others[len(objective) % len(others)]  # not the decoder's own
    check(objective, kind, encoder, PAIRS[pair][1], small, **fields)


def test_a_few_refusals(small):
    """Of those above; the others take long."""
    for objective, model in (
        ("contractive", "two"),
        ("dip_vae", "iaf"),
        ("factor_vae", "vae"),
        ("optimal_sigma_vae", "learned"),
        ("vq_vae", "vae"),
        ("multi_rate_vae", "vae"),
    ):
        kind, fields = MODELS[model]
        with pytest.raises(InputError, match=REFUSED[objective][1]):
            check(objective, kind, *MLPS, small, **fields)


@pytest.mark.parametrize(
    "likelihood, outputs",
    [
        (likelihoods.gaussian_pair, 1),
        (likelihoods.categorical, 1),
        (likelihoods.bernoulli, 2),
    ],
)
def test_a_likelihood_gets_the_numbers_a_pixel_that_it_needs(
    likelihood, outputs, small
):
    """A clamped index made a distribution of one number a pixel out of another's."""
    fields = {"likelihood": likelihood, "outputs": outputs}
    with jax.numpy_rank_promotion("allow"), pytest.raises(InputError) as e:
        check("autoencoder", models.VAE, *MLPS, small, **fields)
    assert "set the model's outputs to the number" in str(e.value)
