"""Posteriors and priors, as small pytrees of arrays with methods; Gaussians may be likelihoods, too.

As pytrees they pass through jit and vmap, and `stop_gradient(q)` stops gradients to their
parameters. Log-probabilities and divergences are in nats, summed over every axis but the first. The
methods that other code calls, of which a distribution has those that it can compute:

    posterior     draw(key) -> (z, log q(z)), sample(key), log_prob(z);
                  mean, std, quantile(u); log_prob_each(z), terms of log_prob per latent;
                  kl(p), [B], and kl_each(p), [B, Z], in closed form, None where there is none
    prior         sample(key, count), log_prob(z)
    likelihood    mean, sample(key), log_prob(x); cross_entropy(x), log_prob_pairs(x);
                  support and levels of a pixel; density

`discrete = True` marks codes without noise, and their priors; `unbounded = True` a posterior whose
arrays may be any real numbers, a row an example, so that gradients may move each by itself.
`density` says whether a likelihood is a density of real numbers, whose logarithm may be positive,
or a probability. Outside `support`, or between `levels`, log_prob is -inf. `sample(None)` is without
noise: the mean, or what the mean is mapped to.

Scales are kept as logarithms. What a network or a parameter gives for one is `bounded` by LOG_STD,
unless it has a floor of its own.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from aevae import InputError

LOG_STD = -20.0, 20.0  # of what is learned: e^-20 is float32's spacing at 0.02
GATE = -10.0  # the least of a flow's: it keeps at least 0.0001 of its input
FLOOR = 1e-3  # of a likelihood's learned sigma: rounding to 256 levels has 0.0011


def bounded(x, low, high):
    """Bounds x: exactly x from `low` to `high`, and constant beyond.

    The gradient beyond is 0, so that what is there stays there until what else it depends on brings
    it back. NaN stays NaN.
    """
    return jnp.clip(x, low, high)


def floored(log_std, floor):
    """Bounds the logarithm of a standard deviation from log(floor) to LOG_STD's upper end."""
    return bounded(log_std, log_floor(floor), LOG_STD[1])


def log_floor(floor):
    """The logarithm of a floor; InputError where it is not within the range of LOG_STD."""
    least, most = LOG_STD
    if not math.exp(least) <= floor <= math.exp(most):
        raise InputError(
            f"the floor of a standard deviation must be from {math.exp(least):.0e} to "
            f"{math.exp(most):.0e}, not {floor}"
        )
    return math.log(floor)


def rounded(x):
    """Gives x, |x| < 1e30, as the float32 number that everything that reads it sees.

    Compilers fuse products into sums, a · b + c without rounding a · b, in one place and not in
    another; through a bound they do not. (XLA drops optimization barriers on CPUs.)
    """
    return bounded(x, -1e30, 1e30)


class Normal(NamedTuple):
    """Independent Gaussians N(mean, std²), [B, ...]: posterior, prior (B = 1) or likelihood.

    It keeps log std, so that values and gradients are finite wherever the closed forms are float32
    numbers. A z that is drawn is rounded to float32 at the mean's size, which may be coarse beside
    std: log-densities are those of the rounded z.
    """

    mean: jax.Array
    log_std: jax.Array  # of the mean's shape, or 1 along the axes that share it
    density = True
    unbounded = True

    @property
    def std(self):
        return jnp.exp(self.log_std)

    def sample(self, key, count=None):
        """mean + std · eps with eps ~ N(0, I), or 0 without a key; `count` rows of a prior."""
        rows = len(self.mean) if count is None else count
        shape = (rows, *self.mean.shape[1:])
        if key is None:
            return jnp.broadcast_to(self.mean, shape)
        noise = self.std * jax.random.normal(key, shape)
        return rounded(self.mean) + rounded(noise)

    def log_prob(self, x):
        """log N(x; mean, std²), [B]."""
        flattened = Normal(flat(self.mean), flat(self.log_std))
        return per_example(flattened.log_prob_each(flat(x)))

    def log_prob_each(self, z):
        """The terms of `log_prob`, one for each value: -½ ((z - mean) / std)² - log std - ½ log 2π."""
        constant = 0.5 * math.log(2 * math.pi)
        return -0.5 * self._standardized(z) ** 2 - self.log_std - constant

    def draw(self, key):
        """A reparameterized sample of each row, and its log-probability [B]."""
        z = self.sample(key)
        return z, self.log_prob(z)

    def quantile(self, u):
        """The quantile function of each value, the inverse of its CDF, at u in (0, 1)."""
        return self.mean + self.std * ndtri(u)

    def kl_each(self, p):
        """The terms of KL(self || p), one for each latent, [B, Z]; None where p is not Gaussian.

        ½ (s² + d² - 1) - log s with s = std / std_p and d = (mean - mean_p) / std_p: Kingma and
        Welling (2014), appendix B, for p = N(0, I).
        """
        if not isinstance(p, Normal):
            return None
        log_ratio, shift = self.log_std - p.log_std, p._standardized(self.mean)
        return 0.5 * (jnp.expm1(2 * log_ratio) + shift**2) - log_ratio

    def _standardized(self, x):
        """(x - mean) / std, by a factor std^(-½) twice: 1 / std alone may overflow."""
        half = jnp.exp(-0.5 * self.log_std)
        return (x - rounded(self.mean)) * half * half


