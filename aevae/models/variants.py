"""Models that differ from `models.VAE` by what their papers change: code, prior or likelihood."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from aevae import InputError
from aevae.models.distributions import (
    Chain,
    Code,
    Flow,
    Mixture,
    Normal,
    Reversed,
    Uniform,
)
from aevae.models.vae import VAE, DiagonalGaussian, FromData, pure
from aevae.networks import MLP, hidden

# Priors


class VampPrior(VAE):
    """p(z) = 1/K sum_k q(z|u_k) with learned pseudo-inputs u_k: Tomczak and Welling (2018).

    The u_k start as the first K training images. The rate is by sampling: it has no closed form.
    """

    pseudo: int = 500  # K

    def setup(self):
        super().setup()
        self.inputs = FromData(self._first)

    def _first(self, images):
        if len(images) < self.pseudo:
            raise InputError(
                f"pseudo must be at most the {len(images)} training images, not {self.pseudo}"
            )
        return images[: self.pseudo]

    def prior(self, batch):
        """p(z): the mixture of the pseudo-inputs' posteriors."""
        parts = self.encode({"image": self.inputs(batch)})
        return Mixture(jnp.zeros(self.pseudo), parts)


class MixturePrior(VAE):
    """p(z) = sum_k w_k N(z; m_k, s_k²), all learned. The rate is by sampling."""

    components: int = 10

    def setup(self):
        super().setup()
        shape = (self.components, self.latent)
        self.means = self.param("means", nn.initializers.normal(1.0), shape)
        self.log_stds = self.param("log_stds", nn.initializers.zeros, shape)
        self.weights = self.param("weights", nn.initializers.zeros, shape[:1])

    def prior(self, batch):
        """p(z): the mixture."""
        del batch
        return Mixture(self.weights, Normal(self.means, jnp.exp(self.log_stds)))


# Posteriors


class Masked(nn.Module):
    """Shift and gate of an autoregressive step, [B, Z] each: output i sees inputs before i alone.

    A masked autoencoder (Germain et al., 2015) of one hidden layer, given features h [B, F].
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
    """q(z|x) by inverse autoregressive flow: Kingma et al. (2016), algorithm 1.

    `depth` steps, the order of the latents reversed after each. The rate is by sampling.
    """

    depth: int = 2
    width: int = 64

    def setup(self):
        super().setup()
        self.steps = [Masked(self.latent, self.width) for _ in range(self.depth)]

    def encode(self, batch):
        """q(z|x), [B, Z]: a Flow."""
        h = self.encoder(batch["image"])
        base = self.posterior(h)
        return Flow(base, h, tuple(pure(step, base.mean, h) for step in self.steps))


# Codes


class Stochastic(nn.Module):
    """Hidden layers, and a diagonal Gaussian of what they give."""

    widths: tuple[int, ...]
    latent: int
    kernel: Callable

    @nn.compact
    def __call__(self, h):
        h = hidden(h, self.widths, nn.tanh, self.kernel)
        return DiagonalGaussian(self.latent, self.kernel)(h)


class TwoLevel(VAE):
    """Two stochastic layers: q(a|x) q(b|a) and p(b) p(a|b) p(x|a). Burda et al. (2016).

    a has `latent` and b `top` latents; z is the pair (a, b). The rate is by sampling.
    """

    top: int = 50
    widths: tuple[int, ...] = (100, 100)

    def setup(self):
        super().setup()
        self.up = Stochastic(self.widths, self.top, self.kernel)
        self.down = Stochastic(self.widths, self.latent, self.kernel)

    def encode(self, batch):
        """q(a|x) q(b|a)."""
        first = super().encode(batch)
        return Chain(first, pure(self.up, first.mean))

    def prior(self, batch):
        """p(b) p(a|b)."""
        del batch
        top = Normal(jnp.zeros((1, self.top)), jnp.ones((1, self.top)))
        return Reversed(Chain(top, pure(self.down, top.mean)))

    def decode(self, z, batch, hp):
        """p(x|a)."""
        return super().decode(z[0], batch, hp)


class ConditionalVAE(VAE):
    """q(z|x, y), p(z) and p(x|z, y) for labels y: Kingma et al. (2014), model M2; Sohn et al. (2015)."""

    classes: int = 10

    def _with_label(self, h, batch):
        return jnp.concatenate([h, jax.nn.one_hot(batch["label"], self.classes)], -1)

    def encode(self, batch):
        """q(z|x, y)."""
        h = self.encoder(batch["image"])
        return self.posterior(self._with_label(h, batch))

    def decode(self, z, batch, hp):
        """p(x|z, y)."""
        return super().decode(self._with_label(z, batch), batch, hp)


class VQVAE(VAE):
    """Each of `cells` parts of the code is the nearest of K codewords: van den Oord et al. (2017).

    `latent` is cells times the size of a codeword. The prior is uniform: the rate is
    cells · log K.
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
        """q(z|x): all of it on the nearest codewords."""
        h = self.head(self.encoder(batch["image"]))
        before = h.reshape(len(h), self.cells, -1)
        far = ((before[:, :, None] - self.book[None, None]) ** 2).sum(-1)
        return Code(before, self.book[far.argmin(-1)])

    def prior(self, batch):
        """p(z): uniform over codewords."""
        del batch
        return Uniform(self.book, self.cells)


