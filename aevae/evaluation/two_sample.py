"""Two sets of vectors compared: real ones and generated ones, by what does not need Inception.

`Real` holds the real set, with all that depends on it alone: one serves any number of generated
sets. Vectors are [N, F] and [M, F]. N and M may differ, but several values depend on them: compare
those of equal N and M alone. Everything is in float64, deterministic, and given as an `Estimate`
with a standard error: each function says whether that is over generated sets beside the same real
one, or over draws of both.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import pdist

from aevae import InputError
from aevae.evaluation.neighbors import distances, error_of_coverage, radii
from aevae.evaluation.work import standard_error

NEIGHBORS = 5
BLOCKS = 20  # that a jackknife leaves out, one at a time
PAIRS = 4  # vectors at least of which the error of MMD is known


class Estimate(NamedTuple):
    """A value and its standard error."""

    value: float
    error: float


class Gaussian(NamedTuple):
    """A mean [F] and a covariance [F, F], as its trace and its symmetric square root."""

    mean: np.ndarray
    trace: float
    root: np.ndarray


class Kernel(NamedTuple):
    """What MMD needs of the kernel k(x_i, x_j), i != j, of a set of N.

    With k_ij = mean + a_i + a_j + e_ij: the mean, the effects a [N], and the variance of e.
    """

    mean: float
    effects: np.ndarray
    rest: float


class Real:
    """Real vectors [N, F], and what depends on them alone: it is computed once.

    Args:
      vectors: features of real examples.
      neighbors: k, of density, coverage, precision and recall.
      width: of the Gaussian kernel; None for the median distance of two vectors that differ.
    """

    def __init__(self, vectors, neighbors=NEIGHBORS, width=None):
        if neighbors < 1:
            raise InputError(f"neighbors must be 1 or more, not {neighbors}")
        self.vectors = _checked(vectors, neighbors, "real")
        self.neighbors = neighbors
        self.radii = radii(self.vectors, neighbors)
        self.width = _median(self.vectors) if width is None else width
        self.kernel = _kernel(self.vectors, self.width)
        self.gaussians = _gaussians(self.vectors)

    def check(self, generated):
        """Generated vectors in float64, [M, F]; an InputError where they do not fit."""
        found = _checked(generated, self.neighbors, "generated")
        if found.shape[1] != self.vectors.shape[1]:
            raise InputError(
                f"generated vectors have {found.shape[1]} features, and real ones "
                f"{self.vectors.shape[1]}: they must be of the same kind"
            )
        return found


def _checked(vectors, neighbors, kind):
    vectors = np.ascontiguousarray(vectors, np.float64)
    if vectors.ndim != 2:
        raise InputError(f"{kind} vectors must be [N, F], not {vectors.shape}")
    least = max(neighbors + 1, PAIRS)
    if len(vectors) < least:
        raise InputError(
            f"{len(vectors)} {kind} vectors are too few for {neighbors} neighbors: {least} are "
            "the least"
        )
    if bad := int((~np.isfinite(vectors)).any(1).sum()):
        raise InputError(f"{bad} of {len(vectors)} {kind} vectors are not finite")
    return vectors


def _order(count):
    """A fixed permutation: rows may come sorted, by label or otherwise."""
    return np.random.default_rng(0).permutation(count)


# Neighbors


def neighborhoods(real, generated):
    """Density, coverage, precision and recall of generated vectors; {name: Estimate}.

    With B(v) the open ball around v that reaches to the k-th nearest of its own set:
      density = 1/(kM) sum_j #{i: y_j in B(x_i)}, coverage = 1/N #{i: some y_j in B(x_i)},
      precision = 1/M #{j: y_j in some B(x_i)}, recall = 1/N #{i: x_i in some B(y_j)}.
    Of one distribution density is 1 in expectation and coverage 1 - prod_{i=1..k} (N-i) / (M+N-i);
    precision and recall have no such value.

    Errors are over generated sets beside the same real one: of density and precision as means over
    independent y_j, of coverage by `neighbors.error_of_coverage`. The exception is recall, whose
    error is that of a mean over x_i, as if the balls were fixed: in trials it was 0.4 to 1.15 times
    the deviation over generated sets. Over draws of both sets, density and precision deviated by
    1.1 to 2.5 times their errors.

    References: Naeem et al. (2020), "Reliable Fidelity and Diversity Metrics for Generative
    Models", whose `prdc` these equal; Kynkäänniemi et al. (2019), "Improved Precision and Recall
    Metric for Assessing Generative Models".
    """
    generated = real.check(generated)
    reach = radii(generated, real.neighbors)
    near = np.empty((len(real.vectors), len(generated)), bool)
    recalled = np.empty(len(real.vectors))
    for rows, between in distances(real.vectors, generated):
        near[rows] = between < real.radii[rows, None]
        recalled[rows] = (between < reach).any(1)
    balls = near.sum(0)
    return {
        "density": _mean(balls / real.neighbors),
        "coverage": Estimate(float(near.any(1).mean()), error_of_coverage(near)),
        "precision": _mean((balls > 0).astype(float)),
        "recall": _mean(recalled),
    }


def _mean(values):
    return Estimate(float(values.mean()), float(standard_error(values)))


# Kernels


def _median(vectors):
    lengths = pdist(vectors)
    differ = lengths[lengths > 0]
    return float(np.median(differ)) if len(differ) else 1.0


def _sums(x, y, width):
    """The sums of k(x_i, y_j) = exp(-|x_i - y_j|^2 / 2 width^2) over j and i; that of squares."""
    rows, columns, squares = np.empty(len(x)), np.zeros(len(y)), 0.0
    for block, between in distances(x, y):
        k = np.exp(-0.5 * (between / width) ** 2)
        rows[block] = k.sum(1)
        columns += k.sum(0)
        squares += np.vdot(k, k)
    return rows, columns, squares


def _kernel(vectors, width):
    n = len(vectors)
    sums, _, squares = _sums(vectors, vectors, width)
    sums, squares = sums - 1, squares - n  # without k(x_i, x_i) = 1
    mean = sums.mean() / (n - 1)
    effects = (sums - sums.mean()) / (n - 2)
    rest = squares / 2 - n * (n - 1) / 2 * mean**2 - (n - 2) * (effects**2).sum()
    return Kernel(float(mean), effects, max(0.0, rest / (n * (n - 3) / 2)))


def _cross(x, y, width):
    """The same of k(x_i, y_j): the mean, the effects of x and of y, and the variance of e."""
    n, m = len(x), len(y)
    rows, columns, squares = _sums(x, y, width)
    mean = rows.sum() / (n * m)
    of_x, of_y = rows / m - mean, columns / n - mean
    rest = squares - n * m * mean**2 - m * (of_x**2).sum() - n * (of_y**2).sum()
    return mean, of_x, of_y, max(0.0, rest / ((n - 1) * (m - 1)))


def mmd(real, generated):
    """The squared maximum mean discrepancy, without bias; below 0 about half of the time at 0.

    MMD^2 = mean_{i!=j} k(x_i, x_j) + mean_{i!=j} k(y_i, y_j) - 2 mean_{i,j} k(x_i, y_j),
    k(x, y) = exp(-|x - y|^2 / 2 width^2), the width being `real.width`.

    The error is over draws of both sets, at a given width. With k_ij = mean + effects + e_ij its terms
    do not correlate (Hoeffding): Var = 4 Var(a_x - b_x) / N + 4 Var(a_y - b_y) / M
    + 2 Var(e_xx) / N(N-1) + 2 Var(e_yy) / M(M-1) + 4 Var(e_xy) / NM, b_x being the effects of
    x in k(x, y). Each is estimated without bias, as of a table with one value in a cell. Where both
    distributions are one the first two are 0; as their sum is not taken to be less, the error is
    then too large, by a fifth in 3 dimensions.

    References: Gretton et al. (2012), "A Kernel Two-Sample Test", eq. 3; Sutherland (2019),
    "Unbiased estimators for the variance of MMD estimators", of the same variance.
    """
    x, y = real.vectors, real.check(generated)
    n, m, of_x, of_y = len(x), len(y), real.kernel, _kernel(y, real.width)
    mean, b_x, b_y, rest = _cross(x, y, real.width)
    first = (of_x.effects - b_x).var(ddof=1) - of_x.rest / (n - 2) - rest / m
    second = (of_y.effects - b_y).var(ddof=1) - of_y.rest / (m - 2) - rest / n
    variance = 4 * max(0.0, first / n + second / m) + 4 * rest / (n * m)
    variance += 2 * of_x.rest / (n * (n - 1)) + 2 * of_y.rest / (m * (m - 1))
    value = of_x.mean + of_y.mean - 2 * mean
    return Estimate(float(value), float(np.sqrt(variance)))


# A classifier


def classifier_accuracy(real, generated):
    """How often a classifier tells held-out real from generated vectors; 1/2 is not at all.

    Logistic regression on the features and their squares, all of unit variance: so that it sees
    means and variances. It is fitted on half of either set, by a fixed permutation, and tested on
    the other. The accuracy is the mean of that on real and that on generated ones, p_x and p_y, so
    that chance is 1/2 for N != M too: the classes weigh the same.

    The error is over held-out vectors, of a given classifier:
    sqrt(p_x(1-p_x)/n_x + p_y(1-p_y)/n_y) / 2; at 1/2 that is 1/sqrt(4n) of n in all.

    References: Lopez-Paz and Oquab (2017), "Revisiting Classifier Two-Sample Tests", section 3.
    """
    from sklearn.linear_model import LogisticRegression

    parts = [_halves(v) for v in (real.vectors, real.check(generated))]
    fit, *tests = np.concatenate([p[0] for p in parts]), *(p[1] for p in parts)
    scale = _scale(fit)
    scale_of_squares = _scale(scale(fit) ** 2)

    def inputs(vectors):
        scaled = scale(vectors)
        return np.concatenate([scaled, scale_of_squares(scaled**2)], axis=1)

    label = np.repeat([0, 1], [len(p[0]) for p in parts])
    model = LogisticRegression(class_weight="balanced", max_iter=10_000)
    model.fit(inputs(fit), label)
    right = [model.predict(inputs(test)) == i for i, test in enumerate(tests)]
    shares = np.array([r.mean() for r in right])
    variances = shares * (1 - shares) / [len(r) for r in right]
    return Estimate(float(shares.mean()), float(np.sqrt(variances.sum()) / 2))


def _halves(vectors):
    order = _order(len(vectors))
    return vectors[order[::2]], vectors[order[1::2]]


def _scale(vectors):
    """A function that gives features the mean 0 and the variance 1 that they have in `vectors`."""
    mean, spread = vectors.mean(0), vectors.std(0)
    # Rounding has no scale.
    spread = np.where(spread > 1e-9 * np.abs(mean), spread, 1.0)
    return lambda others: (others - mean) / spread


# Gaussians


def gaussian(mean, covariance):
    """A `Gaussian` of a mean [F] and a covariance [F, F], of any rank."""
    values, axes = np.linalg.eigh(covariance)
    least = len(values) * np.finfo(np.float64).eps * values[-1]
    # Of lower rank: rounding has no root.
    values = np.where(values > least, values, 0.0)
    return Gaussian(mean, float(values.sum()), (axes * np.sqrt(values)) @ axes.T)


def distance(a, b):
    """The squared Fréchet distance of two `Gaussian`s.

    d^2 = |m_a - m_b|^2 + tr C_a + tr C_b - 2 tr (C_a^(1/2) C_b C_a^(1/2))^(1/2), the last trace being
    the sum of the singular values of C_a^(1/2) C_b^(1/2).

    References: Dowson and Landau (1982), "The Fréchet distance between multivariate normal
    distributions".
    """
    shared = np.linalg.svd(a.root @ b.root, compute_uv=False).sum()
    found = ((a.mean - b.mean) ** 2).sum() + a.trace + b.trace - 2 * shared
    return max(0.0, float(found))


def _gaussians(vectors):
    """The `Gaussian` fitted to vectors, and those without one of 20 blocks of them."""
    blocks = np.array_split(_order(len(vectors)), min(BLOCKS, len(vectors)))
    kept = [vectors, *(np.delete(vectors, block, axis=0) for block in blocks)]
    return [gaussian(v.mean(0), np.atleast_2d(np.cov(v.T))) for v in kept]


def frechet(real, generated):
    """The squared Fréchet distance of Gaussians fitted to both sets: see `distance`.

    Of features of Inception this is the FID of Heusel et al. (2017); of others it is not. It is biased
    upwards: of one distribution with F features of variance 1 it is F(F+5)/4 (1/N + 1/M) on average.

    The error is over draws of both sets, by the jackknife: with d_b without block b of B,
    Var = (B-1)/B sum_b (d_b - mean d)^2, blocks of x and of y in turn, added. Where both
    distributions are one, the deviation is of second order, which a jackknife counts twice: the
    error is then sqrt 2 times too large, and never too small (Efron and Stein, 1981).
    """
    of_x, of_y = real.gaussians, _gaussians(real.check(generated))
    without = (
        [distance(x, of_y[0]) for x in of_x[1:]],
        [distance(of_x[0], y) for y in of_y[1:]],
    )
    variance = sum((len(d) - 1) * np.var(d) for d in without)
    return Estimate(distance(of_x[0], of_y[0]), float(np.sqrt(variance)))
