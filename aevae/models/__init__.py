"""Models: the VAE and its variants, made of networks and distributions.

    distributions    posteriors and priors, as pytrees of arrays; Gaussians
    likelihoods      the other likelihoods, and the functions that a model takes as its own
    spectral         `SpectralDecoder`: any decoder, with weights of spectral norm 1
    vae              `VAE`: its encode, prior and decode; the `Draw` that objectives are made of
    variants         models that change one of these: priors, flows, discrete codes, conditions
    priors           priors that are fitted to codes after training
    multi_rate       `MultiRateVAE`: one model for every beta

Each file imports only from those above it. The likelihoods, (decoder's output, hp) -> p(x|z), are
`bernoulli`, `gaussian` and the like; the modules `LearnedGaussian` and `OptimalGaussian` are such
functions with parameters of their own.
"""

from aevae.models.likelihoods import (
    bernoulli,
    categorical,
    continuous_bernoulli,
    discretized_logistic,
    gaussian,
    gaussian_pair,
)
from aevae.models.multi_rate import MultiRateVAE
from aevae.models.spectral import SpectralDecoder
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
    "MultiRateVAE",
    "OptimalGaussian",
    "SpectralDecoder",
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
