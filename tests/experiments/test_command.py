"""The command lines, as a user types them."""

import errno
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aevae import InputError, config
from aevae.runs import study, tables
from experiments import command
from experiments import evaluate as evaluate_command
from experiments import figures as figures_command
from experiments import sweep as sweep_command

pytestmark = pytest.mark.retraced

QUICK = [
    "--config.epochs=1",
    "--config.batch=600",
    "--sweep=latent=2",
    "--sweep=beta=1,2",
]


def sweep(*arguments):
    return command.execute(sweep_command.define, sweep_command.main, arguments)


def test_a_sweep_ends_with_a_table_and_the_paths(tmp_path, capsys):
    workdir = tmp_path / "run"
    assert sweep(f"--workdir={workdir}", *QUICK) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split()[:4] == ["beta", "runs", "elbo", "distortion"]
    assert [line.split()[0] for line in lines[1:3]] == ["1", "2"]
    for name in ("results.csv", "curves.csv", "figures/rate_distortion.png"):
        assert name in out and (workdir / name).is_file()
    assert "group 0 of 1: epoch 1/1" in err and "\r" not in err  # no terminal
    assert [row["beta"] for row in tables.results(workdir)] == [1, 2]

    (workdir / "figures" / "elbo.png").write_bytes(b"")  # of a grid with one beta
    (workdir / "figures" / "elbo_mine.png").write_bytes(b"")
    (workdir / "figures" / "elbo_by_beta.png").unlink()
    draw(f"--workdir={workdir}")
    assert str(workdir / "figures" / "elbo_by_beta.png") in capsys.readouterr().out
    assert (workdir / "figures" / "elbo_by_beta.png").is_file()
    assert not (workdir / "figures" / "elbo.png").exists()
    assert (workdir / "figures" / "elbo_mine.png").exists()


def test_figures_that_were_not_finished_are_drawn_and_divergence_is_counted(
    tmp_path, capsys
):
    given = [f"--workdir={tmp_path / 'run'}", *QUICK[:3], "--sweep=lr=1e-3,1e30"]
    given.append("--sweep=seed=0,1")
    assert sweep(*given) == 102
    assert "2 of 4 runs diverged" in capsys.readouterr().out.splitlines()[-1]
    figure = tmp_path / "run" / "figures" / "rate_distortion.png"
    figure.unlink()
    (figure.parent / ".drawn").unlink()
    assert sweep(*given) == 102
    drawn = figure.stat().st_mtime_ns
    assert sweep(*given) == 102
    assert figure.stat().st_mtime_ns == drawn


