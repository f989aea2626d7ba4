"""Fingerprints of code: digests of syntax trees that tell whether an equation has changed.

Comments, docstrings and layout do not count, nor does the version of Python. A function counts with
what it calls and reads: its defaults, the values that it closes over, and the globals that it names,
followed through the package and the user's own modules. What is installed counts by its name.
What functions change themselves, as a global list that one appends to, is state and no code.
"""

import ast
import collections
import dataclasses
import enum
import functools
import operator
import os
import re
import sys
import types
from collections.abc import (
    Iterator,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
)
from pathlib import Path, PurePath
from typing import NamedTuple

from aevae.config import syntax
from aevae.config.compare import parts
from aevae.config.sources import ours
from aevae.config.tree import array, reference, things

PACKAGE = ("data/*.py", "models/*.py", "training/*.py")  # what a training step executes
PACKAGE += ("networks.py", "objectives.py", "optim.py")
PLAIN = (int, float, complex, str, bytes, bool, type(None), type(...))
CONTAINERS = (Mapping, set, frozenset, tuple, list, collections.deque)
MUTABLE = (MutableMapping, MutableSequence, MutableSet)
GETTERS = (operator.attrgetter, operator.itemgetter, operator.methodcaller, slice)
SPACES = (types.SimpleNamespace, functools.partialmethod)
INITIAL = ("__init__", "__new__", "__post_init__", "__setstate__", "setup")
# Fields that Flax adds.
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
    walk = _Walk(thing)
    return (_Walk(thing, walk.changed) if walk.changed else walk).result()


def of_configs(runs, known=()):
    """The fingerprints of the functions and classes of configs, {"path module:name": Fingerprint}.

    Names in `known` are left out.
    """
    found = {}

    for field, value in parts(runs):
        for path, thing in things(value, field):
            key = f"{path} {reference(getattr(thing, 'func', thing))}"
            if key not in found and key not in known:
                found[key] = of(thing)
    return found


