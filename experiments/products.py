"""The matrix products and convolutions of one training step: found, counted and timed."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from aevae import data
from aevae.training.check import with_image_shape
from aevae.training.step import init_state, train_step


class Product:
    """A matrix product or convolution of float32 arrays, by its equation in a jaxpr.

    `operations` are its floating-point operations, two for each multiplication and addition.
    """

    def __init__(self, equation):
        left, right = (var.aval.shape for var in equation.invars)
        numbers = equation.params["dimension_numbers"]
        if equation.primitive.name == "dot_general":
            summed = np.prod([left[axis] for axis in numbers[0][0]])
        else:
            summed = np.prod(right) / right[numbers.rhs_spec[0]]
        self.left, self.right, self._equation = list(left), list(right), equation
        self.operations = int(2 * equation.outvars[0].aval.size * summed)
        self._times = jax.jit(self._repeat)

    def _repeat(self, left, right, times):
        """Does the product `times` times; each needs a number of the one before."""

        def body(_, left):
            equation = self._equation
            out = equation.primitive.bind(left, right, **equation.params)
            return left.at[(0,) * left.ndim].set(jnp.clip(out.ravel()[0], -1, 1))

        return jax.lax.fori_loop(0, times, body, left)

    def seconds(self, budget):
        """Seconds that one takes, measured over as many as take half the budget or more."""
        keys = jax.random.split(jax.random.key(0))
        pair = [jax.random.normal(k, s) for k, s in zip(keys, (self.left, self.right))]
        times = 1
        jax.block_until_ready(self._times(*pair, times))
        while True:
            began = time.perf_counter()
            jax.block_until_ready(self._times(*pair, times))
            taken = time.perf_counter() - began
            if taken > budget / 2:
                return taken / times
            times *= 2


def cube(size):
    """The product of two square matrices."""
    square = jax.ShapeDtypeStruct((size, size), jnp.float32)
    ((equation, _),) = equations(jax.make_jaxpr(jnp.matmul)(square, square).jaxpr)
    return Product(equation)


def speed(products, budget):
    """Floating-point operations a second of [(product, times)], one after another."""
    taken = sum(p.seconds(budget) * times for p, times in products)
    return operations(products) / taken


def operations(products):
    """Floating-point operations of [(product, times)]."""
    return sum(product.operations * times for product, times in products)


def of_step(run, dataset):
    """The products of one training step of a run, and how often each is done: [(Product, times)]."""
    run = with_image_shape(run, dataset)
    hp = {name: jnp.float32(value) for name, value in run.hparams.items()}
    key, rows = jax.random.key(0), data.rows(dataset.train, slice(9))

    def start(hp):
        return init_state(run, data.none(None, rows), 0, hp)

    batch = run.binarization(key, data.rows(dataset.train, np.arange(run.batch)))
    state = jax.eval_shape(start, hp)
    traced = jax.make_jaxpr(lambda *args: train_step(run, *args))(state, batch, key, hp)
    found = {}
    for equation, times in equations(traced.jaxpr):
        shapes = (tuple(var.aval.shape) for var in equation.invars)
        params = ((name, str(value)) for name, value in equation.params.items())
        alike = *shapes, *params
        first, before = found.get(alike, (equation, 0))
        found[alike] = first, before + times
    return [(Product(equation), times) for equation, times in found.values()]


def equations(jaxpr, times=1):
    """Every product in a jaxpr and those within it, with how often it is done; a `while` counts once."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            yield equation, times
        turns = equation.params["length"] if equation.primitive.name == "scan" else 1
        for value in equation.params.values():
            for part in value if isinstance(value, (tuple, list)) else (value,):
                part = getattr(part, "jaxpr", part)
                if hasattr(part, "eqns"):
                    yield from equations(part, times * turns)
