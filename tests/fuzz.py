"""What users might bring, for tests/test_fuzz.py: files of arrays, and command lines.

Most of what is drawn is near to what trains. Networks, sets and shapes are few and tiny, since each
shape is a program of its own to compile.
"""

import io
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from aevae import config
from aevae.evaluation import evaluate
from aevae.figures.draw import FIGURES

CONFIGS = Path(__file__).parents[1] / "configs"
SHAPES = (  # of images that train
    *((24, 3), (24, 1), (3, 2), (9, 5), (20, 4, 4), (20, 5, 3), (20, 1, 1)),
    *((20, 4, 4, 1), (20, 5, 3, 3), (20, 1, 1, 1), (12, 4, 4, 2)),
)
DTYPES = (
    *("?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", ">i2", "f2", "f4", "f8"),
    *(">f4", ">f8", "g", "c8", "c16", "U3", "S4", "M8[D]", "m8[s]", "O", "V4"),
    "a:f4,b:i4",
)
METHODS = {  # of configs/methods.py: {name: what its training needs beside --config}
    "beta_vae": [],
    "autoencoder": [],
    "sigma_vae": ["--sweep=per_pixel=True"],
    "gaussian_pair": [],
    "continuous_bernoulli": [],
    "iwae": ["--config.objective.k=2", "--sweep=seed=0"],
    "vampprior": ["--config.pseudo=3", "--sweep=beta=1"],
    "warm_up": ["--sweep=warmup=2"],
    "conditional": [],
    "two_level": ["--config.top=1", "--config.model.widths=(2,)", "--sweep=seed=0"],
    "convolutional": [
        *("--config.encoder.channels=(2,)", "--config.decoder.channels=(2,)"),
        *("--sweep=warmup=2",),
    ],
    "attention": [
        *("--config.encoder.patch=1", "--config.decoder.patch=1", "--sweep=warmup=2"),
    ],
}
REAL = ("sigma_vae", "gaussian_pair")  # likelihoods of any real number
VALUES = (  # of flags: some are right somewhere, and none trains for long
    *("1", "2", "3", "0", "-1", "0.5", "1.0", "1e-3", "1e-320", "1e30", "1e400"),
    *("nan", "inf", "-inf", "", " ", "None", "True", "False", "()", "(1,)", "(4, 4)"),
    *("(0,)", "(-1,)", "(1.5,)", "(4,", ")", "[2]", "{1: 2}", "{[1]: 2}", "'", '"'),
    *("4,4", "1:2", "0x2", "1j", "b'x'", "...", "ü", "日本", "a b", "-", "--", "="),
    *("99999999999999999999", "2147483648", "-9223372036854775809", "1e5"),
    *("last", "best", "high", "tanh", "relu", "elu", "zeros", "mean_logit", "adam"),
    *("none", "stochastic", "deterministic", "iwae", "autoencoder", "bernoulli"),
    *("math:sqrt", "json:dumps", "builtins:print", "no_module:f", "jax.nn:none"),
    *("os.path:", ":", "train", "test", "train[:9]", "train[9:2]", "train[:50%]"),
    *("train+test", "test[", "digits", "gaussian", "none.npz", "/", "/dev/null", "."),
)
PATHS = ("beta", "lr", "gamma", "latnet", "hparams", "hparams.", "hparams.new", "", ".")
WORKDIRS = (
    *("new", "new/under/it", "empty", "used", "file", "file/under", "ünïcode 名"),
    *("a,b", "a=b", "x:y", "n" * 300, "-", "used/"),
)
FILES = ("x.npz", "x.npz", "ü 1.npz", "y,z.npz", "x:y.npz", "x.NPZ", "x.npy", "x")


class Line(NamedTuple):
    """A command: its program in `experiments`, and its arguments."""

    program: str
    arguments: list[str]
    rows: int | None = None  # of results.csv after it in a new folder, where known


class Example(NamedTuple):
    """What a user has, and types, in an empty folder."""

    files: dict  # {path: bytes, or None for a folder}
    arrays: dict  # of the file of arrays, {key: array}
    strange: tuple[str, ...]  # keys of arrays that nothing in the package has a use for
    lines: list[Line]


