"""A fingerprint changes with what is computed, and with nothing else."""

import functools
import importlib
import itertools
import json
import linecache
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import numpy as np
import pytest

from aevae import InputError, config, objectives
from aevae.config import fingerprint, sources, syntax

ROOT = Path(__file__).parents[2]
cells = itertools.count()


def cell(text, space=None, source=True):
    """What a notebook's cell leaves: its namespace, with the source where IPython keeps it."""
    text = textwrap.dedent(text)
    name = f"<cell-{next(cells)}>" if source else "<string>"
    if source:
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    space = {"__name__": "__main__"} if space is None else space
    exec(compile(text, name, "exec"), space)  # noqa: S102
    return space


def of(text, name="f", source=True):
    return fingerprint.of(cell(text, source=source)[name]).digest


CHANGES = {  # {what changes: (before, after)}, each of `f`
    "its body": ("def f(x): return x", "def f(x): return 2 * x"),
    "a default": ("def f(x, k=1): return k", "def f(x, k=2): return k"),
    "a default that is a name": (
        "K = 1\ndef f(x, *, k=K): return k",
        "K = 2\ndef f(x, *, k=K): return k",
    ),
    "a helper": (
        "def g(x): return x\ndef f(x): return g(x)",
        "def g(x): return -x\ndef f(x): return g(x)",
    ),
    "a helper's helper": (
        "def h(x): return x\ndef g(x): return h(x)\ndef f(x): return g(x)",
        "def h(x): return -x\ndef g(x): return h(x)\ndef f(x): return g(x)",
    ),
    "a constant": ("K = 1\ndef f(x): return K", "K = 2\ndef f(x): return K"),
    "an array": (
        "import numpy as np\nK = np.arange(9)\ndef f(x): return K",
        "import numpy as np\nK = np.arange(9) * 2\ndef f(x): return K",
    ),
    "a closed-over value": (
        "def make(k):\n    return lambda x: k * x\nf = make(1)",
        "def make(k):\n    return lambda x: k * x\nf = make(2)",
    ),
    "a closed-over function": (
        "def make(k):\n    return lambda x: k(x)\nf = make(abs)",
        "def make(k):\n    return lambda x: k(x)\nf = make(len)",
    ),
    "an argument of a partial": (
        "import functools\nf = functools.partial(pow, 2)",
        "import functools\nf = functools.partial(pow, 3)",
    ),
    "what a jitted function runs": (
        "import jax\n@jax.jit\ndef f(x): return x",
        "import jax\n@jax.jit\ndef f(x): return -x",
    ),
    "what installed code closes over": (
        "import optax\nK = optax.adam(1.0)\ndef f(hp): return K",
        "import optax\nK = optax.adam(2.0)\ndef f(hp): return K",
    ),
    "which module a name is": (
        "import numpy as n\ndef f(x): return n.sum(x)",
        "import jax.numpy as n\ndef f(x): return n.sum(x)",
    ),
    "a method": (
        "class f:\n    def g(self): return 1",
        "class f:\n    def g(self): return 2",
    ),
    "a method of a base": (
        "class B:\n    def g(self): return 1\nclass f(B): pass",
        "class B:\n    def g(self): return 2\nclass f(B): pass",
    ),
    "a field of an object": (
        "class C:\n    def __init__(self, k): self.k = k\nK = C(1)\ndef f(): return K",
        "class C:\n    def __init__(self, k): self.k = k\nK = C(2)\ndef f(): return K",
    ),
    "an attribute of an object with slots": (
        "class C:\n    __slots__ = 'k'\nK = C()\nK.k = 1\ndef f(): return K.k",
        "class C:\n    __slots__ = 'k'\nK = C()\nK.k = 2\ndef f(): return K.k",
    ),
    "an attribute that is no field": (
        "import dataclasses as d\n@d.dataclass\nclass C: pass\nK = C()\nK.k = 1\ndef f(): K",
        "import dataclasses as d\n@d.dataclass\nclass C: pass\nK = C()\nK.k = 2\ndef f(): K",
    ),
    "an attribute of a dictionary": (
        "class C(dict): pass\nK = C()\nK.k = 1\ndef f(): return K.k",
        "class C(dict): pass\nK = C()\nK.k = 2\ndef f(): return K.k",
    ),
    "what a built-in method is of": (
        "g = {1: 1}.get\ndef f(x): return g(x)",
        "g = {1: 2}.get\ndef f(x): return g(x)",
    ),
    "a member of an enumeration": (
        "import enum\nclass E(enum.Enum): A = 1\ndef f(): return E.A",
        "import enum\nclass E(enum.Enum): A = 2\ndef f(): return E.A",
    ),
    "a method of an enumeration": (
        "import enum\nclass f(enum.Enum):\n    A = 1\n    def g(self): return 1",
        "import enum\nclass f(enum.Enum):\n    A = 1\n    def g(self): return 2",
    ),
    "what jax.checkpoint runs": (
        "import jax\n@jax.checkpoint\ndef f(x): return x",
        "import jax\n@jax.checkpoint\ndef f(x): return -x",
    ),
    "an optimizer whose update is called": (
        "import optax\nK = optax.sgd(1.0)\ndef f(g, s): return K.update(g, s)",
        "import optax\nK = optax.sgd(2.0)\ndef f(g, s): return K.update(g, s)",
    ),
    "a namespace": (
        "import types\nK = types.SimpleNamespace(k=1)\ndef f(): K",
        "import types\nK = types.SimpleNamespace(k=2)\ndef f(): K",
    ),
    "an array in an installed object": (
        "import scipy.sparse as s\nK = s.csr_matrix([[1]])\ndef f(x): return K @ x",
        "import scipy.sparse as s\nK = s.csr_matrix([[2]])\ndef f(x): return K @ x",
    ),
    "an argument of a distribution": (
        "import scipy.stats as s\nK = s.norm(0, 1)\ndef f(x): return K.pdf(x)",
        "import scipy.stats as s\nK = s.norm(0, 2)\ndef f(x): return K.pdf(x)",
    ),
    "a long polynomial": (
        "import numpy as np\nK = np.polynomial.Polynomial(range(2000))\ndef f(): return K",
        "import numpy as np\nK = np.polynomial.Polynomial([*range(1999), 1])\ndef f(): return K",
    ),
    "an array of objects": (
        "import numpy as np\nK = np.array([1, 'a'], object)\ndef f(): return K",
        "import numpy as np\nK = np.array([2, 'a'], object)\ndef f(): return K",
    ),
    "a decorator": (
        "def d(f): return lambda x: f(x)\n@d\ndef f(x): return x",
        "def d(f): return lambda x: -f(x)\n@d\ndef f(x): return x",
    ),
    "a network": (
        """
        from flax import linen as nn
        class f(nn.Module):
            @nn.compact
            def __call__(self, x): return nn.Dense(3)(x)
        """,
        """
        from flax import linen as nn
        class f(nn.Module):
            @nn.compact
            def __call__(self, x): return nn.Dense(4)(x)
        """,
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changes_a_value_changes_the_fingerprint(what):
    before, after = CHANGES[what]
    assert of(before) == of(before), "another time is another fingerprint"
    assert of(before) != of(after)


SAME = {
    "comments, layout and docstrings": (
        "def f(x):\n    return g(x,\n      1)\ndef g(x, y): return x",
        'def f(x):\n    """Doc."""\n    # why\n    return g(x, 1)\ndef g(x, y): return x',
    ),
    "what it does not read": ("K = 1\ndef f(x): return x", "K = 2\ndef f(x): return x"),
    "a local of a global's name": (
        "def g(): return 1\ndef f(g): return g",
        "def g(): return 2\ndef f(g): return g",
    ),
    "a class's docstring": (
        "class f:\n    def g(self): return 1",
        'class f:\n    """Doc."""\n    def g(self):\n        "Doc."\n        return 1',
    ),
}


@pytest.mark.parametrize("what", SAME)
def test_what_changes_no_value_does_not(what):
    before, after = SAME[what]
    assert of(before) == of(after)


STATE = {  # what a call of `f` changes, and no edit has
    "a list": "K = []\ndef f(): K.append(1)",
    "a dictionary": "K = {}\ndef f(): K.setdefault(len(K), []).append(1)",
    "an item": "K = {}\ndef f(): K[len(K)] = 1",
    "an array": "import numpy as np\nK = np.zeros(2)\ndef f(): K[0] += 1",
    "a counter": "n = 0\ndef f():\n    global n\n    n += 1",
    "an iterator": "import itertools\nn = itertools.count()\ndef f(): next(n)",
    "a late value": """
        K = None
        def g():
            global K
            K = K or len
            return K
        def f(): return g()([])
        """,
    "what another function reads": "K = []\ndef g(): return K\ndef f():\n    K.append(1)\n    g()",
    "a default": "def f(seen=[]): seen.append(1)",
    "a closed-over count": """
        def make():
            n, seen = 0, []
            def count():
                nonlocal n
                n += 1
                seen.append(n)
            return count
        f = make()
        """,
    "an attribute": "class C: n = 0\nK = C()\ndef f(): K.n += 1",
    "an attribute of a class": "class C: n = 0\ndef f(): C.n += 1",
    "a list of a namespace": """
        import types
        K = types.SimpleNamespace(seen=[])
        def f(): K.seen.append(1)
        """,
    "an object of itself": """
        import functools
        class C:
            def __init__(self): self.seen, self.n = [], 0
            @functools.cached_property
            def k(self): return 1
            def __call__(self):
                self.seen.append(self.k)
                self.n += 1
        f = C()
        """,
    "a cache by key": """
        class C(dict):
            def __missing__(self, k):
                self[k] = k
                return k
        K = C()
        def f(): return K[len(K)]
        """,
    "a generator": "import numpy as np\nK = np.random.default_rng(0)\ndef f(): K.normal()",
    "a logger": "import logging\nK = logging.getLogger('x')\ndef f(): K.setLevel(K.level + 1)",
    "an installed object": """
        import scipy.sparse, scipy.stats
        K, N = scipy.sparse.csr_matrix([[1.0]]), scipy.stats.norm(0, 1)
        def f(): return (K @ K).sum() + N.pdf(0) + N.rvs()
        """,
    "os.environ": "from os import environ as e\ndef f(): e['AEVAE_X'] = e.get('AEVAE_X', '') + 'x'",
}


@pytest.mark.parametrize("source", [True, False])
@pytest.mark.parametrize("what", STATE)
def test_what_functions_change_themselves_is_no_code(what, source, monkeypatch):
    if what == "an array" and not source:
        pytest.skip("bytecode does not tell")
    monkeypatch.setenv("AEVAE_X", "")
    f = cell(STATE[what], source=source)["f"]
    before = fingerprint.of(f)
    for _ in range(2):
        f()
        assert fingerprint.of(f) == before


def test_a_path_in_the_config_files_folder_is_relative(tmp_path):
    text = "import pathlib\nK = pathlib.Path(__file__).parent / {!r}\n"
    text += "HERE = str(K.parent)\ndef f(): return K, HERE, __file__"
    found = []
    for folder, file in (("one", "a"), ("two", "a"), ("two", "b")):
        path = tmp_path / folder / "exp.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.format(file))
        module = sources.execute(path, path.read_text()).module
        found.append(fingerprint.of(module.f))
    assert found[0] == found[1] != found[2]


def test_the_version_of_python_does_not_count():
    """Digests that 3.11 and 3.12 find alike; they change with what a fingerprint is."""
    text = """
        import dataclasses, enum, functools, jax
        @dataclasses.dataclass(frozen=True, order=True)
        class Order:
            k: int = 1
        class Kind(enum.IntFlag):
            A = 1
        @functools.partial(jax.checkpoint, static_argnums=0)
        def f(x, w):
            return f"{x:>{w}}", f"{x:{{}}}", Order(), Kind.A
        """
    assert of(text) == "4beb44bd0cdb1c65"


def test_recursion_ends():
    assert of("def f(x): return g(x)\ndef g(x): return f(x)")


def test_without_source_bytecode_is_compared_and_that_is_told():
    one, two = (f"K = 1\ndef f(x): return K + {n}" for n in (1, 2))
    assert of(one, source=False) == of(one, source=False) != of(two, source=False)
    assert of(one, source=False) != of(one.replace("K = 1", "K = 2"), source=False)
    found = fingerprint.of(cell(one, source=False)["f"])
    assert found.bytecode == ("__main__:f",)
    assert fingerprint.of(objectives.beta_vae).bytecode == ()


def test_only_what_an_objective_calls_counts(tmp_path):
    """Of the package's own file of objectives, edited."""
    text = (ROOT / "aevae" / "objectives.py").read_text()
    path = tmp_path / "mine.py"

    def edited(before, after):
        assert text.count(before) == 1
        path.write_text(text.replace(before, after))
        module = sources.execute(path, path.read_text()).module
        return {n: fingerprint.of(getattr(module, n)) for n in ("beta_vae", "iwae")}

    same = edited("Sets each value to 0 or 1", "Sets a value to 0 or 1")
    assert edited("level * jax.random", "2 * level * jax.random") == same
    helper = edited('"elbo": -(distortion + rate)', '"elbo": -distortion - rate')
    assert helper["beta_vae"] != same["beta_vae"]


def test_a_module_that_is_imported_when_called_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for factor in (1, 2):
        (tmp_path / "later_part.py").write_text(f"def g(x):\n    return {factor} * x\n")
        sys.modules.pop("later_part", None)
        importlib.invalidate_caches()
        found.append(of("def f(x):\n    from later_part import g\n    return g(x)"))
        found.append(of("import later_part as p\ndef f(x): return p.g(x)"))
    sys.modules.pop("later_part")
    assert found[0] != found[2] and found[1] != found[3]


def test_code_that_is_not_what_is_on_the_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "stale_part.py"
    path.write_text("def f(x):\n    return x\n")
    part = importlib.import_module("stale_part")
    before = fingerprint.of(part.f)
    path.write_text("# A line above.\n\n\ndef f(x):\n    return x\n")
    assert fingerprint.of(part.f) == before
    path.write_text("def f(x):\n    return 2 * x\n")
    with pytest.raises(InputError, match="stale_part.py has changed since it was"):
        fingerprint.of(part.f)
    sys.modules.pop("stale_part")


@pytest.mark.skipif(
    sys.platform != "linux", reason="the start of a process is not told"
)
def test_an_edit_before_the_package_is_imported_is_noticed(tmp_path):
    path = tmp_path / "stale_part.py"
    path.write_text("def f(x):\n    return x\n")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import stale_part\n"
    program += f"open({str(path)!r}, 'w').write('def f(x):\\n    return 2 * x\\n')\n"
    program += "from aevae.config import fingerprint\nfingerprint.of(stale_part.f)\n"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "stale_part.py has changed since it was imported" in done.stderr


def test_the_parts_of_a_config_are_named():
    noise = functools.partial(objectives.denoising, noise=objectives.masking_noise)
    base = config.replace(config.load("configs/digits.py"), "objective", noise)
    found = fingerprint.of_configs([base])
    assert {
        "objective aevae.objectives:denoising",
        "objective.noise aevae.objectives:masking_noise",
        "model aevae.models.vae:VAE",
        "model.encoder aevae.networks:MLPEncoder",
    } <= found.keys()


def test_arrays_and_objects_in_a_config_have_a_text():
    def weighted(model, params, batch, key, hp, *, weights):
        raise NotImplementedError

    text = [
        json.dumps(config.canonical(functools.partial(weighted, weights=weights)))
        for weights in (np.ones(3), np.ones(3), np.zeros(3), jax.random.key(0))
    ]
    assert text[0] == text[1] and len(set(text)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("other", ["python3.11", "python3.12"])
def test_every_python_finds_the_same(other):
    """The package's modules are digested alike by whichever of them is here."""
    if not shutil.which(other) or subprocess.run([other, "-V"], check=False).returncode:
        pytest.skip(f"there is no {other}")
    program = (ROOT / "aevae/config/syntax.py").read_text()
    program = program.replace("from aevae import InputError", "")
    program += "\nfor p in sys.argv[1:]: print(of_text(open(p).read()))"
    files = sorted(map(str, (ROOT / "aevae").rglob("*.py")))
    done = subprocess.run(
        [other, "-c", program, *files], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [syntax.of_text(Path(f).read_text()) for f in files]
