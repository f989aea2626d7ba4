"""What users might type, for tests/test_fuzz.py: command lines, and the files that they name.

Most of what is drawn is near to what trains. Networks, sets and shapes are few and tiny, since each
shape is a program of its own to compile.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from fuzz_files import (
    REAL,
    SHAPES,
    damaged,
    image_sets,
    odd_arrays,
    pictures,
    tables,
    written,
)
from hypothesis import strategies as st

from aevae import config
from aevae.evaluation import evaluate
from aevae.figures.draw import FIGURES

CONFIGS = Path(__file__).parents[1] / "configs"
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
KINDS = ["file"] * 3 + ["line"] * 4 + ["both", "table", "pictures"]
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
    kind = draw(
        st.sampled_from(["good"] * 7 + KINDS if not few else ["good", *KINDS * 2])
    )
    method, shapes = "beta_vae", SHAPES[:1] if few else SHAPES
    if not few and draw(st.booleans()):
        method = draw(st.sampled_from([*METHODS]))
    odd = kind in ("file", "both")
    arrays, extra = draw(odd_arrays() if odd else image_sets(method, shapes))
    name = draw(st.sampled_from(FILES[: None if odd else 3]))
    files = {
        name: draw(damaged(written(name, arrays))) if odd else written(name, arrays)
    }
    if kind in ("table", "pictures"):
        files, arrays, extra = (
            draw({"table": tables, "pictures": pictures}[kind]()),
            {},
            (),
        )
        name = next(iter(files))
    files |= {"empty": None, "used": None, "used/mine.txt": b"x", "file": b"text"}
    files |= {"flags.txt": b"--config.epochs=1\n--chunk=1\n"}
    files = {path: content for path, content in files.items() if content != b"absent"}
    good, rows = draw(sweeps(method, name, few))
    line = Line("sweep", ["--workdir=new", *good], rows)
    if kind in ("line", "both"):
        line = Line("sweep", draw(odd_arguments(method, line.arguments)))
    lines = [line]
    again = draw(st.sampled_from(["", "", "sweep", "evaluate", "figures"]))
    if again == "sweep":
        lines += [Line("sweep", draw(odd_arguments(method, line.arguments, 1)))]
    elif again and kind == "good":
        lines += [Line(again, ["--workdir=new", *draw(looks(again))])]
    return Example(files, arrays, extra, lines)


@st.composite
def sweeps(draw, method, name, few):
    """The arguments of a sweep that is in order, and how many runs it has (None: not known)."""
    given = [f"--config={CONFIGS}/methods.py:{method}", f"--config.dataset={name}"]
    given += [
        "--config.epochs=1",
        f"--config.batch={1 if few else draw(st.sampled_from([1, 2, 2, 2]))}",
    ]
    own = METHODS[method]
    if method != "attention":
        given += ["--config.encoder.widths=(4,)", "--config.decoder.widths=(4,)"]
    if few:
        return [*given, "--sweep=seed=0", "--config.latent=1"], 1
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
            ["new", "new:0", "used", "none", "", ":", "new:x", "new:9"]
        ).map("--init_from={}".format),
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
    given += ["--gap_steps=2", "--gap_examples=4"]
    option = ["k", "minibatch", "metrics", "ais_examples", "gap_steps", "chunk"]
    option = st.sampled_from(option)
    value = st.sampled_from(["0", "1", "2", "-1", "x", "", "mig,sap", "math:sqrt"])
    odd = st.builds("--{}={}".format, option, value) | st.just("--fresh")
    count = draw(st.sampled_from([0, 0, 1, 2]))
    return [*given, *draw(st.lists(odd, min_size=count, max_size=count))]


def found():
    """Examples that were at fault once: a flag file that is no text, and two sets of arrays."""
    image = np.random.default_rng(0).random((24, 3))
    tiny = ["--config.encoder.widths=(4,)", "--config.decoder.widths=(4,)"]
    tiny += ["--workdir=new", f"--config={CONFIGS}/methods.py", "--config.latent=1"]
    tiny += ["--config.dataset=x.npz", "--config.epochs=1", "--sweep=seed=0"]
    tiny += ["--config.batch=1"]
    for keys, strange, more in (
        (["image"], (), ["--flagfile=x.npz"]),
        (["a\nb", "\x1b[2J"], (), []),
        (["image", "zz_notes"], ("zz_notes",), []),
    ):
        arrays = dict.fromkeys(keys, image)
        files = {"x.npz": written("x.npz", arrays)}
        yield Example(files, arrays, strange, [Line("sweep", [*tiny, *more])])
