"""The second stage: priors that are fitted to the codes of trained runs, and what they gain.

A decoder that reconstructs well samples badly where its prior is not the aggregate posterior q(z),
and autoencoders have no prior at all. Each function here is a measure that fits a prior p2(z) to
codes of the training examples, drawn from q(z|x), or the mean codes of an autoencoder, and keeps it
with the run. Of the codes of the test examples it finds

    log_density   E[log p2(z)], a density of codes: it compares priors of one run alone;
    rate          of discrete codes E[-log p2(z)], in place of the uniform prior's cells · log K;
    gain          E[log p2(z) - log p(z)], where the run's own prior p is N(0, I) or that uniform one:
                  by so much the bound on log p(x) rises if p2 takes the place of p. Blank where
                  there is no bound;

all in nats, with standard errors over the test examples. A prior of your own is a measure that
takes `coded(work)`, and ends with `yield from found(work, name, distributions, test)`.
"""

import contextlib
import functools
import warnings
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from aevae import objectives
from aevae.evaluation import codes, fitting
from aevae.evaluation.contract import (
    Found,
    at_least,
    continuous,
    measure,
    of_priors,
    vector,
)
from aevae.evaluation.work import standard_error
from aevae.models import priors
from aevae.models.distributions import is_standard
from aevae.runs.progress import say

CODES = 20_000  # of the training examples at least, if a posterior has noise
TEST_DRAWS = 10  # of the code of a test example
LEAST = 1e-6  # variance that is added to each standardized latent's
LR = 2e-3

STEPS = Annotated[int, f"training steps of {fitting.BATCH} codes", at_least(1)]
WIDTH = Annotated[int, "width of the prior's hidden layers", at_least(1)]


def enough(facts):
    """Requires more training examples than latents, of which a full covariance is."""
    count = len(facts.dataset.train["image"])
    if facts.latents is None or count > facts.latents:
        return None
    return (
        f"{facts.dataset.name} has {count} training examples, and a covariance of {facts.latents} "
        f"latents needs {facts.latents + 1}"
    )


def discrete(facts):
    """Requires discrete codes."""
    if "discrete" in facts.posterior and {"book", "cells"} <= facts.prior:
        return None
    return "the code is not discrete"


def _components(value, facts):
    """A check: from 1 to the number of training examples."""
    count = len(facts.dataset.train["image"])
    if type(value) is int and 1 <= value <= count:
        return None
    return f"must be a whole number from 1 to the {count} training examples of {facts.dataset.name}"


OF_VECTORS = vector, continuous, enough


@measure(*OF_VECTORS, default=lambda facts: False)
def gaussian(work):
    """Fits a Gaussian of full covariance: the maximum of the likelihood."""
    train, _, test = coded(work)
    yield from found(work, "gaussian", [_of_moments(z) for z in train], test)


def _of_moments(z):
    u, shift, scale = _standardized(z)
    covariance = np.cov(u, rowvar=False, bias=True).reshape(u.shape[1], -1)
    covariance += LEAST * np.eye(len(covariance))
    base = priors.Gaussians.of([1.0], u.mean(0)[None], covariance[None])
    return _restored(base, shift, scale)


def _restored(base, shift, scale):
    """The distribution of codes where `base` is that of standardized ones."""
    return priors.Affine(base, *map(np.float32, (shift, scale)))


@measure(*OF_VECTORS, default=lambda facts: False)
def gmm(
    work,
    *,
    components: Annotated[int, "Gaussians of the mixture", _components] = 10,
):
    """Fits a mixture of Gaussians of full covariance, by scikit-learn: expectation-maximization."""
    from sklearn.mixture import GaussianMixture

    train, _, test = coded(work)

    def fit(z):
        work.stop()
        u, shift, scale = _standardized(z)
        how = {"reg_covar": LEAST, "max_iter": 500, "random_state": 0}
        with _quiet():
            fitted = GaussianMixture(components, **how).fit(u)
        parts = fitted.weights_, fitted.means_, fitted.covariances_
        return _restored(priors.Gaussians.of(*parts), shift, scale)

    yield from found(work, "gmm", map(fit, train), test)


@measure(*OF_VECTORS, default=lambda facts: False)
def maf(
    work,
    *,
    steps: STEPS = 4000,
    width: WIDTH = 64,
    layers: Annotated[int, "layers of the flow", at_least(1)] = 5,
):
    """Fits a masked autoregressive flow: Papamakarios et al. (2017)."""
    module = priors.MAF(work.facts.latents, width, layers)
    how = fitting.Fit(module, priors.negative_log_likelihood, {"lr": LR}, steps)
    yield from _of_network(work, "maf", how)


@measure(*OF_VECTORS, default=lambda facts: False)
def two_stage(work, *, steps: STEPS = 4000, width: WIDTH = 64):
    """Fits a second VAE: Dai and Wipf (2019). Log-density and gain are lower bounds."""
    module = priors.TwoStage(work.facts.latents, width)
    how = fitting.Fit(module, objectives.beta_vae, {"lr": LR, "beta": 1.0}, steps)
    yield from _of_network(work, "two_stage", how)


