"""Each objective against an independent computation, in float64 by hand or in closed form.

The names of some tests are threads in which users of other systems met the mistake.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from aevae import InputError, data, models, networks, objectives, optim
from aevae.models import likelihoods
from aevae.models.distributions import Normal
from experiments.laws import gradients

KEY = 5
SIZE = 48.0
HP = {
    "beta": 2.0,
    "alpha": 1.5,
    "gamma": 3.0,
    "lambda": 7.0,
    "off_diagonal": 2.0,
    "diagonal": 5.0,
    "noise": 0.3,
    "contraction": 0.4,
    "sparsity": 0.5,
    "target": 0.1,
}


def vae(kind=models.VAE, latent=3, widths=(8,), **fields):
    encoder = networks.MLPEncoder(widths, jnp.tanh)
    decoder = networks.MLPDecoder(widths, jnp.tanh)
    return kind(latent, encoder, decoder, shape=(4, 4, 1), **fields)


@pytest.fixture(scope="module")
def batch(tiny):
    return data.none(None, data.rows(tiny.train, slice(32), SIZE))


@pytest.fixture(scope="module")
def params(batch):
    """Not the first ones, whose posteriors are all nearly the prior."""
    params = jax.jit(vae().init)(jax.random.key(0), batch, None, HP)
    return jax.tree.map(lambda v: 2.0 * v + 0.02, params)


def run(objective, params, batch, model=None, **static):
    of = jax.jit(functools.partial(objective, model or vae(), **static))
    return of(params, batch, jax.random.key(KEY), HP)


def draw_of(params, batch, model=None, key=KEY):
    key = None if key is None else jax.random.key(key)
    draw = jax.jit((model or vae()).apply)(params, batch, key, HP)
    return jax.tree.map(np.float64, draw)


def log_normal(z, mean, std):
    return scipy.stats.norm.logpdf(z, mean, std)


# Autoencoders


def test_denoising_scores_the_clean_image(batch, params):
    noise = objectives.salt_and_pepper
    loss, _ = run(objectives.denoising, params, batch, noise=noise)
    seen = noise(jax.random.key(KEY), batch["image"], 0.3)
    x = draw_of(params, batch | {"image": seen}, key=None).x
    image, logits = np.float64(batch["image"]), x.logits
    score = image * logits - np.logaddexp(0, logits)
    np.testing.assert_allclose(loss, -score.sum((1, 2, 3)).mean(), rtol=1e-5)


def test_noises_have_their_rates():
    image = jnp.full((400, 500), 0.4)
    seen = np.asarray(objectives.masking_noise(jax.random.key(0), image, 0.3))
    assert abs((seen == 0).mean() - 0.3) < 0.01 and set(np.unique(seen)) == {
        0,
        np.float32(0.4),
    }
    seen = np.asarray(objectives.salt_and_pepper(jax.random.key(1), image, 0.3))
    for value in (0, 1):
        assert abs((seen == value).mean() - 0.15) < 0.01
    seen = np.asarray(objectives.gaussian_noise(jax.random.key(2), image, 0.3)) - 0.4
    assert abs(seen.mean()) < 0.005 and abs(seen.std() - 0.3) < 0.005


def test_sparse_kl_is_between_bernoullis(batch, params):
    loss, terms = run(objectives.sparse_kl, params, batch)
    rho = (1 / (1 + np.exp(-draw_of(params, batch, key=None).z))).mean(0)
    by_hand = sum(scipy.stats.entropy([0.1, 0.9], [r, 1 - r]) for r in rho)
    np.testing.assert_allclose(terms["sparsity"], by_hand, rtol=1e-4)
    np.testing.assert_allclose(loss, terms["distortion"] + 0.5 * by_hand, rtol=1e-5)


def test_sparse_l1(batch, params):
    loss, terms = run(objectives.sparse_l1, params, batch)
    by_hand = abs(draw_of(params, batch, key=None).z).sum(1).mean()
    np.testing.assert_allclose(terms["sparsity"], by_hand, rtol=1e-5)
    np.testing.assert_allclose(loss, terms["distortion"] + 0.5 * by_hand, rtol=1e-5)


def test_contraction_is_the_jacobian_by_differences(batch, params):
    """The encoder again in float64 by hand, and its Jacobian by central differences."""
    _, terms = run(objectives.contractive, params, batch)
    p = jax.tree.map(np.float64, params["params"])
    first, head = p["encoder"]["Dense_0"], p["posterior"]["Dense_0"]

    def code(x):
        h = np.tanh(x @ first["kernel"] + first["bias"])
        return (h @ head["kernel"] + head["bias"])[:, :3]

    x, total = np.float64(batch["image"]).reshape(32, 16), 0.0
    for pixel in range(16):
        e = np.eye(16)[pixel] * 1e-5
        total += (((code(x + e) - code(x - e)) / 2e-5) ** 2).sum()
    np.testing.assert_allclose(terms["contraction"], total / 32, rtol=1e-4)


def test_rae_has_the_code_and_no_rate(batch, params):
    loss, terms = run(objectives.rae, params, batch)
    draw = draw_of(params, batch, key=None)
    by_hand = (draw.z**2).sum() / 32 / 2
    assert set(terms) == {"distortion", "code_penalty"}
    np.testing.assert_allclose(terms["distortion"], -draw.log_px.mean(), rtol=1e-5)
    np.testing.assert_allclose(terms["code_penalty"], by_hand, rtol=1e-5)
    np.testing.assert_allclose(loss, terms["distortion"] + 2 * by_hand, rtol=1e-5)


def test_rae_l2_has_the_decoders_parameters_and_no_others(batch, params):
    loss, terms = run(objectives.rae_l2, params, batch)
    plain, _ = run(objectives.rae, params, batch)
    first, last = (params["params"]["decoder"][f"Dense_{n}"] for n in range(2))
    own = first["kernel"], first["bias"], last["kernel"]
    by_hand = sum((np.float64(leaf) ** 2).sum() for leaf in own)
    np.testing.assert_allclose(terms["weight_penalty"], by_hand, rtol=1e-5)
    np.testing.assert_allclose(loss, plain + 7 * by_hand, rtol=1e-5)


def test_rae_l2_needs_parameters_of_a_decoder(batch):
    class Fixed(models.VAE):
        """Without a use for the decoder."""

        def decode(self, z, batch, hp):
            out = jnp.broadcast_to(self.bias(batch)[None], (len(z), *self.shape))
            return self.likelihood(out, hp)

    model = vae(Fixed)
    params = jax.jit(model.init)(jax.random.key(0), batch, None, HP)
    with pytest.raises(InputError, match="RAE-L2 needs a decoder .*: Fixed has bias"):
        run(objectives.rae_l2, params, batch, model)


def test_rae_gp_is_the_jacobian_of_the_mean_by_the_code(batch, params):
    """In float64 by the chain rule; sigmoids of a hidden layer of tanh."""
    loss, terms = run(objectives.rae_gp, params, batch)
    plain, _ = run(objectives.rae, params, batch)
    p = jax.tree.map(np.float64, params["params"])
    first, last = p["decoder"]["Dense_0"], p["decoder"]["Dense_1"]["kernel"]
    h = np.tanh(draw_of(params, batch, key=None).z @ first["kernel"] + first["bias"])
    mean = 1 / (1 + np.exp(-(h @ last + p["bias"]["value"].ravel())))
    inner = np.einsum("lk,bk,kp->blp", first["kernel"], 1 - h**2, last)
    jacobian = inner * (mean * (1 - mean))[:, None]
    by_hand = (jacobian**2).sum() / 32
    np.testing.assert_allclose(terms["gradient_penalty"], by_hand, rtol=1e-4)
    np.testing.assert_allclose(loss, plain + 7 * by_hand, rtol=1e-5)


def test_rae_gp_moves_all_parameters_as_the_whole_jacobian_does(batch, params):
    """The gradient of JAX's own, an example at a time; the encoder feels it through the code."""

    def whole(params):
        def mean(z):
            return vae().apply(params, z[None], batch, HP, method="decode").mean

        z = vae().apply(params, batch, None, HP).z
        return (jax.vmap(jax.jacfwd(mean))(z) ** 2).sum() / len(z)

    def ours(params):
        key = jax.random.key(KEY)
        return objectives.rae_gp(vae(), params, batch, key, HP)[1]["gradient_penalty"]

    slopes = [jax.jit(jax.grad(of))(params) for of in (ours, whole)]
    for a, b in zip(*map(jax.tree.leaves, slopes)):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert abs(slopes[0]["params"]["encoder"]["Dense_0"]["kernel"]).max() > 1e-3


