"""Configs: the declaration of one run, and of the grid of runs around it.

    tree          the values of a config by path: found, replaced, parsed from text, written as JSON
    compare       runs compared: columns that tell them apart, groups of one program, joined
    syntax        source code as syntax trees, compared without comments
    sources       config files and the user's modules that they import, executed and kept
    fingerprint   whether code has changed: digests of functions with all that they call
    run           the dataclass `Config`, and what a config file returns
    lookup        functions that are named on a command line
    grid          a grid expanded into runs

Each file imports only from those above it.
"""

from aevae.config import sources
from aevae.config.compare import (
    all_columns,
    columns,
    differences,
    groups_of_one_program,
    identities,
    identity,
    join,
    starts,
    structures,
    swept,
    unlike,
)
from aevae.config.grid import (
    asks,
    axis,
    check_overrides,
    expand,
    grid_paths,
    point,
    settle,
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
    plain,
    replace,
    short,
    shown,
)

__all__ = [
    "Config",
    "all_columns",
    "asks",
    "at_default",
    "axis",
    "canonical",
    "check_overrides",
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
    "identities",
    "identity",
    "join",
    "leaves",
    "literal",
    "load",
    "override",
    "plain",
    "point",
    "replace",
    "settle",
    "short",
    "shown",
    "sources",
    "split",
    "starts",
    "structures",
    "swept",
    "unlike",
]
