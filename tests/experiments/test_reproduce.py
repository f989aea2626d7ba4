"""The command that reproduces published results, and that the README has what was found."""

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest

from aevae import InputError, Interrupted
from aevae.runs import tables
from experiments import command, published, reproduce
from experiments.published.job import Job, Part, Row

ROOT = Path(__file__).parents[2]
SMALL = {"encoder.widths": (8,), "decoder.widths": (8,), "train": "train[:400]"}
FOUND = sorted(reproduce.FOUND.glob("*.json"))


def test_faults_are_one_line_before_any_work(tmp_path, capsys):
    def run(*arguments):
        where = f"--workdir={tmp_path / 'runs'}"
        return command.execute(reproduce.define, reproduce.main, [where, *arguments])

    for arguments, says in (
        (["--result=figure9"], "there is no result 'figure9'; there are aevb_figure2"),
        ([], "name one with --result; there are aevb_figure2"),
        (["--result=ppca", "--budget=-1"], "budget must be minutes, 0 or more, not -1"),
        (
            ["--result=ppca", "--share=1"],
            "ppca has no --share: say how long with --bud",
        ),
        (
            ["--result=iwae_table1", "--budget=1"],
            "no --budget: say how long with --share",
        ),
        (
            ["--result=iwae_table1", "--share=1/0"],
            "--share=1/0: a share is above 0 and",
        ),
        (
            ["--result=iwae_table1", "--share=40"],
            "--share=40: a share is above 0 and at",
        ),
        (["--result=iwae_table1", "--share=1e-99999999"], "a share is above 0 and at"),
        (["--result=iwae_table1", "--share=１/40"], "a share is above 0 and at most"),
        (["--result=iwae_table1", "--share="], "--share=: a share is above 0 and at"),
        (["--result=iwae_table1", "--points="], "no point ''; it has vae_1, vae_5"),
        (["--result=ppca", "--points=a"], "ppca has no --points: all its runs are tra"),
        (["--result=priors", "--points=gmm"], "no point 'gmm'; it has standard_static"),
        (["--result=ppca", f"--data_dir={tmp_path}"], "mnist"),
    ):
        assert run(*arguments) == 2
        message = capsys.readouterr().err
        assert says in message and message.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_the_list_has_every_result(capsys):
    assert command.execute(reproduce.define, reproduce.main, ["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    end = 1 + len(published.ALL)
    assert [line.split()[0] for line in lines[1:end]] == list(published.ALL)
    points = dict(line.split(": ") for line in lines[end:])
    assert points["points of iwae_table1"].startswith("vae_1, vae_5, vae_50, iwae_5")


def test_the_readmes_tables_are_of_what_is_kept():
    (block,) = re.findall(
        f"{reproduce.BEGIN}\n(.*?)\n{reproduce.END}",
        reproduce.README.read_text(),
        flags=re.DOTALL,
    )
    assert block == reproduce.readme_tables()


def test_remarks_are_of_results():
    """A file of another name would never be shown."""
    assert {path.stem for path in reproduce.FOUND.glob("*.md")} <= set(published.ALL)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_is_kept_is_whole(path):
    found = json.loads(path.read_text())
    assert found["result"] == path.stem in published.ALL
    assert {"date", "hardware", "versions", "data", "minutes", "note"} <= set(found)
    rows = [Row(**row) for row in found["rows"]]
    assert any(row.main for row in rows)
    assert all(np.isfinite(row.ours) for row in rows)


@pytest.mark.retraced
def test_a_result_is_found_reported_and_kept(tmp_path, monkeypatch, capsys):
    """The whole command, with a result whose training is small."""
    monkeypatch.chdir(ROOT)

    def small(job):
        part = Part("configs/digits.py", {"seed": (0,)}, SMALL)
        runs = job.train(2, {"runs": part})["runs"]
        (row,) = job.evaluate(runs, "likelihood", k=20)
        rows = [Row("ELBO", -25.0, row["elbo"], 100.0, 1, True)]
        facts = [published.Fact("a bound", row["elbo"] < row["iwae_20"])]
        return published.Outcome(rows, facts, runs.samples, 800, runs.complete)

    one = {"small": published.Result("a small one", small, "binary pixels", 0.0)}
    monkeypatch.setattr(published, "ALL", one)
    monkeypatch.setattr(reproduce, "FOUND", tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{reproduce.BEGIN}\n{reproduce.END}\nafter\n")
    (tmp_path / "small.md").write_text("It is small.\n")
    monkeypatch.setattr(reproduce, "README", readme)
    arguments = [
        "--result=small",
        "--budget=inf",
        "--keep",
        f"--workdir={tmp_path / 'runs'}",
    ]
    assert command.execute(reproduce.define, reproduce.main, arguments) == 0
    out = capsys.readouterr().out
    assert re.search(r"ELBO +-25 +-\d+\.\d+ .* 100 +within", out)
    assert "holds: a bound" in out and "It is small." in out
    assert "Binary pixels; 800 of 800 images a run." in out
    found = json.loads((tmp_path / "small.json").read_text())
    (row,) = tables.results(tmp_path / "runs/small/runs")
    assert found["rows"][0]["ours"] == row["elbo"]
    seconds = [
        row["seconds"] for row in tables.read(tmp_path / "runs/small/runs/timing.csv")
    ]
    assert found["minutes"] == round(sum(seconds) / 60, 1)
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert (
        f"| ELBO | -25 | {row['elbo']:.6g} | {row['elbo'] + 25:+.2g} | 100 | within |"
        in text
    )
    (line,) = [line for line in text.splitlines() if found["date"] in line]
    assert found["hardware"][0] in line and "It is small." in text


def test_a_longer_result_is_not_replaced_by_a_shorter(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "FOUND", tmp_path)
    monkeypatch.setattr(reproduce, "write_readme", lambda: None)
    job = Job(tmp_path, 1)
    found = {"result": "a", "samples": 20, "rows": [{"main": True}]}
    reproduce.keep_here(found, None, job)
    reproduce.keep_here(found | {"note": "reworded"}, None, job)
    with pytest.raises(InputError, match="of 20 images a run, more than these 10"):
        reproduce.keep_here(found | {"samples": 10}, None, job)
    with pytest.raises(InputError, match="a has nothing to keep yet"):
        reproduce.keep_here(found | {"rows": [{"main": False}]}, None, job)
    assert json.loads((tmp_path / "a.json").read_text())["note"] == "reworded"


def test_minutes_add_up_over_calls_and_the_date_is_of_the_numbers(tmp_path):
    """What was interrupted counts; what is made again, of the same numbers, keeps its date."""
    job = Job(tmp_path, 1)

    def record(value, samples, beside):
        rows = [Row("ELBO", None, value, main=True, predicted=(1.0, 0.1))]
        outcome = published.Outcome(rows, [], samples, 800)
        found = reproduce.record("small", job, outcome, beside)
        (tmp_path / "result.json").write_text(json.dumps(found))
        return found

    assert record(1.0, 400, 60)["beside"] == 1.0
    known = json.loads((tmp_path / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps(known | {"date": "2020-01-01"}))
    again = record(1.0, 400, 120)
    assert (again["date"], again["beside"]) == ("2020-01-01", 1.0)
    more = record(2.0, 800, 120)
    assert more["date"] != "2020-01-01" and more["beside"] == 3.0
    solved = record(3.0, 0, 120)  # of nothing that is trained only the last call counts
    assert solved["beside"] == 2.0


def test_an_interrupted_call_counts_too(tmp_path, monkeypatch):
    """Training is taken out of the time beside it, whatever the run folder has of it then."""
    now = iter(range(0, 10_000, 100))
    monkeypatch.setattr(reproduce.time, "perf_counter", lambda: next(now))

    def run(job):
        job.took.append(70)
        raise Interrupted("saved", 15)

    result = published.Result("", run, "", 0.0)
    for lost in (30, 60):
        with pytest.raises(Interrupted):
            reproduce.timed(result, Job(tmp_path, 1))
        assert json.loads((tmp_path / reproduce.LOST).read_text()) == lost
    (tmp_path / "shares").mkdir()
    with pytest.raises(Interrupted):
        reproduce.timed(result, Job(tmp_path / "shares", None, shares=(1,)))
    assert not (tmp_path / "shares" / reproduce.LOST).exists()
    whole = result._replace(run=lambda job: "found")
    assert reproduce.timed(whole, Job(tmp_path, 1)) == ("found", 160)


def test_packed_runs_are_whole(tmp_path):
    """`stretch.sh`: the newest whole checkpoint of a group, and what another call has packed."""
    group = tmp_path / "runs/reproduce/small/runs/checkpoints/0"
    for name in ("9-200", "10-0", "11-0", "11-0-1", "11-0-1.partial", "11-0.broken"):
        (group / name).mkdir(parents=True)
        (group / name / "state").write_bytes(b"state")
    (tmp_path / "python").write_text('#!/bin/sh\necho "$@" >> flags\nexit 3\n')
    (tmp_path / "python").chmod(0o755)
    script = ROOT / "experiments" / "stretch.sh"
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TO": "one"}
    share = {"SHARE": "1/3", "POINTS": "vae_1"}
    second, third = {"FROM": "one", "TO": "two"}, {"FROM": "two", "TO": "two"}
    for where in ({}, second, third | share):
        command_line = ["sh", script, "a"]
        done = subprocess.run(command_line, cwd=tmp_path, env=env | where, check=False)
        assert done.returncode == 3
        shutil.rmtree(tmp_path / "runs")
    flags = [line.split()[3:] for line in (tmp_path / "flags").read_text().splitlines()]
    assert flags == [["--budget=inf"]] * 2 + [["--share=1/3", "--points=vae_1"]]
    packed = b"".join(p.read_bytes() for p in sorted((tmp_path / "two").iterdir()))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        kept = {Path(name).name for name in archive.getnames()}
    assert "11-0-1" in kept and not kept & {"9-200", "10-0", "11-0"}
