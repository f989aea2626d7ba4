"""What reads a hyperparameter is followed into every nesting that JAX has."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
import pytest
from jax import lax
from jax.custom_batching import custom_vmap
from jax.sharding import PartitionSpec
from outside import run_of

from aevae import InputError, models, networks, objectives
from aevae.training.check import check_run
from aevae.training.unread import unread

pytestmark = pytest.mark.retraced

# Functions of x, `used` and `idle`, which is passed along: to be read, or not, by what comes after.


@jax.custom_jvp
def with_jvp(x, used, idle):
    return used * jnp.sin(x)


@with_jvp.defjvp
def _(primals, tangents):
    x, used, _ = primals
    return with_jvp(*primals), used * jnp.cos(x) * tangents[0]


@jax.custom_vjp
def with_vjp(x, used, idle):
    return used * jnp.sin(x)


with_vjp.defvjp(
    lambda x, used, idle: (with_vjp(x, used, idle), (x, used)),
    lambda kept, g: (g * kept[1] * jnp.cos(kept[0]), 0.0, 0.0),
)


@jax.custom_vjp
def reversed_gradient(x, used, idle):
    return x


reversed_gradient.defvjp(
    lambda x, used, idle: (x, used), lambda used, g: (-used * g, 0.0, 0.0)
)


def helper(x, used, idle):
    return used * x, idle


mapped = custom_vmap(helper)
mapped.def_vmap(lambda size, batched, *a: (helper(*a), batched[1:]))


def of_scan_carry(x, used, idle):
    def body(carry, t):
        x, level, used, idle = carry
        return (
            x + level * t,
            used,
            used,
            idle,
        ), None  # `used` is met one iteration late

    return lax.scan(body, (x, jnp.zeros(()), used, idle), x)[0][0]


def of_scan_xs(x, used, idle):
    def body(total, t):
        return total + t[0] * t[1], t[2]

    return lax.scan(body, jnp.zeros(()), (x, used + 0 * x, idle + 0 * x))[0]


def of_scan_ys(x, used, idle):
    return lax.scan(lambda c, t: (c, (used * t, idle * t)), 0.0, x)[1][0]


def of_while(x, used, idle):
    def body(carry):
        n, x, idle, level = carry
        return n + level, x * used, idle + n, level

    start = jnp.zeros(()), x, idle, jnp.ones(())
    return lax.while_loop(lambda carry: carry[0] < 3, body, start)[1]


def of_the_number_of_iterations(x, used, idle):
    def body(carry):
        return carry[0] + 1.0, 2 * carry[1], carry[2]

    start = jnp.zeros(()), lax.stop_gradient(x), idle
    return lax.while_loop(lambda c: c[0] < used, body, start)[1]


def of_fori(x, used, idle):
    """With a traced number of iterations, which makes it a while loop."""
    stop = jnp.int32(lax.stop_gradient(x).sum())
    body = lambda i, c: (c[0] + c[1], lax.stop_gradient(used) + c[1], c[2] + c[0])
    start = lax.stop_gradient(x).sum(), jnp.zeros(()), idle
    return lax.fori_loop(0, stop, body, start)[0] + x


def of_fori_scan(x, used, idle):
    return lax.fori_loop(
        0, 3, lambda i, c: (c[0] * c[1], c[1], -c[2]), (x, used, idle)
    )[0]


def of_cond(x, used, idle):
    return lax.cond(x[0] > 0, helper, lambda x, u, i: (x, i + x[0]), x, used, idle)[0]


def of_predicate(x, used, idle):
    return lax.cond(used > 0, lambda x, i: (x, i), lambda x, i: (-x, i), x, idle)[0]


def of_switch(x, used, idle):
    branches = [helper, lambda x, u, i: (x, i), lambda x, u, i: (-x, i)]
    return lax.switch(jnp.int32(x[0]), branches, x, used, idle)[0]


def of_shard_map(x, used, idle):
    mesh, whole = jax.sharding.Mesh(jax.devices()[:1], "i"), PartitionSpec()
    along = PartitionSpec("i")
    mapped = jax.shard_map(
        helper, mesh=mesh, in_specs=(along, whole, whole), out_specs=(along, whole)
    )
    return mapped(x, used, idle)[0]


def of_ref(x, used, idle):
    kept = jax.new_ref(jnp.zeros_like(x))
    kept[...] = used * x
    return kept[...]


def all_together(x, used, idle):
    @jax.jit
    def inner(carry, t):
        x, used, idle = carry
        x, idle = lax.cond(t > 0, helper, lambda x, u, i: (x, -i), x, used, idle)
        return (with_vjp(x, used, idle), *lax.optimization_barrier((used, idle))), t

    scanned = jax.checkpoint(lambda *carry: lax.scan(inner, carry, x)[0])
    return jax.vmap(scanned, (0, None, None))(x[:, None], used, idle)[0][:, 0]


NESTED = {
    "jit": lambda *a: jax.jit(helper)(*a)[0],
    "nested jit": lambda *a: jax.jit(lambda *b: jax.jit(helper)(*b))(*a)[0],
    "scan carry": of_scan_carry,
    "scan xs": of_scan_xs,
    "scan ys": of_scan_ys,
    "cond": of_cond,
    "predicate": of_predicate,
    "switch": of_switch,
    "while": of_while,
    "iterations": of_the_number_of_iterations,
    "fori": of_fori,
    "fori as scan": of_fori_scan,
    "custom_jvp": with_jvp,
    "custom_vjp": with_vjp,
    "checkpoint": lambda *a: jax.checkpoint(helper)(*a)[0],
    "vmap": lambda x, *a: jax.vmap(jax.jit(helper), (0, None, None))(x, *a)[0],
    "shard_map": of_shard_map,
    "barrier": lambda x, *a: x * lax.optimization_barrier(a)[0],
    "map": lambda x, u, i: lax.map(lambda t: jax.jit(helper)(t, u, i)[0], x),
    "ref": of_ref,
    "custom_vmap": lambda *a: mapped(*a)[0],
    "composite": lambda *a: lax.composite(helper, name="own.helper")(*a)[0],
    "together": all_together,
}


def idle_of(f):
    jaxpr = jax.make_jaxpr(f)(jnp.ones(2), jnp.ones(()), jnp.ones(()))
    return unread(jaxpr, 1)


@pytest.mark.parametrize("kind", NESTED)
def test_what_is_passed_along_is_not_read(kind):
    assert idle_of(NESTED[kind]) == [False, False, True]


@pytest.mark.parametrize(
    "kind", [k for k in NESTED if k not in ("while", "composite", "custom_vmap")]
)
def test_nor_where_a_gradient_is_taken(kind):
    step = jax.grad(lambda *a: (a[0] ** 2 * NESTED[kind](*a)).sum())
    assert idle_of(step) == [False, False, True]


def test_what_a_custom_derivative_reads_is_read():
    assert idle_of(reversed_gradient) == [False, True, True]
    step = jax.grad(lambda *a: reversed_gradient(*a).sum())
    assert idle_of(lambda *a: a[0] + jax.jit(step)(*a)) == [False, False, True]


def test_what_is_not_known_is_read():
    """An unknown primitive reads everything, and x + 0 · used counts as read."""
    assert idle_of(lambda x, u, i: x + 0 * u) == [False, False, True]

    def host(*given):
        shape = jax.ShapeDtypeStruct((2,), jnp.float32)
        return jax.pure_callback(lambda x, *_: x, shape, *given)

    assert idle_of(host) == [False, False, False]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gama": 1.0, "beta": 1.0}, "nothing reads hyperparameter gama; .* beta, lr$"),
        (
            {"betta": 1.0, "beta": 1.0},
            r"reads .* betta \(did you mean beta\?\); .* lr$",
        ),
        ({"bata": 1.0}, r"'beta' \(did you mean bata\?\) is neither"),
        ({"noise": 1.0}, r"'beta' is neither .*size\)$"),
        ({"beat_1": 1.0}, "'beta' is neither"),
    ],
)
def test_a_run_whose_helper_is_given_a_name_that_it_does_not_read(change, says, tiny):
    mlps = networks.MLPEncoder((2,)), networks.MLPDecoder((2,))

    def objective(model, params, batch, key, hp):
        @jax.jit
        def inner(params, hp):
            return objectives.beta_vae(model, params, batch, key, hp)

        return jax.checkpoint(inner)(params, hp)

    config = run_of(models.VAE(2, *mlps), objective, change, batch=16)
    with pytest.raises(InputError, match=says):
        check_run(config, tiny)


def test_what_an_optimizer_only_stores_is_not_read(tiny):
    def optimizer(hp):
        stored = {"learning_rate": hp["lr"], "note": hp["note"]}
        adam = lambda learning_rate, note: optax.adam(learning_rate)
        return optax.inject_hyperparams(adam)(**stored)

    model = models.VAE(2, networks.MLPEncoder((2,)), networks.MLPDecoder((2,)))
    config = run_of(model, objectives.beta_vae, {"beta": 1.0, "note": 1.0}, batch=16)
    with pytest.raises(InputError, match="nothing reads hyperparameter note; .* lr$"):
        check_run(dataclasses.replace(config, optimizer=optimizer), tiny)
