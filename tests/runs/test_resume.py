"""A sweep that is interrupted, damaged, extended or repeated has the bits of one that is not."""

import dataclasses
import functools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from aevae import (
    InputError,
    Interrupted,
    OutOfMemory,
    WriteError,
    config,
    figures,
    objectives,
)
from aevae.evaluation import evaluate
from aevae.runs import checkpoints, record, study, tables, trained
from aevae.system import files, locks, machine
from aevae.training import layout, population
from experiments import frontier

pytestmark = [pytest.mark.bits, pytest.mark.retraced]

CONFIG = "configs/digits.py"
ROOT = Path(__file__).parents[2]
GRID = {"latent": (2, 3), "seed": (0, 1)}
SMALL = {
    "epochs": 3,
    "batch": 400,
    "encoder.widths": "(16,)",
    "decoder.widths": "(16,)",
}


class Killed(BaseException):
    """What nothing catches: the process as good as dead."""


def train(path, grid=GRID, interval=0.0, **changes):
    return study.run(
        CONFIG, path, overrides=SMALL | changes, grid=grid, interval=interval
    )


def contents(path):
    """All that must be the same, bit for bit."""
    path = Path(path)
    names = ["curves.csv", "results.csv"]
    names += sorted(str(p.relative_to(path)) for p in path.glob("params/*"))
    return {name: (path / name).read_bytes() for name in names}


def assert_same(path, other):
    ours, theirs = contents(path), contents(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name] == theirs[name], f"{name} differs"


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Two groups of two runs, never interrupted, and with the default interval."""
    path = tmp_path_factory.mktemp("resume") / "straight"
    train(path, interval=study.INTERVAL)
    return path


def kill_at(monkeypatch, moments, when="before"):
    """Ends the process at the save after so many: before it, in its midst, or after it."""
    left, save, write = [moments], checkpoints.save, np.savez

    def dying(*args):
        left[0] -= 1
        if left[0] < 0 and when == "before":
            raise Killed
        if left[0] < 0 and when == "amid":
            monkeypatch.setattr(np, "savez", half)
        save(*args)
        if left[0] < 0:
            raise Killed

    def half(file, **arrays):
        write(file, **dict(list(arrays.items())[:1]))
        raise Killed

    monkeypatch.setattr(checkpoints, "save", dying)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The same, killed in the second epoch of the first group, with two checkpoints."""
    path = tmp_path_factory.mktemp("resume") / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SPAN", 0.0)  # a snapshot after every step
        kill_at(patch, 6)
        with pytest.raises(Killed):
            train(path)
    names = [p.name for p in checkpoints.find(path / "checkpoints" / "0000")]
    assert names == ["1-1", "1-0"]
    return path


def test_the_same_command_elsewhere_gives_the_same_bytes(straight, tmp_path):
    train(tmp_path / "again", interval=study.INTERVAL)
    assert_same(tmp_path / "again", straight)
    for name in ("config.json", "config.py", "environment.json"):
        again = (tmp_path / "again" / name).read_bytes()
        assert again == (straight / name).read_bytes(), f"{name} differs"


def test_killed_again_and_again(straight, tmp_path, monkeypatch, capsys):
    """At a save, amid it and after it, by turns, until a command comes to its end."""
    deaths = 0
    for when in ("before", "amid", "after") * 20:
        with monkeypatch.context() as patch:
            patch.setattr(layout, "SPAN", 0.0)
            kill_at(patch, 9, when)
            try:
                train(tmp_path / "run")
                break
            except Killed:
                deaths += 1
        table = tables.read(tmp_path / "run" / "curves.csv")
        assert all(row["test_elbo"] < 0 for row in table)
    assert deaths >= 3
    lines = capsys.readouterr().err
    assert re.search(r"group \d of .* resumes at epoch \d, step [12]\n", lines)
    assert_same(tmp_path / "run", straight)
    timing = tables.read(tmp_path / "run" / "timing.csv")
    assert [row["runs"] for row in timing] == [2, 2]