def test_rae_gp_of_a_linear_decoder_is_the_norm_of_its_weights(batch):
    model, hp = vae(widths=(), likelihood=models.gaussian), HP | {"sigma": 0.5}
    params = jax.jit(model.init)(jax.random.key(0), batch, None, hp)
    of = jax.jit(functools.partial(objectives.rae_gp, model))
    _, terms = of(params, batch, jax.random.key(KEY), hp)
    kernel = np.float64(params["params"]["decoder"]["Dense_0"]["kernel"])
    np.testing.assert_allclose(terms["gradient_penalty"], (kernel**2).sum(), rtol=1e-5)


# Free bits


def test_free_bits_floor_each_latents_mean_rate(batch, params):
    draw = draw_of(params, batch)
    each = 0.5 * (draw.q.std**2 + draw.q.mean**2 - 1 - 2 * np.log(draw.q.std)).mean(0)
    floor = float(np.sort(each)[:2].mean())  # between the least and the next
    of = functools.partial(objectives.beta_vae, vae(), free=True)
    loss, terms = jax.jit(of)(params, batch, jax.random.key(KEY), HP | {"floor": floor})
    by_hand = np.maximum(each, floor).sum()
    np.testing.assert_allclose(loss, terms["distortion"] + 2 * by_hand, rtol=1e-5)
    np.testing.assert_allclose(terms["rate"], each.sum(), rtol=1e-5)  # the true one


