"""How published results are trained: budgets that are spent once, and shares of schedules that end."""

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from aevae import InputError, data
from aevae.runs import tables
from experiments import published, reproduce
from experiments.published import job as job_module
from experiments.published import shares
from experiments.published.job import Job, Part

ROOT = Path(__file__).parents[2]
SMALL = {"encoder.widths": (8,), "decoder.widths": (8,), "train": "train[:400]"}


@pytest.mark.retraced
def test_a_budget_is_spent_once_and_a_larger_one_trains_further(tmp_path, monkeypatch):
    """And what two calls have trained has the bits of one."""
    monkeypatch.chdir(ROOT)

    def trained(minutes, name="job"):
        job = Job(tmp_path / name, minutes)
        part = Part("configs/digits.py", {"seed": (0,)}, SMALL)
        return job.train(6, {"runs": part})["runs"], job.seconds

    first, spent = trained(0)
    assert first.epochs == 1 and not first.complete and first.samples == 400
    again, same = trained(0)
    assert again.epochs == 1 and same == spent
    whole, more = trained(np.inf)
    assert whole.epochs == 6 and whole.complete and more > spent
    straight, _ = trained(np.inf, "straight")
    for table in ("curves.csv", "results.csv"):
        texts = [(run.workdir / table).read_bytes() for run in (whole, straight)]
        assert texts[0] == texts[1]


def test_a_schedule_grows_until_the_budget_is_spent(tmp_path, monkeypatch):
    """All parts by as many epochs, by ten times at most, by nothing that is not worth the start."""
    clock, asked = {"a": 0.0, "b": 0.0}, []

    def study(base, folder, *, overrides, **_):
        asked.append((base, overrides["epochs"]))
        clock[base] = 2.0 * overrides["epochs"] + (base == "b")

    monkeypatch.setattr(job_module.study, "run", study)
    monkeypatch.setattr(job_module, "_seconds", lambda folder: clock[folder.name])
    monkeypatch.setattr(job_module, "Trained", lambda folder, *how: how)
    parts = {"a": Part("a"), "b": Part("b")}
    found = Job(tmp_path, 1000 / 60).train(2000, parts)
    epochs = [n for base, n in asked if base == "a"]
    assert [n for base, n in asked if base == "b"] == epochs
    assert epochs[:3] == [1, 11, 121] and 220 < epochs[-1] < 250 and len(epochs) < 6
    assert found["a"] == found["b"] == (epochs[-1], False)
    asked.clear()
    found = Job(tmp_path, np.inf).train(2000, parts)
    assert [n for base, n in asked if base == "a"] == [1, 11, 121, 1331, 2000]
    assert found["a"] == (2000, True)