DAMAGES = {
    "flipped": lambda path: path.write_bytes(
        bytes([*path.read_bytes()[:-9], path.read_bytes()[-9] ^ 16])
        + path.read_bytes()[-8:]
    ),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
}


QUICK = ("flipped state.npz", "truncated record.npz", f"deleted {files.SUMS}")
ALL = [f"{d} {f}" for d in DAMAGES for f in ("record.npz", "state.npz", files.SUMS)]


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=[] if c in QUICK else pytest.mark.slow) for c in ALL],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(
    case, straight, stopped, tmp_path, capsys
):
    damage, file = case.split()
    shutil.copytree(stopped, tmp_path / "run")
    DAMAGES[damage](tmp_path / "run" / "checkpoints" / "0000" / "1-1" / file)
    train(tmp_path / "run")
    lines = capsys.readouterr().err
    assert re.search(r"0000/1-1/.*; the checkpoint is skipped", lines)
    assert f"group 0 of {tmp_path / 'run'} resumes at epoch 1, step 0" in lines
    assert_same(tmp_path / "run", straight)


def test_without_a_sound_checkpoint_a_group_starts_anew(
    straight, stopped, tmp_path, capsys
):
    shutil.copytree(stopped, tmp_path / "run")
    for name in ("1-0", "1-1"):
        place = tmp_path / "run" / "checkpoints" / "0000" / name
        DAMAGES["flipped"](place / "state.npz")
    train(tmp_path / "run")
    lines = capsys.readouterr().err
    assert lines.count("the checkpoint is skipped") == 2 and "resumes" not in lines
    assert_same(tmp_path / "run", straight)


def test_damaged_tables_are_mended_from_the_checkpoints(straight, tmp_path, capsys):
    shutil.copytree(straight, tmp_path / "run")
    for name in ("curves.csv", "results.csv"):
        path = tmp_path / "run" / name
        path.write_bytes(path.read_bytes()[:-7])
    (tmp_path / "run" / "timing.csv").unlink()
    assert len(tables.read(tmp_path / "run" / "curves.csv")) == 2 * 2 * 3 - 1
    assert train(tmp_path / "run").groups == 0
    lines = capsys.readouterr().err
    for name in ("curves.csv", "results.csv"):
        assert f"{name}: its last row was cut short; the table is written anew" in lines
    assert_same(tmp_path / "run", straight)
    assert (tmp_path / "run" / "timing.csv").read_bytes() == (
        straight / "timing.csv"
    ).read_bytes()


def test_missing_parameters_are_written_again(straight, tmp_path):
    shutil.copytree(straight, tmp_path / "run")
    path = tmp_path / "run" / "params" / "0002.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"0002.npz is damaged: delete it"):
        trained.load(tmp_path / "run", latent=3, seed=0)
    path.unlink()
    assert train(tmp_path / "run").groups == 1
    assert_same(tmp_path / "run", straight)


def test_spans_and_checkpoints_change_no_bit(straight, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "SPAN", 0.0)
    train(tmp_path / "run", interval=0)
    assert_same(tmp_path / "run", straight)


def test_another_number_of_devices_is_said_and_close(
    straight, tmp_path, monkeypatch, capsys
):
    with monkeypatch.context() as patch:
        kill_at(patch, 2)
        with pytest.raises(Killed):
            train(tmp_path / "run", {"latent": (2,), "seed": (0, 1)})
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    train(tmp_path / "run", {"latent": (2,), "seed": (0, 1)})
    assert re.search(
        r"\(devices 2 in use is now 1: results will agree to rounding",  # the chunk stays
        capsys.readouterr().err,
    )
    ours, theirs = (tables.read(p / "curves.csv") for p in (tmp_path / "run", straight))
    for row, other in zip(ours, theirs[: len(ours)], strict=True):
        for name in set(row) - {"diverged"}:
            assert row[name] == pytest.approx(other[name], rel=2e-5)