def test_free_bits_stop_the_gradient_below_the_floor_alone():
    mean, log_std = jnp.array([[0.1, 2.0]]), jnp.full((1, 2), jnp.log(0.9))
    prior = Normal(*jnp.zeros((2, 1, 2)))

    def rate(mean):
        draw = models.Draw(*[None] * 5, Normal(mean, log_std), prior, None)
        return objectives.free_bits(draw, 0.3)

    slope = jax.grad(rate)(mean)[0]
    assert slope[0] == 0
    np.testing.assert_allclose(slope[1], 2.0, rtol=1e-6)


def test_free_bits_need_closed_forms():
    draw = models.Draw(
        *[None] * 5, likelihoods.Bernoulli(jnp.zeros((1, 2))), None, None
    )
    with pytest.raises(InputError, match="free bits need .* Bernoulli"):
        objectives.free_bits(draw, 0.3)


# The decomposition of the rate


def test_disvae_58_the_diagonal_carries_one_over_n():
    """Rows of stratified weights, by hand: 1/N is on the diagonal, and each row sums to 1."""
    ours = np.exp(np.float64(objectives.stratified(5, 50.0)))
    by_hand = np.full((5, 5), 1 / 4)
    for i in range(5):
        by_hand[i, i] = 1 / 50
        by_hand[i, (i + 1) % 5] = (50 - 4) / (50 * 4)
    np.testing.assert_allclose(ours, by_hand, rtol=1e-6)
    np.testing.assert_allclose(ours.sum(1), 1, rtol=1e-6)


def test_stratified_weights_estimate_a_sum_over_the_set_without_bias():
    """The mean over all batches that hold example 0 is the mean over the set."""
    rng = np.random.default_rng(0)
    values, size, count = rng.random(30), 30, 6
    weights = np.exp(np.float64(objectives.stratified(count, float(size))))[0]
    found = [
        weights @ values[[0, *rng.choice(np.arange(1, size), count - 1, replace=False)]]
        for _ in range(60_000)
    ]
    error = 5 * np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - values.mean()) < error


