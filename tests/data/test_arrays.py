"""A user's own arrays, from an .npz or .npy file."""

from pathlib import Path

import numpy as np
import pytest

from aevae import InputError, data

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
            r"several arrays, a .* b .*\.npz:a, or call",
        ),
        ({"image": np.eye(5, dtype=np.int64)}, "int64: images must be uint8"),
        ({"image": np.array([["x"]])}, "images must be uint8"),
        ({"image": np.eye(5)[:2]}, "has 2 examples: three are needed"),
        ({"image": np.zeros((9, 3, 8, 8), np.uint8)}, "the channels come last"),
        ({"image": np.zeros((9, 2, 2, 2, 2), np.uint8)}, "images are .N, H, W, C."),
        ({"image": np.eye(5), "label": np.arange(4)}, r"label, must be .* N = 5, not"),
        ({"image": np.eye(5), "label": np.eye(5)[0]}, "label, must be whole numbers"),
        ({"image": np.eye(5), "label": np.arange(5) + 2**31}, "from 0 to 2.31, "),
        (
            {"train": np.eye(5), "test": np.ones((4, 2, 2, 1))},
            "split test has .* train",
        ),
        ({"image": np.full((30, 2), np.nan)}, "pixels are NaN or infinite"),
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
    with pytest.raises(InputError, match="d.npy is not a file of arrays"):
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
    for ragged in ([[1, 2], [3]], [image(4, 4), image(5, 4)], {"image": [[1], [2, 3]]}):
        with pytest.raises(InputError, match="rows of unequal shapes are no array"):
            data.load(ragged)
