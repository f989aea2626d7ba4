"""What the benchmark counts, and what it writes. How fast anything is, is not tested."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from aevae import config, data, models, networks, objectives, optim
from aevae.training import population
from aevae.training.check import check_run
from aevae.training.layout import lay_out
from experiments import benchmark, command, products

ROOT = Path(__file__).parents[2]
D, H, Z, B = 16, 8, 3, 12


def run(objective, **hp):
    return config.Config(
        model=models.VAE(Z, networks.MLPEncoder((H,)), networks.MLPDecoder((H,))),
        objective=objective,
        hparams=hp | {"lr": 1e-3},
        optimizer=optim.adam,
        schedule=optim.constant,
        binarization=data.stochastic,
        batch=B,
    )


def operations(run, dataset):
    return products.operations(products.of_step(run, dataset))


@pytest.mark.parametrize("k", [None, 5])
def test_a_steps_operations_are_three_times_the_forward_pass_less_the_images(k, tiny):
    """Forward, gradient of the weights, gradient of the input; nobody needs the image's.

    With K samples only the decoder is repeated.
    """
    if k is None:
        found = operations(run(objectives.beta_vae, beta=1.0), tiny)
    else:
        found = operations(run(functools.partial(objectives.iwae, k=k)), tiny)
    encoder, decoder = D * H + H * 2 * Z, (k or 1) * (Z * H + H * D)
    assert found == 2 * B * (3 * (encoder + decoder) - D * H)


def test_a_convolution_is_counted_by_its_window():
    image, kernel = np.zeros((2, 3, 8, 8)), np.zeros((5, 3, 3, 3))
    convolve = functools.partial(jax.lax.conv, window_strides=(2, 2), padding="SAME")
    traced = jax.make_jaxpr(convolve)(image, kernel)
    ((equation, times),) = products.equations(traced.jaxpr)
    assert times == 1
    assert products.Product(equation).operations == 2 * (2 * 5 * 4 * 4) * (3 * 3 * 3)


def test_a_scan_repeats_what_is_in_it():
    def four(x):
        return jax.lax.scan(lambda x, _: (x @ x, None), x, length=4)[0]

    ((_, times),) = products.equations(jax.make_jaxpr(four)(np.eye(3)).jaxpr)
    assert times == 4


def measure(path, *arguments):
    given = [
        "--runs=1,3",
        "--chunks=1",
        "--rounds=1",
        "--seconds=0.02",
        f"--out={path}",
    ]
    given += ["--config.encoder.widths=8", "--config.batch=400", *arguments]
    done = subprocess.run(
        [sys.executable, "-m", "experiments.benchmark", *given],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, json.loads(path.read_text())


@pytest.mark.retraced
def test_it_writes_what_it_prints(tmp_path):
    profile = f"--profile={tmp_path / 'profile'}"
    text, found = measure(tmp_path / "new" / "b.json", "--nolaunch", profile)
    assert found["overrides"] == {"encoder.widths": "8", "batch": "400"}
    assert found["machine"]["versions"]["jax"] == jax.__version__
    solo, *_, last = found["groups"]
    assert (solo["members"], last["members"]) == (1, 3)
    assert solo["over_one_run"] == 1 and last["default"]
    assert last["checkpoint_bytes"] > 3 * found["parameters"] * 3 * 4  # Adam's, too
    for row in found["groups"]:
        assert row["images_per_second"] > 0 and row["start_cold_seconds"] > 0
        assert f"{row['images_per_second']:,.0f}" in text
    for row in (solo, last):  # of the start, of training, and of the results
        assert row["programs"] == 3 and 0 < row["host_share"] < 1
        assert 0 < row["evaluation_share"] < 1 and row["sweep_images_per_second"] > 0
        assert 0 < row["tracing_seconds"] and 0 < row["compilation_seconds"]
    assert [*(tmp_path / "profile").rglob("*.trace.json.gz")]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["b.json"]
    assert "launch" not in found and "{" not in text


@pytest.mark.retraced
def test_an_accelerators_loops_are_compared_with_others(digits, monkeypatch):
    """On a CPU, which gains nothing by them."""
    widths = {"encoder.widths": "(8,)", "decoder.widths": "(8,)"}
    (run,) = config.settle(config.load("configs/digits.py"), widths, {})
    monkeypatch.setattr(population, "piece", lambda steps: steps // 4)
    checked = check_run(run, digits)
    group = benchmark.Timed(run, digits, lay_out(1, 1), checked)
    assert group.loops(0.01, 1)["over_given_loops"] > 0


@pytest.mark.slow
def test_it_launches_sweeps(tmp_path):
    text, found = measure(tmp_path / "b.json")
    assert found["launch"]["cold_seconds"] > found["launch"]["warm_seconds"] > 0
    assert "launch to first step:" in text


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("--runs=0", "--runs must be whole numbers above 0, not 0"),
        ("--runs=", "--runs must be whole numbers above 0"),
        ("--chunks=1,two", "--chunks must be whole numbers above 0, not 1,two"),
        ("--rounds=0", "0 is not a positive integer"),
        ("--config.bach=1", "there is no 'bach'"),
        ("--out=/proc/none/b.json", "cannot write to /proc/none/b.json"),
    ],
)
def test_a_fault_is_one_line(argument, says, capsys):
    assert command.execute(benchmark.define, benchmark.main, [argument]) in (1, 2)
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
