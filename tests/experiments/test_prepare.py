"""Preparing sets: the command, the real MNIST, processes that meet or die, disks that refuse."""

import errno
import gzip
import hashlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorflow_datasets.core import hashing

from aevae import InputError, WriteError, data
from aevae.system.cache import cache_dir
from experiments import command
from experiments import prepare as prepare_command

ORIGINALS = Path(__file__).parents[3] / "shared" / "data" / "mnist"
FILES = {"train": "train", "test": "t10k"}
GAUSSIAN = ("gaussian", "train", "validation", "test")


def prepare(*arguments):
    return command.execute(prepare_command.define, prepare_command.main, arguments)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_command_says_what_there_is(cache, capsys):
    assert prepare("--dataset=gaussian") == 0
    out = capsys.readouterr().out
    assert out.startswith("gaussian 1.0.0 is prepared in\n")
    assert "train: 10,000 examples, image float32 [16]" in out
    assert prepare("--dataset=gaussian") == 0
    assert "gaussian 1.0.0 was already prepared in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--dataset must name a set"),
        (["--dataset=mnst"], "unknown data set 'mnst': did you mean mnist"),
        (["--dataset=emnist/x"], "emnist has no config 'x'; it has emnist/byclass, "),
        (["--dataset=emnist"], "emnist has several configs: name one; it has emnist"),
        (["--dataset=svhn"], "did you mean svhn_cropped"),
        (["--dataset=.a:b"], "cannot import builder .a:b"),
        (["--dataset=digits", "--data_dir=x"], "is kept in the cache, not in --data"),
        (["--dataset=mnist", "--manual_dir=/nowhere"], "/nowhere is not a folder"),
        (["--dataset=no_module:Set"], "cannot import builder no_module:Set"),
        (["--dataset=aevae.data:DataSet"], "DataSet is not a TFDS builder"),
        (["--dataset=gaussian", "--datadir=x"], "Unknown command line flag 'datadir'"),
    ],
)
def test_a_fault_is_one_line(arguments, says, capfd):
    assert prepare(*arguments) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert re.search(says, err), err


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is here"
)
def test_without_tensorflow_a_stock_set_says_what_to_install(tmp_path, capfd):
    assert prepare("--dataset=mnist", f"--data_dir={tmp_path}") == 2
    assert "tensorflow is not installed; at the root" in capfd.readouterr().err


def payload(split, kind):
    """The values of an original file, without its head."""
    name = (
        f"{FILES[split]}-{'images-idx3' if kind == 'image' else 'labels-idx1'}-ubyte.gz"
    )
    return gzip.open(ORIGINALS / name).read()[16 if kind == "image" else 8 :]


def check_against_the_originals(folder):
    """TFDS sorts the examples by a hash of their number: undone, the arrays are the files."""
    found = data.load("mnist", "train", "test", "test", folder)
    for split, part in (("train", found.train), ("test", found.test)):
        keys = map(hashing.Hasher(split).hash_key, range(len(part["image"])))
        place = np.argsort(np.argsort([*keys]))  # of each original example
        for kind, values in part.items():
            ours = values[place].astype(np.uint8).tobytes()
            theirs = payload(split, kind)
            assert hashlib.sha256(ours).digest() == hashlib.sha256(theirs).digest()


needs_originals = pytest.mark.skipif(
    not ORIGINALS.is_dir(), reason=f"no original MNIST files in {ORIGINALS}"
)


@needs_originals
def test_prepared_mnist_is_the_original_mnist(mnist):
    check_against_the_originals(mnist)


@pytest.mark.slow
@needs_originals
@pytest.mark.parametrize("form", ["array_record", "tfrecord"])
def test_the_real_builder_prepares_mnist_from_its_original_files(form, tmp_path):
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    if form == "array_record":
        words = ["-m", "experiments.prepare", "--dataset=mnist"]
        words += [f"--data_dir={tmp_path}", f"--manual_dir={ORIGINALS}"]
    else:  # as most people have it
        code = (
            "import tensorflow_datasets as t; t.builder('mnist', data_dir={!r})"
            ".download_and_prepare(download_config=t.download.DownloadConfig("
            "manual_dir={!r}, try_download_gcs=False))"
        )
        words = ["-c", code.format(str(tmp_path), str(ORIGINALS))]
    subprocess.run([sys.executable, *words], check=True, cwd=Path(__file__).parents[2])
    assert list(tmp_path.glob(f"mnist/*/*{form}*"))
    check_against_the_originals(tmp_path)


