"""Files that are whole or not there: damage by damage, and a disk that takes no more."""

import errno
import hashlib
import os
import random
import resource
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest

from aevae import InputError, WriteError
from aevae.runs import checkpoints, tables
from aevae.runs.tables import Table
from aevae.system import files, locks

PARTS = ("record", "state")


def arrays(seed):
    values = np.random.default_rng(seed).standard_normal((3, 40)).astype(np.float32)
    return {"record": {"epoch": np.int32(seed)}, "state": {"a/b": values}}


@pytest.fixture
def place(tmp_path):
    """Two checkpoints, of 7 and 8."""
    for seed in (7, 8):
        checkpoints.save(tmp_path / "0000", f"{seed}-0", arrays(seed))
    return tmp_path / "0000"


def test_what_is_read_is_what_was_saved(place):
    newest, older = checkpoints.find(place)
    for path, seed in ((newest, 8), (older, 7)):
        read = checkpoints.read(path, PARTS)
        np.testing.assert_array_equal(
            read["state"]["a/b"], arrays(seed)["state"]["a/b"]
        )
        assert read["record"]["epoch"] == seed


def test_the_newest_two_are_kept_in_the_order_of_their_numbers(place):
    for name in ("10-0", "9-5", "9-40"):
        checkpoints.save(place, name, arrays(1))
    assert [p.name for p in checkpoints.find(place)] == ["10-0", "9-40"]
    assert sorted(p.name for p in place.iterdir()) == ["10-0", "9-40"]


def test_the_sums_are_those_that_sha256sum_checks(place):
    newest, _ = checkpoints.find(place)
    for line in (newest / files.SUMS).read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((newest / name).read_bytes()).hexdigest() == digest


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("file", ["record.npz", "state.npz", files.SUMS])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_named(file, damage, place):
    newest, _ = checkpoints.find(place)
    DAMAGES[damage](newest / file)
    with pytest.raises(files.Broken, match=r"8-0.*(record|state|SHA256SUMS)"):
        checkpoints.read(newest, PARTS)


@pytest.mark.parametrize("file", ["record.npz", "state.npz", files.SUMS])
def test_any_flipped_bit_is_found(file, place):
    """Every byte of the sums, 300 places of the arrays; one bit each."""
    newest, _ = checkpoints.find(place)
    content = (newest / file).read_bytes()
    dice = random.Random(0)
    small = file == files.SUMS
    for at in (
        range(len(content)) if small else dice.choices(range(len(content)), k=300)
    ):
        flipped = bytearray(content)
        flipped[at] ^= 1 << dice.randrange(8)
        (newest / file).write_bytes(flipped)
        with pytest.raises(files.Broken, match=file if not small else "8-0"):
            checkpoints.read(newest, PARTS)
    (newest / file).write_bytes(content)
    checkpoints.read(newest, PARTS)


def test_half_a_save_is_no_checkpoint(place):
    shutil.copytree(place / "8-0", place / "9-0.partial")
    (place / "9-0.partial" / files.SUMS).unlink()
    assert [p.name for p in checkpoints.find(place)] == ["8-0", "7-0"]
    files.remove_partial(place)
    checkpoints.save(place, "9-0", arrays(9))
    assert sorted(p.name for p in place.iterdir()) == ["8-0", "9-0"]


def test_a_disk_that_takes_no_more_is_one_line_and_loses_nothing(place, tmp_path):
    """Files of this process may not grow past 2,000 bytes: the disk's answer is the same."""
    table = Table(tmp_path / "t.csv", ["a"])
    table.write([{"a": n} for n in range(10)])
    before = (tmp_path / "t.csv").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        big = {"state": {"a": np.zeros(10_000)}}
        with pytest.raises(WriteError, match=r"cannot write to .*9-0: File too large"):
            checkpoints.save(place, "9-0", big)
        with pytest.raises(WriteError, match=r"cannot write to .*t.csv: File too"):
            table.add([{"a": n} for n in range(10_000)])
        with pytest.raises(WriteError, match=r"cannot write to .*t.csv: File too"):
            table.write([{"a": n} for n in range(10_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "t.csv").read_bytes() == before
    assert sorted(p.name for p in place.iterdir()) == ["7-0", "8-0"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0000", "t.csv"]


def test_a_row_that_was_being_written_is_not_read(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,-23.16\n2,-23.1")
    assert tables.read(tmp_path / "t.csv") == [{"a": 1, "b": -23.16}]


def test_a_lock_is_of_one_process_and_dies_with_it(tmp_path):
    program = (
        "import sys, time; from aevae.system import locks\n"
        "held = locks.lock(sys.argv[1]); print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE
    )
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=rf"in use .*process {other.pid} on "):
            locks.lock(tmp_path)
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert (tmp_path / ".lock").read_text().startswith(f"process {other.pid} ")
    locks.lock(tmp_path).close()


# Systems that lack a service


def lacking(number):
    def service(*_):
        raise OSError(number, os.strerror(number))

    return service


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_one_line_that_says_what_to_do(
    number, tmp_path, monkeypatch
):
    monkeypatch.setattr("fcntl.flock", lacking(number))
    says = rf"lock cannot be locked: its file system has no flock \({os.strerror(number)}\)"
    with pytest.raises(InputError, match=says + ": take a folder on another one"):
        locks.lock(tmp_path)
    with pytest.raises(InputError, match=says), locks.alone(tmp_path / "x.lock"):
        pass


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_fsync_is_written_all_the_same(
    number, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "fsync", lacking(number))
    checkpoints.save(tmp_path / "0000", "8-0", arrays(8))
    assert checkpoints.read(tmp_path / "0000" / "8-0", PARTS)
    files.write_json(tmp_path / "a.json", {})


def test_a_folder_that_cannot_be_opened_to_be_flushed_is_written_all_the_same(
    tmp_path, monkeypatch
):
    """As on Windows."""
    monkeypatch.setattr(os, "open", lacking(errno.EACCES))
    files._sync(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(os, "fsync", lacking(errno.EIO))  # a disk that fails
    with pytest.raises(WriteError, match="Input/output error"):
        checkpoints.save(tmp_path / "0000", "9-0", arrays(9))


def test_a_system_without_fcntl_is_named_where_a_folder_is_locked(
    tmp_path, monkeypatch
):
    """As on Windows; what needs no lock of its own goes on."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.delattr(os, "uname")
    module = runpy.run_path(locks.__file__)
    says = "cannot be locked: this system .* has no flock, .* WSL .* training.fit trains without"
    with pytest.raises(InputError, match=says):
        module["lock"](tmp_path)
    with module["alone"](tmp_path / "x.lock"):
        files.write_json(tmp_path / "a.json", {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "x.lock"]


def test_long_names_are_cut_and_stay_apart():
    for letter in ("a", "é", "漢", "\udcfc"):
        names = [f"0000,x={letter * 99}{n}{letter * 99},seed=0" for n in range(2)]
        short = [files.short_name(name) for name in names]
        assert len({*short}) == 2
        for name in short:
            assert len(name.encode("utf-8", "surrogateescape")) <= 100
            assert name.startswith("0000,x=") and name.endswith(",seed=0")
    assert files.short_name("a" * 100) == "a" * 100
