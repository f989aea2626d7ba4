"""The variational autoencoder as a Flax module, and the `Draw` that one call of it gives."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from aevae import InputError
from aevae.models.distributions import LOG_STD, Normal, bounded, flat, kl
from aevae.models.likelihoods import Standardized, bernoulli
from aevae.networks import lecun_normal


class Draw(NamedTuple):
    """A sample z for each example, its log-densities in nats, [B] each, and the distributions."""

    z: Any  # [B, Z]
    log_px: jax.Array  # log p(x|z)
    log_pz: jax.Array  # log p(z)
    log_qz: jax.Array  # log q(z|x)
    rate: jax.Array | None  # KL(q(z|x) || p(z)); None without a closed form
    q: Any  # q(z|x): draw, log_prob
    p: Any  # p(z): sample, log_prob
    x: Any  # p(x|z): mean, sample, log_prob


class DiagonalGaussian(nn.Module):
    """The head of an encoder, features [B, F] to q(z|x) = N(mean, diag std²).

    Kingma and Welling (2014), appendix C.2: one dense layer gives mean and log std², from which
    log std is bounded by `distributions.LOG_STD`.
    """

    latent: int
    kernel: Callable = lecun_normal

    @nn.compact
    def __call__(self, h):
        out = nn.Dense(2 * self.latent, kernel_init=self.kernel)(h)
        mean, logvar = jnp.split(out, 2, axis=-1)
        return Normal(mean, bounded(0.5 * logvar, *LOG_STD))


def zeros(images):
    """Initializes the output bias at 0."""
    return jnp.zeros(images.shape[1:])


def mean_logit(images):
    """Initializes the output bias at the logit of the mean image, clipped to [0.001, 0.999].

    As in the code that Burda et al. (2016) released.
    """
    mean = jnp.clip(images.mean(0), 0.001, 0.999)
    return jnp.log(mean) - jnp.log1p(-mean)


def pure(module, *args):
    """A bound submodule as a pytree of its parameters, which is a function of arrays.

    A distribution may hold it: `stop_gradient` then reaches the parameters. `args` are arguments
    with which the submodule is called once, so that it has parameters.
    """
    module(*args)
    unbound, variables = module.unbind()
    return jax.tree_util.Partial(unbound.apply, variables)


class FromData(nn.Module):
    """A parameter that is initialized by a function of the training images."""

    start: Callable

    @nn.compact
    def __call__(self, batch):
        if self.has_variable("params", "value"):
            return self.get_variable("params", "value")
        return self.param("value", lambda key: self.start(batch["image"]))


class VAE(nn.Module):
    """A variational autoencoder: q(z|x), p(z) and p(x|z) as the methods encode, prior and decode.

    A variant overrides one of them. The module is used only through the pure functions
    `init(key, batch, None, hp)` and `apply(params, batch, key, hp)`, which returns a `Draw`;
    `batch` is a dict with `image`, `hp` a dict of scalars. Without a key z is the posterior's mean,
    as in a plain autoencoder.

    The likelihood is a function or a module, (decoder's output, hp) -> p(x|z). With `outputs` > 1
    the decoder gives that many numbers for each pixel value, along a last axis of its output.
    """

    latent: int
    encoder: nn.Module  # [B, H, W, C] -> [B, F]
    decoder: nn.Module  # [B, Z], shape -> [B, *shape]
    likelihood: Callable = bernoulli  # (decoder's output, hp) -> p(x|z)
    output_bias: Callable = zeros  # training images -> initial output bias
    outputs: int = 1  # of the decoder, for each pixel value
    kernel: Callable = lecun_normal  # initializer of the posterior's head
    shape: tuple[int, ...] = ()  # of one image; training takes it from the data ...
    scaling: Any = None  # ... and their `data.Scaling`, where they are standardized

    def setup(self):
        self.posterior = DiagonalGaussian(self.latent, self.kernel)
        self.bias = FromData(self.output_bias)

    def encode(self, batch):
        """The posterior q(z|x), [B, Z]."""
        return self.posterior(self.encoder(batch["image"]))

    def prior(self, batch):
        """The prior p(z), [1, Z]: the standard normal."""
        del batch
        return Normal(*jnp.zeros((2, 1, self.latent)))

    def decode(self, z, batch, hp):
        """The likelihood p(x|z), [B, H, W, C].

        A variant may take from `batch` what x depends on besides z, but never x itself.
        """
        bias = self.bias(batch).reshape(1, -1)
        if self.outputs == 1:
            out = flat(self.decoder(z, self.shape)) + bias
            return self._likelihood(out.reshape(-1, *self.shape), hp)
        shape = (*self.shape[:-1], self.shape[-1] * self.outputs)
        out = self.decoder(z, shape).reshape(-1, math.prod(self.shape), self.outputs)
        out = out.at[:, :, 0].add(bias)
        return self._likelihood(out.reshape(-1, *self.shape, self.outputs), hp)

    def _likelihood(self, out, hp):
        """p(x|z) from the decoder's output; InputError where its shape is not an image's."""
        x = self.likelihood(out, hp)
        if x.mean.shape[1:] != self.shape:
            raise InputError(
                f"the likelihood of {self.outputs} outputs per value gives images "
                f"{x.mean.shape[1:]}, not {self.shape}: set the model's outputs to the number that "
                "the likelihood needs"
            )
        return self.as_stored(x)

    def as_stored(self, x):
        """p(x|z) with the density of the data as they are stored, where these were standardized.

        A `decode` that does not end in this class's needs it: without the Jacobian, bounds would be
        of standardized values.
        """
        done = self.scaling is None or hasattr(x, "stored")
        return x if done else Standardized(x, self.scaling)

    def log_joint(self, z, batch, hp):
        """The joint log-density log p(x, z) at a given z, [B] nats."""
        log_px = self.decode(z, batch, hp).log_prob(batch["image"])
        return log_px + self.prior(batch).log_prob(z)

    def __call__(self, batch, key, hp):
        """Encodes a batch, draws z, and decodes it: a `Draw`."""
        q, p = self.encode(batch), self.prior(batch)
        z, log_qz = q.draw(key)
        x = self.decode(z, batch, hp)
        log_px = x.log_prob(batch["image"])
        return Draw(z, log_px, p.log_prob(z), log_qz, kl(q, p), q, p, x)
