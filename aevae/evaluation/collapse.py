"""Posterior collapse: which latents are active, how much the decoder uses each, and where each dies."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aevae.evaluation.codes import block_of, rows_of
from aevae.evaluation.contract import bound, measure, moments, rates, scale, vector
from aevae.evaluation.work import standard_error
from aevae.models.distributions import per_example

KINDS = "passive", "mixed", "active"  # by their numbers in latents.csv
NEAR = 0.1  # to 0 or 1 is a mean variance, and to 0 the variance of variances
USED = 0.01  # nats of distortion that a latent which the decoder uses is worth
ALIVE = 0.01  # nats of rate of a latent that has not collapsed


@measure(bound, vector, moments, rates, scale, default=lambda facts: False)
def collapse(work):
    """Counts active, mixed and passive latents, and those that the decoder uses; of each what says so.

    By the posterior's variance v over the prior's, on the test examples: where its variance is below
    0.1, a latent is active if E[v] <= 0.1 and passive if E[v] is within 0.1 of 1; else it is mixed:
    Bonheme and Grzes (2021). The decoder uses a latent whose permutation over the examples raises
    the distortion by more than 0.01 nats and two standard errors. See `replace`.
    """
    held = work.held("test")
    codes = work.encoded(held, 1)
    z = codes["z"]
    order = np.random.default_rng(0).permutation(z.shape[1])
    other = np.empty_like(z)
    other[:, order] = z[:, np.roll(order, 1)]  # no example has its own
    given = *work.given, *map(work.members.spread, (z, other))
    shapes = jax.ShapeDtypeStruct(z.shape[1:], jnp.float32)
    shapes = dict.fromkeys(("prior", "permuted", "image", "std"), shapes)
    units = rows_of(held)[1] * z.shape[-1]

    def f(carry, given, shared):
        return replace(work.config, work.key(42), carry, given, shared)

    found = work.through(f, shapes, units, given, held)
    for i in range(len(z)):
        own = {name: v[i].astype(np.float64) for name, v in found.items()}
        v = (np.float64(codes["q"].std[i]) / own["std"]) ** 2
        kind = kinds(v)
        permuted = own["permuted"].mean(0)
        errors = [standard_error(each) for each in own["permuted"].T]
        counts = {f"{n}_latents": (kind == k).sum() for k, n in enumerate(KINDS)}
        of_latents = {
            "rate": codes["rate"][i].mean(0, dtype=np.float64),
            "kind": kind,
            "posterior_variance": v.mean(0),
            "variance_of_variance": v.var(0),
            "used_permuted": permuted,
            "used_permuted_error": errors,
            "used_prior": own["prior"].mean(0),
            "image_change": own["image"].mean(0),
        }
        used = sum(map(is_used, permuted, errors))
        yield counts | {"used_latents": used}, of_latents


def is_used(cost, error):
    """Whether the decoder uses a latent: the cost of its permutation is no noise, nor next to none."""
    return cost > max(USED, 2 * (error or 0.0))


def kinds(variances):
    """The kind of each latent, its place in KINDS, from variances [N, Z] over the prior's."""
    mean, steady = variances.mean(0), variances.var(0) < NEAR
    passive, active = abs(mean - 1) <= NEAR, mean <= NEAR
    return np.where(steady & active, 2, np.where(steady & passive, 0, 1))


