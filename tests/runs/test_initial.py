"""Runs that start from a trained run's parameters, and what a folder keeps of that."""

import dataclasses
import shutil

import numpy as np
import pytest

from aevae import InputError, config, data, training
from aevae.runs import record, study, tables, trained
from aevae.training import initial
from aevae.training.check import with_image_shape
from aevae.training.step import init_state, initial_batch

pytestmark = pytest.mark.retraced

CONFIG = "configs/digits.py"
SMALL = {
    "epochs": 1,
    "batch": 12,
    "encoder.widths": (4,),
    "decoder.widths": (4,),
}
GRID = [{"latent": (2,), "seed": (0, 1)}, {"latent": (3,), "seed": (0,)}]
STILL = 1e-30  # a learning rate that leaves parameters as they are


def train(path, dataset, grid, init_from=None, **changes):
    how = {"dataset": dataset, "init_from": init_from}
    return study.run(CONFIG, path, overrides=SMALL | changes, grid=grid, **how)


@pytest.fixture(scope="module")
def source(tmp_path_factory, tiny):
    path = tmp_path_factory.mktemp("initial") / "source"
    train(path, tiny, GRID)
    return path


@pytest.fixture(scope="module")
def begun(tmp_path_factory, source, tiny):
    """A folder whose runs started from run 2, and its source, which may be spoiled."""
    place = tmp_path_factory.mktemp("begun")
    shutil.copytree(source, place / "source")
    given = f"{place / 'source'}:2"
    train(place / "run", tiny, {"latent": (3,), "lr": (STILL,)}, given)
    return place


def test_runs_start_from_the_parameters_and_the_folder_says_so(source, begun):
    row, (now,) = tables.results(source)[2], tables.results(begun / "run")
    assert now["latent"] == 3 and now["elbo"] == row["elbo"]  # nothing was learned
    kept = trained.load(begun / "source", run=2)
    again = trained.stored(begun / "run", 0)
    assert initial.digest(again[0]["params"]) == initial.digest(kept.params)
    assert again[1] == 4  # steps of its own
    said = record.read(begun / "run")["init_from"]
    digest = initial.digest(kept.params)
    assert said == {"given": f"{begun / 'source'}:2", "run": 2, "sha256": digest}
    assert "init_from" not in record.read(source)


def test_more_runs_and_epochs_go_on_and_the_source_may_be_gone(begun, tiny, tmp_path):
    shutil.copytree(begun / "run", tmp_path / "run")
    grid, given = {"latent": (3,), "lr": (STILL,)}, f"{begun / 'source'}:2"
    again = {"grid": grid, "init_from": given}
    (begun / "source").rename(begun / "away")
    try:
        assert train(tmp_path / "run", tiny, **again).groups == 0
        assert train(tmp_path / "run", tiny, **again, epochs=2).groups == 1
        more = grid | {"seed": (5,)}
        says = "runs that have not begun start from run 2 of .*source .*not a run fold"
        with pytest.raises(InputError, match=says):
            train(tmp_path / "run", tiny, more, given, epochs=2)
        # The same parameters from elsewhere are the same.
        there = f"{begun / 'away'}:latent=3,seed=0"
        assert train(tmp_path / "run", tiny, more, there, epochs=2).groups == 1
    finally:
        (begun / "away").rename(begun / "source")
    rows = tables.results(tmp_path / "run")
    assert [row["elbo"] for row in rows] == [rows[0]["elbo"]] * 2
    assert record.read(tmp_path / "run")["init_from"]["given"] == given


def test_another_start_is_refused_by_name(source, begun, tiny, tmp_path):
    grid = {"latent": (3,), "lr": (STILL,)}
    for given, says in [
        (None, r"started from run 2 of .*source \(sha256 .*name it again"),
        (
            f"{source}:0",
            r"started from run 2 .*, and now from run 0 of .*source \(sha2",
        ),
        (f"{begun / 'run'}:0", "is the run folder itself"),
    ]:
        with pytest.raises(InputError, match=says):
            train(begun / "run", tiny, grid, given)
    shutil.copytree(source, tmp_path / "run")
    with pytest.raises(InputError, match="started from new parameters, and now from r"):
        train(tmp_path / "run", tiny, GRID, f"{begun}/run")
    # The source itself has changed.
    shutil.copytree(begun, tmp_path / "both")
    declared = tmp_path / "both" / "run" / "config.json"
    text = declared.read_text().replace(str(begun), str(tmp_path / "both"))
    declared.write_text(text)
    params = tmp_path / "both" / "source" / "params"
    shutil.copy(begun / "run" / "params" / "0000.npz", params / "0002.npz")
    given = f"{tmp_path / 'both' / 'source'}:2"
    assert train(tmp_path / "both" / "run", tiny, grid, given).groups == 0
    with np.load(params / "0002.npz") as archive:
        other = {k: v * 2 if v.dtype.kind == "f" else v for k, v in archive.items()}
    np.savez(params / "0002.npz", **other)
    with pytest.raises(
        InputError, match="started from run 2 .*, and now from run 2 of"
    ):
        train(tmp_path / "both" / "run", tiny, grid, given)