class Mixture(NamedTuple):
    """A prior sum_k w_k parts_k, with logits of the weights [K] and a Normal [K, Z] as parts."""

    logits: jax.Array
    parts: Normal

    def sample(self, key, count):
        which_key, key = jax.random.split(key)
        which = jax.random.categorical(which_key, self.logits, shape=(count,))
        return jax.tree.map(lambda v: v[which], self.parts).sample(key)

    def log_prob(self, z):
        parts = jax.tree.map(lambda v: v[None], self.parts)
        log_parts = parts.log_prob_each(z[:, None]).sum(-1)
        log_weights = jax.nn.log_softmax(self.logits)[None]
        return jax.nn.logsumexp(log_weights + log_parts, axis=1)


class Flow(NamedTuple):
    """A posterior by inverse autoregressive flow, from a base and features h: Kingma et al. (2016).

    A step gives (shift, gate) for its input z, and z' = s z + (1 - s) shift with
    s = sigmoid(gate + 1), close to the identity at initialization; the gate is at least GATE. The
    order of the latents is reversed after each step. log q is that at the base's rounded z.
    """

    base: Normal
    h: jax.Array
    steps: tuple

    def draw(self, key):
        """A sample z for each row, and log q(z) from the steps' log-determinants."""
        z, log_qz = self.base.draw(key)
        for step in self.steps:
            shift, s, log_s = self._gated(step, z)
            z = (s * z + (1 - s) * shift)[:, ::-1]
            log_qz -= log_s.sum(-1)
        return z, log_qz

    def sample(self, key):
        """A sample for each row; without a key, what the base's mean is mapped to."""
        return self.draw(key)[0]

    def log_prob(self, z):
        """log q(z) of any z: each step is inverted one latent at a time."""
        log_det = 0.0
        for step in reversed(self.steps):
            after, z = z[:, ::-1], jnp.zeros_like(z)
            for i in range(z.shape[-1]):
                shift, s, _ = self._gated(step, z)
                z = z.at[:, i].set(((after - (1 - s) * shift) / s)[:, i])
            log_det += self._gated(step, z)[2].sum(-1)
        return self.base.log_prob(z) - log_det

    def _gated(self, step, z):
        """Shift, s and log s of a step at its input z, [B, Z] each."""
        shift, gate = step(z, self.h)
        gate = bounded(gate, GATE, jnp.inf) + 1
        return shift, jax.nn.sigmoid(gate), jax.nn.log_sigmoid(gate)


class Chain(NamedTuple):
    """A distribution of pairs (a, b), first(a) · then(a)(b), where `then(a)` is one of b."""

    first: Normal
    then: Any

    def sample(self, key, count=None):
        """A sample (a, b), in `count` rows for a prior; the means without a key."""
        keys = (None, None) if key is None else jax.random.split(key)
        a = self.first.sample(keys[0], count)
        return a, self.then(a).sample(keys[1])

    def draw(self, key):
        first_key, then_key = jax.random.split(key) if key is not None else (None,) * 2
        a, log_qa = self.first.draw(first_key)
        b, log_qb = self.then(a).draw(then_key)
        return (a, b), log_qa + log_qb

    def log_prob(self, z):
        return self.first.log_prob(z[0]) + self.then(z[0]).log_prob(z[1])


class Reversed(NamedTuple):
    """A `Chain` with its pairs in the other order, (b, a)."""

    chain: Chain

    def sample(self, key, count=None):
        return self.chain.sample(key, count)[::-1]

    def log_prob(self, z):
        return self.chain.log_prob(z[::-1])


class Code(NamedTuple):
    """A posterior without noise, [B, cells, D]: `before` is rounded to `after`.

    z is `after`, with the gradient of `before`: the straight-through estimator of Bengio et al.
    (2013).
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
        """0 everywhere: the posterior is a point mass on its z."""
        return jnp.zeros(len(z))

    def kl(self, p):
        """-log p of the code, [B]: the KL divergence from a point mass."""
        return -p.log_prob(self.before)


class Uniform(NamedTuple):
    """The uniform prior of `cells` codewords, each one of the K rows of `book` [K, D]."""

    book: jax.Array
    cells: int
    discrete = True

    def sample(self, key, count):
        which = jax.random.randint(key, (count, self.cells), 0, len(self.book))
        return self.book[which].reshape(count, -1)

    def log_prob(self, z):
        """-cells · log K for any code."""
        return jnp.full(len(z), -self.cells * jnp.log(len(self.book)))


def kl(q, p):
    """KL(q || p) in closed form, [B]; None where there is none.

    From the method `kl_each(p)` of q, or from `kl(p)` where it is not a sum over latents.
    """
    each = kl_each(q, p)
    if each is None:
        return q.kl(p) if hasattr(q, "kl") else None
    return per_example(each)


def kl_each(q, p):
    """The terms of KL(q || p), one for each latent, [B, Z]; None where there is no closed form."""
    return q.kl_each(p) if hasattr(q, "kl_each") else None


def is_standard(p):
    """Whether a prior is N(0, I); its arrays must be at hand."""
    return isinstance(p, Normal) and not (p.mean.any() or p.log_std.any())


def log_mean_exp(log_w):
    """The logarithm of a mean, log 1/K sum_k exp(log_w[k]), over the first axis."""
    return jax.nn.logsumexp(log_w, axis=0) - jnp.log(len(log_w))


def per_example(values):
    """The sum over every axis but the first, [B, ...] to [B]."""
    return flat(values).sum(-1)


def flat(values):
    """Flattens [B, ...] to [B, P]: on a CPU a long last axis is fast, and one of C = 1 slow."""
    return values.reshape(len(values), -1)