@measure(vector, discrete, default=lambda facts: False)
def autoregressive(work, *, steps: STEPS = 4000, width: WIDTH = 64):
    """Fits an autoregressive prior to discrete codes, as a masked autoencoder: Germain et al. (2015)."""
    parts = coded(work)
    book = np.stack([p.book for p in _own_priors(work)])
    train, validation, _ = (_numbers(z, book) for z in parts)
    module = priors.Autoregressive(train.shape[-1], book.shape[1], width)
    how = fitting.Fit(module, priors.negative_log_likelihood, {"lr": LR}, steps)
    networks = (
        priors.Network(module, p) for p in fitting.fitted(work, how, train, validation)
    )
    fitted = map(priors.Codewords, networks, book)
    yield from found(work, "autoregressive", fitted, parts[2])


PRIORS = gaussian, gmm, maf, two_stage, autoregressive


@jax.jit
def _numbers_of(z, book):
    return jax.lax.map(lambda c: priors.numbers(c[None], book)[0], z, batch_size=1000)


def _numbers(z, book):
    """The numbers [M, N, cells] of the codewords of each run's codes [M, N, Z]."""
    z = z.reshape(len(z), -1, z.shape[-1])
    return np.stack([np.asarray(_numbers_of(*own)) for own in zip(z, book)])


def _of_network(work, name, how):
    train, validation, test = coded(work)
    u, shift, scale = map(np.stack, zip(*map(_standardized, train)))
    own = (validation - shift[:, None]) / scale[:, None]
    trained = fitting.fitted(work, how, np.float32(u), np.float32(own))
    fitted = (
        _restored(priors.Network(how.model, params), *ends)
        for params, *ends in zip(trained, shift, scale)
    )
    yield from found(work, name, fitted, test)


def found(work, name, fitted, test):
    """Yields what a measure finds of each run, from its fitted prior: see the head of this file.

    Args:
      work: the `work.Work` of the measure.
      name: that of the measure's function.
      fitted: a distribution of codes for each run, as `models.priors` has them.
      test: draws of the test examples' codes, [M, N, draws, Z].
    """
    own = zip(work.group.rows, _own_priors(work), test, fitted, strict=True)
    for row, p, z, p2 in own:
        work.stop()
        log_p2 = _log_prob(p2, z)
        if not np.isfinite(log_p2).all():
            say(f"run {row['run']}: log p(z) of {name} is not finite; it is not kept")
            yield Found(tables=of_priors({name: {"log_density": None}}))
            continue
        values = _mean("log_density", log_p2)
        if getattr(p2, "discrete", False):
            values = _mean("rate", -log_p2)
        uniform = hasattr(p, "book")
        bounded = row["elbo"] is not None and (uniform or is_standard(p))
        gain = log_p2 - _log_prob(p, z) if bounded else None
        yield Found(tables=of_priors({name: values | _mean("gain", gain)}), fitted=p2)


def _mean(name, values):
    """The mean of values of examples, and its standard error, as a table has them."""
    if values is None:
        return {name: None, f"{name}_error": None}
    return {name: values.mean(), f"{name}_error": standard_error(values)}


@jax.jit
def _log_prob_of(p, z):
    return p.log_prob(z)


def _log_prob(p, z):
    """log p(z) of each example in float64, the mean over its draws; z is [N, draws, Z]."""
    blocks = [_log_prob_of(p, z[:, i]) for i in range(z.shape[1])]
    return np.mean(np.float64(blocks), axis=0)


def _own_priors(work):
    """p(z) of each run."""
    apply = jax.jit(functools.partial(work.config.model.apply, method="prior"))
    return [apply(params, {}) for params, _ in work.group.states]


# Codes


def coded(work):
    """Codes of each run: [M, N, Z] in training and validation, [M, N, draws, Z] in test."""
    facts = work.facts
    noise = facts.bounded and "discrete" not in facts.posterior

    def of(part, count, use):
        held = work.held(part)
        count = count(len(held["image"])) if noise else 1
        key = work.key(use) if noise else None
        _, blocks = codes.rows_of(held)
        shape = len(held["image"]), count, facts.latents

        def f(carry, given, shared):
            return codes.draws(work.config, count, key, carry, given, shared)

        shapes = jax.ShapeDtypeStruct(shape, jnp.float32)
        return work.through(f, shapes, blocks, work.given, held)

    def enough(count):
        return -(-CODES // count)

    train, validation = of("train", enough, 20), of("validation", enough, 21)
    test = of("test", lambda count: TEST_DRAWS, 22)
    for number, z in zip(work.group.numbers, train):
        constant = int((np.ptp(z, axis=(0, 1)) == 0).sum())
        if constant and "discrete" not in facts.posterior:
            say(
                f"run {number}: {constant} of {facts.latents} latents are constant: each adds the "
                "log-density of a floor"
            )
    return *(z.reshape(len(z), -1, z.shape[-1]) for z in (train, validation)), test


def _standardized(z):
    """Codes [N, Z] of mean 0 and deviation 1, in float64, and what they were: mean, deviation.

    A latent that is constant stays so.
    """
    z = np.float64(z)
    shift, scale = z.mean(0), z.std(0)
    scale = np.maximum(scale, 1e-6 * max(scale.max(), 1e-30))
    return (z - shift) / scale, shift, scale


@contextlib.contextmanager
def _quiet():
    """A context without scikit-learn's warnings that it has not converged."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
