"""Folders of images."""

import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from aevae import InputError, data
from aevae.data.sources import tfds

RANDOM = np.random.default_rng(5)


def draw(path, mode="L", size=(5, 4), **how):
    """Saves a random image; `size` is (width, height). Returns what Pillow holds of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colors = RANDOM.integers(0, 256, (size[1], size[0], 4)).astype(np.uint8)
    colors = Image.fromarray(colors if mode in ("LA", "RGBA") else colors[..., :3])
    image = colors.convert(mode)
    image.save(path, **how)
    return np.asarray(image)


def deep(path):
    """Saves a PNG of three channels of 16 bits, which Pillow does not write."""

    def chunk(tag, body):
        ends = struct.pack(">I", len(body)), struct.pack(">I", zlib.crc32(tag + body))
        return ends[0] + tag + body + ends[1]

    rows = b"".join(b"\0" + RANDOM.bytes(5 * 3 * 2) for _ in range(4))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("mode", "kind", "channels", "ending"),
    [
        ("L", np.uint8, 1, "png"),
        ("L", np.uint8, 1, "BMP"),
        ("LA", np.uint8, 2, "png"),
        ("RGB", np.uint8, 3, "tif"),
        ("RGBA", np.uint8, 4, "webp"),
        ("1", bool, 1, "Png"),
        ("F", np.float32, 1, "tiff"),
    ],
)
def test_images_are_read_as_they_are_stored(mode, kind, channels, ending, tmp_path):
    how = {"lossless": True, "exact": True} if ending == "webp" else {}
    drawn = [draw(tmp_path / f"{k}.{ending}", mode, **how) for k in range(9)]
    found = data.load(tmp_path, "train+validation+test", "test", "test")
    assert found.shape == (4, 5, channels) and found.notes == ()
    assert found.train["image"].dtype == kind and "label" not in found.train
    expected = {each.astype(kind).tobytes() for each in drawn}
    assert {bytes(each) for each in found.train["image"]} == expected


def test_folders_of_classes_are_labels(tmp_path):
    drawn = {
        draw(tmp_path / kind / "more" / f"{k}.png").tobytes(): kind
        for kind in ("10", "9", "owl")
        for k in range(4)
    }
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "owl" / "about.txt").write_text("x")
    draw(tmp_path / "9" / ".ipynb_checkpoints" / "0-checkpoint.png")
    (tmp_path / "none").mkdir()
    found = data.load(tmp_path)
    assert found.labels == ("10", "9", "owl") and len(found.train["label"]) == 10
    for part in found.parts.values():
        kinds = [found.labels[k] for k in part["label"]]
        assert kinds == [drawn[bytes(image)] for image in part["image"]]
    assert "1 .txt (about.txt), 1 folder (none), 2 hidden (.DS_Store)" in found.notes[0]
    assert "12 images lie deeper than the folder of their class" in found.notes[1]
    assert "10, 9, owl are classes 0 to 2" in found.notes[2]


def test_folders_of_splits(tmp_path):
    for split, count in (("Train", 6), ("val", 3), ("test", 2)):
        for k in range(count):
            draw(tmp_path / split / "ab"[k % 2] / f"{k}.jpg", "RGB")
    draw(tmp_path / "stray.png")
    found = data.load(tmp_path)
    assert [len(part["image"]) for part in found.parts.values()] == [6, 3, 2]
    assert found.labels == ("a", "b") and list(found.test["label"]) == [0, 1]
    assert "not read: 1 .png (stray.png)" in found.notes[0]
    (tmp_path / "test" / "b" / "1.jpg").unlink()
    assert list(data.load(tmp_path).test["label"]) == [0]  # not all classes
    draw(tmp_path / "car" / "1.jpg", "RGB")  # trains and cars?
    with pytest.raises(InputError, match="for splits, Train, .* and others, car: put"):
        data.load(tmp_path)
    draw(tmp_path / "dev" / "1.jpg", "RGB")
    with pytest.raises(InputError, match="several folders of one split: dev, val"):
        data.load(tmp_path)


def test_splits_without_classes_and_one_folder_in_another(tmp_path):
    for k in range(12):
        draw(tmp_path / "faces" / "all" / f"{k}.png")
    found = data.load(tmp_path / "faces")
    assert [len(part["image"]) for part in found.parts.values()] == [10, 1, 1]
    assert "label" not in found.train
    assert "all images lie in all: there are no labels" in found.notes[0]
    (tmp_path / "faces" / "all").rename(tmp_path / "faces" / "training")
    assert data.load(tmp_path / "faces").digest == found.digest
    draw(tmp_path / "faces" / "test" / "cat" / "1.png")
    draw(tmp_path / "faces" / "test" / "dog" / "1.png")
    with pytest.raises(InputError, match="some splits have folders of classes"):
        data.load(tmp_path / "faces")


def test_a_folder_in_the_folder_is_read_in_its_place(tmp_path):
    for k in range(6):
        for part in ("training", "testing"):
            draw(tmp_path / "m" / "png" / part / str(k % 2) / f"{k}.png")
        draw(tmp_path / "c" / "images" / "ab"[k % 2] / f"{k}.png")
        draw(tmp_path / "none" / ("test", "val")[k % 2] / f"{k}.png")
    (tmp_path / "m" / "about.txt").write_text("x")
    found = data.load(tmp_path / "m")
    assert found.labels == ("0", "1") and len(found.test["label"]) == 6
    assert "one folder of images, png, is read in its place" in found.notes[0]
    assert "not read: 1 .txt (about.txt)" in found.notes[1]
    assert data.load(tmp_path / "c").labels == ("a", "b")
    (tmp_path / "e").mkdir()
    (tmp_path / "c").rename(tmp_path / "e" / "c")
    assert (
        "of images, c/images, is read in its pl" in data.load(tmp_path / "e").notes[0]
    )
    with pytest.raises(InputError, match="splits, test, val, and none called train:"):
        data.load(tmp_path / "none")


def test_a_folder_in_each_split_is_no_class(tmp_path):
    for k in range(6):
        for part in ("train", "test"):
            draw(tmp_path / "kaggle" / part / part / f"{k}.png")
            draw(tmp_path / "named" / part / f"{part}imgs" / f"{k}.png")
            draw(tmp_path / "deep" / part / "images" / "ab"[k % 2] / f"{k}.png")
            inner = "good/" + "xy"[k % 2] if part == "train" else ("good", "bad")[k % 2]
            draw(tmp_path / "normal" / part / inner / f"{k}.png")
    for name, labels, says in (
        (
            "kaggle",
            (),
            "all images of each split lie in one folder, test, train: there",
        ),
        (
            "named",
            (),
            "each split lie in one folder, testimgs, trainimgs: there are no",
        ),
        (
            "deep",
            ("a", "b"),
            "each split's one folder, test/images, train/images, is re",
        ),
        ("normal", ("bad", "good"), "6 images lie deeper than the folder of"),
    ):
        found = data.load(tmp_path / name)
        assert found.labels == labels and ("label" in found.train) == (labels != ())
        assert re.search(says, found.notes[0]), found.notes


def test_what_rgb_would_clip_is_not_to_be_converted(tmp_path):
    for other in ("F", "L"):
        folder = tmp_path / other
        draw(folder / "1.tif", other)
        Image.fromarray(np.full((4, 5), 4000, np.uint16)).save(folder / "2.png")
        with pytest.raises(InputError, match=r"I;16 .*: save np.asarray\(Im.*npz$"):
            data.load(folder)


def test_floats_that_are_not_finite_are_one_line(tmp_path):
    for k, value in enumerate((0.5, np.nan, np.inf)):
        Image.fromarray(np.full((4, 5), value, np.float32)).save(tmp_path / f"{k}.tif")
    with pytest.raises(InputError, match="NaN or infinite values .40, in 2 of 3 rows"):
        data.load(tmp_path)


def test_sizes_and_modes_that_differ_are_listed(tmp_path):
    for k in range(6):
        draw(
            tmp_path / f"{k}.png",
            "RGB" if k == 3 else "L",
            (5, 6) if k == 4 else (5, 4),
        )
    says = r"width x height 5x4 L \(4, such as 0.png\), 5x4 RGB \(1, such as 3.png\), 5x6 L"
    with pytest.raises(InputError, match=says + r".*resize\(\(64, 64\)\)") as fault:
        data.load(tmp_path)
    assert "\n" not in str(fault.value)


def test_what_is_read_otherwise_than_it_is_stored_is_said(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    for k in range(4):
        draw(tmp_path / "turned" / f"{k}.png", "L", (4, 5), exif=exif)
        draw(tmp_path / "palette" / f"{k}.png", "P")
        first = draw(tmp_path / "frames" / f"{k}.gif", "L")
        more = [Image.new("L", (5, 4), k) for k in (9, 200)]
        Image.fromarray(first).save(
            tmp_path / "frames" / f"{k}.gif", save_all=True, append_images=more
        )
        (tmp_path / "sixteen").mkdir(exist_ok=True)
        wide = np.full((4, 5), 65535, np.uint16)
        wide[0, 0] = 0
        Image.fromarray(wide).save(tmp_path / "sixteen" / f"{k}.png")
        (tmp_path / "deep").mkdir(exist_ok=True)
        deep(tmp_path / "deep" / f"{k}.png")
    for kind, channels, says in (
        ("turned", 1, "4 images turned upright"),
        ("palette", 3, "4 images with a palette: its colors are read"),
        ("frames", 3, "4 images of several frames: the first is read"),
        ("sixteen", 1, "4 images of 16 bits: x/65535 is stored"),
        ("deep", 3, "4 images of 16 bits a channel, of which Pillow reads 8"),
    ):
        found = data.load(tmp_path / kind)
        assert found.shape == (4, 5, channels)
        assert any(says in note for note in found.notes), found.notes
    found = data.load(tmp_path / "sixteen")
    assert found.range == (0, 1) and "greatest" not in " ".join(found.notes)
    for k in range(4):
        wide[0, 0] = 99 * k
        path = tmp_path / "twelve" / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(wide // 16).save(path)
    assert (
        "bits is 4095, so that x/65535 reaches 0.062: if they are of 12 bits"
        in (data.load(tmp_path / "twelve").notes[-1])
    )


def test_what_is_no_folder_of_images_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "npz").mkdir()
    np.savez("npz/x.npz", image=np.eye(9))
    draw(tmp_path / "both" / "1.png")
    draw(tmp_path / "both" / "a" / "1.png")
    draw(tmp_path / "damaged" / "1.png")
    whole = (tmp_path / "damaged" / "1.png").read_bytes()
    (tmp_path / "damaged" / "2.png").write_bytes(whole[:50])
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "1.png").write_text("no")
    draw(tmp_path / "ink" / "1.tif", "CMYK")
    draw(tmp_path / "whole" / "1.tif", "I")
    (tmp_path / "notrain" / "test").mkdir(parents=True)
    (tmp_path / "notest" / "test").mkdir(parents=True)
    draw(tmp_path / "notest" / "train" / "1.png")
    for name, says in (
        ("empty", r"without images \(.png, .*, and is empty"),
        ("npz", r"without images .*; it holds 1 .npz \(x.npz\). A file"),
        ("both", "images, such as 1.png, beside folders of images, such as a"),
        ("damaged", "cannot read damaged/2.png: "),
        ("text", "cannot read text/1.png: it is no image, or damaged"),
        ("whole", "1.tif is an image of mode I: save np.asarray"),
        ("ink", "1.tif is an image of mode CMYK: convert"),
        ("notrain", "without images"),
        ("notest", "without images in test"),
    ):
        with pytest.raises(InputError, match=says) as fault:
            data.load(name)
        assert "\n" not in str(fault.value)


def test_a_folder_of_a_stock_sets_name_is_given_as_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for k in range(4):
        draw(tmp_path / "digits" / f"{k}.png")
    assert data.load("digits").shape == (8, 8, 1)
    assert data.load("./digits").shape == (4, 5, 1)
    prepared = tfds.find("digits")  # has the path of its version, and of all versions
    for folder in (prepared, prepared.parent):
        assert data.load(folder).digest == data.load("digits").digest