def test_out_of_memory_leaves_a_folder_that_resumes(straight, tmp_path, monkeypatch):
    span, left = population.Population.advance, [5]

    def full(*args):
        left[0] -= 1
        if left[0] == 0:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return span(*args)

    monkeypatch.setattr(population.Population, "advance", full)
    monkeypatch.setattr(layout, "SPAN", 0.0)
    with pytest.raises(
        OutOfMemory, match=r"what was saved is sound; .*\(--chunk\), .*--data_gb"
    ):
        train(tmp_path / "run")
    train(tmp_path / "run")
    assert_same(tmp_path / "run", straight)


def test_a_finished_command_does_nothing(straight, capsys):
    before = {p: p.stat().st_mtime_ns for p in straight.rglob("*") if p.name != ".lock"}
    outcome = train(straight)
    assert outcome.groups == 0 and len(outcome.rows) == 4
    assert "is finished: nothing to do" in capsys.readouterr().err
    after = {p: p.stat().st_mtime_ns for p in straight.rglob("*") if p.name != ".lock"}
    assert after == before


def test_more_epochs_continue_the_runs(straight, tmp_path):
    shutil.copytree(straight, tmp_path / "run")
    train(tmp_path / "run", epochs=5)
    train(tmp_path / "whole", epochs=5)
    assert_same(tmp_path / "run", tmp_path / "whole")
    assert trained.load(tmp_path / "run", latent=2, seed=1).config.epochs == 5


def test_new_points_and_seeds_are_new_groups(straight, tmp_path):
    shutil.copytree(straight, tmp_path / "run")
    grid = {"latent": (2,), "seed": (1, 2, 3)}
    assert train(tmp_path / "run", grid).groups == 1
    rows = tables.results(tmp_path / "run")
    both = [(0, 2, 0), (1, 2, 1), (4, 2, 2), (5, 2, 3), (2, 3, 0), (3, 3, 1)]
    assert [(r["run"], r["latent"], r["seed"]) for r in rows] == both
    curves = tables.read(tmp_path / "run" / "curves.csv")
    epochs = [(r["epoch"], r["run"]) for r in curves]
    one = [(epoch, run) for epoch in (1, 2, 3) for run in (0, 1, 4, 5)]
    assert epochs == one + [(epoch, run) for epoch in (1, 2, 3) for run in (2, 3)]
    ours, before = contents(tmp_path / "run"), contents(straight)
    for name, content in before.items():
        lines = set(ours[name].splitlines())
        same = content == ours[name] or lines > set(content.splitlines())
        assert same, f"{name}: an old run has changed"
    assert trained.load(tmp_path / "run", seed=3).config.seed == 3
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    asked = [sweep["grid"] for sweep in record["sweeps"]]
    assert [grid["seed"] for grid in asked] == [[0, 1], [1, 2, 3]]
    assert record["groups"] == [[0, 1], [2, 3], [4, 5]]
    # And the first command again finds all of its runs there.
    assert train(tmp_path / "run").groups == 0


def test_a_new_axis_is_a_new_column(straight, tmp_path):
    shutil.copytree(straight, tmp_path / "run")
    overrides = {k: v for k, v in SMALL.items() if k != "batch"}
    study.run(
        CONFIG,
        tmp_path / "run",
        overrides=overrides,
        grid={"latent": (2,), "batch": (400, 600)},
    )
    rows = tables.results(tmp_path / "run")
    assert [(r["latent"], r["batch"]) for r in rows] == [
        *[(2, 400), (2, 400), (2, 600)],
        *[(3, 400), (3, 400)],
    ]
    assert trained.load(tmp_path / "run", batch=600).config.batch == 600


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"batch": 300},
            "it was trained with batch 400, and now batch is 300: .*sweep",
        ),
        ({"lr": 1e-2}, "it was trained with lr 0.003, and now lr is 0.01"),
        ({"epochs": 2}, "it was trained for 3 epochs: epochs may be more, not 2"),
        (
            {"binarization": "threshold"},
            "binarization aevae.data.binarization:stochastic, and now",
        ),
        ({"encoder.widths": "(8,)"}, r"widths \[16\], and now widths is \[8\]"),
    ],
)
def test_any_other_difference_is_refused_by_name(changes, says, straight):
    before = contents(straight)
    with pytest.raises(InputError, match=says) as fault:
        train(straight, **changes)
    assert "\n" not in str(fault.value) and str(straight) in str(fault.value)
    assert contents(straight) == before


