"""An epoch that comes in windows from the host has the bits of one that is on the device."""

import functools

import jax
import numpy as np
import pytest

from aevae import InputError, config, data, models, networks, objectives, optim
from aevae.runs import place, study
from aevae.training import feed
from aevae.training.check import check_run
from aevae.training.layout import lay_out
from aevae.training.loop import snapshots
from aevae.training.population import Population

pytestmark = pytest.mark.bits

ROW = 16 + 1  # bytes of an image and its label
HELD = 40 * ROW


@pytest.fixture(scope="module")
def labeled():
    """52 + 20 + 20 gray images of 4x4 pixels, with labels of a byte."""
    images = np.random.default_rng(7).integers(0, 256, (92, 4, 4, 1)).astype(np.uint8)
    rows = {"image": images, "label": np.arange(92, dtype=np.uint8)}
    parts = [
        {k: v[a:b] for k, v in rows.items()} for a, b in ((0, 52), (52, 72), (72, 92))
    ]
    return data.arrays(*parts, name="labeled")


def runs(binarization=data.stochastic):
    base = config.Config(
        model=models.VAE(
            2,
            networks.MLPEncoder((8,)),
            networks.MLPDecoder((8,)),
            output_bias=models.mean_logit,
        ),
        objective=objectives.beta_vae,
        hparams={"beta": 1.0, "lr": 1e-2},
        optimizer=optim.adam,
        schedule=optim.constant,
        binarization=binarization,
        batch=8,
        epochs=3,
        keep="best",
    )
    seeds = [config.replace(base, "seed", seed) for seed in (3, 4)]
    return [
        config.replace(r, "hparams.beta", b) for r in seeds for b in (0.5, 1.0, 2.0)
    ]


def population(runs, dataset, devices, memory=None):
    checked = check_run(runs[0], dataset)
    layout = lay_out(len(runs), 2, devices)
    return Population(runs, dataset, layout, checked, memory)


def trained(population, length=None):
    return told(population, population.start(), length)


def told(population, snapshot, length=None):
    """All curves and states to come, as bytes."""
    told, start = [], snapshot
    for snapshot in snapshots(population, start, length):  # noqa: PLR1704
        for rows in zip(*(snapshot.metrics or {}).values()):
            told += [row.tobytes() for row in rows]
        told += [(k, v.tobytes()) for k, v in (snapshot.results or {}).items()]
    told += [leaf.tobytes() for leaf in jax.tree.leaves(population.states(snapshot))]
    return told + [
        leaf.tobytes() for leaf in jax.tree.leaves(population.selected(snapshot))
    ]


@pytest.mark.parametrize(
    ("binarization", "devices", "length"),
    [
        (data.stochastic, 1, 2),
        pytest.param(data.stochastic, 3, 4, marks=pytest.mark.retraced),
        pytest.param(data.fixed, 1, 4, marks=pytest.mark.retraced),
    ],
)
def test_a_fed_epoch_has_the_bits_of_a_resident_one(
    binarization, devices, length, labeled
):
    """6 steps in windows of 2, of 4 (a short one last) and all at once."""
    mine = runs(binarization)
    dataset = data.binarized(labeled, binarization)
    whole = population(mine, dataset, devices)
    assert whole.feed.resident
    straight = trained(whole)
    fed = population(mine, dataset, devices)
    fed.feed = feed.Feed(dataset.train, 8, [3, 4], fed.everywhere, (1, length))
    assert not fed.feed.resident
    assert trained(fed, length=length - 1) == straight  # wherever the host looks


@pytest.mark.retraced
def test_what_was_saved_before_an_evaluation_resumes_fed(labeled):
    """After the last step of an epoch, the epoch is not over."""
    mine = runs(data.none)[:2]
    whole = population(mine, labeled, 1)
    straight = trained(whole)
    fed = population(mine, labeled, 1)
    fed.feed = feed.Feed(labeled.train, 8, [3], fed.everywhere, (1, 2))
    for snapshot in snapshots(fed, length=1):
        if snapshot.step == 6:
            break
    arrays = fed.dump(snapshot)
    snapshot = fed.load(arrays, snapshot.epoch, snapshot.step, snapshot.status)
    assert (snapshot.epoch, snapshot.step) == (0, 6)
    assert told(fed, snapshot) == straight


