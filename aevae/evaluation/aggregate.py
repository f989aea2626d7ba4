"""The aggregate posterior q(z) = 1/N sum_n q(z|x_n), exact, and the parts of the rate that it gives."""

import math
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from aevae import objectives
from aevae.evaluation.codes import put
from aevae.evaluation.contract import bound, independent, measure, moments, rates
from aevae.evaluation.work import standard_error
from aevae.models import Draw

CODES = 2_000  # that the aggregate posterior is evaluated at
FLOATS = 4_000_000  # between codes and posteriors at a time


def _fits(value, facts):
    """A check: no minibatches, or of two examples at least and of all at most."""
    count = len(facts.dataset.test["image"])
    if value == 0 or (type(value) is int and 2 <= value <= count):
        return None
    return f"must be 0, or a whole number from 2 to the {count} test examples"


@measure(bound, independent, moments, rates)
def latents(
    work,
    *,
    minibatch: Annotated[
        int,
        "how large the batches are that total correlation is estimated from as well, "
        "beside the exact one; 0: none",
        _fits,
    ] = 0,
):
    """Measures the rate in its three parts, by the exact aggregate posterior, and of each latent.

    MI = E[log q(z|x) - log q(z)], TC = E[log q(z) - sum_z log q(z_z)], and
    DWKL = E[sum_z log q(z_z) - log p(z)]: Chen et al. (2018), eq. 2; nats. Of each latent its
    rate, and the variance of its mean over the data, by which it is active.
    """
    held = work.held("test")
    codes = work.encoded(held, 1)
    q, z, mean = codes["q"], codes["z"], np.asarray(codes["q"].mean)
    chosen = z[:, :CODES]
    units = aggregate_units(q, chosen)
    shapes = dict.fromkeys(
        ("log_q", "log_each"), jax.ShapeDtypeStruct(chosen.shape[1:2], jnp.float32)
    )
    given = jax.tree.map(work.members.spread, (q, chosen))
    found = work.through(aggregate, shapes, units, given)
    for i in range(len(mean)):
        log_qz, log_pz = (np.float64(codes[n][i, :CODES]) for n in ("log_qz", "log_pz"))
        log_q, log_each = (np.float64(found[n][i]) for n in ("log_q", "log_each"))
        information = log_qz - log_q
        rate_of = codes["rate"][i].astype(np.float64)
        rate, error = rate_of.sum(1).mean(), standard_error(information) or 0.0
        most = math.log(len(mean[i]))
        _must(information.max() <= most + 1e-3, "mutual information above log N")
        _must(
            information.mean() <= rate_of.sum(1)[:CODES].mean() + 5 * error + 1e-3,
            "mutual information above the rate",
        )
        values = {
            "mutual_information": information.mean(),
            "mutual_information_error": error,
            "total_correlation": (log_q - log_each).mean(),
            "dimension_kl": (log_each - log_pz).mean(),
            "rate_per_latent": rate / rate_of.shape[1],
        }
        if minibatch:
            values |= _estimates(codes, i, minibatch)
        variance = mean[i].var(0, dtype=np.float64)
        yield values, {"rate": rate_of.mean(0), "mean_variance": variance}


def _must(holds, what):
    if not holds:
        raise AssertionError(f"{what}: an evaluation is wrong")


def _estimates(codes, i, size):
    """Total correlation and mutual information of run i by minibatches of the same codes."""
    own = {n: codes[n] for n in ("q", "z", "log_qz", "log_pz")}
    own = jax.tree.map(lambda v: v[i], own)
    count = len(own["z"])
    found = {}

    @jax.jit
    def parts(own, log_weights):
        terms = None, own["log_pz"], own["log_qz"], None
        draw = Draw(own["z"], *terms, own["q"], None, None)
        return objectives.decomposition(draw, log_weights)

    order = np.random.default_rng(0).permutation(count)
    batches = order[: count // size * size].reshape(-1, size)
    for weights in (objectives.stratified, objectives.weighted):
        table = weights(size, count)
        each = [parts(jax.tree.map(lambda v, b=b: v[b], own), table) for b in batches]
        for name in ("mutual_information", "total_correlation"):
            value = np.mean([float(e[name]) for e in each])
            found[f"{name}_{weights.__name__}_{size}"] = value
    return found


def aggregate(carry, given, shared):
    """Finds log q(z) and sum_z log q(z_z) of codes z [S, Z], by all N posteriors; nats.

    q(z) = 1/N sum_n q(z|x_n), exact, of the whole set: no minibatch stands for it. `given` is
    (q [N, Z], z [S, Z]). A unit is a block of codes.
    """
    (q, z), (start, stop) = given, shared
    rows, _ = _codes_at_once(q, z)
    count = len(jax.tree.leaves(q)[0])
    every = jax.tree.map(lambda v: v[None], q)

    def unit(block, carry):
        first = jnp.minimum(block * rows, len(z) - rows)
        own = jax.lax.dynamic_slice_in_dim(z, first, rows)
        each = every.log_prob_each(own[:, None])
        both = {
            "log_q": jax.nn.logsumexp(each.sum(-1), axis=1) - math.log(count),
            "log_each": (jax.nn.logsumexp(each, axis=1) - math.log(count)).sum(-1),
        }
        return jax.tree.map(lambda old, new: put(old, new, first), carry, both)

    return jax.lax.fori_loop(start, stop, unit, carry)


def _codes_at_once(q, z):
    count, latent = z.shape[-2:]  # there may be an axis of runs before
    examples = jax.tree.leaves(q)[0].shape[-2]
    rows = min(count, max(1, FLOATS // (examples * latent)))
    return rows, -(-count // rows)


def aggregate_units(q, z):
    """The number of units of `aggregate`, for one run's or several runs' posteriors and codes."""
    return _codes_at_once(q, z)[1]
