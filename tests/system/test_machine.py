"""The machine is prepared before any work, and one process is one program."""

import socket
import subprocess
import sys

import jax
import pytest

from aevae import InputError, training
from aevae.evaluation import evaluate
from aevae.runs import study

ENTRIES = {
    "study": lambda path: study.run("configs/digits.py", path / "run"),
    "fit": lambda path: training.fit("configs/digits.py"),
    "evaluate": lambda path: evaluate.run(path),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_one_process_of_several_is_refused_before_any_work(
    entry, monkeypatch, tmp_path
):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(InputError, match="process 0 of the 2 of one JAX program"):
        ENTRIES[entry](tmp_path)
    assert not [*tmp_path.iterdir()]


PROGRAM = """
import sys, jax
jax.config.update("jax_num_cpu_devices", 1)
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]), initialization_timeout=60)
from aevae import InputError, training
try:
    training.fit("configs/digits.py")
except InputError as error:
    print(error)
"""


def test_two_processes_that_are_one_program():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, address, str(number)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for number, process in enumerate(started):
        said, _ = process.communicate(timeout=120)
        assert said.startswith(f"this is process {number} of the 2 of one JAX program")
        assert process.returncode == 0 and said.count("\n") == 1
