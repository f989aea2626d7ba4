"""Penalties under known names, against values of the battery's own: NumPy, float64, at the same z.

mutual_information, total_correlation, dimension_kl    by minibatch stratified or weighted sampling;
                    total_correlation by a discriminator, where the model has one
off_diagonal, diagonal    of the covariance of E[z|x] over examples (DIP-VAE-I), or of z (II)
mmd                 of z and p(z), unbiased, with the kernel that is bound to the objective
code_penalty        ½ E[||z||²]
weight_penalty      ||theta||² of the decoder
gradient_penalty    E[||dm/dz||²], m the decoder's mean
contraction         E[||dz/dx||²]
sparsity            E[sum_z |z|]; with the hyperparameter `target` sum_z KL(target || mean sigmoid(z))
commitment          E[||before - after||²] of codewords
sigma               the deviation of p(x|z)
"""

import math

import jax
import numpy as np
import scipy.special

from experiments.battery import known
from experiments.battery import subject as subjects
from experiments.battery.line import NotClaimed
from experiments.laws.law import Law

PARTS = "mutual_information", "total_correlation", "dimension_kl"
SAMPLES = 2000  # of the prior


def penalties(subject):
    """Each penalty that is reported under a known name has the battery's own value."""
    found = [name for name in KNOWN if name in subject.found]
    if not found:
        raise NotClaimed("it reports no penalty under a known name")
    for name in found:
        reported = subject.fixed[name]
        for own, noise in _nearest(KNOWN[name](subject), reported.mean()):
            error = reported.std(ddof=1) / math.sqrt(len(reported))
            slack = 4.5 * math.hypot(error, noise) + 1e-3 * abs(own) + 1e-4
            yield Law(name, own, reported.mean(), slack)


def _nearest(known_values, reported):
    """Of values (own, noise) that are all right, the one that is nearest to what is reported."""
    values = known_values if isinstance(known_values, list) else [known_values]
    return [min(values, key=lambda pair: abs(pair[0] - reported))]


def _z(subject):
    z = subject.draw.z
    if not hasattr(z, "shape"):
        raise NotClaimed("its code is not one vector")
    return known.flat(z)


def _moments(q):
    return known.flat(q.mean), known.flat(np.broadcast_to(q.std, q.mean.shape))


# Between examples


def _decomposed(name):
    def value(subject):
        if name == "total_correlation" and hasattr(subject.model, "discriminate"):
            return _discriminated(subject)
        kinds = getattr(subject.option("weights"), "__name__", None)
        count, size = len(_z(subject)), float(subject.batch["size"])
        weights = {
            "stratified": [_stratified(count, size, 1), _stratified(count, size, -1)],
            "weighted": [np.full((count, count), 1 / (size * count))],
        }
        chosen = weights.get(kinds) or [w for each in weights.values() for w in each]
        return [(_parts(subject, w)[name], 0.0) for w in chosen]

    return value


def _stratified(count, size, step):
    """Weights of minibatch stratified sampling, row by row; any other posterior stands for the rest."""
    weights = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            if i == j:
                weights[i, j] = 1 / size
            elif j == (i + step) % count:
                weights[i, j] = (size - count + 1) / (size * (count - 1))
            else:
                weights[i, j] = 1 / (count - 1)
    return weights


def _parts(subject, weights):
    """The three parts of the rate, example by example."""
    draw, z = subject.draw, _z(subject)
    log_pz = np.broadcast_to(np.float64(draw.p.log_prob(draw.z)), len(z))
    log_weights, sums = np.log(weights), dict.fromkeys(PARTS, 0.0)
    each_of = jax.jit(lambda q, z: q.log_prob_each(z))
    for i in range(len(z)):
        one = np.float32(np.repeat(z[i : i + 1], len(z), 0))
        each = np.float64(each_of(draw.q, one))  # [j, latent]: log q(z_i | x_j)
        joint = scipy.special.logsumexp(each.sum(1) + log_weights[i])
        marginals = scipy.special.logsumexp(
            each + log_weights[i][:, None], axis=0
        ).sum()
        sums["mutual_information"] += (each[i].sum() - joint) / len(z)
        sums["total_correlation"] += (joint - marginals) / len(z)
        sums["dimension_kl"] += (marginals - log_pz[i]) / len(z)
    return sums


