"""What commands print arrives in any encoding, and a stream that is closed or full ends them well."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, sys
from experiments import command

def main(args):
    print("-23.19 \\u00b10.03 \\u00d7 \\u2212 \\u2026 \\u00e9 \\udcfc.npz", flush="SOON" in os.environ)
    print("a line", file=sys.stderr)
    if "FAULT" in os.environ:
        raise command.InputError("no \\u00b1")

command.run(lambda: None, main)
"""
C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def run(shell="", **environment):
    """Runs the program, with redirections as a shell has them."""
    kept = {k: v for k, v in os.environ.items() if k not in ("LANG", "LC_ALL")}
    return subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {shell}', sys.executable, PROGRAM],
        check=False,
        cwd=ROOT,
        env=kept | environment,
        capture_output=True,
    )


@pytest.mark.parametrize(
    ("environment", "out", "sign"),
    [
        ({"PYTHONIOENCODING": "ascii"}, b"+-0.03 x - ... \\xe9 \xfc.npz", b"+-"),
        (C, b"+-0.03 x - ... \\xe9 \xfc.npz", b"+-"),
        ({"PYTHONIOENCODING": "cp437"}, b"\xf10.03 x - ... \x82 \xfc.npz", b"\xf1"),
        (
            {"PYTHONIOENCODING": "utf-8"},
            "±0.03 × − … é ".encode() + b"\xfc.npz",
            "±".encode(),
        ),
    ],
    ids=["ascii", "C", "cp437", "utf-8"],
)
def test_any_encoding_gets_the_table(environment, out, sign):
    done = run(FAULT="1", **environment)
    assert done.stdout == b"-23.19 " + out + b"\n"
    assert done.stderr == b"a line\nerror: no " + sign + b"\n"
    assert done.returncode == 2


@pytest.mark.parametrize("soon", [{}, {"SOON": "1"}])
@pytest.mark.parametrize(
    ("shell", "code", "out", "err"),
    [
        ("| true; exit ${PIPESTATUS[0]}", 128 + signal.SIGPIPE, b"", None),
        ("2>&1 >&- | cat; exit ${PIPESTATUS[0]}", 0, b"a line\n", b""),
        ("2>&- | tail -c 6; exit ${PIPESTATUS[0]}", 0, b"\xfc.npz\n", b""),
        (
            ">/dev/full",
            1,
            b"",
            b"error: cannot write standard output: No space left on d",
        ),
    ],
    ids=["pipe", "stdout", "stderr", "full"],
)
def test_streams_that_are_closed_or_full(shell, code, out, err, soon):
    """No traceback, and nothing of one stream in the other."""
    done = run(shell, PYTHONIOENCODING="utf-8", **soon)
    assert (done.returncode, done.stdout[-6:]) == (code, out[-6:])
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr
    if err is not None:
        assert err in done.stderr and bool(err) == bool(done.stderr)
