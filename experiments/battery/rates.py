"""Checks of the rate: its sign, its value, and the densities that it is made of."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from experiments.battery import known
from experiments.battery import subject as subjects
from experiments.battery.line import NotClaimed
from experiments.laws.law import Law, above

LEAST_SHARE = 0.02  # of effective samples: below it nothing can be told


def _needs_rate(subject):
    if "rate" not in subject.found:
        raise NotClaimed("it reports no rate")


def value(subject):
    """The reported rate is the battery's own: in closed form, or at the z that was drawn."""
    _needs_rate(subject)
    draw = subject.draw
    own = known.kl(draw.q, draw.p)
    if own is None and draw.rate is not None:
        own = np.float64(draw.rate)
    if own is None:
        own = np.float64(draw.log_qz) - np.float64(draw.log_pz)
    found = subject.fixed["rate"][0]
    yield Law("E[KL(q || p)]", own.mean(), found, 1e-4 * (1 + abs(own).mean()))


def sign(subject):
    """The rate is not negative."""
    _needs_rate(subject)
    rate = subject.found["rate"]
    noise = rate.std(ddof=1) / math.sqrt(len(rate))
    yield above("rate >= 0", rate.mean(), 4.5 * noise + 1e-5)


def sampled(subject):
    """The reported rate is the mean of log q(z|x) - log p(z) over many draws of q."""
    _needs_rate(subject)
    draws, rate = subject.draws, subject.found["rate"]
    each = (draws["log_qz"] - draws["log_pz"]).mean(1)
    noise = np.hypot(
        each.std(ddof=1) / math.sqrt(len(each)), rate.std(ddof=1) / math.sqrt(len(rate))
    )
    yield Law(
        f"rate, over {len(each)} draws", each.mean(), rate.mean(), 4.5 * noise + 1e-3
    )
    for name in ("log_qz", "log_pz"):
        apart = abs(draws[f"{name} of the draw"] - draws[name]).max()
        size = 1 + abs(draws[name]).max()
        yield Law(f"{name} of a draw, from that of its z", 0.0, apart, 1e-3 * size)


def posterior(subject):
    """Draws of q(z|x) have the density that q says: E_q[r(z) / q(z|x)] = 1 for a density r.

    r is Gaussian, with the draws' own mean and a smaller covariance.
    """
    if not subject.has_bound:
        raise NotClaimed("its code has no noise")
    if hasattr(subject.draw.q, "discrete"):
        raise NotClaimed("its codes are discrete")
    z, log_q = subject.draws["z"], subject.draws["log_qz"]
    found = [_normalization(z[:, b], log_q[:, b]) for b in range(z.shape[1])]
    yield _mean_one("q(z|x)", found)


def prior(subject):
    """Samples of p(z) have the density that p says."""
    if not subject.has_bound:
        raise NotClaimed("it reports no bound, of which p(z) is a part")
    if hasattr(subject.draw.p, "discrete"):
        raise NotClaimed("its codes are discrete")
    count = subjects.ROWS * subjects.DRAWS

    @jax.jit
    def sample(p):
        z = p.sample(jax.random.key(23), count)
        leaves = [leaf.reshape(count, -1) for leaf in jax.tree.leaves(z)]
        return jnp.concatenate(leaves, 1), p.log_prob(z)

    z, log_p = subjects.numpy(sample(subject.draw.p))
    yield _mean_one("p(z)", [_normalization(z, log_p)])


def _normalization(z, log_density):
    """Weights r(z) / density, r Gaussian of the moments of the first half; those of the second."""
    half, size = len(z) // 2, z.shape[1]
    first, second = z[:half], z[half:]
    # Smaller, so that the weights are bounded, and less so where there are more latents.
    shrunk = 1 - min(0.5, 1 / math.sqrt(size))
    covariance = shrunk * np.atleast_2d(np.cov(first.T))
    root = np.linalg.cholesky(covariance + 1e-12 * np.eye(size))
    u = np.linalg.solve(root, (second - first.mean(0)).T)
    log_r = -0.5 * (u**2).sum(0) - np.log(np.diag(root)).sum()
    return np.exp(log_r - 0.5 * size * math.log(2 * math.pi) - log_density[half:])


def _mean_one(name, weights):
    """The law that weights have mean 1; NotClaimed where a few of them are all."""
    weights = np.concatenate(weights)
    share = weights.mean() ** 2 / (weights**2).mean()
    near = abs(math.log(weights.mean() + 1e-300)) < 1
    if near and share < LEAST_SHARE:
        raise NotClaimed(f"{name} is too far from a Gaussian for importance weights")
    noise = weights.std(ddof=1) / math.sqrt(len(weights))
    return Law(f"E[r / {name}]", 1.0, weights.mean(), 4.5 * noise + 2e-3)
