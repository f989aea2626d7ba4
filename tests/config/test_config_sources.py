"""Config files import what lies beside them, each its own."""

import sys

import pytest

from aevae import InputError, config
from aevae.config import sources

CONFIG = """
import mine
from parts import rate
from parts.deep import twice
from aevae import config, data, models, networks, objectives, optim


def get_config():
    return config.Config(
        model=models.VAE(2, networks.MLPEncoder((mine.WIDTH,)), networks.MLPDecoder((4,))),
        objective=mine.objective,
        hparams={"beta": twice(rate.BETA), "lr": 1e-3},
        optimizer=optim.adam,
        schedule=optim.constant,
        binarization=data.stochastic,
    )
"""
MINE = """
from aevae import objectives

WIDTH = {width}


def objective(model, params, batch, key, hp):
    from later import scale  # when it is called

    loss, terms = objectives.beta_vae(model, params, batch, key, hp)
    return scale(loss), terms
"""


def write(folder, width=4):
    """A config file with modules beside it: a file, a package, a folder of files, a late one."""
    texts = {
        "exp.py": CONFIG,
        "mine.py": MINE.format(width=width),
        "later.py": "def scale(loss):\n    return loss\n",
        "parts/__init__.py": "from . import rate\n",
        "parts/rate.py": "from .deep.base import BETA\n",
        "parts/deep/__init__.py": "def twice(x):\n    return 2 * x\n",
        "parts/deep/base.py": "BETA = 2.0\n",
        "unread.py": "raise ValueError\n",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "exp.py"


def test_modules_beside_a_config_file_are_imported(tmp_path):
    path = write(tmp_path)
    base = config.load(path)
    assert (base.model.encoder.widths, base.hparams["beta"]) == ((4,), 4.0)
    assert sources.of(path).texts.keys() == {
        *("mine.py", "later.py", "parts/__init__.py", "parts/rate.py"),
        *("parts/deep/__init__.py", "parts/deep/base.py"),
    }
    assert config.canonical(base)["objective"] == "config.mine:objective"
    assert (
        base.objective.__globals__["__builtins__"]["__import__"]("later").scale(1) == 1
    )
    assert not {"mine", "later", "parts"} & sys.modules.keys()


def test_each_config_has_modules_of_its_own(tmp_path):
    one, two = write(tmp_path / "one"), write(tmp_path / "two", width=8)
    found = [config.load(path).model.encoder.widths for path in (one, two, one)]
    assert found == [(4,), (8,), (4,)]
    assert config.load(one).objective is not config.load(two).objective


def test_a_module_that_changes_is_read_again(tmp_path):
    path = write(tmp_path)
    first = config.load(path)
    assert config.load(path).objective is first.objective  # nothing has changed
    write(tmp_path, width=8)
    assert config.load(path).model.encoder.widths == (8,)


def test_modules_in_the_folder_of_the_files_name_come_first(tmp_path):
    """As a run folder keeps them."""
    path = write(tmp_path)
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "mine.py").write_text(MINE.format(width=16))
    assert config.load(path).model.encoder.widths == (16,)


def test_modules_of_the_user_elsewhere_are_kept_and_installed_ones_are_not(
    tmp_path, monkeypatch
):
    (tmp_path / "library").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "library")
    (tmp_path / "library" / "own_part.py").write_text(
        "import numpy, absl.flags\nX = 1\n"
    )
    path = tmp_path / "exp.py"
    path.write_text("import json, jax, own_part\nassert own_part.X\n")
    with pytest.raises(InputError, match="fails with AttributeError"):
        config.load(path)  # there is no get_config
    assert sources.of(path).texts.keys() == {"own_part.py"}
    assert "own_part" not in sys.modules


def test_a_fault_of_a_module_is_one_line(tmp_path):
    path = write(tmp_path)
    (tmp_path / "later.py").write_text("def scale(:")
    with pytest.raises(
        InputError, match=r"exp.py fails with SyntaxError.*later.py"
    ) as e:
        config.load(path)
    assert "\n" not in str(e.value)


def test_modules_where_the_config_file_extends_the_path_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    text = "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parent / 'lib'))\n"
    text += "import own_lib\nget_config = own_lib.get\n"
    for own in ("one", "two"):
        (tmp_path / own / "lib").mkdir(parents=True)
        (tmp_path / own / "exp.py").write_text(text)
        lib = f"def get():\n    raise ValueError('{own}')\n"
        (tmp_path / own / "lib" / "own_lib.py").write_text(lib)
    for own in ("one", "two", "one"):
        with pytest.raises(InputError, match=f"fails with ValueError: {own}"):
            config.load(tmp_path / own / "exp.py")
        assert sources.of(tmp_path / own / "exp.py").texts.keys() == {"own_lib.py"}
    assert "own_lib" not in sys.modules


def test_pythons_own_modules_come_before_neighbors(tmp_path):
    (tmp_path / "statistics.py").write_text("raise ValueError\n")
    (tmp_path / "exp.py").write_text("import statistics\nraise SystemExit(3)\n")
    with pytest.raises(InputError, match="exp.py fails with SystemExit: 3"):
        config.load(tmp_path / "exp.py")
