"""Laws of linear autoencoders and VAEs, whose optima are known in closed form.

First what is known, as functions of the covariance's eigenvalues; then laws of what the package trains;
then laws of what is solved for by L-BFGS, on MNIST's covariance.

S is the covariance of the images with 1/N, l_1 >= ... >= l_d its eigenvalues, q the latent size;
p(x|z) = N(W z + m, sigma² I) and q(z|x) = N(V (x - m), diag D).
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from aevae import data, models, networks, objectives, optim, training
from aevae.config import Config, replace
from aevae.models import likelihoods
from aevae.training import bounds
from experiments.laws.law import Law

SIGMA2 = 0.5  # of the runs whose sigma is fixed


# What is known


def moments(images):
    """Mean [d] and covariance [d, d], with 1/N, of uint8 images scaled to [0, 1]; float64."""
    x = images.reshape(len(images), -1)
    mean, covariance = x.mean(0, dtype=np.float64) / 255, 0.0
    for start in range(0, len(x), 10_000):
        block = x[start : start + 10_000] / 255 - mean
        covariance += block.T @ block / len(x)
    return mean, covariance


def spectrum(covariance):
    """The eigenvalues of a covariance, greatest first."""
    return np.linalg.eigvalsh(covariance)[::-1]


def maximum(values, latent):
    """The greatest mean log-likelihood of probabilistic PCA, in nats, and its sigma².

    -½ [d log 2 pi + sum_{i<=q} log l_i + (d - q) log sigma² + d], with sigma² the mean of l_i, i > q:
    Tipping and Bishop (1999), eq. 7-8.
    """
    d, variance = len(values), values[latent:].mean()
    volume = np.log(values[:latent]).sum() + (d - latent) * math.log(variance)
    return -0.5 * (d * math.log(2 * math.pi) + volume + d), variance


def frontier(values, latent, beta, variance):
    """Active directions, rate, squared error and ELBO of the optimal beta-VAE: reverse water-filling.

    With tau = beta sigma² and k the number of l_i > tau, i <= q: rate = ½ sum_{i<=k} log(l_i / tau),
    squared error = sum_{i>k} l_i + k tau: the Gaussian rate-distortion function as long as k < q.
    """
    tau, d = beta * variance, len(values)
    k = int((values[:latent] > tau).sum())
    rate = 0.5 * np.log(values[:k] / tau).sum()
    error = values[k:].sum() + k * tau
    elbo = -0.5 * (d * math.log(2 * math.pi * variance) + error / variance) - rate
    return k, rate, error, elbo


def best_variance(values, latent, beta):
    """The sigma² that the optimal beta-VAE learns.

    It is the root of sum_{i<=q} min(beta, l_i / sigma²) + sum_{i>q} l_i / sigma² = d, by bisection.
    """
    low, high = values[-1] * 1e-3 + 1e-12, values.sum()
    for _ in range(200):
        middle = math.sqrt(low * high)
        shares = np.minimum(beta, values[:latent] / middle).sum()
        above = shares + values[latent:].sum() / middle > len(values)
        low, high = (middle, high) if above else (low, middle)
    return middle


# What is trained, through the package


def _config(latent, likelihood, hp, objective, steps, size):
    parts = networks.MLPEncoder(()), networks.MLPDecoder(())
    batch = min(2_000, size)
    return Config(
        models.VAE(latent, *parts, likelihood),
        objective,
        hp | {"lr": 0.05, "length": float(steps)},
        optim.adam,
        functools.partial(optim.cosine, length="length"),
        data.none,
        batch=batch,
        epochs=max(1, steps // (size // batch)),
    )


def trained(dataset, config, name, points):
    """The parameters of runs at points of one hyperparameter, trained together; float64."""
    runs = [replace(config, f"hparams.{name}", float(value)) for value in points]
    found = training.fit(runs, dataset)
    return [jax.tree.map(np.float64, run.params["params"]) for run in found]


def exact(params, x, variance):
    """Active directions, rate, squared error and ELBO of trained parameters on images x [N, P]."""
    head, latent = (
        params["posterior"]["Dense_0"],
        len(params["decoder"]["Dense_0"]["kernel"]),
    )
    both = x @ head["kernel"] + head["bias"]
    mean, spread = both[:, :latent], np.exp(both[:, latent:])
    w, shift = params["decoder"]["Dense_0"]["kernel"], params["bias"]["value"]
    error = ((x - mean @ w - shift) ** 2).sum(1) + spread @ (w**2).sum(1)
    each = 0.5 * (spread + mean**2 - 1 - np.log(spread)).mean(0)
    error, rate = error.mean(), each.sum()
    elbo = (
        -0.5 * (x.shape[1] * math.log(2 * math.pi * variance) + error / variance) - rate
    )
    return int((each > 1e-3).sum()), rate, error, elbo


def _variance(params):
    return float(np.exp(2 * params["likelihood"]["log_sigma"]).ravel()[0])


def _images(dataset):
    x = dataset.train["image"].reshape(len(dataset.train["image"]), -1)
    return x.astype(np.float64)


def likelihood(dataset, latent=4, steps=4_000):
    """1. The linear VAE with a learned sigma² reaches the likelihood of probabilistic PCA.

    Lucas et al. (2019).
    """
    x, rows = _images(dataset), []
    values = spectrum(np.cov(x.T, ddof=0))
    best, variance = maximum(values, latent)
    of = functools.partial(
        _config,
        hp={"beta": 1.0},
        objective=objectives.beta_vae,
        steps=steps,
        size=len(x),
    )
    learned = of(latent, models.LearnedGaussian())
    (params,) = trained(dataset, learned, "beta", [1.0])
    *_, elbo = exact(params, x, _variance(params))
    rows.append(Law(f"linear VAE, q = {latent}: ELBO = pPCA, nats", best, elbo, 1e-3))
    name = f"linear VAE, q = {latent}: sigma² = mean discarded eigenvalue"
    rows.append(Law(name, variance, _variance(params), 0.002 * variance))
    return rows


def water_filling(
    dataset, latent=6, betas=(0.3, 1.0, 3.0, 12.0, 24.0, 40.0), steps=6_000
):
    """2. The linear beta-VAE's rate, error and learned sigma² are those of reverse water-filling."""
    x, rows = _images(dataset), []
    values = spectrum(np.cov(x.T, ddof=0))
    of = functools.partial(
        _config, objective=objectives.beta_vae, steps=steps, size=len(x)
    )
    hp = {"beta": 1.0, "sigma": math.sqrt(SIGMA2)}
    fixed = of(latent, likelihoods.gaussian, hp)
    for beta, params in zip(betas, trained(dataset, fixed, "beta", betas)):
        known = frontier(values, latent, beta, SIGMA2)
        found = exact(params, x, SIGMA2)
        name = f"beta {beta:g}, sigma² {SIGMA2}"
        rows.append(Law(f"{name}: active directions", known[0], found[0], 0))
        rows.append(Law(f"{name}: rate, nats", known[1], found[1], 0.01))
        rows.append(Law(f"{name}: squared error", known[2], found[2], 0.02))
    learned = of(latent, models.LearnedGaussian(), {"beta": 1.0})
    points = [beta for beta in betas if beta <= 4]
    for beta, params in zip(points, trained(dataset, learned, "beta", points)):
        known = best_variance(values, latent, beta)
        name = f"beta {beta:g}: learned sigma²"
        rows.append(Law(name, known, _variance(params), 0.005 * known))
    return rows + collapse(values, latent)


