"""The house: imports run one way, a wheel has every module, and words are the field's."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = (  # from the top; each imports only from those after it
    *("figures", "evaluation", "runs", "training", "objectives", "optim"),
    *("models", "networks", "data", "config", "system"),
)


def imported(path):
    """The parts of `aevae` that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "aevae" and rest.partition(".")[0] in FLOORS:
                yield rest.partition(".")[0]
            assert package != "configs", f"{path} imports configs"
            assert path.parts[0] != "aevae" or package != "experiments", path


def test_imports_run_one_way():
    seen = set()
    for path in sorted((ROOT / "aevae").rglob("*.py")):
        inner = path.relative_to(ROOT / "aevae").parts[0].removesuffix(".py")
        if inner == "__init__":
            continue
        seen.add(inner)
        floor = FLOORS.index(inner)
        for other in imported(path.relative_to(ROOT)):
            assert FLOORS.index(other) >= floor, f"{path} imports {other}, above it"
    assert seen == set(FLOORS)


def test_the_way_of_a_batch_names_files_that_are_there():
    text = ast.get_docstring(ast.parse((ROOT / "aevae" / "__init__.py").read_text()))
    lines = [line.split() for line in text.splitlines() if ".py " in line]
    assert 5 <= len(lines) <= 10
    for name, *_ in lines:
        assert (ROOT / "aevae" / name).is_file(), name


def test_only_the_command_lines_have_flags():
    for path in (ROOT / "aevae").rglob("*.py"):
        assert "import flags" not in path.read_text(), path


def test_a_wheel_without_the_checkout_imports_every_module(tmp_path):
    """An editable install hides a package that setup.py leaves out."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    tree = tmp_path / "tree"  # setuptools leaves a build folder beside setup.py
    shutil.copytree(ROOT / "aevae", tree / "aevae")
    shutil.copy(ROOT / "setup.py", tree)
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, tree], check=True)
    (wheel,) = tmp_path.glob("aevae-*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "-t", site, wheel], check=True)
    own = {p.name for p in (site / "aevae/figures/report").iterdir()}
    assert own >= {"page.html", "page.css", "links.js"}
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / "aevae").rglob("*.py"))
    ]
    program = "import sys; site = sys.argv[1]; sys.path.insert(0, site)\n"
    program += "\n".join(
        f"import {name}; assert sys.modules[{name!r}].__file__.startswith(site)"
        for name in modules
    )
    # -P: neither the checkout nor the present folder is looked in first.
    subprocess.run(
        [sys.executable, "-P", "-c", program, site], check=True, cwd=tmp_path
    )
    assert not {"experiments", "configs", "tests"} & {p.name for p in site.iterdir()}


def test_text_is_read_as_utf8_whatever_the_locale():
    """Files are written as UTF-8; in a locale such as C or ISO-8859-1 the default is another."""
    for part in ("aevae", "experiments"):
        for path in (ROOT / part).rglob("*.py"):
            assert ".read_text()" not in path.read_text("utf-8"), path
