"""Where the bound is lost: the approximation gap and the amortization gap of trained runs.

    log p(x) - ELBO = (log p(x) - ELBO of q*) + (ELBO of q* - ELBO of the encoder's q)

The first is what the family of q costs, at its best q* for each x; the second what it costs that one
encoder serves all x: Cremer et al. (2018).
"""

import functools
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aevae.evaluation.codes import block_of, put, rows_of
from aevae.evaluation.contract import (
    at_least,
    bound,
    independent,
    measure,
    refinable,
    vector,
)
from aevae.evaluation.likelihood import DRAWS, SAMPLES, TURN
from aevae.evaluation.work import standard_error
from aevae.models.distributions import log_mean_exp

PER_STEP = 8  # codes of each example that a gradient is the mean of
LR = 0.05  # of Adam at the first step; it falls to 0 along a cosine
CHOSEN_BY = 100  # codes by which the better of two posteriors is chosen

NEEDS = bound, vector, independent, refinable
STEPS = Annotated[int, "steps that refine each posterior", at_least(1)]
EXAMPLES = Annotated[int, "examples of which posteriors are refined", at_least(1)]


@measure(*NEEDS, default=lambda facts: False)
def inference_gap(
    work, *, k: SAMPLES = 5000, gap_steps: STEPS = 500, gap_examples: EXAMPLES = 1000
):
    """Measures the approximation gap and the amortization gap on the first test examples; nats.

    Each with its standard error over examples, and what they are differences of: `log_px_K`, the
    bound with K samples of both posteriors, and `refined_elbo`. See `refine`.
    """
    yield from _gaps(work, "", "test", 40, k, gap_steps, gap_examples)


@measure(*NEEDS, default=lambda facts: False)
def train_inference_gap(
    work, *, k: SAMPLES = 5000, gap_steps: STEPS = 500, gap_examples: EXAMPLES = 1000
):
    """Measures the same on the first training examples, for which the encoder was trained."""
    yield from _gaps(work, "train_", "train", 41, k, gap_steps, gap_examples)


def _gaps(work, prefix, part, use, k, steps, examples):
    held = work.held(part, examples)
    of, units = refining(work.config, steps, k, held)

    def f(carry, given, shared):
        return refine(work.config, steps, k, work.key(use), carry, given, shared)

    found = work.through(f, of(work.shapes()), units, work.given, held)
    for i in range(len(work.group.runs)):
        own, refined, log_px = (
            np.float64(found[name][i]) for name in ("own", "refined", "log_px")
        )
        values = {
            f"log_px_{k}": log_px,
            "refined_elbo": refined,
            "inference_gap": log_px - own,
            "approximation_gap": log_px - refined,
            "amortization_gap": refined - own,
        }
        row = {}
        for name, each in values.items():
            row[f"{prefix}{name}"] = each.mean()
            row[f"{prefix}{name}_error"] = standard_error(each)
        yield row | {f"{prefix}gap_examples": len(own)}


