"""Where arrays come from: drawn, read from what TFDS has prepared, or a user's own."""

import io
import json
import math
import shutil
import struct
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader
from PIL import Image

from aevae import InputError, WriteError, data
from aevae.data.builders import gaussian, sprites
from aevae.data.sources import embedded, stock
from aevae.data.sources import tfds as prepared
from aevae.system.cache import cache_dir

RANDOM = np.random.default_rng(11)


def write(name, place, splits, features=None):
    """Has TFDS write a stock set's folder of these examples, {split: [example]}, as array_record."""
    name, _, config = name.partition("/")
    of = None if features else tfds.builder_cls(name)

    def info(self):
        return tfds.core.DatasetInfo(builder=self, features=features)

    def split_generators(self, dl_manager):
        return {split: enumerate(rows) for split, rows in splits.items()}

    body = {"_split_generators": split_generators, "_generate_examples": None}
    if features:
        body |= {"_info": info, "VERSION": tfds.core.Version("1.0.0")}
    base = of or tfds.core.GeneratorBasedBuilder
    body |= {"name": name, "__module__": base.__module__}
    with tfds.core.registered.skip_registration():
        cls = type("Few", (base,), body)
    builder = cls(config=config or None, data_dir=place, file_format="array_record")
    with prepared._quiet():
        builder.download_and_prepare()
    return Path(builder.data_dir)


def as_tfrecord(folder):
    """Turns an array_record folder into what TFDS makes by default: the same records, framed."""
    for path in list(folder.glob("*array_record*")):
        reader = ArrayRecordReader(str(path))
        frames = b"".join(map(framed, reader.read_all()))
        reader.close()
        path.with_name(path.name.replace("array_record", "tfrecord")).write_bytes(
            frames
        )
        path.unlink()
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))


def framed(record):
    def masked(content):
        crc = google_crc32c.value(content)
        rotated = (crc >> 15) | (crc << 17) & 0xFFFFFFFF
        return struct.pack("<I", (rotated + 0xA282EAD8) % 2**32)

    length = struct.pack("<Q", len(record))
    return length + masked(length) + record + masked(record)


def image(*shape, most=256):
    return RANDOM.integers(0, most, shape).astype(np.uint8)


def png(array):
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def bit(array):
    """A PNG of one bit a pixel, as Omniglot's files are."""
    file = io.BytesIO()
    Image.fromarray(array[..., 0] * 255).convert("1").save(file, "png")
    return file.getvalue()


def jpeg(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "jpeg")
    return file.getvalue()


def gray(count=10, size=28):
    return [{"image": image(size, size, 1), "label": i % 10} for i in range(count)]


def colored():
    rows = gray()
    return [r | {"image": image(32, 32, 3), "id": f"t_{i}"} for i, r in enumerate(rows)]


def factored(sizes, names, shape, most=256):
    """Rows of dSprites' kind: a label and a value of every factor."""
    rows = []
    for _ in range(12):
        labels = {f: int(RANDOM.integers(n)) for f, n in zip(names, sizes)}
        row = {"image": image(*shape, most=most)}
        row |= {f"label_{f}": v for f, v in labels.items()}
        rows.append(row | {f"value_{f}": float(v) for f, v in labels.items()})
    return rows


DSPRITES = ("shape", "scale", "orientation", "x_position", "y_position")
SHAPES3D = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
NORB = ("category", "elevation", "azimuth", "lighting")


def norb():
    rows = factored((5, 9, 18, 6), NORB, (96, 96, 1))
    rows = [{k: v for k, v in r.items() if not k.startswith("value")} for r in rows]
    return [r | {"image2": image(96, 96, 1), "instance": 3} for r in rows]


def faces():
    features = tfds.builder("celeb_a", data_dir="/nowhere").info.features
    return [
        {
            "image": image(218, 178, 3),
            "attributes": {n: bool(RANDOM.integers(2)) for n in features["attributes"]},
            "landmarks": dict.fromkeys(features["landmarks"], 5),
            "identity": {"Identity_No": 7},
        }
        for _ in range(3)
    ]


def drawings():
    return [
        {
            "image": np.repeat(image(105, 105, 1, most=2), 3, 2),
            "alphabet": 3,
            "alphabet_char_id": 5,
            "label": i,
        }
        for i in range(4)
    ]


def same(row):
    return row["image"]


