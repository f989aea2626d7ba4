"""Disentanglement scores: pure functions of codes and of the factors that images were made of.

`mean` and `std` [N, Z] are those of q(z|x), `factors` [N, F] whole numbers: the rows are any
examples, a grid of the factors or not. A factor that has one value in them is left out of every
average. Information and entropies are in nats; scores have no unit. What is random is drawn from
`seed`; where there are fewer rows than a fit asks for, its training and test rows share them in
the same proportion.

A score is a function of (mean, factors), or with `noise` of (mean, std, factors), that gives a
number or {column: number}, and carries this as its attribute `score`:

    @score()
    def best_correlation(mean, factors):
        ...

The choices are those of Locatello et al. (2019), the paper of disentanglement_lib, except where a
docstring says otherwise.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import rankdata

from aevae import InputError

BINS = 20  # of a latent's histogram
PAIRS = 64  # of rows, or rows, that share the value of a factor
PRUNED = 0.05  # deviation below which a latent has no vote
INFORMATIVE = 0.01  # nats above which a latent takes part in UDR
FLOATS = 1_000_000  # between draws and posteriors at a time


def score(noise=False):
    """Makes a function a score; `noise` says that it needs the standard deviations of q(z|x)."""

    def carry(function):
        function.score = {"noise": noise}
        return function

    return carry


def _aligned(factors, *codes):
    """Factors [N, F] as 0, 1, ... in each column, and codes in float64, of as many rows."""
    factors = np.asarray(factors)
    if factors.ndim != 2:
        raise InputError(f"factors must be [rows, factors], not {factors.shape}")
    codes = [np.asarray(code, np.float64) for code in codes]
    for code in codes:
        if code.ndim != 2 or len(code) != len(factors):
            raise InputError(
                f"codes of shape {code.shape} and the factors of {len(factors)} examples"
            )
        if not np.isfinite(code).all():
            raise InputError("codes must be finite")
    columns = [np.unique(column, return_inverse=True)[1] for column in factors.T]
    return np.array(columns).reshape(factors.shape[::-1]).T, *codes


def _varied(factors, *codes):
    """The same, of the factors with more than one value."""
    factors, *codes = _aligned(factors, *codes)
    varied = (factors > 0).any(0)
    if not varied.any():
        raise InputError("every factor has one value alone: nothing to disentangle")
    return factors[:, varied], *codes


def varied(factors):
    """The factors with more than one value, [N, F], as 0, 1, ... in each column."""
    return _varied(factors)[0]


def _split(rng, count, train, test):
    """Rows to fit on and others to test on, disjoint."""
    rows = rng.permutation(count)
    if train + test > count:
        train = count * train // (train + test)
        test = count - train
    return rows[:train], rows[train : train + test]


def _mates(rng, column, rows):
    """For each of `rows` one with the same value in the column [N], perhaps itself."""
    order, counts = np.argsort(column, kind="stable"), np.bincount(column)
    first, value = np.cumsum(counts) - counts, column[rows]
    return order[first[value] + rng.integers(counts[value])]


def _fit(model, code, label):
    """A fitted model; None where there is one label, and so nothing to learn."""
    return model.fit(code, label) if (label != label[0]).any() else None


def _accuracy(model, code, label, known):
    """The share of labels that a model of `_fit` finds; without one, those that are `known`."""
    return np.mean((known if model is None else model.predict(code)) == label)


def _gap(table):
    """The largest less the second in each column of [Z, F], which is 0 where there is one latent."""
    ordered = np.sort(np.vstack([np.zeros_like(table[:1]), table]), axis=0)
    return ordered[-1] - ordered[-2]


def _entropy(weights):
    """-sum_i p_i log p_i of p proportional to weights [..., K]; nats."""
    p = weights / weights.sum(-1, keepdims=True)
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)


def _entropies(factors):
    return np.array([_entropy(np.bincount(column)) for column in factors.T])


# Mutual information


def mutual_information(codes, factors, bins=BINS):
    """I(z_j; v_k) = sum p(b, v) log p(b, v) / (p(b) p(v)) of binned latents, [Z, F]; nats.

    A latent's bins are of equal width, from its smallest value to its largest. The estimate has a
    bias of about (bins - 1)(V_k - 1) / 2N upwards. A constant latent has 0.
    """
    factors, codes = _aligned(factors, codes)
    table = np.zeros((codes.shape[1], factors.shape[1]))
    for j, code in enumerate(codes.T):
        edges = np.linspace(code.min(), code.max(), bins + 1)
        binned = np.digitize(code, edges[1:-1])
        for k, column in enumerate(factors.T):
            values = column.max() + 1
            joint = np.bincount(binned * values + column, minlength=bins * values)
            joint = joint.reshape(bins, values)
            apart = np.outer(
                joint.sum(1), joint.sum(0)
            )  # counts: what is 0 is exactly so
            seen = joint > 0
            ratio = joint[seen] * len(code) / apart[seen]
            table[j, k] = (joint[seen] * np.log(ratio)).sum() / len(code)
    return np.maximum(table, 0.0)


@score()
def mig(mean, factors):
    """1/F sum_k (I(z_(1); v_k) - I(z_(2); v_k)) / H(v_k): the gap of Chen et al. (2018), binned.

    z_(1) and z_(2) are the latents that know most of a factor, by `mutual_information` of the
    posterior means in 20 bins: so Locatello et al. (2019). A factor of more values than bins can't
    reach 1; `ceilings` says what can.
    """
    factors, mean = _varied(factors, mean)
    table = mutual_information(mean, factors)
    return float((_gap(table) / _entropies(factors)).mean())


@functools.partial(jax.jit, static_argnames="size")
def _masses(z, mean, scale, values, size):
    """sum_n N(z; x_n) 1[v_k(n) = v], but for a constant, of draws z [Z, S]: [Z, S, sum_k V_k].

    Rows come in blocks: mean and scale, 1 / std, [T, B, Z], values [T, B, F] counted through.
    """

    def block(total, rows):
        mean, scale, values = rows
        own = (values[:, :, None] == jnp.arange(size)[None, None]).any(1)
        mean, scale = mean.T[:, None], scale.T[:, None]  # a transpose: disvae #64
        each = scale * jnp.exp(-0.5 * ((z[:, :, None] - mean) * scale) ** 2)
        own = own.astype(each.dtype)
        return total + jnp.einsum("zsb,bk->zsk", each, own, precision="highest"), None

    start = jnp.zeros((*z.shape, size), z.dtype)
    return jax.lax.scan(block, start, (mean, scale, values))[0]


def posterior_information(mean, std, factors, seed=0, samples=2000):
    """I(z_j; v_k) = H(z_j) - H(z_j|v_k) of the codes with their noise, [Z, F]; nats.

    Chen et al. (2018), appendix: q(z_j) = 1/N sum_n q(z_j|x_n) over all rows, and q(z_j|v_k = v) the
    mean over those with that value. By Monte Carlo with draws of q(z_j), as H(v_k) - E[H(v_k|z_j)]
    with p(v|z) = p(v) q(z|v) / q(z): the same number, with a smaller variance, exactly 0 where
    q(z|x) does not depend on x, and never outside of [0, H(v_k)].
    """
    factors, mean, std = _aligned(factors, mean, std)
    if std.shape != mean.shape:
        raise InputError(f"std must be {mean.shape}, as mean is, not {std.shape}")
    std = np.maximum(std, 1e-12)  # without noise, equal codes are one value
    rng = np.random.default_rng(seed)
    count, latent = mean.shape
    rows = rng.integers(count, size=samples)
    z = mean[rows] + std[rows] * rng.standard_normal((samples, latent))
    ends = np.cumsum(factors.max(0) + 1)
    size = min(count, max(1, FLOATS // (samples * latent)))
    rest = -count % size

    def blocks(values, fill):
        values = np.pad(values, ((0, rest), (0, 0)), constant_values=fill)
        return values.reshape(-1, size, values.shape[1])

    masses = _masses(
        np.float32(z.T),
        blocks(np.float32(mean), 0),
        blocks(np.float32(1 / std), 1),
        blocks(np.int32(factors + np.append(0, ends[:-1])), -1),
        size=int(ends[-1]),
    )
    parts = np.split(np.float64(masses), ends[:-1], axis=-1)
    given = np.stack([_entropy(part).mean(1) for part in parts], axis=1)
    return np.maximum(_entropies(factors) - given, 0.0)


@score(noise=True)
def mig_chen(mean, std, factors, seed=0, samples=2000):
    """1/F sum_k (I(z_(1); v_k) - I(z_(2); v_k)) / H(v_k) by `posterior_information`.

    Chen et al. (2018), eq. 6, with all factors: on dSprites the paper leaves out the shape. H(v_k)
    is the log of the number of values where all are as frequent.
    """
    factors, mean, std = _varied(factors, mean, std)
    table = posterior_information(mean, std, factors, seed, samples)
    return float((_gap(table) / _entropies(factors)).mean())


@score()
def modularity(mean, factors):
    """1/Z sum_j (1 - sum_(k≠best) I_jk² / (I_j,best² (F - 1))): Ridgeway and Mozer (2018).

    I is `mutual_information`, in 20 bins. A latent without any counts 0, so that dead latents
    lower it.
    """
    factors, mean = _varied(factors, mean)
    squared = mutual_information(mean, factors) ** 2
    best = squared.max(1)
    rest = (squared.sum(1) - best) / max(1, factors.shape[1] - 1)
    each = np.where(best > 0, 1 - rest / np.where(best > 0, best, 1.0), 0.0)
    return float(each.mean())


# Classifiers


@score()
def sap(mean, factors, seed=0, train=10_000, test=5_000):
    """1/F sum_k (A_(1)k - A_(2)k): separated attribute predictability, Kumar et al. (2018).

    A_jk is the test accuracy of a linear support vector machine that finds v_k in z_j alone, with
    C = 0.01 and classes weighed equally, fitted on 10,000 rows and tested on 5,000 others. Codes
    are not standardized: a scale of them changes the score.
    """
    from sklearn.svm import LinearSVC

    factors, mean = _varied(factors, mean)
    fitted, others = _split(np.random.default_rng(seed), len(mean), train, test)
    table = np.zeros((mean.shape[1], factors.shape[1]))
    for j, code in enumerate(mean.T[:, :, None]):
        for k, label in enumerate(factors.T):
            svm = LinearSVC(
                C=0.01,
                class_weight="balanced",
                dual=False,
                max_iter=10_000,
                random_state=seed,
            )
            model = _fit(svm, code[fitted], label[fitted])
            known = label[fitted[0]]
            table[j, k] = _accuracy(model, code[others], label[others], known)
    return float(_gap(table).mean())


@score()
def dci(mean, factors, seed=0, train=1_000, test=1_000):
    """Disentanglement, completeness and informativeness: Eastwood and Williams (2018).

    R_jk is the importance of z_j to gradient-boosted trees that find v_k in all of z, fitted on
    1,000 rows, a tenth of what Locatello et al. (2019) take. Disentanglement is
    sum_j rho_j (1 - H_F(R_j. / sum_k R_jk)) with rho_j the share of latent j in the sum of R and
    H_F the entropy to base F; completeness the same of factors; informativeness the mean accuracy
    on 1,000 other rows.
    """
    from sklearn.ensemble import GradientBoostingClassifier

    factors, mean = _varied(factors, mean)
    fitted, others = _split(np.random.default_rng(seed), len(mean), train, test)
    table = np.zeros((mean.shape[1], factors.shape[1]))
    found = []
    for k, label in enumerate(factors.T):
        trees = GradientBoostingClassifier(random_state=seed)
        model = _fit(trees, mean[fitted], label[fitted])
        known = label[fitted[0]]
        found.append(_accuracy(model, mean[others], label[others], known))
        if model is not None:
            table[:, k] = model.feature_importances_
    return {
        "dci_disentanglement": _concentration(table),
        "dci_completeness": _concentration(table.T),
        "dci_informativeness": float(np.mean(found)),
    }


def _concentration(table):
    """sum_i rho_i (1 - H(R_i.) / log K) over the rows of importances [I, K]; 0 where all are 0."""
    share = table.sum(1) / max(table.sum(), 1e-11)
    each = 1 - _entropy(table + 1e-11) / np.log(max(2, table.shape[1]))
    return float((share * each).sum())


# Interventions


def _differences(rng, mean, factors, count):
    """Of `count` random factors: mean |z - z'| over pairs of rows with one value of it, and which."""
    which = rng.integers(factors.shape[1], size=count)
    features = np.zeros((count, mean.shape[1]))
    for k, column in enumerate(factors.T):
        rows = rng.integers(len(mean), size=((which == k).sum(), PAIRS))
        pairs = abs(mean[rows] - mean[_mates(rng, column, rows)])
        features[which == k] = pairs.mean(1)
    return features, which