def refine(config, steps, k, key, carry, given, shared):
    """Refines q(z|x) of each example by gradients, and estimates its ELBO and log p(x); by blocks.

    From the encoder's q, `steps` of Adam on the arrays of each example's q, such as its mean and
    log-deviation, up the gradient of log p(x, z) - log q(z) at PER_STEP draws z, without that of
    log q(z) at a fixed z, whose mean is 0: at an exact posterior no noise is left (Roeder et al.,
    2017). Of the refined q and the encoder's, the one of the higher ELBO by CHOSEN_BY draws is
    `refined`.

    Other draws then give `own` and `refined`, the ELBOs of both by K / 2 draws each of the same
    noise, and by all K of them

        log_px = log 1/K sum_k p(x, z_k) / (½ own(z_k) + ½ refined(z_k)),

    a lower bound on log p(x) in expectation (the balance heuristic: Veach and Guibas, 1995); nats.
    A unit is a step of a block, or its next DRAWS draws of each.
    """
    (params, step, hp), (held, start, stop) = given, shared
    hp, model = config.schedule(hp, step), config.model
    rows, _ = rows_of(held)
    half, turns = _turns(k)

    def unit(u, carry):
        block, t = u // (steps + turns), u % (steps + turns)
        first, batch = block_of(held, block, rows)
        own_key = jax.random.fold_in(jax.random.fold_in(key, block), t)

        def log_joint(z):
            return model.apply(params, z, batch, hp, method="log_joint")

        def begin(carry):
            q = _own(model, params, batch)
            return carry | {"own_q": q, "q": q, "adam": _adam(q, steps)[1]}

        def climb(carry):
            carry = jax.lax.cond(t == 0, begin, lambda carry: carry, carry)
            keys = jax.random.split(own_key, PER_STEP)

            def loss(q):
                still = jax.lax.stop_gradient(q)

                def of(key):
                    z = q.sample(key)
                    return log_joint(z) - still.log_prob(z)

                return -jax.vmap(of)(keys).mean(0).sum()

            optimizer, _ = _adam(carry["q"], steps)
            slope = jax.grad(loss)(carry["q"])
            moves, adam = optimizer.update(slope, carry["adam"])
            return carry | {"q": optax.apply_updates(carry["q"], moves), "adam": adam}

        def weights(both, key):
            """log p(x, z) - log q(z) [2, rows] of a z of each q, and so with their mixture's q."""
            z = jax.vmap(lambda q: q.sample(key))(both)  # of the same noise
            log_p = jax.vmap(log_joint)(z)
            log_q = jax.vmap(lambda z: jax.vmap(lambda q: q.log_prob(z))(both))(z)
            own = log_p - jnp.stack([log_q[0, 0], log_q[1, 1]])
            return own, log_p - log_mean_exp(log_q.swapaxes(0, 1))

        def choose(carry):
            both = carry["own_q"], carry["q"]
            keys = jax.random.split(jax.random.fold_in(own_key, 1), CHOSEN_BY)
            of = functools.partial(weights, _stacked(*both))
            elbo = jax.lax.map(lambda key: of(key)[0], keys, batch_size=TURN).mean(0)
            better = elbo[1] > elbo[0]  # where it diverged it is not

            def pick(own, new):
                shape = better.shape + (1,) * (new.ndim - 1)
                return jnp.where(better.reshape(shape), new, own)

            sums = {"elbos": jnp.zeros((2, rows)), "mixed": jnp.full(rows, -jnp.inf)}
            return carry | {"q": jax.tree.map(pick, *both)} | sums

        def estimate(carry):
            turn = t - steps
            carry = jax.lax.cond(turn == 0, choose, lambda carry: carry, carry)
            of = functools.partial(weights, _stacked(carry["own_q"], carry["q"]))
            keys = jax.random.split(jax.random.fold_in(own_key, 2), DRAWS)
            own, mixed = jax.lax.map(of, keys, batch_size=TURN)
            counted = (turn * DRAWS + jnp.arange(DRAWS) < half)[:, None, None]
            elbos = carry["elbos"] + jnp.where(counted, own, 0).sum(0)
            mixed = jax.nn.logsumexp(jnp.where(counted, mixed, -jnp.inf), axis=(0, 1))
            mixed = jnp.logaddexp(carry["mixed"], mixed)
            now = {"log_px": mixed - jnp.log(2.0 * half)}
            now |= {"own": elbos[0] / half, "refined": elbos[1] / half}
            carry = carry | {"elbos": elbos, "mixed": mixed}
            return carry | {name: put(carry[name], v, first) for name, v in now.items()}

        return jax.lax.cond(t < steps, climb, estimate, carry)

    return jax.lax.fori_loop(start, stop, unit, carry)


def refining(config, steps, k, held):
    """A function of what a run is given to the shapes of `refine`'s carry, and its units."""
    rows, blocks = rows_of(held)

    def of(given):
        params, _, _ = given
        _, batch = block_of(held, 0, rows)
        q = _own(config.model, params, batch)
        names = ("own", "refined", "log_px")
        carry = {name: jnp.zeros(len(held["image"])) for name in names}
        carry |= {"elbos": jnp.zeros((2, rows)), "mixed": jnp.zeros(rows)}
        return carry | {"own_q": q, "q": q, "adam": _adam(q, steps)[1]}

    units = blocks * (steps + _turns(k)[1])
    return functools.partial(jax.eval_shape, of), units


def _turns(k):
    """Half of K samples, rounded up, and the units that they take."""
    half = -(-k // 2)
    return half, -(-half // DRAWS)


def _own(model, params, batch):
    """The encoder's q, a row of arrays an example where examples share them."""
    q = model.apply(params, batch, method="encode")
    rows = len(batch["image"])
    return jax.tree.map(lambda v: jnp.broadcast_to(v, (rows, *v.shape[1:])), q)


def _stacked(*trees):
    return jax.tree.map(lambda *v: jnp.stack(v), *trees)


def _adam(q, steps):
    """Adam and its first state."""
    optimizer = optax.adam(optax.cosine_decay_schedule(LR, steps))
    return optimizer, optimizer.init(q)
