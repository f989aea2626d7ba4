"""Fingerprints of code: digests of syntax trees that tell whether an equation has changed.

Comments, docstrings and layout do not count, nor does the version of Python. A function counts with
what it calls and reads: its defaults, the values that it closes over, and the globals that it names,
followed through the package and the user's own modules. What is installed counts by its name.
"""

import ast
import functools
import hashlib
import importlib.util
import inspect
import linecache
import re
import sys
import sysconfig
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from aevae import InputError
from aevae.config.tree import array, reference, things

BEGAN = time.time()  # a file that changes later may not be what was imported
PACKAGE = ("data/*.py", "models/*.py", "training/*.py")  # what a training step executes
PACKAGE += ("networks.py", "objectives.py", "optim.py")
PLAIN = (int, float, complex, str, bytes, bool, type(None), type(...))
DEFINED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
# Methods that dataclasses, named tuples and Flax write, and fields that Flax adds.
GENERATED = ("__init__", "__new__", "__repr__", "__eq__", "__hash__", "__setattr__")
FLAX = ("parent", "name", "scope", "_state", "_parent_ref")
FLAX += ("_compact_name_scope_methods", "_abc_impl")
CODE = (types.FunctionType, staticmethod, classmethod, property)
SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)
FOREIGN = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]


class Fingerprint(NamedTuple):
    """The digest of a thing's code, and what of it is known by its bytecode alone."""

    digest: str
    bytecode: tuple[str, ...]  # `module:name` of functions whose source cannot be had


def digest(text):
    """The first 16 digits of a text's sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def of_text(text):
    """The fingerprint of a module's text."""
    return of_tree(ast.parse(text))


def of_tree(node):
    """The fingerprint of a syntax tree, as text: the same whatever Python parsed it."""
    return digest(_dump(node))


def body(node):
    """The statements of a syntax tree without its docstring."""
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    documented = isinstance(node, kinds) and ast.get_docstring(node, False) is not None
    return node.body[1:] if documented else node.body


def of_package():
    """The fingerprints of the package's modules that training executes, {module: digest}."""
    root = Path(__file__).parents[1]
    files = sorted(file for part in PACKAGE for file in root.glob(part))
    names = (".".join(f.relative_to(root.parent).with_suffix("").parts) for f in files)
    return {
        name: _file(str(file), file.stat().st_mtime_ns).digest
        for name, file in zip(names, files)
        if file.stem != "__init__"
    }


def of(thing):
    """The `Fingerprint` of a function, class or value, with all that it calls and reads."""
    return _Walk(thing).result()


def of_configs(runs, known=()):
    """The fingerprints of the functions and classes of configs, {"path module:name": Fingerprint}.

    Names in `known` are left out.
    """
    found = {}
    for run in runs:
        for path, thing in things(run):
            key = f"{path} {reference(getattr(thing, 'func', thing))}"
            if key not in found and key not in known:
                found[key] = of(thing)
    return found


class _Text(NamedTuple):
    """A parsed text."""

    tree: ast.Module
    digest: str
    nodes: dict  # {(name, first line): nodes}


@functools.lru_cache(1024)
def _parsed(text):
    tree, nodes = ast.parse(text), {}
    for node in ast.walk(tree):
        if isinstance(node, DEFINED):
            decorators = getattr(node, "decorator_list", [])
            line = min([node.lineno, *(d.lineno for d in decorators)])
            key = getattr(node, "name", "<lambda>"), line
            nodes.setdefault(key, []).append(node)
    return _Text(tree, of_tree(tree), nodes)


@functools.lru_cache(1024)
def _file(path, changed):
    del changed  # a key of the cache
    return _parsed(Path(path).read_text())


def _dump(node):
    """A syntax tree as text, without docstrings and without what only some Pythons write."""
    found = []
    _dump_into(node, found.append)
    return " ".join(found)


def _dump_into(node, add):
    if isinstance(node, ast.AST):
        add(f"({node.__class__.__name__}")
        for name in node._fields:
            value = getattr(node, name, None)
            constant = isinstance(node, ast.Constant) and name == "value"
            absent = value is None or value == []
            if not constant and (absent or name in ("ctx", "kind", "type_comment")):
                continue
            value = body(node) if name == "body" else value
            add(name)
            _dump_into(value, add)
        add(")")
    elif isinstance(node, list):
        for item in node:
            _dump_into(item, add)
    else:
        add(repr(node))


def _bytecode(code):
    """A code object as text, without lines; for one version of Python."""
    consts = [*code.co_consts]
    marked = sys.version_info < (3, 13) or code.co_flags & inspect.CO_HAS_DOCSTRING
    if consts and isinstance(consts[0], str) and marked:
        consts[0] = None
    texts = [
        _bytecode(c)
        if inspect.iscode(c)
        else repr(sorted(map(repr, c)) if isinstance(c, frozenset) else c)
        for c in consts
    ]
    return repr((code.co_code, code.co_names, code.co_varnames, texts))


