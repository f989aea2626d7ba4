"""What the summary says of runs that collapsed or diverged, and why."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from aevae import models, networks
from aevae.runs import record, remarks, tables

COLUMNS = ["run", "beta", "lr", "seed"]


def summary(path, rows, scale=(0.0, 1.0), standardize="no", stored="float32"):
    declared = {"format": record.FORMAT, "sweeps": [1], "groups": [1]}
    declared |= {"columns": COLUMNS, "config": {"standardize": standardize}}
    (path / "config.json").write_text(json.dumps(declared))
    made = [{"data": [{"name": "x.npz", "range": scale, "stored": stored}]}]
    (path / "environment.json").write_text(json.dumps(made))
    usual = {"beta": 1, "lr": 1e-3, "seed": 0, "elbo": -9.0, "rate": 5.0}
    usual |= {"active_units": 2, "density": "no", "dataset": "x.npz"}
    rows = [{"run": i} | usual | row for i, row in enumerate(rows)]
    names = [*COLUMNS, "elbo", "rate", "active_units", "diverged", "density", "dataset"]
    tables.Table(path / "results.csv", names).write(rows)
    lines = tables.summary(path).splitlines()
    return [line for line in lines if "run" in line.lower() and "elbo" not in line]


def test_runs_that_use_no_latent_are_named(tmp_path):
    gone = {"beta": 100, "rate": 0.003, "active_units": 0}
    (line,) = summary(tmp_path, [{}, gone, gone | {"seed": 1}, {"active_units": 1}])
    assert line.startswith(
        "The posterior of runs 1, 2 has collapsed (no active unit, a"
    )
    (line,) = summary(tmp_path, [{}, *[gone] * 12])
    assert "of 12 runs (1, 2, 3, 4, 5, 6, 7, 8, ...) has" in line
    for other in (
        {"active_units": None},  # of discrete codes
        {"rate": None},
        {"rate": 2.0},  # means that vary little, and say much
        {"diverged": 3},
    ):
        lines = summary(tmp_path, [{}, gone | other])
        assert not any("collapsed" in line for line in lines)
    assert "collapsed" not in tables.summary(tmp_path, ["iwae"])


def test_a_run_that_diverged_has_its_likely_cause(tmp_path):
    nan = {"elbo": np.nan, "diverged": 1}
    density = nan | {"density": "yes"}
    (said, *_) = [
        line
        for line in summary(tmp_path, [{}, density], (-3e5, 8e4))
        if "finite" in line
    ]
    assert (
        "Run 1 diverged in epoch 1: some number was not finite; likely cause: the scale"
        in said
    )
    assert "up to 3e+05 sigmas from 0" in said and "--config.standardize=each" in said
    (said,) = summary(tmp_path, [{"elbo": -5e17, "density": "yes"}] * 4, (0, 8e4))
    assert (
        "The ELBO of runs 0, 1, 2, 3 is below -1e+09 nats; likely cause: the sc" in said
    )
    # Not of gray levels, of which a model sees x/255, nor where a lower rate did not diverge.
    (_, said) = summary(tmp_path, [{}, density], (0, 255), stored="uint8")
    assert "no cause is known" in said
    high = density | {"lr": 0.05}
    (said,) = summary(tmp_path, [{"density": "yes"}, high], (0, 255))
    assert "the learning rate: with 0.001" in said
    # Not where they are standardized, or the likelihood scores values from 0 to 1 alone.
    for rows, how in [([density], {"standardize": "each"}), ([nan], {})]:
        lines = summary(tmp_path, rows, (-3e5, 8e4), **how)
        assert "no cause is known" in lines[-1] and "scale" not in lines[-1]
    (said,) = summary(
        tmp_path, [{}, nan | {"lr": 0.05}, nan | {"lr": 0.09, "diverged": 4}]
    )
    assert (
        "Runs 1, 2 diverged in epochs 1 to 4: some number was not finite; likely"
        in said
    )
    assert "the learning rate: with 0.001, and else alike, no run diverged" in said


def test_each_cause_has_a_line(tmp_path):
    nan = {"elbo": np.nan, "diverged": 2}
    rows = [{}, nan | {"lr": 0.05}, nan | {"beta": 9}, nan | {"beta": 8, "lr": 1e30}]
    lines = summary(tmp_path, [*rows, {"seed": 1}])
    assert [line.rpartition("; ")[2][:41] for line in lines] == [
        "likely cause: the learning rate: with 0.0",
        "no cause is known: curves.csv has what ca",
        "likely cause: a learning rate above 0.1: ",
    ]
    # A smaller rate at which a run diverged as well proves nothing.
    lines = summary(tmp_path, [{}, nan | {"seed": 1}, nan | {"lr": 0.05}])
    assert all("no cause is known" in line for line in lines)


@pytest.mark.parametrize(
    ("likelihood", "low", "share"),
    [
        (models.LearnedGaussian(floor=0.01), -9.0, 1.0),
        (models.LearnedGaussian(per_pixel=True, floor=0.01), [[-9.0], [0.0]], 0.5),
        (models.LearnedGaussian(floor=0.01), -4.0, 0.0),
        (models.gaussian, None, 0.0),
    ],
)
def test_a_sigma_at_its_floor_is_said(likelihood, low, share):
    import jax

    from aevae import config

    parts = networks.MLPEncoder((3,)), networks.MLPDecoder((3,))
    made = models.VAE(2, *parts, likelihood=likelihood, shape=(2, 1, 1))
    batch = {"image": np.full((4, 2, 1, 1), 0.5, np.float32)}
    params = made.init(jax.random.key(0), batch, None, {"sigma": 0.01})
    if low is not None:
        own = params["params"]["likelihood"]
        own["log_sigma"] = np.broadcast_to(
            np.reshape(low, (-1, 1, 1)), own["log_sigma"].shape
        )
    base = config.load("configs/digits.py")
    run = SimpleNamespace(
        config=config.replace(base, "model", made),
        params=params,
        examples=batch,
        hp={"sigma": 0.01},
        scaling=None,
        row={"run": 7},
    )
    lines = [*remarks.floored([run])]
    assert len(lines) == (share > 0)
    if share:
        said = (
            f"Sigma is at its floor, 0.01, for {100 * share:g} % of the pixels of run 7"
        )
        assert lines[0].startswith(said)
