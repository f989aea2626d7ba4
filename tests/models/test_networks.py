"""Networks: every pixel and every latent is used, shapes fit, examples do not see each other."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aevae import InputError, models, networks

ENCODERS = {
    "mlp": networks.MLPEncoder((16,)),
    "gated": networks.GatedEncoder((16,)),
    "conv": networks.ConvEncoder((4, 4), (16,)),
    "resnet": networks.ResNetEncoder((4, 4), (16,)),
    "gru": networks.GRUEncoder(8),
    "patch": networks.PatchEncoder(4, 8, 1, 2),
}
DECODERS = {
    "mlp": networks.MLPDecoder((16,)),
    "gated": networks.GatedDecoder((16,)),
    "conv": networks.ConvDecoder((4, 4), (16,)),
    "resnet": networks.ResNetDecoder((4, 4), (16,)),
    "gru": networks.GRUDecoder(8),
    "patch": networks.PatchDecoder(4, 8, 1, 2),
}


def begin(network, *args):
    """Initial parameters; op by op, strict modes crawl."""
    static = range(2, len(args) + 1)  # a decoder's shape
    return jax.jit(network.init, static_argnums=[*static])(jax.random.key(1), *args)


SHAPES = [*((name, (8, 8, 1)) for name in ENCODERS), ("conv", (28, 28, 3))]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_every_pixel_reaches_the_features(name, shape):
    encoder = ENCODERS[name]
    x = jax.random.uniform(jax.random.key(0), (2, *shape))
    params = begin(encoder, x)
    # ReLUs may be dead at 0; a little more than the initialization wakes them.
    params = jax.tree.map(lambda v: 1.5 * v + 0.05, params)

    @jax.jit
    def slope(x):
        def total(x):
            features = encoder.apply(params, x)
            assert features.ndim == 2
            return (features[0] * jnp.arange(1.0, features.shape[1] + 1)).sum()

        return jax.grad(total)(x)

    found = np.asarray(slope(x))
    assert (found[0] != 0).mean() > 0.99
    assert (found[1] == 0).all()  # no example sees another


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_every_latent_reaches_every_pixel(name, shape):
    decoder = DECODERS[name]
    z = jax.random.normal(jax.random.key(0), (2, 3))
    params = begin(decoder, z, shape)
    params = jax.tree.map(lambda v: 1.5 * v + 0.05, params)

    def decode(z):
        return decoder.apply(params, z, shape)

    out, change = jax.jit(lambda z: jax.jvp(decode, (z,), (jnp.eye(3)[:2],)))(z)
    assert out.shape == (2, *shape) and np.isfinite(out).all()
    for latent in range(2):
        assert (np.asarray(change[latent]) != 0).mean() > 0.95


@pytest.mark.parametrize("name", DECODERS)
def test_the_last_layer_has_no_bias(name):
    """The model adds one, which may start from data: two would be one too many."""
    params = begin(DECODERS[name], jnp.zeros((1, 3)), (8, 8, 1))
    flat = jax.tree.leaves_with_path(params)
    ones = ["/".join(str(k.key) for k in path) for path, v in flat if v.shape == (1,)]
    assert not ones  # of the only channel
    assert not [path for path, v in flat if v.shape == (64,) and name == "mlp"]


def test_burgess_networks_have_the_papers_parameters():
    """64x64: four layers of 32 4x4 filters, two dense layers of 256; by hand."""
    x = jnp.zeros((1, 64, 64, 1))
    params = begin(networks.ConvEncoder(), x)
    conv = 4 * 4 * 32 + 32 + 3 * (4 * 4 * 32 * 32 + 32)
    dense = 4 * 4 * 32 * 256 + 256 + 256 * 256 + 256
    assert sum(v.size for v in jax.tree.leaves(params)) == conv + dense


def test_residual_blocks_start_as_the_identity():
    x = jax.random.normal(jax.random.key(0), (2, 5, 5, 3))
    block = networks.Residual()
    params = block.init(jax.random.key(1), x)
    np.testing.assert_array_equal(block.apply(params, x), x)


def test_a_gate_is_a_product_with_a_sigmoid():
    encoder = networks.GatedEncoder((5,))
    x = jax.random.normal(jax.random.key(0), (4, 3))
    params = encoder.init(jax.random.key(1), x)
    p = jax.tree.map(np.float64, params["params"])
    w, v = p["Dense_0"], p["Dense_1"]
    x = np.float64(x)
    expected = (x @ w["kernel"] + w["bias"]) / (
        1 + np.exp(-x @ v["kernel"] - v["bias"])
    )
    found = encoder.apply(params, jnp.float32(x))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_attention_without_places_does_not_know_the_order_of_patches():
    encoder = ENCODERS["patch"]
    x = jax.random.uniform(jax.random.key(0), (3, 8, 8, 1))
    params, apply = begin(encoder, x), jax.jit(encoder.apply)
    turned = jnp.concatenate([x[:, 4:], x[:, :4]], 1)  # whole patches change places
    assert not np.allclose(apply(params, x), apply(params, turned), atol=1e-4)
    blind = {"params": params["params"] | {"place": jnp.zeros((1, 4, 8))}}
    np.testing.assert_allclose(apply(blind, x), apply(blind, turned), atol=1e-5)


def test_a_patch_decoder_puts_patches_where_they_belong():
    """With one patch's place alone at work, only its pixels differ."""
    decoder = networks.PatchDecoder(4, 8, 0, 2)
    z = jnp.zeros((1, 3))
    params = begin(decoder, z, (8, 12, 1))["params"]
    apply = jax.jit(functools.partial(decoder.apply, shape=(8, 12, 1)))
    for patch in range(6):
        moved = params["place"].at[0, patch].add(jnp.arange(8.0))
        out = apply({"params": params | {"place": moved}}, z)
        same = apply({"params": params}, z)
        changed = np.argwhere((out != same)[0, ..., 0])
        row, column = divmod(patch, 3)
        assert (changed // 4 == [row, column]).all() and len(changed) == 16


@pytest.mark.parametrize(
    ("network", "shape", "says"),
    [
        (networks.ConvEncoder((4,)), (16,), "needs images .H, W, C., not vectors"),
        (networks.GRUEncoder(), (16,), "needs images"),
        (networks.PatchEncoder(5), (8, 8, 1), "patches of 5 do not fill images of 8x8"),
        (networks.ConvEncoder((0,)), (8, 8, 1), "channels must be whole numbers"),
        (networks.MLPEncoder((2.5,)), (8, 8, 1), "widths must be whole numbers"),
    ],
)
def test_what_cannot_be_is_one_line(network, shape, says):
    with pytest.raises(InputError, match=says):
        network.init(jax.random.key(0), jnp.zeros((1, *shape)))


def test_decoders_of_vectors():
    with pytest.raises(InputError, match="ConvDecoder needs images"):
        networks.ConvDecoder((4,)).init(jax.random.key(0), jnp.zeros((1, 2)), (9,))
    z, shape = jnp.zeros((2, 3)), (7,)
    for name in ("mlp", "gated"):
        params = DECODERS[name].init(jax.random.key(0), z, shape)
        assert DECODERS[name].apply(params, z, shape).shape == (2, math.prod(shape))


@pytest.mark.parametrize(
    "kernel, variance",
    [
        (networks.lecun_normal, 1 / 300),
        (networks.glorot_uniform, 2 / 500),
        (networks.he_normal, 2 / 300),
        (functools.partial(networks.normal, std=0.01), 1e-4),
    ],
)
def test_first_weights_have_their_papers_variance(kernel, variance):
    """Of every dense layer, the posterior's head among them; biases start at 0."""
    parts = (
        networks.MLPEncoder((300, 200), kernel=kernel),
        networks.MLPDecoder((300, 200), kernel=kernel),
    )
    made = models.VAE(100, *parts, kernel=kernel, shape=(20, 20, 1))
    batch = {"image": jnp.zeros((2, 20, 20, 1))}
    params = jax.jit(made.init)(jax.random.key(0), batch, None, {})["params"]
    second = params["encoder"]["Dense_1"]["kernel"]
    assert second.shape == (300, 200)
    np.testing.assert_allclose(second.var(), variance, rtol=0.05)
    head = params["posterior"]["Dense_0"]
    shares = {1 / 300: 1 / 200, 2 / 500: 2 / 400, 2 / 300: 2 / 200, 1e-4: 1e-4}
    np.testing.assert_allclose(head["kernel"].var(), shares[variance], rtol=0.05)
    np.testing.assert_array_equal(head["bias"], 0)