@pytest.mark.slow
@needs_originals
def test_a_changed_original_is_refused_by_its_checksum(tmp_path):
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    for path in ORIGINALS.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    changed = tmp_path / "train-labels-idx1-ubyte.gz"
    content = gzip.decompress(changed.read_bytes())
    changed.write_bytes(gzip.compress(content[:-1] + bytes([content[-1] ^ 1])))
    words = ["-m", "experiments.prepare", "--dataset=mnist"]
    words += [f"--data_dir={tmp_path / 'to'}", f"--manual_dir={tmp_path}"]
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 2
    assert re.search("error: cannot prepare mnist .* has wrong checksum", done.stderr)
    assert not list((tmp_path / "to").glob("mnist/3*"))


def test_exact_numbers_of_mnists_test_images(mnist):
    """45.534 nats: no bound on these images is better. 205.97: what the mean image alone gives."""
    found = data.load("mnist", "train", "test", "test", mnist)
    x, mean = (
        found.test["image"].reshape(10_000, -1) / 255.0,
        found.train["image"].reshape(60_000, -1).mean(0) / 255.0,
    )
    inside = (x > 0) & (x < 1)
    y = np.where(inside, x, 0.5)
    entropy = np.where(inside, -y * np.log(y) - (1 - y) * np.log1p(-y), 0).sum(1)
    assert round(entropy.mean(), 3) == 45.534
    mean = mean.clip(1e-3, 1 - 1e-3)
    score = -(x * np.log(mean) + (1 - x) * np.log1p(-mean)).sum(1)
    assert round(score.mean(), 2) == 205.97


# Processes that meet, and that die


LOAD = f"from aevae import data; print(data.load(*{GAUSSIAN}).digest)"


def start(code, tmp_path):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes_that_prepare_at_once_do_no_harm(cache, tmp_path):
    processes = [start(LOAD, tmp_path) for _ in range(3)]
    found = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], found
    assert len({out for out, _ in found}) == 1
    assert found[0][0].strip() == data.load(*GAUSSIAN).digest


DIES = """
import os
from aevae.data.builders import gaussian
from aevae.data.sources import tfds as prepared

def dying(f):
    def shorter(*args):
        for number, row in enumerate(f(*args)):
            if number == 500:
                os.kill(os.getpid(), 9)
            yield row
    return shorter

"""
TIMES = {
    "preparing": "c = gaussian.Gaussian; c._generate_examples = dying(c._generate_examples)",
    "caching": "c = prepared.Prepared; c.examples = dying(c.examples)",
}


@pytest.mark.parametrize("when", TIMES)
def test_what_a_killed_process_left_is_not_taken_for_whole(when, cache, tmp_path):
    process = start(f"{DIES}{TIMES[when]}\n{LOAD}", tmp_path)
    process.communicate()
    assert process.returncode == -9
    left = {"preparing": "tfds/gaussian/incomplete*", "caching": "arrays/*.partial"}
    assert list(cache_dir().glob(left[when]))
    found = data.load(*GAUSSIAN)
    assert len(found.train["image"]) == 10_000
    assert not list(cache_dir().glob(left[when]))


# Disks that refuse


def test_a_disk_without_locks_is_one_line(cache, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    cache_dir()  # which was there before
    monkeypatch.setattr("fcntl.flock", flock)
    says = (
        r"lock cannot be locked: .* no flock \(No locks available\): .*XDG_CACHE_HOME"
    )
    with pytest.raises(InputError, match=says):
        data.load(*GAUSSIAN)


def test_a_place_that_cannot_be_written_is_one_line(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    monkeypatch.setattr("tempfile.tempdir", "/proc")
    with pytest.raises(WriteError, match="cannot write to /proc/none/aevae .*nor to a"):
        data.load(*GAUSSIAN)


def test_a_full_disk_while_caching_is_one_line_and_leaves_nothing(cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(WriteError, match="cannot write to .*: No space left"):
            data.load(*GAUSSIAN)
    assert not [p for p in (cache_dir() / "arrays").iterdir() if p.name[0] != "."]
    assert data.load(*GAUSSIAN).shape == (16,)


def test_a_builder_of_ones_own_is_prepared_on_first_use(tmp_path, monkeypatch):
    (tmp_path / "my_sets.py").write_text(
        """
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

class Ramps(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("2.1.0")

    def _info(self):
        features = {"image": tfds.features.Image(shape=(4, 4, 1))}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(20):
            yield i, {"image": Image.fromarray(np.full((4, 4), 10 * i, np.uint8))}
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    splits = ("train", "validation", "test")
    found = data.load("my_sets:Ramps", *splits, data_dir=tmp_path / "data")
    assert found.version == "2.1.0" and found.train["image"].shape == (16, 4, 4, 1)
    # Now it is registered, and prepared: its name is enough.
    again = data.load("ramps", *splits, data_dir=tmp_path / "data")
    assert again.digest == found.digest
    with pytest.raises(InputError, match="cannot import builder my_sets:Romps"):
        data.load("my_sets:Romps", *splits)
