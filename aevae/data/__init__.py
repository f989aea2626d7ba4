"""Data sets: loaded as arrays, divided into splits, and binarized.

    dataset         loads a data set by name, or takes arrays: a `DataSet` of three splits
    binarization    what a model sees of stored pixels; held-out splits, drawn once
    standardization stored values without the training split's mean and deviation
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
    FIELDS,
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
from aevae.data.standardization import (
    NO,
    Moments,
    Scaling,
    as_floats,
    named,
    standardized,
)

__all__ = [
    "EVALUATION_SEED",
    "FIELDS",
    "NO",
    "PACKAGED",
    "PARTS",
    "ROUNDING",
    "DataSet",
    "Moments",
    "Scaling",
    "arrays",
    "as_floats",
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
    "named",
    "none",
    "of",
    "rescaling",
    "rows",
    "slices",
    "standardized",
    "stochastic",
    "threshold",
]
