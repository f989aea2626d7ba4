"""Checks of bounds: below one of many samples, and below an exact log-likelihood."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from aevae import data, models, networks
from aevae.models.distributions import Mixture, Normal
from experiments.battery import known
from experiments.battery import subject as subjects
from experiments.battery.line import NotClaimed
from experiments.laws.law import Law, above

SIGMA = 0.7  # of the likelihood on `gaussian`
NAMES = "elbo", "iwae"


def _error(values):
    return values.std(ddof=1) / math.sqrt(len(values))


def many_samples(subject):
    """elbo <= iwae <= the battery's own bound of many samples, up to what is random."""
    found = subject.found
    if "elbo" not in found:
        raise NotClaimed("it reports no bound")
    draws = subject.draws
    log_w = draws["log_px"] + draws["log_pz"] - draws["log_qz"]
    halves = [known.log_mean_exp(half).mean() for half in np.split(log_w, 2)]
    most = known.log_mean_exp(log_w).mean()
    noise = abs(halves[0] - halves[1]) / math.sqrt(2)
    chain = [(name, found[name]) for name in NAMES if name in found]
    for name, values in chain:
        margin = most - values.mean()
        slack = 4.5 * math.hypot(_error(values), noise) + 2e-5 * abs(most)
        yield above(f"{name} <= bound of {len(log_w)} samples", margin, slack)
    if "iwae" in found:
        apart = found["iwae"] - found["elbo"]
        slack = 4.5 * _error(apart) + 1e-4
        yield above("elbo <= iwae", apart.mean(), slack)


def importance(subject):
    """The reported iwae is the battery's own, with as many samples, over draws of its own."""
    if "iwae" not in subject.found:
        raise NotClaimed("it reports no iwae")
    k = subject.option("k")
    if not isinstance(k, int) or not 1 <= k <= subjects.DRAWS // 8:
        raise NotClaimed(
            f"k, bound to the objective, must say how many samples: from 1 to {subjects.DRAWS // 8}"
        )
    draws = subject.draws
    log_w = draws["log_px"] + draws["log_pz"] - draws["log_qz"]
    groups = len(log_w) // k
    log_w = log_w[: groups * k].reshape(groups, k, -1)
    own = np.array([known.log_mean_exp(group).mean() for group in log_w])
    found = subject.found["iwae"]
    noise = math.hypot(_error(own), _error(found))
    yield Law(f"iwae of {k} samples", own.mean(), found.mean(), 4.5 * noise + 1e-3)


def exact(subject):
    """On `gaussian`, with a linear decoder and the likelihood N(x; Wz + b, sigma²): log p(x) is known.

    elbo and iwae are below it, and log p(x, z) is the battery's own.
    """
    if "elbo" not in subject.found:
        raise NotClaimed("it reports no bound")
    own, log_p, prior = _linear(subject)
    found = own.found
    for name in NAMES:
        if name in found:
            margin = log_p.mean() - found[name].mean()
            slack = 4.5 * _error(found[name]) + 2e-5 * abs(log_p.mean())
            yield above(f"{name} <= log p(x) on gaussian", margin, slack)
    size = subjects.ROWS, prior.means.shape[1]
    z = np.float32(np.random.default_rng(1).normal(size=size))

    @jax.jit
    def joint(params, z, batch, hp):
        return own.model.apply(params, z, batch, hp, method="log_joint")

    mean, std = _decoded(own, z)
    image = known.flat(own.batch["image"])
    expected = known.log_normal(image, mean, std).sum(1) + prior.log_prob(z)
    measured = np.float64(joint(own.params, z, own.batch, own.hp))
    size = abs(expected).mean()
    yield Law(
        "log p(x, z) on gaussian", expected.mean(), measured.mean(), 2e-5 * size + 1e-3
    )


