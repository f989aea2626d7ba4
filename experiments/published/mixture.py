"""log p(x) under a Bernoulli decoder of few latents, whatever its encoder is."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

SAMPLES = [2**19, 1000]  # of the prior, and of each posterior
BLOCK = 8192  # samples of the prior at a time


def log_px(run, images, samples=SAMPLES, block=BLOCK, seed=0):
    """An estimate of log p(x) of each image, [N]; nats. S, of `samples`, is a multiple of `block`.

    Importance sampling from a mixture of the prior and q(z|x): of S samples of p(z), the same for all
    images, and K of each q(z|x),

        p(x) ≈ sum_s p(x, z_s) / (S p(z_s) + K q(z_s|x)),

    unbiased (the balance heuristic: Veach and Guibas, 1995), so that its log is a lower bound in
    expectation. No weight is above p(x|z) / S, while with q(z|x) alone there is no bound: an encoder
    that has overfitted then costs tens of nats. Few latents, because S samples of the prior must find
    the posterior where the encoder does not.
    """
    shared, own = samples
    x, q = images.reshape(len(images), -1), run.encode(images)

    def weighed(log_likelihood, z, mean, std):
        log_p = norm.logpdf(z).sum(-1)
        log_q = norm.logpdf(z, mean, std).sum(-1)
        mixed = jnp.logaddexp(math.log(shared) + log_p, math.log(own) + log_q)
        return log_likelihood + log_p - mixed

    def decoded(z):
        return run.decode(z).logits.reshape(len(z), -1)

    @jax.jit
    def of_prior(key, found):
        z = jax.random.normal(key, (block, q.mean.shape[1]))
        logits = decoded(z)
        likelihood = x @ logits.T - jax.nn.softplus(logits).sum(1)[None]
        w = weighed(likelihood, z[None], q.mean[:, None], q.std[:, None])
        return jnp.logaddexp(found, jax.nn.logsumexp(w, axis=1))

    @jax.jit
    def of_posterior(key, found):
        z = q.sample(key)
        logits = decoded(z)
        likelihood = (x * logits - jax.nn.softplus(logits)).sum(1)
        return jnp.logaddexp(found, weighed(likelihood, z, q.mean, q.std))

    found = jnp.full(len(x), -jnp.inf)
    prior_key, posterior_key = jax.random.split(jax.random.key(seed))
    for turn in range(shared // block):
        found = of_prior(jax.random.fold_in(prior_key, turn), found)
    for turn in range(own):
        found = of_posterior(jax.random.fold_in(posterior_key, turn), found)
    return found
