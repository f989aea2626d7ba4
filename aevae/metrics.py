"""Disentanglement: how codes and ground-truth factors go together.

`codes` [N, Z] are posterior means, `factors` [N, F] whole numbers from 0. The rows are any examples: not
all combinations of factors must be there. Definitions follow the papers as disentanglement_lib (Locatello
et al., 2019) computes them, where nothing else is said. Randomness is NumPy's generator of a seed.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from aevae import InputError

BINS = 20
FLOATS = 10_000_000  # at a time
SAP_ROWS = 4_000, 2_000  # fitted, and tested on
DCI_ROWS = 1_000, 1_000
VOTES = 4_000, 2_000
TOGETHER = 64  # examples that share a factor's value, for a vote or a difference
DEAD = 0.05  # a standard deviation below which FactorVAE's score leaves a latent out
INFORMATIVE = 0.01  # nats of rate from which UDR counts a latent


def _check(codes, factors):
    if len(codes) != len(factors):
        raise InputError(
            f"{len(codes)} codes and the factors of {len(factors)} examples"
        )
    if (factors.max(0) == factors.min(0)).all():
        raise InputError("every factor has one value alone: nothing to disentangle")


def _bins(values, bins):
    """[N] to whole numbers from 0: equal bins from the least to the greatest."""
    low, high = values.min(), values.max()
    if not high > low:
        return np.zeros(len(values), int)
    return np.minimum((values - low) * (bins / (high - low)), bins - 1).astype(int)


def entropy(counts):
    """Of counts or weights along the last axis, nats."""
    share = counts / counts.sum(-1, keepdims=True)
    return -(share * np.log(np.where(share > 0, share, 1.0))).sum(-1)


def mutual_information(codes, factors, bins=BINS):
    """I(z_j; v_k) in nats, [Z, F], of latents in equal bins; a constant latent has 0."""
    _check(codes, factors)
    found = np.zeros((codes.shape[1], factors.shape[1]))
    for j, values in enumerate(codes.T):
        binned = _bins(np.float64(values), bins)
        for k, factor in enumerate(factors.T):
            table = np.zeros((bins, factor.max() + 1))
            np.add.at(table, (binned, factor), 1)
            apart = entropy(table.sum(0)) + entropy(table.sum(1))
            found[j, k] = apart - entropy(table.ravel())
    return np.maximum(found, 0.0)


def _gap(information, most):
    """Mean over factors of the first latent's share less the second's; factors without entropy out."""
    ranked = np.sort(information, axis=0)[::-1]
    second = ranked[1] if len(ranked) > 1 else 0.0
    varied = most > 0
    return float(((ranked[0] - second)[varied] / most[varied]).mean())


def mig(codes, factors):
    """Mutual information gap on 20 bins of the means: mean_k (I_1 - I_2) / H(v_k)."""
    most = np.array([entropy(np.bincount(factor)) for factor in factors.T])
    return _gap(mutual_information(codes, factors), most)


def mig_chen(mean, std, factors, seed=0, samples=2_000):
    """Mutual information gap of the posteriors themselves: Chen et al. (2018), section 4.1.

    I(z_j; v_k) = H(z_j) - H(z_j | v_k), where q(z_j) is the mean of all posteriors N(mean, std²), and
    q(z_j | v_k) that of those with the value; entropies by `samples` draws each, for a value in
    proportion to its share. The gap is over log |V_k|. On dSprites the paper leaves shape out; here
    every factor counts.
    """
    _check(mean, factors)
    random = np.random.default_rng(seed)
    mean, std = (np.asarray(v, np.float32) for v in (mean, std))
    everything = np.zeros(len(mean), int)
    whole = _entropies(mean, std, everything, random, samples)
    information = np.stack(
        [
            whole - _entropies(mean, std, factor, random, samples)
            for factor in factors.T
        ],
        axis=1,
    )
    counts = np.array([len(np.unique(factor)) for factor in factors.T])
    return _gap(information, np.log(counts))


def _entropies(mean, std, group, random, samples):
    """sum_v share_v H(z_j | group v), [Z]."""
    total, sound = np.zeros(mean.shape[1]), 0
    for value in np.unique(group):
        rows = np.flatnonzero(group == value)
        share = len(rows) / len(group)
        count = max(8, round(samples * share))
        chosen = random.choice(rows, count)
        z = mean[chosen] + std[chosen] * random.standard_normal((count, mean.shape[1]))
        log_q = _log_mean(mean[rows], std[rows], z.astype(np.float32))
        total, sound = total - share * log_q.mean(0), sound + share
    return total / sound


def _log_mean(mean, std, z):
    """log 1/N sum_n N(z_s; mean_n, std_n²) of each latent, [S, Z]; N padded to a power of 2."""
    count = len(mean)
    size = 1 << (count - 1).bit_length()
    pad = ((0, size - count), (0, 0))
    mean = np.pad(mean, pad)
    std = np.pad(std, pad, constant_values=1.0)
    at_once = max(1, FLOATS // mean.size)
    blocks = -(-len(z) // at_once)
    draws, filled = len(z), blocks * at_once
    z = np.pad(z, ((0, filled - draws), (0, 0)), mode="edge")
    held = np.arange(size) < count
    found = [
        np.asarray(_log_sum(mean, std, held, block)) for block in np.split(z, blocks)
    ]
    return np.concatenate(found)[:draws] - np.log(count)


@jax.jit
def _log_sum(mean, std, held, z):
    each = norm.logpdf(z[:, None], mean[None], std[None])
    return jax.nn.logsumexp(jnp.where(held[None, :, None], each, -jnp.inf), axis=1)


def _some(random, count, rows):
    """So many rows for fitting and for testing, none in both, fewer if there are not so many."""
    fitted, tested = rows
    if fitted + tested > count:
        fitted = count * fitted // (fitted + tested)
    order = random.permutation(count)
    return order[:fitted], order[fitted : fitted + tested]


def sap(codes, factors, seed=0):
    """Separated attribute predictability: Kumar et al. (2018).

    The accuracy with which a linear support vector machine (C = 0.01, balanced) tells each factor from
    each latent alone, fitted on 4,000 examples and tested on 2,000; mean over factors of the best
    latent's less the second's.
    """
    from sklearn.svm import LinearSVC

    _check(codes, factors)
    fit, test = _some(np.random.default_rng(seed), len(codes), SAP_ROWS)
    scores = np.zeros((codes.shape[1], factors.shape[1]))
    for j in range(codes.shape[1]):
        for k in range(factors.shape[1]):
            if len(np.unique(factors[fit, k])) < 2:
                continue
            machine = LinearSVC(
                C=0.01, class_weight="balanced", dual=False, max_iter=5_000
            )
            machine.fit(codes[fit, j : j + 1], factors[fit, k])
            predicted = machine.predict(codes[test, j : j + 1])
            scores[j, k] = (predicted == factors[test, k]).mean()
    ranked = np.sort(scores, axis=0)[::-1]
    second = ranked[1] if len(ranked) > 1 else 0.0
    return float((ranked[0] - second).mean())


def dci(codes, factors, seed=0):
    """Disentanglement, completeness, informativeness: Eastwood and Williams (2018).

    R_ij is the importance of latent i for factor j in gradient-boosted trees of scikit-learn's
    defaults, fitted on 1,000 examples. Disentanglement is 1 - H(R_i.) / log F, weighted by the
    latent's share of all importance; completeness 1 - H(R_.j) / log Z, by the factor's;
    informativeness the accuracy on 1,000 others.
    """
    from sklearn.ensemble import GradientBoostingClassifier

    _check(codes, factors)
    fit, test = _some(np.random.default_rng(seed), len(codes), DCI_ROWS)
    importance, accuracy = np.zeros((codes.shape[1], factors.shape[1])), []
    for k, factor in enumerate(factors.T):
        if len(np.unique(factor[fit])) < 2:
            continue
        trees = GradientBoostingClassifier(random_state=seed)
        trees.fit(codes[fit], factor[fit])
        importance[:, k] = abs(trees.feature_importances_)
        accuracy.append((trees.predict(codes[test]) == factor[test]).mean())
    disentanglement, completeness = (
        _concentration(importance),
        _concentration(importance.T),
    )
    return {
        "dci_disentanglement": disentanglement,
        "dci_completeness": completeness,
        "dci_informativeness": float(np.mean(accuracy)),
    }


def _concentration(importance):
    """1 - H / log of rows, weighted by their sums."""
    if importance.shape[1] == 1:
        return 1.0
    scores = 1 - entropy(importance + 1e-11) / np.log(importance.shape[1])
    weights = importance.sum(1)
    return float((scores * weights).sum() / weights.sum()) if weights.sum() else 0.0


def _groups(random, factors, count):
    """`count` times a factor, and TOGETHER pairs of rows that share its value, [count, 64, 2].

    The factor is drawn, then a row for each pair, then another with the row's value.
    """
    varied = np.flatnonzero(factors.max(0) > factors.min(0))
    chosen = random.choice(varied, count)
    pairs = np.zeros((count, TOGETHER, 2), int)
    pairs[:, :, 0] = random.integers(0, len(factors), (count, TOGETHER))
    for k in varied:
        order = np.argsort(factors[:, k], kind="stable")
        ends = np.searchsorted(factors[order, k], np.arange(factors[:, k].max() + 2))
        own = np.flatnonzero(chosen == k)
        value = factors[pairs[own, :, 0], k]
        low, high = ends[value], ends[value + 1]
        pairs[own, :, 1] = order[low + random.integers(0, high - low)]
    return chosen, pairs


def beta_vae_score(codes, factors, seed=0):
    """The accuracy that tells which factor 64 pairs share: Higgins et al. (2017), appendix A.4.

    From the mean of |difference| of their codes, by scikit-learn's logistic regression, fitted on 4,000
    such means and tested on 2,000.
    """
    from sklearn.linear_model import LogisticRegression

    _check(codes, factors)
    random = np.random.default_rng(seed)
    chosen, pairs = _groups(random, factors, sum(VOTES))
    apart = np.stack(
        [abs(codes[p[:, 0]] - codes[p[:, 1]]).mean(0, dtype=np.float64) for p in pairs]
    )
    machine = LogisticRegression(max_iter=5_000)
    machine.fit(apart[: VOTES[0]], chosen[: VOTES[0]])
    return float(machine.score(apart[VOTES[0] :], chosen[VOTES[0] :]))


def factor_vae_score(codes, factors, seed=0):
    """The accuracy that the least varying latent tells the fixed factor: Kim and Mnih (2018).

    64 examples share one value of a factor; the latent with the least variance, over its variance in
    all examples, votes for the factor. Each latent stands for the factor of most of its 4,000 votes,
    and the accuracy is that on 2,000 others. Latents with a deviation below 0.05 are left out; 0
    if all are.
    """
    _check(codes, factors)
    random = np.random.default_rng(seed)
    spread = codes.var(0, ddof=1, dtype=np.float64)
    alive = np.flatnonzero(np.sqrt(spread) >= DEAD)
    if not len(alive):
        return 0.0
    votes = np.zeros((len(alive), factors.shape[1]), int)
    varied, right = np.flatnonzero(factors.max(0) > factors.min(0)), 0
    alike = {
        (k, value): np.flatnonzero(factors[:, k] == value)
        for k in varied
        for value in np.unique(factors[:, k])
    }
    for turn in range(sum(VOTES)):
        k = random.choice(varied)
        value = factors[random.integers(len(factors)), k]
        rows = random.choice(alike[k, value], TOGETHER)
        local = codes[rows][:, alive].var(0, ddof=1, dtype=np.float64)
        latent = (local / spread[alive]).argmin()
        if turn < VOTES[0]:
            votes[latent, k] += 1
        else:
            right += votes[latent].argmax() == k
    return right / VOTES[1]


def modularity(codes, factors):
    """Whether each latent tells of one factor alone: Ridgeway and Mozer (2018).

    Mean over latents of 1 - sum_{k≠best} I_jk² / (I_best² (F - 1)), on 20 bins; a latent that tells
    nothing counts 0.
    """
    squared = mutual_information(codes, factors) ** 2
    most = squared.max(1)
    others = (squared.sum(1) - most) / max(squared.shape[1] - 1, 1)
    scores = np.where(most > 0, 1 - others / np.where(most > 0, most, 1.0), 0.0)
    return float(scores.mean())


def udr(means, rates):
    """Unsupervised disentanglement ranking of runs that differ in their seed: Duan et al. (2020).

    `means` are codes [N, Z] of the same examples by each run, `rates` [Z] nats of each. R_ab is the
    absolute rank correlation (Spearman's) of latents a and b of two runs, r its greatest value along
    an axis, and UDR_ij = 1/(d_i + d_j) [sum_b r_b² / sum_a R_ab + sum_a r_a² / sum_b R_ab] over
    informative latents (rate above 0.01), of which there are d. A run's score is the median over the
    others.
    """
    ranks = [_ranks(mean) for mean in means]
    live = [np.asarray(rate) > INFORMATIVE for rate in rates]
    count = len(means)
    scores = np.zeros((count, count))
    for i in range(count):
        for j in range(i + 1, count):
            r = abs(ranks[i].T @ ranks[j])
            whole = live[i].sum() + live[j].sum()
            each = [
                (part.max(0) ** 2 / np.maximum(part.sum(0), 1e-12))[on].sum()
                for part, on in ((r, live[j]), (r.T, live[i]))
            ]
            scores[i, j] = scores[j, i] = sum(each) / whole if whole else 0.0
    return [
        float(np.median(np.delete(scores[i], i))) if count > 1 else 0.0
        for i in range(count)
    ]


def _ranks(values):
    """Ranks of each column, centred and of length 1; those that are equal share their mean."""
    ranks = np.zeros(values.shape)
    for j, column in enumerate(values.T):
        _, where, counts = np.unique(column, return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        ranks[:, j] = (ends - (counts + 1) / 2)[where]
    ranks -= ranks.mean(0)
    length = np.sqrt((ranks**2).sum(0))
    return ranks / np.where(length > 0, length, 1.0)


SCORES = {
    "mig": mig,
    "sap": sap,
    "modularity": modularity,
    "beta_vae_score": beta_vae_score,
    "factor_vae_score": factor_vae_score,
}


def disentanglement(codes, std, factors):
    """Every score by its name. `std` of the posteriors, or None where they mean nothing: no mig_chen."""
    found = {name: score(codes, factors) for name, score in SCORES.items()}
    if std is not None:
        found["mig_chen"] = mig_chen(codes, std, factors)
    return found | dci(codes, factors)


def ceilings(factors, latent):
    """What a perfect code reaches on these factors: for each one latent, its value, without noise.

    The other latents are constant. {} where there are fewer latents than factors.
    """
    if latent < factors.shape[1]:
        return {}
    return dict(_ceilings(factors.tobytes(), factors.dtype.str, factors.shape, latent))


@functools.cache
def _ceilings(content, kind, shape, latent):
    factors = np.frombuffer(content, kind).reshape(shape)
    codes = np.zeros((len(factors), latent), np.float32)
    spread = factors.std(0)
    centred = factors - factors.mean(0)
    codes[:, : shape[1]] = centred / np.where(spread > 0, spread, 1.0)
    std = np.ones(codes.shape, np.float32)
    std[:, : shape[1]] = 1e-3
    return disentanglement(codes, std, factors)
