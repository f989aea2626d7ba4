"""Priors of the second stage: densities that are fitted to the codes of a trained model.

Distributions with `sample(key, count)` and `log_prob(z)`, nats, of codes z [B, Z]: `Gaussians`
(one or several, of full covariance), `Affine` (another distribution, shifted and scaled),
`Network` (a module below, with its parameters) and `Codewords` (of discrete codes). They are made
of arrays, and of modules whose fields are numbers, so that `runs.fitted` keeps any of them.

The modules are trained by `negative_log_likelihood`, or the VAE of `TwoStage` by its bound; a batch
has codes for its `image`.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from aevae.models.distributions import Normal, bounded, log_mean_exp
from aevae.models.vae import VAE
from aevae.models.variants import LearnedGaussian
from aevae.networks import MLPDecoder, MLPEncoder

LOG_SCALE = -7.0, 7.0  # of a step of MAF, for each latent
DRAWS = 100  # of the second VAE's bound


class Gaussians(NamedTuple):
    """A mixture of K Gaussians of full covariance, sum_k w_k N(z; m_k, L_k L_kᵀ)."""

    logits: jax.Array  # [K], of the weights w
    means: jax.Array  # [K, Z]
    factors: jax.Array  # [K, Z, Z], lower triangular: L ...
    inverses: jax.Array  # ... and its inverse

    @classmethod
    def of(cls, weights, means, covariances):
        """Those of these weights [K], means [K, Z] and covariances [K, Z, Z]."""
        with np.errstate(divide="ignore"):  # of a weight of 0
            logits = np.log(np.float64(weights))
        factors = np.linalg.cholesky(np.float64(covariances))
        inverses = np.linalg.inv(factors)
        return cls(*map(np.float32, (logits, means, factors, inverses)))

    def sample(self, key, count):
        which_key, key = jax.random.split(key)
        logits, means, factors, _ = map(jnp.asarray, self)
        which = jax.random.categorical(which_key, logits, shape=(count,))
        noise = jax.random.normal(key, (count, means.shape[1]))
        return means[which] + jnp.einsum("bij,bj->bi", factors[which], noise)

    def log_prob(self, z):
        def part(mean, inverse):
            u = (z - mean[None]) @ inverse.T
            return -0.5 * (u**2).sum(1) + jnp.log(jnp.diagonal(inverse)).sum()

        logits, means, _, inverses = map(jnp.asarray, self)
        each = jax.lax.map(lambda own: part(*own), (means, inverses))  # [K, B]
        constant = 0.5 * z.shape[1] * math.log(2 * math.pi)
        weights = jax.nn.log_softmax(logits)[:, None]
        return jax.nn.logsumexp(weights + each, axis=0) - constant


class Affine(NamedTuple):
    """The distribution of shift + scale · u, where u has another distribution."""

    base: Any
    shift: jax.Array  # [Z]
    scale: jax.Array  # [Z], above 0

    def sample(self, key, count):
        return self.shift[None] + self.scale[None] * self.base.sample(key, count)

    def log_prob(self, z):
        u = (z - self.shift[None]) / self.scale[None]
        return self.base.log_prob(u) - jnp.log(self.scale).sum()

    @property
    def is_bound(self):
        """Whether `log_prob` is a lower bound."""
        return getattr(self.base, "is_bound", False)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["params"], meta_fields=["module"]
)
@dataclasses.dataclass(frozen=True)
class Network:
    """The distribution that a module of this file is, with its parameters."""

    module: nn.Module
    params: Any

    def sample(self, key, count):
        return _sample(self.module, count, self.params, key)

    def log_prob(self, z):
        return _log_prob(self.module, self.params, z)

    @property
    def is_bound(self):
        """Whether `log_prob` is a lower bound."""
        return getattr(self.module, "is_bound", False)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sample(module, count, params, key):
    return module.apply(params, key, count, method="sample")


@functools.partial(jax.jit, static_argnums=0)
def _log_prob(module, params, z):
    return module.apply(params, z, method="log_prob")


class Codewords(NamedTuple):
    """A distribution of discrete codes, each of whose cells is one of the K rows of `book` [K, D]."""

    base: Any  # of their numbers [B, cells], from 0 to K - 1
    book: jax.Array
    discrete = True

    def sample(self, key, count):
        return jnp.asarray(self.book)[self.base.sample(key, count)].reshape(count, -1)

    def log_prob(self, z):
        return self.base.log_prob(numbers(z, self.book))


def numbers(z, book):
    """The numbers [B, cells] of the codewords, rows of `book` [K, D], that codes [B, cells · D] are."""
    cells = z.reshape(len(z), -1, 1, book.shape[1])
    return ((cells - book[None, None]) ** 2).sum(-1).argmin(-1)


def negative_log_likelihood(model, params, batch, key, hp):
    """The objective of a density of codes: -E[log p(z)]."""
    del key, hp
    loss = -model.apply(params, batch["image"], method="log_prob").mean()
    return loss, {}


# Modules


class MaskedNetwork(nn.Module):
    """A masked autoencoder, [B, cells, D] to [B, cells, outputs]; output i reads cells before i.

    Germain et al. (2015), with two hidden layers of ReLUs. The last layer starts at 0.
    """

    width: int
    outputs: int

    @nn.compact
    def __call__(self, cells):
        count, size = cells.shape[1:]
        inputs = jnp.repeat(jnp.arange(count), size)
        hidden = jnp.arange(self.width) % max(count - 1, 1)
        outputs = jnp.repeat(jnp.arange(count), self.outputs)
        init, zeros = nn.initializers.he_normal(), nn.initializers.zeros

        def dense(name, h, reads, writes, mask, init=init):
            kernel = self.param(name, init, (len(reads), len(writes)))
            bias = self.param(f"{name}_bias", zeros, (len(writes),))
            seen = mask(reads[:, None], writes[None])
            return h @ (kernel * seen) + bias[None]

        h = cells.reshape(len(cells), -1)
        h = nn.relu(dense("first", h, inputs, hidden, jnp.less_equal))
        h = nn.relu(dense("second", h, hidden, hidden, jnp.less_equal))
        out = dense("last", h, hidden, outputs, jnp.less, zeros)
        return out.reshape(len(cells), count, self.outputs)


class MAF(nn.Module):
    """A masked autoregressive flow: Papamakarios et al. (2017), from N(0, I).

    A layer maps z to u_i = (z_i - shift_i) exp(-log_scale_i), both functions of the latents before
    i, and the order of the latents is reversed after it. The density takes one pass through each
    layer, and a sample as many as there are latents.
    """

    latent: int
    width: int = 64
    layers: int = 5

    def setup(self):
        self.nets = [MaskedNetwork(self.width, 2) for _ in range(self.layers)]

    def __call__(self, batch, key, hp):
        del key, hp
        return self.log_prob(batch["image"])

    def log_prob(self, z):
        """log p(z), [B]."""
        log_det = 0.0
        for net in self.nets:
            shift, log_scale = self._step(net, z)
            z = ((z - shift) * jnp.exp(-log_scale))[:, ::-1]
            log_det -= log_scale.sum(-1)
        return Normal(*jnp.zeros((2, 1, self.latent))).log_prob(z) + log_det

    def sample(self, key, count):
        """`count` samples, [count, Z]."""
        z = jax.random.normal(key, (count, self.latent))
        for net in reversed(self.nets):
            u, z = z[:, ::-1], jnp.zeros_like(z)
            for i in range(self.latent):
                shift, log_scale = self._step(net, z)
                z = z.at[:, i].set((u * jnp.exp(log_scale) + shift)[:, i])
        return z

    def _step(self, net, z):
        shift, log_scale = jnp.moveaxis(net(z[:, :, None]), -1, 0)
        return shift, bounded(log_scale, *LOG_SCALE)


class TwoStage(nn.Module):
    """The second VAE of Dai and Wipf (2019): a VAE of codes, with as many latents as they have.

    Its likelihood is a Gaussian with a learned sigma for each latent. `log_prob` is the
    importance-weighted bound with 100 draws, a lower bound in expectation.
    """

    latent: int
    width: int = 64
    is_bound = True

    def setup(self):
        self.vae = VAE(
            latent=self.latent,
            encoder=MLPEncoder((self.width, self.width)),
            decoder=MLPDecoder((self.width, self.width)),
            likelihood=LearnedGaussian(per_pixel=True),
            shape=(self.latent,),
        )

    def __call__(self, batch, key, hp):
        return self.vae(batch, key, hp)

    def log_prob(self, z):
        """A lower bound on log p(z) in expectation, [B]; the same each time for the same batch."""
        batch = {"image": z}

        def one(key):
            draw = self.vae(batch, key, {})
            return draw.log_px + draw.log_pz - draw.log_qz

        keys = jax.random.split(jax.random.key(0), DRAWS)
        return log_mean_exp(jax.lax.map(one, keys))

    def sample(self, key, count):
        """`count` samples, [count, Z]."""
        key, noise_key = jax.random.split(key)
        u = self.vae.prior({}).sample(key, count)
        return self.vae.decode(u, {"image": u}, {}).sample(noise_key)


class Autoregressive(nn.Module):
    """An autoregressive prior of discrete codes, numbers [B, cells]: p(n) = prod_i p(n_i | n_<i).

    A masked autoencoder (Germain et al., 2015) on embeddings of the numbers, which stands for the
    PixelCNN of van den Oord et al. (2017).
    """

    cells: int
    codes: int  # K
    width: int = 64
    size: int = 16  # of an embedding

    def setup(self):
        self.embedding = nn.Embed(self.codes, self.size)
        self.net = MaskedNetwork(self.width, self.codes)

    def __call__(self, batch, key, hp):
        del key, hp
        return self.log_prob(batch["image"])

    def log_prob(self, n):
        """log p(n), [B]."""
        each = jax.nn.log_softmax(self._logits(n))
        return jnp.take_along_axis(each, n[:, :, None], -1).sum((1, 2))

    def sample(self, key, count):
        """`count` samples of numbers, [count, cells]."""
        n = jnp.zeros((count, self.cells), jnp.int32)
        for i, own in enumerate(jax.random.split(key, self.cells)):
            n = n.at[:, i].set(jax.random.categorical(own, self._logits(n)[:, i]))
        return n

    def _logits(self, n):
        return self.net(self.embedding(n))
