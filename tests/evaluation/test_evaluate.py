"""Evaluating a folder: what is added to its results, what is refused, and resuming."""

import csv
import importlib
import linecache
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from outside import NETWORKS, LaplaceVAE, run_of

from aevae import InputError, Interrupted, OutOfMemory, data, objectives
from aevae.evaluation import (
    aggregate,
    contract,
    evaluate,
    measured,
    plan,
    representation,
    scores,
    worker,
)
from aevae.evaluation import work as work_module
from aevae.models.distributions import kl_each
from aevae.runs import engine, place, status, study, tables, trained
from aevae.system import locks
from aevae.training import layout
from experiments import command, published
from experiments import evaluate as evaluate_command

SMALL = {
    "epochs": 3,
    "batch": 400,
    "encoder.widths": (16,),
    "decoder.widths": (16,),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two latent sizes, two seeds."""
    path = tmp_path_factory.mktemp("runs") / "digits"
    study.run(
        "configs/digits.py",
        path,
        overrides=SMALL,
        grid={"latent": (2, 3), "seed": (0, 1)},
    )
    return path


def test_it_adds_columns_and_changes_no_other(folder):
    before = (folder / "results.csv").read_text()
    asked = ["likelihood", "latents", "reconstruction", "representation"]
    found = evaluate.run(folder, asked, k=30, minibatch=100)
    rows = tables.results(folder)
    own = next(csv.reader(before.splitlines()))
    kept = [[str(v) for v in _picked(r, own)] for r in _texts(folder)]
    assert kept == list(csv.reader(before.splitlines()))[1:]
    for row in rows:
        assert all(np.isfinite(row[name]) for name in found)
        assert row["iwae_30"] >= row["elbo"] - 0.05
        rate = (
            row["mutual_information"] + row["total_correlation"] + row["dimension_kl"]
        )
        np.testing.assert_allclose(rate, row["rate"], rtol=0.1, atol=0.05)
        assert row["mutual_information"] <= np.log(300)
        both = [row[f"total_correlation_{w}_100"] for w in ("stratified", "weighted")]
        assert both[1] != both[0]
    # The whole set in a batch would be exact under neither; nearer under the stratified one.
    sizes = {row["latent"]: row["pca_squared_error"] for row in rows}
    assert sizes[3] < sizes[2]
    latents = tables.read(folder / "latents.csv")
    assert len(latents) == 2 * (2 + 3)
    first = [r for r in latents if r["run"] == 0]
    np.testing.assert_allclose(
        sum(r["rate"] for r in first), rows[0]["rate"], rtol=1e-4
    )
    active = sum(r["mean_variance"] > 0.01 for r in first)
    assert active == rows[0]["active_units"]


@pytest.mark.retraced
def test_the_aggregate_posterior_is_of_all_codes_whatever_the_blocks(
    folder, tmp_path, monkeypatch
):
    """A set of which a block holds a few codes alone has the numbers of one that fits at once."""
    path = tmp_path / "blocks"
    shutil.copytree(folder, path)
    names = ("mutual_information", "total_correlation", "dimension_kl")
    found = []
    for floats in (aggregate.FLOATS, 3_000):
        monkeypatch.setattr(aggregate, "FLOATS", floats)
        shutil.rmtree(path / "evaluated", ignore_errors=True)
        evaluate.run(path, ["latents"])
        found.append([[row[n] for n in names] for row in tables.results(path)])
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-4)


@pytest.mark.retraced
def test_a_schedule_is_followed(tmp_path):
    """What is evaluated is at the hyperparameters of the last step: here no weight matters to it."""
    path = tmp_path / "ramp"
    overrides = {"encoder.widths": (16,), "decoder.widths": (16,), "epochs": 2}
    grid = {"warmup": (100.0,)}
    study.run("configs/methods.py:warm_up", path, overrides=overrides, grid=grid)
    found = evaluate.run(path, ["likelihood", "latents"], k=5)
    (row,) = tables.results(path)
    assert all(np.isfinite(row[name]) for name in found)
    with pytest.raises(InputError, match="no two runs differ in their seed alone"):
        evaluate.run(path, ["udr"])


@pytest.mark.retraced
def test_training_images_are_scored_as_test_images_are(tmp_path):
    """Where the two are the same images, the same bound to sampling noise; and the first of them."""
    path = tmp_path / "same"
    study.run(
        "configs/digits.py",
        path,
        overrides=SMALL
        | {"train": "train[:200]", "test": "train[:120]", "batch": 100}
        | {"binarization": "threshold"},
        grid={"latent": (2,)},
    )
    found = evaluate.run(path, ["likelihood", "train_likelihood"], k=200)
    assert found[2:] == ["train_iwae_200", "train_iwae_200_error"]
    (row,) = tables.results(path)
    assert abs(row["train_iwae_200"] - row["iwae_200"]) < 0.05
    assert row["train_iwae_200"] != row["iwae_200"]
    np.testing.assert_allclose(
        row["train_iwae_200_error"], row["iwae_200_error"], rtol=0.02
    )


def _texts(folder):
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _picked(row, names):
    return [row[name] for name in names]


def test_what_is_known_is_not_measured_again(folder, monkeypatch):
    first = evaluate.run(folder, ["likelihood"], k=7)
    table = (folder / "results.csv").read_bytes()

    def forbidden(*_):
        raise AssertionError

    monkeypatch.setattr(measured, "measure", forbidden)
    assert (
        evaluate.run(folder, ["likelihood"], k=7) == first == ["iwae_7", "iwae_7_error"]
    )
    assert (folder / "results.csv").read_bytes() == table


@pytest.mark.bits
def test_interrupted_work_resumes_to_the_same_numbers(folder, monkeypatch):
    straight = evaluate.run(folder, ["likelihood"], k=200)
    rows = tables.results(folder)
    for path in (folder / "evaluated").glob("*.json"):
        path.unlink()
    monkeypatch.setattr(work_module, "SAVED", 0.0)
    save, left = work_module.Work._save, []

    def dying(self, *args):
        save(self, *args)
        left.append(0)
        if len(left) == 2:
            self._signals.caught = signal.SIGTERM

    monkeypatch.setattr(work_module.Work, "_save", dying)
    monkeypatch.setattr(layout, "SPAN", 1e-4)
    with pytest.raises(Interrupted, match="is saved; the same command resumes"):
        evaluate.run(folder, ["likelihood"], k=200)
    assert (folder / "evaluated" / "unfinished-0000.npz").exists()
    monkeypatch.undo()
    assert evaluate.run(folder, ["likelihood"], k=200) == straight
    again = tables.results(folder)
    assert [r["iwae_200"] for r in again] == [r["iwae_200"] for r in rows]
    assert not (folder / "evaluated" / "unfinished-0000.npz").exists()


@pytest.mark.retraced
def test_fewer_runs_at_a_time_agree(folder, monkeypatch):
    """As --chunk says, or as a device's memory does, made up here: 1 byte."""

    def found(**ask):
        evaluate.run(folder, ["likelihood"], k=7, fresh=True, **ask)
        return [row["iwae_7"] for row in tables.results(folder)]

    chunks, compiled = [], layout.map_over_runs

    def noting(mesh, chunk, f, **options):
        chunks.append(chunk)
        return compiled(mesh, chunk, f, **options)

    monkeypatch.setattr(layout, "map_over_runs", noting)
    monkeypatch.setattr(work_module, "chunk_of", lambda members, _: members)
    monkeypatch.setattr("jax.device_count", lambda: 1)
    together, alone = found(), found(chunk=1)
    assert chunks == [2, 2, 1, 1]
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    monkeypatch.setattr("aevae.system.machine.memory", lambda: 1)
    assert found() == alone and chunks[4:] == [2, 1, 2, 1]
    with pytest.raises(InputError, match="chunk must be a whole number of at least 1"):
        evaluate.run(folder, chunk=0)


def test_out_of_memory_says_what_to_set(folder, monkeypatch):
    def full(*_):
        raise MemoryError("Unable to allocate 8 GiB")

    before = (folder / "results.csv").read_bytes()
    monkeypatch.setattr(work_module.Work, "through", full)
    with pytest.raises(OutOfMemory, match=r"8 GiB\): what was found .*\(--chunk\)"):
        evaluate.run(folder, ["likelihood"], k=8)
    assert (folder / "results.csv").read_bytes() == before


@pytest.mark.slow
def test_more_epochs_make_what_was_found_stale(folder, tmp_path):
    path = tmp_path / "more"
    ask = {"grid": {"latent": (2,)}}
    study.run("configs/digits.py", path, overrides=SMALL, **ask)
    evaluate.run(path, ["reconstruction"])
    assert "pca_squared_error" in tables.results(path)[0]
    study.run("configs/digits.py", path, overrides=SMALL | {"epochs": 4}, **ask)
    assert "pca_squared_error" not in tables.results(path)[0]
    # And a sweep that adds runs keeps it.
    evaluate.run(path, ["reconstruction"])
    more = {"grid": {"latent": (2, 3)}}
    study.run("configs/digits.py", path, overrides=SMALL | {"epochs": 4}, **more)
    old, new = tables.results(path)
    assert old["pca_squared_error"] > 0 and new["pca_squared_error"] is None


@pytest.mark.retraced
def test_diverged_runs_are_left_out_and_said_to_be(tmp_path, capfd):
    ask = {"overrides": SMALL, "grid": {"lr": (1e-3, 1e30)}}
    study.run("configs/digits.py", tmp_path / "runs", **ask)
    evaluate.run(tmp_path / "runs", ["likelihood"], k=3)
    assert "run 1 diverged, and is left out" in capfd.readouterr().err
    sound, diverged = tables.results(tmp_path / "runs")
    assert sound["iwae_3"] < 0 and diverged["iwae_3"] is None


@pytest.mark.parametrize(
    "ask, says",
    [
        ({"k": 0}, "k must be a whole number of at least 1, not 0"),
        ({"minibatch": 1}, "minibatch must be 0, or a whole number from 2 to the 300"),
        ({"minibatch": 301}, "from 2 to the 300 test examples, not 301"),
        ({"ais_steps": 2.5}, "ais_steps must be of type int, not 2.5"),
        ({"gap_steps": 0}, "gap_steps must be a whole number of at least 1, not 0"),
        (
            {"chains": 3},
            "no measure has the option 'chains'; there are ais_chains, ais",
        ),
        (
            {"measures": ["nll"]},
            "no measure is named 'nll': there are likelihood, latents",
        ),
        (
            {"measures": ["nowhere:f"]},
            "cannot import the measure nowhere:f: No module named",
        ),
        ({"measures": ["math:sqrt"]}, "math:sqrt is not a measure: decorate it with"),
        ({"measures": ["disentanglement"]}, "digits has no factors"),
        ({"metrics": 3}, "metrics must be of type list, not 3"),
        ({"metrics": ["x"]}, "no score is named 'x': there are mig, sap, modularity"),
    ],
)
def test_bad_input_is_one_line(ask, says, folder):
    before = (folder / "results.csv").read_bytes()
    with pytest.raises(InputError, match=says):
        evaluate.run(folder, **{"measures": ["latents"]} | ask)
    assert (folder / "results.csv").read_bytes() == before


def test_a_folder_without_finished_runs_is_refused(tmp_path, folder):
    with pytest.raises(InputError, match="is not a run folder"):
        evaluate.run(tmp_path)
    record = (folder / "config.json").read_text()
    (tmp_path / "config.json").write_text(record)
    (tmp_path / "results.csv").write_text("run,elbo\n")
    with pytest.raises(InputError, match="has no finished run yet"):
        evaluate.run(tmp_path)


@pytest.mark.retraced
def test_an_autoencoder_has_no_bound(tmp_path):
    study.run(
        "configs/methods.py:autoencoder",
        tmp_path / "ae",
        overrides={"epochs": 2},
        grid={"latent": (2,)},
    )
    found = evaluate.run(tmp_path / "ae", k=3)
    assert "probe_accuracy" in found and "iwae_3" not in found
    with pytest.raises(
        InputError, match="likelihood cannot be measured: the objective"
    ):
        evaluate.run(tmp_path / "ae", ["likelihood"], k=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["iaf", "two_level", "conditional", "vq_vae"])
def test_other_codes_are_measured_where_it_has_a_meaning(name, tmp_path):
    path = f"configs/methods.py:{name}"
    study.run(path, tmp_path / name, overrides={"epochs": 2})
    found = evaluate.run(tmp_path / name, k=5)
    rows = tables.results(tmp_path / name)
    assert all(np.isfinite(row[n]) for row in rows for n in found if row[n] is not None)
    assert ("mutual_information" in found) == (name == "conditional")
    if name == "vq_vae":
        with pytest.raises(InputError, match="the code is discrete"):
            evaluate.run(tmp_path / name, ["ais"])
    else:
        ask = {"ais_chains": 2, "ais_steps": 20, "ais_examples": 5}
        assert "bdmc_gap" in evaluate.run(tmp_path / name, ["ais"], **ask)
    if name == "conditional":
        ask = {"k": 20, "gap_steps": 5, "gap_examples": 5}
        found = evaluate.run(tmp_path / name, ["inference_gap", "collapse"], **ask)
        assert {"amortization_gap", "used_latents"} <= {*found}


@pytest.mark.slow
def test_levels_have_bits(tmp_path):
    name = "configs/methods.py:discretized_logistic"
    ask = {"overrides": {"epochs": 2}, "grid": {"seed": (0,)}}
    study.run(name, tmp_path / "runs", **ask)
    evaluate.run(tmp_path / "runs", ["likelihood"], k=5)
    (row,) = tables.results(tmp_path / "runs")
    bits = -row["iwae_5"] / 64 / np.log(2)
    np.testing.assert_allclose(row["bits_per_dimension"], bits, rtol=1e-5)
    assert 2 < bits < 9


@pytest.fixture
def factored(tmp_path):
    """A set of bars with known places and lengths, and runs of two seeds on it."""
    grid = np.indices((6, 6, 3)).reshape(3, -1).T.repeat(5, axis=0)
    images = np.zeros((len(grid), 8, 8), np.uint8)
    for image, (x, y, size) in zip(images, grid):
        image[y : y + 1 + size, x : x + 2] = 255
    file = tmp_path / "bars.npz"
    np.savez(file, image=images, factors=grid.astype(np.int32))
    ask = {"overrides": SMALL | {"dataset": str(file), "batch": 50}}
    grid = {"latent": (4,), "seed": (0, 1)}
    study.run("configs/digits.py", tmp_path / "runs", grid=grid, **ask)
    return tmp_path / "runs"


@pytest.mark.slow
def test_factors_are_measured_with_their_ceilings(factored):
    found = evaluate.run(factored, ["disentanglement", "udr"])
    assert {"mig", "mig_chen", "sap", "udr", "modularity", "mig_ceiling"} <= {*found}
    rows = tables.results(factored)
    for row in rows:
        assert row["mig"] <= row["mig_ceiling"] <= 1.001
        assert row["factor_vae_score_ceiling"] > 0.99
    assert rows[0]["udr"] == rows[1]["udr"]  # of the one pair


OUTSIDE = '''
"""A measure and a score that are not in the package."""

from typing import Annotated

import numpy as np

from aevae.evaluation.contract import at_least, bound, labels, measure
from aevae.evaluation.scores import score


@measure(labels, bound)
def spread(work, *, power: Annotated[int, "of the spread", at_least(1)] = 1):
    """The spread of the mean codes."""
    codes = work.encoded(work.held("test"), 1)["code"]
    for own in codes:
        yield {"spread": SCALE * own.std() ** power}, {"own_spread": own.std(0)}


@score()
def first_factor(mean, factors):
    """The correlation of the first latent and the first factor."""
    return abs(np.corrcoef(mean[:, 0], factors[:, 0])[0, 1])


SCALE = 1
'''


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A module of a user's, beside which commands run."""
    (tmp_path / "mine.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "mine.py"
    sys.modules.pop("mine", None)


@pytest.mark.retraced
def test_a_measure_from_outside_is_one_function(folder, outside, tmp_path):
    path = tmp_path / "runs"
    shutil.copytree(folder, path)
    assert evaluate.run(path, ["mine:spread"]) == ["spread"]
    once = [row["spread"] for row in tables.results(path)]
    latents = tables.read(path / "latents.csv")
    assert len(latents) == 2 * (2 + 3)
    for run in trained.runs(path):
        code = run.encode(
            data.held_out(data.stochastic, data.load("digits"), "test")["image"]
        )
        assert run.row["spread"] == pytest.approx(float(np.std(code.mean)), rel=1e-5)
    # Other options, other code: measured again.
    evaluate.run(path, ["mine:spread"], power=2)
    squared = [row["spread"] for row in tables.results(path)]
    np.testing.assert_allclose(squared, np.square(once), rtol=1e-5)
    for text, factor in ((OUTSIDE.replace("SCALE = 1", "SCALE = 3"), 3), (OUTSIDE, 1)):
        outside.write_text(text)
        importlib.invalidate_caches()
        linecache.clearcache()
        sys.modules.pop("mine")
        shutil.rmtree(outside.parent / "__pycache__", ignore_errors=True)
        evaluate.run(path, ["mine:spread"])
        again = [row["spread"] for row in tables.results(path)]
        np.testing.assert_allclose(again, np.multiply(once, factor), rtol=1e-5)


@pytest.mark.retraced
def test_fresh_measures_again_and_comments_do_not(folder, outside, monkeypatch):
    import mine

    evaluate.run(folder, [mine.spread])
    asked = []
    own = measured.measure
    monkeypatch.setattr(
        measured, "measure", lambda *given: asked.append(given) or own(*given)
    )
    outside.write_text(OUTSIDE.replace("The spread of", "What is called the spread of"))
    linecache.clearcache()
    evaluate.run(folder, [mine.spread])
    assert not asked
    evaluate.run(folder, [mine.spread], fresh=True)
    assert len(asked) == 2  # groups


def test_a_function_of_a_notebook_is_kept_under_its_code():
    space = {"__name__": "__main__"}
    codes = []
    for body in ("1", "2", "1"):
        exec(f"def f(work):\n    yield {{'x': {body}}}", space)  # noqa: S102
        codes.append(contract.code_of(space["f"]))
    assert codes[0] == codes[2] != codes[1]


CODES = {  # of a measure's module: what changes a value
    "def f():\n    power = 2\n    return power": "def f():\n    power = 3\n    return power",
    "def f():\n    return 5": "def f():\n    return 6",
    "def f():\n    for _ in (1,):\n        x = 2": "def f():\n    for _ in (1,):\n        x = 3",
    "def f():\n    pass\nclass P:\n    s = 2": "def f():\n    pass\nclass P:\n    s = 3",
    "K = 1\ndef f():\n    pass": "K = 2\ndef f():\n    pass",
    "import part\ndef f():\n    pass": None,  # what it imports from beside it
}


@pytest.mark.parametrize("before", CODES)
def test_any_change_of_code_counts_and_no_docstring(before, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    after, digests = CODES[before], []
    texts = (before, f'"""Text."""\n{before}  # text', after or before)
    for number, text in enumerate(texts):
        for name, own in (("part", f"X = {number // 2}"), ("whole", text)):
            (tmp_path / f"{name}.py").write_text(own)
            sys.modules.pop(name, None)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        importlib.invalidate_caches()
        linecache.clearcache()
        digests.append(contract.code_of(importlib.import_module("whole").f))
    for name in ("part", "whole"):
        sys.modules.pop(name, None)
    assert digests[0] == digests[1] != digests[2]


def yielding(*rows):
    """A measure that yields these rows."""

    @contract.measure()
    def odd(work):
        yield from rows

    return odd


@pytest.mark.parametrize(
    "rows, says",
    [
        ([{"x": 1.0}], "odd gave 1 rows for 2 runs"),
        ([{"elbo": 1.0}] * 2, "odd gives elbo, which is another column of results.csv"),
        ([{"seed": 1.0}] * 2, "odd gives seed, which is another column"),
        ([3.0] * 2, "odd must yield {column: number}"),
        ([{"x": "abc"}] * 2, "odd must yield {column: number}"),
        (
            [({"x": 1.0}, {"y": 3.0})] * 2,
            "odd must yield {column: number}, or that and",
        ),
    ],
)
def test_a_measure_that_is_wrong_leaves_nothing_behind(rows, says, folder):
    before = contents(folder)
    with pytest.raises(InputError, match=says):
        evaluate.run(folder, [yielding(*rows)])
    assert contents(folder) == before


def test_a_measure_that_fails_is_named(folder):
    @contract.measure()
    def broken(work):
        yield {"x": 1 / 0}

    with pytest.raises(InputError, match="broken fails: ZeroDivisionError: division"):
        evaluate.run(folder, [broken])
    with pytest.raises(InputError, match="several measures are named odd"):
        evaluate.run(folder, [yielding(), yielding()])


@pytest.mark.parametrize("annotation", ["int", "Annotated[int]", "Annotated[set, 'x']"])
def test_an_option_declares_its_kind_and_help(annotation):
    space = {"measure": contract.measure}
    text = f"from typing import Annotated\n@measure()\ndef f(work, *, k: {annotation} = 1): ..."
    with pytest.raises((InputError, TypeError), match="option k of f|Annotated"):
        exec(text, space)  # noqa: S102


def contents(folder):
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".csv", ".json")
    }


@pytest.mark.retraced
def test_what_seeds_agree_on_is_of_the_whole_folder(tmp_path, digits):
    """A seed that is added is a group of its own, and counts for those that were there."""
    path, ask = tmp_path / "grown", {"overrides": SMALL}
    for seeds in ((0, 1), (0, 1, 2)):
        grid = {"latent": (3,), "seed": seeds}
        study.run("configs/digits.py", path, grid=grid, **ask)
        evaluate.run(path, ["udr"])
        if len(seeds) == 2:
            first = [row["udr"] for row in tables.results(path)]
            assert first[0] == first[1]  # of the one pair
    parts = [data.held_out(data.stochastic, digits, part) for part in data.PARTS]
    image = np.concatenate([part["image"] for part in parts])
    means, rates = [], []
    for run in trained.runs(path):
        q = run.encode(image)
        means.append(np.asarray(q.mean))
        rates.append(np.asarray(kl_each(q, run.prior())).mean(0))
    found = [row["udr"] for row in tables.results(path)]
    np.testing.assert_allclose(found, scores.udr(means, rates), rtol=1e-4)
    assert len(set(found)) > 1


@pytest.mark.retraced
def test_a_score_from_outside_has_a_column_and_a_ceiling(factored, outside):
    found = evaluate.run(
        factored, ["disentanglement"], metrics=["mig", "mine:first_factor"]
    )
    assert found == ["mig", "first_factor", "mig_ceiling", "first_factor_ceiling"]
    for row in tables.results(factored):
        assert row["first_factor_ceiling"] == pytest.approx(1.0)
        assert 0 <= row["first_factor"] < 1


@pytest.mark.retraced
def test_a_posterior_from_outside_has_the_parts_of_its_rate(tmp_path, digits):
    """Against float64: q(z) by all posteriors of the test split, at the same codes."""
    base = run_of(
        LaplaceVAE(3, *NETWORKS), objectives.beta_vae, {"beta": 0.5}, epochs=5
    )
    study.run(base, tmp_path / "runs")
    evaluate.run(tmp_path / "runs", ["latents"], base=base, minibatch=50)
    (row,) = tables.results(tmp_path / "runs")
    run = trained.load(tmp_path / "runs", base)
    q = run.encode(data.held_out(data.stochastic, digits, "test")["image"])
    mean, scale = np.float64(q.mean), np.float64(q.scale)
    rng = np.random.default_rng(0)
    z = mean + scale * rng.laplace(size=(40, *mean.shape))
    z = z.reshape(-1, 3)[: 40 * 300]
    log_each = np.zeros((len(z), 3))
    log_q = np.zeros(len(z))
    for start in range(0, len(z), 500):
        own = z[start : start + 500, None]
        each = -abs(own - mean) / scale - np.log(2 * scale)
        log_q[start : start + 500] = np.log(np.exp(each.sum(-1)).mean(1))
        log_each[start : start + 500] = np.log(np.exp(each).mean(1))
    tc = (log_q - log_each.sum(1)).mean()
    log_p = (-abs(z) - np.log(2)).sum(1)
    assert row["total_correlation"] == pytest.approx(tc, abs=0.06)
    assert row["dimension_kl"] == pytest.approx(
        (log_each.sum(1) - log_p).mean(), abs=0.06
    )
    latents = tables.read(tmp_path / "runs" / "latents.csv")
    variance = [latent["mean_variance"] for latent in latents]
    np.testing.assert_allclose(variance, mean.var(0), rtol=1e-4)


@pytest.mark.retraced
def test_a_missing_method_is_named(tmp_path):
    study.run(
        "configs/methods.py:iaf", tmp_path / "run", overrides={"epochs": 1}, grid={}
    )
    with pytest.raises(InputError, match="the posterior Flow has no log_prob_each"):
        evaluate.run(tmp_path / "run", ["latents"])


def test_probes_tell_what_a_code_says():
    """A code that is the label; one that has nothing of it; and a constant latent is no fault."""
    random = np.random.default_rng(0)
    label = random.integers(0, 3, 600)
    noise = random.normal(size=(600, 1))
    for code, least, most in (
        (np.c_[np.eye(3)[label], noise * 0, noise * 0.1], 0.99, 1.0),
        (noise, 0.2, 0.45),
    ):
        found = representation.accuracies(
            code[:400], label[:400], code[400:], label[400:]
        )
        assert all(least <= value <= most for value in found.values())


# Groups as tasks


def whole(path):
    """What an evaluation leaves in a folder, {name: bytes}."""
    found = [*path.glob("*.csv"), *path.glob("evaluated/*")]
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in found}


