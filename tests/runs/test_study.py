"""A sweep into a folder, and what can be done with it afterwards."""

import csv
import functools
import json
import math
import shutil
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

from aevae import (
    InputError,
    WriteError,
    config,
    data,
    figures,
    objectives,
    optim,
    training,
)
from aevae.runs import progress, record, study, tables, trained
from aevae.training import bounds
from aevae.training.step import State

pytestmark = pytest.mark.retraced

GRID = {"latent": (2, 3), "beta": (1.0, 4.0), "seed": (0, 1)}
SMALL = {
    "epochs": 3,
    "batch": 400,
    "encoder.widths": "(16,)",
    "decoder.widths": "(16,)",
}
CONFIG = "configs/digits.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "small"
    study.run(CONFIG, path, overrides=SMALL, grid=GRID)
    return path


def test_curves_have_a_row_a_run_and_epoch(folder):
    rows = tables.read(folder / "curves.csv")
    assert len(rows) == 8 * 3
    assert [r["epoch"] for r in rows if r["run"] == 5] == [1, 2, 3]
    for row in rows:
        assert row["step"] == 3 * row["epoch"] and row["samples"] == 400 * row["step"]
        for part in ("train", "validation", "test"):
            assert row[f"{part}_rate"] >= 0
            total = row[f"{part}_distortion"] + row[f"{part}_rate"]
            assert row[f"{part}_elbo"] == pytest.approx(-total, rel=1e-5)
            loss = row[f"{part}_distortion"] + row["beta"] * row[f"{part}_rate"]
            assert row[f"{part}_loss"] == pytest.approx(loss, rel=1e-5)


def test_results_have_a_row_a_run_in_the_grids_terms(folder):
    rows = tables.read(folder / "results.csv")
    points = {(r["latent"], r["beta"], r["seed"]) for r in rows}
    assert points == {(z, b, s) for z in (2, 3) for b in (1, 4) for s in (0, 1)}
    assert [r["run"] for r in rows] == list(range(8))
    for row in rows:
        assert row["elbo"] == pytest.approx(-row["distortion"] - row["rate"], rel=1e-5)
        assert row["iwae"] > row["elbo"]
        assert row["validation_elbo"] < 0 and row["diverged"] is None
        assert (row["objective"], row["dataset"]) == ("beta_vae", "digits")
        assert row["binarization"] == "stochastic"


def test_rows_are_in_the_order_of_their_columns():
    """Numbers rise, what is no number stays as it came, and a blank comes after numbers."""
    points = [(4, "iwae", 1.0), (1, "iwae", None), (1, "iwae", 10), (1, "beta_vae", 2)]
    rows = [dict(zip(("latent", "objective", "k"), point)) for point in points]
    as_texts = [{k: "" if v is None else str(v) for k, v in r.items()} for r in rows]
    for given in (rows, as_texts):
        found = tables.in_order(given, ["latent", "objective", "k"])
        assert found == [given[2], given[1], given[3], given[0]]


class Named(NamedTuple):
    """A group as its name needs it."""

    number: int
    names: list


def test_groups_are_called_by_what_differs():
    def heads(*groups):
        cells = [[{"run": 0, **row} for row in rows] for rows in groups]
        return [*progress.heads([Named(i, own) for i, own in enumerate(cells)])]

    one = [{"latent": "5", "widths": "(8, 8)", "beta": b} for b in ("1", "4")]
    assert heads(one) == ["group 0 of 1"]
    wide = [row | {"widths": "(8,)"} for row in one]
    assert heads(one, wide)[1] == "group 1 of 2 (widths (8,))"
    assert heads(one, [one[0] | {"beta": "2"}]) == [
        "group 0 of 2 (beta 1 & 4)",
        "group 1 of 2 (beta 2)",
    ]


def test_a_folder_says_what_made_it(folder, digits):
    found = record.read(folder)
    (asked,) = found["sweeps"]
    assert asked["overrides"] == SMALL and asked["grid"]["beta"] == [1, 4]
    assert found["config"]["model"]["encoder"]["widths"] == [16]
    assert (folder / "config.py").read_text() == Path(CONFIG).read_text()
    (made,) = json.loads((folder / "environment.json").read_text())
    assert made["versions"]["jax"] == jax.__version__
    assert made["data"][0]["sha256"] == digits.digest
    timing = tables.read(folder / "timing.csv")
    assert [t["runs"] for t in timing] == [4, 4] and all(
        t["devices"] >= 1 for t in timing
    )


