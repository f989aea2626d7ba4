"""Trains two revisions of this repository side by side, and compares what they wrote bit for bit.

    python -m experiments.revisions --before=v0.1 --after=HEAD --data_dir=DIR
    python -m experiments.revisions --before=HEAD~1 --after=HEAD --jobs=main,iaf --renamed=old=new

Each revision gets a git worktree and a virtual environment of its own below --workdir, trains the
same jobs with the same Python, and keeps them for the next call. Compared are the texts of the
tables, column by column, and the parameters, array by array; a column that one side alone has is
reported, and is no difference. A change that is meant to leave the numbers alone shows here that it
does. Exit codes: 0 equal; 1 a difference; 2 a fault of the input.
"""

import csv
import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
from absl import flags

from aevae import InputError
from experiments import command

METHODS = (
    *("denoising", "free_bits", "beta_tcvae", "factor_vae", "dreg"),
    *("sigma_vae", "iaf", "two_level", "conditional", "vq_vae"),
)
SWEEPS = {  # arguments of experiments.sweep, by job
    "main": ("--config.epochs=20",),
    **{m: (f"--config=configs/methods.py:{m}", "--config.epochs=10") for m in METHODS},
    "sprites": ("--config=configs/sprites.py", "--config.epochs=2"),
    "mnist": ("--config=configs/mnist_vae.py", "--config.epochs=2"),
}
EVALUATED = ("main",)  # jobs whose runs are evaluated, too
TABLES = ("curves.csv", "results.csv", "latents.csv")


def define():
    flags.DEFINE_string("before", None, "a git revision")
    flags.DEFINE_string("after", "HEAD", "another")
    flags.DEFINE_list("jobs", None, f"some of {', '.join(SWEEPS)}; by default all")
    flags.DEFINE_list("renamed", [], "old=new names of columns and parameters")
    flags.DEFINE_string("workdir", "runs/revisions", "where revisions are trained")
    flags.DEFINE_string("data_dir", None, "where TFDS has prepared MNIST")


def main(args):
    if not args["before"].value:
        raise InputError("name the revision to compare with, as in --before=HEAD~1")
    jobs = args["jobs"].value or [*SWEEPS]
    for job in jobs:
        if job not in SWEEPS:
            raise InputError(f"there is no job {job!r}; there are {', '.join(SWEEPS)}")
    if "mnist" in jobs and not args["data_dir"].value:
        raise InputError("the job mnist needs --data_dir; --jobs may leave it out")
    renamed = dict(pair.partition("=")[::2] for pair in args["renamed"].value)
    place = Path(args["workdir"].value).absolute()
    sides = [
        _revision(place, name) for name in (args["before"].value, args["after"].value)
    ]
    different = 0
    for job in jobs:
        for side in sides:
            _train(side, job, args["data_dir"].value)
        lines, count = compare(*(side / "runs" / job for side in sides), renamed)
        different += count
        print(f"{job}:")
        print("\n".join(f"  {line}" for line in lines), flush=True)
    print(f"{different} differences" if different else "Equal in every bit compared.")
    return 1 if different else 0


def _revision(place, name):
    """A folder of a revision: its `tree`, its environment, and what it has trained."""
    done = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise InputError(f"there is no git revision {name!r} here")
    commit = done.stdout.strip()
    side = place / commit[:12]
    if not (side / "installed").exists():
        shutil.rmtree(side, ignore_errors=True)
        _call("git", "worktree", "prune")
        _call("git", "worktree", "add", "--detach", side / "tree", commit)
        venv.create(side / "environment", with_pip=True)
        pip = side / "environment" / "bin" / "pip"
        _call(pip, "install", "--quiet", "--editable", side / "tree")
        (side / "installed").touch()
    return side