def _discriminated(subject):
    half = np.float32(_z(subject)[: subjects.ROWS // 2])
    ask = jax.jit(lambda p, z: subject.model.apply(p, z, method="discriminate"))
    logits = np.float64(ask(subject.params, half))
    return (logits[:, 0] - logits[:, 1]).mean(), 0.0


def _covariance(subject):
    mean, std = _moments(subject.draw.q)
    centered = mean - mean.mean(0)
    covariance = np.einsum("bi,bj->ij", centered, centered) / len(mean)
    if subject.option("second"):
        covariance += np.diag((std**2).mean(0))
    return covariance


def _off_diagonal(subject):
    covariance = _covariance(subject)
    return ((covariance - np.diag(np.diag(covariance))) ** 2).sum(), 0.0


def _diagonal(subject):
    return ((np.diag(_covariance(subject)) - 1) ** 2).sum(), 0.0


def _mmd(subject):
    z = _z(subject)
    sample = jax.jit(lambda p: p.sample(jax.random.key(29), SAMPLES))
    other = known.flat(sample(subject.draw.p))
    given = subject.option("kernel")
    kernel = KERNELS.get(getattr(given, "__name__", None))
    if kernel is None and given is None:
        raise NotClaimed("no kernel is bound to the objective")
    kernel = kernel or (lambda squared, size: np.float64(given(squared, size)))

    def values(a, b):
        squared = ((a[:, None] - b[None]) ** 2).sum(-1)
        return kernel(squared, z.shape[1])

    own, prior, cross = values(z, z), values(other, other), values(z, other)
    count = len(z)
    mean = (own.sum() - np.trace(own)) / (count * (count - 1))
    mean += (prior.sum() - np.trace(prior)) / (SAMPLES * (SAMPLES - 1))
    each = 2 * (prior.mean(1) - cross.mean(0))  # by sample of the prior
    return mean - 2 * cross.mean(), each.std(ddof=1) / math.sqrt(SAMPLES)


def _imq(squared, size):
    return sum(
        2 * size * s / (2 * size * s + squared) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10)
    )


KERNELS = {"rbf": lambda squared, size: np.exp(-squared / size), "imq": _imq}


# Of codes and networks


def _code(subject):
    return 0.5 * (_z(subject) ** 2).sum(1).mean(), 0.0


def _weights(subject):
    own = subject.params["params"].get("decoder")
    if own is None:
        raise NotClaimed("its parameters have no `decoder`")
    return sum((np.float64(leaf) ** 2).sum() for leaf in jax.tree.leaves(own)), 0.0


def _decoder(subject):
    """E[||dm/dz||²], each example alone, in reverse: a row for each pixel."""

    @jax.jit
    def square(params, z, batch, hp):
        def mean(z):
            one = jax.tree.map(lambda v: v[None] if v.ndim else v, batch)
            return subject.model.apply(params, z[None], one, hp, method="decode").mean

        return jax.jacrev(mean)(z)

    z, total = np.float32(_z(subject)), 0.0
    for i in range(len(z)):
        one = subjects.part(subject.batch, i)
        jacobian = square(subject.params, z[i], one, subject.hp)
        total += (np.float64(jacobian) ** 2).sum() / len(z)
    return total, 0.0


def _encoder(subject):
    """E[||dz/dx||²], each example alone, forward: a column for each pixel."""

    @jax.jit
    def square(params, image, batch):
        def code(image):
            one = jax.tree.map(lambda v: v[None] if v.ndim else v, batch)
            one = one | {"image": image[None]}
            return subject.model.apply(params, one, method="encode").sample(None)

        return jax.jacfwd(code)(image)

    total = 0.0
    for i in range(subjects.ROWS):
        one = subjects.part(subject.batch, i)
        jacobian = square(subject.params, one["image"], one)
        total += (np.float64(jacobian) ** 2).sum() / subjects.ROWS
    return total, 0.0


def _sparsity(subject):
    z = _z(subject)
    if "target" not in subject.hp:
        return abs(z).sum(1).mean(), 0.0
    rho, target = scipy.special.expit(z).mean(0), float(subject.hp["target"])
    on, off = (
        target * np.log(target / rho),
        (1 - target) * np.log((1 - target) / (1 - rho)),
    )
    return (on + off).sum(), 0.0


def _commitment(subject):
    before, after = np.float64(subject.draw.q.before), np.float64(subject.draw.q.after)
    return ((before - after) ** 2).sum((1, 2)).mean(), 0.0


def _sigma(subject):
    return float(np.float64(subject.draw.x.std).ravel()[0]), 0.0


KNOWN = {
    **{name: _decomposed(name) for name in PARTS},
    "off_diagonal": _off_diagonal,
    "diagonal": _diagonal,
    "mmd": _mmd,
    "code_penalty": _code,
    "weight_penalty": _weights,
    "gradient_penalty": _decoder,
    "contraction": _encoder,
    "sparsity": _sparsity,
    "commitment": _commitment,
    "sigma": _sigma,
}
