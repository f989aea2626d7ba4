"""Objectives: pure functions (model, params, batch, key, hp) -> (loss, metrics).

Nats, summed over pixels and latents, averaged over examples. `elbo` is always the
beta = 1 bound, so that runs trained with different weights share an axis. `hp` is a dict of
scalars that may each be swept; what sets a shape, such as the K of IWAE, is bound with
`functools.partial`.
"""

import jax
import jax.numpy as jnp

from aevae.distributions import log_mean_exp


def autoencoder(model, params, batch, key, hp):
    """E[-log p(x|z)] at the mean code, z = E[q(z|x)]: the distortion alone.

    Hinton and Salakhutdinov (2006). No noise, no rate, no bound. Under a Gaussian with
    sigma = 1/sqrt(2) it is the squared error plus ½ log(pi) a pixel; under a Bernoulli it is
    the cross-entropy. Evaluation reports both beside it.
    """
    del key
    distortion = -model.apply(params, batch, None, hp).log_px.mean()
    return distortion, {"distortion": distortion}


def beta_vae(model, params, batch, key, hp):
    """E[-log p(x|z)] + beta KL(q(z|x) || p(z)): Higgins et al. (2017), eq. 4.

    beta = 1 is the VAE of Kingma and Welling (2014), eq. 10, with one sample.
    """
    terms = bound_terms(model.apply(params, batch, key, hp))
    return terms["distortion"] + hp["beta"] * terms["rate"], terms


def capacity_vae(model, params, batch, key, hp):
    """E[-log p(x|z)] + gamma |KL - C|: Burgess et al. (2018), eq. 8.

    KL is the batch's mean, and C is `capacity`, in nats.
    """
    terms = bound_terms(model.apply(params, batch, key, hp))
    excess = jnp.abs(terms["rate"] - hp["capacity"])
    return terms["distortion"] + hp["gamma"] * excess, terms


def iwae(model, params, batch, key, hp, *, k=50):
    """-E[log 1/K sum_k p(x, z_k) / q(z_k|x)], z_k ~ q(z|x): Burda et al. (2016), eq. 8.

    `k` is K. The metric `iwae` is the bound with that K; the others are those of the
    single-sample ELBO, averaged over the K draws.
    """
    draws = jax.vmap(lambda key: model.apply(params, batch, key, hp))(
        jax.random.split(key, k)
    )
    bound = log_mean_exp(draws.log_px + draws.log_pz - draws.log_qz).mean()
    return -bound, bound_terms(draws) | {"iwae": bound}


def bound_terms(draw):
    """Distortion, rate and their ELBO; the rate by sampling where it has no closed form."""
    rate = draw.log_qz - draw.log_pz if draw.rate is None else draw.rate
    distortion, rate = -draw.log_px.mean(), rate.mean()
    return {"elbo": -(distortion + rate), "distortion": distortion, "rate": rate}
