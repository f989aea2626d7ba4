"""The cache folder of machines that lack what most have: a home, a disk that takes files, locks."""

import errno
import os
import pwd
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from aevae import InputError, WriteError
from aevae.data.sources import tfds
from aevae.system import cache

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """Nothing is known of the cache yet, and temporary folders are in tmp_path."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("MPLCONFIGDIR", "")
    monkeypatch.delenv("MPLCONFIGDIR")
    cache._found.cache_clear()
    yield
    cache._found.cache_clear()


def nobody(monkeypatch):
    """The user has no HOME, and the system does not know the user."""

    def unknown(_):
        raise KeyError

    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def not_a_folder(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", __file__)


def no_locks(monkeypatch):
    def lacking(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", lacking)
    monkeypatch.setenv("XDG_CACHE_HOME", tempfile.mkdtemp())


def full(monkeypatch):
    """Files may not grow past 100 bytes: the disk's answer is the same."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    monkeypatch.setenv("XDG_CACHE_HOME", tempfile.mkdtemp())


FAULTS = {
    nobody: r"~/.cache/aevae \(there is no home folder\)",
    not_a_folder: r"test_cache.py/aevae \(Not a directory\)",
    no_locks: r"/aevae \(it has no flock: Function not implemented\)",
    full: r"/aevae \(File too large\)",
}


@pytest.mark.parametrize("fault", [nobody, not_a_folder])
def test_a_temporary_cache_is_one_line_and_the_same_for_every_process(
    fault, monkeypatch, tmp_path, capsys
):
    fault(monkeypatch)
    place = cache.cache_dir()
    assert place == tmp_path / f"aevae-{os.getuid()}" and cache.cache_dir() == place
    line = capsys.readouterr().err
    says = "are kept in {}; set XDG_CACHE_HOME to a folder that lasts\n"
    assert line.endswith(says.format(place)) and line.count("\n") == 1
    assert re.search(FAULTS[fault], line), line
    assert os.environ["MPLCONFIGDIR"] == str(place / "matplotlib")
    cache._found.cache_clear()  # as another process
    assert cache.cache_dir() == place


@pytest.mark.parametrize("fault", FAULTS)
def test_without_a_temporary_folder_either_it_is_one_line(fault, monkeypatch, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        fault(monkeypatch)
        if fault in (nobody, not_a_folder):
            monkeypatch.setattr(tempfile, "tempdir", None)
            monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)
        with pytest.raises(WriteError, match=FAULTS[fault] + ", nor to a temporary"):
            cache.cache_dir()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert capsys.readouterr().err == ""


def test_a_temporary_folder_of_another_user_is_not_taken(monkeypatch, tmp_path):
    not_a_folder(monkeypatch)
    (tmp_path / f"aevae-{os.getuid()}").mkdir()
    (tmp_path / f"aevae-{os.getuid()}").chmod(0o777)  # anyone may put files there
    assert cache.cache_dir().name != f"aevae-{os.getuid()}"


def test_sets_in_a_cache_that_can_only_be_read_are_found(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        cache,
        "_refusal",
        lambda place: "Read-only file system" * (place.name == "aevae"),
    )
    (tmp_path / "aevae" / "tfds" / "mine" / "1.0.0").mkdir(parents=True)
    assert tfds.find("mine") == tmp_path / "aevae" / "tfds" / "mine" / "1.0.0"


def test_a_home_that_is_not_there_is_named_only_where_it_is_asked_for(
    monkeypatch, tmp_path
):
    nobody(monkeypatch)
    assert tfds.place_of("mine") == tmp_path / f"aevae-{os.getuid()}" / "tfds"
    with pytest.raises(InputError, match="no home folder for the ~ of ~/sets: write"):
        tfds.find("mine", "~/sets")


SWEEP = """
import pwd, runpy, sys
def unknown(_):
    raise KeyError
pwd.getpwuid = unknown
sys.argv = ["sweep", *sys.argv[1:]]
runpy.run_module("experiments.sweep", run_name="__main__")
"""


@pytest.mark.slow
def test_a_sweep_of_a_user_without_a_home_goes_to_its_figures(tmp_path):
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    given = [f"--workdir={tmp_path / 'run'}", "--config.epochs=1", "--sweep=seed=0"]
    done = subprocess.run(
        [sys.executable, "-c", SWEEP, *given],
        check=False,
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "group 0 of 1" not in line]
    assert len(lines) == 1 and lines[0].startswith("cannot write to ~/.cache/aevae")
    assert (tmp_path / "run" / "figures" / "samples.png").is_file()