def draw(*arguments):
    return command.execute(figures_command.define, figures_command.main, arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["here"], "unexpected argument 'here'"),
        (["--config=configs/none.py"], "cannot read config file .*configs/digits.py"),
        (["--wrkdir=x"], "Did you mean: workdir"),
        (["--config.bacth=3"], "no 'bacth': did you mean batch. .* batch, "),
        (["--config.dataset="], "must be the name of a data set, not ''"),
        (["--config.hparams.beta={[1]:2}"], "beta must be a number, not '{"),
        (["--sweep=beta={[1]:2}"], "beta must be a number, not '{"),
        (["--sweep=encoder.widths=32,64)"], "the brackets of '32,64.' do not match"),
        (["--sweep=dataset=digits,"], "must be the name of a data set, not ''"),
        (["--sweep=encoder.activation=tanj"], r"of jax.nn \(tanh, "),
        (["--config.hparams.gama=3"], "nothing reads hyperparameter gama"),
        (["--config.hparams.bta="], "no 'hparams.bta' to leave out; .*: beta, lr"),
        (["--config.hparams.=3"], "there is no 'hparams.'"),
        (["--config.gama=3"], "there is no 'gama': .* beta, lr, .* hparams.NAME"),
        (["--config.batch=0"], "batch must be a whole number of at least 1, not 0"),
        (["--config.batch=nan"], "batch must be a whole number, not nan"),
        (["--config.batch=1201"], "batch 1201 is larger than the 1200"),
        (["--config.epochs=-1"], "epochs must be .* not -1"),
        (["--config.lr=nan"], "lr must be a number above 0, not nan"),
        (["--config.latent=3"], "latent is both set and swept"),
        (["--config.dataset=digit"], "unknown data set 'digit': did you mean digits"),
        (["--config.dataset=mnist"], "mnist is not prepared in .*experiments.prepare"),
        (["--config.dataset=mnist", "--data_dir=/no"], "is not prepared in /no: "),
        (["--config.dataset=mine.npz"], "cannot read mine.npz: No such file"),
        (["--config.binarization=fixd"], "must be a function of aevae.data"),
        (["--config.dataset=gaussian"], "lie outside .0, 1., and .* stochastic takes"),
        (
            ["--config.dataset=gaussian", "--config.binarization=none"],
            "lie outside the Bernoulli likelihood's range, 0 to 1",
        ),
        (["--data_gb=0"], "memory for data must be above 0"),
        (["--data_gb=1e-5"], r"take smaller slices, or raise memory \(--data_gb\)"),
        (["--config.test=tset"], "its splits are train .1200., validation .297., test"),
        (["--config.objective=iwae"], "nothing reads hyperparameter beta; it reads lr"),
        (["--config.objective=capacity_vae"], "'capacity' is neither a hyperparameter"),
        (["--config.objective=elbow"], "must be a function of aevae.objectives"),
        (
            ["--config.likelihood=gaussian"],
            r"'sigma' is neither a hyperparameter \(beta, lr\)",
        ),
        (["--config.encoder.widths=0"], "widths must be whole numbers"),
        (["--sweep=latnet=2"], "there is no 'latnet'"),
        (["--sweep=latent"], "a sweep is name=value,value,..., not 'latent'"),
        (["--sweep=latent="], "latent must be a whole number, not ''"),
        (["--sweep=latent=2,two"], "latent must be a whole number, not 'two'"),
        (["--sweep=beta=1,1"], "has this run twice"),
        (["--sweep=beta=1", "--sweep=beta=2"], "--sweep names beta twice: leave one"),
        (
            ["--sweep=encoder.widths=32,64"],
            r'takes tuples: write "\(32,\),\(64,\)" for 2 runs, or "\(32, 64\)" for one',
        ),
        (["--sweep=beta,lr=1:1e-3,2"], r"beta,lr change together: .* not \[2\]$"),
        (["--sweep=beta,lr=1:1e-3", "--config.lr=1"], "lr is both set and swept"),
        (["--config.beta=-1"], "beta must be a finite number from 0 to 1,000,000"),
        (["--sweep=lr=0"], "lr must be a number above 0, not 0"),
        (["--chunk=0"], "0 is not a positive integer"),
        ([f"--workdir={'n' * 300}"], "cannot write to n{300}: File name too long"),
        (["--workdir=configs"], "configs is neither empty nor a run folder"),
        (["--checkpoint_seconds=-1"], "-1.0 is not a non-negative number"),
        (["--config.keep=first"], "keep must be last or best, not 'first'"),
        (["--config.patience=0"], "patience must be a whole number of at least 1, or"),
    ],
)
def test_a_fault_is_one_line_before_any_work(arguments, says, tmp_path, capfd):
    workdir = tmp_path / "run"
    given = [] if any("--workdir" in a for a in arguments) else [f"--workdir={workdir}"]
    assert sweep(*arguments, *given) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert re.search(says, err), err
    assert not workdir.exists()


def test_figures_needs_a_run_folder(tmp_path, capsys):
    assert draw() == draw(f"--workdir={tmp_path}") == 2
    assert draw(f"--workdir={'n' * 300}") == 2
    lines = capsys.readouterr().err.splitlines()
    assert "name the run folder" in lines[0] and "is not a run folder" in lines[1]


