"""Configs: the declaration of one run, and of the grid of runs around it.

    tree    the values of a config by path: found, replaced, parsed from text, written as JSON
    run     the dataclass `Config`, and config files
    lookup  functions that are named on a command line
    grid    a grid expanded into runs, grouped by program, and joined to the runs of a folder

Each file imports only from those above it.
"""

from aevae.config.grid import (
    axis,
    columns,
    differences,
    expand,
    grid_paths,
    groups_of_one_program,
    identity,
    join,
    settle,
    swept,
)
from aevae.config.run import Config, code, doubts, help_of, load, split
from aevae.config.tree import (
    at_default,
    canonical,
    describe,
    find,
    get,
    leaves,
    literal,
    override,
    replace,
    short,
)

__all__ = [
    "Config",
    "at_default",
    "axis",
    "canonical",
    "code",
    "columns",
    "describe",
    "differences",
    "doubts",
    "expand",
    "find",
    "get",
    "grid_paths",
    "groups_of_one_program",
    "help_of",
    "identity",
    "join",
    "leaves",
    "literal",
    "load",
    "override",
    "replace",
    "settle",
    "short",
    "split",
    "swept",
]