@score()
def beta_vae_score(mean, factors, seed=0, train=10_000, test=5_000):
    """The accuracy that tells which factor 64 pairs share: Higgins et al. (2017).

    Each pair has a value of the factor of its own, that of a random row; the feature is the mean
    of |z - z'| over the pairs, the classifier scikit-learn's logistic regression on 10,000 such,
    tested on 5,000.
    """
    from sklearn.linear_model import LogisticRegression

    factors, mean = _varied(factors, mean)
    rng = np.random.default_rng(seed)
    features, which = _differences(rng, mean, factors, train)
    model = _fit(LogisticRegression(max_iter=10_000), features, which)
    return float(_accuracy(model, *_differences(rng, mean, factors, test), which[0]))


def _votes(rng, mean, factors, count):
    """How often a latent varies least where a factor is held: [Z, F] out of `count` random ones."""
    which = rng.integers(factors.shape[1], size=count)
    spread = mean.var(0, ddof=1)
    votes = np.zeros((mean.shape[1], factors.shape[1]), int)
    for k, column in enumerate(factors.T):
        rows = rng.integers(len(mean), size=((which == k).sum(), 1))
        held = mean[_mates(rng, column, np.repeat(rows, PAIRS, axis=1))]
        least = (held.var(1, ddof=1) / spread).argmin(1)
        votes[:, k] = np.bincount(least, minlength=len(votes))
    return votes