def by_hand(draw, weights):
    """The decomposition by loops, in float64."""
    count, latent = draw.z.shape
    log_q, log_each = np.zeros(count), np.zeros(count)
    std = np.exp(draw.q.log_std)
    for i in range(count):
        density = np.zeros((count, latent))
        for j in range(count):
            density[j] = log_normal(draw.z[i], draw.q.mean[j], std[j])
        # Weights enter once for the joint (disvae #54: they were counted once a latent).
        log_q[i] = np.log(np.sum(weights[i] * np.exp(density.sum(1))))
        log_each[i] = sum(
            np.log(np.sum(weights[i] * np.exp(density[:, k]))) for k in range(latent)
        )
    return {
        "mutual_information": (draw.log_qz - log_q).mean(),
        "total_correlation": (log_q - log_each).mean(),
        "dimension_kl": (log_each - draw.log_pz).mean(),
    }


@pytest.mark.parametrize("weights", [objectives.stratified, objectives.weighted])
def test_disvae_54_weights_enter_once(weights, batch, params):
    loss, terms = run(objectives.beta_tcvae, params, batch, weights=weights)
    draw = draw_of(params, batch)
    expected = by_hand(draw, np.exp(np.float64(weights(32, SIZE))))
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-3, atol=1e-4)
    weighed = terms["distortion"] + 1.5 * expected["mutual_information"]
    weighed += 2 * expected["total_correlation"] + 3 * expected["dimension_kl"]
    np.testing.assert_allclose(loss, weighed, rtol=1e-4)
    sampled = (draw.log_qz - draw.log_pz).mean()
    np.testing.assert_allclose(sum(expected.values()), sampled, rtol=1e-6)


def test_each_term_of_the_decomposition_is_the_gaussian_closed_form():
    """Means drawn from N(0, S): then q(z) = N(0, S + s² I), and all three are known.

    Their sum alone would say nothing: it telescopes, whatever the estimate of q(z).
    """
    rng = np.random.default_rng(1)
    covariance = np.array([[1.0, 0.8], [0.8, 1.2]])
    count, noise = 4000, 0.6
    mean = rng.multivariate_normal(np.zeros(2), covariance, count)
    q = Normal(jnp.float32(mean), jnp.full((count, 2), jnp.log(noise)))
    z = q.mean + noise * jax.random.normal(jax.random.key(0), (count, 2))
    prior = Normal(*jnp.zeros((2, 1, 2)))
    draw = models.Draw(z, None, prior.log_prob(z), q.log_prob(z), None, q, prior, None)
    found = jax.jit(objectives.decomposition)(draw, objectives.stratified(count, 1e6))
    aggregate = covariance + noise**2 * np.eye(2)
    variance, determinant = np.diag(aggregate), np.linalg.det(aggregate)
    exact = {
        "mutual_information": 0.5 * np.log(determinant) - 2 * np.log(noise),
        "total_correlation": 0.5 * (np.log(variance).sum() - np.log(determinant)),
        "dimension_kl": 0.5 * (variance - 1 - np.log(variance)).sum(),
    }
    for name, value in exact.items():
        np.testing.assert_allclose(found[name], value, atol=0.05)


def test_disvae_60_weighted_sampling_is_too_low_by_log_n_for_the_whole_set():
    """Where the batch is the set, MWS says q(z) / N: a bias of log N in the mutual information."""
    rng = np.random.default_rng(2)
    q = Normal(jnp.float32(rng.normal(size=(64, 2))), jnp.full((64, 2), jnp.log(0.5)))
    z, log_qz = q.draw(jax.random.key(0))
    prior = Normal(*jnp.zeros((2, 1, 2)))
    draw = models.Draw(z, None, prior.log_prob(z), log_qz, None, q, prior, None)
    found = objectives.decomposition(draw, objectives.weighted(64, 64.0))
    exact = by_hand(jax.tree.map(np.float64, draw), np.full((64, 64), 1 / 64))
    bias = found["mutual_information"] - exact["mutual_information"]
    np.testing.assert_allclose(bias, np.log(64), rtol=1e-4)


