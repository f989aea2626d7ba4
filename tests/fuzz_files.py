"""Files that users might bring, for tests/test_fuzz.py: of arrays, tables, and folders of pictures.

Shapes of what trains are few and tiny, since each is a program of its own to compile.
"""

import io
import warnings
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
from hypothesis import strategies as st
from PIL import Image

SHAPES = (  # of images that train
    *((24, 3), (24, 1), (3, 2), (9, 5), (20, 4, 4), (20, 5, 3), (20, 1, 1)),
    *((20, 4, 4, 1), (20, 5, 3, 3), (20, 1, 1, 1), (12, 4, 4, 2)),
)
DTYPES = (
    *("?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", ">i2", "f2", "f4", "f8"),
    *(">f4", ">f8", "g", "c8", "c16", "U3", "S4", "M8[D]", "m8[s]", "O", "V4"),
    "a:f4,b:i4",
)
REAL = ("sigma_vae", "gaussian_pair")  # likelihoods of any real number


@st.composite
def image_sets(draw, method, shapes):
    """Arrays that train by a method, as a rule: images, perhaps splits, labels and others."""
    if method in ("convolutional", "attention"):
        shapes = [shape for shape in shapes if len(shape) == 4]
    shape = draw(st.sampled_from(shapes))
    kinds = [("f2", 1), ("f4", 1), ("f8", 1), (">f4", 1), ("u1", 256), ("u1", 2)]
    kinds += [("f4", 3), ("f8", -50)] * 2 if method in REAL else [("?", 1)]
    kinds = kinds * 3 + [("f4", 2), ("f8", 255)]
    dtype, scale = draw(st.sampled_from(kinds))
    rng = np.random.default_rng(draw(st.integers(0, 99)))

    def images(count):
        values = rng.random((count, *shape[1:])) * scale
        values = values > 0.5 if dtype == "?" else values
        return values.astype(dtype)

    count, arrays = shape[0], {}
    annotate = method == "conditional" or draw(st.sampled_from([0, 0, 1]))
    layout = draw(
        st.sampled_from(["image"] * 5 + ["other", "splits", "splits", "tools"])
    )
    names = {"image": [("image", "label", count)]}
    parts = draw(
        st.sampled_from([("train", "validation", "test")] * 3 + [("train", "test")])
    )
    names["splits"] = [(s, f"{s}_label", count) for s in parts]
    names["tools"] = [(f"x_{s}", f"y_{s}", count) for s in ("train", "test")]
    names["other"] = [
        (draw(st.sampled_from(["data", "arr_0", "X", "名"])), "label", count)
    ]
    for key, label, size in names[layout]:
        arrays[key] = images(size)
        if annotate:
            arrays[label] = draw(labels(size))
    if layout == "image" and draw(st.sampled_from([0, 0, 0, 1])):
        arrays["factors"] = draw(factors(count))
    extra = {"zz_notes": rng.random(count), "zz_planes": images(count)}
    strange = [(), (), ("zz_notes",)] + [tuple(extra)] * (layout == "image")
    strange = draw(st.sampled_from(strange)) if draw(st.booleans()) else ()
    return arrays | {key: extra[key] for key in strange}, strange


@st.composite
def labels(draw, count):
    """Labels of a set, in one of the forms that they have in files."""
    whole = np.arange(count) % draw(st.sampled_from([3, 3, 3, 1, 10, 12]))
    forms = {
        "int": whole,
        "column": whole[:, None],
        "one-hot": np.eye(whole.max() + 1, dtype="f4")[whole],
        "bool": whole > 0,
        "float": whole.astype("f8"),
        "half": whole + 0.5,
        "nan": np.where(whole == 0, np.nan, whole),
        "negative": whole - 1,
        "text": np.array(["cat", "dog", "ü"])[whole % 3],
        "bytes": np.array([b"a", b"b"])[whole % 2],
        "object": np.array(["cat", None], object)[whole % 2],
        "short": whole[1:],
        "huge": whole.astype("u8") + 2**63,
        "scalar": np.array(3),
    }
    common = ["int"] * 24 + ["column", "bool", "text"] * 3
    return forms[draw(st.sampled_from([*common, *forms]))]


