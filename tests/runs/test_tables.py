"""The summary of results."""

import json

import pytest

from aevae.runs import record, tables


@pytest.mark.parametrize(
    ("densities", "expected"),
    [
        (("no", "no"), None),
        (
            ("yes", "yes"),
            "The likelihood is a density, whose logarithm may be positive",
        ),
        (("no", "yes"), "The likelihood of runs 1 is a density"),
        ((None, None), None),  # as in folders of before
    ],
)
def test_a_summary_says_where_the_likelihood_is_a_density(
    densities, expected, tmp_path
):
    columns = ["run", "beta", "seed"]
    declared = {
        "format": record.FORMAT,
        "sweeps": [1],
        "groups": [1],
        "columns": columns,
    }
    (tmp_path / "config.json").write_text(json.dumps(declared))
    rows = [
        {"run": i, "beta": i, "seed": 0, "elbo": 203.5, "density": d}
        for i, d in enumerate(densities)
    ]
    names = [*columns, "elbo", "diverged", "density"]
    tables.Table(tmp_path / "results.csv", names).write(rows)
    lines = tables.summary(tmp_path).splitlines()
    assert "203.50" in lines[1]
    assert (lines[3] if expected else "").startswith(expected or "")
    assert len(lines) == 3 + bool(expected)
