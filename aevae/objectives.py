"""Objectives: pure functions (model, params, batch, key, hp) -> (loss, metrics).

In nats, summed over pixels and latents, averaged over examples. `elbo` is always the beta = 1
bound, so that runs trained with different weights share an axis. `hp` is a dict of scalars that
may each be swept; what sets a shape or chooses a form, such as the K of IWAE, is bound with
`functools.partial`. In this order: autoencoders, variational autoencoders, importance-weighted
bounds.
"""

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from aevae import InputError
from aevae.models import OptimalGaussian
from aevae.models.distributions import kl_each, log_mean_exp


def _require(given, methods, what, needs):
    """An InputError where `given` lacks a method without which an equation has no meaning."""
    for method in methods:
        if not hasattr(given, method):
            name = getattr(given, "__name__", type(given).__name__)
            raise InputError(f"{what} needs {needs}: {name} has no {method}")


def _one_code(draw, what):
    needs = f"a code that is one vector, which {type(draw.q).__name__}'s is not"
    if not isinstance(draw.z, jax.Array):
        raise InputError(f"{what} needs {needs}")


# Autoencoders: the distortion at the mean code. No rate, no bound.


def autoencoder(model, params, batch, key, hp):
    """The autoencoder: E[-log p(x|z)] at the mean code, z = E[q(z|x)], the distortion alone.

    Hinton and Salakhutdinov (2006). No noise, no rate, no bound. Under a Gaussian with
    sigma = 1/sqrt(2) it is the squared error plus ½ log(pi) a pixel; under a Bernoulli it is
    the cross-entropy. Evaluation reports both beside it.
    """
    del key
    distortion = -model.apply(params, batch, None, hp).log_px.mean()
    return distortion, {"distortion": distortion}


def gaussian_noise(key, image, level):
    """Adds Gaussian noise: image + level · eps, eps ~ N(0, I)."""
    return image + level * jax.random.normal(key, image.shape)


def masking_noise(key, image, level):
    """Sets each value to 0 with probability `level`."""
    return jnp.where(jax.random.uniform(key, image.shape) < level, 0.0, image)


def salt_and_pepper(key, image, level):
    """Sets each value to 0 or 1, equally likely, with probability `level`."""
    u = jax.random.uniform(key, image.shape)
    return jnp.where(u < level / 2, 0.0, jnp.where(u < level, 1.0, image))


def denoising(model, params, batch, key, hp, *, noise=masking_noise):
    """The denoising autoencoder: E[-log p(x|z)] at the mean code of a corrupted x.

    Vincent et al. (2008). `noise(key, image, level)` corrupts what the encoder sees, at the level
    hp["noise"]; the image that is scored is the one without noise.
    """
    corrupt = batch | {"image": noise(key, batch["image"], hp["noise"])}
    x = model.apply(params, corrupt, None, hp).x
    distortion = -x.log_prob(batch["image"]).mean()
    return distortion, {"distortion": distortion}


def sparse_kl(model, params, batch, key, hp):
    """The sparse autoencoder: distortion + sparsity · sum_z KL(B(target) || B(rho_z)), B Bernoulli.

    Ng (2011), CS294A lecture notes, section 3, with rho_z the mean over the batch of sigmoid(z):
    its activation, where the code is given before its sigmoid.
    """
    del key
    draw = model.apply(params, batch, None, hp)
    _one_code(draw, "a sparse autoencoder")
    log_rho = jax.nn.log_sigmoid(draw.z)
    on = jax.nn.logsumexp(log_rho, 0) - jnp.log(len(draw.z))
    off = jax.nn.logsumexp(log_rho - draw.z, 0) - jnp.log(len(draw.z))
    target = hp["target"]
    divergence = target * (jnp.log(target) - on) + (1 - target) * (
        jnp.log1p(-target) - off
    )
    distortion, penalty = -draw.log_px.mean(), divergence.sum()
    terms = {"distortion": distortion, "sparsity": penalty}
    return distortion + hp["sparsity"] * penalty, terms


def sparse_l1(model, params, batch, key, hp):
    """The sparse autoencoder with an L1 penalty: distortion + sparsity · E[sum_z |z|]."""
    del key
    draw = model.apply(params, batch, None, hp)
    _one_code(draw, "a sparse autoencoder")
    distortion, penalty = -draw.log_px.mean(), abs(draw.z).sum(-1).mean()
    terms = {"distortion": distortion, "sparsity": penalty}
    return distortion + hp["sparsity"] * penalty, terms