def test_help_lists_the_configs_values():
    """As a program, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "experiments.sweep", "--helpfull"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    for name in (
        "--config.model.latent",
        "--config.hparams.beta",
        "--sweep",
        "--chunk",
    ):
        assert name in done.stdout
    assert "examples in a step" in done.stdout


def test_evaluate_names_the_files_that_are_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluate_command.evaluate, "run", lambda *a, **k: [])
    monkeypatch.setattr(evaluate_command.tables, "few", lambda workdir: [])
    for there in (False, True):
        if there:
            (tmp_path / "latents.csv").touch()
        main = evaluate_command.define, evaluate_command.main
        assert command.execute(*main, [f"--workdir={tmp_path}"]) == 0
        assert ("latents.csv" in capsys.readouterr().out) == there


class Broken(io.StringIO):
    def write(self, _):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_a_fault_whose_line_nobody_reads_is_no_traceback(monkeypatch):
    def fails(_):
        raise InputError("nobody hears of it")

    monkeypatch.setattr(sys, "stderr", Broken())
    assert command.execute(lambda: None, fails, []) == 2


# Flags from files, and the ways to write them


@pytest.fixture
def given(monkeypatch):
    """What a sweep is asked to train, as its config's runs, and where; nothing is trained."""
    found = {}

    def run(base, workdir, *, overrides, grid, **_):
        runs = config.settle(config.load(base), overrides, grid)
        found.update(base=base, workdir=workdir, runs=runs)
        raise InputError("nothing is trained")

    monkeypatch.setattr(study, "run", run)
    return found


FILES = {
    "flags.txt": "--config.beta=4\n--config.epochs=2\n--sweep=seed=0,1\n",
    "nested.txt": "# more\n\n--flagfile={}/flags.txt\n// less\n--config.lr=1e-2\r\n",
    "config.txt": "--config.k=7\n--config=configs/mnist_iwae.py\n--sweep=seed=0\n",
}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--flagfile={}/flags.txt"], {"beta": 4, "epochs": 2, "seed": 1}),
        (["-flagfile", "{}/flags.txt"], {"beta": 4, "epochs": 2, "seed": 1}),
        (["--flagfile={}/flags.txt", "--config.beta=9"], {"beta": 9}),  # the later one
        (["--config.beta=9", "--flagfile={}/flags.txt"], {"beta": 4}),
        (["--config.lr", "1e-3", "--flagfile={}/nested.txt"], {"beta": 4, "lr": 0.01}),
        (["--flagfile={}/config.txt"], {"k": 7, "base": "configs/mnist_iwae.py"}),
        (
            ["--config.k", "7", "--sweep", "seed=3", "-config=configs/mnist_iwae.py"],
            {"k": 7, "seed": 3},
        ),
        (["--workdir={}/a b, ü=1/"], {"workdir": "{}/a b, ü=1/"}),
        (["--workdir=~/runs/x"], {"workdir": "{}/runs/x"}),
        (["--workdir", "x=y"], {"workdir": "x=y"}),
    ],
)
def test_flags_are_the_same_however_they_are_written(
    arguments, expected, given, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, text in FILES.items():
        (tmp_path / name).write_text(text.format(tmp_path))
    assert sweep(*(a.format(tmp_path) for a in arguments)) == 2
    run = given["runs"][-1]
    found = {path.split(".")[-1]: value for path, value in run.values.items()}
    found |= given | {"seed": run.seed}
    for name, value in expected.items():
        value = value.format(tmp_path) if isinstance(value, str) else value
        assert found[name] == value, name


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--flagfile=/none.txt"], "cannot read the flag file /none.txt: No such file"),
        (["--flagfile="], "--flagfile is empty: name a file"),
        (["--flagfile={}/latin.txt"], "a flag file .* is not text in UTF-8"),
        (["--flagfile={}/quotes.txt"], '--workdir="my runs" has quotes, which a shell'),
        (["--flagfile={}/space.txt"], "there is no 'beta 4': did you mean beta"),
        (["--workdir="], "--workdir is empty: give a path, or leave it out"),
        (["--data_dir", ""], "--data_dir is empty: give a path"),
        (["--config="], "--config is empty: give a path"),
        (["--workdir=~nobody-here/x"], "there is no such home folder; write the path"),
        (["--beta=4"], "flag 'beta'.*; a value of the config is set by --config.PATH"),
        (["--config.epochs=1", "beta=4"], "unexpected argument 'beta=4'"),
        (["--config.beta"], "Missing value for flag --config.beta"),
    ],
)
def test_a_fault_of_flags_is_one_line(arguments, says, given, tmp_path, capsys):
    (tmp_path / "latin.txt").write_bytes(b"--workdir=\xe9\n")
    (tmp_path / "quotes.txt").write_text('--workdir="my runs"\n')
    (tmp_path / "space.txt").write_text("--config.beta 4\n")
    assert sweep(*(a.format(tmp_path) for a in arguments)) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert re.search(says, err), err
    assert not given