def transposed(row):
    return row["image"].swapaxes(0, 1)


def inked(row):
    """By summation over a grid four times as fine, of which 15 samples make a pixel."""
    fine = np.repeat(np.repeat(row["image"][..., 0] == 0, 4, 0), 4, 1)
    mean = fine.reshape(28, 15, 28, 15).mean((1, 3))
    return np.round(255 * mean).astype(np.uint8)[..., None]


SETS = {  # examples, image shape, type, factors, what an image must be
    "mnist": (gray, (28, 28, 1), np.uint8, (), same),
    "fashion_mnist": (gray, (28, 28, 1), np.uint8, (), same),
    "kmnist": (gray, (28, 28, 1), np.uint8, (), same),
    "emnist/letters": (gray, (28, 28, 1), np.uint8, (), transposed),
    "binarized_mnist": (
        lambda: [{"image": image(28, 28, 1, most=2)} for _ in range(5)],
        *((28, 28, 1), np.bool_, (), same),
    ),
    "omniglot": (drawings, (28, 28, 1), np.uint8, (), inked),
    "dsprites": (
        lambda: factored((3, 6, 40, 32, 32), DSPRITES, (64, 64, 1), most=2),
        *((64, 64, 1), np.bool_, DSPRITES, same),
    ),
    "shapes3d": (
        lambda: factored((10, 10, 10, 8, 4, 15), SHAPES3D, (64, 64, 3)),
        *((64, 64, 3), np.uint8, SHAPES3D, same),
    ),
    "smallnorb": (norb, (96, 96, 1), np.uint8, NORB, same),
    "celeb_a": (faces, (64, 64, 3), np.uint8, (), None),
    "cifar10": (colored, (32, 32, 3), np.uint8, (), same),
    "svhn_cropped": (colored, (32, 32, 3), np.uint8, (), same),
}


@pytest.mark.parametrize("form", ["array_record", "tfrecord"])
@pytest.mark.parametrize("name", SETS)
def test_a_stock_set_is_read_as_it_is(name, form, tmp_path):
    make, shape, kind, factors, expected = SETS[name]
    rows = make()
    encode = {"omniglot": bit, "celeb_a": jpeg}.get(name, png)
    stored = [
        {k: encode(v) if k.startswith("image") else v for k, v in row.items()}
        for row in rows
    ]
    alone = name in ("dsprites", "shapes3d")
    splits = {"train": stored} if alone else {"train": stored[:-1], "test": stored[-1:]}
    folder = write(name, tmp_path, splits)
    if form == "tfrecord":
        as_tfrecord(folder)
    every = "train+validation+test" if alone else "train+test"
    found = data.load(name, every, every, every, tmp_path)
    assert found.shape == shape and found.train["image"].dtype == kind
    assert found.version == folder.name and tuple(found.factors) == factors
    images = found.train["image"]
    assert len(images) == len(rows)
    if expected:
        ours = {bytes(row) for row in images}
        assert ours == {bytes(expected(row).astype(kind)) for row in rows}
    if factors:
        by_image = {bytes(expected(r).astype(kind)): r for r in rows}
        for one, labels in zip(images, found.train["factors"]):
            row = by_image[bytes(one)]
            assert labels.tolist() == [row[f"label_{factor}"] for factor in factors]
        assert found.factors == {
            f: tfds.builder(name, data_dir=tmp_path)
            .info.features[f"label_{f}"]
            .num_classes
            for f in factors
        }
    if name == "celeb_a":
        seen = [np.asarray(Image.open(io.BytesIO(row["image"]))) for row in stored]
        marks = {bytes(stock.face(i)): r["attributes"] for i, r in zip(seen, rows)}
        for one, ours in zip(images, found.train["attributes"]):
            theirs = marks[bytes(one)]
            assert [theirs[mark] for mark in sorted(theirs)] == ours.tolist()
    scaled = data.none(None, {"image": images})["image"]
    assert 0.7 < scaled.max() <= 1 and scaled.min() < 0.3


