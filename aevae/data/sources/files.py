"""A user's files and folders by their paths: which reader reads them, by their endings."""

import os
from pathlib import Path

from aevae import InputError
from aevae.data.sources import arrays, pictures, tables

NAMED = (".npz", ".h5", ".hdf5")  # hold several arrays by name
READERS = {
    **dict.fromkeys((".npz", ".npy", ".h5", ".hdf5"), arrays.load),
    **dict.fromkeys((".csv", ".tsv", ".tab", ".parquet", ".pq"), tables.load),
}  # in any case
# Of paths of any text os.path says whether they are there; pathlib raises where one is too long.
READ = (
    ".npz, .npy, .h5, .csv, .tsv and .parquet files and folders of images are read; of anything "
    "else save an .npz: np.savez('data.npz', image=x, label=y)"
)


def is_file(name):
    """Whether a name is the path of a file: one that is there, or has the ending of a reader."""
    path, _ = _parts(name)
    return path.suffix.lower() in READERS or os.path.isfile(path)


def is_path(name):
    """Whether a name can only be a path, as `./mine`, `a/b` or `mine.txt`; or is a folder's."""
    return (
        os.path.isdir(os.path.expanduser(name))
        or "/" in name
        or bool(Path(name).suffix)
    )


def _parts(name):
    """The two parts of `data.npz:array`: the path, and the name of an array or None."""
    path, colon, array = name.rpartition(":")
    whole, part = (Path(os.path.expanduser(text)) for text in (name, path))
    if not colon or whole.suffix.lower() in READERS or os.path.exists(whole):
        return whole, None
    if part.suffix.lower() in READERS or os.path.isfile(part):
        return part, array
    return whole, None


def load(name):
    """The Source of a file or folder of the user's.

    Raises:
      InputError: a path that does not exist or cannot be read, or what it holds.
    """
    path, chosen = _parts(name)
    if os.path.isdir(path):
        return pictures.load(name, path)
    read = READERS.get(path.suffix.lower())
    if read is None and os.path.exists(path):
        kind = (
            "one image; give its folder"
            if path.suffix.lower() in pictures.ENDINGS
            else ""
        )
        raise InputError(
            f"{name} is no file of a data set{kind and f', but {kind}'}: {READ}"
        )
    if read is None:
        raise InputError(f"cannot read {name}: No such file or directory")
    if chosen is None:
        return read(name, path)
    if path.suffix.lower() not in NAMED:
        raise InputError(f"{name}: only {', '.join(NAMED)} files have arrays by name")
    return read(name, path, chosen)
