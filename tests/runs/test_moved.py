"""Data under another name are the same data where their sha256 is the same."""

import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aevae import InputError, config, figures
from aevae.evaluation import evaluate
from aevae.figures import codes, views
from aevae.runs import record, study, tables, trained

pytestmark = pytest.mark.retraced

ROOT = Path(__file__).parents[2]
SMALL = {"epochs": 1, "batch": 12, "encoder.widths": (4,), "decoder.widths": (4,)}
GRID = {"latent": (2,), "seed": (0,)}


def train(place, dataset, grid=GRID, base="configs/digits.py", **changes):
    overrides = SMALL | {"dataset": str(dataset)} | changes
    overrides = {k: v for k, v in overrides.items() if k not in grid}
    return study.run(base, place / "run", overrides=overrides, grid=grid)


@pytest.fixture(scope="module")
def base(tmp_path_factory, tiny):
    """A folder that was trained on a file, and the file at another place."""
    place = tmp_path_factory.mktemp("moved") / ("é" * 100) / ("$" * 120)
    place.mkdir(parents=True)
    parts = {name: split["image"] for name, split in tiny.parts.items()}
    np.savez(place / "x.npz", **parts)
    train(place, place / "x.npz")
    (place / "new").mkdir()
    (place / "x.npz").rename(place / "new" / "y.npz")
    parts["test"] = parts["test"][::-1]
    np.savez(place / "other.npz", **parts)
    return place


@pytest.fixture
def place(base, tmp_path):
    shutil.copytree(base / "run", tmp_path / "run")
    return tmp_path


def test_the_same_command_elsewhere_is_finished(base, place, capsys, monkeypatch):
    monkeypatch.chdir(base / "new")
    assert train(place, "y.npz", base=ROOT / "configs" / "digits.py").groups == 0
    said = capsys.readouterr().err
    line = f"{place / 'run'}: y.npz has the sha256 of {base / 'x.npz'}, and is taken for the s"
    assert line in said and said.count("sha256") == 1
    places = {"places": {str(base / "x.npz"): str(base / "new" / "y.npz")}}
    assert record.read(place / "run") == record.read(base / "run") | places
    monkeypatch.chdir("/")  # it is found there without being named
    assert evaluate.run(place / "run", ["reconstruction"])
    code = figures.draw(place / "run", ["reconstructions", "codes"])
    assert [path.stem for path in code] == ["reconstructions", "codes"]


def test_figures_of_data_that_are_not_at_hand_stay(place, capsys):
    (place / "run" / "figures").mkdir(exist_ok=True)
    (place / "run" / "figures" / "codes.png").write_bytes(b"drawn before")
    drawn = [path.stem for path in figures.draw(place / "run")]
    assert "rates" in drawn and "codes" not in drawn
    assert (
        "codes cannot be drawn: the runs' test data are not" in capsys.readouterr().err
    )
    assert (place / "run" / "figures" / "codes.png").read_bytes() == b"drawn before"


def test_figures_of_test_data_stay_until_the_data_are_back(
    base, place, capsys, monkeypatch
):
    """Rates of ten examples replaced those of all, and what was left out counted as drawn."""
    draw, run = sys.modules["aevae.figures.draw"], place / "run"
    monkeypatch.setattr(draw, "FIGURES", (codes.rates, codes.codes))
    monkeypatch.setattr(
        draw.sheet, "save", lambda made, path: path.write_text(str(made)) and path
    )
    figures.draw(run, dataset=base / "new" / "y.npz")
    made = [(run / "figures" / f"{n}.png").read_text() for n in ("rates", "codes")]
    assert figures.current(run) and figures.draw(run) == [] and figures.current(run)
    assert f"{run}: rates, codes cannot be drawn: the run" in capsys.readouterr().err
    for name, text in zip(("rates", "codes"), made):
        assert (run / "figures" / f"{name}.png").read_text() == text
    (run / "figures" / "codes.png").unlink()
    assert figures.draw(run) == [] and not figures.current(run)
    later = (run / "figures" / "rates.png").stat().st_mtime + 9
    os.utime(run / "results.csv", (later, later))
    assert [path.stem for path in figures.draw(run)] == ["rates"]
    assert "rates are drawn of the test examples that are" in capsys.readouterr().err
    assert not figures.current(run)


def test_codes_of_some_runs_do_not_stand_for_those_of_others():
    """Of two data sets, one away, codes of the other replaced those of the best run."""
    lacks, own = sys.modules["aevae.figures.draw"]._lacks_data, codes.codes.contract
    here, away = (SimpleNamespace(held=h, code=np.zeros((9, 2))) for h in (1, 0))
    assert lacks(own, [here, away]) and not lacks(own, [here, here])
    away.code = np.zeros((9, 8))  # which codes does not show anyway
    assert not lacks(own, [here, away])