@st.composite
def examples(draw, few=False):
    """Files, and one or two command lines; with `few`, those that train are few and of one shape."""
    kinds = [(0, 0)] * (1 if few else 8) + [(1, 0)] * 3 + [(0, 1)] * 4 + [(1, 1)]
    strange_file, strange_line = draw(st.sampled_from(kinds))
    method, shapes = "beta_vae", SHAPES[:1] if few else SHAPES
    if not few and draw(st.booleans()):
        method = draw(st.sampled_from([*METHODS]))
    arrays, extra = draw(odd_arrays() if strange_file else image_sets(method, shapes))
    name = draw(st.sampled_from(FILES[: None if strange_file else 3]))
    content = written(name, arrays)
    if strange_file:
        content = draw(damaged(content))
    files = {name: content, "empty": None, "used": None, "used/mine.txt": b"x"}
    files |= {"file": b"text", "flags.txt": b"--config.epochs=1\n--chunk=1\n"}
    files = {path: content for path, content in files.items() if content != b"absent"}
    good, rows = draw(sweeps(method, name))
    line = Line("sweep", ["--workdir=new", *good], rows)
    if strange_line:
        line = Line("sweep", draw(odd_arguments(method, line.arguments)))
    lines = [line]
    again = draw(st.sampled_from(["", "", "", "sweep", "evaluate", "figures"]))
    if again == "sweep":
        lines += [Line("sweep", draw(odd_arguments(method, line.arguments, 1)))]
    elif again:
        lines += [Line(again, ["--workdir=new", *draw(looks(again))])]
    return Example(files, arrays, extra, lines)


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
    values = rng.random(shape)
    if content in ("bytes", "large", "huge"):
        values = values * {"bytes": 255, "large": 7e4, "huge": 1e300}[content]
    elif content == "zeros":
        values = values * 0
    elif content == "signed":
        values = values * 2 - 1
    elif content == "binary":
        values = np.round(values)
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
def sweeps(draw, method, name):
    """The arguments of a sweep that is in order, and how many runs it has (None: not known)."""
    given = [f"--config={CONFIGS}/methods.py:{method}", f"--config.dataset={name}"]
    given += [
        "--config.epochs=1",
        f"--config.batch={draw(st.sampled_from([1, 2, 2, 2]))}",
    ]
    own = METHODS[method]
    if method != "attention":
        given += ["--config.encoder.widths=(4,)", "--config.decoder.widths=(4,)"]
    latent = draw(st.sampled_from([[1], [2], [2], [3], [1, 2]]))
    swept = any("--sweep" in argument for argument in own)
    if len(latent) == 1 or swept:
        given.append(f"--config.latent={latent[0]}")
        given += [] if swept else ["--sweep=seed=0"]
    else:
        given.append("--sweep=latent=1,2")
    rows = 1 if len(latent) == 1 or swept else 2
    given += own
    seldom = [0, 0, 0, 1]
    if draw(st.sampled_from(seldom)):
        given.append("--sweep=lr=1e-3,1e30")
        rows *= 2
    bounded = method not in ("autoencoder", "iwae", "two_level")
    if bounded and not swept and draw(st.sampled_from(seldom)):
        given.append("--sweep=beta=1,0.5,2")
        rows *= 3
    if method in REAL or draw(st.sampled_from(seldom)):
        given.append("--config.binarization=none")
    for flag in (
        *(
            "--chunk=1",
            "--checkpoint_seconds=0",
            "--data_gb=1e-4",
            "--flagfile=flags.txt",
        ),
        *("--config.keep=best", "--config.patience=1", "--config.precision=highest"),
    ):
        if draw(st.sampled_from([0] * 11 + [1])):
            given.append(flag)
    return given, rows


@st.composite
def odd_arguments(draw, method, arguments, most=3):
    """The arguments of a sweep, some of them left out, changed, or joined by others."""
    kept = [a for a in arguments if draw(st.sampled_from([1] * 9 + [0]))]
    try:
        leaves = [*config.leaves(config.load(f"{CONFIGS}/methods.py:{method}"))]
    except Exception:  # noqa: BLE001, there is none such
        leaves = ["latent"]
    value = st.sampled_from(VALUES) | st.text(max_size=4)
    path = st.sampled_from(leaves)
    path = path | path.map(lambda p: p.rpartition(".")[2]) | st.sampled_from(PATHS)
    values = st.lists(value, max_size=3).map(",".join)
    pairs = st.lists(st.tuples(value, value).map(":".join), max_size=2).map(",".join)
    other = st.one_of(
        *[st.builds("--config.{}={}".format, path, value)] * 3,
        *[st.builds("--sweep={}={}".format, path, values)] * 2,
        st.builds("--sweep={},{}={}".format, path, path, pairs),
        value.map("--sweep={}".format),
        st.builds(
            "--{}={}".format,
            st.sampled_from(
                ["chunk", "checkpoint_seconds", "data_gb", "code", "fresh"]
            ),
            st.sampled_from(
                ["1", "1e-6", "0", "-1", "nan", "inf", "x", "", "accept", "ü"]
            ),
        ),
        st.sampled_from(WORKDIRS).map("--workdir={}".format),
        st.sampled_from(
            ["", "x", "digits.py", "methods.py", "methods.py:x", "README.md"]
        ).map(f"--config={CONFIGS}/{{}}".format),
        st.sampled_from(
            [*FILES, "x.npz:image", "x.npz:none", "empty", "file", "n" * 300]
        ).map("--config.dataset={}".format),
        st.sampled_from(
            ["stray", "-x", "--", "--fresh", "--nofresh", "--sweep", "--config.batch"]
            + ["--flagfile=none.txt", "--flagfile=flags.txt", "--flagfile=x.npz"]
            + ["--data_dir=file", "--data_dir=none", "--wrkdir=x", "--undefok=a", "-"]
        ),
    )
    more = draw(st.lists(other, min_size=1, max_size=most))
    return [*kept, *(a for a in more if "\0" not in a and not _has_surrogates(a))]


def _has_surrogates(text):
    return any("\ud800" <= letter <= "\udfff" for letter in text)


@st.composite
def looks(draw, program):
    """The arguments of `experiments.evaluate` or `experiments.figures` beside the folder."""
    named = evaluate.MEASURES if program == "evaluate" else FIGURES
    names = [function.__name__ for function in named]
    odd = ["none", "", "math:sqrt", "no_module:f", ":", "ü", "latents:", "1"]
    name = st.sampled_from(names) | st.sampled_from(names) | st.sampled_from(odd)
    chosen = ",".join(draw(st.lists(name, min_size=1, max_size=2)))
    if program == "figures":
        return [f"--figures={chosen}"] * draw(st.sampled_from([0, 1, 1, 1]))
    given = [f"--measures={chosen}", "--k=2", "--ais_steps=2", "--ais_chains=2"]
    option = st.sampled_from(["k", "minibatch", "metrics", "ais_examples", "chunk"])
    value = st.sampled_from(["0", "1", "2", "-1", "x", "", "mig,sap", "math:sqrt"])
    odd = st.builds("--{}={}".format, option, value) | st.just("--fresh")
    count = draw(st.sampled_from([0, 0, 1, 2]))
    return [*given, *draw(st.lists(odd, min_size=count, max_size=count))]