def contractive(model, params, batch, key, hp):
    """The contractive autoencoder: distortion + contraction · E[||dz/dx||²], z the mean code.

    Rifai et al. (2011). The Frobenius norm of the encoder's Jacobian is exact for any encoder
    whose examples do not see each other: one reverse pass for each latent.
    """
    del key

    def code(image):
        draw = model.apply(params, batch | {"image": image}, None, hp)
        _one_code(draw, "a contractive autoencoder")
        return draw.z

    z, pull = jax.vjp(code, batch["image"])
    rows = jax.vmap(lambda one: pull(jnp.broadcast_to(one, z.shape))[0])(
        jnp.eye(z.shape[-1])
    )
    distortion = -model.apply(params, batch, None, hp).log_px.mean()
    penalty = (rows**2).sum() / len(z)
    terms = {"distortion": distortion, "contraction": penalty}
    return distortion + hp["contraction"] * penalty, terms


def rae(model, params, batch, key, hp):
    """The regularized autoencoder: distortion + beta · ½ E[||z||²], z the mean code.

    Ghosh et al. (2020), without a penalty on the decoder; with the decoder
    `models.SpectralDecoder` it is their RAE-SN.
    """
    del key
    draw = model.apply(params, batch, None, hp)
    _one_code(draw, "a regularized autoencoder")
    distortion, penalty = -draw.log_px.mean(), 0.5 * (draw.z**2).sum(-1).mean()
    terms = {"distortion": distortion, "code_penalty": penalty}
    return distortion + hp["beta"] * penalty, terms


def rae_l2(model, params, batch, key, hp):
    """The RAE-L2: distortion + beta · ½ E[||z||²] + lambda ||theta||², theta the decoder's.

    Ghosh et al. (2020). theta is all parameters of the model's `decoder`, its biases too; the
    output bias is the model's, and not among them.
    """
    loss, terms = rae(model, params, batch, key, hp)
    own = params["params"]
    if "decoder" not in own:
        raise InputError(
            f"RAE-L2 needs a decoder with parameters, as the submodule `decoder`: "
            f"{type(model).__name__} has {', '.join(own)}"
        )
    penalty = sum((leaf**2).sum() for leaf in jax.tree.leaves(own["decoder"]))
    return loss + hp["lambda"] * penalty, terms | {"weight_penalty": penalty}


def rae_gp(model, params, batch, key, hp):
    """The RAE-GP: distortion + beta · ½ E[||z||²] + lambda E[||dm/dz||²], m the mean of p(x|z).

    Ghosh et al. (2020). The Frobenius norm of the decoder's Jacobian at the mean code is exact for
    any decoder whose examples do not see each other: one forward pass for each latent.
    """
    loss, terms = rae(model, params, batch, key, hp)
    z = model.apply(params, batch, None, hp).z

    def column(one):
        """The derivative of every example's mean by one latent."""
        return jax.jvp(
            lambda z: model.apply(params, z, batch, hp, method="decode").mean,
            (z,),
            (jnp.broadcast_to(one, z.shape),),
        )[1]

    columns = jax.vmap(column)(jnp.eye(z.shape[-1]))
    penalty = (columns**2).sum() / len(z)
    return loss + hp["lambda"] * penalty, terms | {"gradient_penalty": penalty}


# Variational autoencoders. `free=True` gives each latent hp["floor"] free nats.


def bound_terms(draw):
    """Distortion, rate and their ELBO; the rate is by sampling where it has no closed form."""
    rate = draw.log_qz - draw.log_pz if draw.rate is None else draw.rate
    distortion, rate = -draw.log_px.mean(), rate.mean()
    return {"elbo": -(distortion + rate), "distortion": distortion, "rate": rate}


def free_bits(draw, floor):
    """The rate with free bits, sum_z max(floor, E_x[KL_z]); nats.

    Kingma et al. (2016), with each latent as a group. Below the floor a latent's rate has no
    gradient. An InputError where the rate is not a sum of closed forms over latents.
    """
    each = kl_each(draw.q, draw.p)
    if each is None:
        raise InputError(
            f"free bits need a rate that is a sum over latents in closed form, not that of "
            f"{type(draw.q).__name__} and {type(draw.p).__name__}"
        )
    return jnp.maximum(each.mean(0), floor).sum()


