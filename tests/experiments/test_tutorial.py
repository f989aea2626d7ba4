"""The tutorial: what the committed notebook has, and in the slow suite that it runs and its checks hold."""

import ast
import base64
import importlib
import re
import resource
import shutil
import types

import pytest

pytest.importorskip("nbclient", reason="the notebook is read and run by nbclient")
pytest.importorskip("ipykernel", reason="the notebook is run by a kernel of ipykernel")
import notebook
from notebook import ROOT, TUTORIAL

PICTURE, FILE = 40_000, 600_000  # bytes at most
SECONDS = 300  # of CPU time: five minutes on one core
ABSOLUTE = re.compile(r"(?<![\w/.:~])(?:/[\w.-]+){2,}|[A-Z]:\\")  # paths of a machine


@pytest.fixture(scope="module")
def tutorial():
    return notebook.read()


def code(tutorial):
    return [cell for cell in tutorial.cells if cell.cell_type == "code"]


def parsed(cell):
    """The syntax tree of a cell's Python; its magics, such as `%matplotlib inline`, are IPython's."""
    lines = cell.source.splitlines()
    return ast.parse("\n".join(line for line in lines if not line.startswith("%")))


def imported(trees):
    """What the notebook's imports bind, by name; they fail here if they fail."""
    found = {}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                module = importlib.import_module(alias.name)
                top = importlib.import_module(alias.name.partition(".")[0])
                found[alias.asname or top.__name__] = module if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module = importlib.import_module(node.module)
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
                found[alias.asname or alias.name] = getattr(module, alias.name)
    return found


def test_code_parses_and_all_that_it_names_of_modules_is_there(tutorial):
    trees = [parsed(cell) for cell in code(tutorial)]
    known = imported(trees)
    assert {"training", "study", "battery"} <= {*known}
    seen = 0
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = known.get(node.value.id)
            if isinstance(owner, types.ModuleType):
                seen += owner.__name__.startswith("aevae")
                assert hasattr(owner, node.attr), f"{owner.__name__}.{node.attr}"
    assert seen > 50


def test_every_section_checks_itself_and_says_what_a_failure_means(tutorial):
    title, checks = None, {}
    for cell in tutorial.cells:
        if cell.cell_type == "markdown":
            for head in re.findall(r"^## (\d+\. .*)$", cell.source, re.MULTILINE):
                title = head
                checks[title] = 0
        elif title:
            found = [n for n in ast.walk(parsed(cell)) if type(n) is ast.Assert]
            assert all(check.msg is not None for check in found), cell.source
            checks[title] += len(found)
    assert [int(title.split(".")[0]) for title in checks] == [*range(1, 14)]
    assert min(checks.values()) > 0, checks


def test_the_outputs_are_there_whole_and_small(tutorial):
    cells = code(tutorial)
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert TUTORIAL.stat().st_size < FILE
    pictures = []
    for cell in cells:
        prints = re.search(r"\b(print|show|tiles|panel\.legend)\(", cell.source)
        assert cell.outputs or not prints or cell is cells[0], cell.source
        for output in cell.outputs:
            assert output.output_type != "error", output
            texts = [
                output.get("text", ""),
                output.get("data", {}).get("text/plain", ""),
            ]
            assert not ABSOLUTE.search("".join(texts)), texts
            png = output.get("data", {}).get("image/png")
            pictures += [len(base64.b64decode(png))] if png else []
    assert len(pictures) >= 7 and max(pictures) < PICTURE, pictures


def test_the_file_is_as_the_writer_leaves_it(tutorial):
    """No times, versions or progress, so that a new execution changes numbers alone."""
    assert notebook.cleaned(tutorial) == tutorial


def test_its_links_lead_somewhere(tutorial):
    text = "\n".join(c.source for c in tutorial.cells if c.cell_type == "markdown")
    links = re.findall(r"\]\(([^)\s#]+)\)", text)
    assert len(links) > 4
    for link in links:
        assert (TUTORIAL.parent / link).exists(), link


@pytest.mark.slow
def test_it_runs_in_a_fresh_clone_and_its_checks_hold(tmp_path, tutorial):
    clone = tmp_path / "clone"
    for part in ("configs", "experiments"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, clone / part, ignore=ignored)
    before = {path for path in clone.rglob("*") if "__pycache__" not in path.parts}
    began = _seconds()
    done = notebook.execute(clone / "experiments" / TUTORIAL.name, tmp_path)
    assert _seconds() - began < SECONDS
    told = "\n".join(notebook.streams(done, "stderr"))
    assert not re.search(r"Warning|Error|Traceback", told), told
    after = {path for path in clone.rglob("*") if "__pycache__" not in path.parts}
    assert after == before  # it leaves nothing behind
    kinds = [[o.output_type for o in c.outputs] for c in code(notebook.cleaned(done))]
    assert kinds == [[o.output_type for o in c.outputs] for c in code(tutorial)]


def _seconds():
    """The CPU time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
