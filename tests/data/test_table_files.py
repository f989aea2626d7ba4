"""Tables: CSV, TSV and Parquet files, and DataFrames."""

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from aevae import InputError, data

RANDOM = np.random.default_rng(3)
A, B = RANDOM.random(20).round(3), RANDOM.normal(size=20).round(3)
KIND = ["cat", "dog", "owl", "cat", "cat"] * 4


def csv(path, columns, mark=","):
    """Writes columns, {name: values}, as text."""
    rows = [columns, *zip(*columns.values())]
    path.write_text("\n".join(mark.join(map(str, row)) for row in rows) + "\n")
    return path


def loaded(path):
    """A table in one split, its rows in order of the column `a`, and the data set."""
    found = data.load(path, "train+validation+test", "test", "test")
    return found.train["image"][np.argsort(found.train["image"][:, 0])], found


@pytest.mark.parametrize("ending", ["csv", "CSV", "tsv", "parquet", "frame"])
def test_tables_are_vectors_with_labels(ending, tmp_path):
    columns = {
        "a": A,
        "label": KIND,
        "b": B,
        "n": [1, 2] * 10,
        "yes": [True, False] * 10,
    }
    path = tmp_path / f"mine.{ending}"
    if ending == "parquet":
        parquet.write_table(pa.table(columns), path)
    elif ending == "frame":
        path = pa.table(columns)
    else:
        columns["yes"] = ["true", "false"] * 10
        csv(path, columns, "\t" if ending == "tsv" else ",")
    rows, found = loaded(path)
    assert found.columns == ("a", "b", "n", "yes") and rows.dtype == np.float32
    order = np.argsort(A)
    np.testing.assert_array_equal(rows[:, 0], A[order].astype(np.float32))
    np.testing.assert_array_equal(rows[:, 3], (order % 2 == 0).astype(np.float32))
    assert found.labels == ("cat", "dog", "owl") and len(found.notes) == 1
    assert sorted(found.train["label"]) == sorted("cdo".index(k[0]) for k in KIND)


@pytest.mark.parametrize(
    ("columns", "kind", "says"),
    [
        (
            {"label": [0, 1] * 10, "p": [*range(19), 255], "q": [7] * 20},
            "u1",
            "gray levels",
        ),
        ({"p": [0, 1] * 10, "q": [1, 0] * 10}, "?", "0 and 1, and is read as binary"),
        ({"p": [0, 300] * 10, "q": A}, "f4", None),
        ({"p": range(20), "q": range(20)}, "f4", None),
        ({"": range(20), "q": A}, "f4", "not read: column '', the index"),
        ({"Unnamed: 0": range(20), "q": A}, "f4", "not read: column 'Unnamed: 0'"),
        ({"q": A, "species": [2.5] * 20, "target": KIND}, "f4", "read target as label"),
        (
            {"label": ["a", "", "b", "b"] * 5, "q": A},
            "f4",
            "left out: 5 of 20 rows are",
        ),
        ({"label": [1, "", 2, 2] * 5, "q": A}, "f4", "label of .* left out"),
        ({"": RANDOM.permutation(20), "q": A}, "f4", "not read: column ''"),
        (
            {"n": range(0, 2**30 + 20, 2**26), "q": A[:17]},
            "f4",
            "column n has whole numbers bey",
        ),
        ({"t": 1.6e9 + 30 * B, "q": A}, "f4", "column t varies by less than 100 steps"),
        ({"t": range(2**30, 2**30 + 20), "q": A}, "f4", "column t varies by less than"),
        (
            {"t": 1e6 + 0.01 * B},
            None,
            "column t varies by less than 100 steps of float",
        ),
        ({"t": 1e-60 * A, "q": A}, "f4", "column t varies by .* rescale it if it is"),
        ({"a ": A, " label": KIND}, "f4", None),
        (
            {"q": A, "Target": range(20)},
            "f4",
            "'Target' is read as values: if it is th",
        ),
        ({"q": A, "id": [0, *range(19)]}, "f4", "'id' is read as .* numbers the rows"),
        ({"label": B, "q": A}, None, "whole numbers from 0 .*; leave the column out"),
        ({"label": [1] * 20, "Label": A}, None, "several columns label, Label: rename"),
        ({"q": [*A[:19], "?"]}, None, "column q holds text, such as '.'"),
        ({"q": ['""', *("true", "0.5") * 9]}, None, "text, such as 'true'"),
        ({"0.5": A, "0.25": B}, "f4", "its first row, 0.5, 0.25, is numbers"),
        ({"0": A, "1": B}, "f4", "its first row, 0, 1, is read as names: if it is"),
        ({"q": [*A[:19], 1e300]}, None, "column q has values beyond float32"),
        (
            {"q": A, "city": ["Rome"] * 20},
            None,
            "column city holds text, such as 'Rome'",
        ),
        ({"q": A, "day": ["2020-01-02"] * 20}, None, "column day holds date32"),
        (
            {"q": [*A[:19], ""], "r": B},
            None,
            r"missing values in column q \(1\): leave",
        ),
        (
            {"q": [*A[:19], "nan"], "r": B},
            None,
            "missing values in column q|and in column q",
        ),
        ({"q": [*A[:19], "inf"], "r": B}, None, "in column q"),
        ({"q": A, "none": [""] * 20}, None, "column none holds no values"),
        ({"a": A, "a ": B, "a;b": B}, "f4", None),
        ({"a;b": ["1;2"] * 20}, None, "separated by ';': save them"),
        ({"label": [1] * 20}, None, "no columns of numbers beside label"),
        ({"q": []}, None, "0 rows of 1 columns"),
        ({"q": [1, 2]}, None, "2 examples: three are needed"),
    ],
)
def test_columns(columns, kind, says, tmp_path):
    path = csv(tmp_path / "mine.csv", columns)
    if kind is None:
        with pytest.raises(InputError, match=says) as fault:
            loaded(path)
        assert "\n" not in str(fault.value) and "mine.csv" in str(fault.value)
        return
    rows, found = loaded(path)
    assert rows.dtype == kind and len(found.columns) == rows.shape[1]
    notes = [note for note in found.notes if "are classes" not in note]
    assert len(notes) == (says is not None)
    assert says is None or re.search(says, notes[0])