def _rate(draw, terms, hp, free):
    return free_bits(draw, hp["floor"]) if free else terms["rate"]


def beta_vae(model, params, batch, key, hp, *, free=False):
    """The beta-VAE: E[-log p(x|z)] + beta KL(q(z|x) || p(z)); Higgins et al. (2017), eq. 4.

    beta = 1 is the VAE of Kingma and Welling (2014), eq. 10, with one sample.
    """
    draw = model.apply(params, batch, key, hp)
    terms = bound_terms(draw)
    return terms["distortion"] + hp["beta"] * _rate(draw, terms, hp, free), terms


def multi_rate_vae(model, params, batch, key, hp):
    """The multi-rate VAE: E over log beta of E[-log p(x|z, beta)] + beta KL(q(z|x, beta) || p(z)).

    Bae et al. (2022). log beta is uniform from hp["log_low"] to hp["log_high"], and of each example
    its own: one number of the batch is drawn, from which its examples have equal distances around
    the range. elbo, rate and distortion are those at beta = 1, of a second pass.
    """
    if not getattr(model, "multi_rate", False):
        raise InputError(
            "a multi-rate VAE needs a model that reads batch['log_beta'], as models.MultiRateVAE, and "
            f"says so (`multi_rate = True`): {type(model).__name__} does not"
        )
    own, still = None, None
    if key is not None:
        key, own = jax.random.split(key)
        still = jax.random.fold_in(own, 1)
    log_beta = log_betas(own, len(batch["image"]), hp["log_low"], hp["log_high"])
    draw = model.apply(params, batch | {"log_beta": log_beta}, key, hp)
    rate = draw.log_qz - draw.log_pz if draw.rate is None else draw.rate
    loss = (jnp.exp(log_beta) * rate - draw.log_px).mean()
    return loss, bound_terms(model.apply(params, batch, still, hp))


def log_betas(key, count, low, high):
    """Draws log betas, [count], each uniform from `low` to `high`, at equal distances around it.

    Without a key there is no noise: they are the middles of as many parts.
    """
    shift = 0.5 / count if key is None else jax.random.uniform(key)
    place = (shift + jnp.arange(count) / count) % 1
    return low + (high - low) * place


def optimal_sigma_vae(model, params, batch, key, hp, *, free=False):
    """The sigma-VAE: the beta-VAE under N(x; mean, sigma²) with the best sigma².

    Rybkin et al. (2021), eq. 6. The best is the mean squared error over pixels and examples. The
    gradient is that at the batch's own; what is logged and evaluated is at the one that
    `models.OptimalGaussian` keeps, an average over training batches, so that no value depends on
    what else is in a batch. The average moves at a rate of its own, which `optim.averaged` gives.
    """
    if not isinstance(getattr(model, "likelihood", None), OptimalGaussian):
        raise InputError("an optimal sigma needs the likelihood models.OptimalGaussian")
    draw = model.apply(params, batch, key, hp)
    kept = jnp.exp(2 * draw.x.log_std.ravel()[0])
    own = ((draw.x.mean - batch["image"]) ** 2).mean()
    own = stop_gradient(jnp.maximum(own, model.likelihood.floor**2))
    best = draw.x._replace(
        log_std=0.5 * jnp.log(jnp.full_like(draw.x.log_std, 1) * own)
    )
    terms = bound_terms(draw)
    slope = -best.log_prob(batch["image"]).mean()
    slope += 0.5 * (kept - own) ** 2
    distortion = stop_gradient(terms["distortion"]) + slope - stop_gradient(slope)
    loss = distortion + hp["beta"] * _rate(draw, terms, hp, free)
    return loss, terms | {"sigma": kept**0.5}


def capacity_vae(model, params, batch, key, hp, *, free=False):
    """The VAE with a capacity: E[-log p(x|z)] + gamma |KL - C|; Burgess et al. (2018), eq. 8.

    KL is the mean over the batch, and C is hp["capacity"], in nats.
    """
    draw = model.apply(params, batch, key, hp)
    terms = bound_terms(draw)
    excess = jnp.abs(_rate(draw, terms, hp, free) - hp["capacity"])
    return terms["distortion"] + hp["gamma"] * excess, terms


