"""The two commands that set runs beside each other: compare and frontier."""

import functools

import numpy as np
import pytest

from aevae import InputError
from aevae.runs import study, tables
from aevae.runs.tables import Table
from experiments import command, compare, frontier

SMALL = ["--config.epochs=2", "--config.encoder.widths=8", "--config.decoder.widths=8"]


@pytest.mark.slow
def test_autoencoder_and_vae_are_compared_in_one_table_and_page(tmp_path, capsys):
    run = functools.partial(command.execute, compare.define, compare.main)
    place = [f"--workdir={tmp_path / 'runs'}", "--latents=2", "--seeds=0,1", "--k=5"]
    assert not run([*place, *SMALL])
    shown = capsys.readouterr().out
    rows = tables.read(tmp_path / "runs" / "compare.csv")
    methods = [row["method"] for row in rows]
    assert methods == ["autoencoder", "denoising", "vae", "PCA", "pixels"]
    assert all(f"{row['method']}" in shown for row in rows)
    by = {row["method"]: row for row in rows}
    for method in methods[:3]:
        own = tables.results(tmp_path / "runs" / method)
        assert len(own) == 2
        mean = np.mean([row["squared_error"] for row in own])
        np.testing.assert_allclose(by[method]["squared_error"], mean, rtol=1e-5)
        assert by[method]["denoised_error"] > by[method]["squared_error"] - 0.5
    assert by["PCA"]["squared_error"] < by["autoencoder"]["squared_error"]  # 2 epochs
    assert by["vae"]["iwae_5"] < 0 and by["autoencoder"]["iwae_5"] is None
    assert (
        by["pixels"]["squared_error"] is None and by["pixels"]["probe_accuracy"] > 0.7
    )
    for kind in ("png", "pdf"):
        assert (tmp_path / "runs" / f"compare.{kind}").stat().st_size > 1000
    before = (tmp_path / "runs" / "compare.csv").read_bytes()
    assert not run([*place, *SMALL])  # all of it is known
    assert (tmp_path / "runs" / "compare.csv").read_bytes() == before


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--noise=1"], "noise must lie between 0 and 1, not 1"),
        (["--latents=0"], "latent must be a whole number of at least 1"),
        (["--config=configs/methods.py:iwae"], "objective must be beta_vae"),
    ],
)
def test_bad_input_is_told_before_any_work(arguments, says, tmp_path, capsys):
    place = [f"--workdir={tmp_path / 'runs'}"]
    assert command.execute(compare.define, compare.main, [*place, *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    path = tmp_path_factory.mktemp("frontier") / "runs"
    grid = {"beta": (0.5, 1.0, 4.0), "seed": (0, 1)}
    study.run("configs/methods.py:beta_vae", path, grid=grid, overrides={"epochs": 30})
    return path


def test_the_frontiers_numbers_are_those_of_the_last_epoch(sweep):
    lines, facts = frontier.table(sweep)
    last = [r for r in tables.read(sweep / "curves.csv") if r["epoch"] == 30]
    half, one = ([r for r in last if r["beta"] == b] for b in (0.5, 1.0))
    slopes = [
        (a["train_distortion"] - b["train_distortion"])
        / (b["train_rate"] - a["train_rate"])
        for a, b in zip(half, one)
    ]
    assert lines[1][4] == f"{np.mean(slopes):.3f} ±{np.std(slopes, ddof=1):.3f}"
    assert lines[1][1].startswith(f"{np.mean([r['train_rate'] for r in half]):.2f}")
    assert facts[0][1] and len(lines) == 4


def test_facts_that_do_not_hold_are_said_not_to(sweep, tmp_path):
    """The same curves with their betas exchanged."""
    for name in ("results", "curves"):
        rows = tables.read(sweep / f"{name}.csv")
        for row in rows:
            row["beta"] = {0.5: 4.0, 4.0: 0.5}.get(row["beta"], row["beta"])
        table = Table(tmp_path / f"{name}.csv", list(rows[0]))
        table.write(rows)
    _, facts = frontier.table(tmp_path)
    assert not facts[0][1] and not facts[1][1]


def test_the_frontier_needs_a_sweep_over_beta(tmp_path):
    with pytest.raises(InputError, match="is not a run folder"):
        frontier.table(tmp_path)
    path = "configs/methods.py:autoencoder"
    study.run(path, tmp_path / "ae", overrides={"epochs": 1})
    with pytest.raises(InputError, match="is no sweep over beta"):
        frontier.table(tmp_path / "ae")
