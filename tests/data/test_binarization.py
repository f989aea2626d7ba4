"""Draws of held-out data: functions of a seed, a source split and a row, whatever the slice."""

import functools
import hashlib
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from aevae import InputError, config, data, models, networks, objectives, optim
from aevae.data import binarization
from aevae.evaluation.work import TrainedGroup, Work, facts_of
from aevae.training.check import check_run
from aevae.training.population import populate

ALL = np.arange(256, dtype=np.uint8)
SPLITS = {  # of 350 rows in `train` and 250 in `test`
    name: np.random.default_rng(size).integers(0, 256, (size, 5, 1, 1), np.uint8)
    for name, size in (("train", 350), ("validation", 20), ("test", 250))
}


def noisy(key, batch):
    """A binarization of the user's own: a draw of Gaussian noise."""
    noise = jax.random.normal(key, batch["image"].shape)
    return batch | {"image": batch["image"] + batch["size"] * 0 + noise}


def held(slices="test", kind=data.stochastic, part="test"):
    """The held-out draw of slices of the splits above, as one of the parts."""
    dataset = data.load(SPLITS, **{part: slices})
    return data.held_out(kind, dataset, part)["image"]


def run(kind):
    """A run with a binarization."""
    return config.Config(
        model=models.VAE(2, networks.MLPEncoder(()), networks.MLPDecoder(())),
        objective=objectives.beta_vae,
        hparams={"beta": 1.0, "lr": 1e-3},
        optimizer=optim.adam,
        schedule=optim.constant,
        binarization=kind,
        batch=8,
    )


@pytest.mark.parametrize("kind", [data.stochastic, noisy])
def test_a_slice_is_drawn_as_the_whole_is(kind):
    whole, train = held(kind=kind), held("train", kind)
    assert np.unique(whole).size == (2 if kind is data.stochastic else whole.size)
    for first, last in ((0, 100), (0, 7), (50, 250), (120, 130)):
        slices = f"test[{first}:{last}]"
        np.testing.assert_array_equal(held(slices, kind), whole[first:last])
    both = np.concatenate([train[300:], whole[50:]])
    for part in data.PARTS:  # nor does it matter which part they are
        union = held("train[300:]+test[50:]", kind, part)
        np.testing.assert_array_equal(union, both)
    dataset = data.load(SPLITS, test="test[30:]")
    for rows in (slice(3, 9), [99, 2]):
        some = data.held_out(kind, dataset, "test", rows)["image"]
        np.testing.assert_array_equal(some, whole[30:][rows])
    assert (train[:250] != whole).any() and (whole[:100] != whole[100:200]).any()


def test_fixed_rows_are_the_same_in_every_slice():
    def drawn(kind, *slices):
        dataset = data.binarized(data.load(SPLITS, *slices), kind)
        return [split["image"] for split in dataset.parts.values()]

    train, validation, test = drawn(data.fixed)
    cut = drawn(data.fixed, "train[40:]", "train[:40]+test[9:]", "validation[5:]")
    np.testing.assert_array_equal(cut[0], train[40:])
    np.testing.assert_array_equal(cut[1], np.concatenate([train[:40], test[9:]]))
    np.testing.assert_array_equal(cut[2], validation[5:])
    for seed in (-1, 0.5):
        with pytest.raises(InputError, match=f"whole number from 0, not {seed}"):
            drawn(functools.partial(data.fixed, seed=seed))


def test_draws_are_what_they_were():
    """This changes only with a decision to draw other data: every published digit moves with it."""
    found = hashlib.sha256()
    for kind in (ALL[None], np.float32(ALL[None]) / 255):
        image = np.tile(kind, (150, 1))
        dataset = data.arrays(*[{"image": image}] * 3)
        drawn = data.held_out(data.stochastic, dataset, "test")["image"]
        found.update(np.packbits(drawn).data)
        drawn = data.binarized(dataset, functools.partial(data.fixed, seed=7))
        found.update(np.packbits(drawn.train["image"]).data)
    assert found.hexdigest()[:16] == "7cb9c4afba00772f"


