"""Faults that were planted in methods, each with the check that finds it, and the sound original.

They show that the battery can fail: a test runs each with its check, and the original with the same.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from aevae import data, models, networks, objectives, optim
from aevae.config import Config
from aevae.models.distributions import Normal, kl_each, log_mean_exp
from aevae.objectives import bound_terms


class Planted(NamedTuple):
    """A fault: what it is, the configs with and without it, and the checks that find it."""

    what: str
    faulty: Config
    sound: Config
    checks: tuple[str, ...]


def _config(objective, hparams, kind=models.VAE, **fields):
    parts = networks.MLPEncoder((32,)), networks.MLPDecoder((32,))
    return Config(
        kind(4, *parts, **fields),
        objective,
        hparams | {"lr": 1e-3},
        *(optim.adam, optim.constant, data.threshold),
        batch=32,
    )


BETA = {"beta": 1.0}
DIP = {"off_diagonal": 1.0, "diagonal": 1.0}
TC = {"alpha": 1.0, "beta": 1.0, "gamma": 1.0}
VAE = _config(objectives.beta_vae, BETA)
IWAE = _config(functools.partial(objectives.iwae, k=5), {})


def _log_weights(model, params, batch, key, hp, k):
    keys = jax.random.split(key, k)
    draws = jax.vmap(lambda key: model.apply(params, batch, key, hp))(keys)
    return draws, draws.log_px + draws.log_pz - draws.log_qz


def iwae_of_the_worst(model, params, batch, key, hp, *, k=5):
    """An IWAE whose bound is -log mean 1/w: the worst sample counts most."""
    draws, log_w = _log_weights(model, params, batch, key, hp, k)
    bound = -log_mean_exp(-log_w).mean()
    return -bound, bound_terms(draws) | {"iwae": bound}


def iwae_with_gradient_of_the_worst(model, params, batch, key, hp, *, k=5):
    """An IWAE whose gradient, not its value, weighs the worst sample most."""
    draws, log_w = _log_weights(model, params, batch, key, hp, k)
    bound = log_mean_exp(log_w).mean()
    weights = stop_gradient(jax.nn.softmax(-log_w, axis=0))
    slope = (weights * log_w).sum(0).mean()
    loss = -stop_gradient(bound) - slope + stop_gradient(slope)
    return loss, bound_terms(draws) | {"iwae": bound}


def dip_over_latents(model, params, batch, key, hp):
    """A DIP-VAE whose covariance is over the latents, between examples."""
    draw = model.apply(params, batch, key, hp)
    mean = draw.q.mean.T
    centered = mean - mean.mean(0, keepdims=True)
    covariance = centered.T @ centered / len(centered)
    diagonal = jnp.diag(covariance)
    off, own = (covariance**2).sum() - (diagonal**2).sum(), ((diagonal - 1) ** 2).sum()
    terms = bound_terms(draw)
    loss = -terms["elbo"] + hp["off_diagonal"] * off + hp["diagonal"] * own
    return loss, terms | {"off_diagonal": off, "diagonal": own}


def sum_over_batch(model, params, batch, key, hp):
    """A beta-VAE whose distortion is a sum over the batch."""
    draw = model.apply(params, batch, key, hp)
    distortion, rate = -draw.log_px.sum(), draw.rate.mean()
    terms = {"elbo": -distortion - rate, "distortion": distortion, "rate": rate}
    return distortion + hp["beta"] * rate, terms


def mean_over_pixels(model, params, batch, key, hp):
    """A beta-VAE whose distortion is a mean over pixels."""
    draw = model.apply(params, batch, key, hp)
    terms = bound_terms(draw)
    distortion = -draw.log_px.mean() / batch["image"][0].size
    terms |= {"distortion": distortion, "elbo": -distortion - terms["rate"]}
    return distortion + hp["beta"] * terms["rate"], terms


def negative_rate(model, params, batch, key, hp):
    """A beta-VAE that takes -KL for KL everywhere."""
    terms = bound_terms(model.apply(params, batch, key, hp))
    rate = -terms["rate"]
    terms |= {"rate": rate, "elbo": -terms["distortion"] - rate}
    return terms["distortion"] + hp["beta"] * rate, terms


def subtracted_rate(model, params, batch, key, hp):
    """A beta-VAE that reports its rate, and subtracts it from the loss."""
    terms = bound_terms(model.apply(params, batch, key, hp))
    return terms["distortion"] - hp["beta"] * terms["rate"], terms


def misplaced(count, size):
    """Stratified weights with that of the rest in the first column, whatever the row."""
    m = count - 1
    i = jnp.arange(count)
    weights = jnp.full((count, count), 1 / m).at[i, i].set(1 / size)
    return jnp.log(weights.at[:, 0].set((size - m) / (size * m)))


def variance_for_deviation(model, params, batch, key, hp):
    """A beta-VAE whose KL takes the log-deviation for a log-variance."""
    draw = model.apply(params, batch, key, hp)
    wrong = Normal(draw.q.mean, 0.5 * draw.q.log_std)
    return _with_rate(draw, kl_each(wrong, draw.p).sum(-1).mean(), hp)


def mean_over_latents(model, params, batch, key, hp):
    """A beta-VAE whose KL is a mean over latents."""
    draw = model.apply(params, batch, key, hp)
    return _with_rate(draw, kl_each(draw.q, draw.p).mean(), hp)


def _with_rate(draw, rate, hp):
    terms = bound_terms(draw)
    terms |= {"rate": rate, "elbo": -terms["distortion"] - rate}
    return terms["distortion"] + hp["beta"] * rate, terms


class Spread(Normal):
    """A posterior that is drawn with the variance for its deviation, and says another density."""

    __slots__ = ()

    def sample(self, key, count=None):
        return Normal(self.mean, 2 * self.log_std).sample(key, count)


class SpreadVAE(models.VAE):
    """A VAE whose draws have the variance for their deviation."""

    def encode(self, batch):
        return Spread(*super().encode(batch))


class UnnormalizedPriorVAE(models.VAE):
    """A VAE with the prior N(0, I), whose samples have half the deviation."""

    def prior(self, batch):
        p = super().prior(batch)

        class Narrow(Normal):
            __slots__ = ()

            def sample(self, key, count=None):
                return 0.5 * Normal(*self).sample(key, count)

        return Narrow(*p)


def log_of_probability(model, params, batch, key, hp):
    """A beta-VAE that takes logarithms of probabilities, which may be 0."""
    draw = model.apply(params, batch, key, hp)
    p, image = draw.x.mean, batch["image"]
    log_px = image * jnp.log(p) + (1 - image) * jnp.log(1 - p)
    draw = draw._replace(log_px=log_px.reshape(len(image), -1).sum(-1))
    terms = bound_terms(draw)
    return terms["distortion"] + hp["beta"] * terms["rate"], terms


def entropy_of_pixels(model, params, batch, key, hp):
    """A beta-VAE whose loss is less the entropy of the mean image."""
    terms = bound_terms(model.apply(params, batch, key, hp))
    mean = batch["image"].mean(
        0
    )  # a pixel that is 0 in every image has the logarithm of 0
    entropy = -(mean * jnp.log(mean) + (1 - mean) * jnp.log(1 - mean)).sum()
    return terms["distortion"] + hp["beta"] * terms["rate"] - entropy, terms


def exponential(out, hp):
    """A Gaussian likelihood whose mean is an exponential, which overflows."""
    del hp
    return Normal(jnp.exp(out), jnp.zeros_like(out))


class Unnormalized(Normal):
    """A Gaussian without its constants: the squared error for -log p."""

    __slots__ = ()

    def log_prob(self, x):
        return super().log_prob(x) + jnp.full_like(x, 1).reshape(len(x), -1).sum(1)


class UnnormalizedVAE(models.VAE):
    """A VAE whose Gaussian likelihood lacks a constant."""

    def decode(self, z, batch, hp):
        x = super().decode(z, batch, hp)
        return Unnormalized(*x) if isinstance(x, Normal) else x


TRACED = []


def with_counter(model, params, batch, key, hp):
    """A beta-VAE whose warm-up counts its own calls."""
    TRACED.append(0)
    terms = bound_terms(model.apply(params, batch, key, hp))
    weight = hp["beta"] * len(TRACED)
    return terms["distortion"] + weight * terms["rate"], terms


def without_weight(model, params, batch, key, hp):
    """A beta-VAE that forgets beta."""
    terms = bound_terms(model.apply(params, batch, key, hp))
    return terms["distortion"] + terms["rate"], terms


def bounded_weight(model, params, batch, key, hp):
    """A beta-VAE whose beta has no effect above 1."""
    terms = bound_terms(model.apply(params, batch, key, hp))
    weight = jnp.minimum(hp["beta"], 1.0)
    return terms["distortion"] + weight * terms["rate"], terms


def weighted_elbo(model, params, batch, key, hp):
    """A beta-VAE whose elbo has beta in it."""
    terms = bound_terms(model.apply(params, batch, key, hp))
    loss = terms["distortion"] + hp["beta"] * terms["rate"]
    return loss, terms | {"elbo": -loss}


def between_examples(model, params, batch, key, hp):
    """A beta-VAE with a penalty between examples that it does not declare."""
    draw = model.apply(params, batch, key, hp)
    terms = bound_terms(draw)
    spread = (draw.q.mean.mean(0) ** 2).sum()
    return terms["distortion"] + hp["beta"] * terms["rate"] + spread, terms | {
        "spread": spread
    }


def like(sound, objective):
    """A config with another objective."""
    return Config(
        sound.model,
        objective,
        sound.hparams,
        *(sound.optimizer, sound.schedule, sound.binarization),
        batch=sound.batch,
    )


DIPPED = _config(objectives.dip_vae, DIP)
TCVAE = _config(objectives.beta_tcvae, TC)
PLANTED = (
    Planted(
        "an IWAE that weighs the worst sample most",
        like(IWAE, functools.partial(iwae_of_the_worst, k=5)),
        IWAE,
        ("iwae", "many-samples"),
    ),
    Planted(
        "an IWAE whose gradient weighs the worst sample most",
        like(IWAE, functools.partial(iwae_with_gradient_of_the_worst, k=5)),
        IWAE,
        ("gradient",),
    ),
    Planted(
        "DIP-VAE's covariance over the wrong axis",
        like(DIPPED, dip_over_latents),
        DIPPED,
        ("penalties",),
    ),
    Planted(
        "a sum over the batch for a mean",
        like(VAE, sum_over_batch),
        VAE,
        ("examples", "mean-bound", "distortion"),
    ),
    Planted(
        "a mean over pixels for a sum",
        like(VAE, mean_over_pixels),
        VAE,
        ("pixels", "distortion"),
    ),
    Planted(
        "a KL of the wrong sign",
        like(VAE, negative_rate),
        VAE,
        ("positive-rate", "rate", "sampled-rate"),
    ),
    Planted(
        "a KL that is subtracted in the loss",
        like(VAE, subtracted_rate),
        VAE,
        ("beta-1",),
    ),
    Planted(
        "a stratified weight in the wrong column",
        like(TCVAE, functools.partial(objectives.beta_tcvae, weights=misplaced)),
        TCVAE,
        ("penalties",),
    ),
    Planted(
        "a log-deviation taken for a log-variance in the KL",
        like(VAE, variance_for_deviation),
        VAE,
        ("rate", "sampled-rate"),
    ),
    Planted(
        "a mean over latents in the KL",
        like(VAE, mean_over_latents),
        VAE,
        ("rate", "sampled-rate"),
    ),
    Planted(
        "a variance taken for a deviation in the draws",
        _config(objectives.beta_vae, BETA, SpreadVAE),
        VAE,
        ("posterior",),
    ),
    Planted(
        "a prior whose samples are not of its density",
        _config(objectives.beta_vae, BETA, UnnormalizedPriorVAE),
        VAE,
        ("prior",),
    ),
    Planted(
        "logarithms of probabilities that may be 0",
        like(VAE, log_of_probability),
        VAE,
        ("large-parameters",),
    ),
    Planted(
        "a logarithm of pixels that are 0",
        like(VAE, entropy_of_pixels),
        VAE,
        ("extreme-images",),
    ),
    Planted(
        "a mean that is an exponential",
        _config(objectives.beta_vae, BETA, likelihood=exponential),
        VAE,
        ("far-codes",),
    ),
    Planted(
        "a Gaussian density without its constant",
        _config(objectives.beta_vae, BETA, UnnormalizedVAE),
        VAE,
        ("exact",),
    ),
    Planted(
        "a counter of calls in the loss",
        like(VAE, with_counter),
        VAE,
        ("pure",),
    ),
    Planted(
        "a weight that nothing reads",
        like(VAE, without_weight),
        VAE,
        ("read",),
    ),
    Planted(
        "a beta that is bounded",
        like(VAE, bounded_weight),
        VAE,
        ("collapse",),
    ),
    Planted(
        "an elbo with beta in it",
        like(VAE, weighted_elbo),
        VAE,
        ("elbo",),
    ),
    Planted(
        "a penalty between examples, not declared",
        like(VAE, between_examples),
        VAE,
        ("batch-size",),
    ),
)
