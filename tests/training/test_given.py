"""New data are read by a trained run as its training data were, or refused by name."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from outside import NETWORKS

from aevae import InputError, config, data, models
from aevae.runs import trained
from aevae.training.check import with_image_shape
from aevae.training.given import Seen
from aevae.training.trained_run import Trained, seen

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def base():
    return config.load("configs/digits.py")


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ([7] * 4, "4 whole numbers from 0 to 2, .*, not 7$"),
        ([0, 1, -1, 0], "not -1$"),
        ([0, 1, 0.5, 0], "not 0.5$"),
        ([0, 1, np.nan, 0], "not nan$"),
        (["a", "b", "c", "a"], r"not <U1 \[4\]$"),
        ([[0], [1], [2], [0]], r"not int64 \[4, 1\]$"),
        ([0, 1], r"not int64 \[2\]$"),
        ([0, [1], 2, 0], r"not object \[\]$"),
        (1, r"not int64 \[\]$"),
        ([0, 1, 2.0, 0], None),
        (np.array([0, 1, 2, 0], np.uint8), None),
    ],
)
def test_labels_are_those_of_the_classes(label, says, base):
    """Labels beyond the classes were read as none of them, without a word."""
    made = models.ConditionalVAE(2, *NETWORKS, classes=3, shape=(2, 2, 1))
    run = Trained(dataclasses.replace(base, model=made), {}, 0, {}, {})
    batch = {"image": np.zeros((4, 2, 2, 1), np.uint8), "label": label}
    if says is None:
        np.testing.assert_array_equal(run._batch(batch)["label"], [0, 1, 2, 0])
        return
    for use in (
        lambda: run.encode(batch),
        lambda: run.decode(np.zeros((4, 2)), {"label": label}),
    ):
        with pytest.raises(InputError, match=f"^labels must be .*{says}"):
            use()
    with pytest.raises(InputError, match="labels must be whole numbers from 0 to 2"):
        run.prior({"label": [3]})


def untrained(x, base, **changes):
    """A run on the data x, without parameters."""
    base = dataclasses.replace(base, **changes)
    dataset = data.of(base, dataset=x)
    base = with_image_shape(base, dataset)
    held = {"test": data.held_out(base.binarization, dataset, "test")}
    return Trained(base, {}, 0, {}, {}, seen=seen(base.binarization, dataset, held))


def model_is_given(run, image):
    """What its model is given of images."""
    return np.asarray(run._batch(image)["image"])


def test_binary_images_are_given_as_they_were_trained_on(base, digits):
    """uint8 of 0 and 1, which training read as binary, were divided by 255."""
    gray = digits.test["image"]
    x = (gray > 127).astype(np.uint8)
    for binarization in (data.none, data.stochastic, data.fixed):
        run = untrained(x, base, binarization=binarization)
        for kind in (np.uint8, bool, float):
            np.testing.assert_array_equal(model_is_given(run, x.astype(kind)), x)
        assert run.read(x)["image"].dtype == bool
        with pytest.raises(InputError, match="uint8 to 255, .* trained on 0 and 1: "):
            model_is_given(run, x * 255)
    run = untrained(gray, base, binarization=data.fixed)
    np.testing.assert_allclose(model_is_given(run, gray), gray / 255, rtol=1e-6)


def test_one_channel_may_be_left_out(base, digits):
    gray = digits.test["image"]
    found = model_is_given(untrained(gray, base), gray[..., 0])
    np.testing.assert_allclose(found, gray / 255, rtol=1e-6)


def test_columns_on_another_scale_are_named(base):
    """One range over all columns took standardized and swapped columns for stored ones."""
    rng = np.random.default_rng(0)
    sizes = np.array([50.0, 1.0, 0.0])
    x = np.float32(rng.standard_t(2, (2000, 3)) * sizes + [1e5, 0, 7])
    model = models.VAE(2, *NETWORKS, models.LearnedGaussian())
    how = {"model": model, "binarization": data.none, "standardize": "each"}
    run = untrained(x[:1000], base, **how)
    for rows in (x[1000:], *np.split(x[1000:1100], 100), x[1000:1005] + [0, 0, 0.1]):
        assert model_is_given(run, rows).shape == rows.shape
    spread = np.where(x.std(0) > 0, x.std(0), 1)
    for wrong, says in (
        (
            (x - x.mean(0)) / spread,
            "column 0 has the median .* on, .* to .*: give",
        ),
        (x[:, [1, 0, 2]], "column 1 "),
        (x[5:6, [1, 0, 2]], "column 1 "),
        (x + [0, 500, 0], "column 1 has the median"),
        (np.where(x == x[3], np.nan, x), "NaN or infinite"),
    ):
        with pytest.raises(InputError, match=says):
            model_is_given(run, np.float32(wrong))
    run.seen = Seen(x.min(), x.max())  # of a folder of before
    assert model_is_given(run, x[:, [1, 0, 2]]).shape == x.shape


@pytest.mark.parametrize(
    ("image", "binarization", "scale"),
    [
        (np.array([[0, 200]], np.uint8), data.none, (0, 1)),
        (np.array([[0, 0.7]], np.float32), data.stochastic, (0, 1)),
        (np.float32([-3, 0.7]).reshape(1, 2, 1, 1), data.none, (-3, np.float32(0.7))),
        (np.array([[-3, 0.7]], np.float32), data.none, np.float32([[-3, 0.7]] * 2)),
        (
            np.array([[0, 200]], np.uint8),
            lambda key, batch: batch | {"image": batch["image"] * 2.0 - 1},
            [[-1, 399]] * 2,
        ),
    ],
)
def test_the_scale_of_what_a_model_is_given(image, binarization, scale):
    rows = {"image": image}
    dataset = data.arrays(rows, rows, rows)
    held = {"test": data.held_out(binarization, dataset, "test")}
    np.testing.assert_array_equal(seen(binarization, dataset, held)[:2], scale)


GAUSSIAN = {
    "model": models.VAE(2, *NETWORKS, models.LearnedGaussian()),
    "binarization": data.none,
    "standardize": "each",
}


def test_floats_of_0_and_1_are_not_gray_levels(base):
    """uint8 of 0 and 1 were divided by 255 unless the run was trained on bool or uint8."""
    x = RNG.random((40, 2, 2)) < 0.5
    run = untrained(np.float32(x), base, binarization=data.none)
    np.testing.assert_array_equal(model_is_given(run, x)[..., 0], x)
    np.testing.assert_array_equal(model_is_given(run, 255 * np.uint8(x))[..., 0], x)
    gray = untrained(np.uint8(200 * x), base, binarization=data.none)
    for own in (run, gray):
        with pytest.raises(InputError, match="uint8 of 0 and 1, which may be .*: give"):
            model_is_given(own, np.uint8(x))
    table = pa.table({"a": x[:, 0, 0], "b": np.uint8(x[:, 1, 1])})
    run = untrained(table, base, binarization=data.none)
    for kind in (pa.uint8(), pa.int64(), pa.bool_(), pa.float32()):
        same = pa.table({name: table[name].cast(kind) for name in ("a", "b")})
        np.testing.assert_array_equal(model_is_given(run, same), x[:, [0, 1], [0, 1]])


def test_floats_that_end_near_0_and_1_are_on_the_scale_of_gray_levels(base):
    x = np.clip(RNG.random((40, 2, 2), np.float32), 1e-4, 1 - 1e-4)
    run = untrained(x, base, binarization=data.none)
    gray = np.uint8(255 * x)
    np.testing.assert_allclose(model_is_given(run, gray)[..., 0], gray / 255, rtol=1e-6)
    assert model_is_given(run, x > 0.5).shape == (40, 2, 2, 1)
    with pytest.raises(InputError, match="divide by 255, or give uint8$"):
        model_is_given(run, 255 * x)
    run = untrained(x > 0.5, base, binarization=data.none)
    with pytest.raises(InputError, match="divide by 255$"):
        model_is_given(run, 255.0 * (x > 0.5))


def frame(count=60):
    columns = {
        "height": RNG.normal(170, 10, count),
        "weight": RNG.normal(165, 12, count),
    }
    columns |= {"flag": RNG.random(count) < 0.5, "n": RNG.integers(0, 9, count)}
    return pa.table(
        columns | {"label": np.array(["a", "b", "c"])[np.arange(count) % 3]}
    )


def test_the_columns_of_a_table_are_known_by_name(base):
    """In another order they gave other codes, and as they were trained on they were refused."""
    table = frame()
    run = untrained(table, base, **GAUSSIAN)
    x = np.stack([np.float32(table[k]) for k in ("height", "weight", "flag", "n")], 1)
    assert run.seen.columns == ("height", "weight", "flag", "n")
    for order in (table.column_names, ["n", "weight", "label", "flag", "height"]):
        found = run.read(table.select(order))
        np.testing.assert_array_equal(np.float32(found["image"]), x)
        np.testing.assert_array_equal(found["label"], np.arange(60) % 3)
    more = table.append_column("id", [range(60)])
    index = table.append_column("__index_level_0__", [range(60)])
    assert run.read({"image": index})["image"].shape == (60, 4)
    text = table.set_column(3, "n", [["x"] * 60])
    empty = table.set_column(3, "n", [[None] * 60])
    for wrong, says in (
        (table.drop_columns("n"), "no column n: give the .*, height, weight, flag, n$"),
        (more, "the table has the column id: give"),
        (table.append_column("n", [range(60)]), "several columns n: give"),
        (table.append_column("target", [range(60)]), "the column target: give"),
        (table.append_column("index", [range(60)]), "the column index: give"),
        (text, "column n of the table holds string: give numbers"),
        (empty, "column n of the table holds null: give numbers"),
    ):
        with pytest.raises(InputError, match=says):
            run.read(wrong)


def test_a_folder_keeps_what_its_runs_have_seen(tmp_path):
    known = Seen(np.float32([0, 1]), np.float32([2, 3]), False, ("a", "b"), ("x", "y"))
    state = SimpleNamespace(params={}, step=0)
    (tmp_path / "params").mkdir()
    for seen_of in (known, Seen(0.0, 1.0, True), Seen(False, True)):
        trained.save(tmp_path / "params" / "0000.npz", state, {}, seen_of)
        found = trained.stored(tmp_path, 0)[2]
        assert found[2:] == seen_of[2:] and type(found) is Seen
        np.testing.assert_array_equal(found[:2], seen_of[:2])
    for before in ({"seen": (0.0, 1.0)}, {}):  # folders of before
        np.savez(tmp_path / "params" / "0000.npz", step=0, **before)
        found = trained.stored(tmp_path, 0)[2]
        assert found == (Seen(0.0, 1.0) if before else None)


def test_whole_numbers_are_what_they_were_in_training(base):
    counts, gray = RNG.integers(0, 40, (40, 3)), RNG.integers(2, 256, (40, 3))
    gray[0] = 255
    run = untrained(pa.table(list(counts.T), list("abc")), base, **GAUSSIAN)
    for given in (counts, pa.table(list(np.uint8(counts).T), list("abc"))):
        np.testing.assert_array_equal(run.read(given)["image"], counts)
    for given in (gray, pa.table(list(gray.T), list("abc"))):
        run = untrained(given, base)
        np.testing.assert_array_equal(run.read(given)["image"], np.uint8(gray))
        with pytest.raises(
            InputError, match="from .* to 510, .* on gray levels, 0 to 255"
        ):
            run.read(2 * gray)


def test_a_constant_column_has_a_scale(base):
    """It took anything within a quarter of the range of the whole table."""
    x = np.stack(
        [RNG.normal(5e4, 1e4, 200), RNG.normal(0, 1, 200), np.full(200, 49)], 1
    )
    run = untrained(np.float32(x), base, **GAUSSIAN)
    assert model_is_given(run, x + [0, 0, 0.5]).shape == x.shape
    with pytest.raises(
        InputError, match="column 2 has the median 1, and is on another"
    ):
        model_is_given(run, np.where(x == 49, 1, x))


def test_outliers_of_a_table_are_read_with_a_line(base, capsys):
    x = RNG.normal(50, 10, (200, 3))
    run = untrained(np.float32(x), base, **GAUSSIAN)
    assert model_is_given(run, x[:20] + 120).shape == (20, 3)
    line = "has the median 1.*, and lies beyond what the run was trained on, .* unless"
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("column ") and "lies beyond what the run was" in said, line
    model_is_given(run, x[:20] + 20)
    assert capsys.readouterr().err == ""
    with pytest.raises(InputError, match="another scale .* and outliers among usual"):
        model_is_given(run, x[:20] * 100)


def test_classes_are_read_by_name(base):
    made = models.ConditionalVAE(2, *NETWORKS, classes=3, shape=(2, 2, 1))
    own = dataclasses.replace(base, model=made)
    run = Trained(
        own, {}, 0, {}, {}, seen=Seen(0.0, 1.0, True, (), ("cat", "dog", "fish"))
    )
    batch = {"image": np.zeros((3, 2, 2, 1), np.uint8), "label": ["dog", "fish", "cat"]}
    np.testing.assert_array_equal(run.read(batch)["label"], [1, 2, 0])
    with pytest.raises(
        InputError, match="not 'emu'; their names are cat 0, dog 1, fish 2$"
    ):
        run.read(batch | {"label": ["dog", "emu", "cat"]})
