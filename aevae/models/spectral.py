"""Spectral normalization: a decoder whose weights are divided by their largest singular values."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.lax import stop_gradient

from aevae import InputError

TO_HEADS = "query", "key", "value"  # layers from [D] to [heads, D / heads], in Flax
SQUARINGS = 20  # whatever the gaps, they leave a relative error below log(N) / 2^23


def spectral_norm(matrix):
    """The largest singular value of a matrix, and its gradient, to float32's rounding.

    It is ||W v|| at the first right singular vector v, from the smaller of the Gram matrices. To
    first order in W the norm does not feel how v turns, so v has no gradient: that of an
    eigenvector would be infinite where singular values are equal. At 0 the gradient is 0.
    """
    w = matrix.T if matrix.shape[0] < matrix.shape[1] else matrix
    square = ((w @ first_right(stop_gradient(w))) ** 2).sum()
    zero = square == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, square)))


def first_right(w):
    """A first right singular vector of a matrix [M, N], by repeated squaring of its Gram matrix.

    The powers go to a multiple of the projection on all first ones. JAX's `eigh` of a batch waits
    on the CPU for threads that may wait likewise, so that a group of runs on two devices can hang.
    """

    def scaled(gram):
        trace = jnp.trace(gram)
        return gram / jnp.where(trace == 0, 1.0, trace)

    power = jax.lax.fori_loop(
        0, SQUARINGS, lambda _, gram: scaled(gram @ gram), scaled(w.T @ w)
    )
    column = power[jnp.diag(power).argmax()]
    square = (column**2).sum()
    return column / jnp.sqrt(jnp.where(square == 0, 1.0, square))


def normalized(variables):
    """A module's variables, each kernel divided by its spectral norm; InputError without any."""
    found = []

    def divided(path, leaf):
        *_, layer, name = ("", *(key.key for key in path))
        if name != "kernel":
            return leaf
        found.append(layer)
        # As a matrix: its rows are all inputs of an output.
        outputs = leaf.shape[1:] if layer in TO_HEADS else leaf.shape[-1:]
        norm = spectral_norm(leaf.reshape(-1, math.prod(outputs)))
        return leaf / jnp.where(norm == 0, 1.0, norm)

    made = jax.tree_util.tree_map_with_path(divided, variables)
    if not found:
        raise InputError(
            "SpectralDecoder needs a decoder with weights named kernel, as those of Flax's layers "
            f"are: it has {', '.join(variables.get('params', {})) or 'no parameters'}"
        )
    return made


class SpectralDecoder(nn.Module):
    """A decoder with spectral norms of 1, for RAE-SN: Ghosh et al. (2020), Miyato et al. (2018).

    Every kernel of `decoder`, the last layer's too, acts divided by its largest singular value; a
    convolution's is that of its kernel as a matrix [..., channels out]. The norm is exact at each
    step and is part of the function that is differentiated, where the papers iterate and keep a
    state. Biases, and a kernel that is 0, are left as they are.
    """

    decoder: nn.Module

    @nn.compact
    def __call__(self, z, shape):
        if self.is_initializing():
            self.decoder(z, shape)
        unbound, variables = self.decoder.unbind()
        return unbound.apply(normalized(variables), z, shape)