def test_what_is_no_table_is_one_line(tmp_path):
    for name, content, says in (
        ("empty.csv", b"", "cannot read .*empty.csv: Empty CSV file"),
        ("one.csv", b"1,2", "cannot read .*one.csv: it has one row: examples follow"),
        ("ragged.csv", b"a,b\n1,2\n3\n", "cannot read .*: CSV parse error: Expected 2"),
        ("latin.csv", b"a,b\n1,\xe4\xff\n", "column b holds binary|cannot read"),
        ("twice.csv", b"a,a\n1,2\n", "several columns a: rename"),
        ("bad.parquet", b"PAR1" + bytes(32) + b"PAR1", "cannot read .*bad.parquet: "),
        ("none.parquet", b"", "cannot read .*none.parquet: "),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=says) as fault:
            data.load(tmp_path / name)
        assert "\n" not in str(fault.value)
    with pytest.raises(InputError, match="cannot read .*no.csv: No such file"):
        data.load(tmp_path / "no.csv")
    for values in ([[1.0, 2.0]] * 9, [{"x": 1}] * 9):
        parquet.write_table(pa.table({"v": values, "q": A[:9]}), tmp_path / "v.parquet")
        with pytest.raises(InputError, match="column v holds (list|struct)"):
            data.load(tmp_path / "v.parquet")


def test_the_index_of_a_frame_is_no_column_of_values(tmp_path):
    named = {"index_columns": ["patient", {"kind": "range"}], "columns": []}
    for columns, metadata in (
        ({"a": A, "__index_level_0__": [*range(10)] * 2}, None),
        ({"a": A, "__index_level_0__": KIND, "__index_level_1__": B}, None),
        ({"a": A, "patient": B}, {"pandas": json.dumps(named)}),
        ({"a": A}, {"pandas": "damaged"}),
    ):
        table = pa.table(columns).replace_schema_metadata(metadata)
        parquet.write_table(table, tmp_path / "mine.parquet")
        for given in (table, tmp_path / "mine.parquet"):
            rows, found = loaded(given)
            assert found.columns == ("a",) and rows.shape == (20, 1)
            for key, note in zip([*columns][1:], found.notes, strict=True):
                assert f"not read: column '{key}', the index of the rows" in note


def test_tables_of_splits_are_matched_by_the_names_of_their_columns():
    train = pa.table({"a": A, "b": B, "Label": KIND})
    test = pa.table({"b": [1, 2], "__index_level_0__": [7, 3], "Label": ["owl", "cat"]})
    test = test.append_column("a", pa.array([0.5, 0.25]))
    for given in ({"train": train, "test": test}, {"x_train": train, "x_test": test}):
        found = data.load(given, "train", "train", "test")
        assert found.columns == ("a", "b") and found.labels == ("cat", "dog", "owl")
        np.testing.assert_array_equal(found.test["image"], [[0.5, 1], [0.25, 2]])
        np.testing.assert_array_equal(found.train["image"][:, 1], B.astype("f4"))
        assert list(found.test["label"]) == [2, 0] and len(found.train["label"]) == 20
    numbers = train.drop(["Label"])
    labeled = {
        "spectra": numbers,
        "label": np.arange(20),
        "about": pa.table([KIND], "k"),
    }
    assert data.load(labeled).columns == ("a", "b")
    for given, says in (
        (
            {"train": train, "test": numbers},
            "array train .* and array test .*: column Label",
        ),
        ({"image": train, "label": np.arange(20)}, "the label, and so is column Label"),
        ((train, test), "2 arrays are given: .* splits as {'train'"),
        ({"train": train, "test": train.set_column(0, "a", [KIND])}, "one type"),
    ):
        with pytest.raises(InputError, match=says) as fault:
            data.load(given)
        assert "\n" not in str(fault.value)


def test_spaces_around_labels_are_no_other_classes(tmp_path):
    kinds = [(" ", "")[k % 2] + kind for k, kind in enumerate(KIND)]
    found = data.load(csv(tmp_path / "mine.csv", {"a": A, " label": kinds}))
    assert found.labels == ("cat", "dog", "owl")


