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
        (("no", "yes"), "The likelihood of run 1 is a density"),
        (("yes", "no", "yes"), "The likelihood of runs 0, 2 is a density"),
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
    count = 1 + len(densities)
    assert (lines[count] if expected else "").startswith(expected or "")
    assert len(lines) == count + bool(expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ""),
        ([1.0], "1.00"),
        ([999_999.0, 999_997.0], "999998.00 ±1.41"),
        ([-7.3e69, 7.3e69], "0.00 ±1.03e+70"),
        ([-7.3e69], "-7.30e+69"),
    ],
)
def test_values_are_shown_as_mean_and_standard_deviation(values, expected):
    assert tables.spread(values) == expected


def test_digits_of_a_spread_are_those_asked_for():
    assert tables.spread([1.0, 3.0], 3) == "2.000 ±1.414"
