"""Likelihoods: of binary and gray pixels, and the functions that a model takes as its `likelihood`.

Distributions by the contract of `distributions`. A function of (decoder's output, hp) gives p(x|z).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from aevae.data import ROUNDING
from aevae.models.distributions import FLOOR, Normal, flat, floored, per_example


class Bernoulli(NamedTuple):
    """Independent binary pixels with P(1) = sigmoid(logits), [B, ...]."""

    logits: jax.Array
    support = (0.0, 1.0)
    density = False

    @property
    def mean(self):
        return jax.nn.sigmoid(self.logits)

    def sample(self, key):
        """A sample of each pixel; the mean without a key."""
        if key is None:
            return self.mean
        return jax.random.bernoulli(key, self.mean).astype(jnp.float32)

    def log_prob(self, x):
        """x·l - softplus(l), finite at any logit l; for 0 < x < 1 the negative cross-entropy."""
        x, logits = flat(x), flat(self.logits)
        return per_example(within(self, x, x * logits - jax.nn.softplus(logits)))

    def log_prob_pairs(self, x):
        """log p of every image [N, ...] under every row of the distribution, [N, B]."""
        logits = flat(self.logits)
        log_p = flat(x) @ logits.T - jax.nn.softplus(logits).sum(1)[None]
        return log_p + per_example(within(self, x, jnp.zeros_like(x)))[:, None]

    def cross_entropy(self, x):
        """The cross-entropy -log p(x), [B], exact at any logit."""
        return -self.log_prob(x)


class ContinuousBernoulli(NamedTuple):
    """Independent pixels in [0, 1] with density ∝ sigmoid(l)^x (1 - sigmoid(l))^(1 - x), [B, ...].

    Loaiza-Ganem and Cunningham (2019): the Bernoulli's cross-entropy of gray pixels, normalized.
    """

    logits: jax.Array
    support = (0.0, 1.0)
    density = True

    @property
    def mean(self):
        """sigmoid(l) / tanh(l/2) - 1/l, and its series 1/2 + l/12 near l = 0."""
        near, logits = self._near_zero()
        exact = jax.nn.sigmoid(logits) / jnp.tanh(logits / 2) - 1 / logits
        return jnp.where(near, 0.5 + self.logits / 12, exact)

    def sample(self, key):
        """A sample of each pixel, by the inverse of its CDF; the mean without a key."""
        if key is None:
            return self.mean
        u = jax.random.uniform(key, self.logits.shape)
        near, logits = self._near_zero()
        # For |l|, so that no exponential overflows; -|l| follows by symmetry.
        size, v = abs(logits), jnp.where(logits > 0, u, 1 - u)
        up = 1 + jnp.log(v + (1 - v) * jnp.exp(-size)) / size
        x = jnp.where(logits > 0, up, 1 - up)
        return jnp.clip(jnp.where(near, u, x), 0.0, 1.0)

    def log_prob(self, x):
        """x·l - softplus(l) + log(l / tanh(l/2)), whose last term is log 2 at l = 0."""
        near, logits = self._near_zero()
        constant = jnp.log(logits / jnp.tanh(logits / 2))
        constant = jnp.where(near, jnp.log(2.0) + self.logits**2 / 12, constant)
        return Bernoulli(self.logits).log_prob(x) + per_example(constant)

    def _near_zero(self):
        """Where the logits are near 0, and the logits with 1 in place of these."""
        near = abs(self.logits) < 1e-2
        return near, jnp.where(near, 1.0, self.logits)


class DiscretizedLogistic(NamedTuple):
    """Independent pixels of the levels k/255, k = 0, ..., 255, by a discretized logistic, [B, ...].

    P(k) = F((k + ½)/255) - F((k - ½)/255) with F(t) = sigmoid((t - location) / scale), where the
    lowest and the highest level take all that lies beyond: Kingma et al. (2016), on CIFAR-10.
    """

    location: jax.Array
    log_scale: jax.Array
    support = (0.0, 1.0)
    levels = 256
    density = False

    @property
    def scale(self):
        return jnp.exp(self.log_scale)

    @property
    def mean(self):
        """sum_k P(x >= k/255) / 255 over k = 1, ..., 255."""

        def add(k, total):
            return total + jax.nn.sigmoid(-self._standardized((k - 0.5) / 255))

        shapes = self.location.shape, self.log_scale.shape
        zero = jnp.zeros(jnp.broadcast_shapes(*shapes))
        return jax.lax.fori_loop(1, 256, add, zero) / 255

    def sample(self, key):
        """A sample of each pixel; the mean without a key."""
        if key is None:
            return self.mean
        noise = jax.random.logistic(key, self.location.shape)
        x = jnp.clip(self.location + self.scale * noise, 0.0, 1.0)
        return jnp.round(255 * x) / 255

    def log_prob(self, x):
        """log(F(b) - F(a)) for the level's ends a and b, finite however far x is from the location.

        It is log F(b) + log(1 - F(a)) + log(1 - e^(a - b)), with a and b standardized; the first is
        0 for the highest level, the second for the lowest, and the third for both.
        """
        lowest, highest = x < 1e-3, x > 1 - 1e-3
        upper = jax.nn.log_sigmoid(self._standardized(x + 0.5 / 255))
        lower = jax.nn.log_sigmoid(-self._standardized(x - 0.5 / 255))
        width = jnp.exp(-self.log_scale) / 255
        inside = jnp.where(lowest | highest, 0.0, jnp.log(-jnp.expm1(-width)))
        log_p = jnp.where(highest, 0.0, upper) + jnp.where(lowest, 0.0, lower) + inside
        return per_example(within(self, x, log_p))

    def _standardized(self, x):
        return (x - self.location) * jnp.exp(-self.log_scale)


class Categorical(NamedTuple):
    """Independent pixels of the levels k/(K - 1), k = 0, ..., K - 1, by logits [B, ..., K]."""

    logits: jax.Array
    support = (0.0, 1.0)
    density = False

    @property
    def levels(self):
        return self.logits.shape[-1]

    @property
    def mean(self):
        values = jnp.arange(self.levels) / (self.levels - 1)
        return jax.nn.softmax(self.logits) @ values

    def sample(self, key):
        """A sample of each pixel; the mean without a key."""
        if key is None:
            return self.mean
        return jax.random.categorical(key, self.logits) / (self.levels - 1)

    def log_prob(self, x):
        level = jnp.round(x * (self.levels - 1)).astype(jnp.int32)
        log_p = jax.nn.log_softmax(self.logits)
        log_p = jnp.take_along_axis(log_p, jnp.maximum(level, 0)[..., None], -1)
        return per_example(within(self, x, log_p[..., 0]))


DENSITIES = "log_prob", "log_prob_pairs"  # by the image; log_prob_each is by the value


@jax.tree_util.register_pytree_node_class
class Standardized:
    """p(x|z) of data that were standardized, y = (x - mean) / std: of values y, with densities of x.

    log p(x) = log p(y) - Σ log std, in nats, so that bounds are of the data as they are stored. All
    else is that of `base`, the distribution of y, and in the units of y.
    """

    def __init__(self, base, scaling):
        self.base, self.scaling = base, scaling

    def tree_flatten(self):
        return (self.base,), self.scaling

    @classmethod
    def tree_unflatten(cls, scaling, children):
        return cls(*children, scaling)

    def __getattr__(self, name):
        if name == "base":  # before __init__, as for a copy
            raise AttributeError(name)
        found = getattr(self.base, name)
        if name in DENSITIES:
            return lambda y: found(y) - self.scaling.jacobian
        if name == "log_prob_each":
            return lambda y: found(y) - self.scaling.log_std
        return found

    def stored(self):
        """The same as a distribution of stored values x."""
        return Stored(self)


class Stored(NamedTuple):
    """p(x|z) of stored values x, by that of standardized ones; it has those methods that it has."""

    of: Standardized
    density = True

    def __getattr__(self, name):
        found, scaling = getattr(self.of, name), self.of.scaling
        if name in (*DENSITIES, "log_prob_each"):
            return lambda x: found(scaling.standardize(x))
        if name == "mean":
            return scaling.restore(found)
        if name == "std":
            return found * scaling.scale
        if name in ("sample", "quantile"):
            return lambda given: scaling.restore(found(given))
        raise AttributeError(
            f"p(x|z) of stored values has no {name}: that of standardized ones is its `of`"
        )


def within(p, x, log_p):
    """log_p [B, ...] of pixels x, and -inf where x is outside p's support, or between its levels.

    The ends are wider by float32's rounding, so that what resizing or a mean has made of an image is
    not outside.
    """
    least, most = p.support
    edge = ROUNDING * (most - least)
    there = (x >= least - edge) & (x <= most + edge)
    if hasattr(p, "levels"):
        place = (x - least) * ((p.levels - 1) / (most - least))
        there &= abs(place - jnp.round(place)) < 1e-3
    return jnp.where(there, log_p, -jnp.inf)


def bernoulli(out, hp):
    """The likelihood of binary pixels, with the decoder's output as logits."""
    del hp
    return Bernoulli(out)