def _linear(subject):
    """A `Subject` of the same objective and kind of model on `gaussian`; log p(x), and the prior."""
    model = subject.model
    fields = {field.name for field in dataclasses.fields(model)}
    if not {"encoder", "decoder", "likelihood", "outputs"} <= fields:
        raise NotClaimed("its model has no encoder, decoder and likelihood to replace")
    inner = model.likelihood
    model = model.clone(
        encoder=networks.MLPEncoder(()),
        decoder=networks.MLPDecoder(()),
        likelihood=inner if hasattr(inner, "apply") else models.gaussian,
        outputs=1,
        output_bias=models.zeros,
        shape=(),
        scaling=None,
    )
    config = dataclasses.replace(
        subject.given,
        model=model,
        binarization=data.none,
        standardize="no",
        hparams=subject.given.hparams | {"sigma": SIGMA},
        dataset="gaussian",
    )
    dataset = data.load("gaussian", "train", "validation", "test")
    try:
        own = subjects.Subject(config, dataset)
        p = own.draw.p
    except KeyError as error:
        raise NotClaimed(
            f"it reads {error} of the batch, which gaussian lacks"
        ) from None
    prior = Prior.of(p)
    if prior is None:
        raise NotClaimed(
            f"log p(x) is not known under the prior {type(p).__name__}, even of a linear decoder"
        )
    size = prior.means.shape[1]
    basis = np.concatenate([np.zeros((1, size)), np.eye(size), np.full((1, size), 0.3)])
    if not isinstance(own.draw.x, Normal):
        raise NotClaimed("its likelihood is not the package's Gaussian")
    mean, std = _decoded(own, np.float32(basis))
    w, b = (mean[1:-1] - mean[:1]).T, mean[0]
    if not np.allclose(mean[-1], b + 0.3 * w.sum(1), atol=1e-3):
        raise NotClaimed("its decoder is not linear, even with a linear network")
    if not np.allclose(std, std[:1]):
        raise NotClaimed("the likelihood's deviation depends on the code")
    return own, prior.log_marginal(known.flat(own.batch["image"]), w, b, std[0]), prior


class Prior(NamedTuple):
    """A mixture of independent Gaussians: weights [K], means and deviations [K, Z]; float64."""

    weights: np.ndarray
    means: np.ndarray
    stds: np.ndarray

    @classmethod
    def of(cls, p):
        """That of a package's prior; None for another kind."""
        if isinstance(p, Normal):
            logits, parts = np.zeros(1), p
        elif isinstance(p, Mixture):
            logits, parts = np.float64(p.logits), p.parts
        else:
            return None
        weights = scipy.special.softmax(logits)
        return cls(weights, np.float64(parts.mean), np.exp(np.float64(parts.log_std)))

    def log_prob(self, z):
        """log p(z), [B]."""
        each = known.log_normal(z[:, None], self.means[None], self.stds[None]).sum(-1)
        return scipy.special.logsumexp(each, axis=1, b=self.weights[None])

    def log_marginal(self, x, w, b, std):
        """log of the integral of N(x; w z + b, std²) p(z), [B]."""
        each = []
        for mean, deviation in zip(self.means, self.stds):
            covariance = (w * deviation**2) @ w.T + np.diag(std**2)
            apart = x - w @ mean - b
            white = np.linalg.solve(np.linalg.cholesky(covariance), apart.T)
            _, volume = np.linalg.slogdet(2 * math.pi * covariance)
            each.append(-0.5 * ((white**2).sum(0) + volume))
        each = np.stack(each, 1)
        return scipy.special.logsumexp(each, axis=1, b=self.weights[None])


def _decoded(own, z):
    """Mean and standard deviation of p(x|z), [B, P] each."""

    @jax.jit
    def decode(params, z, hp):
        x = own.model.apply(params, z, own.batch, hp, method="decode")
        return x.mean, jnp.broadcast_to(x.std, x.mean.shape)

    return tuple(map(known.flat, decode(own.params, z, own.hp)))