# Moments and discrepancies


@pytest.mark.parametrize("second", [False, True])
def test_pt_vae_dip_centers_over_the_batch(second, batch, params):
    """NumPy's covariance; the posterior's variance is added to its diagonal, not to all of it."""
    loss, terms = run(objectives.dip_vae, params, batch, second=second)
    q = draw_of(params, batch).q
    covariance = np.cov(q.mean.T, ddof=0)
    if second:
        covariance += np.diag((q.std**2).mean(0))
    off = (covariance[~np.eye(3, dtype=bool)] ** 2).sum()
    own = ((np.diag(covariance) - 1) ** 2).sum()
    np.testing.assert_allclose(terms["off_diagonal"], off, rtol=1e-4)
    np.testing.assert_allclose(terms["diagonal"], own, rtol=1e-4)
    np.testing.assert_allclose(loss, -terms["elbo"] + 2 * off + 5 * own, rtol=1e-5)


KERNELS = {
    "rbf": lambda d, z: np.exp(-d / z),
    "imq": lambda d, z: sum(
        2 * z * s / (2 * z * s + d) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10)
    ),
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_mmd_is_the_sum_over_pairs(kernel):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 9, 4))

    def mean(a, b, own):
        pairs = [
            KERNELS[kernel](((u - v) ** 2).sum(), 4)
            for i, u in enumerate(a)
            for j, v in enumerate(b)
            if not (own and i == j)
        ]
        return np.mean(pairs)

    exact = mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)
    found = objectives.mmd(jnp.float32(x), jnp.float32(y), getattr(objectives, kernel))
    np.testing.assert_allclose(found, exact, rtol=1e-4)


def test_mmd_of_equal_distributions_is_0_in_the_mean():
    def one(key):
        x, y = jax.random.normal(key, (2, 20, 3))
        return objectives.mmd(x, y, objectives.imq)

    found = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 2000))
    assert abs(found.mean()) < 5 * found.std() / np.sqrt(2000)


def test_info_vae_weighs_as_the_paper_does(batch, params):
    loss, terms = run(objectives.info_vae, params, batch)
    expected = terms["distortion"] + (1 - 1.5) * terms["rate"]
    expected += (1.5 + 7 - 1) * terms["mmd"]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    of = jax.jit(functools.partial(objectives.info_vae, vae()))
    plain = HP | {"alpha": 0.0, "lambda": 1.0}
    loss, terms = of(params, batch, jax.random.key(KEY), plain)
    np.testing.assert_allclose(loss, -terms["elbo"], rtol=1e-6)


def test_wae_has_no_rate_and_no_bound(batch, params):
    loss, terms = run(objectives.wae_mmd, params, batch)
    assert set(terms) == {"distortion", "mmd"}
    np.testing.assert_allclose(loss, terms["distortion"] + 7 * terms["mmd"], rtol=1e-6)