def test_which_run_may_be_left_out_where_one_fits(source, tiny, tmp_path):
    train(tmp_path / "run", tiny, {"latent": (3,), "lr": (STILL,)}, source)
    assert record.read(tmp_path / "run")["init_from"]["run"] == 2
    for grid, given, says in [
        (
            {"latent": (2, 3)},
            source,
            "none of 3 runs of .* fits all runs .*; of run 0, ",
        ),
        ({"latent": (4,)}, source, r"kernel is \[2, 4\] there and \[4, 4\] here"),
        ({"latent": (2, 3)}, f"{source}:0", "does not fit the run latent=3"),
        (
            {"latent": (2,)},
            source,
            "2 of the runs of .* match no condition; they differ in run 0, 1; seed 0, 1: name ",
        ),
        ({"latent": (2,)}, f"{source}:7", "none of the runs of .* match run=7; they "),
        ({"latent": (2,)}, f"{source}:deep=1", "tells runs apart by .*, not 'deep'"),
        (
            {"latent": (2,)},
            f"{source}:x",
            "a run is a number or name=value,.*, not 'x'",
        ),
        ({"latent": (2,)}, tmp_path, "is not a run folder"),
        ({"latent": (2,)}, 3, "must be FOLDER, FOLDER:RUN or a trained run, not 3"),
    ]:
        with pytest.raises(InputError, match=says) as caught:
            train(tmp_path / "other", tiny, grid, given)
        assert "\n" not in str(caught.value) and not (tmp_path / "other").exists()


def test_a_refused_value_names_the_ways_on(source, tiny):
    says = r"lr 0.003, and now lr is 0.0001: .*--init_from=FOLDER:RUN.* a schedule"
    with pytest.raises(InputError, match=says):
        train(source, tiny, GRID, lr=1e-4)


def test_in_memory_too_from_a_trained_run(source, tiny):
    run = trained.load(source, run=2)
    base = config.load(CONFIG)
    still = config.settle(base, SMALL, {"latent": (3,), "lr": (STILL,), "seed": (3,)})
    (now,) = training.fit(still, tiny, init_from=run)
    assert np.float32(now.row["elbo"]) == np.float32(run.row["elbo"])
    with pytest.raises(InputError, match="init_from must be a trained run, as trained"):
        training.fit(still, tiny, init_from=str(source))
    narrow = [config.replace(r, "model.latent", 2) for r in still]
    says = (
        r"do not fit these runs: params/decoder/.* is \[3, 4\] there and \[2, 4\] here"
    )
    with pytest.raises(InputError, match=says):
        training.fit(narrow, tiny, init_from=run)
    run.params["params"] = {"extra": np.full(3, np.nan, np.float32)}
    with pytest.raises(InputError, match="has diverged: not all of its parameters"):
        training.fit(still, tiny, init_from=run)
    parts = [split["image"][:, :2] for split in tiny.parts.values()]
    smaller = data.arrays(*({"image": part} for part in parts))
    with pytest.raises(InputError, match=r"is \[16, 4\] there and \[8, 4\] here"):
        training.fit(still, smaller, init_from=trained.load(source, run=2))


def test_parameters_are_of_standardized_values_or_of_stored_ones(tiny):
    run = config.settle(config.load(CONFIG), SMALL, {"latent": (2,)})[0]
    one = np.ones((1, 1, 1, 1))
    scaling = data.Scaling(0 * one, one, tiny.shape)
    run = dataclasses.replace(run, binarization=data.none)
    for kind, mean in (("no", None), ("all", scaling.mean)):
        run = dataclasses.replace(run, standardize=kind)
        given = tiny._replace(scaling=None if mean is None else scaling)
        params = initial_params(run, given)
        assert initial.misfit(run, given, params, mean) == ""
        for other, shape in (("each", tiny.shape), ("channel", (1, 1, 2))):
            found = initial.misfit(run, given, params, np.zeros((1, *shape)))
            says = f"trained with standardize={other}, and these runs have {kind}: set"
            assert says in found


def initial_params(run, dataset):
    run = with_image_shape(run, dataset)
    hp = {name: np.float32(value) for name, value in run.hparams.items()}
    return init_state(run, initial_batch(dataset.train), 0, hp).params