def collapse(values, latent):
    """With a learned sigma² all directions collapse at beta >= l_1 d / tr S, and not before."""
    threshold, rows = values[0] * len(values) / values.sum(), []
    for share, expected in ((0.95, 1), (1.05, 0)):
        solved = solve(np.diag(values), latent, beta=share * threshold)
        name = f"beta {share * threshold:.2f}, {share:g} of the threshold: active directions"
        rows.append(Law(name, expected, active(solved), 0))
    return rows


def reconstruction(dataset, latents=(2, 4), steps=3_000):
    """3. The linear autoencoder's squared error is PCA's: Baldi and Hornik (1989)."""
    x, rows = _images(dataset), []
    values = spectrum(np.cov(x.T, ddof=0))
    for latent in latents:
        hp = {"sigma": math.sqrt(0.5)}
        config = _config(
            *(latent, likelihoods.gaussian, hp),
            *(objectives.autoencoder, steps, len(x)),
        )
        (params,) = trained(dataset, config, "sigma", [math.sqrt(0.5)])
        head = params["posterior"]["Dense_0"]
        code = (x @ head["kernel"] + head["bias"])[:, :latent]
        again = code @ params["decoder"]["Dense_0"]["kernel"] + params["bias"]["value"]
        error = ((x - again) ** 2).sum(1).mean()
        known = values[latent:].sum()
        name = f"linear autoencoder, q = {latent}: squared error = PCA"
        rows.append(Law(name, known, error, 1e-3 * known))
    return rows


