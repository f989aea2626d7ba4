"""What the figures show is what the tables and the runs say."""

import math
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure
from outside import LaplaceVAE
from scipy import stats

from aevae import InputError, config, data, figures, models
from aevae.figures import codes, contract, curves, planes, sheet, views
from aevae.figures import pair as two_runs
from aevae.models import distributions, likelihoods
from aevae.runs import study, tables, trained
from experiments import command
from experiments import figures as figures_command

GRID = {"latent": (1, 2), "beta": (0.5, 4.0), "seed": (0, 1)}
SMALL = {
    "epochs": 3,
    "batch": 400,
    "encoder.widths": "(16,)",
    "decoder.widths": "(16,)",
}
TABLES = {"elbo_by_latent", "elbo_by_beta", "rate_distortion", "heat_map"}
RUNS = {"reconstructions", "samples", "interpolations", "traversals", "rates"}
PLANE = {"manifold", "codes"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("figures") / "small"
    study.run("configs/digits.py", path, overrides=SMALL, grid=GRID)
    return path


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture(scope="module")
def run(folder):
    return trained.load(folder, latent=2, beta=0.5, seed=1)


@pytest.fixture(scope="module")
def rows(run, digits):
    return views.held(run, digits, None, {})


@pytest.fixture(scope="module")
def view(run, rows):
    return views.View(run, rows, ["latent"])


@pytest.fixture(scope="module")
def grid(folder):
    """What figures of tables look at."""
    curves = tables.read(folder / "curves.csv")
    return contract.Tables(tables.results(folder), curves, ["latent", "beta"])


def drawn(folder, **options):
    paths = figures.draw(folder, **options)
    for path in paths:
        assert path.read_bytes()[:4] == b"\x89PNG"
        assert path.with_name(f"{path.stem}.pdf").read_bytes()[:4] == b"%PDF"
    assert not list((folder / "figures").glob("*.partial"))
    return {path.stem for path in paths}


def texts(figure):
    """All that is written on a figure, and its caption."""
    found = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return [*(text.get_text() for text in found), getattr(figure, "caption", "")]


def test_all_are_drawn_and_equal_ones_are_equal_bytes(copy):
    """What no longer applies is removed, what is a user's is not."""
    place = copy / "figures"
    place.mkdir()
    for name in ("elbo.png", "elbo.pdf", "distortion_by_lr.pdf", "elbo_by_me.pdf"):
        (place / name).write_bytes(b"")
    assert drawn(copy) == TABLES | RUNS | PLANE and figures.current(copy)
    first = {path.name: path.read_bytes() for path in place.iterdir()}
    assert first.pop("elbo_by_me.pdf") == b""
    ours = {
        f"{n}.{kind}" for n in TABLES | RUNS | PLANE for kind in ("png", "pdf", "txt")
    }
    assert set(first) == ours | {".drawn"}
    drawn(copy)
    assert all((place / name).read_bytes() == first[name] for name in first)


def test_pyplot_is_left_alone(run):
    from matplotlib import pyplot

    figures.side_by_side(run, run, run.examples)
    assert pyplot.get_fignums() == []


def test_without_the_data_codes_are_left_out(copy, monkeypatch, digits):
    """And rates are of the ten examples that the folder keeps, which the figure says."""

    def missing(config, data_dir, dataset):
        if dataset is not None:
            return load(config, data_dir, dataset=dataset)
        asked.append((config.dataset, data_dir))
        raise InputError("not here")

    load = data.of

    asked = []
    shown = {}
    monkeypatch.setattr(data, "of", missing)
    monkeypatch.setattr(
        sheet, "save", lambda figure, path: shown.update({path.stem: figure}) or path
    )
    names = {path.stem for path in figures.draw(copy, data_dir="there")}
    assert names == TABLES | RUNS | PLANE - {"codes"}
    assert asked == [("digits", "there")]
    written = "\n".join(texts(shown["rates"]))
    assert "mean over 10 test examples" in written.replace("\n", " ")
    assert "codes" in {path.stem for path in figures.draw(copy, dataset=digits)}


def test_only_the_runs_own_data_are_taken(run, digits, tiny, monkeypatch):
    rows = views.held(run, digits, None, {})
    np.testing.assert_array_equal(rows["image"][:10], run.examples["image"])
    np.testing.assert_array_equal(rows["label"], digits.test["label"])
    other = digits._replace(test=digits.validation)
    for given in (other, tiny):
        with pytest.raises(InputError, match="is not what the runs were trained on"):
            views.held(run, given, None, {})
    monkeypatch.setattr(views.data, "of", lambda *args, **how: other)
    assert views.held(run, None, None, {}) is None
    monkeypatch.undo()
    for name, value in (("ROWS", 250), ("BLOCK", 100)):
        monkeypatch.setattr(views, name, value)
    assert len(views.held(run, digits, None, {})["image"]) == 200


def test_the_flag_for_data_is_passed_on(copy, monkeypatch):
    given = []
    monkeypatch.setattr(figures, "draw", lambda *a, **k: given.append((a, k)) or [])
    arguments = [f"--workdir={copy}", "--data_dir=there", "--dataset=x.npz"]
    command.execute(figures_command.define, figures_command.main, arguments)
    how = {"data_dir": "there", "dataset": "x.npz", "priors": None}
    how |= {"style": "paper", "width": None, "band": "interval"}
    assert given == [((str(copy), None), how)]


def test_rates_are_the_latents_own_and_sorted(run, rows, view):
    """Of the blocks together; by hand: ½ (s² + m² - 1 - log s²), mean over the examples."""
    q = run.encode(rows)
    mean, std = np.asarray(q.mean), np.asarray(q.std)
    by_hand = 0.5 * (std**2 + mean**2 - 1 - 2 * np.log(std)).mean(0)
    np.testing.assert_allclose(view.rates, by_hand, rtol=1e-4)
    assert (np.diff(view.rates[view.order]) <= 0).all()
    assert view.rates.sum() == pytest.approx(run.row["rate"], rel=1e-3)
    np.testing.assert_allclose(view.code, mean, rtol=1e-5, atol=1e-6)


def test_blocks_change_nothing(run, rows, view, monkeypatch):
    monkeypatch.setattr(views, "BLOCK", 100)
    again = views.View(run, rows)
    for name in ("code", "rates", "labels"):
        ours, theirs = getattr(again, name), getattr(view, name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_traversals_go_by_rate_through_the_prior(run, view):
    """Row i moves the latent of the i-th greatest rate from -3 to 3, and no other."""
    moved = view.images["traversals"].reshape(2, views.MOVES, 8, 8, 1)
    start = np.asarray(run.encode(run.examples).mean)[:1]
    for strip, latent in zip(moved, view.order):
        for place, value in ((0, -3), (5, 0), (10, 3)):
            z = start.copy()
            z[0, latent] = value
            ours = run.decode(z).mean[0]
            np.testing.assert_allclose(strip[place], ours, rtol=1e-4, atol=1e-6)
    labels = texts(codes.traversals([view]))
    rates = [f"z{i + 1}, {view.rates[i]:.2f} nats" for i in view.order]
    assert [text for text in labels if text in rates] == rates


def test_traversals_are_of_ten_latents_at_most():
    order = np.arange(30)[::-1]
    prior = standard(30)
    found, beside = views.moves(np.zeros(30, np.float32), order, prior)
    found = found.reshape(10, views.MOVES, 30)
    assert [int(np.ptp(row, axis=0).argmax()) for row in found] == list(order[:10])
    assert ((found != 0).any(1).sum(1) == 1).all() and not beside.any()


def standard(size):
    return distributions.Normal(*np.zeros((2, 1, size)))


def test_interpolations_end_at_the_reconstructions(run, view):
    found = codes.between(view)
    again = np.asarray(run.reconstruct(run.examples))
    for pair, strip in enumerate(found):
        ends = run.examples["image"][2 * pair : 2 * pair + 2]
        np.testing.assert_array_equal(strip[[0, -1]], ends)
        near = again[2 * pair : 2 * pair + 2]
        np.testing.assert_allclose(strip[[1, -2]], near, rtol=1e-4, atol=1e-6)
    assert found.shape == (3, views.STEPS + 2, 8, 8, 1)
    z, near = views.lines(np.array([[0.0, 9.0], [9.0, 0.0]]))
    np.testing.assert_allclose(z, [[i, 9 - i] for i in range(10)], atol=1e-12)
    assert list(near) == 5 * [0] + 5 * [1]


def test_the_manifold_is_at_the_priors_quantiles(run, view):
    z = views.quantiles(standard(2), views.GRID)
    z = z.reshape(views.GRID, views.GRID, 2)
    shares = [0.5 * (1 + math.erf(x / math.sqrt(2))) for x in z[0, :, 0]]
    even = (np.arange(views.GRID) + 0.5) / views.GRID
    np.testing.assert_allclose(shares, even, atol=1e-6)
    np.testing.assert_allclose(z[::-1, 0, 1], z[0, :, 0])  # the second one upwards
    tiles = view.images["manifold"].reshape(views.GRID, views.GRID, 8, 8, 1)
    ours = run.decode(z[[0, 3], [-1, 2]]).mean
    np.testing.assert_allclose(tiles[[0, 3], [-1, 2]], ours, rtol=1e-4, atol=1e-6)


def test_cells_are_means_over_seeds(grid):
    rows, axes = grid.results, {name: GRID[name] for name in ("latent", "beta")}
    for name in ("elbo", "active_units"):
        table, halves, counts = planes.cells(rows, axes, name)
        assert (counts == 2).all() and np.isnan(halves).all()  # of three seeds or more
        for (i, j), value in np.ndenumerate(table):
            point = GRID["latent"][i], GRID["beta"][j]
            own = [r[name] for r in rows if (r["latent"], r["beta"]) == point]
            assert len(own) == 2 and value == pytest.approx(sum(own) / 2)
    table, *_ = planes.cells(rows, axes, "elbo")
    figure = planes.heat_map(grid)
    written = texts(figure)
    assert {f"{value:.2f}".replace("-", "−") for value in table.flat} <= {*written}
    about = (
        "Test split, mean over 2 seeds a cell. Data: digits, stochastic binarization."
    )
    assert about == figure.caption


@pytest.fixture
def seeded(grid):
    """The same grid with a third seed, whose ELBO is 0.5 above that of the first."""

    def more(rows):
        own = [r | {"run": r["run"] + 8, "seed": 2} for r in rows if r["seed"] == 0]
        names = ("elbo", "test_elbo", "train_elbo")
        return rows + [
            r | {n: r[n] + 0.5 for n in names if r.get(n) is not None} for r in own
        ]

    return grid._replace(results=more(grid.results), curves=more(grid.curves))


def test_bands_and_crosses_are_t_intervals(seeded, grid):
    """As scipy has them; of two seeds there are none, but a thin line of each."""
    figure = curves.curves(seeded)["elbo_by_beta"]
    rows = [r for r in seeded.curves if (r["latent"], r["beta"]) == (1, 0.5)]
    last = [r["test_elbo"] for r in rows if r["epoch"] == max(x["epoch"] for x in rows)]
    assert len(last) == 3
    ends = stats.ttest_1samp(last, 0).confidence_interval()
    found = [
        (path.vertices[:, 1].min(), path.vertices[:, 1].max())
        for band in figure.axes[0].collections
        for path in [
            p
            for p in band.get_paths()
            if np.isclose(p.vertices[:, 1], ends.low, rtol=1e-12).any()
            and np.isclose(p.vertices[:, 1], ends.high, rtol=1e-12).any()
        ]
    ]
    assert len(found) == 1
    said = " ".join(texts(figure))
    assert "mean over 3 seeds; band: its 95 % t interval (test)" in said
    assert "95 % t interval, 3 seeds" in said
    two = curves.curves(grid)["elbo_by_beta"]
    assert "two seeds have thin lines and no band" in " ".join(texts(two))
    assert "95 %" not in " ".join(texts(two))
    plane = planes.rate_distortion(seeded)
    own = [r for r in seeded.results if (r["latent"], r["beta"]) == (1, 0.5)]
    for name, axis in (("rate", 0), ("distortion", 1)):
        ends = stats.ttest_1samp([r[name] for r in own], 0).confidence_interval()
        crosses = [
            segment[:, axis]
            for lines in plane.axes[0].collections
            if hasattr(lines, "get_segments")
            for segment in lines.get_segments()
        ]
        assert any(np.allclose(c, ends, rtol=1e-12) for c in crosses)
    assert "95 % t intervals of the means" in " ".join(" ".join(texts(plane)).split())
    half = stats.ttest_1samp([r["elbo"] for r in own], 0).confidence_interval()
    written = texts(planes.heat_map(seeded))
    mean, half = sum(half) / 2, (half.high - half.low) / 2
    assert f"{mean:.2f}\n±{half:.2f}".replace("-", "−") in written


def test_cells_without_a_run_are_empty(grid):
    rows = [r for r in grid.results if (r["latent"], r["beta"]) != (1, 4)]
    axes = {name: GRID[name] for name in ("latent", "beta")}
    table, _, counts = planes.cells(rows, axes, "elbo")
    assert np.isnan(table[0, 1]) and counts.tolist() == [[2, 0], [2, 2]]
    assert "–" in texts(planes.heat_map(grid._replace(results=rows)))


@pytest.fixture
def grown(grid):
    """The same grid, and at one beta a run of each latent size with another learning rate."""

    def more(rows):
        own = [r for r in rows if r["beta"] == 4 and r["seed"] == 0]
        shift = {n: -99.0 for n in ("elbo", "test_elbo", "train_elbo")}
        shift |= {"rate": 50.0, "distortion": 49.0, "lr": 1e-4}
        own = [r | {k: v for k, v in shift.items() if k in r} for r in own]
        return rows + [r | {"run": r["run"] + 8} for r in own]

    return contract.Tables(
        more(grid.results), more(grid.curves), ["latent", "beta", "lr"]
    )


def test_a_heat_map_has_a_panel_for_what_else_was_swept(grid, grown):
    """Its cells are those without it, and say of how many seeds they are."""
    alone, written = texts(planes.heat_map(grid)), texts(planes.heat_map(grown))
    cells = [text for text in alone if text.startswith("−")]
    assert cells and {*cells} <= {*written}
    assert (
        written.count("−99.00\nn=1") == 2 and "test ELBO (nats)\nlr 0.0001" in written
    )
    assert "or over n where" in " ".join(written)


def test_lines_of_the_plane_are_told_apart(grid, grown):
    figure = planes.rate_distortion(grown)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["latent 1", "latent 2", "lr 0.0001", "lr 0.003"]
    lines = [line.get_xydata() for line in figure.axes[0].get_lines()]
    alone = planes.rate_distortion(grid).axes[0].get_lines()
    for line in alone[:2]:
        assert any(np.array_equal(line.get_xydata(), own) for own in lines)


def test_a_panel_of_curves_is_one_point_of_the_others(grown):
    figure = curves.curves(grown)["elbo_by_latent"]
    titles = [panel.get_title() for panel in figure.axes]
    assert titles == [
        "beta 0.5, lr 0.003: 2 seeds",
        "beta 4, lr 0.0001: 1 seed",
        "beta 4, lr 0.003: 2 seeds",
    ]


def test_a_panel_of_runs_that_diverged_in_the_only_epoch_is_drawn(grid):
    """Its crosses are at the only number of samples seen: 1000, a decade of the log axis."""
    lost = {f"{part}_elbo": np.nan for part in ("train", "test")} | {"diverged": 1}
    first = {r["run"]: r | {"samples": 1000} for r in reversed(grid.curves)}.values()
    rows = [r | (lost if r["latent"] == 2 else {}) for r in first]
    figure = curves.curves(grid._replace(curves=rows))["elbo_by_beta"]
    figure.draw_without_rendering()
    assert {panel.get_xlim() for panel in figure.axes} == {(500, 2000)}


def test_what_is_too_much_for_a_page_is_said(grid):
    rows = [
        r | {"run": r["run"] + 8 * n, "lr": float(n)}
        for n in range(9)
        for r in grid.results
        if n != 4 or r["seed"] == 0
    ]
    many = contract.Tables(rows, [], ["latent", "beta", "lr"])
    for figure in (planes.heat_map(many), planes.rate_distortion(many)):
        written = " ".join(" ".join(texts(figure)).split())
        assert "6 of 9 points of lr: all are in results.csv" in written
        assert "lr 4.0" not in written and "lr 6.0" in written


def test_runs_that_do_not_compare_have_a_best_run_each():
    rows = [
        {"latent": 2, "binarization": "fixed", "validation_elbo": -9.0},
        {"latent": 2, "binarization": "none", "validation_elbo": 4.0},
        {
            "latent": 2,
            "binarization": "none",
            "validation_elbo": None,
            "validation_distortion": 1.0,
        },
    ]
    assert figures.best_of_each(rows, "latent", "binarization") == rows


def test_equal_elbo_is_written_inside_of_the_frame(grid):
    figure = planes.rate_distortion(grid)
    figure.draw_without_rendering()
    (panel,) = figure.axes
    frame = panel.get_window_extent()
    written = [text for text in panel.texts if text.get_bbox_patch()]
    assert written
    for text in written:
        box = text.get_window_extent()
        assert frame.x0 < box.x0 and box.x1 < frame.x1
        assert frame.y0 < box.y0 and box.y1 < frame.y1
        rate, distortion = text.get_position()
        said = float(text.get_text().replace("−", "-"))
        assert said == pytest.approx(-rate - distortion)


@pytest.mark.parametrize("last", [1_200, 2_400, 6_000, 50_000, 240_000, 10**9])
def test_a_log_axis_has_two_labels_or_more(last):
    figure = Figure()
    panel = figure.subplots()
    panel.plot([1_200, last], [0, 1], "o")
    panel.set_xscale("log")
    if last == 1_200:
        panel.set_xlim(600, 2_400)
    sheet.log_ticks(panel.xaxis)
    figure.draw_without_rendering()
    low, high = panel.get_xlim()
    ticks = zip(panel.get_xticks(), panel.get_xticklabels(), strict=True)
    shown = [text.get_text() for x, text in ticks if low <= x <= high]
    assert len(set(shown)) == len(shown) >= 2 and all(shown)


METHODS = {
    "autoencoder": {"distortion_by_latent", "reconstructions", "interpolations"},
    "two_level": {"elbo", "rate_distortion", "reconstructions", "samples"},
    "vq_vae": {"elbo", "rate_distortion", "reconstructions", "samples"},
    "iaf": {"elbo", "rate_distortion", "reconstructions", "samples", "interpolations"},
    "conditional": {"elbo", "rate_distortion"} | RUNS | PLANE,
    "vampprior": {"elbo", "rate_distortion", *RUNS} - {"traversals", "rates"},
}
GRIDS = {"autoencoder": {"latent": (2, 3)}, "conditional": {"latent": (2,)}}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_what_has_no_meaning_for_a_method_is_left_out(method, tmp_path, digits):
    small = {"epochs": 1, "batch": 600}
    grid = GRIDS.get(method, {}) | {"seed": (0,)}
    workdir = tmp_path / "run"
    study.run(f"configs/methods.py:{method}", workdir, overrides=small, grid=grid)
    plane = {"codes"} if method == "autoencoder" else set()
    assert drawn(workdir, dataset=digits) == METHODS[method] | plane


@pytest.mark.slow
def test_vectors_are_drawn_and_have_no_manifold(tmp_path):
    base = config.load("configs/digits.py")
    for name, value in {
        "model.likelihood": likelihoods.gaussian,
        "model.output_bias": models.zeros,
        "hparams": {"beta": 1.0, "lr": 3e-3, "sigma": 1.0},
        "binarization": data.none,
        "dataset": "gaussian",
    }.items():
        base = config.replace(base, name, value)
    grid = {"latent": (2, 3), "seed": (0,)}
    study.run(base, tmp_path / "run", overrides={"epochs": 1}, grid=grid)
    found = drawn(tmp_path / "run", base=base)
    assert found == {"elbo_by_latent", "rate_distortion", "codes"} | RUNS


def test_two_runs_side_by_side(folder, run, digits, tmp_path):
    other = trained.load(folder, latent=1, beta=4, seed=0)
    figure = figures.side_by_side(run, other, digits.test["image"])
    labels = [panel.get_ylabel() for panel in figure.axes]
    names = "latent 2\nbeta 0.5\nseed 1", "latent 1\nbeta 4\nseed 0"
    assert labels == ["test", *4 * names]  # reconstructions, draws, and two pairs
    path = figures.save(figure, tmp_path / "two.png")
    assert path == tmp_path / "two.png" and path.is_file()
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"two.png", "two.pdf", "two.txt"}


def test_draws_of_side_by_side_are_the_priors(run, digits):
    strips = two_runs._strips_of(two_runs._view_of(run, data.none(None, digits.test)))
    ours = run.sample(jax.random.key(0), 10)
    np.testing.assert_allclose(strips["samples"][0], ours, rtol=1e-4, atol=1e-6)


def ask(folder, *arguments):
    """The exit code of experiments.figures."""
    arguments = [f"--workdir={folder}", *arguments]
    return command.execute(figures_command.define, figures_command.main, arguments)


OUTSIDE = """
from aevae.figures import contract, sheet

@contract.of_runs(contract.VECTORS, contract.TWO_LATENTS)
def spread(views):
    figure, ((panel,),) = sheet.canvas(1, 1, 3, 3)
    panel.bar(*zip(*enumerate(views[0].code.std(0))))
    assert [len(view.code.T) for view in views] == [2]
    return figure

@contract.of_tables(contract.TWO_AXES, files=lambda columns: ["seconds", "hours"])
def pace(tables):
    figure, _ = sheet.canvas(1, 1, 3, 3)
    return {"seconds": figure, "hours": figure}

@contract.of_runs()
def heat_map(views):
    raise AssertionError("never drawn")

def plain(views):
    raise AssertionError("never drawn")
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """The name of a module that is not in the package."""
    (tmp_path / "figures_of_mine.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "figures_of_mine"
    sys.modules.pop("figures_of_mine", None)


def test_some_are_drawn_and_one_from_outside_in_one_file(copy, outside, capsys):
    """What else is in the folder stays, and the folder's figures are not all drawn by that."""
    (copy / "figures").mkdir(exist_ok=True)
    (copy / "figures" / ".drawn").unlink(missing_ok=True)
    (copy / "figures" / "distortion.png").write_bytes(b"of another grid")
    names = f"rates,{outside}:spread,{outside}:pace"
    assert ask(copy, f"--figures={names}") is None
    paths = [Path(line) for line in capsys.readouterr().out.split()]
    assert [path.stem for path in paths] == ["rates", "spread", "seconds", "hours"]
    for path in paths:
        assert path.read_bytes()[:4] == b"\x89PNG"
    assert not figures.current(copy)
    assert (copy / "figures" / "distortion.png").is_file()


@pytest.mark.parametrize(
    "name, says",
    [
        ("rate", "no figure is named 'rate': there are curves, rate_distortion, "),
        ("figures_of_mine:nothing", "cannot import the figure figures_of_mine:nothing"),
        ("figures_of_nobody:x", "No module named 'figures_of_nobody'"),
        ("figures_of_mine:plain", "figures_of_mine:plain is not a figure: decorate it"),
        ("figures_of_mine:heat_map", "has the name of a figure of aevae: rename it"),
    ],
)
def test_what_is_no_figure_is_one_line(name, says, copy, outside, capsys):
    assert ask(copy, f"--figures={name}") == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_what_is_asked_for_and_has_no_meaning_is_one_line(copy, monkeypatch, capsys):
    """And nothing is drawn."""

    def missing(config, data_dir, dataset):
        raise InputError("not here")

    monkeypatch.setattr(data, "of", missing)
    shutil.rmtree(copy / "figures", ignore_errors=True)
    assert ask(copy, "--figures=samples,codes") == 2
    error = capsys.readouterr().err
    says = (
        "the runs' test data are not at hand: data_dir (--data_dir) says where sets are "
        "prepared, and dataset (--dataset) where a file or folder that moved is"
    )
    assert error == f"error: {copy}: cannot draw codes: {says}\n"
    assert not (copy / "figures").exists()


@pytest.fixture(scope="module")
def laplace(tmp_path_factory):
    """A trained run folder, and its base."""
    base = config.load("configs/digits.py")
    fields = {f: getattr(base.model, f) for f in base.model.__dataclass_fields__}
    fields = {f: v for f, v in fields.items() if f not in ("parent", "name")}
    base = config.replace(base, "model", LaplaceVAE(**fields))
    workdir = tmp_path_factory.mktemp("laplace") / "run"
    study.run(base, workdir, overrides=SMALL, grid={"latent": (2,), "seed": (0,)})
    return workdir, base


def test_a_posterior_and_prior_from_outside_have_every_figure(laplace, digits):
    """Traversals go by its standard deviation, the manifold by its quantiles."""
    workdir, base = laplace
    named = {"elbo", "rate_distortion"} | RUNS | PLANE
    assert drawn(workdir, base=base, dataset=digits) == named
    run = trained.load(workdir, base)
    shown = views.View(run, views.held(run, digits, None, {}))
    assert shown.rates.sum() == pytest.approx(run.row["rate"], rel=1e-3)
    found, _ = views.moves(np.zeros(2, np.float32), shown.order, shown.prior)
    assert found.max() == pytest.approx(
        3 * math.sqrt(2) * float(shown.prior.scale[0, 0])
    )
    z = views.quantiles(shown.prior, 3)
    far = float(shown.prior.scale[0, 0]) * math.log(3)  # ½ exp(-far) = 1/6
    np.testing.assert_allclose(
        z[[0, 4, 8]], [[-far, far], [0, 0], [far, -far]], rtol=1e-5, atol=1e-6
    )


class Bare(NamedTuple):
    """A prior that can be drawn from, and no more."""

    mean: jax.Array

    def sample(self, key, count):
        return self.mean + jax.random.laplace(key, (count, self.mean.shape[1]))


def test_what_a_prior_lacks_is_said(run):
    """Each figure that needs a method names it."""
    shown = views.View(run)
    given = shown.prior
    lacks = {
        codes.traversals: "the prior has no mean and std",
        codes.manifold: "the prior has no method quantile",
    }
    for figure, says in lacks.items():
        assert contract.missing(figure.contract.needs, shown) is None
        shown.prior = Bare(given.mean)
        assert contract.missing(figure.contract.needs, shown) == says
        shown.prior = given


def test_any_text_of_a_table_can_be_drawn():
    """Mathematics, letters that the font lacks, and long paths; under warnings as errors."""
    paths = ["/" + "a" * 99 + f"/$\\frac$ 数 ü\udcfc {n}.npz" for n in range(2)]
    rows = sheet.labeled([{"dataset": path, "beta": 1, "iwae": None} for path in paths])
    assert rows[0]["dataset"] == "…/\\$\\frac\\$ \\u6570 ü\ufffd 0.npz"
    assert rows[1]["beta"] == 1 and rows[1]["iwae"] is None
    figure, ((panel,),) = sheet.canvas(1, 1, 3, 3)
    panel.set_title(rows[0]["dataset"])
    figure.draw_without_rendering()
    assert panel.title.get_text().startswith("…/") and rows[0] != rows[1]