@st.composite
def factors(draw, count):
    """Ground-truth factors, in one of the forms that they have in files."""
    whole = np.stack([np.arange(count) % 2, np.arange(count) % 3], 1)
    forms = [whole] * 9 + [
        whole == 1,
        whole * 1.0,
        whole - 1,
        whole[:, :1],
        whole[:, 0],
    ]
    forms += [whole[:, :0], whole[1:], whole * 0, whole * 10**9, whole.astype("U2")]
    return draw(st.sampled_from(forms))


@st.composite
def odd_arrays(draw):
    """Arrays of any kind, under any names."""
    rank = draw(st.integers(0, 5))
    shape = tuple(draw(st.sampled_from([0, 1, 2, 3, 4, 5, 12])) for _ in range(rank))
    if draw(st.booleans()):
        shape = draw(st.sampled_from(SHAPES))
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    text = text.filter(lambda key: key[:1] != "\0")  # which zipfile cannot write
    keys = st.sampled_from(
        ["image", "image", "images", "arr_0", "train", "test", "validation", "x_train"]
    )
    key = draw(keys | keys | text)
    arrays = {key: draw(arrays_of(shape))}
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        other = draw(
            st.sampled_from(["test", "validation", "x_test", "b", "label", "y"])
        )
        arrays[other] = draw(
            arrays_of(draw(st.sampled_from([shape, shape[:1], (2, 2)])))
        )
    count = shape[0] if shape else 0
    if count and draw(st.booleans()):
        arrays["label"] = draw(labels(count))
    if count and draw(st.sampled_from([0, 0, 0, 1])):
        arrays["factors"] = draw(factors(count))
    return arrays, ()


@st.composite
def arrays_of(draw, shape):
    """An array of a shape: any type, and values with what is wrong with them."""
    dtype = draw(st.sampled_from(DTYPES) | st.sampled_from(("u1", "f4", "f8", "?")))
    content = draw(
        st.sampled_from(
            ["unit", "unit", "bytes", "zeros", "large", "huge", "nan", "inf", "signed"]
            + ["column", "objects", "ragged", "binary"]
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values = np.array(rng.random(shape))  # of no axis, too
    if content in ("bytes", "large", "huge"):
        values *= {"bytes": 255, "large": 7e4, "huge": 1e300}[content]
    elif content == "zeros":
        values *= 0
    elif content == "signed":
        values *= 2
        values -= 1
    elif content == "binary":
        np.round(values, out=values)
    elif content in ("nan", "inf") and values.size:
        values.flat[0] = float(content)
    elif content == "column" and shape and values.size:
        values[..., :1] = 1
    if content == "ragged":
        rows = [np.zeros(1 + n % 3) for n in range(shape[0] if shape else 1)]
        values = np.empty(len(rows), object)
        values[:] = rows
        return values
    if content == "objects":
        return values.astype(object)
    if ":" in dtype:
        return np.zeros(shape, [tuple(f.split(":")) for f in dtype.split(",")])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if dtype[0] in "Mm":
            return values.astype("i4").astype(dtype)
        return values.astype("S4" if dtype == "V4" else dtype).astype(dtype)


def written(name, arrays):
    """The bytes of an .npz, or for other endings of an .npy with the first array."""

    def one(array):
        file = io.BytesIO()
        np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=True)
        return file.getvalue()

    if name.endswith(".npy"):
        return one(next(iter(arrays.values())))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as members:
        for key, array in arrays.items():
            members.writestr(f"{key}.npy", one(array))
    return file.getvalue()


@st.composite
def damaged(draw, content):
    """Bytes of a file, perhaps of one that was cut short, changed, or is another kind of thing."""
    how = draw(st.sampled_from(["", "", "", "", "cut", "flip", "other"]))
    if how == "cut":
        return content[: int(len(content) * draw(st.floats(0, 1)))]
    if how == "flip":
        place = int((len(content) - 1) * draw(st.floats(0, 1)))
        return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]
    if how == "other":
        one = written("x.npy", {"x": np.zeros((9, 2), "f4")})
        return draw(st.sampled_from([b"", b"text\n", one, None, b"absent"]))
    return content


