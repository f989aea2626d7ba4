"""Distributions as pytrees of arrays: they cross jit and vmap, and `stop_gradient(q)` works.

Log-probabilities are in nats, summed over every axis but the first.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm


class Normal(NamedTuple):
    """Independent Gaussians N(mean, std²), [B, ...]; a prior has B = 1."""

    mean: jax.Array
    std: jax.Array

    def sample(self, key, count=None):
        """mean + std · eps, eps ~ N(0, I): `count` rows of a prior. No key, no noise: the mean."""
        shape = (count or len(self.mean), *self.mean.shape[1:])
        if key is None:
            return jnp.broadcast_to(self.mean, shape)
        return self.mean + self.std * jax.random.normal(key, shape)

    def log_prob(self, x):
        return per_example(norm.logpdf(flat(x), flat(self.mean), flat(self.std)))

    def draw(self, key):
        """One reparameterised sample of each row and its log-probability."""
        z = self.sample(key)
        return z, self.log_prob(z)


class Bernoulli(NamedTuple):
    """Independent pixels with P(1) = sigmoid(logits), [B, ...]."""

    logits: jax.Array
    support = (0.0, 1.0)

    @property
    def mean(self):
        return jax.nn.sigmoid(self.logits)

    def sample(self, key):
        """No key, no noise: the mean."""
        if key is None:
            return self.mean
        return jax.random.bernoulli(key, self.mean).astype(jnp.float32)

    def log_prob(self, x):
        """x·l - softplus(l): finite at any logit, and the cross-entropy where 0 < x < 1."""
        x, logits = flat(x), flat(self.logits)
        return per_example(x * logits - jax.nn.softplus(logits))


def kl(q, p):
    """KL(q || p) in closed form, [B]; None where there is none.

    Diagonal Gaussians: ½ sum_z(s² + d² - 1 - log s²), s = std_q / std_p and
    d = (mean_q - mean_p) / std_p; Kingma and Welling (2014), appendix B, for p = N(0, I).
    """
    each = kl_each(q, p)
    if each is None:
        return q.kl(p) if hasattr(q, "kl") else None
    return per_example(each)


def kl_each(q, p):
    """The terms of `kl` of each latent, [B, Z]; None where it is not a sum of closed forms."""
    if not (isinstance(q, Normal) and isinstance(p, Normal)):
        return None
    ratio, shift = q.std / p.std, (q.mean - p.mean) / p.std
    return 0.5 * (ratio**2 + shift**2 - 1 - 2 * jnp.log(ratio))


def log_mean_exp(log_w):
    """log 1/K sum_k exp(log_w[k]) over the first axis."""
    return jax.nn.logsumexp(log_w, axis=0) - jnp.log(len(log_w))


def per_example(values):
    """Sums every axis but the first."""
    return flat(values).sum(-1)


def flat(values):
    """[B, ...] as [B, P]: a CPU's loops are fast along a long last axis, and slow along C = 1."""
    return values.reshape(len(values), -1)


def bernoulli(out, hp):
    """The likelihood of binary pixels, from the decoder's output as logits."""
    del hp
    return Bernoulli(out)


def gaussian(out, hp):
    """N(x; out, sigma²). `sigma` is a hyperparameter, so it can be swept.

    At sigma = 1/sqrt(2) its negative log is the squared error plus the constant
    ½ log(pi) a pixel.
    """
    return Normal(out, jnp.full_like(out, 1) * hp["sigma"])
