"""What a trained run is worth: means over a whole split. Nothing here knows that runs are batched."""

import jax
import jax.numpy as jnp

from aevae.distributions import Normal, log_mean_exp
from aevae.objectives import bound_terms

ROWS = 500  # examples that go through a network at a time
SAMPLES = 64  # of the importance-weighted bound in the results
ACTIVE = 0.01  # Burda et al. (2016), section 5.2


def split(config, state, data, key, hp):
    """The objective's own metrics on a split, `loss` among them, at the schedule's present point.

    `data` are prepared. All runs and epochs are given one `key`, and so meet the same noise.
    """
    hp = config.schedule(hp, state.step)

    def metrics(batch, key):
        loss, terms = config.objective(config.model, state.params, batch, key, hp)
        return terms | {"loss": loss}

    return _mean(metrics, data, key)


def results(config, state, data, key, hp):
    """What a row of the results says of a split; nats.

    Where the objective has a bound: `distortion` = E[-log p(x|z)] over 64 draws of z,
    `rate` = KL(q(z|x) || p(z)), `elbo` = -(distortion + rate), `iwae` the bound of Burda et al.
    (2016), eq. 8, with those draws, and `active_units` the number of latents whose posterior mean
    varies by more than 0.01 over the data (ibid., section 5.2), where q is a diagonal Gaussian.
    Elsewhere the objective's own terms.
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

    terms = _mean(bounds, data, bound_key)
    if "mean" in terms:
        variance = terms.pop("square") - terms.pop("mean") ** 2
        terms["active_units"] = (variance > ACTIVE).sum()
    return terms


def _mean(f, data, key):
    """The mean over the examples of `f(batch, key)`, itself a mean over its batch."""
    count = len(data["image"])
    blocks, rest = divmod(count, ROWS)
    keys = jax.random.split(key, blocks + 1)

    def at(start, rows):
        cut = {
            name: jax.lax.dynamic_slice_in_dim(values, start, rows)
            for name, values in data.items()
        }
        return cut | {"size": jnp.float32(count)}

    parts = []
    if blocks:
        each = jax.lax.map(lambda i: f(at(i * ROWS, ROWS), keys[i]), jnp.arange(blocks))
        parts.append(jax.tree.map(lambda v: v.sum(0) * (ROWS / count), each))
    if rest:
        last = f(at(blocks * ROWS, rest), keys[blocks])
        parts.append(jax.tree.map(lambda v: v * (rest / count), last))
    return jax.tree.map(lambda *v: sum(v), *parts)
