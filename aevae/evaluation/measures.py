"""What is measured of the trained runs of a group.

Each is a function of their `assess.Work` and of numbers, and yields for every run, in their order,
{column: value}, perhaps with {name: [Z]} of its latents. Means are over the test split, where nothing else is said, in nats.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from aevae import data, objectives
from aevae.evaluation import disentanglement as metrics
from aevae.evaluation import likelihood as estimates
from aevae.evaluation import representation as probe
from aevae.models.distributions import Normal
from aevae.models.vae import Draw
from aevae.runs.progress import say

CODES = 2_000  # that the aggregate posterior is evaluated at
FACTORED = 50_000  # examples at most that disentanglement is measured on


def likelihood(work, k):
    """The bound with K samples; bits per dimension where images are 256 levels."""
    held = work.held("test")
    for own in _bounds(work, k, held, 0):
        values = {f"iwae_{k}": own.mean(), f"iwae_{k}_error": _error(own)}
        if _levels(work, held) == 256:
            pixels = math.prod(held["image"].shape[1:])
            values["bits_per_dimension"] = -own.mean() / pixels / math.log(2)
        yield (values,)


def train_likelihood(work, k):
    """The same bound of the first training examples, as many as there are test examples."""
    held = work.held("train", len(work.held("test")["image"]))
    for own in _bounds(work, k, held, 8):
        yield ({f"train_iwae_{k}": own.mean(), f"train_iwae_{k}_error": _error(own)},)


def _bounds(work, k, held, use):
    """[M, N]: of each run and example."""

    def f(carry, given, shared):
        return estimates.importance(work.config, k, work.key(use), carry, given, shared)

    shapes = jax.ShapeDtypeStruct((len(held["image"]),), jnp.float32)
    units = estimates.importance_units(held, k)
    found = work.through(f, shapes, units, work.given, held)
    return found.astype(np.float64) - math.log(k)


def _error(values):
    """The standard error of a mean over examples."""
    return values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else None


def _levels(work, held):
    """How many values a pixel can have, where the likelihood is of so many."""
    batch = data.none(None, {name: values[:2] for name, values in held.items()})

    def x(given):
        params, step, hp = given
        hp = work.config.schedule(hp, step)
        return work.config.model.apply(params, batch, None, hp).x

    return getattr(jax.eval_shape(x, work.shapes()), "levels", None)


def latents(work, minibatch):
    """The rate in its three parts, from the exact aggregate posterior: Chen et al. (2018), eq. 2.

    MI = E[log q(z|x) - log q(z)], TC = E[log q(z) - sum_z log q(z_z)], and
    DWKL = E[sum_z log q(z_z) - log p(z)], with q(z) = 1/N sum_n q(z|x_n); nats. Of each latent its rate,
    and the variance of its mean over the data, by which it is active.
    """
    held = work.held("test")
    codes = work.encoded(held, 1)
    mean, std, z = (codes[name] for name in ("mean", "std", "z"))
    chosen = z[:, :CODES]
    units = estimates.aggregate_units(mean, chosen)
    shapes = dict.fromkeys(
        ("log_q", "log_each"), jax.ShapeDtypeStruct(chosen.shape[1:2], jnp.float32)
    )
    given = jax.tree.map(work.members.spread, (mean, std, chosen))
    found = work.through(estimates.aggregate, shapes, units, given)
    for i in range(len(mean)):
        log_qz, log_pz = (np.float64(codes[n][i, :CODES]) for n in ("log_qz", "log_pz"))
        log_q, log_each = (np.float64(found[n][i]) for n in ("log_q", "log_each"))
        information = log_qz - log_q
        rates = codes["rate"][i].astype(np.float64)
        rate, error = rates.sum(1).mean(), _error(information) or 0.0
        most = math.log(len(mean[i]))
        _must(information.max() <= most + 1e-3, "mutual information above log N")
        _must(
            information.mean() <= rates.sum(1)[:CODES].mean() + 5 * error + 1e-3,
            "mutual information above the rate",
        )
        variance = mean[i].var(0, dtype=np.float64)
        values = {
            "mutual_information": information.mean(),
            "mutual_information_error": error,
            "total_correlation": (log_q - log_each).mean(),
            "dimension_kl": (log_each - log_pz).mean(),
            "rate_per_latent": rate / rates.shape[1],
        }
        if minibatch:
            values |= _estimates(codes, i, minibatch)
        yield (
            values,
            {"rate": rates.mean(0), "mean_variance": variance},
        )


def _must(holds, what):
    if not holds:
        raise AssertionError(f"{what}: an evaluation is wrong")


def _estimates(codes, i, size):
    """Total correlation and mutual information by minibatches of the same codes."""
    count = len(codes["mean"][i])
    found = {}

    @jax.jit
    def parts(mean, std, z, log_qz, log_pz, log_weights):
        draw = Draw(z, None, log_pz, log_qz, None, Normal(mean, std), None, None)
        return objectives.decomposition(draw, log_weights)

    order = np.random.default_rng(0).permutation(count)
    batches = order[: count // size * size].reshape(-1, size)
    for weights in (objectives.stratified, objectives.weighted):
        table = weights(size, count)
        each = [
            parts(
                *(codes[n][i][b] for n in ("mean", "std", "z", "log_qz", "log_pz")),
                table,
            )
            for b in batches
        ]
        for name in ("mutual_information", "total_correlation"):
            value = np.mean([float(e[name]) for e in each])
            found[f"{name}_{weights.__name__}_{size}"] = value
    return found


def reconstruction(work):
    """Squared error and cross-entropy at the mean code, and PCA's of the same size beside them."""
    held = work.held("test")
    codes = work.encoded(held, 1)
    pca = probe.PCA(_images(work.held("train")))
    images = _images(held)
    for i, row in enumerate(work.group.rows):
        values = (
            {}
            if row["elbo"] is None
            else {
                name: codes[name][i].mean(dtype=np.float64)
                for name in ("squared_error", "cross_entropy")
            }
        )
        if "code" in codes:
            size = min(codes["code"].shape[-1], images.shape[1])
            values["pca_squared_error"] = pca.error(images, size)
        yield (values,)


