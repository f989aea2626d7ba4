"""Source code as syntax trees: parsed, digested, and found for a function that is in memory."""

import ast
import dis
import functools
import hashlib
import inspect
import linecache
import os
import sys
import time
from pathlib import Path

from aevae import InputError

# Methods that change a container.
CHANGING = (
    "add",
    "append",
    "appendleft",
    "clear",
    "discard",
    "extend",
    "insert",
    "pop",
)
CHANGING += ("popitem", "popleft", "remove", "setdefault", "subtract", "update")
CHANGING += ("__setitem__",)
DEFINED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def _began():
    """When this process started, in ns; where the system does not tell, the time of this import."""
    try:
        ticks = int(
            Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()[19]
        )
        started = ticks / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, ValueError, AttributeError):
        age = 0.0
    return time.time_ns() - int(max(age, 0) * 1e9)


BEGAN = _began()  # a file that changes later may not be what was imported


def digest(text):
    """The first 16 digits of a text's sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.lru_cache(1024)
def of_text(text):
    """The fingerprint of a module's text."""
    return of_tree(_parsed(text))


def of_tree(node):
    """The fingerprint of a syntax tree, as text: the same whatever Python parsed it."""
    return digest(dump(node))


def body(node):
    """The statements of a syntax tree without its docstring."""
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    documented = isinstance(node, kinds) and ast.get_docstring(node, False) is not None
    return node.body[1:] if documented else node.body


_parsed = functools.lru_cache(1024)(ast.parse)


@functools.lru_cache(1024)
def _functions(text):
    """The functions in a text, {(name, first line): nodes}."""
    nodes = {}
    for node in ast.walk(_parsed(text)):
        if isinstance(node, DEFINED):
            decorators = getattr(node, "decorator_list", [])
            line = min([node.lineno, *(d.lineno for d in decorators)])
            key = getattr(node, "name", "<lambda>"), line
            nodes.setdefault(key, []).append(node)
    return nodes


@functools.lru_cache(1024)
def file(path, changed):
    """The text of a file; `changed` is when."""
    del changed  # a key of the cache
    return Path(path).read_text(encoding="utf-8")


def dump(node):
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
            if isinstance(node, ast.JoinedStr):  # 3.12 adds empty texts to formats
                value = [v for v in value if getattr(v, "value", None) != ""]
            add(name)
            _dump_into(value, add)
        add(")")
    elif isinstance(node, list):
        for item in node:
            _dump_into(item, add)
    else:
        add(repr(node))


def bytecode(code):
    """A code object as text, without lines and docstrings; it is that of one version of Python."""
    consts = [*code.co_consts]
    marked = sys.version_info < (3, 13) or code.co_flags & inspect.CO_HAS_DOCSTRING
    if consts and isinstance(consts[0], str) and marked:
        consts[0] = None
    texts = [
        bytecode(c)
        if inspect.iscode(c)
        else repr(sorted(map(repr, c)) if isinstance(c, frozenset) else c)
        for c in consts
    ]
    return repr((code.co_code, code.co_names, code.co_varnames, texts))


def codes(code):
    """A code object and those within it."""
    yield code
    for inner in filter(inspect.iscode, code.co_consts):
        yield from codes(inner)


def chains(node):
    """The names in a function, with their attributes: `objectives.bound_terms`."""
    for inner in ast.walk(node):
        parts = []
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield (inner.id, *parts[::-1])


def changes(node):
    """Yields (names as in `chains`, whether by a method) of what a function rebinds or changes."""
    for inner in ast.walk(node):
        if isinstance(inner, (ast.Global, ast.Nonlocal)):
            yield from (((name,), False) for name in inner.names)
            continue
        found = None
        called = isinstance(inner, ast.Call)
        if called and getattr(inner.func, "attr", None) in CHANGING:
            found = _base(inner.func.value)
        elif isinstance(inner, (ast.Attribute, ast.Subscript)):
            found = None if isinstance(inner.ctx, ast.Load) else _base(inner)
        if found:
            yield found, called


def _base(node):
    """The name and the attributes with which an expression begins, up to an index or a call."""
    parts = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            parts, node = [node.attr, *parts], node.value
        elif isinstance(node, ast.Subscript):
            parts, node = [], node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            parts, node = [], node.func.value
        else:
            return None
    return (node.id, *parts)


def changes_in(code):
    """As `changes`, of bytecode: what it may change."""
    ops = [op for inner in codes(code) for op in dis.get_instructions(inner)]
    names = {name for inner in codes(code) for name in inner.co_names}
    bases = {*names, *code.co_varnames, *code.co_freevars}
    for op in ops:
        if op.opname in ("STORE_GLOBAL", "STORE_DEREF"):
            yield (op.argval,), False
        elif op.opname == "STORE_ATTR":
            yield from (((name, op.argval), False) for name in bases)
    if names.intersection(CHANGING) or any(op.opname == "STORE_SUBSCR" for op in ops):
        yield from (((name,), True) for name in bases)
        yield from (((name, attr), True) for name in bases for attr in names)


def nodes_of(function):
    """The syntax trees of a function (several where lambdas share a line); None without source."""
    code, space, changed = function.__code__, function.__globals__, 0
    path = Path(code.co_filename)
    try:
        if "__source__" in space and code.co_filename == space.get("__file__"):
            text = space["__source__"]
        elif path.is_file():
            changed = path.stat().st_mtime_ns
            text = file(str(path), changed)
        else:
            text = "".join(linecache.getlines(code.co_filename))
        functions = _functions(text)
    except (OSError, ValueError, SyntaxError):
        return None
    line = code.co_firstlineno
    if changed > BEGAN:
        line = _line(code, changed)
        if line is None:
            raise InputError(
                f"{path} has changed since it was imported: start Python anew, or reload it, so "
                "that the code on the disk is the code that runs"
            )
    return functions.get((code.co_name, line))


def _line(code, changed):
    """The first line of a code object in a file that may have moved it; None if it is not there."""
    there = _lines(code.co_filename, changed).get((code.co_name, bytecode(code)), ())
    return min(there, key=lambda n: abs(n - code.co_firstlineno), default=None)


@functools.lru_cache(64)
def _lines(path, changed):
    """The first lines of all code in a file, {(name, bytecode): lines}."""
    del changed  # a key of the cache
    found = {}
    compiled = compile(
        Path(path).read_text(encoding="utf-8"), path, "exec", dont_inherit=True
    )
    for code in codes(compiled):
        key = code.co_name, bytecode(code)
        found.setdefault(key, []).append(code.co_firstlineno)
    return found
