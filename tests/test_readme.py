"""What the guides tell a user to type: parsed, and in the slow suite executed."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from aevae.runs import tables, trained
from experiments import (
    benchmark,
    command,
    compare,
    evaluate,
    figures,
    frontier,
    generation,
    paired,
    prepare,
    prior,
    report,
    reproduce,
    revisions,
    sweep,
    verify,
)

pytestmark = pytest.mark.retraced

ROOT = Path(__file__).parents[1]
GUIDES = (
    *("README.md", "configs/README.md", "aevae/data/README.md"),
    *("experiments/README.md", "experiments/inference.md", "experiments/statistics.md"),
    *("experiments/generation.md", "experiments/multi_rate.md"),
    *("experiments/battery.md", "experiments/report.md", "experiments/figures.md"),
    "experiments/published/README.md",
)
MODULES = (
    *(benchmark, compare, evaluate, figures, frontier, generation),
    *(paired, prepare, prior, report, reproduce, revisions, sweep, verify),
)
DEFINES = {module.__name__: module.define for module in MODULES}


class Short(NamedTuple):
    """Of the lines with all of `words`: the flags that are added to execute them, and the reason."""

    words: tuple[str, ...]
    flags: str | None  # None: not executed
    reason: str


SHORTENED = (  # the first that fits
    Short(("pytest",), None, ".ci/run does, in new environments"),
    Short(("pip install",), None, "needs the package index"),
    Short(("stretch.sh",), None, "trains for minutes, and ends with 124 until done"),
    Short(("revisions",), None, "makes two environments from the package index"),
    Short(("--keep",), None, "would write into the repository"),
    Short(
        ("prepare", "mnist"),
        "--data_dir=DIR",
        "to prepare it takes TensorFlow and its originals: what is shown is that it is there",
    ),
    Short(
        ("sweep", "frontier.py"),
        "--config.epochs=1 --sweep=beta=0.5,2 --sweep=seed=0",
        "24 runs on MNIST",
    ),
    Short(("sweep", "mnist"), "--config.epochs=1", "MNIST"),
    Short(("sweep",), "--config.epochs=2", "a minute"),
    Short(("frontier",), "", ""),
    Short(("paired",), "", ""),
    Short(
        ("evaluate", "ais"),
        "--k=20 --ais_steps=5 --ais_chains=2 --ais_examples=5",
        "5,000 samples, and 500 temperatures of 16 chains",
    ),
    Short(
        ("evaluate", "inference_gap"),
        "--k=20 --gap_steps=5 --gap_examples=5",
        "500 steps of 1,000 examples",
    ),
    Short(("evaluate",), "--k=20", "5,000 samples"),
    Short(("prior", "maf"), "--steps=50", "networks of every run"),
    Short(("prior",), "", ""),
    Short(("figures",), "", ""),
    Short(("experiments.report",), "", ""),
    Short(("verify", "--config"), "--checks=rate,elbo", "half a minute"),
    Short(("verify",), "--laws=5", "all laws take two minutes"),
    Short(
        ("compare", "mnist"),
        "--config.epochs=1 --latents=2 --seeds=0 --k=5",
        "6 runs of each of three methods on MNIST",
    ),
    Short(("compare",), "--config.epochs=2 --seeds=0,1 --k=20", "18 runs"),
    Short(
        ("experiments.generation",),
        "--config.epochs=1 --seeds=0 --priors=gmm,two_stage --steps=20 --samples=50",
        "half an hour",
    ),
    Short(
        ("benchmark",),
        "--runs=1,2 --chunks=1 --seconds=0.05 --rounds=1 --nolaunch",
        "groups of up to 64 runs, in five rounds of a second",
    ),
    Short(("reproduce", "--list"), "", ""),
    Short(("reproduce",), "--budget=0", "an hour: an epoch of every run is left"),
)
SHOWN = {  # what a command's output has
    "experiments.benchmark": "Written to",
    "experiments.compare": "autoencoder",
    "experiments.evaluate": "results.csv",
    "experiments.figures": ".png",
    "experiments.frontier": "slope to the next|difference",
    "experiments.paired": "less that at",
    "experiments.generation": "RAE-GP +two_stage",
    "experiments.prepare": "10,000 examples",
    "experiments.prior": "gain",
    "experiments.report": ".html",
    "experiments.reproduce": "aevb_figure2|published",
    "experiments.sweep": "Test split, nats",
    "experiments.verify": "of .* hold",
}


def blocks(guide, language):
    text = (ROOT / guide).read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def command_lines(guide):
    """The lines to be typed, those that end in a backslash joined to the next."""
    text = "".join(blocks(guide, "sh")).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip()]


def shortened(line):
    """What of a line is executed; what installs before an && is .ci/run's."""
    typed = line.split(" && ")[-1]
    return next(s for s in SHORTENED if all(word in typed for word in s.words))