def test_a_face_is_the_middle_of_the_photograph():
    """A ramp keeps its values under any symmetric filter: row r of 64 is 35 + 148 (r + 1/2) / 64."""
    rows = np.arange(218, dtype=np.uint8)[:, None, None]
    ramp = np.broadcast_to(rows, (218, 178, 3))
    found = stock.face(ramp)
    assert found.shape == (64, 64, 3)
    expected = 35 + 148 * (np.arange(64) + 0.5) / 64 - 0.5
    np.testing.assert_allclose(found[2:-2, 10, 1], expected[2:-2], atol=0.51)
    columns = np.broadcast_to(np.arange(178, dtype=np.uint8)[:, None], (218, 178, 3))
    expected = 15 + 148 * (np.arange(64) + 0.5) / 64 - 0.5
    np.testing.assert_allclose(
        stock.face(columns)[9, 2:-2, 0], expected[2:-2], atol=0.51
    )


def test_rows_keep_their_labels_and_slices_are_those_of_tfds(tmp_path):
    rows = gray(40)
    folder = write(
        "mnist", tmp_path, {"train": [r | {"image": png(r["image"])} for r in rows]}
    )
    del folder
    labels = {bytes(row["image"]): row["label"] for row in rows}
    source = tfds.builder("mnist", data_dir=tmp_path)
    # One split alone is divided: 32, 4 and 4, and together they are the whole.
    found = data.load("mnist", "train", "validation", "test", tmp_path)
    assert [len(part["image"]) for part in found.parts.values()] == [32, 4, 4]
    order = np.random.default_rng(0).permutation(40)
    theirs = [bytes(row["image"]) for row in source.as_data_source("train")]
    ours = [bytes(i) for part in found.parts.values() for i in part["image"]]
    assert ours == [theirs[i] for i in order]
    for part in found.parts.values():
        for one, label in zip(part["image"], part["label"]):
            assert labels[bytes(one)] == label


def test_slices_are_those_of_tfds(tmp_path):
    rows = [r | {"image": png(r["image"])} for r in gray(30)]
    write("kmnist", tmp_path, {"train": rows[:20], "test": rows[20:]})
    source = tfds.builder("kmnist", data_dir=tmp_path)
    for split in ("train[:15]", "train[25%:]", "train[-3:]+test[:50%]", "all"):
        found = data.load("kmnist", split, "train", "test", tmp_path).train["image"]
        theirs = np.stack([row["image"] for row in source.as_data_source(split)])
        np.testing.assert_array_equal(found, theirs)


def test_a_set_of_ones_own_that_tfds_has_prepared(tmp_path):
    features = tfds.features.FeaturesDict(
        {
            "spectrum": tfds.features.Tensor(shape=(6,), dtype=np.float64),
            "label_kind": tfds.features.ClassLabel(num_classes=3),
            "label_place": tfds.features.Scalar(dtype=np.int64),
            "note": tfds.features.Text(),
        }
    )
    rows = [
        {
            "spectrum": RANDOM.random(6),
            "label_kind": i % 3,
            "label_place": i % 2,
            "note": "x",
        }
        for i in range(20)
    ]
    write("lines", tmp_path, {"train": rows[:10], "test": rows[10:]}, features)
    found = data.load("lines", "train", "test[:5]", "test[5:]", tmp_path)
    assert found.shape == (6,) and found.train["image"].dtype == np.float32
    assert list(found.factors.items()) == [("kind", 3), ("place", 2)]
    assert {tuple(f) for f in found.train["factors"]} <= {
        (i, j) for i in range(3) for j in range(2)
    }


# Embedded sets


def test_embedded_sets_are_what_their_builders_say():
    for name, known in embedded.EMBEDDED.items():
        cls = embedded.builder_class(name)
        assert cls.name == name and str(cls.VERSION) == known.version
        assert [c.name for c in cls.BUILDER_CONFIGS] == list(known.configs)


AREAS = (1.3**2, math.pi * 0.98 * 0.49, 3.6619589 / 1.45**2)  # in radii squared


@pytest.mark.parametrize("size", [32, 64])
def test_a_sprites_pixels_are_the_area_it_covers(size):
    every = sprites.combinations()
    some = every[RANDOM.choice(len(every), 500, replace=False)]
    images = sprites.draw(some, size)[..., 0] / 255
    scale = sprites.VALUES["scale"][some[:, 1]] * size / 4
    expected = np.array(AREAS)[some[:, 0]] * scale**2
    np.testing.assert_allclose(images.sum((1, 2)), expected, rtol=0.03)
    # Squares and ellipses have their centre at x and y.
    at = (np.arange(size) + 0.5) * 32 / size - 8.5
    weight = images / images.sum((1, 2), keepdims=True)
    round_ = some[:, 0] < 2
    for axis, factor in ((1, 3), (2, 4)):
        centre = (weight.sum(axis) * at).sum(1)
        np.testing.assert_allclose(centre[round_], some[round_, factor], atol=0.02)


