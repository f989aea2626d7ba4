"""Data sets as arrays (`dataset`), and what a model sees of them (`binarization`).

`sources` has where arrays come from: a user's own files, folders that TFDS has prepared, the
embedded sets, which `builders` prepare.
"""

from aevae.data.binarization import (
    EVALUATION_SEED,
    PACKAGED,
    binarized,
    draw_held_out,
    evaluation_key,
    fixed,
    held_bytes,
    held_out,
    none,
    stochastic,
    threshold,
)
from aevae.data.dataset import PARTS, DataSet, arrays, load, name_of, of, rows

__all__ = [
    "EVALUATION_SEED",
    "PACKAGED",
    "PARTS",
    "DataSet",
    "arrays",
    "binarized",
    "draw_held_out",
    "evaluation_key",
    "fixed",
    "held_bytes",
    "held_out",
    "load",
    "name_of",
    "none",
    "of",
    "rows",
    "stochastic",
    "threshold",
]