def _codes(code):
    yield code
    for inner in filter(inspect.iscode, code.co_consts):
        yield from _codes(inner)


@functools.cache
def foreign(root):
    """Whether a top-level module is not the user's: Python's own, or installed."""
    if root == "aevae" or root == "__main__" or root.startswith("config_"):
        return False
    if root in sys.stdlib_module_names:
        return True
    module = sys.modules.get(root)
    try:
        spec = getattr(module, "__spec__", None) or importlib.util.find_spec(root)
    except (ImportError, ValueError):
        return True
    if module is None and spec is None:
        return False
    if spec is None:
        places = [getattr(module, "__file__", None)]
    else:
        places = [spec.origin] if spec.has_location else []
        places += spec.submodule_search_locations or []
    return not places or any(is_foreign(place) for place in places if place)


def is_foreign(path):
    """Whether a file or folder belongs to Python or to what is installed."""
    parts = Path(path).parts
    if "site-packages" in parts or "dist-packages" in parts:
        return True
    return any(Path(path).is_relative_to(place) for place in FOREIGN)


def _ours(module):
    return bool(module) and not foreign(module.partition(".")[0])


class _Walk:
    """All that a thing reaches, each entry a text; equal entries make equal fingerprints."""

    def __init__(self, thing):
        self.entries, self.bytecode, self.seen, self.open = [], set(), {}, []
        self.entries.append(self.text(thing))
        while self.open:
            name, thing = self.open.pop()
            self.entries.append(f"{name} {self.describe(thing)}")

    def result(self):
        return Fingerprint(
            digest("\n".join(sorted(set(self.entries)))), tuple(sorted(self.bytecode))
        )

    def text(self, value):
        """A value as text; functions, classes and objects by name, to be described once."""
        if isinstance(value, PLAIN):
            return repr(value)
        if isinstance(value, types.ModuleType):
            return f"module {value.__name__}" if not _ours(value.__name__) else "module"
        if isinstance(value, functools.partial):
            return f"partial {self.text([value.func, value.args, value.keywords])}"
        if isinstance(value, types.MethodType):
            return f"method {self.text([value.__func__, value.__self__])}"
        if isinstance(value, (staticmethod, classmethod)):
            return f"{type(value).__name__} {self.text(value.__func__)}"
        if isinstance(value, property):
            return f"property {self.text([value.fget, value.fset])}"
        if isinstance(value, functools.cached_property):
            return f"property {self.text(value.func)}"
        if isinstance(value, (types.FunctionType, type)):
            return self.later(reference(value), value)
        kind = type(value)
        if _ours(kind.__module__) and not isinstance(value, (tuple, list, dict)):
            return self.later(f"{reference(kind)}()", value)
        if hasattr(value, "__array__") and hasattr(value, "dtype"):
            return array(value)
        if isinstance(value, Mapping):
            items = [f"{self.text(k)}: {self.text(v)}" for k, v in value.items()]
            return f"{kind.__name__} {{{', '.join(items)}}}"
        if isinstance(value, (set, frozenset)):
            return f"{kind.__name__} {sorted(map(self.text, value))}"
        if isinstance(value, (tuple, list)):
            return f"{self.text(kind)} [{', '.join(map(self.text, value))}]"
        if hasattr(value, "__wrapped__"):  # as by jax.jit, jax.custom_vjp
            parts = [
                getattr(value, n, None) for n in ("__wrapped__", "fwd", "bwd", "jvp")
            ]
            return self.known(value) or f"{kind.__name__} {self.text(parts)}"
        if callable(value) and hasattr(value, "__name__"):
            return f"{getattr(value, '__module__', None)}.{value.__name__}"
        return re.sub(r" at 0x[0-9a-f]+", "", f"{reference(kind)} {value!r}")

    def known(self, value):
        """The name of what an installed module has under its own name; None for all else."""
        name = getattr(value, "__module__", None) or ""
        if _ours(name) or "<" in getattr(value, "__qualname__", "<"):
            return None
        found = sys.modules.get(name)
        for part in value.__qualname__.split("."):
            found = getattr(found, part, None)
        return reference(value) if found is not None else None

    def later(self, name, thing):
        if id(thing) not in self.seen:
            self.seen[id(thing)] = thing  # kept, so that its id is not another's
            if not (isinstance(thing, type) and not _ours(thing.__module__)):
                self.open.append((name, thing))
        return name

    def describe(self, thing):
        if isinstance(thing, types.FunctionType):
            return self.function(thing)
        if isinstance(thing, type):
            return self.class_(thing)
        fields = getattr(thing, "__dataclass_fields__", None)
        fields = getattr(thing, "__dict__", ()) if fields is None else fields
        values = {n: getattr(thing, n, None) for n in fields if n not in FLAX}
        return self.text([type(thing), values])

    def class_(self, thing):
        named = getattr(thing, "_fields", ())  # of a named tuple: positions, not values
        fields = [*named, *getattr(thing, "__dataclass_fields__", ())]
        fields = [name for name in fields if name not in FLAX]
        parts = {"bases": thing.__bases__, "fields": fields}
        for name, value in sorted(vars(thing).items()):
            written = name.startswith("__") and not isinstance(value, CODE)
            space = getattr(value, "__globals__", {}).get("__name__") or ""
            space = space.partition(".")[0]
            written |= space in sys.stdlib_module_names or space.startswith(
                "namedtuple_"
            )
            if not (written or name in FLAX or type(value) in SLOTS or name in named):
                parts[name] = value
        return self.text(parts)

    def function(self, thing):
        code, space = thing.__code__, thing.__globals__
        closed = [_content(cell) for cell in thing.__closure__ or ()]
        defaults = [thing.__defaults__, thing.__kwdefaults__]
        if not _ours(space.get("__name__", "__main__")):
            kept = [v for v in closed if isinstance(v, PLAIN) or callable(v)]
            return "" if self.known(thing) else self.text([kept, defaults])
        nodes = _nodes(thing)
        if nodes is None and code.co_filename[0] == "<" and thing.__name__ in GENERATED:
            return ""
        names = {name for inner in _codes(code) for name in inner.co_names}
        if nodes is None:
            self.bytecode.add(reference(thing))
            trees = [f"Python {sys.version_info[:2]} {_bytecode(code)}"]
            chains = [(name,) for name in names]
            chains += [(n, m) for n in names for m in names if _is_ours(space.get(n))]
        else:
            trees = [_dump(node) for node in nodes]
            inside = _imported(nodes, space)
            space, names = space | inside, names.union(inside)
            chains = [chain for node in nodes for chain in _chains(node)]
        found = dict(zip(code.co_freevars, closed))
        for chain in sorted(set(chains)):
            if chain[0] in names and chain[0] in space:
                name, value = _resolve(chain, space)
                found[name] = value
        return self.text([trees, defaults, found])