def test_labels_of_any_type_of_text(tmp_path):
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        table = pa.table({"class": pa.array(KIND, kind), "a": A})
        assert data.load(table).labels == ("cat", "dog", "owl"), kind


def test_a_tsv_with_commas_says_so(tmp_path):
    csv(tmp_path / "mine.tsv", {"a": A, "b": B})
    with pytest.raises(InputError, match="separated by ',': name it .csv"):
        data.load(tmp_path / "mine.tsv")


def test_columns_with_nan_are_named(tmp_path):
    path = tmp_path / "mine.parquet"
    parquet.write_table(pa.table({"a": A, "b": np.where(A > 0.5, np.nan, B)}), path)
    with pytest.raises(InputError, match=r"NaN or inf.* rows, .* and in column b"):
        data.load(path)


def test_booleans_beside_whole_numbers_of_0_and_1_are_binary():
    yes = pa.array(A > 0.5)
    for most, kind in ((1, "?"), (0, "?"), (255, "f4"), (2, "f4")):
        for of in ("u1", "i8"):
            numbers = (np.arange(20) % 2 * most).astype(of)
            rows, _ = loaded(pa.table({"a": numbers, "b": yes}))
            assert rows.dtype == kind and rows.max() == max(most, 1)


def test_columns_of_bytes_are_values_as_other_integers(tmp_path):
    path = tmp_path / "mine.parquet"
    for most, kind, says in (
        (255, "u1", "^$"),
        (254, "f4", "uint8 from 0 to 254: a table's columns are read as values"),
        (1, "?", "^$"),
    ):
        values = (np.arange(20) % 2 * most).astype(np.uint8)
        parquet.write_table(pa.table({"a": values, "b": most - values}), path)
        rows, found = loaded(path)
        assert rows.dtype == kind and rows.max() == most
        assert re.search(says, " ".join(found.notes))


@pytest.mark.parametrize(
    ("first", "rows", "names", "says"),
    [
        (",0,1,2", "{k},{k},{b},{a}", "012", "not read: column '', the index of"),
        (
            ",0,1",
            "{a},{k},{b}",
            ("", "0", "1"),
            "'', 0, 1, is read as names.*'' is read",
        ),
        (
            ",0,1",
            "r{k},{k},{b}",
            None,
            "column '' holds text, such as 'r0'.*, '', 0, 1, is",
        ),
        (
            ",450,400",
            "r{k},{b},{a}",
            None,
            "column '' holds text.*450, 400, is read as na",
        ),
        (",4.5,0.5", "{k},{a},{b}", ("4.5", "0.5"), "4.5, 0.5, is read as names: if"),
        ("400,402", "{a},{b}", ("400", "402"), "first row, 400, 402, is read as names"),
        ("4000.5,400", "{a},{b}", ("4000.5", "400"), "is read as names"),
        ("0,1", "{k},{k}", "01", "first row, 0, 1, is read as names: if"),
        ("0,1,2", "{a},{k},{k}", "012", "first row, 0, 1, 2, is read as names: if"),
        ("0.00,1e0", "{a},{b}", None, "first row, 0.00, 1e0, is numbers"),
        ("0.00", "{a}", None, "first row, 0.00, is numbers"),
        ("0", "7{a}", "0", "first row, 0, is read as names: if it is"),
        ("P(a|b)", "{a}", ("P(a|b)",), None),
        ("1,2", "{k},{k}", None, "first row, 1, 2, is numbers, and read as an exa"),
        ("true,0.0,-inf", "false,{a},{b}", None, "or infinite values"),
        ("0.5,NA", "{a},{b}", None, r"column 1 \(1\): .*first row, 0.5, NA, is numb"),
        ("0.5,.2,cat", "{a},{b},dog", None, "column cat .*, cat, is read as names: if"),
        ("0.5;0.2", "{a};{b}", None, "separated by ';': .* decimals by points"),
        ("a;b", "1,5;2,5", None, "separated by ';': save them separated by commas"),
        ("1,5;b", "1,5;2,5", None, "separated by ';'"),
        ("a\tb", "{a}\t{b}", None, r"separated by '\\t'"),
        ("label,0.25,0.5", "{k},{a},{b}", ("0.25", "0.5"), "0.25, 0.5, is read as na"),
        ("1 2  3", "{k} 2  3", None, "separated by ' ': save"),
        ("1_1,1_2", "{a},{b}", ("1_1", "1_2"), None),
        ("one name", "{k}", ("one name",), None),
    ],
)
def test_a_first_row_is_names_or_an_example(first, rows, names, says, tmp_path):
    below = [rows.format(k=k, a=a, b=b) for k, (a, b) in enumerate(zip(A, B))]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join([first, *below]) + "\n")
    try:
        _, found = loaded(path)
    except InputError as fault:
        assert names is None and re.search(says, str(fault))
        return
    assert len(found.train["image"]) == len(A) + (names is None)
    assert names is None or found.columns == tuple(names)
    assert re.search(says or "^$", " ".join(found.notes))