def test_a_discriminator_recovers_a_known_density_ratio():
    """Correlated Gaussians: TC = -½ log(1 - r²), and the optimal logits give it."""
    r, count = 0.8, 512
    model = vae(
        models.FactorVAE, latent=2, discriminator=networks.MLP((32, 32), outputs=2)
    )
    hp = {"lr": 0.0, "discriminator_lr": 3e-3}
    chol = jnp.linalg.cholesky(jnp.array([[1.0, r], [r, 1.0]]))

    class Fixed(models.FactorVAE):
        """Whatever the image, its code is a draw of the Gaussian."""

        def __call__(self, batch, key, hp):
            self.discriminate(jnp.zeros((1, 2)))
            z = batch["image"] @ chol.T
            zero = jnp.zeros(len(z))
            q = Normal(z, jnp.zeros_like(z))
            return models.Draw(z, zero, zero, zero, zero, q, q, None)

    model = Fixed(
        **{f: getattr(model, f) for f in ("latent", "encoder", "decoder")},
        discriminator=model.discriminator,
    )
    params = model.init(jax.random.key(0), {"image": jnp.zeros((2, 2))}, None, hp)
    optimizer = optax.adam(hp["discriminator_lr"])

    def step(t, carry):
        params, opt, _ = carry
        keys = jax.random.split(jax.random.fold_in(jax.random.key(1), t))
        batch = {"image": jax.random.normal(keys[0], (count, 2))}

        def loss(params):
            own = {"gamma": 0.0} | hp
            return objectives.factor_vae(model, params, batch, keys[1], own)

        grads, terms = jax.grad(loss, has_aux=True)(params)
        updates, opt = optimizer.update(grads, opt)
        return optax.apply_updates(params, updates), opt, terms["total_correlation"]

    carry = params, optimizer.init(params), jnp.float32(0)
    params, _, _ = jax.jit(lambda c: jax.lax.fori_loop(0, 1500, step, c))(carry)
    z = jax.random.normal(jax.random.key(9), (20_000, 2)) @ chol.T
    logits = model.apply(params, z, method="discriminate")
    found = logits[:, 0] - logits[:, 1]
    exact = scipy.stats.multivariate_normal([0, 0], chol @ chol.T).logpdf(z)
    exact -= scipy.stats.norm.logpdf(z).sum(1)
    np.testing.assert_allclose(found.mean(), -0.5 * np.log(1 - r**2), atol=0.05)
    assert np.corrcoef(found, exact)[0, 1] > 0.98


def test_only_the_discriminator_feels_its_loss(batch):
    model = vae(models.FactorVAE, discriminator=networks.MLP((8,), outputs=2))
    params = jax.jit(model.init)(jax.random.key(0), batch, None, HP)

    def loss(params, gamma):
        hp = HP | {"gamma": gamma}
        return objectives.factor_vae(model, params, batch, jax.random.key(KEY), hp)[0]

    def elbo(params):
        keys = jax.random.split(jax.random.key(KEY))
        draw = model.apply(params, batch, keys[0], HP)
        return -objectives.bound_terms(draw)["elbo"]

    slopes = [jax.jit(jax.grad(loss))(params, g)["params"] for g in (0.0, 3.0)]
    plain = jax.jit(jax.grad(elbo))(params)["params"]
    # Its parameters: the cross-entropy alone, whatever gamma. The rest: -ELBO + gamma TC.
    for a, b in zip(*(jax.tree.leaves(s["discriminator"]) for s in slopes)):
        np.testing.assert_array_equal(a, b)
        assert abs(a).max() > 0
    for name in ("encoder", "decoder", "posterior"):
        for a, b in zip(jax.tree.leaves(slopes[0][name]), jax.tree.leaves(plain[name])):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    encoder = [jax.tree.leaves(s["encoder"])[0] for s in slopes]
    assert abs(encoder[0] - encoder[1]).max() > 1e-4


# Rates


RATED = [
    objectives.beta_vae,
    objectives.info_vae,
    objectives.dip_vae,
    objectives.beta_tcvae,
    functools.partial(objectives.iwae, k=2),
]


@pytest.mark.parametrize("objective", RATED)
def test_pt_vae_68_what_is_logged_as_the_rate_is_the_divergence(
    objective, batch, params
):
    """Not its negative: by hand, and 0 where the posterior is the prior."""
    of = jax.jit(functools.partial(objective, vae()))
    _, terms = of(params, batch, jax.random.key(KEY), HP)
    q = draw_of(params, batch).q
    by_hand = 0.5 * (q.std**2 + q.mean**2 - 1 - 2 * np.log(q.std)).sum(1).mean()
    np.testing.assert_allclose(terms["rate"], by_hand, rtol=1e-5)
    assert by_hand > 0.1
    head = jax.tree.map(jnp.zeros_like, params["params"]["posterior"])
    collapsed = {"params": params["params"] | {"posterior": head}}
    _, terms = of(collapsed, batch, jax.random.key(KEY), HP)
    np.testing.assert_allclose(terms["rate"], 0, atol=1e-6)


# The optimal sigma


