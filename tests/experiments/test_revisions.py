"""The comparison of two revisions' run folders, made by hand."""

import csv

import numpy as np
import pytest

from experiments import revisions

ROWS = [
    {"run": "0", "beta": "0.5", "elbo": "-25.1", "rate": "7.25"},
    {"run": "1", "beta": "2.0", "elbo": "-26.5", "rate": "3.5"},
]
KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


def write(folder, rows=ROWS, names=("decoder/kernel", "decoder/bias"), kernel=KERNEL):
    (folder / "params").mkdir(parents=True)
    with (folder / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    arrays = dict(zip(names, (kernel, np.zeros(3, np.float32))))
    np.savez(folder / "params" / "0000.npz", **arrays)
    return folder


@pytest.fixture
def before(tmp_path):
    return write(tmp_path / "before")


def compare(before, after, renamed=None):
    lines, count = revisions.compare(before, after, renamed or {})
    return "\n".join(lines), count


def test_equal_folders_have_no_difference(before, tmp_path):
    text, count = compare(before, write(tmp_path / "after"))
    assert count == 0 and "differs" not in text and "alone" not in text
    assert "results.csv: 4 columns of 2 rows are equal" in text
    assert "params: 2 arrays of 1 files are equal" in text


def test_a_changed_cell_is_a_difference(before, tmp_path):
    """Text is compared, not numbers: 3.5 and 3.50 differ."""
    rows = [ROWS[0], ROWS[1] | {"rate": "3.50"}]
    text, count = compare(before, write(tmp_path / "after", rows))
    assert count == 1
    assert 'results.csv: rate differs in 1 rows: "3.5" and "3.50"' in text
    assert "results.csv: 3 columns of 2 rows are equal" in text


def test_a_missing_row_is_a_difference(before, tmp_path):
    assert compare(before, write(tmp_path / "after", ROWS[:1]))[1] == 1


def test_a_renamed_column_and_parameter_are_compared_under_their_new_names(
    before, tmp_path
):
    rows = [{("kl" if k == "rate" else k): v for k, v in row.items()} for row in ROWS]
    after = write(tmp_path / "after", rows, ("out/kernel", "out/bias"))
    renamed = {"rate": "kl", "decoder": "out"}
    assert compare(before, after, renamed)[1] == 0
    text, count = compare(before, after)
    assert count == 4  # each of two arrays is on one side alone, twice
    assert "before alone has rate" in text and "after alone has kl" in text
    rows[1]["kl"] = "3.6"
    changed = write(tmp_path / "changed", rows, ("out/kernel", "out/bias"))
    text, count = compare(before, changed, renamed)
    assert count == 1 and "kl differs in 1 rows" in text


@pytest.mark.parametrize("change", ["bit", "type", "shape"])
def test_a_changed_parameter_is_a_difference(change, before, tmp_path):
    kernel = KERNEL.copy()
    if change == "bit":
        kernel.view(np.uint32)[1, 2] ^= 1
    kernel = {"type": kernel.astype(np.float64), "shape": kernel.T}.get(change, kernel)
    text, count = compare(before, write(tmp_path / "after", kernel=kernel))
    assert count == 1 and "params/0000.npz: decoder/kernel differs" in text
    assert "params: 1 arrays of 1 files are equal" in text


def test_a_changed_sign_of_zero_is_a_difference(tmp_path):
    """-0.0 equals 0.0, and has other bits."""
    before = write(tmp_path / "before", kernel=np.zeros((2, 3), np.float32))
    after = write(tmp_path / "after", kernel=-np.zeros((2, 3), np.float32))
    assert compare(before, after)[1] == 1


def test_a_file_on_one_side_alone_is_a_difference(before, tmp_path):
    after = write(tmp_path / "after")
    (after / "params" / "0000.npz").rename(after / "params" / "0001.npz")
    (after / "results.csv").rename(after / "latents.csv")
    text, count = compare(before, after)
    assert count == 4 and text.count("on one side alone") == 4