def test_other_code_and_other_data_are_refused(straight, tmp_path, monkeypatch):
    text = Path(CONFIG).read_text()
    asked = {"overrides": SMALL, "grid": GRID}
    same = tmp_path / "same.py"
    same.write_text(text.replace('"""The main', '"""Our') + "\n# the same\n")
    assert study.run(same, straight, **asked).groups == 0
    other = tmp_path / "other.py"
    other.write_text("LIMIT = 3\n" + text)
    with pytest.raises(InputError, match="the config file's code is not that of"):
        study.run(other, straight, **asked)
    with pytest.raises(
        InputError,
        match="it was trained from a config file, and this command gives a Config",
    ):
        study.run(config.load(CONFIG), straight, **asked)
    load = study.data.of

    def changed(*args, **how):
        found = load(*args, **how)
        return found._replace(digest="0" * 64)

    monkeypatch.setattr(study.data, "of", changed)
    with pytest.raises(InputError, match="trained on other data: the sha256 of digits"):
        train(straight, epochs=4)


def test_a_class_and_a_function_within_are_code_too(straight, tmp_path):
    text = Path(CONFIG).read_text()
    asked = {"overrides": SMALL, "grid": GRID}
    other = tmp_path / "other.py"
    other.write_text(text.replace("networks.MLPEncoder(", "networks.MLPDecoder("))
    says = "trained with encoder aevae.networks:MLPEncoder, and now encoder is aevae"
    with pytest.raises(InputError, match=says):
        study.run(other, straight, **asked)
    closed = "    scale = {}\n    schedule = lambda hp, step: hp | {{'lr': scale * hp['lr']}}\n"
    for scale in (1, 2):
        inner = text.replace("train.constant", "schedule")
        inner = inner.replace(
            "    return config", closed.format(scale) + "    return config"
        )
        other.write_text(inner)
        if scale == 1:
            study.run(other, tmp_path / "run", overrides=SMALL, grid={"latent": (2,)})
    with pytest.raises(InputError, match="the config file's code is not that of"):
        study.run(other, tmp_path / "run", overrides=SMALL, grid={"latent": (2,)})


def test_a_folder_of_a_config_guards_itself_too(tmp_path):
    base = dataclasses.replace(config.load(CONFIG), grid=None)
    asked = {"overrides": SMALL | {"latent": 2}}
    assert study.run(base, tmp_path / "run", **asked).groups == 1
    other = config.replace(base, "hparams", {"beta": 1.0, "lr": 0.01})
    says = "lr of the Config of .* was 0.003, and now is 0.01: what changes goes into"
    with pytest.raises(InputError, match=says):
        study.run(other, tmp_path / "run", **asked)
    more = dataclasses.replace(base, grid={"seed": (0, 1)})
    assert study.run(more, tmp_path / "run", **asked).groups == 1
    assert [row["seed"] for row in tables.results(tmp_path / "run")] == [0, 1]
    more = asked["overrides"] | {"epochs": 4}
    assert study.run(base, tmp_path / "run", overrides=more).groups == 2
    assert trained.load(tmp_path / "run", base, seed=1).config.epochs == 4


def test_what_cannot_be_written_down_is_refused_before_training(tmp_path):
    for grid in (
        {"objective": (functools.partial(objectives.beta_vae),)},
        {"schedule": (lambda hp, step: hp,)},
    ):
        with pytest.raises(InputError, match="holds what config.json cannot name"):
            train(tmp_path / "run", grid)
    assert not (tmp_path / "run").exists()


def test_new_points_on_other_data_are_refused(straight, monkeypatch):
    load = study.data.of
    monkeypatch.setattr(
        study.data,
        "of",
        lambda *args, **how: load(*args, **how)._replace(digest="0" * 64),
    )
    with pytest.raises(InputError, match="trained on other data"):
        train(straight, {"latent": (2,), "seed": (7,)})


