"""The command that compares what autoencoders and a VAE generate."""

import functools

import numpy as np
import pytest
from scipy import stats

from aevae import config, objectives
from aevae.runs import study, tables
from experiments import command, generation

run = functools.partial(command.execute, generation.define, generation.main)
pytestmark = pytest.mark.retraced
SMALL = ["--config.epochs=1", "--config.encoder.widths=8", "--config.decoder.widths=8"]
SMALL += ["--latent=2", "--samples=40"]
PRIORS = "gaussian", "gmm"
FEW = [*SMALL, f"--priors={','.join(PRIORS)}"]


def two(patch):
    """Leaves the autoencoder and the VAE of the methods, each of which takes seconds to compile."""
    methods = generation.methods

    def some(*args, **weights):
        found = methods(*args, **weights)
        return {name: found[name] for name in ("autoencoder", "vae")}

    patch.setattr(generation, "methods", some)


def rows_of(methods, priors):
    return [(m, p) for m in methods for p in ("standard", *priors)] + [(None, "train")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generation") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        two(patch)
        assert not run([f"--workdir={folder}", "--seeds=0,1", *FEW])
    return folder


def test_every_method_and_prior_has_a_row_and_the_reference_one(made):
    rows = tables.read(made / "generation.csv")
    found = [(row["method"], row["prior"]) for row in rows]
    assert found == rows_of(("autoencoder", "vae"), PRIORS)
    for row in rows[:-1]:
        assert row["seeds"] == 2
        assert (row["gain"] is not None) == (
            row["method"] == "vae" and row["prior"] != "standard"
        )
        assert all(row[n] is not None for n in generation.DIGITS if n != "gain")
    assert rows[-1]["squared_error"] is None and rows[-1]["coverage_half"] is None
    lines = (made / "generation.md").read_text("utf-8").splitlines()
    assert len(lines) == 2 + len(rows) and len({line.count("|") for line in lines}) == 1
    assert (made / "generation.png").stat().st_size > 1000


def test_half_widths_are_those_of_scipys_t_interval(made):
    """Of the numbers that the run folders themselves have."""
    for row in tables.read(made / "generation.csv")[:-1]:
        place = made / row["method"]
        own = [
            r for r in tables.read(place / "priors.csv") if r["prior"] == row["prior"]
        ]
        found = {n: [r[n] for r in own] for n in ("coverage", "mmd", "nearest_ratio")}
        results = tables.results(place)
        found["squared_error"] = [r["squared_error"] for r in results]
        if row["gain"] is not None:
            found["gain"] = [r["gain"] for r in own]
        for name, values in found.items():
            assert len(values) == 2
            mean, scale = np.mean(values), stats.sem(values)
            if not scale:
                assert row[f"{name}_half"] == 0
                continue
            low, high = stats.t.interval(0.95, 1, loc=mean, scale=scale)
            ends = row[name] - row[f"{name}_half"], row[name] + row[f"{name}_half"]
            np.testing.assert_allclose(ends, (low, high), rtol=1e-9)


def test_the_same_command_again_trains_and_measures_nothing(made, monkeypatch):
    before = {p: p.stat().st_mtime_ns for p in made.rglob("params*") if p.is_file()}
    table = (made / "generation.csv").read_bytes()
    groups = []

    def counted(*args, **given):
        groups.append(original(*args, **given).groups)

    def measured(*args, **given):
        raise AssertionError("measured again")

    original = study.run
    monkeypatch.setattr(study, "run", counted)
    monkeypatch.setattr("aevae.evaluation.measured.measure", measured)
    two(monkeypatch)
    assert not run([f"--workdir={made}", "--seeds=0,1", *FEW])
    assert groups == [0, 0]
    assert (made / "generation.csv").read_bytes() == table
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_one_seed_of_a_folder_has_no_interval(made, monkeypatch):
    two(monkeypatch)
    assert not run([f"--workdir={made}", "--seeds=1", *FEW])
    rows = tables.read(made / "generation.csv")
    assert all(row["seeds"] == 1 for row in rows)
    assert all(
        row[f"{name}_half"] is None for row in rows for name in generation.DIGITS
    )
    second = tables.results(made / "vae")[1]
    vae = next(row for row in rows if row["method"] == "vae")
    assert second["seed"] == 1 and vae["squared_error"] == second["squared_error"]
    assert "±" not in (made / "generation.md").read_text("utf-8")


@pytest.mark.slow
def test_all_five_methods_train_and_generate(tmp_path, capsys):
    priors = "maf", "two_stage"
    more = [f"--priors={','.join(priors)}", "--steps=4", "--seeds=0"]
    assert not run([f"--workdir={tmp_path / 'runs'}", *SMALL, *more])
    rows = tables.read(tmp_path / "runs" / "generation.csv")
    found = [(row["method"], row["prior"]) for row in rows]
    assert found == rows_of(generation.NAMES, priors)
    shown = capsys.readouterr().out
    assert all(name in shown for name in generation.NAMES.values())


def test_methods_share_all_but_their_objective():
    base = config.load("configs/digits.py")
    weights = {name: float(i) for i, name in enumerate(generation.WEIGHTS)}
    found = generation.methods(base, **weights)
    assert {name: own.objective.__name__ for name, own in found.items()} == {
        name: {"vae": "beta_vae"}.get(name, name) for name in generation.NAMES
    }
    lr = {"lr": base.hparams["lr"]}
    assert found["autoencoder"].hparams == lr
    assert found["rae_l2"].hparams == lr | {"beta": 0.0, "lambda": 1.0}
    assert found["rae_gp"].hparams == lr | {"beta": 0.0, "lambda": 2.0}
    assert found["wae_mmd"].hparams == lr | {"lambda": 3.0}
    assert found["vae"].hparams == base.hparams
    for own in found.values():
        same = {"objective": objectives.beta_vae, "hparams": base.hparams, "grid": None}
        assert {**vars(own), **same} == {**vars(base), "grid": None}


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--config=configs/methods.py:iwae"], "objective must be beta_vae"),
        (["--priors=gausian"], "no prior is named 'gausian': there are gaussian"),
        (["--priors=gmm", "--steps=9"], "no prior that is named is trained in steps"),
        (["--latent=0"], "latent must be a whole number of at least 1"),
        (["--wae=-1"], "wae must be 0 or more, not -1"),
        (["--samples=7"], "samples"),
    ],
)
def test_bad_input_is_reported_before_any_work(arguments, says, tmp_path, capsys):
    place = tmp_path / "runs"
    assert run([f"--workdir={place}", *arguments]) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1
    assert not place.exists()