@pytest.fixture
def copied(folder, tmp_path):
    """Copies of the folder, without anything that was found of its runs."""

    def copy(name):
        path = tmp_path / name
        shutil.copytree(folder, path, ignore=shutil.ignore_patterns("evaluated"))
        (path / "latents.csv").unlink(missing_ok=True)
        study.collect(path)
        return path

    return copy


def side_by_side(path, mark, work, calls, end, show, signals, engine):
    """`engine.follow` by this process: the last group first."""
    assert mark in (path / ".lock").read_text()
    for number in reversed(calls):
        work(str(path.resolve()), number, **calls[number])
        assert end(number, True)
        show([], lambda: 1)


@pytest.mark.retraced
def test_groups_of_their_own_make_what_one_process_makes(copied, outside, monkeypatch):
    """And what looks across groups is measured after them."""
    monkeypatch.setattr(engine, "load", lambda workers, folder: None)
    monkeypatch.setattr(engine, "follow", side_by_side)
    asked, ask = ["udr", "likelihood", "mine:spread"], {"k": 7, "power": 2}
    one, other = copied("one"), copied("other")
    found = evaluate.run(one, asked, **ask)
    assert found == ["iwae_7", "iwae_7_error", "spread", "udr"]
    (other / "results.csv").unlink()  # a task reads its group's own files
    worker.run(other, 1, asked, **ask)
    study.collect(other)
    done, own = [], measured.measure

    def noting(workdir, asked, *given, **more):
        done.append(asked.name)
        own(workdir, asked, *given, **more)

    monkeypatch.setattr(measured, "measure", noting)
    assert evaluate.run(other, asked, workers=2, **ask) == found
    assert done == ["likelihood", "spread", "udr"]
    assert whole(one) == whole(other)
    worker.run(other, 0, asked, **ask)
    evaluate.run(other, asked, workers=2, **ask)
    assert len(done) == 3
    evaluate.run(other, asked[2:], workers=2, fresh=True, **ask)
    assert done[3:] == ["spread", "spread"] and whole(one) == whole(other)