def test_an_ellipse_is_turned_by_its_orientation():
    turns = np.arange(10)
    images = sprites.draw([[1, 5, k, 8, 8] for k in turns], 64)[..., 0] / 255.0
    x = np.arange(64) - 32.5 - 0.0
    y = -x[:, None]
    weight = images / images.sum((1, 2), keepdims=True)
    xx, yy, xy = ((weight * m).sum((1, 2)) for m in (x**2 + 0 * y, y**2 + 0 * x, x * y))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    np.testing.assert_allclose(angle, turns * math.pi / 20, atol=0.02)


@pytest.mark.slow
def test_a_small_square_and_the_set_hold_every_combination_once():
    every = sprites.combinations()
    assert len(every) == math.prod(sprites.SIZES.values()) == 46_080
    assert len({bytes(i) for i in sprites.draw(every)}) == len(every)
    found = data.load("sprites", "train", "validation", "test")
    parts = list(found.parts.values())
    factors = np.concatenate([part["factors"] for part in parts])
    assert sorted(map(tuple, factors)) == [*map(tuple, every)]
    assert found.factors == sprites.SIZES
    for part in parts:
        np.testing.assert_array_equal(
            part["image"][:300], sprites.draw(part["factors"][:300])
        )


def test_a_binary_sprite_is_half_covered():
    some = sprites.combinations()[::997]
    share = sprites.draw(some, 64) / 255
    binary = sprites.draw(some, 64, binary=True)
    np.testing.assert_array_equal(binary, share >= 0.5)
    with pytest.raises(ValueError, match="32 or 64"):
        sprites.draw(some, 48)


def test_gaussian_has_its_covariance():
    found = data.load("gaussian", "train", "validation", "test")
    x = np.concatenate([part["image"] for part in found.parts.values()]).astype(float)
    _, mean, _ = gaussian.parameters()
    covariance = gaussian.covariance()
    np.testing.assert_allclose(
        np.linalg.eigvalsh(covariance)[::-1],
        [16.25, 9.25, 4.25, 1.25, *[0.25] * 12],
        atol=1e-9,
    )
    error = 5 * np.sqrt(np.diag(covariance) / len(x))
    assert (abs(x.mean(0) - mean) < error).all()
    # Whitened, the sample's covariance is the identity within 5 sigma.
    white = (x - mean) @ np.linalg.inv(np.linalg.cholesky(covariance)).T
    second = white.T @ white / len(x)
    assert abs(second - np.eye(16)).max() < 5 * np.sqrt(2 / len(x))


# Prepared folders that cannot be used


@pytest.fixture
def few(tmp_path):
    """A folder of MNIST's kind, 30 training images and 10 others."""
    rows = [r | {"image": png(r["image"])} for r in gray(40)]
    return write("mnist", tmp_path, {"train": rows[:30], "test": rows[30:]})


def load_few(few):
    return data.load("mnist", "train", "test", "test", few.parents[1])


@pytest.mark.parametrize("form", ["array_record", "tfrecord"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "flipped", "deleted", "lost"])
def test_a_damaged_shard_is_one_line(form, damage, few):
    if form == "tfrecord":
        as_tfrecord(few)
    (shard,) = few.glob("mnist-train*")
    content = shard.read_bytes()
    if damage == "deleted":
        shard.unlink()
    elif damage == "lost":  # whole records
        if form == "array_record":
            pytest.skip("it has one chunk")
        (length,) = struct.unpack("<Q", content[:8])
        shard.write_bytes(content[length + 16 :])
    elif damage == "flipped":
        middle = 500
        flipped = bytes([content[middle] ^ 4])
        shard.write_bytes(content[:middle] + flipped + content[middle + 1 :])
    else:
        shard.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    with pytest.raises(InputError, match="mnist.* is not readable: ") as fault:
        load_few(few)
    assert "\n" not in str(fault.value)
    assert not list((cache_dir() / "arrays").glob("*.partial"))


