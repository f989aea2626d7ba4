"""Laws of estimates: bounds and annealing, parts of the rate, and what disentanglement metrics reach."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from aevae import data, models, networks, objectives, optim
from aevae.config import Config
from aevae.evaluation import aggregate, annealing, disentanglement, likelihood, scores
from aevae.models import likelihoods
from aevae.models.distributions import Normal
from experiments.laws.law import Law, above

SIGMA = 0.6


def _linear(latent, pixels):
    parts = networks.MLPEncoder(()), networks.MLPDecoder(())
    return Config(
        models.VAE(latent, *parts, likelihoods.gaussian, shape=(pixels,)),
        objectives.beta_vae,
        {"beta": 1.0, "sigma": SIGMA, "lr": 1e-3},
        *(optim.adam, optim.constant, data.none),
    )


def _parameters(w, head, bias):
    """The parameters of p(x|z) = N(w z, sigma²) and q(z|x) = N(head x, exp(bias)), the step, and hp."""
    pixels, latent = w.shape
    both = np.concatenate([head.T, np.zeros((pixels, latent))], axis=1)
    shift = np.concatenate([bias[0], bias[1]])
    inner = {
        "posterior": {"Dense_0": {"kernel": both, "bias": shift}},
        "decoder": {"Dense_0": {"kernel": w.T}},
        "bias": {"value": np.zeros(pixels)},
    }
    params = jax.tree.map(jnp.float32, {"params": inner})
    hp = {"beta": 1.0, "sigma": SIGMA, "lr": 1e-3}
    return params, jnp.int32(0), jax.tree.map(jnp.float32, hp)


def _bound(config, given, held, k):
    run = jax.jit(
        functools.partial(likelihood.importance, config, k, jax.random.key(k))
    )
    units = likelihood.importance_units(held, k)
    found = run(jnp.zeros(len(held["image"])), given, (held, 0, units))
    return np.float64(found) - math.log(k)


def bounds(count=2000, steps=1000):
    """4. ELBO <= IWAE(K) <= IWAE(2K) <= log p(x), AIS = log p(x), and the gap chi²/(2K).

    In a linear-Gaussian model, where log p(x) is known, with a posterior that is not the exact one:
    Burda et al. (2016); Neal (2001). For q = N(d, s²) and an exact posterior N(0, 1) the gap of
    IWAE(K) falls as chi²/(2K), chi² + 1 = s²/sqrt(2s² - 1) exp(d²/(2s² - 1)): Nowozin (2018).
    """
    random = np.random.default_rng(0)
    w = random.normal(size=(5, 2))
    x = random.normal(size=(count, 2)) @ w.T + SIGMA * random.normal(size=(count, 5))
    held = {"image": jnp.float32(x)}
    exact = np.linalg.solve(w.T @ w + SIGMA**2 * np.eye(2), w.T)
    head = exact + 0.1 * random.normal(size=exact.shape)
    given = _parameters(w, head, (np.zeros(2), np.full(2, -1.0)))
    covariance = w @ w.T + SIGMA**2 * np.eye(5)
    known = _log_normal(x, covariance)
    config, rows = _linear(2, 5), []
    chain = {"ELBO": _bound(config, given, held, 1)}
    chain |= {f"IWAE({k})": _bound(config, given, held, k) for k in (8, 16, 64, 128)}
    chain |= {"log p(x)": known}
    for (low, a), (high, b) in itertools.pairwise(chain.items()):
        gap = b - a
        margin = gap.mean() / (gap.std(ddof=1) / math.sqrt(count))
        rows.append(above(f"{low} <= {high}: margin in standard errors", margin, 4.0))
    some = {"image": held["image"][:200]}
    of, units = annealing.annealing(config, 16, steps, False, some)
    run = jax.jit(
        functools.partial(annealing.anneal, config, 16, steps, False, jax.random.key(1))
    )
    carry = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), of(given))
    low = np.float64(run(carry, given, (some, 0, units))["lower"])
    rows.append(Law("AIS = log p(x), nats", known[:200].mean(), low.mean(), 0.01))
    return rows + _chi_squared(50 * count)


def _log_normal(x, covariance):
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), x.T)
    _, volume = np.linalg.slogdet(2 * math.pi * covariance)
    return -0.5 * ((whitened**2).sum(0) + volume)


def _chi_squared(count, shift=0.5, k=64):
    given = _parameters(np.zeros((1, 1)), np.zeros((1, 1)), ([shift], [0.0]))
    x = np.zeros((count, 1))
    found = _bound(_linear(1, 1), given, {"image": jnp.float32(x)}, k)
    gaps = _log_normal(x, SIGMA**2 * np.eye(1)) - found
    expected = (math.exp(shift**2) - 1) / (2 * k)
    error = gaps.std(ddof=1) / math.sqrt(count)
    tolerance = 4 * error + 2 * expected / k  # and what is of order 1/K²
    return [
        Law(f"gap of IWAE({k}) = chi²/(2K), nats", expected, gaps.mean(), tolerance)
    ]


def ceilings(count=10_000):
    """7. What a perfect code reaches on dSprites' factor sizes, and what a rotation of it keeps.

    The metrics are those of `evaluation.disentanglement`. Neither MIG = 1 nor SAP above 0.25 can be
    reached there. A rotation after which no latent is one factor loses most of MIG, and less of the
    scores of beta-VAE and FactorVAE.
    """
    random = np.random.default_rng(0)
    sizes = (3, 6, 40, 32, 32)
    factors = np.stack([random.integers(0, size, count) for size in sizes], axis=1)
    best = disentanglement.ceilings(factors, 10)
    perfect = (factors - factors.mean(0)) / factors.std(0)
    turned = perfect @ np.linalg.qr(random.normal(size=(5, 5)))[0]
    rows = [
        Law("MIG of a perfect code", 0.8955, best["mig"], 0.01),
        Law("SAP of a perfect code", 0.244, best["sap"], 0.02),
        Law("FactorVAE score of a perfect code", 1.0, best["factor_vae_score"], 0.005),
        Law("beta-VAE score of a perfect code", 1.0, best["beta_vae_score"], 0.005),
    ]
    kept = {
        "MIG": scores.mig(turned, factors) / best["mig"],
        "FactorVAE score": scores.factor_vae_score(turned, factors),
        "beta-VAE score": scores.beta_vae_score(turned, factors),
    }
    rows.append(Law("MIG that a rotation keeps, at most ½", 0.0, kept["MIG"], 0.5))
    for name in ("FactorVAE score", "beta-VAE score"):
        margin = kept[name] - 2 * kept["MIG"]
        rows.append(above(f"{name} keeps twice that: margin", margin, 0.0))
    return rows


def information(count=10_000):
    """8. Mutual information, total correlation and dimension-wise KL of a Gaussian, in closed form.

    q(z|x) = N(A x, s² I), x ~ N(0, I): q(z) = N(0, S) with S = A Aᵀ + s² I, so that
    MI = ½ log det S - Z log s, TC = ½ (sum log S_ii - log det S), and
    DWKL = ½ sum (S_ii - 1 - log S_ii): Chen et al. (2018), eq. 2. Measured over `count`
    posteriors, as `evaluation` measures the aggregate posterior.
    """
    random = np.random.default_rng(0)
    latent, noise = 3, 0.5
    a = random.normal(size=(latent, latent)) / math.sqrt(latent)
    s = a @ a.T + noise**2 * np.eye(latent)
    _, volume = np.linalg.slogdet(s)
    parts = {
        "mutual information": 0.5 * volume - latent * math.log(noise),
        "total correlation": 0.5 * (np.log(np.diag(s)).sum() - volume),
        "dimension-wise KL": 0.5 * (np.diag(s) - 1 - np.log(np.diag(s))).sum(),
    }
    mean = random.normal(size=(count, latent)) @ a.T
    z = mean + noise * random.normal(size=mean.shape)
    q = Normal(jnp.float32(mean), jnp.full(mean.shape, math.log(noise), jnp.float32))
    zeros = {name: jnp.zeros(count) for name in ("log_q", "log_each")}
    units = aggregate.aggregate_units(q, z)
    found = jax.jit(aggregate.aggregate)(zeros, (q, jnp.float32(z)), (0, units))
    log_q, log_each = (np.float64(found[name]) for name in ("log_q", "log_each"))
    log_qz = -0.5 * (((z - mean) / noise) ** 2).sum(1) - latent * (
        math.log(noise) + 0.5 * math.log(2 * math.pi)
    )
    log_pz = -0.5 * (z**2).sum(1) - 0.5 * latent * math.log(2 * math.pi)
    terms = log_qz - log_q, log_q - log_each, log_each - log_pz
    return [
        Law(
            f"{name}, nats",
            expected,
            each.mean(),
            4 * each.std() / math.sqrt(count) + 0.005,
        )
        for (name, expected), each in zip(parts.items(), terms)
    ]
