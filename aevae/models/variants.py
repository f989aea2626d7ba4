"""Models that differ from `models.VAE` in what their papers change.

Priors (VampPrior, MixturePrior), posteriors (IAF), codes (TwoLevel, ConditionalVAE, VQVAE, FSQ),
likelihoods with parameters (LearnedGaussian, OptimalGaussian), and a discriminator (FactorVAE).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from aevae import InputError
from aevae.models.distributions import (
    FLOOR,
    Chain,
    Code,
    Flow,
    Mixture,
    Normal,
    Reversed,
    Uniform,
    floored,
    log_floor,
)
from aevae.models.vae import VAE, DiagonalGaussian, FromData, pure
from aevae.networks import MLP, hidden

# Priors


class VampPrior(VAE):
    """A VAE with the prior p(z) = 1/K sum_k q(z|u_k): Tomczak and Welling (2018).

    The K pseudo-inputs u_k are learned, and initialized as the first K training images. The rate
    has no closed form and is estimated by sampling.
    """

    pseudo: int = 500  # K

    def setup(self):
        super().setup()
        self.inputs = FromData(self._first_images)

    def _first_images(self, images):
        if len(images) < self.pseudo:
            raise InputError(
                f"pseudo must be at most the {len(images)} training images, not {self.pseudo}"
            )
        return images[: self.pseudo]

    def prior(self, batch):
        """The prior p(z): the mixture of the posteriors of the pseudo-inputs."""
        parts = self.encode({"image": self.inputs(batch)})
        return Mixture(jnp.zeros(self.pseudo), parts)


class MixturePrior(VAE):
    """A VAE with the learned prior p(z) = sum_k w_k N(z; m_k, diag s_k²).

    The rate has no closed form and is estimated by sampling.
    """

    components: int = 10
    floor: float = FLOOR  # the least s_k

    def setup(self):
        super().setup()
        shape = (self.components, self.latent)
        self.means = self.param("means", nn.initializers.normal(1.0), shape)
        self.log_stds = self.param("log_stds", nn.initializers.zeros, shape)
        self.weights = self.param("weights", nn.initializers.zeros, shape[:1])

    def prior(self, batch):
        """The prior p(z): the mixture."""
        del batch
        parts = Normal(self.means, floored(self.log_stds, self.floor))
        return Mixture(self.weights, parts)


# Posteriors


class Masked(nn.Module):
    """Shift and gate of an autoregressive step, [B, Z] each: output i depends on inputs before i.

    A masked autoencoder (Germain et al., 2015) with one hidden layer, given features h [B, F].
    """

    latent: int
    width: int

    @nn.compact
    def __call__(self, z, h):
        i, j = jnp.arange(self.latent), jnp.arange(self.width) % max(self.latent - 1, 1)
        init = nn.initializers.lecun_normal()
        first = self.param("first", init, (self.latent, self.width))
        first *= i[:, None] <= j[None]
        second = self.param("second", init, (self.width, 2 * self.latent))
        second *= j[:, None] < jnp.tile(i, 2)[None]
        out = nn.tanh(z @ first + nn.Dense(self.width)(h)) @ second
        return jnp.split(out, 2, axis=-1)


class IAF(VAE):
    """A VAE with an inverse autoregressive flow as q(z|x): Kingma et al. (2016), algorithm 1.

    The flow has `depth` steps, and reverses the order of the latents after each. The rate has no
    closed form and is estimated by sampling.
    """

    depth: int = 2
    width: int = 64

    def setup(self):
        super().setup()
        self.steps = [Masked(self.latent, self.width) for _ in range(self.depth)]

    def encode(self, batch):
        """The posterior q(z|x), [B, Z]: a `Flow`."""
        h = self.encoder(batch["image"])
        base = self.posterior(h)
        return Flow(base, h, tuple(pure(step, base.mean, h) for step in self.steps))


# Codes


class Stochastic(nn.Module):
    """A stochastic layer: hidden layers and the diagonal Gaussian that they parameterize."""

    widths: tuple[int, ...]
    latent: int
    kernel: Callable

    @nn.compact
    def __call__(self, h):
        h = hidden(h, self.widths, nn.tanh, self.kernel)
        return DiagonalGaussian(self.latent, self.kernel)(h)


class TwoLevel(VAE):
    """A VAE of two stochastic layers, q(a|x) q(b|a) and p(b) p(a|b) p(x|a): Burda et al. (2016).

    a has `latent` and b has `top` latents; z is the pair (a, b). The rate has no closed form and is
    estimated by sampling.
    """

    top: int = 50
    widths: tuple[int, ...] = (100, 100)

    def setup(self):
        super().setup()
        self.up = Stochastic(self.widths, self.top, self.kernel)
        self.down = Stochastic(self.widths, self.latent, self.kernel)

    def encode(self, batch):
        """The posterior q(a|x) q(b|a)."""
        first = super().encode(batch)
        return Chain(first, pure(self.up, first.mean))

    def prior(self, batch):
        """The prior p(b) p(a|b)."""
        del batch
        top = Normal(*jnp.zeros((2, 1, self.top)))
        return Reversed(Chain(top, pure(self.down, top.mean)))

    def decode(self, z, batch, hp):
        """The likelihood p(x|a)."""
        return super().decode(z[0], batch, hp)


class ConditionalVAE(VAE):
    """A VAE conditioned on labels y, with q(z|x, y), p(z) and p(x|z, y).

    Kingma et al. (2014), model M2; Sohn et al. (2015).
    """

    classes: int = 10

    def _with_label(self, h, batch):
        return jnp.concatenate([h, jax.nn.one_hot(batch["label"], self.classes)], -1)

    def encode(self, batch):
        """The posterior q(z|x, y)."""
        h = self.encoder(batch["image"])
        return self.posterior(self._with_label(h, batch))

    def decode(self, z, batch, hp):
        """The likelihood p(x|z, y)."""
        return super().decode(self._with_label(z, batch), batch, hp)


class VQVAE(VAE):
    """A VAE with vector-quantized codes, a codeword in each cell: van den Oord et al. (2017).

    Each of `cells` parts of the encoder's output is replaced by the nearest of `codes` = K learned
    codewords; `latent` is cells times the size of a codeword. The prior is uniform, so that the
    rate is cells · log K.
    """

    cells: int = 4
    codes: int = 16  # K

    def setup(self):
        super().setup()
        if self.latent % self.cells:
            raise InputError(
                f"latent {self.latent} must be a multiple of the {self.cells} cells"
            )
        self.head = nn.Dense(self.latent)
        shape = self.codes, self.latent // self.cells
        self.book = self.param("book", nn.initializers.normal(1.0), shape)

    def encode(self, batch):
        """The posterior q(z|x): a point mass on the nearest codewords."""
        h = self.head(self.encoder(batch["image"]))
        before = h.reshape(len(h), self.cells, -1)
        distances = ((before[:, :, None] - self.book[None, None]) ** 2).sum(-1)
        return Code(before, self.book[distances.argmin(-1)])

    def prior(self, batch):
        """The prior p(z): uniform over codewords."""
        del batch
        return Uniform(self.book, self.cells)


class FSQ(VAE):
    """A VAE with finite scalar quantization, each latent one of L levels: Mentzer et al. (2024).

    A latent is (L - 1)/2 · tanh(h), rounded to the nearest of -(L - 1)/2, ..., (L - 1)/2, 1 apart.
    The prior is uniform, so that the rate is latent · log L.
    """

    levels: int = 5  # L

    def setup(self):
        super().setup()
        self.head = nn.Dense(self.latent)

    def encode(self, batch):
        """The posterior q(z|x): a point mass on the nearest levels."""
        h = self.head(self.encoder(batch["image"]))
        highest = (self.levels - 1) / 2
        before = highest * nn.tanh(h)[:, :, None]
        shift = 0.5 * (self.levels % 2 == 0)  # levels are halves where L is even
        after = jnp.round(before - shift) + shift
        return Code(before, jnp.clip(after, -highest, highest))

    def prior(self, batch):
        """The prior p(z): uniform over levels."""
        del batch
        values = jnp.arange(self.levels)[:, None] - (self.levels - 1) / 2
        return Uniform(values, self.latent)


# Likelihoods with parameters, and a discriminator


class LearnedGaussian(nn.Module):
    """The likelihood N(x; out, sigma²) with a learned sigma: Rybkin et al. (2021), sigma-VAE.

    All pixels share sigma, unless `per_pixel`. It is initialized at 1. Below `floor` the density is
    that at the floor: without one, pixels that are constant would make it unbounded.
    """

    per_pixel: bool = False
    floor: float = FLOOR  # the least sigma

    @nn.compact
    def __call__(self, out, hp):
        del hp
        shape = out.shape[1:] if self.per_pixel else (1,) * (out.ndim - 1)
        log_sigma = self.param("log_sigma", nn.initializers.zeros, shape)
        return Normal(out, floored(log_sigma, self.floor)[None])


class OptimalGaussian(nn.Module):
    """The likelihood N(x; out, sigma²) of `objectives.optimal_sigma_vae`: Rybkin et al. (2021).

    sigma² is initialized at 1 and follows the mean squared error of training batches, or floor²
    where that is less.
    """

    floor: float = FLOOR  # the least sigma

    @nn.compact
    def __call__(self, out, hp):
        del hp
        variance = self.param("variance", nn.initializers.ones, (1,) * out.ndim)
        # Below the floor the gradient goes on, so that sigma² follows an error that rises again.
        least = jnp.maximum(variance, jnp.exp(2 * log_floor(self.floor)))
        stop = jax.lax.stop_gradient
        variance = stop(least) + (variance - stop(variance))
        return Normal(out, 0.5 * jnp.log(variance))


class FactorVAE(VAE):
    """A VAE with a discriminator of codes, for `objectives.factor_vae`: Kim and Mnih (2018).

    The discriminator maps z [B, Z] to two logits: a sample of q(z), or of the product of its
    marginals. By default it has six layers of 1000 leaky ReLUs.
    """

    discriminator: nn.Module = MLP((1000,) * 6, nn.leaky_relu, 2)

    def discriminate(self, z):
        """The discriminator's logits, [B, 2]."""
        return self.discriminator(z)

    def __call__(self, batch, key, hp):
        draw = super().__call__(batch, key, hp)
        if self.is_initializing():
            self.discriminate(draw.z)
        return draw