def test_tables_are_blank_where_a_run_has_no_such_thing(tmp_path):
    overrides = {
        "epochs": 1,
        "batch": 600,
        "model.likelihood": "aevae.models.likelihoods:bernoulli",
    }
    ae = config.replace(config.load(CONFIG), "objective", objectives.autoencoder)
    ae = config.replace(ae, "hparams", {"lr": 1e-3})
    study.run(ae, tmp_path / "ae", overrides=overrides, grid={"seed": (0, 1)})
    with (tmp_path / "ae" / "results.csv").open() as file:
        for row in csv.DictReader(file):
            assert {row[n] for n in ("elbo", "rate", "iwae", "active_units")} == {""}
            assert {row[n] for n in ("validation_elbo", "diverged")} == {""}
            assert float(row["distortion"]) == pytest.approx(
                float(row["cross_entropy"])
            )
            assert float(row["squared_error"]) > 0
    names = {path.name for path in figures.draw(tmp_path / "ae", base=ae)}
    assert names == {"distortion.png", "reconstructions.png", "interpolations.png"}
    with pytest.raises(InputError, match="trained from a Config"):
        trained.load(tmp_path / "ae", seed=0)
    assert (
        trained.load(tmp_path / "ae", ae, seed=0)
        .reconstruct(np.zeros((2, 8, 8, 1)))
        .shape
    )


def test_a_loaded_run_is_the_run_that_was_trained(folder, digits):
    run = trained.load(folder, latent=3, beta=4, seed=1)
    assert run.row["run"] == 7 and run.config.hparams["beta"] == 4
    batch = data.none(None, digits.test)
    q = run.encode(digits.test["image"])
    assert q.mean.shape == (300, 3)
    x = run.decode(q.mean)
    np.testing.assert_allclose(run.reconstruct(digits.test["image"]), x.mean, rtol=1e-6)
    assert x.mean.shape == batch["image"].shape and 0 < float(x.mean.min()) < 1
    # Its own evaluation again, from the parameters on disk and the same binarized images.
    held = data.none(None, data.held_out(data.stochastic, digits, "test"))
    np.testing.assert_array_equal(held["image"][:10], run.examples["image"])
    variance = np.asarray(run.encode(held).mean, np.float64).var(0)
    assert abs(variance - bounds.ACTIVE).min() > 1e-5  # none is in doubt
    assert run.row["active_units"] == (variance > bounds.ACTIVE).sum()
    state = State(run.params, None, np.int32(9))
    terms = jax.jit(
        lambda p, rows, key: bounds.of_split(
            run.config, state._replace(params=p), rows, key, run.hp
        )
    )(run.params, held, data.evaluation_key("test", "bounds"))
    for name in ("elbo", "distortion", "rate", "iwae"):
        assert float(terms[name]) == pytest.approx(run.row[name], rel=1e-5)


def test_fixed_draws_are_told_apart_and_of_the_same_data(tmp_path, digits):
    """The seed of a draw is in the tables; what is guarded is what was drawn from."""
    (base,) = config.settle(config.load(CONFIG), SMALL | {"epochs": 1}, {})
    base = config.replace(base, "binarization", functools.partial(data.fixed, seed=1))
    grid = {"binarization.seed": (1, 2), "seed": (0,)}
    named = digits._replace(labels=tuple("abcdefghij"))
    rows, _ = study.run(base, tmp_path / "run", grid=grid, dataset=named)
    assert [row["binarization"] for row in rows] == ["fixed(seed=1)", "fixed(seed=2)"]
    assert rows[0]["elbo"] != rows[1]["elbo"]
    (made,) = json.loads((tmp_path / "run" / "environment.json").read_text())
    (known,) = made["data"]
    assert (known["sha256"], known["stored"]) == (digits.digest, "bool")
    assert known["labels"] == [*"abcdefghij"]