def test_an_optimal_sigma_has_the_gradient_of_the_log_of_the_error(batch):
    """P/2 log MSE + beta rate is the objective once sigma² = MSE: Rybkin et al. (2021), eq. 7."""
    made = vae(likelihood=models.OptimalGaussian())
    params = jax.jit(made.init)(jax.random.key(0), batch, None, HP)

    def by_error(params):
        draw = made.apply(params, batch, jax.random.key(KEY), HP)
        error = ((draw.x.mean - batch["image"]) ** 2).mean()
        return 16 / 2 * jnp.log(error) + HP["beta"] * draw.rate.mean()

    def ours(params):
        key = jax.random.key(KEY)
        return objectives.optimal_sigma_vae(made, params, batch, key, HP)[0]

    slopes = [jax.jit(jax.grad(f))(params)["params"] for f in (ours, by_error)]
    kept = [dict(s).pop("likelihood")["variance"] for s in slopes]
    for a, b in zip(*map(jax.tree.leaves, (s | {"likelihood": 0} for s in slopes))):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    draw = draw_of(params, batch, made)
    error = ((draw.x.mean - np.float64(batch["image"])) ** 2).mean()
    np.testing.assert_allclose(
        kept[0].ravel(), 1 - error, rtol=1e-5
    )  # sigma² starts at 1


def test_a_kept_sigma_is_the_training_sets_and_the_bound_is_of_any_batch(batch):
    """Taken from each batch it made the ELBO depend on how many examples a batch has."""
    made = vae(likelihood=models.OptimalGaussian())
    params = jax.jit(made.init)(jax.random.key(0), batch, None, HP)
    hp, images = HP | {"lr": 0.0, "share": 0.05}, batch["image"]
    optimizer = optim.averaged(hp)

    @jax.jit
    def step(t, carry):
        params, opt = carry
        own = batch | {"image": images[(jnp.arange(8) + 8 * t) % 32]}
        of = functools.partial(objectives.optimal_sigma_vae, made)
        grads = jax.grad(lambda p: of(p, own, None, hp)[0])(params)
        updates, opt = optimizer.update(grads, opt, params)
        return optax.apply_updates(params, updates), opt

    params, _ = jax.lax.fori_loop(0, 400, step, (params, optimizer.init(params)))
    error = (draw_of(params, batch, made, None).x.mean - np.float64(images)) ** 2
    variance = params["params"]["likelihood"]["variance"]
    np.testing.assert_allclose(np.ravel(variance), error.mean(), rtol=0.02)
    elbos = []
    for parts in (1, 4):
        each = [batch | {"image": part} for part in jnp.split(images, parts)]
        of = jax.jit(functools.partial(objectives.optimal_sigma_vae, made))
        elbos.append(np.mean([of(params, own, None, hp)[1]["elbo"] for own in each]))
    np.testing.assert_allclose(*elbos, rtol=1e-6)


# Importance-weighted gradients


IWAES = [objectives.iwae, objectives.stl, objectives.dreg]


def test_what_is_logged_is_the_bound_whatever_the_gradient(batch, params):
    """pythae logs the surrogate; the value here is that of log 1/K sum_k w_k, by hand."""
    keys = jax.random.split(jax.random.key(KEY), 6)
    draws = [jax.jit(vae().apply)(params, batch, key, HP) for key in keys]
    log_w = np.float64([d.log_px + d.log_pz - d.log_qz for d in draws])
    bound = (scipy.special.logsumexp(log_w, axis=0) - np.log(6)).mean()
    for objective in IWAES:
        loss, terms = run(objective, params, batch, k=6)
        np.testing.assert_allclose(terms["iwae"], bound, rtol=1e-5)
        np.testing.assert_allclose(loss, -bound, rtol=1e-5)


