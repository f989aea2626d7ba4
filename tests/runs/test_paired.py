"""What a swept value changes: which runs are pairs, and what a table says of them."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from aevae import InputError, config, data, networks, objectives, optim
from aevae.figures import differences
from aevae.runs import paired, record, study, tables
from aevae.training.step import init_state, initial_batch
from experiments import command
from experiments import paired as program

pytestmark = pytest.mark.retraced

GRID = {"latent": (2, 3), "beta": (0.5, 1.0, 4.0), "seed": (0, 1, 2)}
SMALL = {"epochs": 1, "encoder.widths": "(8,)", "decoder.widths": "(8,)"}


@pytest.fixture(scope="module")
def declared(tmp_path_factory):
    """A folder of runs that nobody trained, with numbers that are known.

    Seeds differ by nats, and betas by a tenth; the best test ELBO is at 1, the best validation ELBO
    at 0.5.
    """
    path = tmp_path_factory.mktemp("paired") / "runs"
    study.declare("configs/digits.py", path, overrides=SMALL, grid=GRID)
    rng = np.random.default_rng(0)
    luck, rows = rng.normal(size=3), []
    for number, run in enumerate(record.declared(path)):
        beta, latent = run.hparams["beta"], run.model.latent
        better = {0.5: -0.3, 1: 0.0, 4: -0.8}[beta]
        elbo = -20 + luck[run.seed] + better + 0.1 * rng.normal() + latent
        own = {"run": number, "latent": latent, "beta": beta, "lr": run.hparams["lr"]}
        own |= {"seed": run.seed, "elbo": elbo, "rate": 9 / (beta + latent)}
        own |= {"validation_elbo": elbo + (0.7 if beta == 0.5 else 0)}
        rows.append(own | {"diverged": None, "objective": "beta_vae"})
    tables.Table(path / "results.csv", [*rows[0]]).write(rows)
    return path


@pytest.fixture
def folder(declared, tmp_path):
    return shutil.copytree(declared, tmp_path / "runs")


def rewrite(folder, change):
    rows = [change(row) for row in tables.results(folder)]
    tables.Table(folder / "results.csv", [*rows[0]]).write(rows)


def elbos(folder, **where):
    rows = tables.results(folder)
    rows = [row for row in rows if all(row[k] == v for k, v in where.items())]
    return np.array([r["elbo"] for r in sorted(rows, key=lambda row: row["seed"])])


def test_differences_along_beta_are_paired_by_seed(folder, monkeypatch):
    """As scipy has them, each interval at 1 - 0.05 / 4, for there are four of them."""
    found = paired.differences(folder, "beta", against=1.0)
    assert {row.get("correlation") for row in found.rows} == {None}  # of three pairs
    monkeypatch.setattr(paired, "CORRELATED", 3)
    found = paired.differences(folder, "beta", against=1.0)
    rows = [row for row in found.rows if row["beta"] != 1]
    ps = []
    for row in rows:
        own, base = (
            elbos(folder, latent=row["latent"], beta=b) for b in (row["beta"], 1)
        )
        known = stats.ttest_rel(own, base)
        ends = known.confidence_interval(1 - 0.05 / 4)
        np.testing.assert_allclose(row["difference"], (own - base).mean())
        np.testing.assert_allclose(
            (row["difference_low"], row["difference_high"]), ends
        )
        np.testing.assert_allclose(row["p"], known.pvalue)
        assert (row["test"], row["counts"], row["comparisons"]) == ("paired t", "3", 4)
        assert (
            row["difference_high"] - row["difference_low"] < 2
        )  # seeds differ by more
        assert row["correlation"] == pytest.approx(np.corrcoef(own, base)[0, 1])
        ps.append(known.pvalue)
    first = min(range(4), key=ps.__getitem__)
    assert rows[first]["p_holm"] == pytest.approx(4 * ps[first])
    (low, high) = stats.ttest_1samp(own, 0).confidence_interval()
    assert (rows[-1]["low"], rows[-1]["high"]) == pytest.approx((low, high))
    text = paired.told(found)
    assert "(Bonferroni, 4 comparisons)" in text and "Fewer than three" not in text
    assert "Unpaired" not in text


def test_latent_sizes_are_no_pairs(folder):
    """Their weights have other shapes: Welch's interval, and the reason."""
    found = paired.differences(folder, "latent")
    rows = [row for row in found.rows if row["latent"] == 3]
    for row in rows:
        sides = [elbos(folder, latent=n, beta=row["beta"]) for n in (3, 2)]
        known = stats.ttest_ind(*sides, equal_var=False)
        ends = known.confidence_interval(1 - 0.05 / 3)
        np.testing.assert_allclose(
            (row["difference_low"], row["difference_high"]), ends
        )
        assert (row["test"], row["counts"]) == ("Welch", "3 3")
    text = paired.told(found)
    assert (
        "Unpaired (Welch): latent 3 against 2, whose runs differ in model.latent"
        in text
    )
    assert "Pairs share a seed" not in text


