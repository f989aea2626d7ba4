"""Which examples disentanglement is measured on."""

from types import SimpleNamespace

import numpy as np
import pytest

from aevae import data
from aevae.evaluation import disentanglement
from aevae.evaluation.work import Work


@pytest.mark.parametrize("most", [30, 88])
def test_of_a_large_set_some_rows_of_all_splits_are_taken(most, tiny, monkeypatch):
    """Those rows of all splits beside each other, and no others are drawn."""
    monkeypatch.setattr(disentanglement, "FACTORED", most)
    work = SimpleNamespace(config=SimpleNamespace(binarization=data.stochastic))
    work.dataset = data.arrays(**tiny.parts)
    work.held = lambda part: Work.held(work, part)
    found = disentanglement._whole(work)["image"]
    assert len(work.dataset.drawn) == (0 if most < 88 else 3)  # whole splits
    parts = [data.held_out(data.stochastic, tiny, part) for part in data.PARTS]
    every = np.concatenate([part["image"] for part in parts])
    some = np.arange(88)
    if most < 88:
        some = np.sort(np.random.default_rng(0).permutation(88)[:most])
    np.testing.assert_array_equal(found, every[some])
