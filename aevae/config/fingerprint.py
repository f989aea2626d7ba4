"""Fingerprints of code: digests of syntax trees that tell whether an equation has changed.

Comments, docstrings and layout do not count, nor does the version of Python. A function counts with
what it calls and reads: its defaults, the values that it closes over, and the globals that it names,
followed through the package and the user's own modules. What is installed counts by its name.
"""

import ast
import dataclasses
import functools
import re
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from aevae.config import syntax
from aevae.config.sources import ours
from aevae.config.tree import array, reference, things

PACKAGE = ("data/*.py", "models/*.py", "training/*.py")  # what a training step executes
PACKAGE += ("networks.py", "objectives.py", "optim.py")
PLAIN = (int, float, complex, str, bytes, bool, type(None), type(...))
# Methods that dataclasses, named tuples and Flax write, and fields that Flax adds.
GENERATED = ("__init__", "__new__", "__repr__", "__eq__", "__hash__", "__setattr__")
FLAX = ("parent", "name", "scope", "_state", "_parent_ref")
FLAX += ("_compact_name_scope_methods", "_abc_impl")
STDLIB = sys.stdlib_module_names
WRAPPED = ("__wrapped__", "fwd", "bwd", "jvp")
CODE = (types.FunctionType, staticmethod, classmethod, property)
SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)


class Fingerprint(NamedTuple):
    """The digest of a thing's code, and what of it is known by its bytecode alone."""

    digest: str
    bytecode: tuple[str, ...]  # `module:name` of functions whose source cannot be had


def of_package():
    """The fingerprints of the package's modules that training executes, {module: digest}."""
    root = Path(__file__).parents[1]
    files = sorted(file for part in PACKAGE for file in root.glob(part))
    names = (".".join(f.relative_to(root.parent).with_suffix("").parts) for f in files)
    found = {}
    for name, file in zip(names, files):
        changed = file.stat().st_mtime_ns
        if file.stem != "__init__":
            found[name] = syntax.of_text(syntax.file(str(file), changed))
        for thing in vars(sys.modules.get(name, object)).values():
            if changed > syntax.BEGAN and getattr(thing, "__module__", None) == name:
                of(thing)  # which sees whether it is what runs
    return found


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