def test_what_was_taken_for_what_is_said_once_before_training(tmp_path, capsys):
    images = (np.arange(40 * 9).reshape(40, 3, 3) % 251).astype(np.uint8)
    given = {"X": images, "y": np.array(["cat", "dog", "owl"])[np.arange(40) % 3]}
    base = config.load("configs/methods.py:conditional")
    small, grid = {"batch": 8}, {"classes": (3, 2)}
    how = {"overrides": small, "grid": grid, "dataset": given}
    calls = (
        lambda: study.run(base, tmp_path / "run", **how),
        lambda: training.fit(config.settle(base, small, grid), given),
    )
    for call in calls:
        with pytest.raises(InputError, match=r"label 2 .owl., and the .*classes=3"):
            call()
        said = capsys.readouterr().err.splitlines()
        assert said[0] == "arrays: read X as image, y as label" and len(said) == 2
        assert said[1] == "array y of arrays: cat, dog, owl are classes 0 to 2"


def test_swept_shapes_functions_and_lengths_are_loaded_back(tmp_path):
    """What JSON makes of a grid, tuples and functions among it, is the grid again."""
    grid = [
        {"encoder.widths": ((4,),), "binarization": (data.none,), "epochs": (1, 2)},
        {"encoder.widths": ((4, 4),), "binarization": (data.threshold,), "epochs": 1},
    ]
    small = {
        "latent": 2,
        "batch": 600,
        "decoder.widths": (4,),
        "schedule": optim.constant,
    }
    study.run(CONFIG, tmp_path / "run", overrides=small, grid=grid)
    where = {"encoder.widths": (4, 4), "binarization": data.threshold}
    run = trained.load(tmp_path / "run", **where)
    assert run.config.model.encoder.widths == (4, 4)
    assert run.config.binarization is data.threshold
    assert run.encode(run.examples).mean.shape == (10, 2)
    runs = config.settle(config.load(CONFIG), small, grid)
    again = json.loads(json.dumps([config.canonical(x) for x in (small, grid)]))
    assert config.settle(config.load(CONFIG), *again) == runs


def test_some_runs_are_declared_without_the_others(folder, tmp_path, monkeypatch):
    runs = record.declared(folder)
    made = []
    whole = config.Config.__post_init__
    monkeypatch.setattr(
        config.Config, "__post_init__", lambda run: (made.append(run), whole(run))
    )
    assert record.declared(folder, only=[5, 2]) == {2: runs[2], 5: runs[5]}
    assert len(made) < len(runs)  # the two, and those that overrides change
    again = tmp_path / "again"  # more epochs, and other seeds, in a second command
    shutil.copytree(folder, again)
    declaration = json.loads((again / "config.json").read_text())
    (first,) = declaration["sweeps"]
    more = {"overrides": SMALL | {"epochs": 9}, "grid": GRID | {"seed": [1, 2]}}
    declaration["sweeps"].append(first | more)
    (again / "config.json").write_text(json.dumps(declaration))
    runs = record.declared(again)
    assert len(runs) == 12 and {run.epochs for run in runs} == {9}
    assert record.declared(again, only=[3, 11]) == {3: runs[3], 11: runs[11]}


def test_images_of_a_wrong_shape_are_named(folder):
    run = trained.load(folder, latent=2, beta=1, seed=0)
    odd = np.zeros((3, 8, 8, 1), complex)
    for wrong in (np.zeros((3, 64)), np.zeros((8, 8, 1)), odd):
        with pytest.raises(
            InputError, match=r"uint8, bool or floats, \[N, 8, 8, 1\], not"
        ):
            run.encode(wrong)


def test_samples_come_from_the_prior(folder):
    run = trained.load(folder, latent=2, beta=1, seed=0)
    a, b = run.sample(jax.random.key(0), 5), run.sample(jax.random.key(1), 5)
    assert a.shape == (5, 8, 8, 1) and (a != b).any()
    np.testing.assert_array_equal(a, run.sample(jax.random.key(0), 5))


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ({"latent": 3}, "4 of the runs .* match latent=3; they differ in .*beta 1, 4"),
        (
            {"latent": 5},
            "none of the runs .* match latent=5; they differ in .*latent 2, 3",
        ),
        ({"depth": 5}, "tells runs apart by run, latent, beta, lr, seed, not 'depth'"),
    ],
)
def test_loading_names_what_there_is(where, says, folder):
    with pytest.raises(InputError, match=says):
        trained.load(folder, **where)