def gaussian(out, hp):
    """The likelihood N(x; out, sigma²), where `sigma` is a hyperparameter.

    At sigma = 1/sqrt(2) its negative logarithm is the squared error plus ½ log(pi) per pixel.
    """
    return Normal(out, jnp.log(hp["sigma"]) * jnp.ones((1,) * out.ndim))


def gaussian_pair(out, hp, *, floor=FLOOR):
    """The likelihood N(x; out[..., 0], exp(out[..., 1])²); the model's `outputs` is 2.

    The standard deviation of a pixel is at least `floor`: without one, pixels that are constant
    would make the density unbounded. `functools.partial` binds another.
    """
    del hp
    return Normal(out[..., 0], floored(out[..., 1], floor))


def categorical(out, hp):
    """The likelihood of K levels from 0 to 1, by logits [..., K]; the model's `outputs` is K."""
    del hp
    return Categorical(out)


def continuous_bernoulli(out, hp):
    """The likelihood of gray pixels in [0, 1], with the decoder's output as logits."""
    del hp
    return ContinuousBernoulli(out)


def discretized_logistic(out, hp):
    """The likelihood of 256 gray levels around sigmoid(out), where `scale` is a hyperparameter."""
    mean = jax.nn.sigmoid(out)
    return DiscretizedLogistic(mean, jnp.full_like(mean, 1) * jnp.log(hp["scale"]))
