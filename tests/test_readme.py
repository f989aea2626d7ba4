"""What the README tells a user to type."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from aevae.runs import tables, trained
from experiments import benchmark, command
from experiments import compare as compare_command
from experiments import evaluate as evaluate_command
from experiments import figures as figures_command
from experiments import frontier as frontier_command
from experiments import prepare as prepare_command
from experiments import reproduce as reproduce_command
from experiments import sweep as sweep_command
from experiments import verify as verify_command

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder that looks like the root of a clone."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "sparse.py").write_text(PYTHON[2])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_commands_do_the_set_up():
    commands = [
        line for line in SHELL.splitlines() if line.startswith("pip install -e")
    ]
    assert [line.split(" && ")[1] for line in commands] == [
        "python -m experiments.sweep",
        "python -m pytest -n 2 --dist loadfile",
    ]


def test_every_command_line_is_one(root):
    lines = [line for line in SHELL.splitlines() if "-m experiments." in line]
    assert len(lines) == 22
    for line in lines:
        words = shlex.split(line.split(" && ")[-1])
        module = {
            "experiments.sweep": sweep_command,
            "experiments.figures": figures_command,
            "experiments.benchmark": benchmark,
            "experiments.prepare": prepare_command,
            "experiments.evaluate": evaluate_command,
            "experiments.frontier": frontier_command,
            "experiments.verify": verify_command,
            "experiments.compare": compare_command,
            "experiments.reproduce": reproduce_command,
        }
        name, *arguments = words[2:]
        assert command.execute(module[name].define, lambda args: 0, arguments) == 0


def test_no_module_imports_one_to_its_right():
    order = re.findall(r"\w+", re.search(r"\n    files → [^`]*?\n\n", TEXT).group())
    files = [*(ROOT / "aevae").glob("*.py"), *(ROOT / "aevae").glob("*/*.py")]
    for path in files:
        inner = path.parent.name if path.parent.name != "aevae" else path.stem
        if inner == "__init__":
            continue
        number = order.index(inner)
        name = path.relative_to(ROOT)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "aevae":
                right = {alias.name for alias in node.names} & set(order[number:])
                assert not right, f"{name} imports {right}"
            if isinstance(node, ast.ImportFrom) and node.module.startswith("aevae."):
                module = node.module.split(".")[1]
                assert module not in order[number:] or module == inner != path.stem


def test_training_and_using_a_run_from_python(root, capsys):
    for block in PYTHON[:2]:
        exec(compile(block, "README.md", "exec"), {})  # noqa: S102
    table, _, last = capsys.readouterr().out.strip().rpartition("\n")
    assert "latent" in table and "elbo" in table
    elbo, squared = map(float, last.split())
    assert elbo < 0 < squared < 20  # 52 is the images' own sum of squares


def test_the_variant_trains_as_a_sweep_over_its_weight(root):
    arguments = ["--config=sparse.py", "--config.epochs=30", "--workdir=runs/sparse"]
    assert command.execute(sweep_command.define, sweep_command.main, arguments) == 0
    rows = tables.results("runs/sparse")
    assert [(row["gamma"], row["seed"]) for row in rows] == [
        (gamma, seed) for gamma in (0, 0.3, 1) for seed in (0, 1)
    ]
    last = [r for r in tables.read("runs/sparse/curves.csv") if r["epoch"] == 30]
    penalty = [row["test_penalty"] for row in last]
    assert max(penalty[4:]) < min(penalty[:2]) / 2  # the weight does what it says
    assert trained.load("runs/sparse", gamma=0.3, seed=1).config.hparams["gamma"] == 0.3