def _images(held):
    return probe.flat(np.asarray(data.none(None, {"image": held["image"]})["image"]))


def representation(work):
    """What labels can be told from the code, from PCA's of the same size, and from the pixels."""
    train, test = work.held("train", probe.FITTED), work.held("test")
    labels = train["label"], test["label"]
    codes = [work.encoded(held, use)["code"] for held, use in ((train, 4), (test, 1))]
    pixels = _images(train), _images(test)
    of_pixels = probe.accuracies(pixels[0], labels[0], pixels[1], labels[1])
    pca, size = (
        probe.PCA(pixels[0]),
        min(codes[0].shape[-1], pixels[0].shape[1]),
    )
    near = [pca.encode(images, size) for images in pixels]
    of_pca = probe.accuracies(near[0], labels[0], near[1], labels[1])
    for i in range(len(work.group.runs)):
        work.stop()
        values = probe.accuracies(codes[0][i], labels[0], codes[1][i], labels[1])
        values |= {f"pca_{name}": value for name, value in of_pca.items()}
        yield (values | {f"pixel_{name}": value for name, value in of_pixels.items()},)


def disentanglement(work):
    """Every metric, its ceiling for a perfect code on these factors, and UDR over seeds."""
    parts = [work.held(part) for part in data.PARTS]
    whole = {n: np.concatenate([p[n] for p in parts]) for n in parts[0]}
    if len(whole["image"]) > FACTORED:
        some = np.random.default_rng(0).permutation(len(whole["image"]))[:FACTORED]
        whole = {name: values[np.sort(some)] for name, values in whole.items()}
    factors, codes = whole["factors"], work.encoded(whole, 5)
    ranks = _ranks(work, codes)
    best = metrics.ceilings(factors, codes["code"].shape[-1])
    for i, row in enumerate(work.group.rows):
        work.stop()
        bounded = row["elbo"] is not None and "std" in codes
        std = codes["std"][i] if bounded else None
        found = metrics.disentanglement(codes["code"][i], std, factors)
        say(f"{work.name}: {i + 1} of {len(work.group.rows)} measured")
        values = found | ranks[i]
        yield (values | {f"{name}_ceiling": value for name, value in best.items()},)


def _ranks(work, codes):
    """The unsupervised ranking of each run among those that differ in the seed alone."""
    alike, ranks = {}, [{} for _ in work.group.runs]
    for i, run in enumerate(work.group.runs):
        alike.setdefault(str(sorted(run.hparams.items())), []).append(i)
    for own in alike.values():
        if len(own) > 1 and "rate" in codes and work.group.rows[0]["elbo"] is not None:
            rates = [codes["rate"][i].mean(0) for i in own]
            scores = metrics.udr([codes["mean"][i] for i in own], rates)
            for i, score in zip(own, scores):
                ranks[i] = {"udr": score}
    return ranks


def ais(work, chains, steps, examples):
    """Annealing's lower bound on the first test examples, and the two-sided gap on simulated ones."""
    held, found = work.held("test", examples), {}
    for simulated in (False, True):
        of, units = estimates.annealing(work.config, chains, steps, simulated, held)

        def f(carry, given, shared, simulated=simulated):
            return estimates.anneal(
                *(work.config, chains, steps, simulated, work.key(6 + simulated)),
                *(carry, given, shared),
            )

        carry = work.through(f, of(work.shapes()), units, work.given, held)
        found |= {(simulated, n): carry[n] for n in ("lower", "upper") if n in carry}
    for i in range(len(work.group.runs)):
        lower = found[False, "lower"][i].astype(np.float64)
        gap = np.float64(found[True, "upper"][i]) - found[True, "lower"][i]
        values = {"ais": lower.mean(), "ais_error": _error(lower)}
        yield (values | {"bdmc_gap": gap.mean(), "ais_examples": len(lower)},)


ALL = {  # by their names, the one that takes longest last
    measure.__name__: measure
    for measure in (
        *(likelihood, latents, reconstruction, representation),
        *(disentanglement, train_likelihood, ais),
    )
}
