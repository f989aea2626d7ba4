"""Distributions as pytrees of arrays: they cross jit and vmap, and `stop_gradient(q)` works.

Log-probabilities are in nats, summed over every axis but the first.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
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

    def log_prob_each(self, z):
        """The terms of `log_prob` of each value, of the shape of z."""
        return norm.logpdf(z, self.mean, self.std)

    def draw(self, key):
        """One reparameterized sample of each row and its log-probability."""
        z = self.sample(key)
        return z, self.log_prob(z)

    def quantile(self, u):
        """Where the distribution function of each value is u, in (0, 1)."""
        return self.mean + self.std * ndtri(u)

    def kl_each(self, p):
        """The terms of KL(self || p) of each latent, [B, Z]; None where p is no Gaussian.

        ½ (s² + d² - 1 - log s²), s = std / std_p and d = (mean - mean_p) / std_p; Kingma and
        Welling (2014), appendix B, for p = N(0, I).
        """
        if not isinstance(p, Normal):
            return None
        ratio, shift = self.std / p.std, (self.mean - p.mean) / p.std
        return 0.5 * (ratio**2 + shift**2 - 1 - 2 * jnp.log(ratio))


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

    def log_prob_pairs(self, x):
        """log p of every image [N, ...] under every row, [N, B]."""
        logits = flat(self.logits)
        return flat(x) @ logits.T - jax.nn.softplus(logits).sum(1)[None]

    def cross_entropy(self, x):
        """-log p(x), [B]: exact at any logit."""
        return -self.log_prob(x)


class ContinuousBernoulli(NamedTuple):
    """Densities on [0, 1] proportional to sigmoid(l)^x (1 - sigmoid(l))^(1 - x), [B, ...].

    Loaiza-Ganem and Cunningham (2019): the Bernoulli's score of grey pixels, normalised.
    """

    logits: jax.Array
    support = (0.0, 1.0)

    @property
    def mean(self):
        """sigmoid(l) / tanh(l/2) - 1/l; 1/2 + l/12 near 0."""
        near, logits = self._apart()
        exact = jax.nn.sigmoid(logits) / jnp.tanh(logits / 2) - 1 / logits
        return jnp.where(near, 0.5 + self.logits / 12, exact)

    def sample(self, key):
        """By the inverse of its distribution function. No key, no noise: the mean."""
        if key is None:
            return self.mean
        u = jax.random.uniform(key, self.logits.shape)
        near, logits = self._apart()
        # For |l|, so that no exponential overflows; by symmetry for -|l|.
        size, v = abs(logits), jnp.where(logits > 0, u, 1 - u)
        up = 1 + jnp.log(v + (1 - v) * jnp.exp(-size)) / size
        x = jnp.where(logits > 0, up, 1 - up)
        return jnp.clip(jnp.where(near, u, x), 0.0, 1.0)

    def log_prob(self, x):
        """x·l - softplus(l) + log(l / tanh(l/2)); the last is log 2 at 0."""
        near, logits = self._apart()
        constant = jnp.log(logits / jnp.tanh(logits / 2))
        constant = jnp.where(near, jnp.log(2.0) + self.logits**2 / 12, constant)
        return Bernoulli(self.logits).log_prob(x) + per_example(constant)

    def _apart(self):
        """Where the logits are near 0, and the logits with 1 in the place of those."""
        near = abs(self.logits) < 1e-2
        return near, jnp.where(near, 1.0, self.logits)


class DiscretizedLogistic(NamedTuple):
    """Levels k/255, k = 0, ..., 255, by the logistic distribution's mass around each, [B, ...].

    P(k) = F((k + ½)/255) - F((k - ½)/255) with F(t) = sigmoid((t - location) / scale); all that lies
    below or above belongs to the ends. Kingma et al. (2016), section on CIFAR-10.
    """

    location: jax.Array
    scale: jax.Array
    support = (0.0, 1.0)
    levels = 256

    @property
    def mean(self):
        """sum_k P(x >= k/255) / 255."""

        def add(k, total):
            return total + jax.nn.sigmoid(self._standard((k - 0.5) / 255, -1))

        zero = jnp.zeros(jnp.broadcast_shapes(self.location.shape, self.scale.shape))
        return jax.lax.fori_loop(1, 256, add, zero) / 255

    def sample(self, key):
        """No key, no noise: the mean."""
        if key is None:
            return self.mean
        noise = jax.random.logistic(key, self.location.shape)
        x = jnp.clip(self.location + self.scale * noise, 0.0, 1.0)
        return jnp.round(255 * x) / 255

    def log_prob(self, x):
        """Finite however far away: log(F(b) - F(a)) = log F(b) + log S(a) + log(1 - e^(a - b))."""
        upper = jnp.where(x > 1 - 1e-3, jnp.inf, self._standard(x + 0.5 / 255))
        lower = jnp.where(x < 1e-3, -jnp.inf, self._standard(x - 0.5 / 255))
        width = jnp.where(jnp.isfinite(upper - lower), upper - lower, 1e3)
        inside = jnp.log(-jnp.expm1(-width))
        ends = jax.nn.log_sigmoid(jnp.clip(upper, -1e30, 1e30))
        ends += jax.nn.log_sigmoid(-jnp.clip(lower, -1e30, 1e30))
        return per_example(ends + inside)

    def _standard(self, x, sign=1):
        return sign * (x - self.location) / self.scale


class Categorical(NamedTuple):
    """Levels k/(K-1), k = 0, ..., K-1, by logits [B, ..., K]."""

    logits: jax.Array
    support = (0.0, 1.0)

    @property
    def levels(self):
        return self.logits.shape[-1]

    @property
    def mean(self):
        values = jnp.arange(self.levels) / (self.levels - 1)
        return jax.nn.softmax(self.logits) @ values

    def sample(self, key):
        """No key, no noise: the mean."""
        if key is None:
            return self.mean
        return jax.random.categorical(key, self.logits) / (self.levels - 1)

    def log_prob(self, x):
        level = jnp.round(x * (self.levels - 1)).astype(jnp.int32)
        chance = jax.nn.log_softmax(self.logits)
        return per_example(jnp.take_along_axis(chance, level[..., None], -1))


class Mixture(NamedTuple):
    """sum_k w_k parts_k: logits of the weights [K], parts a Normal [K, Z]."""

    logits: jax.Array
    parts: Normal

    def sample(self, key, count):
        which_key, key = jax.random.split(key)
        which = jax.random.categorical(which_key, self.logits, shape=(count,))
        return jax.tree.map(lambda v: v[which], self.parts).sample(key)

    def log_prob(self, z):
        mean, std = self.parts
        each = norm.logpdf(z[:, None], mean[None], std[None]).sum(-1)
        return jax.nn.logsumexp(jax.nn.log_softmax(self.logits)[None] + each, axis=1)


class Flow(NamedTuple):
    """z from a base by autoregressive steps given h, the order of the latents reversed after each.

    A step gives (shift, gate) of its input; z' = s z + (1 - s) shift with s = sigmoid(gate + 1), so
    that it starts near the identity: Kingma et al. (2016).
    """

    base: Normal
    h: jax.Array
    steps: tuple

    def draw(self, key):
        z = self.base.sample(key)
        log_qz = self.base.log_prob(z)
        for step in self.steps:
            shift, gate = step(z, self.h)
            s = jax.nn.sigmoid(gate + 1)
            z = (s * z + (1 - s) * shift)[:, ::-1]
            log_qz -= jax.nn.log_sigmoid(gate + 1).sum(-1)
        return z, log_qz

    def sample(self, key):
        """No key, no noise: where the base's mean goes."""
        return self.draw(key)[0]

    def log_prob(self, z):
        """Of any z: each step is inverted latent by latent."""
        volume = 0.0
        for step in reversed(self.steps):
            after, z = z[:, ::-1], jnp.zeros_like(z)
            for i in range(z.shape[-1]):
                shift, gate = step(z, self.h)
                s = jax.nn.sigmoid(gate + 1)
                z = z.at[:, i].set(((after - (1 - s) * shift) / s)[:, i])
            volume += jax.nn.log_sigmoid(step(z, self.h)[1] + 1).sum(-1)
        return self.base.log_prob(z) - volume


