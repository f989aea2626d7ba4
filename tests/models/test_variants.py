"""Variants of the model: their densities against closed forms, Jacobians and counts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from aevae import InputError, data, models, networks, objectives
from aevae.models import distributions, likelihoods, variants
from aevae.models.distributions import Normal

HP = {"beta": 1.0, "commitment": 0.25, "sigma": 0.5}


def model(kind, latent=4, **fields):
    encoder = networks.MLPEncoder((8,), jnp.tanh)
    decoder = networks.MLPDecoder((8,), jnp.tanh)
    return kind(latent, encoder, decoder, shape=(4, 4, 1), **fields)


@pytest.fixture(scope="module")
def batch(tiny):
    rows = data.none(None, data.rows(tiny.train, slice(24)))
    return rows | {"label": jnp.arange(24) % 3}


def begun(kind, batch, **fields):
    """A model, and parameters away from the first ones."""
    made = model(kind, **fields)
    params = jax.jit(made.init)(jax.random.key(0), batch, None, HP)
    return made, jax.tree.map(lambda v: 1.5 * v + 0.03, params)


def draw_of(made, params, batch, key=1):
    return jax.jit(made.apply)(params, batch, jax.random.key(key), HP)


# Priors


def test_a_vampprior_of_all_data_is_the_aggregate_posterior(batch):
    made, params = begun(models.VampPrior, batch, pseudo=24)
    params["params"]["inputs"]["value"] = batch["image"]
    draw = draw_of(made, params, batch)
    mean, std = np.float64(draw.q.mean), np.float64(draw.q.std)
    z = np.float64(draw.z)
    each = scipy.stats.norm.logpdf(z[:, None], mean[None], std[None]).sum(-1)
    aggregate = scipy.special.logsumexp(each, axis=1) - np.log(24)
    np.testing.assert_allclose(draw.log_pz, aggregate, rtol=1e-4)
    assert draw.rate is None  # by sampling: it has no closed form


def test_pythae_the_vampprior_is_sampled_as_it_was_trained(batch):
    """Any pseudo-input, not the first ones, and its own standard deviation."""
    made, params = begun(models.VampPrior, batch, pseudo=24)
    prior = jax.jit(functools.partial(made.apply, method="prior"))(params, {})
    z = np.float64(prior.sample(jax.random.key(0), 50_000))
    mean, std = np.float64(prior.parts.mean), np.float64(prior.parts.std)
    expected = mean.mean(0)
    second = (std**2 + mean**2).mean(0)
    error = 5 * z.std(0) / np.sqrt(len(z))
    assert (abs(z.mean(0) - expected) < error).all()
    assert (abs((z**2).mean(0) - second) < 5 * (z**2).std(0) / np.sqrt(len(z))).all()


def test_pseudo_inputs_start_as_training_images(batch):
    init = jax.jit(model(models.VampPrior, pseudo=5).init)
    params = init(jax.random.key(0), batch, None, HP)
    np.testing.assert_array_equal(
        params["params"]["inputs"]["value"], batch["image"][:5]
    )
    with pytest.raises(InputError, match="at most the 24 training images, not 25"):
        model(models.VampPrior, pseudo=25).init(jax.random.key(0), batch, None, HP)


def test_a_mixture_is_what_scipy_says():
    rng = np.random.default_rng(0)
    logits, mean, log_std = rng.normal(size=3), *rng.normal(size=(2, 3, 2))
    prior = distributions.Mixture(
        jnp.float32(logits), Normal(jnp.float32(mean), jnp.float32(log_std))
    )
    z = rng.normal(size=(7, 2))
    weights = scipy.special.softmax(logits)
    density = sum(
        w * scipy.stats.norm.pdf(z, m, np.exp(s)).prod(1)
        for w, m, s in zip(weights, mean, log_std)
    )
    np.testing.assert_allclose(
        prior.log_prob(jnp.float32(z)), np.log(density), rtol=1e-4
    )
    drawn = prior.sample(jax.random.key(0), 40_000)
    error = 5 * drawn.std(0) / 200
    assert (abs(drawn.mean(0) - weights @ mean) < error).all()


def test_a_mixture_prior_learns_all_of_its_parts(batch):
    made, params = begun(models.MixturePrior, batch, components=3)

    def loss(params):
        return objectives.beta_vae(made, params, batch, jax.random.key(1), HP)[0]

    slopes = jax.jit(jax.grad(loss))(params)["params"]
    for name in ("means", "log_stds", "weights"):
        assert abs(slopes[name]).max() > 0


# Posteriors


def test_a_flows_log_determinant_is_its_jacobians(batch):
    """From the noise to z, by forward differentiation, in the order of a triangular matrix or not."""
    made, params = begun(models.IAF, batch, depth=3)
    q = jax.jit(functools.partial(made.apply, method="encode"))(params, batch)

    def push(eps):
        z = q.base.mean + q.base.std * eps
        for step in q.steps:
            shift, gate = step(z, q.h)
            s = jax.nn.sigmoid(gate + 1)
            z = (s * z + (1 - s) * shift)[:, ::-1]
        return z

    eps = jax.random.normal(jax.random.key(2), q.base.mean.shape)
    jacobian = jax.jit(jax.jacfwd(push))(eps)  # [B, Z, B, Z]
    own = np.float64(jacobian)[np.arange(24), :, np.arange(24)]
    _, log_det = np.linalg.slogdet(own)
    expected = scipy.stats.norm.logpdf(eps).sum(1) - log_det
    found = jax.jit(lambda z: q.log_prob(z))(push(eps))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_a_flow_gives_its_own_samples_the_density_it_drew_them_with(batch):
    made, params = begun(models.IAF, batch, depth=2)
    draw = draw_of(made, params, batch)
    again = jax.jit(lambda q, z: q.log_prob(z))(draw.q, draw.z)
    np.testing.assert_allclose(again, draw.log_qz, rtol=1e-3, atol=1e-3)
    assert draw.rate is None


def test_masked_outputs_see_the_inputs_before_them_alone():
    step = variants.Masked(5, 16)
    z, h = jax.random.normal(jax.random.key(0), (2, 1, 5))
    params = step.init(jax.random.key(1), z, h)
    params = jax.tree.map(lambda v: v + 0.3, params)
    for part in range(2):
        jacobian = jax.jacobian(lambda z, p=part: step.apply(params, z, h)[p])(z)
        seen = np.asarray(jacobian)[0, :, 0] != 0
        np.testing.assert_array_equal(seen, np.tri(5, k=-1, dtype=bool))


def test_two_levels_have_the_density_of_a_chain(batch):
    made, params = begun(models.TwoLevel, batch, top=3, widths=(6,))
    draw = draw_of(made, params, batch)
    a, b = (np.float64(z) for z in draw.z)
    assert a.shape == (24, 4) and b.shape == (24, 3)

    def density(z, q):
        return scipy.stats.norm.logpdf(z, np.float64(q.mean), np.float64(q.std)).sum(1)

    second = draw.q.then(draw.z[0])
    np.testing.assert_allclose(
        draw.log_qz, density(a, draw.q.first) + density(b, second), rtol=1e-4
    )
    down = draw.p.chain.then(draw.z[1])
    top = scipy.stats.norm.logpdf(b).sum(1)
    np.testing.assert_allclose(draw.log_pz, top + density(a, down), rtol=1e-4)
    prior = jax.jit(functools.partial(made.apply, method="prior"))(params, {})
    sampled = prior.sample(jax.random.key(0), 9)
    assert [z.shape for z in sampled] == [(9, 4), (9, 3)]


def test_labels_change_code_and_image(batch):
    made, params = begun(models.ConditionalVAE, batch, classes=3)
    other = batch | {"label": (batch["label"] + 1) % 3}
    encode, decode = (
        jax.jit(functools.partial(made.apply, method=m)) for m in ("encode", "decode")
    )
    assert abs(encode(params, batch).mean - encode(params, other).mean).min() > 0
    z = jnp.zeros((24, 4))
    images = [decode(params, z, labels, HP).mean for labels in (batch, other)]
    assert abs(images[0] - images[1]).max() > 0
    kl = distributions.kl(encode(params, batch), Normal(*jnp.zeros((2, 1, 4))))
    np.testing.assert_allclose(draw_of(made, params, batch).rate, kl, rtol=1e-5)


# Quantized codes


def test_vq_codes_are_the_nearest_codewords_and_the_rate_is_their_count(batch):
    made, params = begun(models.VQVAE, batch, cells=2, codes=7)
    draw = draw_of(made, params, batch)
    before, book = np.float64(draw.q.before), np.float64(params["params"]["book"])
    nearest = ((before[:, :, None] - book) ** 2).sum(-1).argmin(-1)
    np.testing.assert_allclose(draw.z, book[nearest].reshape(24, 4), rtol=1e-6)
    np.testing.assert_allclose(draw.rate, 2 * np.log(7), rtol=1e-6)
    with pytest.raises(InputError, match="latent 4 must be a multiple of the 3 cells"):
        model(models.VQVAE, cells=3).init(jax.random.key(0), batch, None, HP)


def test_vq_loss_moves_the_book_by_one_term_and_the_encoder_by_the_other(batch):
    made, params = begun(models.VQVAE, batch, cells=2, codes=7)

    def slopes(commitment):
        def loss(params):
            hp = HP | {"commitment": commitment}
            return objectives.vq_vae(made, params, batch, jax.random.key(1), hp)[0]

        return jax.jit(jax.grad(loss))(params)["params"]

    none, some = slopes(0.0), slopes(1.0)
    np.testing.assert_array_equal(none["book"], some["book"])
    draw = draw_of(made, params, batch)
    before, after = (np.float64(v) for v in draw.q)
    book = np.float64(params["params"]["book"])
    which = ((before[:, :, None] - book) ** 2).sum(-1).argmin(-1)
    expected = np.zeros_like(book)
    for codeword in range(7):
        expected[codeword] = 2 * (after - before)[which == codeword].sum(0) / 24
    np.testing.assert_allclose(some["book"], expected, rtol=1e-3, atol=1e-5)
    assert abs(none["head"]["kernel"] - some["head"]["kernel"]).max() > 1e-4


@pytest.mark.parametrize("levels", [2, 3, 4, 5])
def test_fsq_has_its_levels_and_a_straight_gradient(levels, batch):
    made, params = begun(models.FSQ, batch, levels=levels)
    h = jnp.linspace(-4, 4, 161)
    before = (levels - 1) / 2 * jnp.tanh(h)
    params["params"]["head"] = {"kernel": jnp.zeros((8, 4)), "bias": jnp.zeros(4)}

    def code(bias):
        head = params["params"]["head"] | {"bias": jnp.full(4, bias)}
        own = {"params": params["params"] | {"head": head}}
        return made.apply(own, batch, method="encode").sample(None)[0, 0]

    found = np.asarray(jax.jit(jax.vmap(code))(h))
    values = np.arange(levels) - (levels - 1) / 2
    np.testing.assert_allclose(np.unique(found), values)
    nearest = values[abs(np.asarray(before)[:, None] - values).argmin(1)]
    middle = abs(abs(np.asarray(before)[:, None] - values).min(1) - 0.5) > 1e-3
    np.testing.assert_allclose(found[middle], nearest[middle])
    slope = jax.jit(jax.vmap(jax.grad(code)))(h)
    expected = (levels - 1) / 2 * (1 - np.tanh(np.float64(h)) ** 2)
    np.testing.assert_allclose(slope, expected, rtol=1e-3, atol=1e-6)
    draw = draw_of(made, params, batch)
    np.testing.assert_allclose(draw.rate, 4 * np.log(levels), rtol=1e-6)
    drawn = draw.p.sample(jax.random.key(0), 2000)
    assert set(np.unique(drawn)) == set(np.float32(values))


# Likelihoods


@pytest.mark.parametrize("per_pixel", [False, True])
def test_a_learned_sigma_goes_to_the_errors_root_mean_square(per_pixel, batch):
    made, params = begun(
        models.VAE, batch, likelihood=models.LearnedGaussian(per_pixel)
    )

    def loss(log_sigma):
        own = params["params"] | {"likelihood": {"log_sigma": log_sigma}}
        return -made.apply({"params": own}, batch, None, HP).log_px.mean()

    x = jax.jit(made.apply)(params, batch, None, HP).x.mean
    error = np.float64(x - batch["image"]) ** 2
    best = np.sqrt(error.mean(0) if per_pixel else error.mean())
    shape = params["params"]["likelihood"]["log_sigma"].shape
    assert shape == ((4, 4, 1) if per_pixel else (1, 1, 1))
    at = jnp.full(shape, jnp.float32(np.log(best)))
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(at), 0, atol=1e-4)


def test_a_decoder_may_give_more_than_one_number_a_pixel(batch):
    pair = functools.partial(begun, models.VAE, batch, output_bias=models.mean_logit)
    made, params = pair(likelihood=likelihoods.gaussian_pair, outputs=2)
    x = jax.jit(made.apply)(params, batch, None, HP).x
    assert x.mean.shape == (24, 4, 4, 1) == x.std.shape and (x.std > 0).all()
    made, params = pair(likelihood=likelihoods.categorical, outputs=9)
    x = jax.jit(made.apply)(params, batch, None, HP).x
    assert x.mean.shape == (24, 4, 4, 1) and x.levels == 9


@pytest.mark.parametrize("at", [-1e4, 1e4])
@pytest.mark.parametrize(
    "name", ["normal", "iaf", "two_level", "mixture", "learned", "optimal"]
)
def test_huge_outputs_give_finite_values_and_gradients(name, at, batch):
    """Every parameter that gives a scale or a gate is set to ±1e4; so is every mean."""
    kinds = {
        "iaf": models.IAF,
        "two_level": models.TwoLevel,
        "mixture": models.MixturePrior,
    }
    learned = {
        "learned": models.LearnedGaussian(True),
        "optimal": models.OptimalGaussian(),
    }
    fields = {"likelihood": learned.get(name, models.bernoulli)}
    made, params = begun(kinds.get(name, models.VAE), batch, **fields)
    named = "log_sigma", "variance", "log_stds", "second"

    def huge(path, leaf):
        text = jax.tree_util.keystr(path)
        head = ("posterior" in text or "Diagonal" in text) and "bias" in text
        return (
            jnp.full_like(leaf, at) if head or any(n in text for n in named) else leaf
        )

    params = jax.tree_util.tree_map_with_path(huge, params)

    def loss(params):
        draw = made.apply(params, batch, jax.random.key(1), HP)
        again = draw.q.log_prob(draw.z)
        return (draw.log_px + draw.log_pz - draw.log_qz + again).mean(), draw.rate

    (value, rate), slopes = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    found = jax.tree.leaves((value, rate, slopes))
    assert all(np.isfinite(leaf).all() for leaf in found)


def test_learned_sigmas_have_a_floor():
    """Without one, pixels that are constant make the density unbounded."""
    out = jnp.full((1, 3, 2), -50.0)
    pair = functools.partial(likelihoods.gaussian_pair, floor=0.02)
    own = (
        {"params": {"log_sigma": out[0]}},
        {"params": {"variance": 0 * out[:, :1, :1]}},
    )
    found = [
        models.LearnedGaussian(True, floor=0.02).apply(own[0], out, HP),
        models.OptimalGaussian(floor=0.02).apply(own[1], out, HP),
        pair(out, HP),
    ]
    for x in found:
        np.testing.assert_allclose(x.std, jnp.full(x.std.shape, 0.02), rtol=1e-6)
    assert pair(out + 53, HP).std[0, 0] == jnp.exp(3.0)


def test_an_optimal_sigma_at_its_floor_follows_an_error_that_rises_again(batch):
    made, params = begun(models.VAE, batch, likelihood=models.OptimalGaussian(0.02))
    own = {"variance": jnp.full((1, 1, 1, 1), 1e-9)}
    params = {"params": params["params"] | {"likelihood": own}}

    def loss(params):
        hp = HP | {"beta": 1.0}
        key = jax.random.key(0)
        return objectives.optimal_sigma_vae(made, params, batch, key, hp)[0]

    slope = jax.jit(jax.grad(loss))(params)["params"]["likelihood"]["variance"]
    assert slope.item() < -1e-3