def test_tensorboard_reads_the_curves(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rows = [r for r in tables.read(folder / "curves.csv") if r["run"] == 6]
    events = EventAccumulator(str(next((folder / "tensorboard").glob("0006,*"))))
    events.Reload()
    assert "test/elbo" in events.Tags()["scalars"]
    found = [(e.step, e.value) for e in events.Scalars("test/elbo")]
    assert found == [(r["step"], pytest.approx(r["test_elbo"])) for r in rows]


def test_figures_are_drawn_from_the_folder_alone(folder, tmp_path):
    copy = tmp_path / "moved"
    shutil.copytree(folder, copy)
    paths = figures.draw(copy)
    names = {path.name for path in paths}
    curves = {"elbo_by_latent.png", "elbo_by_beta.png"}
    assert names >= curves | {
        "rate_distortion.png",
        "reconstructions.png",
        "samples.png",
    }
    assert all(path.stat().st_size > 5000 for path in paths)


def test_the_best_run_is_the_validation_splits():
    rows = [
        {"latent": 2, "validation_elbo": -9.0, "elbo": -1.0},
        {"latent": 2, "validation_elbo": -8.0, "elbo": -2.0},
        {"latent": 3, "validation_elbo": math.nan, "elbo": -0.5},
        {"latent": 3, "validation_elbo": None, "validation_distortion": 4.0},
    ]
    assert figures.best_of_each(rows, "latent") == [rows[1], rows[3]]


def test_a_diverged_run_is_named_and_the_rest_is_drawn(tmp_path):
    grid = {"latent": (2,), "lr": (1e-3, 1e30), "seed": (0, 1)}
    rows, _ = study.run(CONFIG, tmp_path / "run", overrides=SMALL, grid=grid)
    assert [row["diverged"] for row in rows] == [None, None, 1, 1]
    assert math.isnan(rows[2]["elbo"]) and math.isfinite(rows[0]["elbo"])
    lines = tables.summary(tmp_path / "run").splitlines()
    assert "2/2" in lines[1] and "0/2" in lines[2] and "nan" not in lines[2]
    names = {path.name for path in figures.draw(tmp_path / "run")}
    assert names >= {"elbo_by_lr.png", "rate_distortion.png", "samples.png"}


def test_figures_without_any_run_that_has_not_diverged(tmp_path):
    grid = {"latent": (2,), "lr": (1e30,), "seed": (0, 1)}
    rows, _ = study.run(CONFIG, tmp_path / "run", overrides=SMALL, grid=grid)
    assert [row["diverged"] for row in rows] == [1, 1]
    names = {path.name for path in figures.draw(tmp_path / "run")}
    assert names == {"elbo.png", "rate_distortion.png"}


def test_a_folder_of_something_else_and_one_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    asked = {"overrides": SMALL, "grid": GRID}
    with pytest.raises(InputError, match="is neither empty nor a run folder"):
        study.run(CONFIG, tmp_path, **asked)
    with pytest.raises(InputError, match="cannot write to"):
        study.run(CONFIG, tmp_path / "file" / "run", **asked)
    with pytest.raises(WriteError, match="cannot write to /proc/nothing: No such"):
        study.run(CONFIG, "/proc/nothing", **asked)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"overrides": ["beta"]}, r"overrides are {name: value}, not \['beta'\]"),
        ({"overrides": ["beta"], "dataset": "digits"}, "overrides are {name: value}"),
        ({"interval": "60"}, "interval must be 0 seconds or more, not '60'"),
        ({"memory": "1"}, "memory for data must be above 0 bytes, not '1'"),
        ({"code": "x" * 9999}, "code must be .*, not 'x+[.]{3}x+'$"),
    ],
)
def test_an_argument_of_another_kind_is_one_line(asked, says, tmp_path):
    with pytest.raises(InputError, match=says):
        study.run(CONFIG, tmp_path / "run", **asked)
    assert not (tmp_path / "run").exists()


def test_reading_a_folder_that_is_none_is_one_line(tmp_path):
    for use in (tables.results, trained.load, figures.draw, tables.summary):
        with pytest.raises(InputError, match="is not a run folder"):
            use(tmp_path)