class _Walk:
    """All that a thing reaches, each entry a text; equal entries make equal fingerprints."""

    def __init__(self, thing, state=()):
        # What the functions change: (where, name, whether by a method), and what is left out of it.
        self.changed, self.state = set(), state
        self.home = None  # the folder of the file whose code is described
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
        if isinstance(value, enum.Enum):
            return f"{self.text(type(value))} {self.text(value.value)}"
        if isinstance(value, (str, PurePath)):
            shown, whole = str(value), f"{value}{os.sep}"
            if self.home and whole.startswith(self.home):
                shown = f"./{whole.removeprefix(self.home)}"
            return f"{'' if isinstance(value, str) else 'path '}{shown!r}"
        if isinstance(value, PLAIN):
            return repr(value)
        if value is os.environ or isinstance(value, Iterator):
            return reference(type(value))
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
        if ours(kind.__module__) and not isinstance(value, CONTAINERS):
            return self.later(f"{reference(kind)}()", value)
        if _is_array(value):
            objects = getattr(value.dtype, "kind", None) == "O"
            return f"objects {self.text(value.tolist())}" if objects else array(value)
        if isinstance(value, CONTAINERS):
            if id(value) in self.inside:
                return "..."
            self.inside.append(id(value))
            found = (
                self.container(value) if self.kept(_classes(value), "", value) else []
            )
            if ours(kind.__module__):
                found.append(self.text(self.attributes(value)))
            self.inside.pop()
            return f"{self.text(kind)} [{', '.join(found)}]"
        if hasattr(value, "__wrapped__"):  # as by jax.jit, jax.custom_vjp
            parts = [getattr(value, name, None) for name in WRAPPED]
            return self.known(value) or f"{kind.__name__} {self.text(parts)}"
        inner = self.shown(value)
        held = getattr(value, "__self__", None)  # as of {...}.get
        held_is_data = isinstance(held, CONTAINERS) or _is_array(held)
        if held_is_data and value.__name__ not in syntax.CHANGING:
            inner.append(held)
        if callable(value) and hasattr(value, "__name__"):
            shown = f"{getattr(value, '__module__', None)}.{value.__name__}"
        elif kind.__module__.partition(".")[0] in STDLIB and not _is_value(value):
            shown = ""
        else:
            shown = re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value))
        return f"{reference(kind)} {shown} {self.text(inner) if inner else ''}"

    def shown(self, value):
        """The public data of an object of an installed class, and functions of the user's."""
        if id(value) in self.inside:
            return []
        self.inside.append(id(value))
        python = type(value).__module__.partition(".")[0] in STDLIB
        hidden = python and not isinstance(value, SPACES)
        found = [
            f"{name} {self.text(item)}"
            for name, item in sorted(getattr(value, "__dict__", {}).items())
            if isinstance(item, types.FunctionType)
            or not (hidden or name[:1] == "_" or name in FLAX)
            and not _is_cached(type(value), name)
            and (isinstance(item, (*PLAIN, *CONTAINERS, *SPACES)) or _is_array(item))
        ]
        self.inside.pop()
        return found

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
        kind = thing if isinstance(thing, (types.FunctionType, type)) else type(thing)
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        self.home = f"{Path(file).parent}{os.sep}" if file else None
        if isinstance(thing, types.FunctionType):
            return self.function(thing)
        if isinstance(thing, type):
            return self.class_(thing)
        return self.text([type(thing), self.attributes(thing)])

    def attributes(self, thing):
        """The attributes of an object of the user's, without what it caches and what changes."""
        kind = type(thing)
        slots = [getattr(base, "__slots__", ()) for base in kind.__mro__]
        names = [n for own in slots for n in ([own] if isinstance(own, str) else own)]
        names += getattr(thing, "__dataclass_fields__", ())
        if not hasattr(kind, "__dataclass_fields__") or not hasattr(kind, "apply"):
            names += getattr(thing, "__dict__", ())  # but not of a Flax module
        found = {}
        for name in sorted({*names}.difference(FLAX, ("__dict__", "__weakref__"))):
            value = getattr(thing, name, None)
            if not _is_cached(kind, name) and self.kept(_classes(thing), name, value):
                found[name] = value
        return found

    def kept(self, owners, name, value):
        """Whether the value that owners have by a name is none that functions change."""
        if any((owner, name, False) in self.state for owner in owners):
            return False
        changed = any((owner, name, True) in self.state for owner in owners)
        return not (changed and _is_mutable(value))

    def note(self, thing, changes, cells, names, space):
        """Adds what a function changes to `changed`."""
        code = thing.__code__
        inside = reference(thing).rpartition(".")[0]  # the class of a method
        for chain, method in changes:
            owner, name, rest, value = id(code), chain[0], chain[1:], None
            if name in cells:
                owner, value = id(cells[name]), _content(cells[name])
            elif inside and name in code.co_varnames[: min(code.co_argcount, 1)]:
                if thing.__name__ not in INITIAL:
                    self.changed.add((inside, "".join(rest[:1]), method))
            elif name in names and name in space:
                owner, name, rest, value = _resolve(chain, space, id(thing.__globals__))
                name = name.rpartition(".")[2]
            kind = value if isinstance(value, type) else type(value)
            if rest and ours(kind.__module__):
                owner, name = reference(kind), rest[0]
            elif rest:
                last = functools.reduce(lambda v, n: getattr(v, n, None), rest, value)
                code_ = isinstance(value, (types.FunctionType, types.ModuleType))
                if code_ or (method and not _is_mutable(last)):
                    continue
                method = False
            self.changed.add((owner, name, method))

    def class_(self, thing):
        named = getattr(thing, "_fields", ())  # of a named tuple: positions, not values
        declared = getattr(thing, "__dataclass_fields__", {})
        fields = [name for name in (*named, *declared) if name not in FLAX]
        members = getattr(thing, "__members__", {}) if _is_enum(thing) else {}
        made = [field.default_factory for field in declared.values()]
        made = [factory for factory in made if factory is not dataclasses.MISSING]
        parts = {"bases": thing.__bases__, "fields": fields, "made": made}
        parts |= {name: member.value for name, member in members.items()}
        for name, value in sorted(vars(thing).items()):
            written = name.startswith("__") or _is_enum(thing)
            written &= not isinstance(value, CODE)
            inner = getattr(value, "__func__", value)
            space = getattr(inner, "__globals__", {}).get("__name__") or ""
            space = space.partition(".")[0]
            written |= space in STDLIB or space.startswith("namedtuple_")
            written |= _is_generated(inner)
            written |= not self.kept(_classes(thing), name, value)
            if not (written or name in FLAX or type(value) in SLOTS or name in named):
                parts[name] = value
        return self.text(parts)

    def function(self, thing):
        code, space = thing.__code__, thing.__globals__
        cells = dict(zip(code.co_freevars, thing.__closure__ or ()))
        if not ours(space.get("__name__", "__main__")):
            return "" if self.known(thing) else self.installed(thing, cells)
        if _is_generated(thing):
            return ""
        nodes = syntax.nodes_of(thing)
        names = {name for inner in syntax.codes(code) for name in inner.co_names}
        if nodes is None:
            self.bytecode.add(reference(thing))
            trees = [f"Python {sys.version_info[:2]} {syntax.bytecode(code)}"]
            chains = [(name,) for name in names]
            chains += [(n, m) for n in names if _is_ours(space.get(n)) for m in names]
            changes = syntax.changes_in(code)
        else:
            trees = [syntax.dump(node) for node in nodes]
            inside = _imported(nodes, space)
            space, names = space | inside, names.union(inside)
            chains = [chain for node in nodes for chain in syntax.chains(node)]
            changes = [change for node in nodes for change in syntax.changes(node)]
        self.note(thing, changes, cells, names, space)
        args, given = code.co_varnames[: code.co_argcount], thing.__defaults__ or ()
        defaults = dict(zip([*args[::-1], *range(len(given))], given[::-1]))
        defaults |= thing.__kwdefaults__ or {}
        read = [(id(code), name, value) for name, value in defaults.items()]
        read += [(id(cell), name, _content(cell)) for name, cell in cells.items()]
        for chain in sorted(set(chains)):
            if chain[0] in names and chain[0] in space and chain[0][:2] != "__":
                owner, name, _, value = _resolve(chain, space, id(thing.__globals__))
                read.append((owner, name, value))
        found = {
            name: value
            for owner, name, value in read
            if self.kept([owner], str(name).rpartition(".")[2], value)
        }
        return self.text([trees, found])

    def installed(self, thing, cells):
        """What is the user's of a function that installed code has made."""
        closed = [_content(cell) for cell in cells.values()]
        if hasattr(
            thing, "__wrapped__"
        ):  # its other values may be those of the wrapper
            own = sorted({self.text(value) for value in closed if _is_own(value)})
            return f"wraps {self.text(thing.__wrapped__)} {own}"
        kinds = (*PLAIN, tuple, list, dict)
        kept = [
            v for v in closed if isinstance(v, kinds) or callable(v) or _is_array(v)
        ]
        return self.text(kept)


