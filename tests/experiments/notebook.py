"""The tutorial's notebook: executed by a kernel of this Python, and cleaned of what differs each time.

    python tests/experiments/notebook.py

executes `experiments/tutorial.ipynb` and writes it anew, with its outputs.
"""

import contextlib
import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "experiments" / "tutorial.ipynb"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def read(path=TUTORIAL):
    """A notebook as nbformat has it."""
    return nbformat.read(path, as_version=4)


def execute(path, folder):
    """Executes a notebook where it lies, and returns it; what Jupyter itself writes goes to `folder`.

    Raises:
      nbclient.exceptions.CellExecutionError: a cell fails.
    """
    notebook = read(path)
    with _environment(folder):
        client = NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": str(Path(path).parent)}},
            record_timing=False,
        )
        client.execute()
    return notebook


@contextlib.contextmanager
def _environment(folder):
    """The environment of the kernel: the package of this checkout, and no file in the user's home."""
    given = {"PYTHONPATH": str(ROOT), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR"):
        given[name] = str(Path(folder) / name.lower())
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def cleaned(notebook):
    """A notebook without progress, times and versions: what is left is the same each time."""
    notebook = nbformat.from_dict(notebook)
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = _joined(o for o in cell.outputs if o.get("name") != "stderr")
            for output in cell.outputs:
                if "metadata" in output:
                    output.metadata = {}
    return notebook


def _joined(outputs):
    """Outputs in which what was printed in several parts, as it came, is one."""
    found = []
    for output in outputs:
        if found and output.get("name") and output.get("name") == found[-1].get("name"):
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def streams(notebook, name):
    """The texts of a stream, stdout or stderr, cell by cell."""
    return [
        "".join(output.text for output in cell.outputs if output.get("name") == name)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        done = execute(TUTORIAL, place)
    print("\n".join(streams(done, "stderr")))
    nbformat.write(cleaned(done), TUTORIAL)