@score()
def factor_vae_score(mean, factors, seed=0, train=10_000, test=5_000):
    """The accuracy of a vote on which factor 64 rows share: Kim and Mnih (2018).

    The vote is the latent whose variance in them, over its variance in all rows, is the least; it
    stands for the factor that it had the most of 10,000 votes for, tested on 5,000. Latents of a
    deviation below 0.05 have none; 0 where all are so.
    """
    factors, mean = _varied(factors, mean)
    mean = mean[:, mean.std(0, ddof=1) >= PRUNED]
    if not mean.shape[1]:
        return 0.0
    rng = np.random.default_rng(seed)
    best = _votes(rng, mean, factors, train).argmax(1)
    votes = _votes(rng, mean, factors, test)
    return float(votes[np.arange(len(best)), best].sum() / test)


# Without factors


def _ranks(codes):
    """Ranks in each column, equal values sharing their mean, centered and of length 1, or 0."""
    ranks = rankdata(codes, axis=0) - (len(codes) + 1) / 2
    length = np.sqrt((ranks**2).sum(0))
    return ranks / np.where(length > 0, length, 1.0)


def udr(means, rates):
    """How much the codes of runs that differ in their seed agree: Duan et al. (2020), eq. 3.

    UDR_ij = 1/(d_i + d_j) (sum_b r(b)² / sum_a R_ab + sum_a r(a)² / sum_b R_ab) with R_ab the
    |Spearman correlation| of latent a of run i and b of run j, and r(b) = max_a R_ab. a and b are
    the d_i and d_j latents of a rate above 0.01 nats. 1 where each latent has one mate and no other
    relation. Of each run the median over the others; 0 where no latent is informative,
    or no other run.

    Args:
      means: posterior means [N, Z] of each run, of the same rows.
      rates: nats of each latent [Z] of each run.
    """
    if len(means) != len(rates):
        raise InputError(f"UDR: {len(means)} runs' codes and {len(rates)} runs' rates")
    counts = sorted({len(mean) for mean in means})
    if len(counts) > 1:
        raise InputError(f"UDR needs codes of the same rows, not of {counts}")
    ranks = [
        _ranks(np.asarray(mean, np.float64)[:, np.asarray(rate) > INFORMATIVE])
        for mean, rate in zip(means, rates)
    ]
    pair = np.zeros((len(means), len(means)))
    for i, one in enumerate(ranks):
        for j, other in enumerate(ranks[:i]):
            if one.shape[1] and other.shape[1]:
                table = abs(one.T @ other)
                total = _strength(table) + _strength(table.T)
                pair[i, j] = pair[j, i] = total / sum(table.shape)
    others = [np.delete(row, i) for i, row in enumerate(pair)]
    return [float(np.median(row)) if len(row) else 0.0 for row in others]


def _strength(table):
    """sum_b max_a R_ab² / sum_a R_ab."""
    total = table.sum(0)
    return (table.max(0) ** 2 / np.where(total > 0, total, 1.0)).sum()


SCORES = (mig, sap, modularity, beta_vae_score, factor_vae_score, mig_chen, dci)