@pytest.mark.retraced
def test_three_losses_without_progress_fail_an_evaluation(copied):
    path = copied("lost")
    lost = place.Place(path, 0)
    for _ in range(place.LOSSES):
        with lost.taken():
            worker._begin(lost, plan.alone(path, 0))
    with pytest.raises(InputError, match="lost 3 times at its evaluation without any"):
        worker.run(path, 0, ["reconstruction"])
    with lost.taken():
        lost.held.tell("evaluating likelihood")
        assert "2 finished" in status.told(path)
    evaluate.run(path, ["reconstruction"])  # the whole folder, which tries it anew
    worker.run(path, 0, ["reconstruction"])


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ({"measures": "local"}, "the measure yielding.<locals>.odd is of this process"),
        ({"metrics": [scores.mig, lambda *_: 0]}, "the function .*lambda> is of this"),
        ({"dataset": {"x_test": np.zeros((9, 4))}}, "arrays are of this process alone"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"k": 0}, "k must be a whole number of at least 1, not 0"),
    ],
)
def test_what_workers_cannot_have_is_one_line(ask, says, folder):
    before = contents(folder)
    if ask.get("measures") == "local":
        ask = {"measures": [yielding({"x": 1.0})]}
    with pytest.raises(InputError, match=says):
        evaluate.run(folder, **{"workers": 1} | ask)
    assert contents(folder) == before and not (folder / "workers").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--group=2"], "has no group 2: its groups are 0 to 1"),
        (["--group=1", "--collect"], "--group and --collect are different commands"),
        (["--collect", "--k=3"], "--collect takes what is known: leave out --k"),
        (["--group=1", "--measures=udr"], "is not measured of one: leave out --group"),
    ],
)
def test_a_wrong_command_for_groups_is_one_line(arguments, says, folder, capsys):
    given = [f"--workdir={folder}", *arguments]
    assert command.execute(evaluate_command.define, evaluate_command.main, given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_a_measure_has_one_thread_of_the_host(folder):
    """Neighbors equally far, and last bits, are others by other numbers of threads."""

    @contract.measure()
    def threads(work):
        from threadpoolctl import threadpool_info

        most = max(library["num_threads"] for library in threadpool_info())
        for _ in work.group.runs:
            yield {"threads": most}

    evaluate.run(folder, [threads])
    assert {row["threads"] for row in tables.results(folder)} == {1}


def command_line(*arguments):
    return [sys.executable, "-m", "experiments.evaluate", *arguments]


@pytest.mark.slow
@pytest.mark.bits
def test_a_killed_worker_and_a_stopped_driver_lose_no_bit(tmp_path):
    """Four groups by two workers of a core each; against one process of all cores."""
    one, many = tmp_path / "one", tmp_path / "many"
    grid = {"latent": (2, 3, 4, 5), "seed": (0, 1)}
    study.run("configs/digits.py", one, overrides=SMALL, grid=grid)
    shutil.copytree(one, many)
    names = "--measures=likelihood,latents,representation,udr"
    ask = [names, "--k=40000"]
    subprocess.run(command_line(f"--workdir={one}", *ask), check=True)
    ask += [f"--workdir={many}", "--workers=2"]
    for stop in (signal.SIGTERM, None):
        with subprocess.Popen(command_line(*ask)) as driver:
            while driver.poll() is None:
                held = map(locks.holder, many.glob("checkpoints/*"))
                held = [own for own in held if own and own[1].startswith("evaluating")]
                if held:
                    time.sleep(2)
                    os.kill(int(held[0][0].split()[1]), signal.SIGKILL)
                    break
                time.sleep(0.2)
            time.sleep(3)
            if stop:
                driver.send_signal(stop)
        assert driver.returncode == (128 + stop if stop else 0)
    assert whole(one) == whole(many)


@pytest.mark.slow
@pytest.mark.bits
def test_a_result_is_reproduced_by_workers(tmp_path):
    """Parsl starts for each stage of the schedule, and for the evaluation."""
    found = []
    for name, workers in (("one", None), ("many", "2")):
        job = published.Job(tmp_path / name, np.inf, workers=workers)
        part = published.Part("configs/digits.py", {"latent": (2, 3)}, SMALL)
        runs = job.train(3, {"runs": part})["runs"]
        rows = job.evaluate(runs, "likelihood", "reconstruction", k=20)
        found.append([rows, whole(runs.workdir)])
    for _, files in found:
        files.pop("timing.csv")
    assert found[0] == found[1]
