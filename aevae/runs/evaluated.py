"""What evaluations found of the runs of a folder, kept beside their parameters."""

import json
from pathlib import Path

from aevae.runs import record
from aevae.system import files


def path(workdir, number):
    """The file of what evaluations found of a run."""
    return Path(workdir) / "evaluated" / f"{number:04d}.json"


def of(workdir, number):
    """{measure: {"options", "values", ...}} of the parameters that a run has now; {} if of none."""
    try:
        known = json.loads(path(workdir, number).read_text())
        same = known["params"] == files.digest(record.params_path(workdir, number))
        return known["measures"] if same else {}
    except (OSError, ValueError, KeyError):
        return {}
