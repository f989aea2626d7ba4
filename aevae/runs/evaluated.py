"""What evaluations found of the runs of a folder, kept beside their parameters."""

import json
from pathlib import Path

from aevae.runs import record
from aevae.system import files


def path(workdir, number):
    """The file of what evaluations found of a run."""
    return Path(workdir) / "evaluated" / f"{number:04d}.json"


def arrays_path(workdir, number, measure):
    """The file of the arrays that a measure found of a run."""
    return Path(workdir) / "evaluated" / f"{number:04d}.{measure}.npz"


def of(workdir, number):
    """The stored results of a run's present parameters, {measure: entry}; {} if there are none.

    An entry has `values` {column: value}, perhaps `tables` {name: {"label": column, "rows": {its
    value: {column: value}}}} and `arrays`, the digest of its file of arrays, and what they depend on
    beside the parameters: `code`, `options`, of a measure across runs `runs`, and perhaps what it
    `reads`.
    """
    try:
        known = json.loads(path(workdir, number).read_text("utf-8"))
        same = known["params"] == files.digest(record.params_path(workdir, number))
        found = known["measures"] if same else {}
        found = {k: v for k, v in found.items() if _is_whole(workdir, number, k, v)}
        return {k: _with_tables(v) for k, v in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def is_stale(workdir, number):
    """Whether what was found of a run is of parameters that it had before."""
    try:
        known = json.loads(path(workdir, number).read_text("utf-8"))["params"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return known != files.digest(record.params_path(workdir, number))


def _with_tables(entry):
    """An entry, of folders of before too, which had {column: [Z]} of latents alone."""
    if "latents" not in entry:
        return entry
    entry = dict(entry)
    columns = entry.pop("latents")
    each = enumerate(zip(*columns.values()))
    rows = {str(latent): dict(zip(columns, values)) for latent, values in each}
    return entry | {"tables": {"latents": {"label": "latent_index", "rows": rows}}}


def _is_whole(workdir, number, measure, entry):
    """Whether the arrays of an entry, if it has any, are there."""
    place = arrays_path(workdir, number, measure)
    return "arrays" not in entry or (
        place.is_file() and files.digest(place) == entry["arrays"]
    )


def forget(workdir, number, measures):
    """Lets what measures, by name, have found of a run be of no code: it is to be found again."""
    for name, entry in of(workdir, number).items():
        if name in measures:
            keep(workdir, number, name, entry | {"code": ""})


def keep(workdir, number, measure, entry):
    """Keeps the entry of a measure with those of the same parameters."""
    place = path(workdir, number)
    known = of(workdir, number) | {measure: entry}
    digest = files.digest(record.params_path(workdir, number))
    with files.writing(place):
        place.parent.mkdir(exist_ok=True)
    files.write_json(place, {"params": digest, "measures": known})