def test_windows_hold_the_rows_of_the_order_and_no_more(labeled):
    where = jax.devices()[0]
    seeds = [3, 4]
    whole = feed.Feed(labeled.train, 8, seeds, where, (3, 6))
    fed = feed.Feed(labeled.train, 8, seeds, where, (1, 2))
    assert whole.resident and not fed.resident
    (epochs,) = whole.windows(5, 0, 7)
    assert epochs.order.shape == (2, 3, 6, 8) and whole.end(epochs) == 6
    order, seen = np.asarray(epochs.order)[:, :2].reshape(2, 12, 8), []
    for window in fed.windows(5, 0, 7):
        assert len(window.stored["image"]) == 2 * 2 * 8 and float(window.size) == 52
        for t in range(int(window.first), fed.end(window)):
            at = np.asarray(window.order)[:, 0, t - int(window.first)]
            seen.append(np.asarray(window.stored["label"])[at])
    np.testing.assert_array_equal(np.stack(seen, 1), labeled.train["label"][order])

    # In mid-epoch: from the window that has the step, or whose evaluation is left.
    def places(step):
        return [(int(w.epoch), int(w.first)) for w in fed.windows(5, step, 7)]

    assert places(3) == [(5, 2), (5, 4), (6, 0), (6, 2), (6, 4)]
    assert places(6) == [(5, 4), (6, 0), (6, 2), (6, 4)]


def test_as_many_steps_as_fit_are_on_a_device(labeled):
    def fit(allowed, seeds=2):
        return feed.window(labeled.train, 8, seeds, HELD, allowed)

    order = 2 * 48 * 4  # an epoch of two seeds; there are two at a time
    assert fit(HELD + 52 * ROW + 2 * order) == (1, 6)
    assert fit(HELD + 52 * ROW + 9 * order) == (4, 6)
    assert fit(2**40)[0] == feed.EPOCHS
    three = 3 * 2 * 8 * (ROW + 4)  # windows of a step of two seeds
    for allowed, steps in ((HELD + 2 * three, 2), (HELD + 4 * three, 4)):
        longer = {k: np.repeat(v, 20, 0) for k, v in labeled.train.items()}
        assert feed.window(longer, 8, 2, HELD, allowed) == (1, steps)
    with pytest.raises(
        InputError, match=r"held-out .* raise memory \(--data_gb\), or take"
    ):
        fit(HELD + 52 * ROW - 1, seeds=9)
    with pytest.raises(
        InputError, match=r"take smaller slices, or raise memory \(--data_gb\)"
    ):
        fit(2 * HELD - 1)
    assert 0 < feed.budget() < 2**50


@pytest.mark.retraced
def test_a_fed_sweep_writes_the_bytes_of_a_resident_one_and_resumes(
    tmp_path, capfd, monkeypatch
):
    """Digits of 64 bytes and a label of 4: 1,200 rows beside 597 of which a bit a pixel is kept."""
    short = {"epochs": 2, "binarization": data.none}
    go = functools.partial(
        study.run, "configs/digits.py", overrides=short, grid={"beta": (1, 2)}
    )
    go(tmp_path / "whole")
    memory = 115_000  # 40,596 held out; the training data are 81,600
    left = []

    def save(self, *args, **kwargs):
        left.append(saved(self, *args, **kwargs))
        if len(left) == 3:
            raise KeyboardInterrupt

    saved = place.Place.save
    monkeypatch.setattr(place.Place, "save", save)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "fed", memory=memory, interval=0)
    monkeypatch.undo()
    go(tmp_path / "fed", memory=memory)
    assert "they come in windows of 3 of 12 steps" in capfd.readouterr().err
    for name in ("curves.csv", "results.csv"):
        ours, theirs = (tmp_path / f / name for f in ("fed", "whole"))
        assert ours.read_bytes() == theirs.read_bytes()
    for path in (tmp_path / "whole" / "params").iterdir():
        ours = np.load(tmp_path / "fed" / "params" / path.name)
        with ours, np.load(path) as theirs:
            for name in theirs.files:
                np.testing.assert_array_equal(ours[name], theirs[name])