def test_miwae_is_the_mean_of_bounds_of_their_own_draws(batch, params):
    """M = 1 is IWAE's; K = 1 is the ELBO, by M draws; between, each bound has K draws of its own."""
    keys = jax.random.split(jax.random.key(KEY), 6)
    draws = [jax.jit(vae().apply)(params, batch, key, HP) for key in keys]
    log_w = np.float64([d.log_px + d.log_pz - d.log_qz for d in draws])
    single = run(objectives.iwae, params, batch, k=6)[1]["elbo"]
    bounds = []
    for m, k in ((1, 6), (6, 1), (2, 3)):
        loss, terms = run(objectives.miwae, params, batch, m=m, k=k)
        groups = log_w.reshape(k, m, -1)
        each = scipy.special.logsumexp(groups, axis=0) - np.log(k)
        np.testing.assert_allclose([-loss, terms["iwae"]], each.mean(), rtol=1e-5)
        np.testing.assert_allclose(terms["elbo"], single, rtol=1e-5)
        bounds.append(-float(loss))
    iwae, elbo, between = bounds
    np.testing.assert_allclose(iwae, -run(objectives.iwae, params, batch, k=6)[0])
    assert elbo < between < iwae


def test_pt_vae_53_the_gradient_weighs_each_sample_by_its_share(batch, params):
    """d bound = sum_k w~_k d log w_k, w~ = w / sum w held still: the best sample counts most."""

    def log_w(params):
        keys = jax.random.split(jax.random.key(KEY), 6)
        draws = jax.vmap(lambda key: vae().apply(params, batch, key, HP))(keys)
        return draws.log_px + draws.log_pz - draws.log_qz

    values = np.float64(jax.jit(log_w)(params))
    weights = np.exp(values - scipy.special.logsumexp(values, axis=0))
    weights = jnp.float32(weights / values.shape[1])
    by_hand = jax.jit(jax.grad(lambda p: -(weights * log_w(p)).sum()))(params)
    of = functools.partial(objectives.iwae, vae(), k=6)
    ours = jax.jit(jax.grad(lambda p: of(p, batch, jax.random.key(KEY), HP)[0]))(params)
    for a, b in zip(*map(jax.tree.leaves, (ours, by_hand))):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_pt_vae_34_dreg_has_the_gradient_of_the_bound(batch, params):
    """In the mean over many draws that of IWAE; STL's is another."""

    def slopes(objective, layer):
        def one(key):
            of = functools.partial(objective, vae(), k=4)
            grads = jax.grad(lambda p: of(p, batch, key, HP)[0])(params)["params"]
            return grads[layer]["Dense_0"]["kernel"].ravel()

        keys = jax.random.split(jax.random.key(0), 4000)
        return np.float64(jax.jit(lambda k: jax.lax.map(one, k, batch_size=100))(keys))

    def apart(a, b):
        """In standard errors, of paired draws."""
        return (a - b).mean(0) / (a - b).std(0) * np.sqrt(len(a))

    iwae, stl, dreg = (slopes(o, "posterior") for o in IWAES)
    found = apart(dreg, iwae)
    assert abs(found).max() < 5 and 0.6 < found.std() < 1.4
    assert abs(apart(stl, iwae)).max() > 10
    iwae, stl, dreg = (slopes(o, "decoder")[:9] for o in IWAES)  # no difference there
    for other in (stl, dreg):
        np.testing.assert_allclose(other, iwae, rtol=1e-3, atol=1e-5)


def test_exact_posteriors_have_log_weights_without_variance():
    """q = N((x + mu)/2, I/2): every log w is log p(x), and STL's gradient of q is exactly 0."""

    mu, x = jax.random.normal(jax.random.key(0), (2, 5))
    params, batch = {"mu": mu, "b": mu / 2}, {"image": x[None]}
    exact = scipy.stats.norm.logpdf(x, mu, 2**0.5).sum()
    for k in (1, 20):
        for objective in (objectives.iwae, objectives.stl):

            def loss(params, objective=objective, k=k):
                key = jax.random.key(3)
                return objective(gradients.Toy(0.5), params, batch, key, {}, k=k)

            both = jax.jit(jax.value_and_grad(loss, has_aux=True))
            (value, terms), slope = both(params)
            np.testing.assert_allclose([-value, terms["iwae"]], exact, rtol=1e-5)
            if objective is objectives.stl:
                np.testing.assert_allclose(slope["b"], 0, atol=1e-5)