@pytest.mark.retraced
def test_a_learning_rate_is_chosen_by_the_training_bound(tmp_path, monkeypatch):
    """Of one that is too small, one that is right, and one whose bound is not a number."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(job_module, "PILOT", 2)
    values = (1e-6, 1e-2, 1e4)
    assert Job(tmp_path, 1).chosen("pilot", "configs/digits.py", "lr", values) == 1e-2


def _of(seed):
    return {"seed": (seed,), "binarization": data.none}


@pytest.mark.retraced
def test_shares_of_a_schedule_are_trained_to_their_ends(tmp_path, monkeypatch):
    """What a call has ended stays in the table of the next; what was interrupted is not in it."""
    monkeypatch.chdir(ROOT)
    (tmp_path / "short.py").write_text(
        "import dataclasses, functools\n"
        "from aevae import config, optim\n"
        "def get_config():\n"
        "    base = config.load('configs/digits.py')\n"
        "    ramp = functools.partial(optim.ramp, name='beta', length='warmup')\n"
        "    hparams = {**base.hparams, 'warmup': 32.0, 'share': 1.0}\n"
        "    schedule = functools.partial(optim.shortened, schedule=ramp)\n"
        "    return dataclasses.replace(base, hparams=hparams, schedule=schedule)\n"
    )
    parts = {
        name: Part(str(tmp_path / "short.py"), _of(seed), SMALL)
        for name, seed in (("b", 1), ("a", 0))
    }
    half, quarter, whole = Fraction(1, 2), Fraction(1, 4), Fraction(1)

    def ends(points, *shares):
        job = Job(tmp_path, None, shares=shares, points=points)
        return {k: (t.epochs, t.complete) for k, t in job.ends(8, parts).items()}

    found = ends(("a",), whole, quarter)
    assert found == {("a", quarter): (2, False), ("a", whole): (8, True)}
    (tmp_path / "b_share_1_8").mkdir()  # another call is at work there
    found = ends(("b", "a"), half)
    assert [*found] == [("b", half), ("a", quarter), ("a", half), ("a", whole)]
    rows = tables.results(tmp_path / "a_share_1_2")
    assert [row["epochs"] for row in rows] == [4]
    ends(("a",), Fraction(1, 3))
    (row,) = tables.results(tmp_path / "a_share_1_3")
    assert (row["epochs"], row["share"]) == (3, 0.375)  # the stages of whole epochs
    with pytest.raises(InputError, match="share 1/20 of 8 epochs is none: give more"):
        ends(("a",), Fraction(1, 20))
    (tmp_path / "a_share_1_8").mkdir()
    for name in job_module.TABLES:
        shutil.copy(tmp_path / "a_share_1_2" / name, tmp_path / "a_share_1_8" / name)
    with pytest.raises(InputError, match="1_8 has not the runs .* but 4 epochs, not 1"):
        ends(("a",), half)
    shutil.rmtree(tmp_path / "b_share_1_2")
    (tmp_path / "a_share_1_8").rename(tmp_path / "b_share_1_2")
    with pytest.raises(InputError, match="2 has not the runs .* but seed = 0: delete"):
        ends(("a",), half)


@pytest.mark.retraced
def test_what_is_kept_joins_what_another_machine_ends(tmp_path, monkeypatch):
    """It is not trained again, its numbers and curves are there, and its minutes count."""
    monkeypatch.chdir(ROOT)
    parts = {
        name: Part("configs/digits.py", {"seed": (seed,)}, SMALL)
        for name, seed in (("a", 0), ("b", 1))
    }
    quarter, kept = Fraction(1, 4), tmp_path / "kept"

    def job(folder, *points):
        where = tmp_path / folder
        return Job(where, None, shares=(quarter,), points=points, kept=kept)

    first = job("first", "a")
    (known,) = first.ends(8, parts).values()
    rows = first.evaluate(known, "likelihood", k=20)
    (tmp_path / "first/b_share_1_2").mkdir()  # another call is at work there
    first.keep()
    assert [path.name for path in kept.iterdir()] == ["a_share_1_4"]
    (kept / "b_share_1_4").mkdir()  # of a call that was killed while it kept it
    second = job("second", "a", "b")
    found = second.ends(8, parts)
    assert [*found] == [("a", quarter), ("b", quarter)]
    assert [path.name for path in (tmp_path / "second").iterdir()] == ["b_share_1_4"]
    again = found["a", quarter]
    assert (again.curves, again.epochs) == (known.curves, 2)
    assert second.evaluate(again, "likelihood", k=20) == rows
    own = tables.read(tmp_path / "second/b_share_1_4/timing.csv")
    assert second.seconds == first.seconds + sum(row["seconds"] for row in own)
    outcome = published.Outcome([], [], 800, 3200)
    made = reproduce.record("small", second, outcome, 0)
    assert [*made["data"]] == ["a_share_1_4", "b_share_1_4"]
    assert "minutes of training; " in reproduce._how(made | {"result": "iwae_table1"})
    for name in ("a_share_2_8", "a_share_3_2", "c_share_1_4", "a_share_1_0"):
        shutil.copytree(kept / "a_share_1_4", kept / name)  # no names of points
    assert [*second.ends(8, parts)] == [*found]
    for name in job_module.TABLES[:-1]:
        path = kept / "a_share_1_4" / name
        text = path.read_text()
        for damaged in ("", text.split("\n")[0] + "\n", "garbled\n" * 3, None):
            path.unlink() if damaged is None else path.write_text(damaged)
            with pytest.raises(InputError, match="a_share_1_4 is damaged: delete it"):
                second.ends(8, parts)
        path.write_text(text)
    for name, wrong in (
        ("curves.csv", "no curve of run 0 to its end"),
        ("results.csv", "2 of 1 runs"),
    ):
        path = kept / "a_share_1_4" / name
        lines = path.read_text().splitlines(keepends=True)
        cut = lines[:-1] if name == "curves.csv" else [*lines, lines[-1]]
        path.write_text("".join(cut))
        with pytest.raises(InputError, match=f"the runs of its name, but {wrong}: del"):
            second.ends(8, parts)
        path.write_text("".join(lines))
    parts["a"] = parts["a"]._replace(overrides=SMALL | {"binarization": data.none})
    with pytest.raises(InputError, match="its name, but binarization = stochastic: d"):
        second.ends(8, parts)


def test_an_extrapolation_is_exact_for_what_it_assumes():
    """A power law; of what is none, the error is what leaving out an end changes."""
    ends = [Fraction(1, n) for n in (160, 80, 40, 20, 10)]
    third, whole = Fraction(1, 3), Fraction(1)
    law = {s: -86.0 - 0.7 * float(s) ** -0.6 for s in ends}
    value, error = shares.extrapolated(law, third)
    np.testing.assert_allclose(value, -86 - 0.7 * 3**0.6, atol=0.02)
    assert error < 0.05
    bent = law | {ends[0]: law[ends[0]] - 1.0}
    value, error = shares.extrapolated(bent, whole)
    assert error >= abs(value - shares.extrapolated(dict([*law.items()][1:]), 1)[0])


def test_what_larger_shares_are_to_reach_is_said():
    """Shares count as their whole epochs do, and what was predicted stays until it is run."""
    ends = [Fraction(1, n) for n in (160, 80, 40, 20, 10)]
    third, whole = Fraction(1, 3), Fraction(1)
    values = {("a", s): -86.0 - 0.7 * float(s) ** -0.6 for s in ends}
    predicted = {("a", third): (-87.2, 0.2), ("b", whole): (-86.0, 0.1)}
    given = predicted, 3280, {"a": "method A", "b": "method B"}
    exact = dict(zip([Fraction(20, 3280), *ends[1:]], values.values()))  # 20 of 20.5
    told = shares.sentences(values, *given)
    value, error = shares.extrapolated(exact, whole)
    assert told[0] == "predicted of method A, share 1/3: -87.20 ± 0.20"
    assert told[1].startswith("method A, extrapolated from shares 1/160 to 1/10: -87")
    assert told[1].endswith(f"{value:.2f} ± {error:.2f} at whole schedule")
    (told,) = shares.sentences(values | {("a", third): -87.0}, *given)
    assert "from shares 1/160 to 1/3" in told and told.count("±") == 1
    assert not shares.sentences({("a", s): -86.0 for s in ends[:3]}, {}, *given[1:])