def _is_ours(value):
    return isinstance(value, types.ModuleType) and _ours(value.__name__)


def _content(cell):
    try:
        return cell.cell_contents
    except ValueError:  # not yet bound
        return None


def _chains(node):
    """The names in a function, with their attributes: `objectives.bound_terms`."""
    for inner in ast.walk(node):
        parts = []
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield (inner.id, *parts[::-1])


def _resolve(chain, space):
    """The name and the value to which a chain leads through modules that are ours."""
    name, *rest = chain
    value = space[name]
    while rest and _is_ours(value) and hasattr(value, rest[0]):
        name, value = f"{name}.{rest[0]}", getattr(value, rest.pop(0))
    return name, value


def _imported(nodes, space):
    """{name: value} of what a function imports of our modules when it is called."""
    found = {}
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        builtins = space["__builtins__"]
        builtins = builtins if isinstance(builtins, dict) else vars(builtins)
        for alias in node.names:
            whole = isinstance(node, ast.Import)
            name, level = (alias.name, 0) if whole else (node.module or "", node.level)
            if not level and not _ours(name):
                continue
            wanted = (
                [] if whole and not alias.asname else [alias.name if not whole else "*"]
            )
            try:
                value = builtins["__import__"](name, space, None, wanted, level)
            except Exception:  # noqa: BLE001, S112, the call itself will say so
                continue
            value = value if whole else getattr(value, alias.name, None)
            found[alias.asname or alias.name.partition(".")[0]] = value
    return found


def _nodes(function):
    """The syntax trees of a function (several where lambdas share a line); None without source."""
    code = function.__code__
    text, file = function.__globals__.get("__source__"), Path(code.co_filename)
    changed = 0
    try:
        if text is not None and code.co_filename == function.__globals__["__file__"]:
            parsed = _parsed(text)
        elif file.is_file():
            changed = file.stat().st_mtime_ns
            parsed = _file(str(file), changed)
        else:
            parsed = _parsed("".join(linecache.getlines(code.co_filename)))
    except (OSError, ValueError, SyntaxError):
        return None
    line = code.co_firstlineno
    if changed > BEGAN * 1e9:
        line = _line(code, parsed.tree)
        if line is None:
            raise InputError(
                f"{file} has changed since it was imported: start Python anew, or reload it, so "
                "that the code on the disk is the code that runs"
            )
    return parsed.nodes.get((code.co_name, line))


def _line(code, tree):
    """The first line of a code object in a tree that may have moved it; None if it is not there."""
    compiled = compile(tree, code.co_filename, "exec", dont_inherit=True)
    own = _bytecode(code)
    lines = [
        c.co_firstlineno
        for c in _codes(compiled)
        if c.co_name == code.co_name and _bytecode(c) == own
    ]
    return min(lines, key=lambda n: abs(n - code.co_firstlineno), default=None)