def replace(config, key, carry, given, shared):
    """Replaces one latent of each code at a time, and finds what that does; by blocks.

    `given` is (params, step, hp, z, other), with codes z [N, Z] of the examples and those of other
    ones. For each example and latent, [N, Z]: by how many nats the distortion rises if it is drawn
    from the prior (`prior`), and if it is that of `other` (`permuted`); the squared change of the
    mean image then, summed over pixels (`image`); the prior's deviation (`std`). A unit is a latent
    of a block.
    """
    (params, step, hp, z, other), (held, start, stop) = given, shared
    hp, model = config.schedule(hp, step), config.model
    rows, _ = rows_of(held)
    latents = z.shape[-1]

    def unit(u, carry):
        block, latent = u // latents, u % latents
        first, batch = block_of(held, block, rows)
        own, others = (jax.lax.dynamic_slice_in_dim(v, first, rows) for v in (z, other))
        p = model.apply(params, batch, method="prior")
        own_key = jax.random.fold_in(jax.random.fold_in(key, block), latent)
        replaced = (jnp.arange(latents) == latent)[None]

        def decoded(z):
            x = model.apply(params, z, batch, hp, method="decode")
            return x.log_prob(batch["image"]), x.mean

        log_px, mean = decoded(own)
        of_prior, _ = decoded(jnp.where(replaced, p.sample(own_key, rows), own))
        permuted, changed = decoded(jnp.where(replaced, others, own))
        std = jnp.broadcast_to(p.std, (rows, latents))[:, latent]
        new = {
            "prior": log_px - of_prior,
            "permuted": log_px - permuted,
            "image": per_example((mean - changed) ** 2),
            "std": std,
        }

        def written(old, column):
            return jax.lax.dynamic_update_slice(old, column[:, None], (first, latent))

        return jax.tree.map(written, carry, new)

    return jax.lax.fori_loop(start, stop, unit, carry)


class Death(NamedTuple):
    """Where along beta the r-th latent by rate collapses."""

    rank: int  # r, from 1 on
    alive: float | None  # the last beta at which it has a rate; None if there is none
    dead: float | None  # the next one; None if there is none
    estimate: float | None  # between them, where its rate, a line in log beta, is 0


def along_beta(rows, others=()):
    """Gives {point: `deaths`} from rows of latents.csv, where more than one beta has a rate.

    A point is of the values of the columns `others`; what else tells runs apart is the seed.
    """
    found = {}
    for row in rows:
        if row.get("rate") is not None and row.get("beta") is not None:
            runs = found.setdefault(tuple(row[n] for n in others), {})
            own = runs.setdefault(row["beta"], {}).setdefault(row["run"], [])
            own.append(row["rate"])
    return {
        point: deaths({beta: np.array([*own.values()]) for beta, own in runs.items()})
        for point, runs in found.items()
        if len(runs) > 1
    }


def deaths(rates):
    """Where each latent collapses along beta, from {beta: rates [runs, Z]}: a `Death` for each.

    Latents have no names across runs: the r-th is that of the r-th highest rate in each run, whose
    rate is the mean over runs. It is alive above 0.01 nats. The estimate goes through its last two
    points that are alive, which is exact in a linear VAE of known sigma², whose rates are
    ½ log(l / (beta sigma²)). Beta = 0 has no logarithm: no line goes through it, and there is no
    estimate beside it.
    """
    betas = sorted(rates)
    means = [np.sort(rates[beta], axis=1)[:, ::-1].mean(0) for beta in betas]
    found, least = [], 0.0
    for rank, own in reversed([*enumerate(np.transpose(means), 1)]):
        death = _death(rank, betas, own)
        if death.estimate is not None:  # none before a latent of less rate
            least = max(least, death.estimate)
            death = death._replace(estimate=least)
        found.append(death)
    return found[::-1]


def _death(rank, betas, means):
    alive = np.flatnonzero(means > ALIVE)
    if not len(alive):
        return Death(rank, None, betas[0], None)
    last = alive[-1]
    if last + 1 == len(betas):
        return Death(rank, betas[last], None, None)
    low, high = betas[last], betas[last + 1]
    if low <= 0:
        return Death(rank, low, high, None)
    estimate = np.sqrt(low * high)
    if len(alive) > 1 and betas[alive[-2]] > 0:
        before = alive[-2]
        slope = (means[last] - means[before]) / np.log(low / betas[before])
        if slope < 0:
            estimate = np.clip(low * np.exp(-means[last] / slope), low, high)
    return Death(rank, low, high, float(estimate))
