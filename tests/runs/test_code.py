"""A run folder knows the code that trained it, and goes on with no other unless it is told."""

import dataclasses
import functools
import json
import linecache
import shutil

import numpy as np
import pytest

from aevae import InputError, config, networks, objectives, optim
from aevae.config import fingerprint
from aevae.runs import study, trained

pytestmark = pytest.mark.retraced

CONFIG = "configs/digits.py"
CELL = """
import jax.numpy as jnp
from aevae import objectives
from flax import linen as nn

SCALE = 1.0

def penalty(terms, power=1):
    return SCALE * terms["rate"] ** power

def my_vae(model, params, batch, key, hp):
    terms = objectives.bound_terms(model.apply(params, batch, key, hp))
    return terms["distortion"] + hp["beta"] * penalty(terms), terms

def weighted(weights, model, params, batch, key, hp):
    return my_vae(model, params, batch, key, hp)

def scaled(by):
    def schedule(hp, step):
        return hp | {"lr": by * hp["lr"]}
    return schedule

class Net(nn.Module):
    widths: tuple = (4,)

    @nn.compact
    def __call__(self, x):
        return nn.tanh(nn.Dense(self.widths[0])(x.reshape(len(x), -1)))
"""


def notebook(before="", after="", by=1.0, weights=None):
    """The Config of a notebook whose cell was executed, perhaps edited."""
    assert before in CELL
    text, name = CELL.replace(before, after), f"<ipython-input-{after}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    space = {"__name__": "__main__"}
    exec(compile(text, name, "exec"), space)  # noqa: S102
    base = config.load(CONFIG)
    model = dataclasses.replace(
        base.model, latent=2, encoder=space["Net"](), decoder=networks.MLPDecoder((4,))
    )
    objective = space["my_vae"]
    if weights is not None:
        objective = functools.partial(space["weighted"], weights)
    return dataclasses.replace(
        base,
        model=model,
        objective=objective,
        schedule=space["scaled"](by),
        batch=600,
        epochs=1,
        grid=None,
    )


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    path = tmp_path_factory.mktemp("code") / "book"
    assert study.run(notebook(), path).groups == 1
    return path


@pytest.mark.parametrize(
    ("how", "what"),
    [
        (('+ hp["beta"]', '- hp["beta"]'), "objective my_vae"),
        (('SCALE * terms["rate"]', 'terms["rate"]'), "objective my_vae"),
        (("SCALE = 1.0", "SCALE = 2.0"), "objective my_vae"),
        (("power=1", "power=2"), "objective my_vae"),
        (("", "", 2.0), "schedule scaled.<locals>.schedule"),
        (("nn.tanh", "nn.relu"), "encoder Net"),
    ],
)
@pytest.mark.parametrize("more", [{}, {"epochs": 2}])
def test_what_is_redefined_in_a_notebook_is_refused_by_name(how, what, more, book):
    with pytest.raises(InputError, match=f"{what} was other code: take anot") as fault:
        study.run(notebook(*how), book, overrides=more)
    assert "\n" not in str(fault.value) and str(book) in str(fault.value)


def test_what_is_executed_again_or_commented_is_the_same(book):
    again = notebook("SCALE = 1.0", "# A comment.\n\nSCALE = 1.0")
    assert study.run(again, book).groups == 0


def test_an_argument_of_a_partial_is_code_too(tmp_path):
    runs = [notebook(weights=np.full(3, n)) for n in (1.0, 1.0, 2.0)]
    first, same, other = (fingerprint.of_configs([run]) for run in runs)
    assert first == same
    assert {n for n in first if first[n] != other[n]} == {"objective __main__:weighted"}


def test_code_of_the_package_asks_to_be_accepted(book, tmp_path, monkeypatch):
    shutil.copytree(book, tmp_path / "run")
    now = fingerprint.of_package()
    changed = now | {"aevae.training.step": "0" * 16}
    monkeypatch.setattr(fingerprint, "of_package", lambda: changed)
    for more in ({}, {"epochs": 2}):
        says = (
            "the code of aevae.training.step has changed since: --code=accept goes on"
        )
        with pytest.raises(InputError, match=says):
            study.run(notebook(), tmp_path / "run", overrides=more)
    with pytest.raises(InputError, match='code must be "accept" or left out, not True'):
        study.run(notebook(), tmp_path / "run", code=True)
    assert study.run(notebook(), tmp_path / "run", code="accept").groups == 0
    known = json.loads((tmp_path / "run" / "config.json").read_text())["code"]
    (accepted,) = known["accepted"]
    step = [now["aevae.training.step"], "0" * 16]
    assert accepted["changed"] == {"aevae.training.step": step}
    assert study.run(notebook(), tmp_path / "run").groups == 0  # once is enough
    with pytest.raises(InputError, match="objective my_vae was other code"):
        study.run(notebook("power=1", "power=2"), tmp_path / "run", code="accept")


