"""Laws of gradient estimators, in the toy model of Rainforth et al. (2018)."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from aevae import objectives
from aevae.models.distributions import Normal
from aevae.models.vae import Draw
from experiments.laws.law import Law

DIM, OFF = 20, 0.1  # latents; how far the posterior's mean is from the exact one


class Toy:
    """A Gaussian toy model, with the methods that objectives call: Rainforth et al. (2018).

    p(z) = N(mu, I), p(x|z) = N(z, I), q(z|x) = N(x/2 + b, variance I). The posterior is exact at
    b = mu/2 and variance ½.
    """

    def __init__(self, variance):
        self.log_std = 0.5 * math.log(variance)

    def apply(self, params, *args, method=None):
        if method == "log_joint":
            return self._log_joint(params, *args)
        batch, key, _ = args
        x = batch["image"]
        mean = 0.5 * x + params["b"][None]
        q = Normal(mean, jnp.full(x.shape, self.log_std))
        p = Normal(params["mu"][None], jnp.zeros((1, x.shape[1])))
        z, log_qz = q.draw(key)
        log_px = Normal(z, jnp.zeros_like(z)).log_prob(x)
        return Draw(z, log_px, p.log_prob(z), log_qz, None, q, p, None)

    def _log_joint(self, params, z, batch, hp):
        del hp
        p = Normal(params["mu"][None], jnp.zeros((1, z.shape[1])))
        return Normal(z, jnp.zeros_like(z)).log_prob(batch["image"]) + p.log_prob(z)


def _setting(off):
    mu_key, x_key, off_key = jax.random.split(jax.random.key(0), 3)
    mu, x = jax.random.normal(mu_key, (DIM,)), jax.random.normal(x_key, (DIM,))
    b = mu / 2 + off * jax.random.normal(off_key, (DIM,))
    return {"mu": mu, "b": b}, {"image": x[None]}


def exact_posterior(k=50):
    """5. Where q is the exact posterior, every log-weight is log p(x), without variance."""
    params, batch = _setting(0.0)
    of = jax.vmap(lambda key: Toy(0.5).apply(params, batch, key, {}))
    draws = jax.jit(of)(jax.random.split(jax.random.key(1), k))
    log_w = np.float64(draws.log_px + draws.log_pz - draws.log_qz)
    x, mu = np.float64(batch["image"][0]), np.float64(params["mu"])
    known = -0.25 * ((x - mu) ** 2).sum() - 0.5 * DIM * np.log(4 * np.pi)
    return [
        Law(
            "exact posterior: standard deviation of log w, nats", 0.0, log_w.std(), 1e-4
        ),
        Law("exact posterior: log w = log p(x), nats", known, log_w.mean(), 1e-3),
    ]


def signal_to_noise(ks=(16, 64, 256, 1024), repeats=2_000):
    """6. How the signal-to-noise ratio of gradients, |E gradient| / standard deviation, goes with K.

    On a log-log scale the encoder's slope is -½ under IWAE and +½ under DReG, and the decoder's +½:
    Rainforth et al. (2018); Tucker et al. (2019). The encoder's expected gradient is taken from DReG,
    which estimates that of IWAE without bias, since IWAE's own mean is lost in its noise. STL's
    expected gradient is another, which does not vanish, so its slope is +½; its standard deviation is
    a quarter of IWAE's here, because the gradient -2 (z - mean) of log p(x, z) loses the
    3/2 (z - mean) of log q.
    """
    params, batch = _setting(OFF)

    def slopes(objective, k):
        of = functools.partial(objective, Toy(2 / 3), k=k)

        def one(key):
            return jax.grad(lambda p: of(p, batch, key, {})[0])(params)

        many = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=50))
        return jax.tree.map(
            np.float64, many(jax.random.split(jax.random.key(k), repeats))
        )

    iwae, stl, dreg = (
        [slopes(objective, k) for k in ks]
        for objective in (objectives.iwae, objectives.stl, objectives.dreg)
    )

    def slope(values):
        return np.polyfit(np.log(ks), np.log(values), 1)[0]

    signal = [abs(d["b"].mean(0)).mean() for d in dreg]
    noises = [[g["b"].std(0).mean() for g in of] for of in (iwae, stl, dreg)]
    sticking = [abs(g["b"].mean(0)).mean() / g["b"].std(0).mean() for g in stl]
    ratio = np.mean(np.divide(noises[1], noises[0]))
    decoder = [abs(g["mu"].mean(0)).mean() / g["mu"].std(0).mean() for g in iwae]
    return [
        Law("slope of the encoder's gradient", -1.0, slope(signal), 0.1),
        Law(
            "slope of the encoder's signal to noise, IWAE",
            -0.5,
            slope(np.divide(signal, noises[0])),
            0.1,
        ),
        Law(
            "slope of the encoder's signal to noise, DReG",
            0.5,
            slope(np.divide(signal, noises[2])),
            0.15,
        ),
        Law(
            "slope of the encoder's standard deviation, IWAE",
            -0.5,
            slope(noises[0]),
            0.1,
        ),
        Law("slope of the decoder's signal to noise", 0.5, slope(decoder), 0.1),
        Law("slope of the encoder's signal to noise, STL", 0.5, slope(sticking), 0.1),
        Law("STL's standard deviation over IWAE's", 0.25, ratio, 1e-3),
    ]
