"""What a trained run is worth: means over a whole split. Nothing here knows that runs are batched."""

import jax
import jax.numpy as jnp

from aevae.distributions import Bernoulli, Normal, log_mean_exp, per_example
from aevae.objectives import bound_terms

ROWS = 500  # examples that go through a network at a time ...
ROWS_BOUND = 100  # ... and with SAMPLES draws each
SAMPLES = 64  # of the importance-weighted bound in the results
ACTIVE = 0.01  # Burda et al. (2016), section 5.2


def split(config, state, data, key, hp):
    """The objective's own metrics on a split, `loss` among them, at the schedule's present point.

    `data` are prepared. All runs and epochs are given one `key`, and so meet the same noise.
    Where the objective has no bound, the `errors` of the reconstruction stand beside its terms.
    """
    hp = config.schedule(hp, state.step)

    def metrics(batch, key):
        loss, terms = config.objective(config.model, state.params, batch, key, hp)
        if "elbo" not in terms:
            draw = config.model.apply(state.params, batch, None, hp)
            terms |= errors(draw.x, batch["image"])
        return terms | {"loss": loss}

    return _mean(metrics, data, key, ROWS)


def results(config, state, data, key, hp):
    """What a row of the results says of a split; nats.

    Where the objective has a bound: `distortion` = E[-log p(x|z)] over 64 draws of z,
    `rate` = KL(q(z|x) || p(z)), `elbo` = -(distortion + rate), `iwae` the bound of Burda et al.
    (2016), eq. 8, with those draws, and `active_units` the number of latents whose posterior mean
    varies by more than 0.01 over the data (ibid., section 5.2), where q is a diagonal Gaussian.
    Elsewhere what `split` says.
    """
    key, bound_key = jax.random.split(key)
    terms = split(config, state, data, key, hp)
    if "elbo" not in terms:
        return {name: value for name, value in terms.items() if name != "loss"}
    hp = config.schedule(hp, state.step)

    def bounds(batch, key):
        draws = jax.vmap(lambda k: config.model.apply(state.params, batch, k, hp))(
            jax.random.split(key, SAMPLES)
        )
        iwae = log_mean_exp(draws.log_px + draws.log_pz - draws.log_qz)
        terms = bound_terms(draws) | {"iwae": iwae.mean()}
        if isinstance(draws.q, Normal):
            mean_BxZ = draws.q.mean[0]
            terms |= {"mean": mean_BxZ.mean(0), "square": (mean_BxZ**2).mean(0)}
        return terms

    terms = _mean(bounds, data, bound_key, ROWS_BOUND)
    if "mean" in terms:
        variance = terms.pop("square") - terms.pop("mean") ** 2
        terms["active_units"] = (variance > ACTIVE).sum()
    return terms


def errors(x, image):
    """Squared error and cross-entropy of the mean reconstruction, summed over pixels.

    The cross-entropy has a meaning for images in [0, 1]. A mean that can leave (0, 1), as a
    Gaussian's can, is clipped to [1e-6, 1 - 1e-6] for it.
    """
    mean = jnp.clip(x.mean, 1e-6, 1 - 1e-6)
    entropy = -image * jnp.log(mean) - (1 - image) * jnp.log1p(-mean)
    exact = -x.log_prob(image) if isinstance(x, Bernoulli) else per_example(entropy)
    squared = per_example((x.mean - image) ** 2)
    return {"squared_error": squared.mean(), "cross_entropy": exact.mean()}


def _mean(f, data, key, rows):
    """The mean over the examples of `f(batch, key)`, itself a mean over its batch."""
    count = len(data["image"])
    blocks, rest = divmod(count, rows)
    keys = jax.random.split(key, blocks + 1)

    def at(start, length):
        cut = {
            name: jax.lax.dynamic_slice_in_dim(values, start, length)
            for name, values in data.items()
        }
        return cut | {"size": jnp.float32(count)}

    parts = []
    if blocks:
        starts = rows * jnp.arange(blocks)
        each = jax.lax.map(lambda x: f(at(x[0], rows), x[1]), (starts, keys[:blocks]))
        parts.append(jax.tree.map(lambda v: v.sum(0) * (rows / count), each))
    if rest:
        last = f(at(blocks * rows, rest), keys[blocks])
        parts.append(jax.tree.map(lambda v: v * (rest / count), last))
    return jax.tree.map(lambda *v: sum(v), *parts)