class _Walk:
    """All that a thing reaches, each entry a text; equal entries make equal fingerprints."""

    def __init__(self, thing):
        self.entries, self.bytecode, self.seen = [], set(), {}
        self.open, self.inside = [], []
        self.entries.append(self.text(thing))
        while self.open:
            name, thing = self.open.pop()
            self.entries.append(f"{name} {self.describe(thing)}")

    def result(self):
        return Fingerprint(
            syntax.digest("\n".join(sorted(set(self.entries)))),
            tuple(sorted(self.bytecode)),
        )

    def text(self, value):
        """A value as text; functions, classes and objects by name, to be described once."""
        if isinstance(value, PLAIN):
            return repr(value)
        if isinstance(value, types.ModuleType):
            return f"module {value.__name__}" if not ours(value.__name__) else "module"
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
        if ours(kind.__module__) and not isinstance(value, (tuple, list, dict)):
            return self.later(f"{reference(kind)}()", value)
        if _is_array(value):
            return array(value)
        if isinstance(value, (Mapping, set, frozenset, tuple, list)):
            if id(value) in self.inside:
                return "..."
            self.inside.append(id(value))
            found = self.container(value)
            self.inside.pop()
            return f"{self.text(kind)} {found}"
        if hasattr(value, "__wrapped__"):  # as by jax.jit, jax.custom_vjp
            parts = [getattr(value, name, None) for name in WRAPPED]
            return self.known(value) or f"{kind.__name__} {self.text(parts)}"
        inner = getattr(value, "__dict__", {}).values()  # as of numpy.vectorize
        inner = [v for v in inner if isinstance(v, types.FunctionType)]
        if callable(value) and hasattr(value, "__name__"):
            shown = f"{getattr(value, '__module__', None)}.{value.__name__}"
        else:
            shown = re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value))
        return f"{reference(kind)} {shown} {self.text(inner) if inner else ''}"

    def container(self, value):
        if isinstance(value, Mapping):
            return [f"{self.text(k)}: {self.text(v)}" for k, v in value.items()]
        found = [*map(self.text, value)]
        return sorted(found) if isinstance(value, (set, frozenset)) else found

    def named(self, kind):
        """Whether a class is one of Python's, or one that an installed module has."""
        return kind.__module__.partition(".")[0] in STDLIB or self.known(kind)

    def known(self, value):
        """The name of what an installed module has under its own name; None for all else."""
        name = getattr(value, "__module__", None) or ""
        if ours(name) or "<" in getattr(value, "__qualname__", "<"):
            return None
        found = sys.modules.get(name)
        for part in value.__qualname__.split("."):
            found = getattr(found, part, None)
        return reference(value) if found is not None else None

    def later(self, name, thing):
        if id(thing) not in self.seen:
            self.seen[id(thing)] = thing  # kept, so that its id is not another's
            if not (isinstance(thing, type) and self.named(thing)):
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
        declared = getattr(thing, "__dataclass_fields__", {})
        fields = [name for name in (*named, *declared) if name not in FLAX]
        made = [field.default_factory for field in declared.values()]
        made = [factory for factory in made if factory is not dataclasses.MISSING]
        parts = {"bases": thing.__bases__, "fields": fields, "made": made}
        for name, value in sorted(vars(thing).items()):
            written = name.startswith("__") and not isinstance(value, CODE)
            space = getattr(value, "__globals__", {}).get("__name__") or ""
            space = space.partition(".")[0]
            written |= space in STDLIB or space.startswith("namedtuple_")
            if not (written or name in FLAX or type(value) in SLOTS or name in named):
                parts[name] = value
        return self.text(parts)

    def function(self, thing):
        code, space = thing.__code__, thing.__globals__
        closed = [_content(cell) for cell in thing.__closure__ or ()]
        defaults = [thing.__defaults__, thing.__kwdefaults__]
        if not ours(space.get("__name__", "__main__")):
            kinds = (*PLAIN, tuple, list, dict)
            kept = [
                v for v in closed if isinstance(v, kinds) or callable(v) or _is_array(v)
            ]
            return "" if self.known(thing) else self.text([kept, defaults])
        nodes = syntax.nodes_of(thing)
        if nodes is None and code.co_filename[0] == "<" and thing.__name__ in GENERATED:
            return ""
        names = {name for inner in syntax.codes(code) for name in inner.co_names}
        if nodes is None:
            self.bytecode.add(reference(thing))
            trees = [f"Python {sys.version_info[:2]} {syntax.bytecode(code)}"]
            chains = [(name,) for name in names]
            chains += [(n, m) for n in names if _is_ours(space.get(n)) for m in names]
        else:
            trees = [syntax.dump(node) for node in nodes]
            inside = _imported(nodes, space)
            space, names = space | inside, names.union(inside)
            chains = [chain for node in nodes for chain in syntax.chains(node)]
        found = dict(zip(code.co_freevars, closed))
        for chain in sorted(set(chains)):
            if chain[0] in names and chain[0] in space:
                name, value = _resolve(chain, space)
                found[name] = value
        return self.text([trees, defaults, found])


def _is_ours(value):
    return isinstance(value, types.ModuleType) and ours(value.__name__)


def _is_array(value):
    return hasattr(value, "__array__") and hasattr(value, "dtype")


def _content(cell):
    try:
        return cell.cell_contents
    except ValueError:  # not yet bound
        return None


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
            if not level and not ours(name):
                continue
            wanted = ["*"] if whole and alias.asname else [alias.name] * (not whole)
            try:
                value = builtins["__import__"](name, space, None, wanted, level)
            except Exception:  # noqa: BLE001, S112, the call itself will say so
                continue
            value = value if whole else getattr(value, alias.name, None)
            found[alias.asname or alias.name.partition(".")[0]] = value
    return found
