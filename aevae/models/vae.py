"""The VAE, and what its variants change: posterior, prior, likelihood, code."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from aevae import InputError
from aevae.models.distributions import Normal, bernoulli, flat, kl
from aevae.networks import lecun_normal


class Draw(NamedTuple):
    """One z for each example, its terms in nats [B], and the distributions they came from."""

    z: Any  # [B, Z]
    log_px: jax.Array  # log p(x|z)
    log_pz: jax.Array  # log p(z)
    log_qz: jax.Array  # log q(z|x)
    rate: (
        jax.Array | None
    )  # KL(q(z|x) || p(z)) in closed form, None where there is none
    q: Any  # q(z|x): draw, log_prob
    p: Any  # p(z): sample, log_prob
    x: Any  # p(x|z): mean, sample, log_prob


class DiagonalGaussian(nn.Module):
    """Features [B, F] to q(z|x) = N(mean, diag std²): Kingma and Welling (2014), appendix C.2."""

    latent: int
    kernel: Callable = lecun_normal

    @nn.compact
    def __call__(self, h):
        out = nn.Dense(2 * self.latent, kernel_init=self.kernel)(h)
        mean, logvar = jnp.split(out, 2, axis=-1)
        return Normal(mean, jnp.exp(0.5 * logvar))


def zeros(images):
    """An output bias that starts at 0."""
    return jnp.zeros(images.shape[1:])


def mean_logit(images):
    """An output bias that starts at the logit of the mean image, clipped to [0.001, 0.999].

    As in the code that Burda et al. (2016) released.
    """
    mean = jnp.clip(images.mean(0), 0.001, 0.999)
    return jnp.log(mean) - jnp.log1p(-mean)


def pure(module, *args):
    """A bound submodule as a pytree: a function of arrays, so that `stop_gradient` reaches them."""
    module(*args)  # so that its parameters exist
    loose, variables = module.unbind()
    return jax.tree_util.Partial(loose.apply, variables)


class FromData(nn.Module):
    """A parameter whose first value is a function of the training images."""

    start: Callable

    @nn.compact
    def __call__(self, batch):
        if self.has_variable("params", "value"):
            return self.get_variable("params", "value")
        return self.param("value", lambda key: self.start(batch["image"]))


class VAE(nn.Module):
    """q(z|x), p(z) and p(x|z), as three methods. A variant overrides one of them.

    Used only through the pure `init(key, batch, None, hp)` and `apply(params, batch, key, hp)`,
    which returns a `Draw`; `batch` is a dict with `image`, `hp` a dict of scalars. Without a key
    the code is the posterior's mean, which makes a plain autoencoder of it.
    """

    latent: int
    encoder: nn.Module  # [B, H, W, C] -> [B, F]
    decoder: nn.Module  # [B, Z], shape -> [B, *shape]
    likelihood: Callable = (
        bernoulli  # (decoder's output, hp) -> p(x|z); may be a module
    )
    output_bias: Callable = zeros  # training images -> the output bias's first value
    outputs: int = (
        1  # of the decoder for each value: more are a last axis of its output
    )
    kernel: Callable = lecun_normal  # first weights of the posterior's head
    shape: tuple[int, ...] = ()  # of one image; a sweep takes it from the data

    def setup(self):
        self.posterior = DiagonalGaussian(self.latent, self.kernel)
        self.bias = FromData(self.output_bias)

    def encode(self, batch):
        """q(z|x), [B, Z]."""
        return self.posterior(self.encoder(batch["image"]))

    def prior(self, batch):
        """p(z), [1, Z]: the standard normal."""
        del batch
        return Normal(jnp.zeros((1, self.latent)), jnp.ones((1, self.latent)))

    def decode(self, z, batch, hp):
        """p(x|z), [B, H, W, C]. `batch` may carry what x depends on beside z, never x itself."""
        bias = self.bias(batch).reshape(1, -1)
        if self.outputs == 1:
            out = flat(self.decoder(z, self.shape)) + bias
            return self._x(out.reshape(-1, *self.shape), hp)
        shape = (*self.shape[:-1], self.shape[-1] * self.outputs)
        out = self.decoder(z, shape).reshape(-1, math.prod(self.shape), self.outputs)
        out = out.at[:, :, 0].add(bias)
        return self._x(out.reshape(-1, *self.shape, self.outputs), hp)

    def _x(self, out, hp):
        """p(x|z) of the decoder's output. An InputError where that is not of an image's shape."""
        x = self.likelihood(out, hp)
        if x.mean.shape[1:] != self.shape:
            raise InputError(
                f"a likelihood of {self.outputs} outputs a value gives images {x.mean.shape[1:]}, "
                f"not {self.shape}: it needs another number of the model's outputs"
            )
        return x

    def log_joint(self, z, batch, hp):
        """log p(x, z) at a given z, [B] nats."""
        log_px = self.decode(z, batch, hp).log_prob(batch["image"])
        return log_px + self.prior(batch).log_prob(z)

    def __call__(self, batch, key, hp):
        q, p = self.encode(batch), self.prior(batch)
        z, log_qz = q.draw(key)
        x = self.decode(z, batch, hp)
        log_px = x.log_prob(batch["image"])
        return Draw(z, log_px, p.log_prob(z), log_qz, kl(q, p), q, p, x)
