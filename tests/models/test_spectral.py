"""Spectral normalization: norms by NumPy's SVD, gradients by that of another formula."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from aevae import InputError, models, networks
from aevae.models.spectral import normalized, spectral_norm

SHAPE = (8, 8, 1)
DECODERS = {
    "mlp": networks.MLPDecoder((16,)),
    "linear": networks.MLPDecoder(()),
    "conv": networks.ConvDecoder((3, 5), (16,)),
    "resnet": networks.ResNetDecoder((4,), (16,)),
    "gru": networks.GRUDecoder(8),
    "patch": networks.PatchDecoder(4, 8, 1, 2),
}


def begun(decoder):
    """The initial parameters of a decoder, and codes."""
    z = jax.random.normal(jax.random.key(2), (5, 3))
    params = jax.jit(decoder.init, static_argnums=2)(jax.random.key(1), z, SHAPE)
    return params["params"], z


def by_hand(path, leaf):
    """A parameter as it acts; of attention's layers to heads, the rows are the inputs [D]."""
    text = jax.tree_util.keystr(path)
    if "kernel" not in text:
        return leaf
    kernel = np.float64(leaf)
    heads = any(name in text for name in ("query", "'key'", "value"))
    rows = len(kernel) if heads else kernel.size // kernel.shape[-1]
    norm = np.linalg.svd(kernel.reshape(rows, -1), compute_uv=False)[0]
    return jnp.float32(kernel / norm) if norm else leaf


@pytest.mark.parametrize("name", DECODERS)
def test_what_acts_has_a_largest_singular_value_of_1(name):
    """As NumPy divides them; a kernel that is 0, the second of a residual block, stays so."""
    decoder = DECODERS[name]
    params, z = begun(decoder)
    params = jax.tree.map(lambda v: 3 * v, params)
    of = jax.jit(models.SpectralDecoder(decoder).apply, static_argnums=2)
    acting = jax.tree_util.tree_map_with_path(by_hand, params)
    expected = jax.jit(decoder.apply, static_argnums=2)({"params": acting}, z, SHAPE)
    found = of({"params": {"decoder": params}}, z, SHAPE)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # These are the parameters of the decoder itself, under another name.
    made = jax.jit(models.SpectralDecoder(decoder).init, static_argnums=2)
    own = made(jax.random.key(1), z, SHAPE)["params"]
    assert jax.tree.map(jnp.shape, own) == {"decoder": jax.tree.map(jnp.shape, params)}


def test_a_model_has_it_wherever_it_decodes():
    """Another length of the kernels changes neither what is trained nor what is sampled."""
    encoder, decoder = networks.MLPEncoder((8,)), networks.MLPDecoder((8,))
    model = models.VAE(3, encoder, models.SpectralDecoder(decoder), shape=SHAPE)
    batch = {"image": jax.random.uniform(jax.random.key(0), (5, *SHAPE))}
    params = jax.jit(model.init)(jax.random.key(0), batch, None, {})

    def longer(path, leaf):
        text = jax.tree_util.keystr(path)
        return 7 * leaf if "decoder" in text and "kernel" in text else leaf

    other = jax.tree_util.tree_map_with_path(longer, params)
    decode = jax.jit(lambda p, z: model.apply(p, z, {}, {}, method="decode").mean)
    z = jax.random.normal(jax.random.key(1), (5, 3))
    np.testing.assert_allclose(decode(params, z), decode(other, z), rtol=1e-5)
    log_px = [jax.jit(model.apply)(p, batch, None, {}).log_px for p in (params, other)]
    np.testing.assert_allclose(*log_px, rtol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_the_gradient_goes_through_the_norm(name):
    """As that of a division by the first of JAX's singular values."""
    decoder = DECODERS[name]
    params, z = begun(decoder)

    def divided(path, leaf):
        if leaf.ndim < 2:
            return leaf
        matrix = leaf.reshape(-1, leaf.shape[-1])
        return leaf / jnp.linalg.svd(matrix, compute_uv=False)[0]

    def other(params):
        acting = jax.tree_util.tree_map_with_path(divided, params)
        return (decoder.apply({"params": acting}, z, SHAPE) ** 2).sum()

    def ours(params):
        own = {"params": {"decoder": params}}
        return (models.SpectralDecoder(decoder).apply(own, z, SHAPE) ** 2).sum()

    for a, b in zip(
        *(jax.tree.leaves(jax.jit(jax.grad(f))(params)) for f in (ours, other))
    ):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * abs(b).max())


@pytest.mark.parametrize("shape", [(40, 40), (6, 50), (50, 6), (1, 5), (5, 1)])
def test_the_norm_is_exact_whatever_the_gaps(shape):
    rng, least = np.random.default_rng(0), min(shape)
    u, _, v = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    gaps = 10.0 ** -rng.uniform(1, 8, least)
    for values in (rng.random(least), 1 - gaps, 1 - 1e-5 * np.arange(least)):
        matrix = np.float32(30 * (u * values) @ v)
        exact = np.linalg.svd(np.float64(matrix), compute_uv=False)[0]
        np.testing.assert_allclose(jax.jit(spectral_norm)(matrix), exact, rtol=1e-6)


def test_equal_singular_values_have_a_gradient():
    """One of those of a convex function that is its own degree-1 form, <g, W> = ||W||."""
    rng = np.random.default_rng(1)
    turned, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    for matrix in (
        np.eye(4),
        np.diag([0, 2, 2]),
        turned,
        turned[:, :3],
        turned @ np.diag([2, 2, 1, 1, 0, 0]),
    ):
        slope = jax.jit(jax.grad(spectral_norm))(jnp.float32(matrix))
        exact = np.linalg.norm(matrix, 2)
        np.testing.assert_allclose((np.float64(slope) * matrix).sum(), exact, rtol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(slope, "nuc"), 1, rtol=1e-5)
    zero = {"params": {"layer": {"kernel": jnp.zeros((3, 4))}}}
    slope = jax.grad(lambda v: jax.tree.leaves(normalized(v))[0].sum())(zero)
    np.testing.assert_array_equal(jax.tree.leaves(slope)[0], jnp.ones((3, 4)))


def test_a_norm_in_a_group_is_that_of_a_run_alone_and_waits_for_no_thread():
    """JAX's eigh of a batch hung on two CPU devices: each held the other's thread."""
    w = jax.random.normal(jax.random.key(0), (5, 30, 20))
    group = jax.jit(jax.vmap(jax.value_and_grad(spectral_norm)))
    for a, b in zip(group(w), jax.lax.map(jax.value_and_grad(spectral_norm), w)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert "lapack" not in group.lower(w).as_text()


class Scaled(nn.Module):
    """A decoder without weights that have Flax's name."""

    @nn.compact
    def __call__(self, z, shape):
        weights = self.param("weights", nn.initializers.ones, (3, 64))
        return (z @ weights).reshape(-1, *shape)


def test_a_decoder_without_kernels_is_refused():
    made = functools.partial(models.SpectralDecoder(Scaled()).init, jax.random.key(0))
    with pytest.raises(InputError, match="named kernel, .*: it has weights"):
        made(jnp.ones((2, 3)), SHAPE)
