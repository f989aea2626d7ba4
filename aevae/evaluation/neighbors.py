"""Neighbors among vectors: balls that reach to the k-th, and the nearest of a bank.

Distances are in float64, of differences, so that those of copies are 0; by blocks of rows.
"""

import numpy as np
from scipy.spatial.distance import cdist

from aevae import InputError

CELLS = 2**21  # numbers that are looked at at a time


def distances(x, y):
    """Slices of rows of x, and their distances to all of y: of differences, so that 0 is 0."""
    step = max(1, CELLS // len(y))
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        yield rows, cdist(x[rows], y)


def radii(vectors, neighbors):
    """The distance of each vector to its k-th nearest among the others, [N]; copies count."""
    found = np.empty(len(vectors))
    for rows, between in distances(vectors, vectors):
        # The smallest of a row is the vector's own, 0.
        found[rows] = np.partition(between, neighbors, axis=1)[:, neighbors]
    return found


def error_of_coverage(near):
    """The standard error of coverage over generated sets, from which samples are in which balls [N, M].

    Ball i is missed with probability exp(-m_i), m_i samples being expected in it, so that
      N^2 Var = sum_{i,l} exp(-m_{i or l}) - exp(-m_i - m_l) - (sum_i m_i exp(-m_i))^2 / M,
    the last term because M is given. As E (-1)^n = exp(-2 m) of a Poisson number n, without bias
      sum over sets S of samples, not empty: (-1)^(|S|+1) #{i: those in ball i are S}^2
    stands for the sum, and #{i: one sample is in ball i} for the one in brackets. Sets of one
    sample alone give the jackknife's variance, which is never too small in expectation (Efron and
    Stein, 1981) and here up to four times too large. The estimate is noise where nearly all is
    covered; it is kept below the jackknife's, and above that of N independent balls, c(1 - c)/N.
    """
    (count, samples), inside = near.shape, near.sum(1)
    packed = np.packbits(near[inside > 0], axis=1)
    sets = np.unique(packed, axis=0, return_counts=True) if len(packed) else ([], [])
    size = np.array([np.bitwise_count(s).sum(dtype=int) for s in sets[0]], int)
    squares = np.square(sets[1], dtype=float)
    fixed = (inside == 1).sum() ** 2 / samples
    found = (squares * np.where(size % 2, 1, -1)).sum() - fixed
    most = squares[size == 1].sum() - fixed
    covered = len(packed) / count
    least = covered * (1 - covered) / count
    return float(np.sqrt(max(least, min(found, most) / count**2)))


class Bank:
    """Vectors among which the nearest is looked for.

    Args:
      vectors: anything with a shape [N, P] and slices of rows, such as `representation.Pixels`: it
        is gone through by blocks.
    """

    def __init__(self, vectors):
        if not len(vectors):
            raise InputError("a bank without vectors has no nearest one")
        self._vectors = vectors

    def nearest(self, x):
        """min_i |x - b_i| for each x [M, P], in float64, [M]: a copy's is 0.

        The nearest of a block is found by |b|^2/2 - x.b, around a mean; its distance is then of
        the difference. So another one may be taken for it only where their squared distances are
        within rounding, some 1e-14 of the squared lengths, of one another.
        """
        (count, pixels), x = self._vectors.shape, np.asarray(x, np.float64)
        if x.ndim != 2 or x.shape[1] != pixels:
            raise InputError(
                f"vectors of shape {x.shape} beside a bank of {count}, {pixels} numbers each"
            )
        step = max(1, CELLS // max(1, pixels, len(x)))
        mean = np.mean(self._vectors[:step], axis=0, dtype=np.float64)
        around, found = x - mean, np.full(len(x), np.inf)
        for start in range(0, count, step):
            block = np.asarray(self._vectors[start : start + step], np.float64)
            off = block - mean
            best = ((off**2).sum(1) / 2 - around @ off.T).argmin(1)
            squares = ((x - block[best]) ** 2).sum(1)
            np.minimum(found, squares, out=found)
        return np.sqrt(found)