def _is_ours(value):
    return isinstance(value, types.ModuleType) and ours(value.__name__)


def _is_own(value):
    """Whether a value is a function, class or callable object of the user's, or has some."""
    if isinstance(value, dict):
        return any(map(_is_own, value.values()))
    value = getattr(value, "func", value)  # of a partial
    kind = value if isinstance(value, (types.FunctionType, type)) else type(value)
    return callable(value) and ours(kind.__module__)


def _is_mutable(value):
    """Whether a method as `update` may change a value: a container, an object not of the user's."""
    fixed = (*PLAIN, *CODE, tuple, type, types.ModuleType)
    other = not (isinstance(value, fixed) or _is_array(value) or _is_own(value))
    return isinstance(value, MUTABLE) or (other and not ours(type(value).__module__))


def _is_cached(kind, name):
    return isinstance(getattr(kind, name, None), functools.cached_property)


def _is_enum(thing):
    return isinstance(thing, enum.EnumMeta)


def _is_generated(value):
    """Whether a dataclass has written a method."""
    code = getattr(value, "__code__", None)
    return getattr(code, "co_qualname", "").startswith("__create_fn__")


def _is_value(value):
    """Whether an object is nothing but its value, and shows it."""
    kind = type(value)
    own = kind.__eq__ is not object.__eq__ and kind.__hash__ not in (
        None,
        object.__hash__,
    )
    return own or isinstance(value, GETTERS)


def _classes(thing):
    kind = thing if isinstance(thing, type) else type(thing)
    return [reference(base) for base in kind.__mro__]


def _is_array(value):
    return hasattr(value, "__array__") and hasattr(value, "dtype")


def _content(cell):
    try:
        return cell.cell_contents
    except ValueError:  # not yet bound
        return None


def _resolve(chain, space, owner):
    """Where a chain leads through modules that are ours: (owner, name, the rest, value)."""
    name, *rest = chain
    value = space[name]
    while rest and _is_ours(value) and hasattr(value, rest[0]):
        owner = id(vars(value))
        name, value = f"{name}.{rest[0]}", getattr(value, rest.pop(0))
    return owner, name, rest, value


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
