"""Networks: encoders, images [B, H, W, C] to features [B, F]; decoders, codes [B, Z] to [B, *shape].

A decoder's last layer has no bias: the model adds one, so that it may start from data. Vectors
[B, P] are images to the networks of dense layers alone.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from aevae import InputError


def _whole(name, values):
    if any(not isinstance(value, int) or value < 1 for value in values):
        raise InputError(f"{name} must be whole numbers of at least 1, not {values}")


def _image(name, shape):
    if len(shape) != 3:
        raise InputError(f"{name} needs images [H, W, C], not vectors of shape {shape}")


# First weights (key, shape, dtype) of dense layers. Biases start at 0.


def lecun_normal(key, shape, dtype=jnp.float32):
    """Variance 1 / fan-in: LeCun et al. (1998)."""
    return nn.initializers.lecun_normal()(key, shape, dtype)


def glorot_uniform(key, shape, dtype=jnp.float32):
    """Variance 2 / (fan-in + fan-out), uniform: Glorot and Bengio (2010)."""
    return nn.initializers.glorot_uniform()(key, shape, dtype)


def he_normal(key, shape, dtype=jnp.float32):
    """Variance 2 / fan-in: He et al. (2015)."""
    return nn.initializers.he_normal()(key, shape, dtype)


def normal(key, shape, dtype=jnp.float32, *, std=0.01):
    """Standard deviation `std` whatever the shape."""
    return nn.initializers.normal(std)(key, shape, dtype)


def hidden(h, widths, activation, kernel=lecun_normal):
    """Dense layers, each with its activation: [B, ...] to [B, F]. No widths, no layer."""
    _whole("widths", widths)
    h = h.reshape(len(h), -1)
    for width in widths:
        h = activation(nn.Dense(width, kernel_init=kernel)(h))
    return h


class MLP(nn.Module):
    """Dense layers [B, ...] to [B, F], and a last one without activation to [B, outputs]."""

    widths: tuple[int, ...]
    activation: Callable = nn.relu
    outputs: int = 1

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(hidden(x, self.widths, self.activation))


class MLPEncoder(nn.Module):
    """Dense layers; `widths=()` is the linear encoder."""

    widths: tuple[int, ...]
    activation: Callable = nn.relu
    kernel: Callable = lecun_normal

    @nn.compact
    def __call__(self, x):
        return hidden(x, self.widths, self.activation, self.kernel)


class MLPDecoder(nn.Module):
    """Dense layers; `widths=()` is the linear decoder."""

    widths: tuple[int, ...]
    activation: Callable = nn.relu
    kernel: Callable = lecun_normal

    @nn.compact
    def __call__(self, z, shape):
        h = hidden(z, self.widths, self.activation, self.kernel)
        return _pixels(h, shape, self.kernel)


def _pixels(h, shape, kernel):
    out = nn.Dense(math.prod(shape), use_bias=False, kernel_init=kernel)(h)
    return out.reshape(-1, *shape)


def gated(h, widths, kernel):
    """Dense layers with gates: (W h + b) · sigmoid(V h + c). Dauphin et al. (2017)."""
    _whole("widths", widths)
    h = h.reshape(len(h), -1)
    for width in widths:
        value, gate = (nn.Dense(width, kernel_init=kernel)(h) for _ in range(2))
        h = value * nn.sigmoid(gate)
    return h


class GatedEncoder(nn.Module):
    """Gated dense layers, as Tomczak and Welling (2018) encode."""

    widths: tuple[int, ...]
    kernel: Callable = lecun_normal

    @nn.compact
    def __call__(self, x):
        return gated(x, self.widths, self.kernel)


class GatedDecoder(nn.Module):
    """Gated dense layers, as Tomczak and Welling (2018) decode."""

    widths: tuple[int, ...]
    kernel: Callable = lecun_normal

    @nn.compact
    def __call__(self, z, shape):
        return _pixels(gated(z, self.widths, self.kernel), shape, self.kernel)


class ConvEncoder(nn.Module):
    """Convolutions of 4x4 with stride 2, then dense layers: Burgess et al. (2018).

    Theirs are 4 of 32 channels for 64x64 pixels, 3 for 32x32, and two dense layers of 256. An image
    of any size is halved, rounding up.
    """

    channels: tuple[int, ...] = (32, 32, 32, 32)
    widths: tuple[int, ...] = (256, 256)
    activation: Callable = nn.relu

    @nn.compact
    def __call__(self, x):
        _whole("channels", self.channels)
        _image("ConvEncoder", x.shape[1:])
        for count in self.channels:
            x = self.activation(nn.Conv(count, (4, 4), strides=2)(x))
        return hidden(x, self.widths, self.activation)


class ConvDecoder(nn.Module):
    """`ConvEncoder` backwards: dense layers, then transposed convolutions of 4x4 with stride 2."""

    channels: tuple[int, ...] = (32, 32, 32, 32)
    widths: tuple[int, ...] = (256, 256)
    activation: Callable = nn.relu

    @nn.compact
    def __call__(self, z, shape):
        _whole("channels", self.channels)
        _image("ConvDecoder", shape)
        sizes = _halves(shape, len(self.channels))
        widths = (*self.widths, math.prod(sizes[-1]) * self.channels[0])
        h = hidden(z, widths, self.activation)
        h = h.reshape(-1, *sizes[-1], self.channels[0])
        for count, (rows, columns) in zip(self.channels[1:], sizes[-2:0:-1]):
            h = nn.ConvTranspose(count, (4, 4), strides=(2, 2))(h)
            h = self.activation(h[:, :rows, :columns])
        last = nn.ConvTranspose(shape[-1], (4, 4), strides=(2, 2), use_bias=False)
        return last(h)[:, : shape[0], : shape[1]]


def _halves(shape, times):
    """[(H, W), (H/2, W/2), ...], rounded up."""
    sizes = [tuple(shape[:2])]
    for _ in range(times):
        sizes.append(tuple(-(-size // 2) for size in sizes[-1]))
    return sizes


class Residual(nn.Module):
    """h + two 3x3 convolutions of its activation: He et al. (2016), without normalisation.

    The second starts at 0, so that the block starts as the identity.
    """

    activation: Callable = nn.relu

    @nn.compact
    def __call__(self, h):
        out = nn.Conv(h.shape[-1], (3, 3))(self.activation(h))
        zero = nn.initializers.zeros
        second = nn.Conv(h.shape[-1], (3, 3), kernel_init=zero)
        return h + second(self.activation(out))


class ResNetEncoder(nn.Module):
    """A residual block at each resolution, halved by convolutions; then dense layers."""

    channels: tuple[int, ...] = (16, 32)
    widths: tuple[int, ...] = (128,)
    activation: Callable = nn.relu

    @nn.compact
    def __call__(self, x):
        _whole("channels", self.channels)
        _image("ResNetEncoder", x.shape[1:])
        for count in self.channels:
            x = Residual(self.activation)(nn.Conv(count, (4, 4), strides=2)(x))
        return hidden(self.activation(x), self.widths, self.activation)


class ResNetDecoder(nn.Module):
    """`ResNetEncoder` backwards: residual blocks, doubled by transposed convolutions."""

    channels: tuple[int, ...] = (32, 16)
    widths: tuple[int, ...] = (128,)
    activation: Callable = nn.relu

    @nn.compact
    def __call__(self, z, shape):
        _whole("channels", self.channels)
        _image("ResNetDecoder", shape)
        sizes = _halves(shape, len(self.channels))
        h = hidden(z, self.widths, self.activation)
        h = nn.Dense(math.prod(sizes[-1]) * self.channels[0])(h)
        h = h.reshape(-1, *sizes[-1], self.channels[0])
        for count, (rows, columns) in zip(self.channels, sizes[-2::-1]):
            h = Residual(self.activation)(h)
            h = nn.ConvTranspose(count, (4, 4), strides=(2, 2))(self.activation(h))
            h = h[:, :rows, :columns]
        return nn.Conv(shape[-1], (3, 3), use_bias=False)(self.activation(h))


class GRUEncoder(nn.Module):
    """A gated recurrent unit (Cho et al., 2014) that reads an image row by row: its last state."""

    width: int = 64

    @nn.compact
    def __call__(self, x):
        _image("GRUEncoder", x.shape[1:])
        rows = x.reshape(*x.shape[:2], -1)
        carry, _ = nn.RNN(nn.GRUCell(self.width), return_carry=True)(rows)
        return carry


class GRUDecoder(nn.Module):
    """A gated recurrent unit that is given the code at every row, and writes the row."""

    width: int = 64

    @nn.compact
    def __call__(self, z, shape):
        _image("GRUDecoder", shape)
        every = jnp.broadcast_to(z[:, None], (len(z), shape[0], z.shape[-1]))
        h = nn.RNN(nn.GRUCell(self.width))(every)
        out = nn.Dense(shape[1] * shape[2], use_bias=False)(h)
        return out.reshape(-1, *shape)


class Attention(nn.Module):
    """A transformer block on tokens [B, N, D]: Vaswani et al. (2017), normalised before."""

    heads: int

    @nn.compact
    def __call__(self, h):
        # No biases: the keys' has no effect, so that Adam would move it by rounding alone.
        attention = nn.MultiHeadDotProductAttention(self.heads, use_bias=False)
        h += attention(nn.LayerNorm()(h))
        wide = nn.gelu(nn.Dense(4 * h.shape[-1])(nn.LayerNorm()(h)))
        return h + nn.Dense(h.shape[-1])(wide)


class PatchEncoder(nn.Module):
    """Square patches as tokens, attention among them, and their mean: Dosovitskiy et al. (2021)."""

    patch: int = 4
    width: int = 64
    depth: int = 2
    heads: int = 4

    @nn.compact
    def __call__(self, x):
        count = _patches(x.shape[1:], self.patch)
        h = nn.Conv(self.width, (self.patch,) * 2, strides=self.patch)(x)
        h = h.reshape(len(x), -1, self.width)
        place = nn.initializers.normal(0.02)
        h += self.param("place", place, (1, count, self.width))
        for _ in range(self.depth):
            h = Attention(self.heads)(h)
        return nn.LayerNorm()(h).mean(1)


class PatchDecoder(nn.Module):
    """A token for each patch, made of the code and its place; attention; and the patches' pixels."""

    patch: int = 4
    width: int = 64
    depth: int = 2
    heads: int = 4

    @nn.compact
    def __call__(self, z, shape):
        count = _patches(shape, self.patch)
        place = nn.initializers.normal(0.02)
        h = nn.Dense(count * self.width)(z).reshape(len(z), count, self.width)
        h += self.param("place", place, (1, count, self.width))
        for _ in range(self.depth):
            h = Attention(self.heads)(h)
        side, rows = self.patch, shape[0] // self.patch
        out = nn.Dense(side * side * shape[2], use_bias=False)(nn.LayerNorm()(h))
        out = out.reshape(len(z), rows, -1, side, side, shape[2])
        return out.swapaxes(2, 3).reshape(-1, *shape)


def _patches(shape, side):
    _image("a network of patches", shape)
    if shape[0] % side or shape[1] % side:
        raise InputError(
            f"patches of {side} do not fill images of {shape[0]}x{shape[1]}: take a divisor"
        )
    return (shape[0] // side) * (shape[1] // side)
