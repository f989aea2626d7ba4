"""A report shows what the tables and the runs say, whoever is writing them, and fails in one line."""

import io
import json
import re
import shlex
import shutil
import threading

import numpy as np
import pytest
from PIL import Image
from reports import MARKUP, contents, marked, rewrite
from scipy import stats

from aevae import InputError, WriteError, config, figures
from aevae.figures import report, views
from aevae.figures.report import about, file, folders, lines, page, pictures
from aevae.runs import record, study, tables, trained
from aevae.system import locks
from experiments import command, sweep
from experiments import report as report_command

pytestmark = pytest.mark.retraced

GRID = {"beta": (0.5, 4.0), "lr": (1e-3, 3e-3), "seed": (0, 1, 2)}
SMALL = {
    "epochs": 4,
    "batch": 400,
    "latent": 2,
    "encoder.widths": "(8,)",
    "decoder.widths": "(8,)",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "small"
    study.run("configs/digits.py", path, overrides=SMALL, grid=GRID)
    return path


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture
def without_pictures(monkeypatch):
    monkeypatch.setattr(pictures, "of", lambda *args: ({}, []))


def test_the_page_has_every_run_and_asks_no_network(folder, tmp_path):
    path = report.write([folder], tmp_path / "new" / "page.html")
    found, rows = contents(path), tables.results(folder)
    assert len(found["labels"]) == len(rows) == 12
    assert found["labels"][0] == "run 0: beta 0.5, lr 0.001, seed 0"
    assert {*found["fields"]} >= {
        "run",
        "latent",
        "beta",
        "lr",
        "seed",
        "status",
        "elbo",
    }
    assert [axis["name"] for axis in found["axes"]] == ["beta", "lr"]
    assert all(
        p["src"].startswith("data:image/png;base64,")
        for p in found["pictures"].values()
    )
    assert len(found["pictures"]) == 12 and path.stat().st_size < 3e6
    text = path.read_text("utf-8")
    assert not re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=[\"']?http", text)
    assert [*path.parent.iterdir()] == [path]


def test_curves_are_means_and_t_intervals_over_seeds(folder, without_pictures):
    (its,) = folders.read([folder])
    (line, *others) = lines.of([its], folders.METRICS)
    assert len(others) == 3 and line.runs == [0, 1, 2]
    rows = [r for r in tables.read(folder / "curves.csv") if r["run"] in (0, 1, 2)]
    for at, samples in enumerate(line.samples):
        own = [r["test_elbo"] for r in rows if r["samples"] == samples]
        ends = stats.ttest_1samp(own, 0).confidence_interval()
        found = [end[at] for end in line.band["test_elbo"]]
        np.testing.assert_allclose(found, ends, rtol=1e-9)
        assert line.mean["test_elbo"][at] == pytest.approx(np.mean(own))
    assert lines._spread(200, 40)[[0, -1]].tolist() == [0, 199]
    assert len(lines._spread(200, 40)) <= 41


def test_pictures_are_what_each_run_alone_decodes(folder):
    """Those of `views`, in gray levels: reconstructions, samples, and traversals by falling rate."""
    found, notes = pictures.of(folder, tables.results(folder))
    assert not notes and {*found} == set(range(12))
    for number in (0, 10):
        run, own = (
            trained.open_run(folder, tables.results(folder)[number]),
            found[number],
        )
        view = views.View(run)
        rates = [(f"z{i + 1}", view.rates[i]) for i in view.order]
        assert [name for name, _ in own.rates] == [name for name, _ in rates]
        np.testing.assert_allclose(
            [v for _, v in own.rates], [v for _, v in rates], rtol=1e-3
        )
        image = np.asarray(Image.open(io.BytesIO(own.png)))
        assert image.shape[::-1] == own.size
        parts = {
            title: image[top : top + height] for title, top, height, _ in own.parts
        }
        expected = {
            "test examples": run.examples["image"],
            "reconstructions": view.images["reconstructions"],
            "samples": view.images["samples"],
            "traversals": view.images["traversals"],
        }
        for title, images in expected.items():
            strips = parts[title].reshape(-1, 9, image.shape[1])[:, :8]
            count = 11 if title == "traversals" else 10
            tiles = strips[..., : 9 * count].reshape(len(strips), 8, count, 9)[..., :8]
            ours = tiles.transpose(0, 2, 1, 3).reshape(-1, 8, 8)
            levels = 255 * np.asarray(images, float)[..., 0]
            np.testing.assert_allclose(ours, levels, atol=1.01)


def test_images_of_any_kind_make_strips():
    color = np.zeros((3, 70, 64, 3), np.uint8)
    assert pictures._strip(color).shape == (25, 3 * 23, 3)  # blocks of 3 x 3
    assert pictures._strip(np.zeros((4, 900), np.uint8)).shape == (
        5,
        pictures.WIDE + 1,
        1,
    )
    assert pictures._strip(np.zeros((2, 8, 8, 5), np.uint8)).shape == (9, 18, 1)
    half = np.tile(np.array([0, 200], np.uint8), (1, 64, 32))[..., None]
    assert (pictures._strip(half)[:32, :32] == 100).all()


def test_vectors_and_autoencoders_have_pictures(tmp_path):
    table = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    overrides = SMALL | {"batch": 20, "objective": "autoencoder", "hparams.beta": ""}
    overrides |= {"model.likelihood": "gaussian", "hparams.sigma": 1.0}
    overrides |= {"binarization": "none", "output_bias": "zeros", "standardize": "each"}
    path = tmp_path / "vectors"
    grid = {"seed": (0,)}
    study.run("configs/digits.py", path, overrides=overrides, grid=grid, dataset=table)
    rows = tables.results(path)
    found, notes = pictures.of(path, rows)
    assert not notes and [title for title, *_ in found[0].parts][:2] == [
        "test examples",
        "reconstructions",
    ]
    assert found[0].rates == [] and found[0].size[0] == 6


def test_folders_stand_side_by_side_with_unequal_columns(
    folder, tmp_path, without_pictures
):
    other = tmp_path / "other" / "small"
    shutil.copytree(folder, other)
    made = json.loads((other / "config.json").read_text("utf-8"))
    made["columns"] = [n for n in made["columns"] if n != "beta"] + ["gamma"]
    (other / "config.json").write_text(json.dumps(made))
    for name in ("results.csv", "curves.csv"):
        rewrite(
            other / name,
            lambda row: {"gamma" if k == "beta" else k: v for k, v in row.items()},
        )
    path = report.write([folder, other])
    assert path == folder.parent / "report_small_small.html"
    found = contents(path)
    path.unlink()
    axes = {axis["name"]: axis for axis in found["axes"]}
    assert [*axes] == ["folder", "beta", "lr", "gamma"]
    names = axes["folder"]["texts"]
    assert len(names) == 2 and all(name.endswith("/small") for name in names)
    assert "none" in axes["beta"]["texts"] and "none" in axes["gamma"]["texts"]
    assert len(found["lines"]) == 8  # runs of two folders are never averaged
    with pytest.raises(InputError, match="named twice"):
        report.write([folder, folder])


def test_markup_is_text_wherever_it_stands(folder, tmp_path, without_pictures):
    path = report.write([marked(folder, tmp_path)], tmp_path / "page.html")
    text = path.read_text("utf-8")
    assert "<b id=x>" not in text and MARKUP not in text
    found = contents(path)
    assert f"{MARKUP}beta" in found["fields"] and MARKUP in found["labels"][0]
    assert "config text" in text and f"{page.escape(MARKUP)}set" in text
    assert "{style}" not in text and "{data}" not in text
    # What a user wrote may hold the name of a part of the page.
    assert page.html.__doc__ and "{controls}" not in text


def test_runs_that_are_being_trained_are_shown(copy, without_pictures):
    """Of curves.csv alone, whose last row may be half written; a lock is not asked for."""
    rewrite(copy / "results.csv", lambda row: row if row["beta"] == "0.5" else None)
    with (copy / "curves.csv").open("a") as file:
        file.write("11,2,4.0,0.003,2,5")
    held = locks.lock(copy)
    try:
        path = report.write([copy])
    finally:
        held.close()
    (its,) = folders.read([copy])
    status = [row["status"] for row in its.rows]
    assert status.count("training") == 6 and len(status) == 12
    last = [r for r in tables.read(copy / "curves.csv") if r["run"] == 11][-1]
    assert its.rows[-1]["elbo"] == last["test_elbo"] and its.rows[-1]["epoch"] == 4
    assert "6 of 12 runs have finished; 6 have begun, 0 have not" in path.read_text(
        "utf-8"
    )
    assert contents(path)["without"]["11"].startswith("Its pictures come")


def test_runs_that_diverged_are_lost_or_collapsed_say_so(copy, without_pictures):
    def change(row):
        new = {
            "0": {"elbo": "nan", "rate": "inf", "diverged": "2"},
            "1": {"elbo": "-5e17"},
        }
        new["2"] = {"rate": "0.01", "active_units": "0"}
        return row | {"active_units": "1"} | new.get(row["run"], {})

    rewrite(copy / "results.csv", change)
    path = report.write([copy])
    (its,) = folders.read([copy])
    assert [r["status"] for r in its.rows[:4]] == [
        "diverged",
        "lost",
        "collapsed",
        "finished",
    ]
    found = contents(path)
    assert found["sound"][:4] == [False, False, True, True]
    assert "1 diverged, 1 lost, 1 collapsed" in found["lines"][0]["label"]
    text = path.read_text("utf-8")
    assert "diverged in epoch 2" in text and "has collapsed" in text


def test_a_folder_without_any_epoch_is_a_page_that_says_so(copy, without_pictures):
    for name in ("results.csv", "curves.csv"):
        head = (copy / name).read_text().splitlines()[0]
        (copy / name).write_text(f"{head}\n")
    text = report.write([copy]).read_text("utf-8")
    assert "12 runs declared: none has begun" in text and "0 of 12 runs" in text
    for name in ("results.csv", "curves.csv", "environment.json", "config.py"):
        (copy / name).unlink()
    text = report.write([copy]).read_text("utf-8")
    for name in ("results.csv", "curves.csv"):
        assert f"{name} is not there: the sweep&#x27;s command writes it again" in text
    assert (
        "environment.json cannot be read" in text and "config.py is not there" in text
    )


def test_what_is_damaged_or_no_folder_is_one_line(copy, tmp_path):
    def told(*args, **options):
        with pytest.raises(InputError) as error:
            report.write(*args, **options)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "is not a run folder" in told([tmp_path])
    assert "is not a run folder" in told([tmp_path / "none"])
    assert "name the run folder" in told([])
    assert "is a folder" in told([copy], tmp_path)
    assert "page.js must end in .html" in told([copy], tmp_path / "page.js")
    assert "runs are numbered from 0 to 11" in told([copy], runs=[12])
    assert "at most 100" in told([copy], runs=range(101))
    kept = (copy / "curves.csv").read_text()
    (copy / "curves.csv").write_text(f"{kept}7,8\n")
    assert "curves.csv is damaged: a row has 2 cells" in told([copy])
    (copy / "curves.csv").write_text(kept.replace("400,", "many,"))
    assert "a cell is not a number" in told([copy])
    (copy / "curves.csv").write_text("a,b\n1,2\n")
    assert "curves.csv is damaged: it lacks" in told([copy])
    (copy / "results.csv").write_bytes(b"\xff\x00\n\x80,1\n")
    assert "results.csv is damaged" in told([copy])
    made = json.loads((copy / "config.json").read_text()) | {"format": 2}
    (copy / "config.json").write_text(json.dumps(made))
    assert "reads format 3" in told([copy])
    (copy / "config.json").write_text("{")
    assert "config.json is damaged" in told([copy])


def test_damaged_parameters_cost_a_run_its_pictures_alone(copy):
    record.params_path(copy, 3).write_bytes(b"PK")
    record.params_path(copy, 4).unlink()
    found = contents(report.write([copy]))
    assert len(found["pictures"]) == 10
    text = (copy / "report.html").read_text("utf-8")
    assert "Without pictures of run 3" in text and "0003.npz is damaged" in text
    assert "Without pictures of run 4" in text


def test_a_model_that_cannot_be_looked_at_costs_its_pictures_alone(
    folder, tmp_path, monkeypatch
):
    def fails(runs):
        raise TypeError("no such\ncode")

    monkeypatch.setattr(pictures, "_decoded", fails)
    text = report.write([folder], tmp_path / "x.html").read_text("utf-8")
    assert "Without pictures of runs 0 to 11: TypeError: no such code" in text


def test_pictures_beyond_the_most_are_linked(copy, monkeypatch):
    monkeypatch.setattr(file, "INSIDE", 4)
    found = contents(report.write([copy]))
    inside = {n for n, p in found["pictures"].items() if p["src"].startswith("data:")}
    rows = tables.results(copy)
    best = {max((r for r in rows if (r["lr"], r["beta"]) == point), key=lambda r: r["validation_elbo"])["run"]
            for point in {(r["lr"], r["beta"]) for r in rows}}  # fmt: skip
    assert {int(n) for n in inside} == best  # rows are in the order of their numbers
    for number, picture in found["pictures"].items():
        if number not in inside:
            assert (copy / picture["src"]).read_bytes()[:4] == b"\x89PNG"
    text = (copy / "report.html").read_text("utf-8")
    assert (
        "The pictures of 8 runs are not in this file, but linked: keep report_pictures beside it"
        in text
    )
    found = contents(report.write([copy], runs=[7, 2]))
    assert {
        n for n, p in found["pictures"].items() if p["src"].startswith("data:")
    } == {"2", "7"}


def test_a_folder_that_cannot_be_written_takes_out(
    folder, tmp_path, without_pictures, monkeypatch
):
    def refuses(*args, **options):
        raise PermissionError(13, "Permission denied")

    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    path = tmp_path / "there" / "page.html"
    given = [f"--workdir={folder}", f"--out={path}"]
    assert not command.execute(report_command.define, report_command.main, given)
    assert (
        contents(path)
        and {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    )
    monkeypatch.setattr("os.replace", refuses)
    old = path.read_bytes()
    with pytest.raises(
        WriteError, match=r"cannot write to .*page.html: Permission denied"
    ):
        report.write([folder], path)
    assert path.read_bytes() == old and [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ((), "name the run folder with --workdir"),
        (("--workdir=",), "--workdir is empty"),
        (("--workdir={folder}", "--runs=0,x"), "--runs must be numbers of runs, as 0,3,7, not '0,x'"),
        (("--workdir={folder}", "--every=3"), "--every is of --watch"),
        (("--workdir={folder}", "--out="), "--out is empty"),
        (("--workdir={folder}", "--watch", "--every=0"), "0.0 is not number >= 0.1"),
    ],
)  # fmt: skip
def test_a_wrong_flag_is_one_line(folder, flags, line, capsys):
    given = [flag.format(folder=folder) for flag in flags]
    assert command.execute(report_command.define, report_command.main, given) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said


def test_a_sweep_ends_with_its_report(copy, without_pictures, monkeypatch, capsys):
    """Where it is not there, or older than the tables; and not with --noreport."""
    monkeypatch.setattr(figures, "draw", lambda *args, **options: [])
    given = [f"--config.{name}={value}" for name, value in SMALL.items()]
    for name, values in GRID.items():
        given.append(f"--sweep={name}={','.join(map(str, values))}")
    given.append(f"--workdir={copy}")
    for flags, is_there in ((["--noreport"], False), ([], True)):
        assert command.execute(sweep.define, sweep.main, [*given, *flags]) == 0
        assert (copy / "report.html").is_file() == is_there
        assert ("report.html" in capsys.readouterr().out) == is_there
    assert report.current(copy) and len(contents(copy / "report.html")["labels"]) == 12
    (copy / "results.csv").touch()
    assert not report.current(copy)


def test_a_watched_folder_is_written_anew_until_all_runs_have_finished(
    copy, without_pictures
):
    """The script beside the page is written after it, and tells which page is the newest."""
    results, curves = (
        (copy / name).read_text() for name in ("results.csv", "curves.csv")
    )
    head, *rows = results.splitlines()
    (copy / "results.csv").write_text("\n".join([head, *rows[:6]]) + "\n")
    told, made = [], []
    thread = threading.Thread(
        target=lambda: made.append(report.watch([copy], every=0.05, told=told.append))
    )
    thread.start()
    while not told and thread.is_alive():
        thread.join(0.02)
    first = contents(copy / "report.html")
    assert first["beside"] == "report.js" and first["every"] == 0.05
    assert first["stamp"] in (copy / "report.js").read_text()
    (copy / "results.csv").write_text(results)
    thread.join(30)
    assert made == [copy / "report.html"]
    last = contents(copy / "report.html")
    assert "beside" not in last and last["stamp"] in (copy / "report.js").read_text()
    assert (
        last["stamp"] != first["stamp"] and (copy / "curves.csv").read_text() == curves
    )


def test_a_watch_makes_only_new_pictures(copy, monkeypatch):
    asked = []
    monkeypatch.setattr(
        pictures,
        "of",
        lambda w, rows, base: asked.append([r["run"] for r in rows]) or ({}, []),
    )
    results = (copy / "results.csv").read_text()
    rewrite(copy / "results.csv", lambda row: row if row["beta"] == "0.5" else None)
    made = file.Report([copy])
    made.write(live=True)
    assert not made.finished and not made.done()
    (copy / "results.csv").write_text(results)
    assert made.done()
    made.write(live=True)
    made.write(live=True)
    assert asked == [[*range(6)], [*range(6, 12)]] and made.finished


def test_the_command_again_asks_for_the_same_runs(tmp_path):
    path = tmp_path / "my runs"
    grid = {"encoder.widths": ((4,), (4, 5)), "beta,lr": ((0.5, 1e-3), (1.0, 3e-3))}
    overrides = {"epochs": 1, "batch": 400, "decoder.widths": "(8,)"}
    study.declare("configs/digits.py", path, overrides=overrides, grid=grid)
    (its,) = folders.read([path])
    python, *words = shlex.split(about.commands(its))
    assert python == "python" and words[:2] == ["-m", "experiments.sweep"]
    flags = [word.removeprefix("--").partition("=")[::2] for word in words[2:]]
    given = dict(flags)
    overrides = {
        n.removeprefix("config."): v for n, v in flags if n.startswith("config.")
    }
    axes = dict(config.axis(value) for name, value in flags if name == "sweep")
    again = config.settle(config.load(given["config"]), overrides, axes)
    assert [config.identity(r) for r in again] == [
        config.identity(r) for r in record.declared(path)
    ]
