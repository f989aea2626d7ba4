"""The nearest of a bank, to the last bit; and the error of coverage, against its exact variance."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from aevae import InputError
from aevae.evaluation import neighbors
from aevae.evaluation.neighbors import Bank


@pytest.mark.parametrize("offset", [0, 300])
def test_nearest_distances_are_a_trees_and_those_of_copies_are_0(offset, monkeypatch):
    monkeypatch.setattr(neighbors, "CELLS", 100 * 300)  # several blocks
    rng = np.random.default_rng(3)
    bank = np.float32(offset + rng.normal(size=(700, 40)))
    x = np.float32(offset + rng.normal(size=(100, 40)))
    x[:10] = bank[rng.integers(0, 700, 10)]
    x[10:20] = bank[690:] * np.float32(1 + 2e-7)  # nearly copies
    found = Bank(bank).nearest(x)
    known = cKDTree(np.float64(bank)).query(np.float64(x))[0]
    np.testing.assert_allclose(found, known, rtol=1e-12)
    assert (found[:10] == 0).all() and (found[10:] > 0).all()
    assert known[10:20].max() < 1e-3


class Slices:
    """What has slices of rows alone."""

    def __init__(self, values):
        self._values, self.shape = values, values.shape

    def __len__(self):
        return len(self._values)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self._values[rows]


def test_a_bank_is_read_by_slices(monkeypatch):
    monkeypatch.setattr(neighbors, "CELLS", 100)
    values = np.random.default_rng(4).normal(size=(50, 5))
    np.testing.assert_array_equal(Bank(Slices(values)).nearest(values[::-1]), 0.0)


@pytest.mark.parametrize(
    ("bank", "x", "says"),
    [
        ((9, 2), (9, 1), r"\(9, 1\) beside a bank of 9, 2 numbers each"),
        ((9, 2), (2,), r"\(2,\) beside a bank of 9, 2 numbers each"),
        ((0, 2), (9, 2), "a bank without vectors has no nearest one"),
    ],
)
def test_what_is_not_like_the_bank_is_said_in_a_line(bank, x, says):
    with pytest.raises(InputError, match=says):
        Bank(np.zeros(bank)).nearest(np.zeros(x))


def test_the_variance_of_coverage_has_no_bias():
    """Balls of 16 cells of a ring of 800, 60 samples: the mean over i of cov(0 is missed, i is).

    It is 4.6 times the variance of independent balls, and 0.43 of the jackknife's.
    """
    rng, (cells, width, samples) = np.random.default_rng(15), (800, 16, 60)
    ball = (np.arange(cells) - np.arange(cells)[:, None]) % cells < width
    either = (ball[0] | ball).sum(1)
    known = (1 - either / cells) ** samples - (1 - width / cells) ** (2 * samples)
    found = [
        neighbors.error_of_coverage(ball[:, rng.integers(0, cells, samples)]) ** 2
        for _ in range(600)
    ]
    assert np.mean(found) == pytest.approx(known.mean(), rel=0.1)
