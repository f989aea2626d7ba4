"""Whatever files and command lines a user brings, a command ends well or in a line that says why.

The exit code is 0, with finite results of every run; 100 + n where n runs diverged; or 2, with one
line that says what is wrong and nothing changed on the disk. It is never a traceback. An array
that nothing has a use for is named. The large versions, with other examples for another seed:

    pytest -m slow -s tests/test_fuzz.py --hypothesis-seed=1
"""

import contextlib
import csv
import hashlib
import io
import math
import os
import shutil
import signal
import subprocess
import sys
import traceback
import unicodedata
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import fuzz
import jax
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from aevae.runs.folder import HARMLESS
from experiments import command, evaluate, figures, sweep

pytestmark = pytest.mark.retraced

ROOT = Path(__file__).parents[1]
PROGRAMS = {"sweep": sweep, "evaluate": evaluate, "figures": figures}
PATIENCE = 300  # seconds that a command may take
DIVERGED = range(101, 126)
CONTROL = ("Cc", "Zl", "Zp")  # categories of letters that control a terminal


def bring(count, few=False, **how):
    """So many examples. What is wrong with them is collected, so that one fault hides no other.

    Hypothesis follows each by some that differ from it little: of four, one is taken.
    """
    found = {}

    @settings(
        max_examples=4 * count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
        **how,
    )
    @given(fuzz.examples(few))
    def collect(example):
        found[repr((example.files, example.lines))] = example

    collect()
    return [*found.values()][:: max(1, len(found) // count)][:count]


def within(program, arguments, folder):
    """Runs a command in this process and a folder: its exit code, stdout and stderr."""
    out, err, before = io.StringIO(), io.StringIO(), os.getcwd()

    def late(*_):
        raise TimeoutError(f"not done after {PATIENCE} s")

    known = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            module = PROGRAMS[program]
            code = command.execute(module.define, module.main, arguments)
    except BaseException as error:  # noqa: BLE001, a user would see its traceback
        code = 1
        err.write("".join(traceback.format_exception(error)))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, known)
        os.chdir(before)
    return code or 0, out.getvalue(), err.getvalue()


def as_process(program, arguments, folder):
    """The same, as a user does it."""
    own = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "COLUMNS")}
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.{program}", *arguments],
        capture_output=True,
        check=False,
        cwd=folder,
        env=own | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Survey:
    """What became of examples: how many of each kind, and every fault."""

    def __init__(self, folder, run):
        self.folder, self.run = folder, run
        self.count, self.faults, self.messages = Counter(), [], set()

    def try_out(self, example):
        """Runs an example's commands in a folder of its own, which stays if one of them is at fault."""
        self.count["examples"] += 1
        folder = self.folder / f"{self.count['examples']:04d}"
        folder.mkdir()
        for path, content in example.files.items():
            if content is None:
                (folder / path).mkdir()
            else:
                (folder / path).write_bytes(content)
        faults = []
        for number, line in enumerate(example.lines):
            before = _digests(folder)
            code, out, err = self.run(line.program, line.arguments, folder)
            own = [*_faults(line, code, out, err, folder, before)]
            if not number and code == 0:
                own += _silent(example.strange, err)
            what = {0: "done", 2: "refused"}.get(code, "fault")
            what = "diverged" if code in DIVERGED else what
            self.count[f"{line.program} {what}"] += 1
            self.count["trained"] += line.program == "sweep" and _trained(err)
            self.messages |= {m for m in err.splitlines() if "Traceback" not in err}
            if own:
                arrays = {k: f"{v.dtype} {v.shape}" for k, v in example.arrays.items()}
                faults += [f"{folder}, {arrays}\n  {line.program} {line.arguments}"]
                faults += [f"  exit {code}: {fault}" for fault in own]
        self.faults += ["\n".join(faults)] if faults else []
        if not faults:
            shutil.rmtree(folder)

    def check(self):
        """Prints the counts; AssertionError with every fault."""
        print("\n" + ", ".join(f"{n} {name}" for name, n in sorted(self.count.items())))
        count = len(self.faults)
        assert not count, f"{count} examples at fault\n" + "\n".join(self.faults)


def _digests(folder):
    """The files below a folder but for locks: {path: digest}, and None for folders."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else None
        for path in folder.rglob("*")
        if path.name != ".lock"
    }


def _trained(err):
    return ": epoch 1/" in err


def _faults(line, code, out, err, folder, before):
    """Yields what is wrong with the end of a command."""
    said = err.splitlines()
    if "Traceback" in err:
        yield f"a traceback, {said[-1]}"
    elif code == 2:
        errors = [text for text in said if text.startswith("error: ")]
        if len(errors) != 1 or said[-1] != errors[0] or out:
            yield f"not one line on what is wrong: {said}"
        if any(unicodedata.category(letter) in CONTROL for letter in "".join(said)):
            yield f"letters that move a terminal's cursor: {said}"
        new = {
            path: digest
            for path, digest in _digests(folder).items()
            if before.get(path, "") != digest
        }
        if left := [path for path in new if Path(path).name not in HARMLESS]:
            yield f"refused after {left} was written: {said[-1]}"
    elif code and code not in DIVERGED:
        yield f"an exit code of its own: {said[-1:]}"
    elif line.program == "sweep":
        yield from _wrong_results(line, code, folder)
    else:
        yield from [] if out.strip() else ["nothing said"]


def _wrong_results(line, code, folder):
    tables = [*folder.rglob("results.csv")]
    if not tables:
        yield "no results"
        return
    latest = max(tables, key=lambda path: path.stat().st_mtime_ns)
    with latest.open(newline="") as file:
        rows = [*csv.DictReader(file)]
    if line.rows not in (None, len(rows)):
        yield f"{len(rows)} rows, not {line.rows}"
    diverged = sum(row["diverged"] != "" for row in rows)
    if diverged != max(code - 100, 0):
        yield f"{diverged} of {len(rows)} runs diverged"
    for row in rows:
        cells = [row["elbo"] or row["distortion"], row["distortion"]]
        sound = all(cell and math.isfinite(float(cell)) for cell in cells)
        if not (sound or row["diverged"]):
            yield f"the row {row}"


def _silent(strange, err):
    """What is wrong where an array is left out without a word."""
    return [f"no word on the array {key}" for key in strange if key not in err]


UNDRAWN = SimpleNamespace(current=lambda _: True, draw=lambda *_, **__: [])


def test_what_users_bring_ends_well_or_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "figures", UNDRAWN)
    survey = Survey(tmp_path, within)
    for example in [*fuzz.found(), *bring(25, few=True, derandomize=True)]:
        survey.try_out(example)
    survey.check()
    assert survey.count["trained"] and survey.count["sweep refused"] >= 10


@pytest.mark.slow
def test_what_many_users_bring_ends_well_or_in_a_line(tmp_path, monkeypatch):
    draws, survey = sweep.figures, Survey(tmp_path, within)
    for number, example in enumerate(bring(2000)):
        # Figures take most of the time of a small sweep.
        monkeypatch.setattr(sweep, "figures", UNDRAWN if number % 20 else draws)
        survey.try_out(example)
        if number % 100 == 99:
            jax.clear_caches()  # of programs, which are many
            print(f"{number + 1}: {len(survey.faults)} at fault", flush=True)
    survey.check()
    assert survey.count["examples"] == 2000 and survey.count["trained"] >= 500


@pytest.mark.slow
def test_commands_as_processes_end_well_or_in_a_line(tmp_path):
    survey = Survey(tmp_path, as_process)
    for example in bring(100):
        survey.try_out(example)
    survey.check()
    assert survey.count["examples"] == 100