def _require_several(count, what):
    """An InputError where what is between the examples of a batch has fewer than two of them."""
    if count < 2:
        raise InputError(
            f"{what} needs batches, and validation and test splits, of two examples or more"
        )


def stratified(count, size):
    """Log-weights [B, B] of minibatch stratified sampling: Chen et al. (2018), appendix.

    Row i weighs the posteriors q(.|x_j) at z_i so that the weighted sum is an unbiased estimate of
    q(z_i) over a data set of `size`: the own posterior, on the diagonal, counts 1/N; one other
    stands for those that the batch lacks, (N - M) / (N M); the rest 1/M each, M = B - 1.
    """
    _require_several(count, "minibatch stratified sampling")
    m = count - 1
    i = jnp.arange(count)
    weights = jnp.full((count, count), 1 / m)
    weights = weights.at[i, i].set(1 / size)
    return jnp.log(weights.at[i, (i + 1) % count].set((size - m) / (size * m)))


def weighted(count, size):
    """Log-weights [B, B] of minibatch weighted sampling, 1 / (N B): Chen et al. (2018).

    Its estimate of log q(z) is biased downwards, by log N where the batch is the whole set.
    """
    return jnp.full((count, count), 1.0) * -jnp.log(size * count)


def decomposition(draw, log_weights):
    """Mutual information, total correlation and dimension-wise KL, estimated; they sum to the rate.

    MI = E[log q(z|x) - log q(z)], TC = E[log q(z) - sum_z log q(z_z)] and
    DWKL = E[sum_z log q(z_z) - log p(z)]: Chen et al. (2018), eq. 2. `log_weights` [B, B] make
    estimates of q(z) from the batch's posteriors; they enter once for the joint, and once for each
    latent's marginal.
    """
    needs = "a posterior of independent latents"
    _require(draw.q, ["log_prob_each"], "the decomposition of the rate", needs)
    others = jax.tree.map(lambda v: v[None], draw.q)
    each = others.log_prob_each(draw.z[:, None])
    log_q = jax.nn.logsumexp(each.sum(-1) + log_weights, axis=1)
    log_each = jax.nn.logsumexp(each + log_weights[:, :, None], axis=1).sum(-1)
    return {
        "mutual_information": (draw.log_qz - log_q).mean(),
        "total_correlation": (log_q - log_each).mean(),
        "dimension_kl": (log_each - draw.log_pz).mean(),
    }


def beta_tcvae(model, params, batch, key, hp, *, weights=stratified):
    """The beta-TCVAE: distortion + alpha MI + beta TC + gamma DWKL; Chen et al. (2018), eq. 4.

    `weights` is `stratified` or `weighted`; both need to know how many examples the data set has.
    """
    draw = model.apply(params, batch, key, hp)
    parts = decomposition(draw, weights(len(draw.z), batch["size"]))
    terms = bound_terms(draw)
    loss = terms["distortion"] + hp["alpha"] * parts["mutual_information"]
    loss += (
        hp["beta"] * parts["total_correlation"] + hp["gamma"] * parts["dimension_kl"]
    )
    return loss, terms | parts


def dip_vae(model, params, batch, key, hp, *, second=False, free=False):
    """The DIP-VAE: -ELBO + off_diagonal sum_{i≠j} C_ij² + diagonal sum_i (C_ii - 1)².

    Kumar et al. (2018). DIP-VAE-I: C is the batch's covariance of E[z|x], with 1/B. DIP-VAE-II
    (`second=True`): that of z itself, which adds the mean posterior variance to its diagonal.
    """
    draw = model.apply(params, batch, key, hp)
    _require(draw.q, ["mean", "std"], "DIP-VAE", "the moments of q(z|x)")
    centered = draw.q.mean - draw.q.mean.mean(0, keepdims=True)
    covariance = centered.T @ centered / len(centered)
    if second:
        covariance += jnp.diag((draw.q.std**2).mean(0))
    diagonal = jnp.diag(covariance)
    off = (covariance**2).sum() - (diagonal**2).sum()
    own = ((diagonal - 1) ** 2).sum()
    terms = bound_terms(draw)
    loss = terms["distortion"] + _rate(draw, terms, hp, free)
    loss += hp["off_diagonal"] * off + hp["diagonal"] * own
    return loss, terms | {"off_diagonal": off, "diagonal": own}