def test_the_probability_is_x_over_255():
    """By the frequencies of 0 to 254, chi-square; and every level against all of them."""
    bits = np.random.PCG64(3)
    u = binarization._uniform(bits, (1000, 255), np.uint8)
    counts = np.bincount(u.ravel(), minlength=256)
    assert counts[255] == 0
    chi = ((counts[:255] - 1000) ** 2 / 1000).sum()
    assert abs(chi - 254) < 5 * np.sqrt(2 * 254)
    every = np.arange(255, dtype=np.uint8)  # each as likely
    assert ((every[:, None] < ALL).sum(0) == ALL).all()
    u = binarization._uniform(bits, (100_000,), np.float32)
    assert 0 <= u.min() and u.max() < 1 and abs(u.mean() - 0.5) < 5 / np.sqrt(12e5)


def test_a_row_of_ones_own_binarization_is_met_alone():
    """With its labels, and the size of the split, as a batch has them."""
    part = {"image": np.ones((7, 2), np.float32), "label": np.arange(7, dtype=np.int32)}
    part["image"][0] = 0
    dataset, shapes = data.arrays(part, part, part), []

    def own(key, batch):
        shapes.append(batch["image"].shape)
        return batch | {"image": batch["image"] * (batch["label"][:, None] < 3)}

    held = data.held_out(own, dataset, "test")
    assert set(shapes) == {(1, 2)} and held["image"].dtype == bool
    np.testing.assert_array_equal(held["image"][:, 0], [0, 1, 1, 0, 0, 0, 0])
    assert list(held) == ["image", "label"]
    whole = data.held_out(noisy, dataset, "test")
    assert data.held_bytes(noisy, part) == sum(v.nbytes for v in whole.values())
    threshold = data.held_out(data.threshold, dataset, "test")
    assert sum(v.nbytes for v in threshold.values()) == 7 * (2 + 4)
    assert data.held_bytes(data.threshold, part) == 7 * (2 + 4)


def test_another_split_in_its_place_is_another_draw(tiny):
    held = data.held_out(data.stochastic, tiny, "test")["image"]
    other = tiny._replace(test={"image": tiny.test["image"][:9]})
    np.testing.assert_array_equal(
        data.held_out(data.stochastic, other, "test")["image"], held[:9]
    )
    black = tiny._replace(test={"image": np.zeros_like(tiny.test["image"])})
    assert not data.held_out(data.stochastic, black, "test")["image"].any()


@pytest.mark.retraced
def test_a_split_is_drawn_once_a_data_set(monkeypatch, tiny):
    """By two groups, and by two measures of what they have trained; of `train` what is asked for."""
    drawn, draw = [], binarization._drawn

    def counted(kind, dataset, part, rows):
        drawn.append((part, len(getattr(dataset, part)["image"][rows])))
        return draw(kind, dataset, part, rows)

    monkeypatch.setattr(binarization, "_drawn", counted)
    dataset = data.arrays(**tiny.parts)
    for _ in range(2):
        population = populate([run(data.stochastic)], dataset)
    assert drawn == [("validation", 20), ("test", 20)]
    (state,) = population.states(population.start())
    group = TrainedGroup(
        0, [], [{"elbo": 1}], population.runs, [(state.params, state.step)]
    )
    facts_of(group, dataset, False)
    work = SimpleNamespace(config=population.config, dataset=dataset)
    for _ in range(2):
        assert len(Work.held(work, "test")["image"]) == 20
        assert len(Work.held(work, "train", 5)["image"]) == 5
    assert drawn[2:] == [("train", 5)] * 2


def test_what_fails_row_by_row_is_one_line_before_training(tiny):
    def centered(key, batch):
        first, second, *_ = batch["image"]
        return batch | {"image": (batch["image"] + first - second) / 512}

    with pytest.raises(InputError, match="fails: not enough values to unpack"):
        check_run(run(centered), tiny)
