"""Data sets: loaded as arrays, divided into splits, and binarized.

    dataset         loads a data set by name, or takes arrays: a `DataSet` of three splits
    binarization    what a model sees of stored pixels; held-out splits, drawn once
    sources         where arrays come from: files, folders that TFDS has prepared, stock sets
    builders        TFDS builders of the data sets that need no download

A new data set is a file, an array, or a TFDS builder: README.md says how.
"""

from aevae.data.binarization import (
    EVALUATION_SEED,
    PACKAGED,
    ROUNDING,
    binarized,
    by_row,
    evaluation_key,
    fixed,
    held_bytes,
    held_out,
    none,
    stochastic,
    threshold,
)
from aevae.data.dataset import (
    PARTS,
    DataSet,
    arrays,
    check_given,
    is_name,
    load,
    name_of,
    of,
    rows,
)
from aevae.data.sources.images import rescaling
from aevae.data.sources.source import slices

__all__ = [
    "EVALUATION_SEED",
    "PACKAGED",
    "PARTS",
    "ROUNDING",
    "DataSet",
    "arrays",
    "binarized",
    "by_row",
    "check_given",
    "evaluation_key",
    "fixed",
    "held_bytes",
    "held_out",
    "is_name",
    "load",
    "name_of",
    "none",
    "of",
    "rescaling",
    "rows",
    "slices",
    "stochastic",
    "threshold",
]
