"""The two commands that set runs beside each other: compare and frontier."""

import functools
import shutil

import numpy as np
import pytest
from scipy import integrate, stats

from aevae import InputError, config
from aevae.evaluation import representation
from aevae.runs import study, tables
from aevae.runs.tables import Table
from experiments import command, compare, evaluate, frontier

pytestmark = pytest.mark.retraced

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
        assert by[method]["denoised_error"] != by[method]["squared_error"]
    assert by["PCA"]["denoised_error"] > by["PCA"]["squared_error"]
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
def test_bad_input_is_reported_before_any_work(arguments, says, tmp_path, capsys):
    place = [f"--workdir={tmp_path / 'runs'}"]
    assert command.execute(compare.define, compare.main, [*place, *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_masked_pixels_are_0_and_the_same_each_time():
    images = np.random.default_rng(0).uniform(0.5, 1.0, (400, 8, 8, 1))
    seen = compare.masked(images, 0.3)
    share = (seen == 0).mean()
    assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / images.size)
    np.testing.assert_array_equal(seen[seen != 0], np.float32(images)[seen != 0])
    np.testing.assert_array_equal(seen, compare.masked(images, 0.3))


def test_rows_hold_every_seed_and_leave_out_what_diverged():
    """And PCA and pixels take what was measured beside the VAE's runs."""
    vae = [
        {"latent": 1, "diverged": None, "squared_error": 3.0, "iwae_5": -9.0}
        | {"pca_probe_accuracy": 0.5, "pixel_probe_accuracy": 0.75, "probe_accuracy": p}
        for p in (0.25, 0.5)
    ]
    vae.append(vae[0] | {"diverged": 3, "squared_error": 1e9})
    ae = [{"latent": 1, "diverged": None, "squared_error": 2.0, "probe_accuracy": None}]
    found = {"autoencoder": ae, "vae": vae}
    names = compare.measures(found)
    assert names == ["squared_error", "probe_accuracy", "iwae_5"]
    clean = np.random.default_rng(0).uniform(size=(50, 3)) @ np.diag([3.0, 1.0, 0.1])
    seen, pca = clean * [1, 0, 1], representation.PCA(clean, 3)
    rows = [*compare.tabulate(found, names, pca, clean, seen)]
    assert [row[:2] for row in rows] == [
        *((1, "autoencoder"), (1, "vae"), (1, "PCA"), (3, "pixels"))
    ]
    assert rows[0][2] == {"squared_error": [2.0]}
    assert rows[1][2] == {
        "squared_error": [3.0, 3.0],
        "probe_accuracy": [0.25, 0.5],
        "iwae_5": [-9.0, -9.0],
    }
    assert rows[2][2]["probe_accuracy"] == [0.5]
    assert rows[2][2]["squared_error"] == [pca.error(clean, 1)]
    masked = (clean[:, 1] ** 2).mean()
    np.testing.assert_allclose(rows[3][2]["denoised_error"], masked)
    assert rows[3][2]["probe_accuracy"] == [0.75]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    path = tmp_path_factory.mktemp("frontier") / "runs"
    grid = {"beta": (0.5, 1.0, 4.0), "seed": (0, 1)}
    study.run("configs/methods.py:beta_vae", path, grid=grid, overrides={"epochs": 30})
    return path


def test_the_frontiers_numbers_are_those_of_the_last_epoch(sweep):
    ((name, own),) = frontier.sweeps(sweep).items()
    lines, facts, seeds = frontier.table(own)
    assert (name, seeds) == ("", 2)
    last = [r for r in tables.read(sweep / "curves.csv") if r["epoch"] == 30]
    half, one = ([r for r in last if r["beta"] == b] for b in (0.5, 1.0))
    slopes = [
        (a["train_distortion"] - b["train_distortion"])
        / (b["train_rate"] - a["train_rate"])
        for a, b in zip(half, one)
    ]
    ends = stats.ttest_1samp(slopes, 0).confidence_interval()
    width = (ends.high - ends.low) / 2
    assert lines[1][4] == f"{np.mean(slopes):.3f} ±{width:.3f}"
    assert lines[1][1].startswith(f"{np.mean([r['train_rate'] for r in half]):.2f}")
    assert facts[0][1] and len(lines) == 4


def test_an_estimates_own_error_is_not_printed_beside_the_interval(
    sweep, tmp_path, capsys
):
    """It is in results.csv, as a line says; an error that is a measure, as squared, is printed."""
    path = shutil.copytree(sweep, tmp_path / "copy")
    place = [f"--workdir={path}", "--measures=likelihood,reconstruction", "--k=3"]
    assert not command.execute(evaluate.define, evaluate.main, place)
    shown = capsys.readouterr().out
    assert "iwae_3 " in shown and "squared_error" in shown
    assert "iwae_3_error" not in shown and "stands there, as `_error`" in shown
    assert all(row["iwae_3_error"] > 0 for row in tables.results(path))


def test_areas_of_sweeps_are_over_rates_that_all_seeds_share(sweep, tmp_path, capsys):
    """By hand, of each seed; a sweep whose rates are elsewhere leaves none."""
    (own,) = frontier.sweeps(sweep).values()
    found, (low, high) = frontier.areas({"a": own, "b": own})
    assert found["a"] == found["b"] and [*found["a"]] == [0, 1]
    by = {s: [r for r in own if r["seed"] == s] for s in (0, 1)}
    rates = {s: [r["train_rate"] for r in rows] for s, rows in by.items()}
    assert low == max(min(r) for r in rates.values())
    assert high == min(max(r) for r in rates.values())
    for seed, rows in by.items():
        rows = sorted(rows, key=lambda row: row["train_rate"])
        x, y = ([r[f"train_{n}"] for r in rows] for n in ("rate", "distortion"))
        exact, _ = integrate.quad(np.interp, low, high, args=(x, y), points=x[1:-1])
        assert found["a"][seed] == pytest.approx(exact, rel=1e-9)
    far = [row | {"train_rate": row["train_rate"] + 99} for row in own]
    assert frontier.areas({"a": own, "b": far}) == ({}, None)
    assert not command.execute(frontier.define, frontier.main, [f"--workdir={sweep}"])
    shown = capsys.readouterr().out
    assert f"area under the curve from rate {low:.2f} to {high:.2f}: " in shown
    assert "Fewer than three seeds: that of two is 12.7 standard errors" in shown


@pytest.mark.parametrize(("axis", "test"), [("lr", "paired t"), ("latent", "Welch")])
def test_areas_of_two_sweeps_have_a_difference(axis, test, tmp_path, capsys):
    """Paired where runs of a seed share their start, as scipy has it; across latent sizes Welch's."""
    grid = {axis: {"lr": (1e-3, 2e-3), "latent": (2, 3)}[axis], "beta": (0.1, 8.0)}
    grid["seed"] = (0, 1, 2)
    few = {"epochs": 20, "encoder.widths": (16,), "decoder.widths": (16,)}
    study.run("configs/methods.py:beta_vae", tmp_path / "a", grid=grid, overrides=few)
    curves = frontier.sweeps(tmp_path / "a")
    found, _ = frontier.areas(curves)
    ((name, (estimate, kind)),) = frontier.area_differences(
        tmp_path / "a", curves, found
    ).items()
    first, second = ([*own.values()] for own in found.values())
    if test == "Welch":
        known = stats.ttest_ind(second, first, equal_var=False)
    else:
        known = stats.ttest_rel(second, first)
    ends = known.confidence_interval()
    assert kind == test and estimate.p == pytest.approx(known.pvalue)
    np.testing.assert_allclose([estimate.low, estimate.high], ends, rtol=1e-6)
    place = f"--workdir={tmp_path / 'a'}"
    assert not command.execute(frontier.define, frontier.main, [place])
    shown = capsys.readouterr().out
    assert f"area of {name} less that of " in shown and f"({test}, p = " in shown


def test_methods_are_compared_seed_by_seed():
    """What a VAE's seed has is not in the difference; a run that diverged is in no pair."""

    def rows(errors):
        return [
            {"latent": 2, "seed": s, "diverged": None, "squared_error": e}
            for s, e in enumerate(errors)
        ]

    luck = np.array([0.0, 5.0, 9.0])
    found = {"autoencoder": rows(luck - [1.0, 1.1, 0.9]), "vae": rows(luck)}
    text = "\n".join(compare.paired(found, ["squared_error"]))
    assert " -1.00 ±0.25*" in text and "1 comparison" in text
    found["vae"][1]["diverged"] = 3
    text = "\n".join(compare.paired(found, ["squared_error"]))
    assert " -0.95 ±0.64" in text


def test_facts_that_do_not_hold_are_said_not_to(sweep, tmp_path):
    """The same curves with their betas exchanged."""
    shutil.copy(sweep / "config.json", tmp_path)
    for name in ("results", "curves"):
        rows = tables.read(sweep / f"{name}.csv")
        for row in rows:
            row["beta"] = {0.5: 4.0, 4.0: 0.5}.get(row["beta"], row["beta"])
        table = Table(tmp_path / f"{name}.csv", list(rows[0]))
        table.write(rows)
    _, facts, _ = frontier.table(frontier.sweeps(tmp_path)[""])
    assert not facts[0][1] and not facts[1][1]


def test_the_frontier_needs_a_sweep_over_beta(tmp_path):
    with pytest.raises(InputError, match="is not a run folder"):
        frontier.sweeps(tmp_path)
    path = "configs/methods.py:autoencoder"
    study.run(path, tmp_path / "ae", overrides={"epochs": 1})
    with pytest.raises(InputError, match="is no sweep over beta"):
        frontier.sweeps(tmp_path / "ae")


def test_runs_of_other_values_are_a_sweep_of_their_own(sweep, tmp_path):
    """Not averaged with, nor in place of, those of the same beta and seed."""
    shutil.copy(sweep / "config.json", tmp_path)
    for name in ("results", "curves"):
        rows = tables.read(sweep / f"{name}.csv")
        more = [r | {"run": r["run"] + 6, "lr": 1} for r in rows]
        once = [r | {"run": r["run"] + 12, "lr": 2} for r in rows if r["beta"] == 1]
        few = [row for row in more if (row["beta"], row["seed"]) != (4, 1)]
        Table(tmp_path / f"{name}.csv", list(rows[0])).write(rows + few + once)
    found = frontier.sweeps(tmp_path)
    assert [*found] == ["lr 0.003", "lr 1"]
    alone = frontier.table(frontier.sweeps(sweep)[""])
    assert frontier.table(found["lr 0.003"]) == alone
    assert frontier.table(found["lr 1"])[2] == 1


def test_what_else_was_swept_is_not_averaged(sweep):
    with pytest.raises(InputError, match="differ in beta, beside latent and seed"):
        compare.measured(sweep, config.load("configs/digits.py"), 2, None)