def test_damage_to_what_a_folder_says_of_itself(straight, tmp_path, capsys):
    shutil.copytree(straight, tmp_path / "run")
    (tmp_path / "run" / "environment.json").write_text("[{")
    train(tmp_path / "run", epochs=4)
    assert (
        "environment.json was damaged, and is started anew" in capsys.readouterr().err
    )
    for damage in (b"def", b"\xff", None):
        path = tmp_path / "run" / "config.py"
        path.unlink() if damage is None else path.write_bytes(damage)
        with pytest.raises(InputError, match="config.py in it is damaged or missing"):
            train(tmp_path / "run", epochs=5)


def test_a_folder_of_an_older_version_is_refused_untouched(straight, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(straight, old)
    declared = json.loads((old / "config.json").read_text())
    del declared["format"], declared["aevae"]
    (old / "config.json").write_text(json.dumps(declared))
    (old / ".lock").write_text("as it was")
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    for use in (
        train,
        tables.summary,
        trained.load,
        evaluate.run,
        figures.draw,
        frontier.sweeps,
    ):
        says = "has format 1, which aevae 0.1.0 wrote and reads; this is aevae"
        with pytest.raises(InputError, match=says):
            use(old)
    assert before == {p: p.read_bytes() for p in old.rglob("*") if p.is_file()}


def test_a_field_that_a_stored_config_lacks_has_its_default(tmp_path):
    """So that a field of a later version refuses no folder of an earlier one."""
    base = dataclasses.replace(config.load(CONFIG), grid=None)
    asked = {"overrides": SMALL, "grid": {"latent": (2,)}}
    study.run(base, tmp_path / "run", **asked)
    path = tmp_path / "run" / "config.json"
    declared = json.loads(path.read_text())
    stored = declared["sweeps"][0]["base"]
    del stored["patience"], stored["model"]["outputs"]
    path.write_text(json.dumps(declared))
    assert study.run(base, tmp_path / "run", **asked).groups == 0
    stored["epochs"] = 1
    path.write_text(json.dumps(declared))
    with pytest.raises(InputError, match="epochs of the Config of .* was 1, and"):
        study.run(base, tmp_path / "run", **asked)


def test_a_second_process_is_refused(straight):
    held = locks.lock(straight)
    with pytest.raises(InputError, match="is in use by another process"):
        train(straight)
    held.close()


def test_fresh_starts_over_and_keeps_the_old(straight, tmp_path, capsys, monkeypatch):
    shutil.copytree(straight, tmp_path / "run")
    asked = {"overrides": SMALL | {"batch": 300}, "grid": {"latent": (2,)}}
    study.run(CONFIG, tmp_path / "run", **asked, fresh=True)
    assert (
        f"the folder that was there is now {tmp_path / 'run.1'}"
        in capsys.readouterr().err
    )
    assert_same(tmp_path / "run.1", straight)
    assert len(tables.results(tmp_path / "run")) == 1
    (tmp_path / "link").symlink_to(tmp_path / "run")
    study.run(CONFIG, tmp_path / "link", **asked, fresh=True)
    assert (tmp_path / "run.2").is_dir() and (tmp_path / "link").is_symlink()
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path / "run")
        with pytest.raises(InputError, match="this process is within it"):
            study.run(ROOT / CONFIG, ".", **asked, fresh=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("")
    with pytest.raises(InputError, match="neither empty nor a run folder"):
        study.run(CONFIG, tmp_path / "mine", **asked, fresh=True)


def test_a_full_disk_ends_the_sweep_in_a_line_and_it_resumes(
    straight, tmp_path, monkeypatch
):
    sync, left = os.fsync, [12]

    def full(handle):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, os.strerror(28))
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(WriteError, match=r"cannot write to .*: No space left"):
            train(tmp_path / "run")
    assert not [p for p in (tmp_path / "run").rglob("*.partial")]
    train(tmp_path / "run")
    assert_same(tmp_path / "run", straight)


