"""Models: the VAE and its variants, made of networks and distributions."""

from aevae.models.distributions import (
    bernoulli,
    categorical,
    continuous_bernoulli,
    discretized_logistic,
    gaussian,
    gaussian_pair,
)
from aevae.models.vae import (
    VAE,
    DiagonalGaussian,
    Draw,
    FromData,
    mean_logit,
    pure,
    zeros,
)
from aevae.models.variants import (
    FSQ,
    IAF,
    VQVAE,
    ConditionalVAE,
    FactorVAE,
    LearnedGaussian,
    MixturePrior,
    OptimalGaussian,
    TwoLevel,
    VampPrior,
)

__all__ = [
    "FSQ",
    "IAF",
    "VAE",
    "VQVAE",
    "ConditionalVAE",
    "DiagonalGaussian",
    "Draw",
    "FactorVAE",
    "FromData",
    "LearnedGaussian",
    "MixturePrior",
    "OptimalGaussian",
    "TwoLevel",
    "VampPrior",
    "bernoulli",
    "categorical",
    "continuous_bernoulli",
    "discretized_logistic",
    "gaussian",
    "gaussian_pair",
    "mean_logit",
    "pure",
    "zeros",
]