class Chain(NamedTuple):
    """first(a) then(a)(b), over pairs (a, b)."""

    first: Normal
    then: Any

    def sample(self, key, count=None):
        """No key, no noise."""
        keys = (None, None) if key is None else jax.random.split(key)
        a = self.first.sample(keys[0], count)
        return a, self.then(a).sample(keys[1])

    def draw(self, key):
        z = self.sample(key)
        return z, self.log_prob(z)

    def log_prob(self, z):
        return self.first.log_prob(z[0]) + self.then(z[0]).log_prob(z[1])


class Reversed(NamedTuple):
    """A chain over pairs (b, a)."""

    chain: Chain

    def sample(self, key, count=None):
        return self.chain.sample(key, count)[::-1]

    def log_prob(self, z):
        return self.chain.log_prob(z[::-1])


class Code(NamedTuple):
    """A code without noise, [B, cells, D]: `after` is what `before` was rounded to.

    z is `after`, with the gradient of `before` (straight-through: Bengio et al., 2013).
    """

    before: jax.Array
    after: jax.Array
    discrete = True

    @property
    def mean(self):
        return self.sample(None)

    def sample(self, key):
        del key
        z = self.before + jax.lax.stop_gradient(self.after - self.before)
        return z.reshape(len(z), -1)

    def draw(self, key):
        return self.sample(key), jnp.zeros(len(self.before))

    def log_prob(self, z):
        """0: all of its mass is on z."""
        return jnp.zeros(len(z))

    def kl(self, p):
        """-log p of the code, [B]."""
        return -p.log_prob(self.before)


