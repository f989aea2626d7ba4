"""Checkpoints: folders of arrays, there whole or not at all; `system.files.verify` checks them."""

import re
import shutil

import numpy as np

from aevae.system.files import PARTIAL, verify, whole_folder

NAME = re.compile(r"\d+-\d+(-\d+)?")
KEPT = 2  # checkpoints of a group


def save(place, name, parts):
    """Writes the checkpoint `place`/`name`: of {part: {name: array}} a `part`.npz each, and sums.

    It appears whole, or not at all; older ones but the newest are then removed.
    """
    with whole_folder(place / name) as partial:
        for part, arrays in parts.items():
            with (partial / f"{part}.npz").open("wb") as file:
                np.savez(file, **arrays)
    keep = find(place)[:KEPT]
    for path in place.iterdir():
        if path not in keep and path.is_dir() and path.suffix != PARTIAL:
            shutil.rmtree(path, ignore_errors=True)


def find(place):
    """The complete checkpoints of a place, newest first."""
    found = place.iterdir() if place.is_dir() else ()
    numbered = [p for p in found if NAME.fullmatch(p.name)]
    return sorted(numbered, key=lambda p: [*map(int, p.name.split("-"))], reverse=True)


def read(path, parts):
    """The arrays of some parts of a checkpoint, {part: {name: array}}, or Broken."""
    verify(path, [f"{part}.npz" for part in parts])
    arrays = {}
    for part in parts:
        with np.load(path / f"{part}.npz") as archive:
            arrays[part] = dict(archive)
    return arrays
