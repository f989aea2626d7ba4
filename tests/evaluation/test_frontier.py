"""The curve of a multi-rate run: the same bound as in results.csv, at each beta, in its own table."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aevae import InputError, data
from aevae.evaluation import contract, evaluate, frontier, plan, worker
from aevae.figures import draw
from aevae.runs import study, tables, trained
from aevae.training import bounds
from experiments import frontier as command

SMALL = {"epochs": 2, "batch": 400, "encoder.widths": (16,), "decoder.widths": (16,)}
BETAS = [0.1, 1, 4]
FILE = "configs/multi_rate.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "multi_rate"
    grid = {"latent": (2,), "seed": (0, 1, 2)}
    study.run(FILE, path, overrides=SMALL, grid=grid)
    assert evaluate.run(path, ["frontier"], betas=BETAS) == []
    return path


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def curve(path):
    return tables.read(path / "frontier.csv")


def test_at_beta_1_it_is_the_row_of_the_results(folder):
    """To the last digits that are kept, by the same draws; the results have no row of another beta."""
    rows = tables.results(folder)
    assert len(rows) == 3 and len(curve(folder)) == 9
    for row in curve(folder):
        if row["at_beta"] == 1:
            (own,) = [r for r in rows if r["run"] == row["run"]]
            for name in ("elbo", "distortion", "rate", "iwae", "active_units"):
                np.testing.assert_allclose(row[name], own[name], rtol=1e-6)
        total = row["distortion"] + row["at_beta"] * row["rate"]
        np.testing.assert_allclose(row["objective"], total, rtol=1e-6)


def test_at_another_beta_it_is_the_models_own_bound_there(folder, digits):
    """The same run by hand: its posteriors at beta = 4, and their rate in closed form."""
    held = data.none(None, data.held_out(data.stochastic, digits, "test"))
    for run in trained.runs(folder):
        q = run.encode(held, beta=4)
        mean, std = np.float64(q.mean), np.float64(q.std)
        rate = 0.5 * (std**2 + mean**2 - 1 - 2 * np.log(std)).sum(1).mean()
        number = run.row["run"]
        (row,) = [r for r in curve(folder) if (r["run"], r["at_beta"]) == (number, 4)]
        np.testing.assert_allclose(row["rate"], rate, rtol=1e-4)
        draws = [
            run.decode(q.sample(jax.random.key(i)), beta=4).log_prob(held["image"])
            for i in range(16)
        ]
        assert abs(row["distortion"] + np.mean(draws)) < 0.1
        one, four = ([r for r in curve(folder) if r["at_beta"] == b] for b in (1, 4))
        assert one[0]["rate"] > four[0]["rate"]


def test_cut_anywhere_it_is_the_same(folder, digits):
    """Units are blocks of one beta after the other; an interruption may fall between any two."""
    (group,) = plan.finished(folder, None)
    group = plan.opened(folder, group)
    (params, step), hp = group.states[0], group.runs[0].hparams
    hp = {name: jnp.float32(value) for name, value in hp.items()}
    held = data.held_out(data.stochastic, digits, "test")
    held = {name: values[:250] for name, values in held.items()}
    count = bounds.count_blocks(held, bounds.ROWS_BOUND)
    assert count == 3
    given = params, step, hp, jnp.log(jnp.array([0.1, 4.0]))
    config = trained.open_run(folder, group.rows[0]).config

    @jax.jit
    def f(carry, start, stop):
        return frontier.at_betas(config, count, carry, given, (held, start, stop))

    state = frontier.State(params, (), step)
    one = frontier._at(held, 0.0)
    zeros = bounds.zeros(bounds.final, bounds.ROWS_BOUND, config, state, one, hp)
    zeros = jax.tree.map(lambda v: jnp.stack([v, v]), zeros)
    whole = f(zeros, 0, 6)
    for cut in (2, 3, 5):
        parts = f(f(zeros, 0, cut), cut, 6)
        jax.tree.map(np.testing.assert_array_equal, parts, whole)


@pytest.mark.retraced
def test_a_group_of_its_own_finds_the_same_bytes(folder, copied):
    shutil.rmtree(copied / "evaluated")
    (copied / "frontier.csv").unlink()
    worker.run(copied, 0, ["frontier"], betas=[str(beta) for beta in BETAS])
    assert not (copied / "frontier.csv").exists()
    evaluate.collect(copied)
    whole = (folder / "frontier.csv").read_bytes()
    assert (copied / "frontier.csv").read_bytes() == whole


@pytest.mark.retraced
def test_without_betas_they_span_the_runs_own_range(copied):
    evaluate.run(copied, ["frontier"])
    betas = [row["at_beta"] for row in curve(copied) if row["run"] == 0]
    np.testing.assert_allclose(betas, np.geomspace(0.1, 10, 9), rtol=1e-5)


@pytest.mark.parametrize(
    ("betas", "says"),
    [
        ([0.0], "betas must be numbers above 0"),
        (["x"], "betas must be numbers above 0"),
        ([float("inf")], "betas must be numbers above 0"),
        ([1, 20], "run 0 was trained at betas from 0.1 to 10, which has not 20: leave"),
    ],
)
def test_betas_that_have_no_meaning_are_refused(folder, betas, says):
    with pytest.raises(InputError, match=says):
        evaluate.run(folder, ["frontier"], betas=betas)


def test_it_is_drawn_once_it_is_measured(folder):
    (path,) = draw(folder, ["frontier"])
    assert path.stat().st_size > 10_000


# Beside runs of one beta each


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "digits"
    grid = {"latent": (2,), "beta": (0.1, 1.0, 4.0), "seed": (0, 1, 2)}
    study.run("configs/digits.py", path, overrides=SMALL, grid=grid)
    return path


def test_distances_are_of_the_same_seeds(sweep, folder, capsys):
    _, _, found = command.distances(sweep, folder)
    rows = {(r["beta"], r["seed"]): r for r in tables.results(sweep)}
    own = {(r["at_beta"], r["seed"]): r["objective"] for r in curve(folder)}
    for beta, both in found.items():
        one = [rows[beta, seed] for seed in (0, 1, 2)]
        one = [r["distortion"] + beta * r["rate"] for r in one]
        np.testing.assert_allclose(both["separate"], one, rtol=1e-6)
        many = [own[beta, seed] for seed in (0, 1, 2)]
        np.testing.assert_allclose(both["multi_rate"], many, rtol=1e-6)
    command.compare(sweep, folder)
    assert "intervals of differences of equal seeds" in capsys.readouterr().out
    assert (folder / "figures" / "beside.png").stat().st_size > 10_000


def test_what_is_lacking_is_said_with_its_command(sweep, folder, copied):
    evaluate.run(copied, ["frontier"], betas=[1])
    with pytest.raises(InputError, match="has no beta 0.1, 4: .* --betas=0.1,1,4"):
        command.distances(sweep, copied)
    (copied / "frontier.csv").unlink()
    with pytest.raises(InputError, match="is not there: python -m experiments.eval"):
        command.distances(sweep, copied)
    with pytest.raises(InputError, match="are not multi-rate: each has one beta"):
        evaluate.run(sweep, ["frontier"])


# Tables of a measure's own


def of(rows, name="depths", label="depth"):
    @contract.measure(default=lambda facts: False)
    def deep(work):
        for _ in work.group.runs:
            yield contract.Found({"deep": 1.0}, {name: contract.Rows(label, rows)})

    return deep


@pytest.mark.retraced
def test_a_measure_has_a_table_of_its_own_as_long_as_it_finds_something(copied):
    rows = {10: {"size": 1.0}, 2: {"size": 3.0}, "whole": {"size": None}}
    assert evaluate.run(copied, [of(rows)]) == ["deep"]
    found = [r for r in tables.read(copied / "depths.csv") if r["run"] == 1]
    assert [(r["depth"], r["size"]) for r in found] == [
        (2, 3.0),
        (10, 1.0),
        ("whole", None),
    ]
    assert tables.written(copied) == ["depths", "frontier"]
    evaluate.run(copied, [of(rows, "levels")])
    assert tables.written(copied) == ["frontier", "levels"]
    assert not (copied / "depths.csv").exists()
    assert len(curve(copied)) == 9


@pytest.mark.retraced
@pytest.mark.parametrize(
    ("given", "says"),
    [
        (({}, "results"), "gives the table 'results': give it a name of letters"),
        (({}, "a/b"), "gives the table 'a/b': give it a name of letters"),
        (({1: {"seed": 1.0}},), "with two columns seed: give one another name"),
        (({1: {"depth": 1.0}},), "with two columns depth: give one another name"),
        (({1: {"x": "a"}},), r"must yield {column: number}"),
        (({}, "frontier"), "each depth, and frontier for each at_beta: give it"),
    ],
)
def test_a_table_that_would_spoil_another_is_refused(copied, given, says):
    with pytest.raises(InputError, match=says):
        evaluate.run(copied, [of(*given)])
