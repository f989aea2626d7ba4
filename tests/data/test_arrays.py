"""A user's own arrays, from an .npz or .npy file."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from aevae import InputError, data

X = (np.arange(40 * 9).reshape(40, 3, 3) % 251).astype(np.uint8)
Y = np.arange(40) % 3
RANDOM = np.random.default_rng(11)


def image(*shape, most=256):
    return RANDOM.integers(0, most, shape).astype(np.uint8)


def saved(tmp_path, **arrays):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    return str(path)


def test_an_npz_of_one_array_is_divided(tmp_path):
    x = image(50, 6, 6)
    label = np.arange(50)
    name = saved(tmp_path, image=x, label=label)
    found = data.load(name, "train", "validation", "test")
    assert [len(part["image"]) for part in found.parts.values()] == [40, 5, 5]
    assert found.shape == (6, 6, 1) and found.name == name
    for part in found.parts.values():
        np.testing.assert_array_equal(part["image"][..., 0], x[part["label"]])
    cut = data.load(name, "train[:10]", "validation", "train[-1:]")
    np.testing.assert_array_equal(cut.train["image"], found.train["image"][:10])


def test_an_npz_with_splits(tmp_path):
    parts = {
        p: RANDOM.random((n, 4))
        for p, n in (("train", 9), ("validation", 3), ("test", 2))
    }
    factors = {f"{p}_factors": np.zeros((len(v), 2), int) + 1 for p, v in parts.items()}
    found = data.load(
        saved(tmp_path, **parts, **factors), "train", "validation", "test"
    )
    np.testing.assert_array_equal(
        found.train["image"], parts["train"].astype(np.float32)
    )
    assert found.factors == {"factor0": 2, "factor1": 2}


def test_an_npy_and_an_array_by_name(tmp_path):
    x = image(20, 3, 3, 3)
    np.save(tmp_path / "x.npy", x)
    found = data.load(str(tmp_path / "x.npy"), "train+validation+test", "test", "test")
    assert {bytes(i) for i in found.train["image"]} == {bytes(i) for i in x}
    name = saved(tmp_path, a=x, b=x[:, :2])
    assert data.load(f"{name}:b", "train", "test", "test").shape == (2, 3, 3)


def test_zeros_and_ones_are_binary_not_black(tmp_path):
    name = saved(tmp_path, image=image(30, 5, most=2))
    found = data.load(name, "train", "validation", "test")
    assert found.train["image"].dtype == bool
    assert data.none(None, found.train)["image"].max() == 1


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({}, "no array of images.* it has none"),
        ({"label": np.arange(9)}, r"no array of images.* it has label int64 \[9\]"),
        (
            {"a": np.eye(5), "b": np.eye(5)},
            r"several arrays .*, a .* b .*call one image, or name .*\.npz:a",
        ),
        (
            {"image": 7 * np.eye(5, dtype=np.int64)},
            "int64, from 0 to 7: .* divide by 7",
        ),
        ({"image": np.array([["x"]])}, "images must be uint8"),
        ({"image": np.eye(5)[:2]}, "has 2 examples: three are needed"),
        ({"image": np.zeros((9, 3, 8, 8), np.uint8)}, "the channels come last"),
        ({"image": np.zeros((9, 2, 2, 2, 2), np.uint8)}, "images are .N, H, W, C."),
        ({"image": np.eye(5), "label": np.arange(4)}, r"label of .* N = 5 images, not"),
        (
            {"image": np.eye(5), "label": np.eye(5)[0] / 2},
            "must be whole numbers .* has 0.5",
        ),
        ({"image": np.eye(5), "label": np.arange(5) + 2**31}, "from 0 to 2.31"),
        (
            {"train": np.eye(5), "test": np.ones((4, 2, 2, 1))},
            "split test has .* train",
        ),
        (
            {"image": np.full((30, 2), np.nan)},
            "NaN or infinite values .60, in 30 of 30",
        ),
        ({"image": np.ones((30, 2))}, "every pixel is 1"),
    ],
)
def test_what_is_wrong_with_an_npz_is_one_line(arrays, says, tmp_path):
    name = saved(tmp_path, **arrays)
    with pytest.raises(InputError, match=says) as fault:
        data.load(name, "train", "validation", "test")
    assert "\n" not in str(fault.value) and "mine.npz" in str(fault.value)


def test_what_is_no_array_is_one_line(tmp_path):
    for name, content in (
        ("a.npz", b"PK no"),
        ("b.npy", b"x,y\n1,2\n"),
        ("c.npz", b""),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            InputError, match=f"{name} is not a file of arrays, as NumPy"
        ):
            data.load(str(tmp_path / name), "train", "validation", "test")
    np.save(tmp_path / "d.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match="d.npy is an array of Python objects"):
        data.load(str(tmp_path / "d.npy"), "train", "validation", "test")
    with pytest.raises(InputError, match="cannot read .*none.npz: No such file"):
        data.load(str(tmp_path / "none.npz"), "train", "validation", "test")
    name = saved(tmp_path, image=np.eye(5))
    renamed = tmp_path / "e.npy"
    renamed.write_bytes(Path(name).read_bytes())
    assert data.load(str(renamed), "train", "test", "test").shape == (5,)
    with pytest.raises(InputError, match="no array 'x'; it has image"):
        data.load(f"{name}:x", "train", "validation", "test")


def test_any_damage_to_an_npz_is_one_line(tmp_path):
    path = tmp_path / "packed.npz"
    np.savez_compressed(path, image=image(40, 9, 9), label=np.arange(40))
    content, refused = path.read_bytes(), 0
    for place in RANDOM.choice(len(content), 60, replace=False):
        flipped = bytes([content[place] ^ 1 << RANDOM.integers(8)])
        path.write_bytes(content[:place] + flipped + content[place + 1 :])
        try:
            data.load(str(path), "train", "validation", "test")
        except InputError as fault:
            refused += 1
            assert "\n" not in str(fault)
    assert refused > 30


def test_a_path_is_a_name_and_rows_of_unequal_shapes_are_one_line(tmp_path):
    path = Path(saved(tmp_path, image=image(50, 6, 6)))
    assert data.load(path).digest == data.load(str(path)).digest
    assert data.name_of(path) == data.load(path).name == str(path)
    for ragged in (
        [[1, 2], [3]],
        [image(4, 4), image(5, 4)] * 2,
        {"image": [[1], [2, 3]]},
    ):
        with pytest.raises(InputError, match="rows of unequal shapes are no array"):
            data.load(ragged)


def loaded(tmp_path, **arrays):
    """All rows of an .npz in one split, and the notes on it."""
    return data.load(saved(tmp_path, **arrays), "train+validation+test", "test", "test")


@pytest.mark.parametrize(
    ("arrays", "sizes", "label", "says"),
    [  # Keras, MedMNIST, and others
        (
            {"x_train": X[:30], "y_train": Y[:30], "x_test": X[30:], "y_test": Y[30:]},
            (27, 3, 10),
            True,
            [
                "read x_train as train, y_train as train_label, x_",
                "no split validation",
            ],
        ),
        (
            {
                "train_images": X[:20],
                "val_images": X[20:30],
                "test_images": X[30:],
                "train_labels": Y[:20, None],
                "val_labels": Y[20:30, None],
                "test_labels": Y[30:, None],
            },
            (20, 10, 10),
            True,
            ["val_images as validation, val_labels as validation_label"],
        ),
        (
            {"Xtrain": X[:20], "Xvalid": X[20:30], "Xtest": X[30:]},
            (20, 10, 10),
            False,
            ["Xvalid as validation"],
        ),
        (
            {"train": X[:30], "dev": X[30:]},
            (27, 10, 3),
            False,
            ["dev as", "split test"],
        ),
        ({"X": X, "y": Y}, (32, 4, 4), True, ["read X as image, y as label"]),
        ({"data": X, "target": Y}, (32, 4, 4), True, ["target as label"]),
        ({"images": X, "labels": Y}, (32, 4, 4), True, ["images as image, labels"]),
        (
            {"arr_0": X, "arr_1": Y},
            (32, 4, 4),
            False,
            ["read arr_0 as image", r"not read: arr_1 int64 \[40\]"],
        ),
        ({"image": X, "y": Y / 7}, (32, 4, 4), False, ["read y", "it is left out"]),
        (
            {"image": X, "y": Y, "targets": Y},
            (32, 4, 4),
            False,
            [
                "not read: y .*, targets",
                "y and targets may each be the label, and none",
            ],
        ),
        (
            {"x_train": X[:30], "y_train": Y[:30], "x_test": X[30:]},
            (27, 3, 10),
            False,
            [
                "read",
                "y_train of .* has no counterpart in test: it is left out",
                "no spl",
            ],
        ),
    ],
)
def test_the_keys_of_other_tools(arrays, sizes, label, says, tmp_path):
    found = data.load(saved(tmp_path, **arrays))
    assert tuple(len(part["image"]) for part in found.parts.values()) == sizes
    for part in found.parts.values():
        assert ("label" in part) == label
        if label:
            number = part["image"][:, 0, 0, 0].astype(int)
            place = {int(x[0, 0]): int(y) for x, y in zip(X, Y)}
            np.testing.assert_array_equal(part["label"], [place[n] for n in number])
    assert len(found.notes) == len(says)
    for note, text in zip(found.notes, says):
        assert re.search(text, note) and "mine.npz" in note


@pytest.mark.parametrize(
    ("label", "expected", "names", "says"),
    [
        (Y[:, None], Y, (), None),
        (Y > 0, Y > 0, (), None),
        (Y.astype(float), Y, (), None),
        (Y.astype(">i2"), Y, (), None),
        (np.eye(3, dtype=np.uint8)[Y], Y, (), "one-hot, and is read as classes 0 to 2"),
        (np.array(["cat", "dog", "owl"])[Y], Y, ("cat", "dog", "owl"), "cat, dog, owl"),
        (np.array([b"3", b"7", b"10"])[Y], Y, ("3", "7", "10"), "3, 7, 10 are classes"),
        (np.where(Y == 1, -1, Y), None, (), "left out: 13 of 40 values are below 0"),
        (np.where(Y == 1, np.nan, Y), None, (), "left out: 13 of 40 rows are NaN"),
        (np.array(["a", ""])[Y % 2], None, (), "left out: 13 of 40 rows are empty"),
        (np.array(["a", None], object)[Y % 2], None, (), "which are never unpickled"),
        (0 * Y + 4, 0 * Y + 4, (), "every row is 4, one class alone"),
        (Y + 3, Y + 3, (), None),
    ],
)
def test_labels_in_their_usual_forms(label, expected, names, says, tmp_path):
    found = loaded(tmp_path, image=X, label=label)
    assert found.labels == names and len(found.notes) == (says is not None)
    assert says is None or says in found.notes[0]
    assert ("label" in found.train) == (expected is not None)
    if expected is not None:
        whole = np.sort(found.train["label"])
        assert whole.dtype == np.int32
        np.testing.assert_array_equal(whole, np.sort(expected.astype(np.int32)))


def test_text_labels_of_several_splits_have_the_same_numbers():
    texts = np.array(["b", "c", "a"], object)  # in memory, objects are what they are
    arrays = {"train": X, "train_label": texts[Y], "test": X[:5]}
    found = data.load(arrays | {"test_label": np.array(["c"] * 5)})
    assert found.labels == ("a", "b", "c") and set(found.test["label"]) == {2}
    for odd in (np.array(["a", 2] * 20, object), np.full(40, "2020", "M8[D]")):
        with pytest.raises(InputError, match="or texts, not"):
            data.load({"image": X, "label": odd})


@pytest.mark.parametrize(
    ("factors", "sizes", "says"),
    [
        (RANDOM.random((40, 4)) < 0.5, 4 * [2], None),
        (Y.astype(float), [3], None),
        (np.stack([Y, 0 * Y], 1), [3, 1], "column 1 has one value alone"),
        (np.array(["a", "b", "c"])[Y][:, None], [3], "a, b, c are classes 0 to 2"),
    ],
)
def test_factors_in_their_usual_forms(factors, sizes, says, tmp_path):
    found = loaded(tmp_path, image=X, factors=factors)
    assert [*found.factors.values()] == sizes
    assert found.train["factors"].shape == (40, len(sizes))
    assert len(found.notes) == (says is not None)
    assert says is None or says in found.notes[0]


def test_objects_spoil_only_themselves(tmp_path):
    meta = np.array({"author": "x"}, object)
    layout = {"imgs": X, "latents_classes": Y[:, None], "metadata": meta}
    name = saved(tmp_path, **layout, latents_values=Y[:, None] / 2)
    for found in (data.load(name), data.load(f"{name}:imgs")):
        assert found.shape == (3, 3, 1) and found.factors == {"factor0": 3}
        assert any("not read: metadata object []" in note for note in found.notes)
    with pytest.raises(InputError, match="array metadata of .* never unpickled"):
        data.load(f"{name}:metadata")
    ragged = np.array([np.zeros(2), np.zeros(3)], object)
    with pytest.raises(InputError, match="array train of .* rows of unequal lengths"):
        data.load(saved(tmp_path, train=ragged, valid=ragged))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (
            X.astype(np.uint16) * 16,
            "uint16, from 0 to 4000: .* divide them by 4095 or 6",
        ),
        (X.astype(np.int16) - 100, r"int16, from -100 to 150: .* \(x \+ 100\) / 250"),
        (
            X.astype(np.int64) % 13,
            r"int64, from 0 to 12: .* x.astype\('uint8'\) if 255",
        ),
        (X + 1j, "complex128: .* np.stack"),
        (
            np.full((40, 2), "2020", "M8[s]"),
            "datetime64.*: .* save numbers, such as seconds",
        ),
        (np.zeros((40, 2), "f4, f4"), "structured array of fields f0, f1: "),
        (np.where(X > 240, 1e300, X), r"beyond float32, such as 1e\+300: rescale"),
        (
            np.where(X == 5, np.nan, X),
            "NaN or inf.* .2, in 2 of 40 rows, first in row 0",
        ),
        (X[:, 0, 0], r"shape \[40\], one value a row: .* x\[:, None\] has vectors"),
        (1e6 + X / 1e5, "varies by less than 100 steps of float32.*subtract"),
        (
            X[:, 0, 0] > 99,
            r"shape .* if it marks the rows of a split, save .* x\[mask\]",
        ),
        (X[..., None, None], r"reshape\(\[40, 3, 3, 1\]\) has these axes"),
        (X[:, :0], r"shape \[40, 0, 3\], without any value"),
        (X[:0], r"shape \[0, 3, 3\], without any value"),
        (RANDOM.random((9, 1, 8, 8)), "the channels come last.*moveaxis"),
    ],
)
def test_types_and_shapes_that_are_refused_say_what_to_do(image, says, tmp_path):
    with pytest.raises(InputError, match=says) as fault:
        data.load(saved(tmp_path, image=image))
    assert "\n" not in str(fault.value) and "mine.npz" in str(fault.value)


@pytest.mark.parametrize(
    ("image", "kind", "says"),
    [
        (
            (X > 99).astype(np.int64),
            bool,
            "int64 of 0 and 1, and is read as bin",
        ),
        (
            np.minimum(X.astype(">u2") * 2, 255),
            np.uint8,
            "uint16 from 0 to 255, .* gray",
        ),
        (X % 13, np.uint8, "uint8 from 0 to 12: .* if these are counts"),
        (np.tile(X[-1:], (40, 1, 1)), np.uint8, "all images of train are the same"),
        (X.transpose(1, 2, 0), np.uint8, r"3 images of 3x40; .*moveaxis\(x, -1, 0\)"),
        (RANDOM.random((40, 40, 3, 150)), np.float32, r"40x3x150; .*\(x, -1, 0\)"),
        (RANDOM.random((20, 20, 60)), np.float32, r"20x60; if the examples come last"),
        (RANDOM.random((40, 5, 6, 6)), np.float32, "5x6x6; if the channels come first"),
        (X[:, 0] % 101, np.uint8, "uint8 from 0 to [0-9]+: .* if these are counts"),
        (X % 101, np.uint8, None),
        (
            1.6e9 + 99.0 * X[:, 0],
            np.float32,
            "column 0, 1, 2 varies by less than 100 steps",
        ),
        (
            X + [1e7, 0, 0],
            np.float32,
            r"pixel \[0, 0\], \[1, 0\], .* subtract its mean",
        ),
        (X.astype(">f4"), np.float32, None),
        (X.astype(np.float16), np.float32, None),
        (RANDOM.random((40, 4, 4, 12)), np.float32, None),
    ],
)
def test_what_may_be_meant_otherwise_is_said(image, kind, says, tmp_path):
    found = loaded(tmp_path, image=image)
    assert found.train["image"].dtype == kind
    assert len(found.notes) == (says is not None)
    assert says is None or re.search(says, found.notes[0])


def test_padding_with_nan_is_named(tmp_path):
    padded = RANDOM.random((40, 9, 2))
    padded[Y == 1, 4:], padded[Y == 2, 6:] = np.nan, np.nan
    with pytest.raises(
        InputError, match="end in NaN, of lengths 4 to 9: padding is not"
    ):
        loaded(tmp_path, image=padded)


def test_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "mine.H5", "w") as file:
        file["train/images"], file["test/images"] = X[:30], X[30:]
        file["train/labels"] = [b"cat", b"dog", b"owl"] * 10
        file["test/labels"] = ["cat"] * 10
        file["about"] = "text"
    found = data.load(tmp_path / "mine.H5")
    assert [len(part["image"]) for part in found.parts.values()] == [27, 3, 10]
    assert found.labels == ("cat", "dog", "owl")
    assert "read train/images as train, train/labels" in found.notes[0]
    assert "not read: about object []" in found.notes[1]
    assert data.load(f"{tmp_path / 'mine.H5'}:test/images").shape == (3, 3, 1)
    (tmp_path / "bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    with pytest.raises(InputError, match="cannot read .*bad.h5: Unable to"):
        data.load(tmp_path / "bad.h5")


def test_without_h5py_a_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "mine.h5").write_bytes(b"")
    with pytest.raises(InputError, match="needs h5py, .* or save an .npz"):
        data.load(tmp_path / "mine.h5")


def test_paths_that_no_reader_reads_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("mine.npz", image=X)
    Path("mine.npz").rename("mine.NPZ")
    assert data.load("mine.NPZ").shape == (3, 3, 1)
    for ending in ("pt", "mat", "zip", "npz.gz", "txt", "png"):
        Path(f"mine.{ending}").write_bytes(b"x")
        says = f"mine.{ending} is no file of .* np.savez"
        with pytest.raises(InputError, match=says):
            data.load(f"mine.{ending}")
    for path in ("no/such", "./no", "no.pt", str(tmp_path / "no")):
        with pytest.raises(InputError, match=f"cannot read {path}: No such file"):
            data.load(path)
    with pytest.raises(InputError, match="mine.csv:a: only .npz, .h5"):
        data.load("mine.csv:a")


def test_a_dict_for_each_split(digits):
    parts = {
        part: {k: v[:20] for k, v in s.items()} for part, s in digits.parts.items()
    }
    assert data.load(parts).digest == data.arrays(**parts).digest


def test_a_label_for_each_of_the_last_axis_says_so(tmp_path):
    for image in (RANDOM.random((9, 9, 40)), RANDOM.random((9, 9, 3, 40))):
        with pytest.raises(
            InputError, match=r"int64 \[40\]; if the examples come last"
        ):
            data.load(saved(tmp_path, image=image, label=Y))


@pytest.mark.parametrize("several", [(X, Y), (X, X), [X, X, X]])
def test_several_arrays_are_not_one(several):
    with pytest.raises(InputError, match=r"'label': y}, and splits as {'train': x"):
        data.load(several)
    assert len(data.load(list(X)).train["image"]) == 32


def test_what_is_masked_is_not_unmasked():
    with pytest.raises(InputError, match="masked values"):
        data.load(np.ma.masked_equal(X, 3))


def test_names_with_line_breaks_are_shown_in_one_line(tmp_path):
    keys = {"a\nb": X, "c\x1b": Y, "y": np.array(["k\nl", "m", "n"])[Y]}
    found = data.load(saved(tmp_path, **keys))
    assert found.labels[0] == "k\nl"
    assert "read a\\nb as image" in found.notes[0]
    assert "not read: c\\x1b int64" in found.notes[1] and "k\\nl, m" in found.notes[2]
    with pytest.raises(InputError, match=r"no array 'x'; it has a\\nb, c\\x1b, y"):
        data.load(f"{saved(tmp_path, **keys)}:x")