class FSQ(VAE):
    """Each latent is rounded to one of L levels: Mentzer et al. (2024).

    Codes are (L - 1)/2 · tanh(h), rounded (for even L shifted by ½, so that the levels are
    symmetric too). The prior is uniform: the rate is latent · log L.
    """

    levels: int = 5  # L

    def setup(self):
        super().setup()
        self.head = nn.Dense(self.latent)

    def encode(self, batch):
        """q(z|x): all of it on the nearest levels."""
        h = self.head(self.encoder(batch["image"]))
        before = (self.levels - 1) / 2 * nn.tanh(h)[:, :, None]
        shift = 0.5 * (self.levels % 2 == 0)
        after = jnp.round(before - shift) + shift
        most = (self.levels - 1) / 2
        return Code(before, jnp.clip(after, -most, most))

    def prior(self, batch):
        """p(z): uniform over levels."""
        del batch
        values = jnp.arange(self.levels)[:, None] - (self.levels - 1) / 2
        return Uniform(values, self.latent)


# Likelihoods with parameters of their own, and a discriminator


class LearnedGaussian(nn.Module):
    """The likelihood N(x; out, sigma²) with a learned sigma: Rybkin et al. (2021), sigma-VAE.

    One for all pixels, or with `per_pixel` one each. It starts at 1.
    """

    per_pixel: bool = False

    @nn.compact
    def __call__(self, out, hp):
        del hp
        shape = out.shape[1:] if self.per_pixel else (1,) * (out.ndim - 1)
        log_sigma = self.param("log_sigma", nn.initializers.zeros, shape)
        return Normal(out, jnp.broadcast_to(jnp.exp(log_sigma)[None], out.shape))


class OptimalGaussian(nn.Module):
    """The likelihood N(x; out, sigma²) for `objectives.optimal_sigma_vae`: Rybkin et al. (2021).

    Its sigma² starts at 1 and follows the mean squared error of training batches.
    """

    @nn.compact
    def __call__(self, out, hp):
        del hp
        variance = self.param("variance", nn.initializers.ones, (1,) * out.ndim)
        return Normal(out, jnp.broadcast_to(jnp.sqrt(variance), out.shape))


class FactorVAE(VAE):
    """A VAE with a discriminator of codes, [B, Z] to two logits: joint, product of marginals.

    Kim and Mnih (2018): six layers of 1000 leaky ReLUs.
    """

    discriminator: nn.Module = MLP((1000,) * 6, nn.leaky_relu, 2)

    def discriminate(self, z):
        """Logits [B, 2]."""
        return self.discriminator(z)

    def __call__(self, batch, key, hp):
        draw = super().__call__(batch, key, hp)
        if self.is_initializing():
            self.discriminate(draw.z)
        return draw