def rbf(squared, latent):
    """A Gaussian kernel, exp(-d² / Z), of squared width Z/2, as Zhao et al. (2019) take it."""
    return jnp.exp(-squared / latent)


def imq(squared, latent):
    """The inverse multiquadric kernels sum_s C_s / (C_s + d²), C_s = 2 Z s, s = 0.1, ..., 10.

    Tolstikhin et al. (2018).
    """
    scales = 2 * latent * jnp.array([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0])
    return jax.vmap(lambda scale: scale / (scale + squared))(scales).sum(0)


def mmd(z, other, kernel):
    """The unbiased estimate of the squared maximum mean discrepancy of two samples, [B, Z] each.

    Gretton et al. (2012), eq. 3.
    """

    _require_several(min(len(z), len(other)), "a maximum mean discrepancy")

    def mean(a, b, own):
        squared = ((a[:, None] - b[None]) ** 2).sum(-1)
        values = kernel(squared, a.shape[-1])
        if own:  # no example with itself
            return (values.sum() - jnp.trace(values)) / (len(a) * (len(a) - 1))
        return values.mean()

    return mean(z, z, True) + mean(other, other, True) - 2 * mean(z, other, False)


def _mmd_to_prior(draw, key, kernel):
    _one_code(draw, "a maximum mean discrepancy")
    return mmd(draw.z, draw.p.sample(key, len(draw.z)), kernel)


def info_vae(model, params, batch, key, hp, *, kernel=rbf, free=False):
    """The InfoVAE: distortion + (1 - alpha) KL(q(z|x) || p(z)) + (alpha + lambda - 1) MMD²(q, p).

    Zhao et al. (2019); lambda is hp["lambda"]. alpha = 0 and lambda = 1 is the VAE, alpha = 1
    the MMD-VAE.
    """
    key, prior_key = jax.random.split(key)
    draw = model.apply(params, batch, key, hp)
    terms, gap = bound_terms(draw), _mmd_to_prior(draw, prior_key, kernel)
    rate = _rate(draw, terms, hp, free)
    loss = terms["distortion"] + (1 - hp["alpha"]) * rate
    loss += (hp["alpha"] + hp["lambda"] - 1) * gap
    return loss, terms | {"mmd": gap}


def wae_mmd(model, params, batch, key, hp, *, kernel=imq):
    """The WAE-MMD: distortion at the mean code + lambda MMD²(q(z), p(z)).

    Tolstikhin et al. (2018), with a deterministic encoder, as there: no rate, no bound.
    """
    draw = model.apply(params, batch, None, hp)
    distortion, gap = -draw.log_px.mean(), _mmd_to_prior(draw, key, kernel)
    return distortion + hp["lambda"] * gap, {"distortion": distortion, "mmd": gap}