@st.composite
def tables(draw):
    """{path: bytes} of a .csv or .parquet, as a rule of numbers and of what is seen among them."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    count, columns = draw(st.sampled_from([(20, 3), (20, 3), (12, 1), (2, 2), (0, 2)]))
    cells = rng.random((count, columns)).round(3).astype(str).tolist()
    odd = st.sampled_from(
        ["", "nan", "NA", "inf", "-1", "1e400", "ü", '"', '"a"', "1;2"]
    )
    if count and draw(st.booleans()):
        cells[draw(st.integers(0, count - 1))][-1] = draw(odd)
    names = draw(
        st.sampled_from([["a", "b", "c"], ["label", "x", "x"], ["ü", "", "1"]])
    )
    label = draw(st.sampled_from([None, None, "cat", "3", "-1", "0.5"]))
    if label:
        cells = [[*row, label if n % 2 else "0"] for n, row in enumerate(cells)]
    names = [*names[:columns], *["label"] * bool(label)]
    if draw(st.sampled_from([0, 0, 1])):
        values = [*zip(*cells)] or [()] * len(names)
        if draw(st.booleans()):
            values = [rng.random(count) for _ in values]
        file = io.BytesIO()
        table = pyarrow.Table.from_arrays([*map(pyarrow.array, values)], names)
        pyarrow.parquet.write_table(table, file)
        return {"table.parquet": draw(damaged(file.getvalue()))}
    mark, end = draw(st.sampled_from([",", ",", ";", "\t"])), "\n"
    lines = [mark.join(row) for row in cells]
    lines = [mark.join(names), *lines] if draw(st.booleans()) else lines
    code = draw(st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "utf-16"]))
    content = (end.join(lines) + end * draw(st.integers(0, 2))).encode(code)
    return {
        draw(st.sampled_from(["table.csv", "t.CSV", "t.tsv"])): draw(damaged(content))
    }


@st.composite
def pictures(draw):
    """{path: bytes} of a folder of pictures, perhaps in folders by class, and of what lies there."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    mode = draw(
        st.sampled_from(["L", "L", "RGB", "RGBA", "LA", "1", "P", "I;16", "CMYK"])
    )
    form = draw(st.sampled_from(["png", "png", "bmp", "jpeg", "gif", "tiff"]))
    count, folders = (
        draw(st.sampled_from([9, 9, 9, 2, 0])),
        draw(st.sampled_from([1, 2])),
    )
    files = {"pictures": None} | {f"pictures/c{n}": None for n in range(folders)[1:]}
    for number in range(count):
        file = io.BytesIO()
        image = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8))
        image = (
            image.convert("L").convert("I;16")
            if mode == "I;16"
            else image.convert(mode)
        )
        try:
            image.save(file, form)
        except (OSError, ValueError):  # a format without this mode
            image.convert("RGB").save(file, form)
        inner = f"c{number % folders}/" if number % folders else ""
        files[f"pictures/{inner}{number}.{form}"] = file.getvalue()
    small = io.BytesIO()
    Image.new("L", (3, 3)).save(small, "png")
    others = {
        "size.png": small.getvalue(),
        "cut.png": small.getvalue()[:40],
        "notes.txt": b"x",
        ".hidden.png": b"x",
        "empty.png": b"",
        "deep": None,
        "deep/er": None,
        "deep/er/1.png": small.getvalue(),
        "x.npz": b"x",
    }
    some = draw(st.lists(st.sampled_from([*others]), max_size=2)) * draw(
        st.integers(0, 1)
    )
    deep = (
        [p for p in others if p.startswith("deep")]
        if any("deep" in p for p in some)
        else []
    )
    return files | {f"pictures/{path}": others[path] for path in [*deep, *some]}
