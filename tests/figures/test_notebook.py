"""Figures on one's own axes: any kind of table gives the same lines, which are the table's numbers."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from aevae import InputError, figures

GUIDE = Path(__file__).parents[2] / "experiments" / "figures.md"
KINDS = ("rows", "columns", "DataFrame")


def table(kind, rows):
    if kind == "rows":
        return rows
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    if kind == "columns":
        return {name: np.array(v, object) for name, v in columns.items()}
    return pytest.importorskip("pandas").DataFrame(columns)


def curves():
    return [
        {
            "run": 3 * i + seed,
            "beta": beta,
            "seed": seed,
            "samples": samples,
            "train_elbo": -9.0,
            "test_elbo": value,
            "diverged": None,
        }
        for i, beta in enumerate((0.5, 2.0))
        for seed in range(3)
        for samples, value in ((100, -20 + beta + seed), (800, -10 - beta - seed))
    ]


def results():
    return [
        {
            "run": 3 * i + seed,
            "latent": 2,
            "beta": beta,
            "seed": seed,
            "elbo": -(5 + seed),
            "rate": 1 / beta,
            "diverged": None,
            "distortion": 5 + seed - 1 / beta,
            "inference_gap": 1.5,
            "approximation_gap": 0.5,
            "amortization_gap": 1.0,
            "iwae": None,
        }
        for i, beta in enumerate((0.5, 2.0))
        for seed in range(3)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_curves_are_the_means_of_any_table(kind):
    ax = Figure().subplots()
    assert figures.elbo_curves(table(kind, curves()), ax=ax, split="test") is ax
    found = [line.get_xydata().tolist() for line in ax.get_lines()]
    assert found == [
        [[100, -18.5], [800, -11.5]],
        [[100, -17.0], [800, -13.0]],
    ]
    written = [t.get_text().replace("\n", " ") for t in ax.get_legend().get_texts()]
    assert written == ["beta 0.5", "beta 2", "test", "95 % t interval, 3 seeds"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("samples seen", "ELBO (nats)")


@pytest.mark.parametrize("kind", KINDS)
def test_planes_maps_and_gaps_are_those_of_the_table(kind):
    own = table(kind, results())
    plane = figures.rate_distortion(own)
    points = [p for dots in plane.collections for p in np.asarray(dots.get_offsets())]
    for row in results():
        at = row["rate"], row["distortion"]
        assert any(np.allclose(at, point) for point in points)
    cells = [text.get_text() for text in figures.heat_map(own).texts]
    assert cells == 2 * ["−6.00\n±2.48"]  # 4.30265 / √3
    bars = [bar.get_height() for bar in figures.inference_gap(own).patches]
    assert bars == [0.5, 1.0, 0.5, 1.0]


def test_a_multi_rate_curve_is_its_table():
    rows = [
        {"run": run, "at_beta": beta, "rate": 1 / beta, "distortion": beta + run}
        for run in (0, 2)
        for beta in (0.5, 2.0)
    ]
    means = figures.multi_rate(rows).get_lines()[-1].get_xydata()
    np.testing.assert_allclose(means, [[2, 1.5], [0.5, 3]])


@pytest.mark.parametrize(
    "draw, own, says",
    [
        ("elbo_curves", [], "the table has no rows"),
        ("elbo_curves", results(), "no column 'samples': there are run, latent, "),
        ("heat_map", {"elbo": [1, 2], "beta": [1]}, "unequal lengths"),
        ("rate_distortion", [results()[0] | {"rate": None}], "autoencoders have none"),
        ("heat_map", [results()[0] | {"elbo": float("nan")}], "no row has a number"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(draw, own, says):
    with pytest.raises(InputError, match=says):
        getattr(figures, draw)(own)


def test_a_split_that_is_none_is_one_line():
    with pytest.raises(InputError, match="it is of train, test"):
        figures.elbo_curves(curves(), split="validation")


def test_blank_cells_of_pandas_are_no_divergence(tmp_path):
    """read_csv gives NaN where a cell is blank."""
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(curves()).to_csv(tmp_path / "curves.csv", index=False)
    ax = figures.elbo_curves(pandas.read_csv(tmp_path / "curves.csv"))
    assert "diverged" not in [t.get_text() for t in ax.get_legend().get_texts()]


def test_pyplot_and_pandas_are_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    assert figures.elbo_curves(curves()).figure.axes


def test_the_example_of_the_guide_runs(tmp_path, monkeypatch):
    """With a folder's tables in the place that it names."""
    pytest.importorskip("pandas")
    from aevae.runs import tables

    folder = tmp_path / "runs" / "digits"
    folder.mkdir(parents=True)
    for name, rows in (("curves", curves()), ("results", results())):
        rows = [row | {"latent": 8} for row in rows]
        tables.Table(folder / f"{name}.csv", [*rows[0]]).write(rows)
    monkeypatch.chdir(tmp_path)
    example = GUIDE.read_text("utf-8").split("```python\n")[1].split("```")[0]
    (tmp_path / "mine.py").write_text(example, "utf-8")
    runpy.run_path("mine.py")
    assert (tmp_path / "mine.pdf").stat().st_size > 5_000