def test_the_best_parameters_are_those_of_the_best_epoch(tmp_path):
    """Against the curves, and against a run that ends at that epoch."""
    grid = {"latent": (2,), "lr": (3.0, 1e-4), "seed": (0,)}
    quick = {"epochs": 6, "keep": "best"}
    train(tmp_path / "run", grid, **quick)
    curves = tables.read(tmp_path / "run" / "curves.csv")
    rows = tables.results(tmp_path / "run")[::-1]
    for row in rows:
        elbos = [r["validation_elbo"] for r in curves if r["run"] == row["run"]]
        assert row["epoch"] == 1 + int(np.argmax(elbos))
        assert (row["kept"], row["epochs"]) == ("best", 6)
    assert rows[0]["epoch"] < 6 and rows[1]["epoch"] == 6
    quick |= {"epochs": rows[0]["epoch"], "keep": "last"}
    train(tmp_path / "until", grid, **quick)
    best = trained.load(tmp_path / "run", lr=3.0)
    until = trained.load(tmp_path / "until", lr=3.0)
    jax.tree.map(np.testing.assert_array_equal, best.params, until.params)
    assert best.row["elbo"] == until.row["elbo"] and until.row["kept"] == "last"
    last = trained.load(tmp_path / "run", lr=3.0, last=True)
    params = contents(tmp_path / "run")
    record.params_path(tmp_path / "run", 1, last=True).unlink()
    train(tmp_path / "run", grid, epochs=6, keep="best")
    assert contents(tmp_path / "run") == params
    gap = jax.tree.map(lambda a, b: float(abs(a - b).max()), best.params, last.params)
    assert max(jax.tree.leaves(gap)) > 0


def test_patience_ends_a_run_and_not_its_neighbors(tmp_path, monkeypatch):
    grid = {"latent": (2,), "lr": (3.0, 1e-4), "seed": (0,)}
    quick = {"epochs": 5, "patience": 1, "keep": "best"}
    train(tmp_path / "run", grid, **quick)
    second, first = tables.results(tmp_path / "run")
    curves = tables.read(tmp_path / "run" / "curves.csv")
    assert first["epochs"] == first["epoch"] + 1 < 5
    assert second["epochs"] == second["epoch"] == 5
    for row in (first, second):
        epochs = [r["epoch"] for r in curves if r["run"] == row["run"]]
        assert epochs == list(range(1, row["epochs"] + 1))
    # The parameters stay where the run was stopped.
    free = quick | {"patience": float("inf"), "epochs": first["epochs"]}
    train(tmp_path / "free", grid, **free | {"keep": "last"})
    stopped = trained.load(tmp_path / "run", lr=3.0, last=True)
    alone = trained.load(tmp_path / "free", lr=3.0)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        stopped.params,
        alone.params,
    )
    # Killed and resumed, it is the same.
    monkeypatch.setattr(layout, "SPAN", 0.0)
    for saves in (6, 9):
        with monkeypatch.context() as patch:
            kill_at(patch, saves, "after")
            with pytest.raises(Killed):
                train(tmp_path / "again", grid, **quick)
    train(tmp_path / "again", grid, interval=60.0, **quick)
    assert_same(tmp_path / "again", tmp_path / "run")


