"""Densities and divergences by NumPy in float64, of the distributions that the battery knows."""

import math

import jax
import numpy as np
import scipy.special

from aevae.models.distributions import Normal
from aevae.models.likelihoods import Bernoulli, Categorical


def flat(values):
    values = np.float64(values)
    return values.reshape(len(values), -1)


def log_prob(x, image):
    """log p(image) [B] of a likelihood; of one that the battery does not know, by itself."""
    image = np.float64(image)
    if isinstance(x, Bernoulli):
        logits = np.float64(x.logits)
        each = image * logits - np.logaddexp(0, logits)
    elif isinstance(x, Normal):
        each = log_normal(image, np.float64(x.mean), np.exp(np.float64(x.log_std)))
    elif isinstance(x, Categorical):
        level = np.rint(image * (x.levels - 1)).astype(int)
        log_p = scipy.special.log_softmax(np.float64(x.logits), axis=-1)
        each = np.take_along_axis(log_p, level[..., None], -1)[..., 0]
    else:
        return np.float64(jax.jit(lambda x, i: x.log_prob(i))(x, np.float32(image)))
    return flat(each).sum(1)


def log_normal(x, mean, std):
    """log N(x; mean, std²) of each value."""
    return -0.5 * ((x - mean) / std) ** 2 - np.log(std) - 0.5 * math.log(2 * math.pi)


def kl(q, p):
    """KL(q || p) of Gaussians, [B]; None for what the battery does not know."""
    if not (isinstance(q, Normal) and isinstance(p, Normal)):
        return None
    (m, s), (n, t) = (
        (np.float64(d.mean), np.exp(np.float64(d.log_std))) for d in (q, p)
    )
    each = np.log(t / s) + (s**2 + (m - n) ** 2) / (2 * t**2) - 0.5
    return flat(each).sum(1)


def log_mean_exp(log_w):
    """log mean exp over the first axis."""
    return scipy.special.logsumexp(log_w, axis=0) - math.log(len(log_w))