# What is solved: the objective in closed form, as a function of S


def solve(covariance, latent, beta=1.0, variance=None, seed=0):
    """Solves for the linear beta-VAE's best parameters, (W, V, D, sigma²), by L-BFGS.

    Minimizes ½ [d log 2 pi sigma² + E||x - W z||² / sigma²] + beta KL with
    E||x - W z||² = tr (I - WV) S (I - WV)ᵀ + tr W D Wᵀ and
    KL = ½ [sum D + tr V S Vᵀ - q - sum log D] over W (and sigma², where none is given), from a
    random start. The best V and D for each W are in closed form, where the gradient in them is zero.
    All in float64.
    """
    import scipy.optimize
    import threadpoolctl

    # In the axes of S, where it is diagonal: a rotation of the images, which changes no value.
    s, turn = np.linalg.eigh(covariance)
    d, total = len(s), s.sum()
    scale = math.sqrt(total / d)

    def posterior(w, noise):
        """The best V and D for a decoder."""
        ww = w.T @ w
        v = np.linalg.solve(ww / noise + beta * np.eye(latent), w.T / noise)
        return v, beta / (np.diag(ww) / noise + beta)

    def apart(flat):
        log_s = flat[-1] if variance is None else math.log(variance)
        return flat[: d * latent].reshape(d, latent) * scale, math.exp(log_s)

    def loss(flat):
        w, noise = apart(flat)
        v, spread = posterior(w, noise)
        vs, ww = v * s, w.T @ w
        vsv = vs @ v.T
        error = total - 2 * (vs * w.T).sum() + (ww * vsv).sum()
        error += (np.diag(ww) * spread).sum()
        rate = 0.5 * (spread.sum() + np.trace(vsv) - latent - np.log(spread).sum())
        value = 0.5 * (d * math.log(2 * math.pi * noise) + error / noise) + beta * rate
        slope = ((w @ (vsv + np.diag(spread)) - vs.T) / noise * scale).ravel()
        if variance is None:
            slope = np.append(slope, 0.5 * (d - error / noise))
        return value, slope

    random = np.random.default_rng(seed)
    axes = random.normal(size=(d, latent))
    for _ in range(2):  # two power iterations: from a random start alone it takes long
        axes, _ = np.linalg.qr(s[:, None] * axes)
    start = (math.sqrt(d) * 0.1 * axes).ravel()
    if variance is None:
        start = np.append(start, math.log(scale**2))
    options = {"maxiter": 20_000, "maxfun": 40_000, "maxcor": 10}
    with threadpoolctl.threadpool_limits(1):  # products this small wait for threads
        found = scipy.optimize.minimize(
            *(loss, start),
            jac=True,
            method="L-BFGS-B",
            options=options | {"ftol": 1e-13, "gtol": 1e-6},
        )
    w, noise = apart(found.x)
    v, spread = posterior(w, noise)
    return turn @ w, v @ turn.T, spread, noise


