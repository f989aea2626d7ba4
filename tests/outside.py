"""What several tests add from outside the package: a Laplace posterior and prior, and a config."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from aevae import config, data, models, networks, optim


class Laplace(NamedTuple):
    """Independent Laplace distributions, [B, Z]; a prior has B = 1."""

    mean: jax.Array
    scale: jax.Array

    @property
    def std(self):
        return jnp.sqrt(2.0) * self.scale

    def sample(self, key, count=None):
        shape = (count or len(self.mean), *self.mean.shape[1:])
        if key is None:
            return jnp.broadcast_to(self.mean, shape)
        return self.mean + self.scale * jax.random.laplace(key, shape)

    def log_prob_each(self, z):
        return -abs(z - self.mean) / self.scale - jnp.log(2 * self.scale)

    def log_prob(self, z):
        return self.log_prob_each(z).sum(-1)

    def draw(self, key):
        z = self.sample(key)
        return z, self.log_prob(z)

    def kl_each(self, p):
        """r e^(-d/r) + d - 1 - log r, r = scale / scale_p and d = |mean - mean_p| / scale_p."""
        if not isinstance(p, Laplace):
            return None
        ratio, shift = self.scale / p.scale, abs(self.mean - p.mean) / p.scale
        return ratio * jnp.exp(-shift / ratio) + shift - 1 - jnp.log(ratio)

    def quantile(self, u):
        return self.mean - self.scale * jnp.sign(u - 0.5) * jnp.log1p(-2 * abs(u - 0.5))


class LaplaceHead(nn.Module):
    latent: int

    @nn.compact
    def __call__(self, h):
        mean, log_scale = jnp.split(nn.Dense(2 * self.latent)(h), 2, axis=-1)
        return Laplace(mean, jnp.exp(log_scale))


class LaplaceVAE(models.VAE):
    """A posterior and a prior of one's own: two methods."""

    def setup(self):
        super().setup()
        self.head = LaplaceHead(self.latent)

    def encode(self, batch):
        return self.head(self.encoder(batch["image"]))

    def prior(self, batch):
        return Laplace(jnp.zeros((1, self.latent)), jnp.ones((1, self.latent)))


def run_of(model, objective, hparams, **fields):
    return config.Config(
        model=model,
        objective=objective,
        hparams={"lr": 1e-3} | hparams,
        optimizer=optim.adam,
        schedule=optim.constant,
        **{"binarization": data.stochastic, "batch": 400, "epochs": 1} | fields,
    )


NETWORKS = networks.MLPEncoder((16,)), networks.MLPDecoder((16,))