def test_a_method_of_the_package_is_refused_whatever_is_accepted(book, monkeypatch):
    monkeypatch.setattr(optim.adam, "__defaults__", (7.0,))
    with pytest.raises(InputError, match="optimizer adam was other code"):
        study.run(notebook(), book, code="accept")


def test_a_function_named_on_the_command_line_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    text = "from aevae import objectives\n\ndef loss(*args):\n    {}\n"
    (tmp_path / "named_part.py").write_text(
        text.format("return objectives.beta_vae(*args)")
    )
    import named_part

    runs = [config.settle(config.load(CONFIG), {"objective": "named_part:loss"}, {})]
    found = [fingerprint.of_configs(runs[0])["objective named_part:loss"]]
    named_part.loss.__defaults__ = (3,)
    found.append(fingerprint.of_configs(runs[0])["objective named_part:loss"])
    assert found[0] != found[1]


FORK = """
import mynets
from aevae import config, data, models, networks, objectives, optim


def get_config():
    return config.Config(
        model=models.VAE(2, mynets.encoder(), networks.MLPDecoder((4,))),
        objective=mynets.objective, hparams={"beta": 1.0, "lr": 3e-3},
        optimizer=optim.adam, schedule=optim.constant,
        binarization=data.stochastic, epochs=1, batch=600)
"""
MYNETS = """
from aevae import networks, objectives

UNREAD = 1

def encoder():
    return networks.MLPEncoder((4,))

def objective(model, params, batch, key, hp):
    loss, terms = objectives.beta_vae(model, params, batch, key, hp)
    return loss * 1.0, terms
"""


def test_what_a_config_imports_is_kept_and_guarded(tmp_path):
    fork, folder = tmp_path / "fork", tmp_path / "run"
    fork.mkdir()
    (fork / "exp.py").write_text(FORK)
    (fork / "mynets.py").write_text(MYNETS)
    assert study.run(fork / "exp.py", folder).groups == 1
    assert (folder / "config" / "mynets.py").read_text() == MYNETS

    (fork / "mynets.py").write_text(MYNETS.replace("UNREAD", "# Why.\nUNREAD"))
    assert study.run(fork / "exp.py", folder).groups == 0
    (fork / "mynets.py").write_text(MYNETS.replace("loss * 1.0", "loss * 2.0"))
    for code in (None, "accept"):
        with pytest.raises(InputError, match="objective objective was other code"):
            study.run(fork / "exp.py", folder, code=code)
    (fork / "mynets.py").write_text(MYNETS.replace("UNREAD = 1", "UNREAD = 2"))
    with pytest.raises(InputError, match="the code of mynets.py has changed since"):
        study.run(fork / "exp.py", folder)
    assert study.run(fork / "exp.py", folder, code="accept").groups == 0

    (fork / "exp.py").write_text(f"import json\n{FORK}")
    with pytest.raises(
        InputError, match=r"not that of config.py in it: take another --w"
    ):
        study.run(fork / "exp.py", folder)
    (fork / "mynets.py").write_text("raise ValueError")
    run = trained.load(folder)
    assert run.encode(run.examples).mean.shape == (10, 2)
    shutil.rmtree(fork)
    run = trained.load(folder)
    assert run.config.model.encoder.widths == (4,)
    assert run.config.objective is not objectives.beta_vae


def test_bytecode_in_place_of_source_is_said_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(study, "_train_all", lambda *given: None)
    monkeypatch.setattr(study.tables, "results", lambda workdir: [])
    space = {"__name__": "__main__"}
    text = CELL[: CELL.index("def scaled")]
    exec(text, space)  # noqa: S102
    base = dataclasses.replace(notebook(), objective=space["my_vae"])
    says = "the source of __main__:my_vae, __main__:penalty cannot be had"
    study.run(base, tmp_path / "run")
    assert says in capsys.readouterr().err
    study.run(base, tmp_path / "run", overrides={"epochs": 2})
    assert says not in capsys.readouterr().err
    exec(text.replace("power=1", "power=2"), space)  # noqa: S102
    base = dataclasses.replace(base, objective=space["my_vae"])
    with pytest.raises(InputError, match="objective my_vae was other code"):
        study.run(base, tmp_path / "run", overrides={"epochs": 2})