def words(line):
    """The command and the arguments of what a line comes to."""
    python, minus, name, *arguments = shlex.split(line.split(" && ")[-1])
    assert (python, minus) == ("python", "-m")
    return name, arguments


LINES = [(guide, line) for guide in GUIDES for line in command_lines(guide)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder that looks like the root of a clone, with the files that the guides speak of."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "configs").symlink_to(ROOT / "configs")
    (folder / "ORIGINALS").mkdir()
    for block in blocks("README.md", "python"):
        name = re.match(r'"""(\w+\.py): ', block)
        if name:
            (folder / name.group(1)).write_text(block)
    images = np.random.default_rng(0).integers(0, 256, (400, 8, 8), np.uint8)
    np.savez(folder / "mine.npz", image=images)
    return folder


@pytest.fixture
def inside(root, monkeypatch):
    monkeypatch.chdir(root)
    return root


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 250


def test_two_commands_do_the_set_up():
    lines = [
        line
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith("pip install -e")
    ]
    assert lines == [
        "pip install -e . && python -m experiments.sweep",
        "pip install -e '.[test]' && python -m pytest -n 2 --dist loadfile",
    ]


def test_every_command_is_in_a_guide():
    named = {words(line)[0] for _, line in LINES if "-m experiments." in line}
    assert named == {*DEFINES}


@pytest.mark.parametrize(("guide", "line"), LINES)
def test_a_command_line_is_parsed(inside, guide, line):
    if "-m experiments." not in line:
        assert shortened(line).flags is None
        return
    name, arguments = words(line)
    assert command.execute(DEFINES[name], lambda args: 0, arguments) == 0


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES)
def test_the_command_lines_of_a_guide_do_what_they_say(root, mnist, guide):
    """In their order: some use what those before have trained."""
    environment, failed = os.environ | {"PYTHONPATH": str(ROOT)}, []
    for line in command_lines(guide):
        flags = shortened(line).flags
        if flags is None:
            continue
        name, arguments = words(line)
        given = shlex.split(" ".join([*arguments, flags]).replace("DIR", str(mnist)))
        if name == "experiments.sweep":  # another line may have left the folder
            given.append("--fresh")
        done = subprocess.run(
            [sys.executable, "-m", name, *given],
            check=False,
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode or not re.search(SHOWN[name], done.stdout):
            failed.append(f"{line}: {done.returncode}\n{done.stdout}{done.stderr}")
    assert not failed, "\n\n".join(failed)


@pytest.mark.parametrize("guide", GUIDES)
def test_links_lead_somewhere(guide):
    """Files, and headings of theirs, as GitHub makes anchors of them."""
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / guide).read_text())
    links = [link for link in links if "://" not in link]
    assert links
    for link in links:
        name, _, anchor = link.partition("#")
        path = (ROOT / guide).parent / name if name else ROOT / guide
        assert path.exists(), f"{guide}: {link}"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            anchors = [
                re.sub(r"[^\w\- ]", "", head).lower().replace(" ", "-")
                for head in heads
            ]
            assert anchor in anchors, f"{guide}: {link}"


def test_training_and_using_a_run_from_python(inside, capsys):
    block = next(b for b in blocks("README.md", "python") if "study.run" in b)
    exec(compile(block, "README.md", "exec"), {})  # noqa: S102
    table, used, fitted = capsys.readouterr().out.strip().rsplit("\n", 2)
    assert "latent" in table and "elbo" in table
    elbo, squared = map(float, used.split())
    assert elbo < 0 < squared < 20  # 52 is the images' own sum of squares
    assert fitted.count("-") == 2  # an ELBO of each run


def test_loading_arrays(inside, capsys):
    (block,) = blocks("aevae/data/README.md", "python")
    exec(compile(block, "README.md", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out == "(12, 12, 1) 400 50 50\n"


@pytest.mark.parametrize("kind", [pytest.param("", marks=pytest.mark.slow), ":laplace"])
def test_what_is_added_from_outside_trains_as_a_sweep_over_its_weight(inside, kind):
    workdir = f"runs/weighted{kind[1:]}"
    arguments = [f"--config=mine.py{kind}", "--config.epochs=20"]
    arguments += [f"--workdir={workdir}"]
    assert command.execute(sweep.define, sweep.main, arguments) == 0
    rows = tables.results(workdir)
    assert [(row["gamma"], row["seed"]) for row in rows] == [
        (gamma, seed) for gamma in (0, 0.3, 1) for seed in (0, 1)
    ]
    last = [r for r in tables.read(f"{workdir}/curves.csv") if r["epoch"] == 20]
    penalty = [row["test_penalty"] for row in last]
    assert max(penalty[4:]) < min(penalty[:2]) * 0.8  # the weight does what it says
    run = trained.load(workdir, gamma=0.3, seed=1)
    assert run.config.hparams["gamma"] == 0.3
    q = run.encode(run.examples["image"])
    assert type(q).__name__ == ("Laplace" if kind else "Normal")