def factor_vae(model, params, batch, key, hp, *, free=False):
    """The FactorVAE: -ELBO + gamma TC(z), TC by a discriminator; Kim and Mnih (2018), in one step.

    The model is `models.FactorVAE`. The first half of the batch gives the codes of TC; the second
    half, with each latent permuted over the examples, stands for the product of the marginals.
    TC = E[D_0(z) - D_1(z)], the discriminator's logits; its own loss is the cross-entropy that
    distinguishes the two, and moves its parameters alone.
    """
    key, shuffle_key = jax.random.split(key)
    draw = model.apply(params, batch, key, hp)
    if not hasattr(model, "discriminate"):
        raise InputError("FactorVAE needs a model with a discriminator: FactorVAE's")
    _require_several(len(draw.z), "FactorVAE")
    ours, other = jnp.split(draw.z, [len(draw.z) // 2])
    permuted = jax.random.permutation(
        shuffle_key, stop_gradient(other), axis=0, independent=True
    )
    logits = model.apply(stop_gradient(params), ours, method="discriminate")
    tc = (logits[:, 0] - logits[:, 1]).mean()
    joint = model.apply(params, stop_gradient(ours), method="discriminate")
    product = model.apply(params, permuted, method="discriminate")
    right = jax.nn.log_softmax(joint)[:, 0].mean()
    right += jax.nn.log_softmax(product)[:, 1].mean()
    terms = bound_terms(draw)
    rate = _rate(draw, terms, hp, free)
    loss = terms["distortion"] + rate + hp["gamma"] * tc - 0.5 * right
    return loss, terms | {"total_correlation": tc, "discriminator": -0.5 * right}


def vq_vae(model, params, batch, key, hp):
    """The VQ-VAE: distortion + ||sg(before) - after||² + commitment ||before - sg(after)||².

    Van den Oord et al. (2017), eq. 3, summed over the code. The model is `models.VQVAE`; sg stops
    the gradient, so that the second term moves the codebook and the third the encoder.
    """
    draw = model.apply(params, batch, key, hp)
    _require(draw.q, ["before", "after"], "VQ-VAE", "a code of codewords")
    before, after = draw.q.before, draw.q.after
    book = ((stop_gradient(before) - after) ** 2).sum((1, 2)).mean()
    commitment = ((before - stop_gradient(after)) ** 2).sum((1, 2)).mean()
    terms = bound_terms(draw)
    loss = terms["distortion"] + book + hp["commitment"] * commitment
    return loss, terms | {"commitment": commitment}


def fsq_vae(model, params, batch, key, hp):
    """The distortion alone, for finite scalar quantization: Mentzer et al. (2024).

    The model is `models.FSQ`, whose rate is fixed.
    """
    terms = bound_terms(model.apply(params, batch, key, hp))
    return terms["distortion"], terms


# Importance-weighted: K draws of z an example.


def _draws(model, params, batch, key, hp, k):
    return jax.vmap(lambda key: model.apply(params, batch, key, hp))(
        jax.random.split(key, k)
    )


def iwae(model, params, batch, key, hp, *, k=50):
    """The IWAE: -E[log 1/K sum_k p(x, z_k) / q(z_k|x)], z_k ~ q(z|x); Burda et al. (2016), eq. 8.

    `k` is K. The metric `iwae` is the bound with that K; the others are those of the
    single-sample ELBO, averaged over the K draws.
    """
    draws = _draws(model, params, batch, key, hp, k)
    bound = log_mean_exp(draws.log_px + draws.log_pz - draws.log_qz).mean()
    return -bound, bound_terms(draws) | {"iwae": bound}


def miwae(model, params, batch, key, hp, *, m=8, k=8):
    """The MIWAE: -E[1/M sum_m log 1/K sum_k p(x, z_km) / q(z_km|x)]; Rainforth et al. (2018).

    `m` is M, and `k` is K: M IWAE bounds side by side. K = 1 is the ELBO by M draws of z, which
    Burda et al. (2016) call the VAE with M samples. The metric `iwae` is the bound with K.
    """
    draws = _draws(model, params, batch, key, hp, m * k)
    log_w = draws.log_px + draws.log_pz - draws.log_qz
    bound = log_mean_exp(log_w.reshape(k, m, -1)).mean()
    return -bound, bound_terms(draws) | {"iwae": bound}


def stl(model, params, batch, key, hp, *, k=50):
    """Sticking the landing: IWAE's bound with q's parameters felt through z alone.

    Roeder et al. (2017). Biased for K > 1; without variance where q is the exact posterior.
    """
    draws = _draws(model, params, batch, key, hp, k)
    log_qz = jax.vmap(lambda q, z: q.log_prob(z))(stop_gradient(draws.q), draws.z)
    bound = log_mean_exp(draws.log_px + draws.log_pz - log_qz).mean()
    return -bound, bound_terms(draws) | {"iwae": bound}


def dreg(model, params, batch, key, hp, *, k=50):
    """IWAE's bound with the doubly reparameterized gradient: Tucker et al. (2019).

    The encoder's is sum_k w_k² dlog w_k/dz_k dz_k/dphi with normalized weights w_k, without
    bias; the decoder's and the prior's is IWAE's own. The loss has the value of -bound.
    """
    draws = _draws(model, params, batch, key, hp, k)
    frozen = stop_gradient(draws.q)

    def log_w(params, z):
        def one(q, z):
            return model.apply(params, z, batch, hp, method="log_joint") - q.log_prob(z)

        return jax.vmap(one)(frozen, z)

    bound = log_mean_exp(log_w(params, stop_gradient(draws.z))).mean()
    paths = log_w(stop_gradient(params), draws.z)
    weights = stop_gradient(jax.nn.softmax(paths, axis=0))
    encoder = (weights**2 * paths).sum(0).mean()
    surrogate = encoder - stop_gradient(encoder)
    return -bound - surrogate, bound_terms(draws) | {"iwae": bound}
