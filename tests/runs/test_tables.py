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
    assert len(lines) == count + bool(expected) + 1  # one seed has no interval


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ""),
        ([1.0], "1.00"),
        ([999_999.0, 999_997.0], "999998.00 ±12.71"),  # t of 1 degree of freedom
        ([2.0, 3.0, 4.0], "3.00 ±2.48"),  # 4.303 / √3
        ([-7.3e69, 7.3e69], "0.00 ±9.28e+70"),
        ([-7.3e69], "-7.30e+69"),
    ],
)
def test_values_are_shown_as_mean_and_its_interval(values, expected):
    assert tables.interval(values) == expected


def test_digits_of_an_interval_are_those_asked_for():
    assert tables.interval([1.0, 3.0], 3) == "2.000 ±12.706"


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ((3, 3), None),
        (
            (2, 3),
            "Fewer than three seeds at 1 of 2 points: that of two is 12.7 standard",
        ),
        ((1, 1), "Fewer than three seeds: one seed has no interval"),
    ],
)
def test_a_summary_says_where_seeds_are_few(seeds, said, tmp_path):
    """Those of runs that diverged do not count."""
    columns = ["run", "beta", "seed"]
    declared = {
        "format": record.FORMAT,
        "columns": columns,
        "sweeps": [1],
        "groups": [1],
    }
    (tmp_path / "config.json").write_text(json.dumps(declared))
    points = [(beta, seed) for beta, n in enumerate(seeds) for seed in range(n)]
    rows = [
        {"run": i, "beta": beta, "seed": seed, "elbo": -9.0 - seed, "diverged": None}
        for i, (beta, seed) in enumerate(points)
    ]
    tables.Table(tmp_path / "results.csv", [*rows[0]]).write(rows)
    lines = tables.summary(tmp_path).splitlines()
    assert len(lines) == 3 + bool(said) and lines[-1].startswith(said or lines[2])
    lost = rows[0] | {"run": 9, "seed": 9, "diverged": 4}
    tables.Table(tmp_path / "results.csv", [*rows[0]]).write([*rows, lost])
    assert [*tables.few(tmp_path)] == lines[3:]


def test_long_texts_have_labels_that_tell_them_apart():
    folder = "/data/" + "a" * 240
    long = {f"{folder}/x.npz": "…/x.npz", f"{folder}/sub/y.npz": "…/sub/y.npz"}
    assert tables.labels([*long, "digits"]) == long | {"digits": "digits"}
    assert tables.labels([f"{folder}/x.npz"]) == {f"{folder}/x.npz": "…/x.npz"}
    apart = tables.labels([f"/{'b' * 99}/{n}/{'c' * 99}.npz" for n in range(3)])
    assert len({*apart.values()}) == 3 and max(map(len, apart.values())) < 70
    widths = "(128, 128, 128, 128, 128, 128)"
    assert tables.labels([widths, widths]) == {widths: widths}


def test_a_table_keeps_any_name(tmp_path):
    """Line ends of Unicode within a cell, and bytes of a path that are no letters."""
    names = ["a\x85b", "c\u2028d", 'e"\n,f', "g\udcfc", "ü"]
    table = tables.Table(tmp_path / "x.csv", ["run", "dataset"])
    table.write([{"run": i, "dataset": name} for i, name in enumerate(names)])
    assert [row["dataset"] for row in tables.read(table.path)] == names
    table.add([{"run": 9, "dataset": "cut short"}])
    table.path.write_bytes(table.path.read_bytes()[:-3])
    assert len(tables.read(table.path)) == len(names)