def launch(path, *arguments, latents="2,3"):
    """The command, as a user runs it, with a checkpoint at every snapshot."""
    values = [
        f"--config.{k}={v}" for k, v in SMALL.items() if k not in ("epochs", "batch")
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.sweep", f"--workdir={path}", *values]
        + ["--checkpoint_seconds=0", f"--sweep=latent={latents}", "--sweep=seed=0,1"]
        + ["--config.batch=100", *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """What the process says; it must end well."""
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return errors


def wait_for(path, process, checkpoint="*"):
    """Until training has begun, or there is a checkpoint of a name."""
    while not list(Path(path).glob(f"checkpoints/*/{checkpoint}")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def kill_at_random(tmp_path, kills, dice, *arguments, **groups):
    finish(launch(tmp_path / "straight", *arguments, **groups))
    for _ in range(kills):
        process = launch(tmp_path / "run", *arguments, **groups)
        wait_for(tmp_path / "run", process)
        time.sleep(dice.uniform(0, 3))
        process.kill()
        process.communicate()
    finish(launch(tmp_path / "run", *arguments, **groups))
    assert_same(tmp_path / "run", tmp_path / "straight")


def test_killed_by_the_system_at_a_random_moment(tmp_path):
    arguments = ["--config.epochs=15"]
    kill_at_random(tmp_path, 1, random.Random(1), *arguments, latents="2")


@pytest.mark.slow
def test_killed_by_the_system_at_20_random_moments(tmp_path):
    seed = int(os.environ.get("AEVAE_SEED") or time.time())
    print(f"AEVAE_SEED={seed}")
    arguments = ["--config.epochs=300"]
    kill_at_random(tmp_path, 20, random.Random(seed), *arguments)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        signal.SIGINT,
        pytest.param(signal.SIGUSR1, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_and_leaves(number, tmp_path):
    process = launch(tmp_path / "run", "--config.epochs=100000")
    wait_for(tmp_path / "run", process, "[1-9]*-*")  # all is compiled
    began = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate()
    assert time.monotonic() - began < 5
    assert process.returncode == 128 + number
    line = errors.splitlines()[-1]
    assert re.search(
        r"is saved at group 0, epoch \d+, step \d+; the same command", line
    )
    epoch, step = map(int, re.findall(r"epoch (\d+), step (\d+)", line)[0])
    newest = checkpoints.find(tmp_path / "run" / "checkpoints" / "0000")[0]
    assert newest.name == f"{epoch}-{step}"


BUSY = """
import hashlib, sys, time
from aevae.system import signals
signals.GRACE = float(sys.argv[1])
with signals.Signals() as caught:
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # deaf to signals for minutes
"""


@pytest.mark.parametrize(("grace", "signals"), [(0.2, 1), (60, 2)])
def test_a_process_that_is_busy_leaves_all_the_same(grace, signals):
    """After its grace, or at once at the second signal."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, str(grace)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    for _ in range(signals):
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert "the same command resumes from the last checkpoint" in errors


@pytest.mark.slow
def test_a_signal_on_mnist_in_a_group_of_16(mnist, tmp_path):
    arguments = [
        *("-m", "experiments.sweep", "--config=configs/mnist_vae.py"),
        *(f"--data_dir={mnist}", "--config.epochs=2", "--config.train=train[:10000]"),
        "--sweep=seed=" + ",".join(map(str, range(16))),
    ]
    command = [sys.executable, *arguments]
    run = {"cwd": ROOT, "stderr": subprocess.PIPE, "text": True}
    for wait in (5, 0.5, 12):
        launched = time.time()
        process = subprocess.Popen([*command, f"--workdir={tmp_path / 'run'}"], **run)
        events = (tmp_path / "run" / "tensorboard").glob
        while not any(path.stat().st_mtime > launched for path in events("*/*")):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.1)
        time.sleep(wait)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
        taken = time.monotonic() - began
        print(f"{taken:.2f} s: {errors.splitlines()[-1]}")
        assert process.returncode == 128 + signal.SIGTERM and taken < 5
    for name in ("run", "straight"):
        subprocess.run([*command, f"--workdir={tmp_path / name}"], check=True, **run)
    assert_same(tmp_path / "run", tmp_path / "straight")


def test_a_program_that_cannot_be_read_is_removed(tmp_path, capsys):
    import zlib

    good, bad = tmp_path / "jit_f-1-cache", tmp_path / "jit_g-2-cache"
    for path in (good, bad):
        path.write_bytes(zlib.compress(b"program" * 100))
    machine._remove_broken(tmp_path)
    assert good.exists() and bad.exists()
    bad.write_bytes(bad.read_bytes()[:-6])
    machine._remove_broken(tmp_path)
    assert good.exists() and not bad.exists()
    assert f"removed {bad}: it could not be read" in capsys.readouterr().err


def test_interrupted_is_a_keyboard_interrupt():
    assert issubclass(
        Interrupted, KeyboardInterrupt
    )  # a notebook stops as it always does