class Uniform(NamedTuple):
    """`cells` codewords, each any of the K rows of `book` [K, D]."""

    book: jax.Array
    cells: int
    discrete = True

    def sample(self, key, count):
        which = jax.random.randint(key, (count, self.cells), 0, len(self.book))
        return self.book[which].reshape(count, -1)

    def log_prob(self, z):
        """-cells · log K of any code."""
        return jnp.full(len(z), -self.cells * jnp.log(len(self.book)))


def kl(q, p):
    """KL(q || p) in closed form, [B]; None where q has none to p.

    A distribution has `kl_each(p)`, or where it is not a sum over latents `kl(p)`.
    """
    each = kl_each(q, p)
    if each is None:
        return q.kl(p) if hasattr(q, "kl") else None
    return per_example(each)


def kl_each(q, p):
    """The terms of `kl` of each latent, [B, Z]; None where q has no `kl_each`, or none to p."""
    return q.kl_each(p) if hasattr(q, "kl_each") else None


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


def gaussian_pair(out, hp):
    """N(x; out[..., 0], exp(out[..., 1])²): the decoder gives both. The model's `outputs` is 2.

    The log deviation is kept above -7, about 1/1000.
    """
    del hp
    return Normal(out[..., 0], jnp.exp(jnp.maximum(out[..., 1], -7.0)))


def categorical(out, hp):
    """Levels from 0 to 1 by the decoder's logits [..., K]. The model's `outputs` is K."""
    del hp
    return Categorical(out)


def continuous_bernoulli(out, hp):
    """The likelihood of grey pixels in [0, 1], from the decoder's output as logits."""
    del hp
    return ContinuousBernoulli(out)


def discretized_logistic(out, hp):
    """The likelihood of 256 grey levels around sigmoid(out); `scale` is a hyperparameter."""
    mean = jax.nn.sigmoid(out)
    return DiscretizedLogistic(mean, jnp.full_like(mean, 1) * hp["scale"])