def test_runs_of_one_start_have_the_same_initial_weights_and_order():
    """And only those: what is compared is `starts` with the weights, bit by bit, and the rows."""
    (base,) = config.settle(config.load("configs/digits.py"), SMALL, {"seed": (0,)})
    images = initial_batch(data.load("digits").train)
    model = base.model
    alike = [
        {"hparams": base.hparams | {"beta": 4.0, "lr": 0.1}},
        {"objective": objectives.stl},
        {"optimizer": optim.rmsprop, "epochs": 3, "keep": "best"},
    ]
    apart = [
        {"model": model.clone(latent=3)},
        {"model": model.clone(encoder=networks.MLPEncoder((9,)))},
        {"model": model.clone(kernel=networks.he_normal)},
    ]

    def weights(run):
        run = dataclasses.replace(run, model=run.model.clone(shape=(8, 8, 1)))
        hp = {name: jnp.float32(value) for name, value in run.hparams.items()}
        return jax.jit(lambda: init_state(run, images, 0, hp).params)()

    def equal(one, other):
        leaves = [jax.tree.leaves(params) for params in (one, other)]
        return len(leaves[0]) == len(leaves[1]) and all(map(np.array_equal, *leaves))

    runs = [base, *(dataclasses.replace(base, **own) for own in alike + apart)]
    first, *others = config.starts(runs)
    assert [key == first for key in others] == [True] * 3 + [False] * 3
    known = [*map(weights, runs)]
    assert [equal(own, known[0]) for own in known[1:]] == [True] * 3 + [False] * 3
    other = dataclasses.replace(base, batch=50)  # each step sees other rows
    assert config.unlike(base, other) == ["batch"]
    assert config.unlike(base, runs[4]) == ["model.latent"]
    assert config.unlike(base, runs[1]) == []


def test_the_best_is_selected_by_validation_and_reported_on_test(folder):
    """Beta 0.5 has the best validation ELBO, 1 the best test ELBO: the mark is at 0.5."""
    found = paired.differences(folder, "beta", against=1)
    best = {row["beta"]: row["best"] for row in found.rows if row["best"]}
    assert best == {0.5: "selected by validation_elbo"}
    assert "*: the best, selected by validation_elbo, and reported" in paired.told(
        found
    )


def test_a_best_of_the_same_numbers_is_marked_as_selected(folder):
    """As a rate, which has no validation column, and no best unless one says which."""
    assert not any(
        row["best"] for row in paired.differences(folder, "beta", "rate").rows
    )
    found = paired.differences(folder, "beta", "rate", highest=False)
    assert {row["best"] for row in found.rows} == {None, "selected by the same numbers"}
    assert "its mean flatters it" in paired.told(found)


def test_only_seeds_on_both_sides_are_pairs(folder):
    """One diverged: its seed is left out of the differences, and two pairs are said to be few."""
    lost = {"latent": 2, "beta": 4, "seed": 1}
    rewrite(
        folder,
        lambda row: (
            row | ({"diverged": 1} if all(row[k] == v for k, v in lost.items()) else {})
        ),
    )
    found = paired.differences(folder, "beta", against=1)
    row = next(r for r in found.rows if (r["latent"], r["beta"]) == (2, 4))
    own, base = (elbos(folder, latent=2, beta=b)[[0, 2]] for b in (4, 1))
    assert (row["seeds"], row["counts"]) == (2, "2")
    assert row["difference"] == pytest.approx((own - base).mean())
    assert "Fewer than three seeds at 2 of 10 points" in paired.told(found)


def test_values_that_change_together_are_named_together(folder):
    rewrite(folder, lambda row: row | {"lr": 0.001 * row["beta"]})
    with pytest.raises(InputError, match="name all, as --by=beta,lr"):
        paired.differences(folder, "beta")
    rewrite(folder, lambda row: row | {"latent": 2 if row["latent"] == 2 else 3})
    found = paired.differences(folder, ["beta", "lr"], against=[1, 0.001])
    assert len(found.rows) == 6 and found.rows[0]["against"] == "1.0:0.001"
    assert sum("difference" in row for row in found.rows) == 4


def test_equal_differences_have_no_p_value(folder):
    rewrite(folder, lambda row: row | {"elbo": -20.0 - row["beta"]})
    found = paired.differences(folder, "beta", against=1)
    row = found.rows[0]
    assert (row["difference"], row["p"], row["p_holm"]) == (0.5, None, None)
    assert "Without p: all differences are equal" in paired.told(found)


def test_a_command_prints_the_table_and_writes_it(folder, capsys):
    arguments = [f"--workdir={folder}", "--by=beta", "--base=1", "--measure=elbo,rate"]
    assert not command.execute(program.define, program.main, arguments)
    shown = capsys.readouterr().out
    assert "less that at 1" in shown and shown.count("p (Holm)") == 2
    rows = tables.read(folder / "paired.csv")
    assert [row["measure"] for row in rows] == ["elbo"] * 6 + ["rate"] * 6
    known = paired.differences(folder, "beta", against=1).rows[0]
    assert rows[0]["difference_low"] == known["difference_low"]
    assert rows[1]["beta"] == 1 and rows[1]["difference"] is None
    assert (folder / "paired.png").stat().st_size > 1000


def test_a_figure_shows_the_intervals_of_the_table(folder):
    """Of both kinds, each told by its look; the best is marked, the base stands at 0."""
    found = paired.differences(folder, ["latent", "beta"], against=[2, 1.0])
    figure = differences.drawn([found])
    (panel,) = figure.axes
    known = {
        (row["difference_low"], row["difference_high"])
        for row in found.rows
        if row.get("difference") is not None
    }
    drawn = {
        tuple(segment[:, 1])
        for lines in panel.collections
        for segment in lines.get_segments()
    }
    assert len(known) == 5
    np.testing.assert_allclose(sorted(drawn), sorted(known), rtol=1e-12)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(legend) == ["paired by seed", "unpaired"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name the axis with --by"),
        (["--by=beta", "--measure="], "name what is compared with --measure"),
        (["--by=gamma"], "has no axis 'gamma': it has latent, beta, lr\n"),
        (["--by=beta", "--base=3"], "no run has beta 3: there are 0.5, 1.0, 4.0"),
        (["--by=beta", "--measure=mig"], "has measured no 'mig': name one of elbo, "),
        (["--by=lr"], "all runs have lr 0.003: there is nothing to compare"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_line(declared, arguments, says, capsys):
    given = [f"--workdir={declared}", *arguments]
    assert command.execute(program.define, program.main, given) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1