def _train(side, job, data_dir):
    """Trains a job, unless it is done; `experiments.sweep` resumes half of one."""
    folder = side / "runs" / job
    python = side / "environment" / "bin" / "python"
    given = [f"--data_dir={data_dir}"] if data_dir and job == "mnist" else []
    sweep = ["-m", "experiments.sweep", *SWEEPS[job], f"--workdir={folder}", *given]
    _call(python, *sweep, cwd=side / "tree")
    if job in EVALUATED:
        evaluate = ["-m", "experiments.evaluate", f"--workdir={folder}", *given]
        _call(python, *evaluate, cwd=side / "tree")


def _call(*words, cwd=None):
    words = [str(word) for word in words]
    print(f"$ {' '.join(words)}", file=sys.stderr, flush=True)
    done = subprocess.run(words, check=False, cwd=cwd, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise InputError(f"exit code {done.returncode} of {' '.join(words)}")


def compare(before, after, renamed=()):
    """Lines on how two run folders differ, and how many differences there are.

    Args:
      before, after: run folders.
      renamed: {old name: new name} of columns, and of parts of a parameter's path.
    """
    lines, different = [], 0
    for name in TABLES:
        if (before / name).exists() or (after / name).exists():
            found, count = _compare_tables(before / name, after / name, dict(renamed))
            lines, different = [*lines, *found], different + count
    own, other = (
        {path.name: path for path in sorted((folder / "params").glob("*.npz"))}
        for folder in (before, after)
    )
    count = 0
    for name in sorted({*own, *other}):
        if name not in own or name not in other:
            lines.append(f"params/{name}: on one side alone")
            different += 1
            continue
        a, b = _arrays(own[name], dict(renamed)), _arrays(other[name], {})
        for key in sorted({*a, *b}):
            if key not in a or key not in b:
                lines.append(f"params/{name}: {key} on one side alone")
                different += 1
            elif a[key].dtype != b[key].dtype or a[key].tobytes() != b[key].tobytes():
                lines.append(f"params/{name}: {key} differs{_by(a[key], b[key])}")
                different += 1
            else:
                count += 1
    lines.append(f"params: {count} arrays of {len(own)} files are equal")
    return lines, different


def _which(row):
    return [int(row.get(name) or 0) for name in ("run", "epoch")]


def _compare_tables(before, after, renamed):
    rows = []
    for path in (before, after):
        if not path.exists():
            return [f"{before.name}: on one side alone"], 1
        with path.open(newline="", encoding="utf-8") as file:
            rows.append(sorted(csv.DictReader(file), key=_which))  # in any order
    if len(rows[0]) != len(rows[1]):
        return [f"{before.name}: {len(rows[0])} rows, and {len(rows[1])}"], 1
    columns = [list(r[0]) if r else [] for r in rows]
    old = {renamed.get(name, name): name for name in columns[0]}
    both = [name for name in old if name in columns[1]]
    lines, different = [], 0
    for name in both:
        pairs = [(a[old[name]], b[name]) for a, b in zip(*rows)]
        wrong = [pair for pair in pairs if pair[0] != pair[1]]
        if wrong:
            first = " and ".join(json.dumps(text) for text in wrong[0])
            lines.append(f"{before.name}: {name} differs in {len(wrong)} rows: {first}")
            different += 1
    equal = len(both) - different
    lines.append(f"{before.name}: {equal} columns of {len(rows[0])} rows are equal")
    for side, names in (
        ("before", [name for name in old if name not in columns[1]]),
        ("after", [name for name in columns[1] if name not in old]),
    ):
        if names:
            lines.append(f"{before.name}: {side} alone has {', '.join(names)}")
    return lines, different


def _arrays(path, renamed):
    with np.load(path) as archive:
        return {
            "/".join(renamed.get(part, part) for part in name.split("/")): values
            for name, values in archive.items()
        }


def _by(a, b):
    if a.shape != b.shape:
        return f": {list(a.shape)} and {list(b.shape)}"
    return f" by at most {np.max(np.abs(np.float64(a) - np.float64(b))):.3g}"


if __name__ == "__main__":
    command.run(define, main)
