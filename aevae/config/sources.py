"""Config files and the user's modules that they import, executed under names of their own.

Python's own modules aside, one is looked for in the folder that has the name of the config file
without its ending (as in a run folder: `config/` beside `config.py`), beside the file, and then
where Python looks, once the file has extended `sys.path`. What is installed is imported as ever. What is the user's is read, so that a run folder can keep it, and
is a module of this config alone: two folders may each have a `model.py`.
"""

import ast
import builtins
import functools
import importlib.abc
import importlib.util
import itertools
import sys
import sysconfig
import types
from pathlib import Path
from typing import NamedTuple

FOREIGN = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]

_numbers = itertools.count()
_known = {}  # {path of a config file: its last `Source`}


class Source(NamedTuple):
    """A config file as it was executed."""

    text: str
    texts: dict[str, str]  # of the user's modules: {"pkg/part.py": text}
    paths: dict[str, Path]  # where each was read
    module: object


def execute(path, text):
    """The `Source` of a config file, executed anew only where a text has changed."""
    path = path.resolve()
    known = _known.get(path)
    if known and known.text == text and _unchanged(known):
        return known
    found, source = _modules(path, text), None
    for _ in range(3):  # again where it has changed sys.path, which need not end
        if source and source.paths == found[0]:
            break
        before = set(sys.modules)
        source = _executed(path, text, *found)
        found = _modules(path, text)
        for name in set(sys.modules) - before:  # imported as what is installed
            if name.partition(".")[0] in {_top(file) for file in found[0]}:
                del sys.modules[name]
    _known[path] = source
    return source


def _modules(path, text):
    """The user's modules of a config file: ({name: path}, {name: text})."""
    paths, texts = {}, {}
    places = [path.with_suffix(""), path.parent]
    _collect(ast.parse(text, str(path)), "", places, paths, texts)
    return paths, texts


def _executed(path, text, paths, texts):
    name = f"config_{next(_numbers)}"
    finder = _Finder(f"{name}_modules", paths, texts)
    if paths:
        sys.meta_path.insert(0, finder)
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # where Flax looks up annotations
    _run(module, text, path, finder)
    return Source(text, texts, paths, module)


def of(path):
    """The `Source` of a config file that has been executed."""
    return _known[path.resolve()]


def _unchanged(source):
    try:
        return all(
            source.paths[n].read_text("utf-8") == t for n, t in source.texts.items()
        )
    except (OSError, UnicodeDecodeError):
        return False


def _run(module, text, path, finder):
    code = compile(text, str(path), "exec", dont_inherit=True)
    vars(module)["__source__"] = text
    vars(module)["__builtins__"] = vars(builtins) | {"__import__": finder.find}
    exec(code, vars(module))  # noqa: S102


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the user's modules of one config, as submodules of `root`."""

    def __init__(self, root, paths, texts):
        self.root, self.paths, self.texts = root, paths, texts
        self.names = set(map(_top, texts))

    def find(self, name, space=None, local=None, wanted=(), level=0):
        """`__import__` of the config file and of its modules."""
        if level or name.partition(".")[0] not in self.names:
            return builtins.__import__(name, space, local, wanted, level)
        module = importlib.import_module(f"{self.root}.{name}")
        if wanted:
            return builtins.__import__(module.__name__, space, local, wanted, 0)
        return sys.modules[f"{self.root}.{name.partition('.')[0]}"]

    def find_spec(self, name, path=None, target=None):
        del path, target
        if name == self.root:
            return importlib.util.spec_from_loader(name, self, is_package=True)
        if not name.startswith(f"{self.root}."):
            return None
        own = name.removeprefix(f"{self.root}.").replace(".", "/")
        for file, package in ((f"{own}/__init__.py", True), (f"{own}.py", False)):
            if file in self.paths:
                found = importlib.util.spec_from_loader(name, self, is_package=package)
                found.loader_state, found.origin = file, str(self.paths[file])
                found.has_location = True
                return found
        if any(file.startswith(f"{own}/") for file in self.paths):
            return importlib.util.spec_from_loader(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        file = module.__spec__.loader_state
        if file is not None:
            _run(module, self.texts[file], self.paths[file], self)


def _top(file):
    return Path(file).with_suffix("").parts[0]


def _collect(tree, package, places, paths, texts):
    """Reads the user's modules that a syntax tree imports, and those that they import."""
    for name in _imports(tree, package):
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            own = "/".join(parts[:end])
            found = _file(own, places)
            if found is None or found[0] in texts:
                continue
            file, path = found
            paths[file], texts[file] = path, path.read_text("utf-8")
            tree = ast.parse(texts[file], str(path))
            inner = own if file.endswith("__init__.py") else own.rpartition("/")[0]
            _collect(tree, inner.replace("/", "."), places, paths, texts)


def _imports(tree, package):
    """The names of modules that a tree may import, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) + 1 - node.level]
                base = ".".join(filter(None, [*above, base]))
            yield base
            yield from (f"{base}.{a.name}" for a in node.names if a.name != "*")


def _file(own, places):
    """(name, path) of a module of the user's, as `pkg/part`; None where it is none."""
    top = own.partition("/")[0]
    if top in ("", "aevae") or top in sys.stdlib_module_names:
        return None
    for place in [*places, *_elsewhere(top)]:
        for file in (f"{own}/__init__.py", f"{own}.py"):
            if (place / file).is_file():
                return file, place / file
    return None


def _elsewhere(top):
    """The folders in which Python finds a module or package of the user's."""
    try:
        spec = None if foreign(top) else importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(place).parent for place in spec.submodule_search_locations]
    return [Path(spec.origin).parent] if spec.origin and spec.has_location else []


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
        spec = None  # a module that was made by hand
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


def ours(module):
    """Whether a module, by its full name, is the package's or the user's."""
    return bool(module) and not foreign(module.partition(".")[0])