def test_data_of_small_values_are_told_apart(base, place):
    """Within 1e-6 other data were taken for the run's."""
    run, new = trained.load(place / "run", run=0), base / "new" / "y.npz"
    (known,) = record.data_sets(place / "run")
    assert views.held(run, new, None, {}, None, [known["sha256"]])
    with pytest.raises(
        InputError, match="y.npz is not .* trained on: its sha256 is an"
    ):
        views.held(run, new, None, {}, None, ["0" * 64])
    small = {"image": 1e-7 * np.float32(run.examples["image"])}
    assert views._begins_with(small, small["image"])
    assert not views._begins_with(small, 2 * small["image"])


def test_a_place_may_be_below_the_home_folder(base, place, monkeypatch):
    """It was kept with its ~, where it was not found; and stayed when the data were back."""
    monkeypatch.setenv("HOME", str(base))
    assert train(place, "~/new/y.npz").groups == 0
    kept = record.read(place / "run")["places"]
    assert kept == {str(base / "x.npz"): str(base / "new" / "y.npz")}
    file = str(base / "new" / "y.npz")
    assert record.place("~/new/y.npz:train") == f"{file}:train"
    assert record.place("~/none.npz") == "~/none.npz"
    shutil.copy(file, base / "x.npz")
    try:
        assert train(place, base / "x.npz").groups == 0
    finally:
        (base / "x.npz").unlink()
    assert record.read(place / "run")["places"] == {}


def test_more_epochs_and_runs_go_on_under_the_first_name(base, place):
    """And as an axis, beside other data, with names and labels of a length that files take."""
    first, new, other = base / "x.npz", base / "new" / "y.npz", base / "other.npz"
    both = {"latent": (2,), "dataset": (str(new), str(other))}
    assert train(place, new, both, epochs=2).groups == 2
    names = [row["dataset"] for row in tables.results(place / "run")]
    assert names == [str(first), str(other)]
    assert trained.load(place / "run", run=0).config.dataset == str(first)
    environment = json.loads((place / "run" / "environment.json").read_text())
    assert str(new) in [d["name"] for made in environment for d in made["data"]]
    with pytest.raises(
        InputError, match="cannot read .*x.npz: .*--config.dataset names"
    ):
        train(place, first, both | {"dataset": (str(first),), "seed": (1,)}, epochs=2)
    events = [path.name for path in (place / "run" / "tensorboard").iterdir()]
    assert len(events) == 2 and any("dataset=other.npz" in name for name in events)
    drawn = figures.draw(place / "run", ["curves"])
    assert "elbo_by_dataset.png" in [path.name for path in drawn]
    shown = [line.split()[0] for line in tables.summary(place / "run").splitlines()]
    assert shown[:3] == ["dataset", "…/x.npz", "…/other.npz"]


def test_other_data_are_refused_by_name(base, place):
    says = "trained with dataset .*x.npz, and now dataset is .*other.npz: name it"
    with pytest.raises(InputError, match=says):
        train(place, base / "other.npz")
    with pytest.raises(InputError, match="cannot read .*none.npz: No such file"):
        train(place, base / "none.npz")


def test_arrays_are_the_same_data_too(base, place, tiny):
    parts = {name: split["image"] for name, split in tiny.parts.items()}
    how = {"overrides": SMALL, "grid": {"latent": (2,), "seed": (0, 3)}}
    how["dataset"] = parts
    assert study.run("configs/digits.py", place / "run", **how).groups == 1
    assert trained.load(place / "run", seed=3).config.dataset == str(base / "x.npz")


def test_a_config_in_python_may_name_the_new_place(base, tmp_path):
    (run,) = config.settle(config.load("configs/digits.py"), SMALL | {"latent": 2}, {})
    run = dataclasses.replace(run, dataset=str(base / "new" / "y.npz"))
    shutil.copy(base / "new" / "y.npz", tmp_path / "z.npz")
    study.run(run, tmp_path / "run")
    moved = dataclasses.replace(run, dataset=str(tmp_path / "z.npz"))
    assert study.run(moved, tmp_path / "run").groups == 0
    assert study.run(moved, tmp_path / "run", overrides={"epochs": 2}).groups == 1


def test_evaluation_and_figures_are_told_where_they_are(base, place):
    run, new = place / "run", base / "new" / "y.npz"
    with pytest.raises(
        InputError, match="cannot read .*x.npz: .*--dataset names its new place$"
    ):
        evaluate.run(run, ["reconstruction"])
    assert "squared_error" in evaluate.run(run, ["reconstruction"], dataset=new)
    with pytest.raises(InputError, match="was trained on other data than .*other.npz"):
        evaluate.run(run, ["reconstruction"], dataset=base / "other.npz")
    assert figures.draw(run, ["reconstructions"], dataset=new)
    with pytest.raises(InputError, match="other.npz is not what the runs were trained"):
        figures.draw(run, ["reconstructions"], dataset=base / "other.npz")