def active(solved):
    """How many latents are active: their posterior's variance is below 1 by more than 1e-3."""
    return int((1 - solved[2] > 1e-3).sum())


def measured(solved, covariance):
    """Rate, squared error and ELBO of what `solve` returned, in closed form."""
    w, v, spread, variance = solved
    s, d = covariance, len(covariance)
    vsv = v @ s @ v.T
    error = np.trace(s) - 2 * np.trace(v @ s @ w)
    error += np.trace(w.T @ w @ (vsv + np.diag(spread)))
    rate = 0.5 * (spread.sum() + np.trace(vsv) - len(v) - np.log(spread).sum())
    elbo = -0.5 * (d * math.log(2 * math.pi * variance) + error / variance) - rate
    return rate, error, elbo


def mnist(dataset, latents=(20, 50), betas=(0.5, 4.0, 16.0)):
    """1, 2 and 3 on the covariance of MNIST's 60,000 training images in [0, 1].

    The optimum is solved for, and the package's own VAE is evaluated with it on the images.
    """
    images = dataset.train["image"]
    mean, covariance = moments(images)
    values, rows = spectrum(covariance), []
    for latent in latents:
        best, variance = maximum(values, latent)
        solved = solve(covariance, latent)
        *_, elbo = measured(solved, covariance)
        name = f"MNIST, q = {latent}"
        rows.append(Law(f"{name}: ELBO = pPCA, nats", best, elbo, 1e-3))
        rows.append(Law(f"{name}: sigma²", variance, solved[3], 1e-6))
        found, error = _by_the_package(solved, mean, images)
        rows.append(
            Law(f"{name}: evaluated on the images, nats", best, found, 4 * error)
        )
    for beta in betas:
        _, rate, error, _ = frontier(values, latents[-1], beta, 0.05)
        solved = solve(covariance, latents[-1], beta, 0.05)
        found = measured(solved, covariance)
        name = f"MNIST, q = {latents[-1]}, beta {beta:g}, sigma² 0.05"
        rows.append(Law(f"{name}: rate, nats", rate, found[0], 1e-2))
        rows.append(Law(f"{name}: squared error", error, found[1], 1e-3))
    return rows


def _by_the_package(solved, mean, images):
    """The ELBO of the package's VAE with solved parameters on the images, and its standard error."""
    w, v, spread, variance = solved
    d, latent = w.shape
    parts = networks.MLPEncoder(()), networks.MLPDecoder(())
    model = models.VAE(latent, *parts, models.LearnedGaussian(), shape=(d,))
    kernel = np.concatenate([v.T, np.zeros((d, latent))], axis=1)
    bias = np.concatenate([-v @ mean, np.log(spread)])
    inner = {
        "posterior": {"Dense_0": {"kernel": kernel, "bias": bias}},
        "decoder": {"Dense_0": {"kernel": w.T}},
        "bias": {"value": mean},
        "likelihood": {"log_sigma": np.full((1,), 0.5 * math.log(variance))},
    }
    params = jax.tree.map(jnp.float32, {"params": inner})

    @jax.jit
    def elbo(image, key):
        batch = data.none(None, {"image": image})
        draw = model.apply(params, batch, key, {})
        return draw.log_px - draw.rate

    found = []
    for block, start in enumerate(range(0, len(images), bounds.ROWS)):
        rows = images[start : start + bounds.ROWS].reshape(-1, d)
        found.append(
            np.float64(elbo(rows, jax.random.fold_in(jax.random.key(0), block)))
        )
    found = np.concatenate(found)
    # What is random is the draw of z alone: its noise is that of the distortion.
    noise = 0.5 * np.sqrt(2 * latent) / math.sqrt(len(found))
    return found.mean(), max(noise, 1e-3)