def test_a_folder_that_is_no_prepared_set_is_one_line(few):
    info = few / "dataset_info.json"
    known = json.loads(info.read_text())
    for text, says in (
        ("{", "is not readable"),
        (json.dumps(known | {"fileFormat": "parquet"}), "stored as parquet"),
    ):
        info.write_text(text)
        with pytest.raises(InputError, match=says) as fault:
            load_few(few)
        assert "\n" not in str(fault.value)
    few.rename(few.with_name("raw"))
    with pytest.raises(InputError, match="is not prepared in .*experiments.prepare"):
        load_few(few)


def test_images_of_many_sizes_are_refused(tmp_path):
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "name": tfds.features.Text(),
        }
    )
    write(
        "photos",
        tmp_path,
        {"train": [{"image": png(image(4, 5, 3)), "name": "a"}]},
        features,
    )
    with pytest.raises(InputError, match="no feature that can be images of one size"):
        data.load("photos", "train", "train", "train", tmp_path)


def test_a_config_is_never_guessed(tmp_path):
    (tmp_path / "mine" / "a" / "1.0.0").mkdir(parents=True)
    with pytest.raises(InputError, match="has configs of mine: name one, mine/a"):
        data.load("mine", "train", "train", "train", tmp_path)
    with pytest.raises(InputError, match="emnist has several configs: name one; it "):
        data.load("emnist", "train", "train", "train", tmp_path)
    with pytest.raises(InputError, match="no config 'leters'; it has emnist/byclass"):
        data.load("emnist/leters", "train", "train", "train", tmp_path)


def test_a_missing_set_names_the_command_that_prepares_it(tmp_path):
    """By the name of its folder, and in the place where it was looked for."""
    with pytest.raises(InputError, match="--dataset=celeb_a --data_dir=/x. prep"):
        data.load("CelebA", "train", "train", "train", "/x")


def test_what_32_bits_cannot_hold_is_refused(tmp_path):
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Tensor(shape=(2, 3), dtype=np.float32),
            "label": tfds.features.Scalar(dtype=np.int64),
        }
    )
    rows = [
        {"image": np.eye(2, 3, dtype=np.float32), "label": 2**40 + i} for i in (0, 1)
    ]
    write("large", tmp_path, {"train": rows[:1], "test": rows[1:]}, features)
    with pytest.raises(
        InputError, match="large, train: label 1099511627776 does not fit"
    ):
        data.load("large", "train", "train", "train", tmp_path)
    rows = [row | {"label": 2} for row in rows]
    write("small", tmp_path, {"train": rows[:1], "test": rows[1:]}, features)
    found = data.load("small", "train", "train", "test", tmp_path)
    assert found.shape == (2, 3, 1)  # an image of one channel


# The cache of arrays


def entries():
    return [p for p in (cache_dir() / "arrays").iterdir() if not p.name.startswith(".")]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_second_time_nothing_is_decoded(cache, few, monkeypatch):
    first = load_few(few)
    monkeypatch.setattr(prepared.Prepared, "examples", None)
    second = load_few(few)
    assert first.digest == second.digest and len(entries()) == 1


@pytest.mark.parametrize("damage", ["flipped", "cut", "deleted", "about", "sums"])
def test_damaged_arrays_are_decoded_anew(damage, cache, few):
    first = load_few(few)
    (entry,) = entries()
    path = entry / "train.image.npy"
    content = path.read_bytes()
    if damage == "flipped":
        path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    elif damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "deleted":
        path.unlink()
    elif damage == "about":
        (entry / "about.json").write_text("{}")
    else:
        (entry / "SHA256SUMS").write_bytes(b"\xff")
    assert load_few(few).digest == first.digest
    assert path.read_bytes() == content


def test_another_preparation_takes_the_place_of_the_first(cache, few, tmp_path):
    load_few(few)
    (before,) = entries()
    shutil.rmtree(few)
    rows = [r | {"image": png(r["image"])} for r in gray(9)]
    write("mnist", tmp_path, {"train": rows[:6], "test": rows[6:]})
    assert len(load_few(few).train["image"]) == 6
    (after,) = entries()
    assert after != before


def test_a_full_disk_that_is_known_by_its_words_is_the_disks_fault(tmp_path):
    """As array_record says it, in a RuntimeError."""
    words = "Failed to finalize: write() failed: No space left on device; closing"
    fails = pytest.raises(WriteError, match="cannot prepare mine in .*: Failed to")
    with fails, prepared._one_line_errors("mine", tmp_path):
        raise RuntimeError(words)
