"""Networks: encoders of images into features, decoders of codes into images, and initializers.

An encoder maps images [B, H, W, C] to features [B, F]: `encoder(x)`. A decoder maps codes [B, Z] to
[B, *shape]: `decoder(z, shape)`. Its last layer has no bias, since the model adds one that may be
initialized from data. There are dense (MLP, Gated), convolutional (Conv, ResNet), recurrent (GRU)
and transformer (Patch) networks; only the dense ones take vectors [B, P] for images.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from aevae import InputError


def _require_counts(name, values):
    if any(not isinstance(value, int) or value < 1 for value in values):
        raise InputError(f"{name} must be whole numbers of at least 1, not {values}")


def _require_image(name, shape):
    if len(shape) != 3:
        raise InputError(
            f"{name} needs images [H, W, C], not vectors of shape {shape}: vectors need an MLP or "
            "gated network"
        )


# Initializers of the weights of dense layers, (key, shape, dtype) -> array. Biases start at 0.


def lecun_normal(key, shape, dtype=jnp.float32):
    """Initializes weights as Gaussians of variance 1 / fan-in: LeCun et al. (1998)."""
    return nn.initializers.lecun_normal()(key, shape, dtype)


def glorot_uniform(key, shape, dtype=jnp.float32):
    """Initializes weights as uniform of variance 2 / (fan-in + fan-out): Glorot and Bengio (2010)."""
    return nn.initializers.glorot_uniform()(key, shape, dtype)


def he_normal(key, shape, dtype=jnp.float32):
    """Initializes weights as Gaussians of variance 2 / fan-in: He et al. (2015)."""
    return nn.initializers.he_normal()(key, shape, dtype)


def normal(key, shape, dtype=jnp.float32, *, std=0.01):
    """Initializes weights as Gaussians of standard deviation `std`, whatever the shape."""
    return nn.initializers.normal(std)(key, shape, dtype)


def hidden(h, widths, activation, kernel=lecun_normal):
    """Dense layers with an activation after each: [B, ...] to [B, F]. No widths means no layer."""
    _require_counts("widths", widths)
    h = h.reshape(len(h), -1)
    for width in widths:
        h = activation(nn.Dense(width, kernel_init=kernel)(h))
    return h


class MLP(nn.Module):
    """A multilayer perceptron, [B, ...] to [B, outputs]; no activation after the last layer."""

    widths: tuple[int, ...]
    activation: Callable = nn.relu
    outputs: int = 1

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(hidden(x, self.widths, self.activation))


class MLPEncoder(nn.Module):
    """An encoder of dense layers; `widths=()` is the linear encoder."""

    widths: tuple[int, ...]
    activation: Callable = nn.relu
    kernel: Callable = lecun_normal

    @nn.compact
    def __call__(self, x):
        return hidden(x, self.widths, self.activation, self.kernel)


class MLPDecoder(nn.Module):
    """A decoder of dense layers; `widths=()` is the linear decoder."""

    widths: tuple[int, ...]
    activation: Callable = nn.relu
    kernel: Callable = lecun_normal

    @nn.compact
    def __call__(self, z, shape):
        h = hidden(z, self.widths, self.activation, self.kernel)
        return _output(h, shape, self.kernel)


def _output(h, shape, kernel):
    """The last layer of a dense decoder, [B, F] to [B, *shape]."""
    out = nn.Dense(math.prod(shape), use_bias=False, kernel_init=kernel)(h)
    return out.reshape(-1, *shape)


def gated(h, widths, kernel):
    """Gated dense layers, (W h + b) · sigmoid(V h + c) each: Dauphin et al. (2017)."""
    _require_counts("widths", widths)
    h = h.reshape(len(h), -1)
    for width in widths:
        value, gate = (nn.Dense(width, kernel_init=kernel)(h) for _ in range(2))
        h = value * nn.sigmoid(gate)
    return h


class GatedEncoder(nn.Module):
    """The encoder of gated dense layers of Tomczak and Welling (2018)."""

    widths: tuple[int, ...]
    kernel: Callable = lecun_normal

    @nn.compact
    def __call__(self, x):
        return gated(x, self.widths, self.kernel)


class GatedDecoder(nn.Module):
    """The decoder of gated dense layers of Tomczak and Welling (2018)."""

    widths: tuple[int, ...]
    kernel: Callable = lecun_normal

    @nn.compact
    def __call__(self, z, shape):
        return _output(gated(z, self.widths, self.kernel), shape, self.kernel)


class ConvEncoder(nn.Module):
    """An encoder of 4x4 convolutions with stride 2, then dense layers: Burgess et al. (2018).

    They take 32 channels in each of 4 convolutions for 64x64 pixels, or of 3 for 32x32, and two
    dense layers of 256. Images may have any size: each convolution halves it, rounding up.
    """

    channels: tuple[int, ...] = (32, 32, 32, 32)
    widths: tuple[int, ...] = (256, 256)
    activation: Callable = nn.relu

    @nn.compact
    def __call__(self, x):
        _require_counts("channels", self.channels)
        _require_image("ConvEncoder", x.shape[1:])
        for count in self.channels:
            x = self.activation(nn.Conv(count, (4, 4), strides=2)(x))
        return hidden(x, self.widths, self.activation)


class ConvDecoder(nn.Module):
    """The reverse of `ConvEncoder`: dense layers, then transposed convolutions with stride 2."""

    channels: tuple[int, ...] = (32, 32, 32, 32)
    widths: tuple[int, ...] = (256, 256)
    activation: Callable = nn.relu

    @nn.compact
    def __call__(self, z, shape):
        _require_counts("channels", self.channels)
        _require_image("ConvDecoder", shape)
        sizes = _halved(shape, len(self.channels))
        widths = (*self.widths, math.prod(sizes[-1]) * self.channels[0])
        h = hidden(z, widths, self.activation)
        h = h.reshape(-1, *sizes[-1], self.channels[0])
        for count, (rows, columns) in zip(self.channels[1:], sizes[-2:0:-1]):
            h = nn.ConvTranspose(count, (4, 4), strides=(2, 2))(h)
            h = self.activation(h[:, :rows, :columns])
        last = nn.ConvTranspose(shape[-1], (4, 4), strides=(2, 2), use_bias=False)
        return last(h)[:, : shape[0], : shape[1]]


def _halved(shape, times):
    """The sizes [(H, W), (H/2, W/2), ...] of an image halved `times` times, rounding up."""
    sizes = [tuple(shape[:2])]
    for _ in range(times):
        sizes.append(tuple(-(-size // 2) for size in sizes[-1]))
    return sizes


class Residual(nn.Module):
    """A residual block of two 3x3 convolutions after activations: He et al. (2016).

    It has no normalization. The second convolution starts at 0, and so the block as the identity.
    """

    activation: Callable = nn.relu

    @nn.compact
    def __call__(self, h):
        out = nn.Conv(h.shape[-1], (3, 3))(self.activation(h))
        zero = nn.initializers.zeros
        second = nn.Conv(h.shape[-1], (3, 3), kernel_init=zero)
        return h + second(self.activation(out))


class ResNetEncoder(nn.Module):
    """An encoder of strided convolutions with a residual block after each, then dense layers."""

    channels: tuple[int, ...] = (16, 32)
    widths: tuple[int, ...] = (128,)
    activation: Callable = nn.relu

    @nn.compact
    def __call__(self, x):
        _require_counts("channels", self.channels)
        _require_image("ResNetEncoder", x.shape[1:])
        for count in self.channels:
            x = Residual(self.activation)(nn.Conv(count, (4, 4), strides=2)(x))
        return hidden(self.activation(x), self.widths, self.activation)


class ResNetDecoder(nn.Module):
    """The reverse of `ResNetEncoder`: residual blocks, with a transposed convolution after each."""

    channels: tuple[int, ...] = (32, 16)
    widths: tuple[int, ...] = (128,)
    activation: Callable = nn.relu

    @nn.compact
    def __call__(self, z, shape):
        _require_counts("channels", self.channels)
        _require_image("ResNetDecoder", shape)
        sizes = _halved(shape, len(self.channels))
        h = hidden(z, self.widths, self.activation)
        h = nn.Dense(math.prod(sizes[-1]) * self.channels[0])(h)
        h = h.reshape(-1, *sizes[-1], self.channels[0])
        for count, (rows, columns) in zip(self.channels, sizes[-2::-1]):
            h = Residual(self.activation)(h)
            h = nn.ConvTranspose(count, (4, 4), strides=(2, 2))(self.activation(h))
            h = h[:, :rows, :columns]
        return nn.Conv(shape[-1], (3, 3), use_bias=False)(self.activation(h))


class GRUEncoder(nn.Module):
    """An encoder that reads an image row by row by a gated recurrent unit: Cho et al. (2014).

    The features are the last state, [B, width].
    """

    width: int = 64

    @nn.compact
    def __call__(self, x):
        _require_image("GRUEncoder", x.shape[1:])
        rows = x.reshape(*x.shape[:2], -1)
        carry, _ = nn.RNN(nn.GRUCell(self.width), return_carry=True)(rows)
        return carry


class GRUDecoder(nn.Module):
    """A decoder that writes an image row by row by a gated recurrent unit.

    The code is its input at every row.
    """

    width: int = 64

    @nn.compact
    def __call__(self, z, shape):
        _require_image("GRUDecoder", shape)
        inputs = jnp.broadcast_to(z[:, None], (len(z), shape[0], z.shape[-1]))
        h = nn.RNN(nn.GRUCell(self.width))(inputs)
        out = nn.Dense(shape[1] * shape[2], use_bias=False)(h)
        return out.reshape(-1, *shape)


class Attention(nn.Module):
    """A transformer block on tokens [B, N, D]: Vaswani et al. (2017), with pre-normalization."""

    heads: int

    @nn.compact
    def __call__(self, h):
        # No biases: that of the keys has no effect, and Adam would move it by rounding errors.
        attention = nn.MultiHeadDotProductAttention(self.heads, use_bias=False)
        h += attention(nn.LayerNorm()(h))
        wide = nn.gelu(nn.Dense(4 * h.shape[-1])(nn.LayerNorm()(h)))
        return h + nn.Dense(h.shape[-1])(wide)


class PatchEncoder(nn.Module):
    """A transformer encoder of square patches, averaged at the end: Dosovitskiy et al. (2021)."""

    patch: int = 4
    width: int = 64
    depth: int = 2
    heads: int = 4

    @nn.compact
    def __call__(self, x):
        count = _count_patches(x.shape[1:], self.patch)
        h = nn.Conv(self.width, (self.patch,) * 2, strides=self.patch)(x)
        h = h.reshape(len(x), -1, self.width)
        init = nn.initializers.normal(0.02)
        h += self.param("place", init, (1, count, self.width))  # position embedding
        for _ in range(self.depth):
            h = Attention(self.heads)(h)
        return nn.LayerNorm()(h).mean(1)


class PatchDecoder(nn.Module):
    """A transformer decoder of square patches, each a token made of the code and its position."""

    patch: int = 4
    width: int = 64
    depth: int = 2
    heads: int = 4

    @nn.compact
    def __call__(self, z, shape):
        count = _count_patches(shape, self.patch)
        init = nn.initializers.normal(0.02)
        h = nn.Dense(count * self.width)(z).reshape(len(z), count, self.width)
        h += self.param("place", init, (1, count, self.width))  # position embedding
        for _ in range(self.depth):
            h = Attention(self.heads)(h)
        side, rows = self.patch, shape[0] // self.patch
        out = nn.Dense(side * side * shape[2], use_bias=False)(nn.LayerNorm()(h))
        out = out.reshape(len(z), rows, -1, side, side, shape[2])
        return out.swapaxes(2, 3).reshape(-1, *shape)


def _count_patches(shape, side):
    """The number of square patches in an image."""
    _require_image("a network of patches", shape)
    if shape[0] % side or shape[1] % side:
        raise InputError(
            f"patches of {side} do not fill images of {shape[0]}x{shape[1]}: take a divisor"
        )
    return (shape[0] // side) * (shape[1] // side)
