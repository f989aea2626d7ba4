"""Names, overrides and grids."""

import functools
import json
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aevae import InputError, config, data, models, networks, objectives, optim
from aevae.config import compare, tree

IMAGES = np.zeros((5000, 28, 28, 1), np.float32)


def base(**changes):
    model = models.VAE(4, networks.MLPEncoder((8,)), networks.MLPDecoder((8, 8)))
    values = {
        "model": model,
        "objective": functools.partial(objectives.iwae, k=5),
        "hparams": {"lr": 1e-3, "beta": 1.0},
        "optimizer": optim.adam,
        "schedule": optim.constant,
        "binarization": data.stochastic,
    }
    return config.Config(**values | changes)


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("latent", "7", "model.latent", 7),
        ("model.encoder.widths", "(16, 16)", "model.encoder.widths", (16, 16)),
        ("encoder.widths", "16", "model.encoder.widths", (16,)),
        ("k", "9", "objective.k", 9),
        ("beta", "2", "hparams.beta", 2.0),
        ("hparams.lr", "3e-4", "hparams.lr", 3e-4),
        ("batch", "50", "batch", 50),
        ("train", "train[:10%]", "train", "train[:10%]"),
        ("binarization", "threshold", "binarization", data.threshold),
        ("objective", "beta_vae", "objective", objectives.beta_vae),
        ("optimizer", "aevae.optim:adam", "optimizer", optim.adam),
    ],
)
def test_an_override_finds_its_value_and_its_kind(name, text, path, value):
    before = base()
    after = config.override(before, name, text)
    assert config.get(after, path) == value
    assert type(config.get(after, path)) is type(value)
    ours, theirs = (
        {p: v for p, v in config.leaves(c).items() if p != path and not callable(v)}
        for c in (before, after)
    )
    assert ours.keys() - theirs.keys() <= {"objective.k"}  # beta_vae has no K
    assert all(ours[p] == v for p, v in theirs.items())
    unchanged = repr(config.canonical(before)) == repr(config.canonical(base()))
    assert unchanged  # nothing changed in place


def test_a_product_has_its_first_name_slowest():
    runs = config.expand(base(), [{"latent": (2, 3), "beta": (1.0, 4.0)}])
    assert [(r.model.latent, r.hparams["beta"]) for r in runs] == [
        (2, 1),
        (2, 4),
        (3, 1),
        (3, 4),
    ]
    assert config.groups_of_one_program(runs) == [[0, 1], [2, 3]]


def test_a_list_is_a_union_in_which_weights_move_together():
    points = [{"beta": 1.0, "lr": 1e-3}, {"beta": 4.0, "lr": 1e-4}]
    runs = config.settle(base(), grid=points)
    assert [(r.hparams["beta"], r.hparams["lr"]) for r in runs] == [
        (1, 1e-3),
        (4, 1e-4),
    ]
    assert config.groups_of_one_program(runs) == [[0, 1]]


def test_some_runs_of_a_grid_are_those_of_the_whole():
    points = [((8,), (16,)), ((16,), (8,))]
    grid = [
        {"k": (1, 5), "encoder.widths,decoder.widths": points, "seed": range(3)},
        {"objective": ("beta_vae", "iwae")},
        {"hparams.new": (1, 2), "latent": (2, 3)},
    ]
    runs = config.settle(base(), {"batch": 7}, grid)
    facts = [[*run.facts.items()] for run in runs]
    for only in ([0], [5, 6, 11], [11, 12, 13, 14], [17], range(18)):
        some = config.settle(base(), {"batch": 7}, grid, only)
        assert [[*run.facts.items()] for run in some] == [facts[n] for n in only]
    alone = base()
    assert len(runs) == 18 and config.settle(alone, only=[0]) == [alone]


def test_runs_share_what_does_not_differ_between_them():
    """Else a grid of many networks and seeds is slow: each network would be looked at a seed."""
    grid = {"latent": (2, 3), "encoder.widths": ((8,), (16,)), "seed": range(5)}
    runs = config.settle(base(), grid=grid)
    assert len(runs) == 20 and len({id(run.model) for run in runs}) == 4
    looked = []
    compare.column(runs, "model", lambda *part: looked.append(part))
    assert [(m.latent, m.encoder.widths) for m, _ in looked] == [
        (z, w) for z in (2, 3) for w in ((8,), (16,))
    ]
    assert len({id(run.hparams) for run in runs}) == 20  # a dict of each run's own
    compare.column(runs, "hparams", lambda *part: looked.append(part))
    assert looked[4:] == [(base().hparams, "hparams")]


def test_what_changes_a_shape_makes_a_group():
    grid = [{"k": (1, 5), "seed": (0, 1), "encoder.widths": ((8,), (8, 8))}]
    runs = config.expand(base(), grid)
    assert sorted(map(len, config.groups_of_one_program(runs))) == [2, 2, 2, 2]
    for group in config.groups_of_one_program(runs):
        assert (
            len(
                {
                    (runs[i].objective.keywords["k"], runs[i].model.encoder)
                    for i in group
                }
            )
            == 1
        )


def test_columns_tell_the_runs_apart_by_short_names():
    runs = config.expand(base(), [{"k": (1, 5), "latent": (2,), "seed": (0, 1)}])
    paths = config.swept(runs)
    assert list(paths) == ["latent", "k", "lr", "beta", "seed"]
    rows = [tuple(config.columns(r, paths).items()) for r in runs]
    assert len(set(rows)) == 4
    assert dict(rows[3]) == {
        "latent": "2",
        "k": "5",
        "lr": "0.001",
        "beta": "1",
        "seed": "1",
    }


def test_axis_reads_numbers_tuples_and_names():
    assert config.axis("beta=0.5,1e-3,4") == ("beta", [0.5, 1e-3, 4])
    assert config.axis("encoder.widths=(8,),(8, 8)") == (
        "encoder.widths",
        [(8,), (8, 8)],
    )
    assert config.axis("binarization=none,threshold") == (
        "binarization",
        ["none", "threshold"],
    )


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("beta,lr=0.1:0.01,1:0.1", [[0.1, 0.01], [1, 0.1]]),
        ("encoder.widths, lr=(8,):1e-3,(8, 8):1e-4", [[(8,), 1e-3], [(8, 8), 1e-4]]),
        ("binarization,batch=none:10,threshold:20", [["none", 10], ["threshold", 20]]),
        ("objective,lr=(mine:loss, 0.1),iwae:1", [["mine:loss", 0.1], ["iwae", 1]]),
        (
            "train,seed=train[:10%]:0,train[5:]:1",
            [["train[:10%]", 0], ["train[5:]", 1]],
        ),
    ],
)
def test_axis_reads_values_that_change_together(text, values):
    name, _, _ = text.partition("=")
    assert config.axis(text) == (name, values)


def test_what_changes_together_is_one_axis_of_a_product():
    """As a list of its points is, and as JSON has it."""
    pairs = {"beta,encoder.widths": [(1, (8,)), (4, (8, 8))], "seed": (0, 1)}
    points = [
        {"beta": 1, "encoder.widths": ((8,),), "seed": (0, 1)},
        {"beta": 4, "encoder.widths": ((8, 8),), "seed": (0, 1)},
    ]
    ours = [*map(config.identity, config.settle(base(), grid=pairs))]
    assert ours == [*map(config.identity, config.settle(base(), grid=points))]
    again = json.loads(json.dumps(config.canonical(pairs)))
    assert ours == [*map(config.identity, config.settle(base(), grid=again))]
    assert len(set(ours)) == 4
    with pytest.raises(InputError, match="lr is both set and swept"):
        config.settle(base(), {"lr": 1}, {"beta,lr": [(1, 1e-3)]})


def test_scalars_for_a_tuple_are_a_run_each_or_refused():
    for grid in ({"encoder.widths": (32, 64)}, {"encoder.widths": np.array([32, 64])}):
        with pytest.raises(InputError, match=r'"\(32,\),\(64,\)" for 2 runs'):
            config.settle(base(), grid=grid)
    for values in (32, (32,), ((32,),), [[32]]):
        (run,) = config.settle(base(), grid={"encoder.widths": values})
        assert run.model.encoder.widths == (32,)
    runs = config.settle(base(), grid={"encoder.widths": (32, (64, 64))})
    assert [run.model.encoder.widths for run in runs] == [(32,), (64, 64)]


def test_arrays_their_scalars_and_ranges_are_values():
    grid = {
        "beta": np.float32([0.1, 4]),
        "lr": jnp.float32(0.3),
        "seed": range(2),
        "latent": [np.int64(2)],
    }
    runs = config.settle(base(), {"batch": np.int32(7)}, grid)
    plain = {"beta": [0.1, 4], "lr": 0.3, "seed": [0, 1], "latent": [2]}
    assert config.canonical(grid) == plain
    same = config.settle(base(), {"batch": 7}, plain)
    assert [run.facts for run in runs] == [run.facts for run in same]
    assert base(hparams={"lr": np.float64(0.1)}).hparams == {"lr": 0.1}
    assert type(runs[0].model.latent) is type(runs[0].batch) is int


def test_hyperparameters_come_and_go_with_what_reads_them():
    """Under their paths, for the objective or the schedule may change as well."""
    run = config.settle(base(), {"hparams.alpha": "1", "hparams.beta": "", "lr": "1"})
    assert run[0].hparams == {"lr": 1.0, "alpha": 1.0}
    grid = {
        "objective,hparams.beta,hparams.c": [("beta_vae", 1, None), ("iwae", "", 2)]
    }
    one, two = config.settle(base(), grid=grid | {"seed": 3})
    assert (one.hparams, two.hparams) == ({"lr": 1e-3, "beta": 1}, {"lr": 1e-3, "c": 2})
    paths = config.swept([one, two])
    assert list(paths) == ["latent", "objective", "lr", "beta", "c", "seed"]
    assert [config.columns(run, paths)["c"] for run in (one, two)] == ["", "2"]
    with pytest.raises(InputError, match="there is no 'alpha': .* as hparams.NAME"):
        config.settle(base(), {"alpha": 1})


def test_what_is_swept_is_a_column_though_it_has_one_value():
    base_ = base(grid={"batch": (100,), "k": 5})
    paths = config.swept(config.settle(base_), config.grid_paths(base_))
    assert list(paths) == ["latent", "k", "batch", "lr", "beta", "seed"]


def test_what_is_hardly_meant_is_a_line():
    runs = config.settle(base(), {"hparams.mine": 1}, {"lr": (1, 1e30), "seed": (0, 1)})
    (line,) = config.doubts(runs)
    assert "lr is 1e+30" in line


def test_canonical_names_functions_and_modules():
    found = config.canonical(base())
    assert found["objective"] == {"partial": "aevae.objectives:iwae", "k": 5}
    assert found["model"]["class"] == "aevae.models.vae:VAE"
    assert found["binarization"] == "aevae.data.binarization:stochastic"
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ([], "the grid is empty"),
        ([{"beta": ()}], "beta no values"),
        ([{"beta": (1, 1)}], "has this run twice: latent=4, lr=0.001, beta=1"),
        ([{"beta": (1, 1 + 1e-9)}], "has this run twice"),  # equal in float32
        ([{"beta": 1.0}, {"seed": 0}], "has this run twice"),
        ([{"beta": (1, 2), "hparams.beta": (3,)}], "twice: beta and hparams.beta;"),
        ([{"latnet": (1, 2)}], "no 'latnet': did you mean latent. A sw.* latent, "),
        ([{"zzz": 1}], "there is no 'zzz': a sweep or override may name "),
        (
            [{"dataset": [IMAGES]}],
            "name of a data set, not of type ndarray: give arrays as dataset=",
        ),
        (
            [{"dataset": IMAGES}],
            "name of a data set, not of type ndarray: give arrays as dataset=",
        ),
        (
            [{"beta": [IMAGES]}],
            r"not an array \[5000, 28, 28, 1\] of float32$",
        ),
        ([{"beta": [[IMAGES] * 9]}], r"\[an array \[5000.*32, ...\]$"),
        ([{"encoder.widths": IMAGES[:2]}], r"tuple.*, not an array \[28, 28, 1\]"),
        ([{"beta,lr": IMAGES}], "beta,lr change together: .*array"),
        ([{"beta": ("x" * 99_999,)}], "beta must be a number, not 'x{20,80}[.]{3}"),
        ([{"beta": 10**400}], "beta must be a number, not 10+[.]{3}0+$"),
        ([{"beta": (10**9999,)}], "beta must be a number, not of type int$"),
        ([{"widths": (1, 2)}], "model.encoder.widths or model.decoder.widths"),
        ([{"latent": (2, 0)}], "latent must be a whole number of at least 1, not 0"),
        ([{"latent": (2.5,)}], "latent must be a whole number, not 2.5"),
        ([{"lr": (float("nan"),)}], "lr must be a number above 0, not nan"),
        ([{"beta": (float("inf"),)}], "beta must be a finite number .*, not inf"),
        ([{"beta": ("big",)}], "beta must be a number, not 'big'"),
        ([{"beta": (True,)}], "beta must be a number, not True"),
        (
            [{"beta": (1, -1)}],
            "beta must be a finite number from 0 to 1,000,000, not -1",
        ),
        ([{"beta": 1e30}], "beta must be a finite number from 0 to 1,000,000, not 1e"),
        (
            [{"beta,lr": [(1, 1e-3), (2,)]}],
            r"beta,lr change together: .* 2 values .* \(2,\)$",
        ),
        ([{"beta,lr": (1, 1e-3)}], "beta,lr change together: .*, not 1$"),
        ([{"beta,lr": [(1, 1)], "lr": 1}], "names a value twice: lr; leave one out"),
        ([{"beta,bata": [(1, 1)]}], "there is no 'bata'"),
        (IMAGES, r"a grid is {name: values} or a list of these, not an array \[5000"),
        ([("beta", 1)], "a grid is {name: values} or a list of these, not"),
        ([{("beta", "lr"): [(1, 1)]}], "a grid is {name: values} or a list of these"),
        ([{"seed": (-1,)}], "seed must be a whole number from 0"),
        (
            [{"binarization": ("fixt",)}],
            r"of aevae.data.binarization \(none, threshold, stochastic, fixed\), or mod",
        ),
    ],
)
def test_a_bad_grid_is_one_line(grid, says):
    with pytest.raises(InputError, match=says) as fault:
        config.settle(base(), grid=grid)
    assert "\n" not in str(fault.value) and len(str(fault.value)) < 500


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["beta"], "overrides are {name: value}, not \\['beta'\\]"),
        ({3: 1}, "overrides are {name: value}, not {3: 1}"),
        ({"dataset": IMAGES}, "not of type ndarray: give arrays as dataset="),
        ({"dataset": ""}, "dataset must be the name of a data set, not '': "),
        ({"train": ""}, "train must be text, .*, not ''"),
        ({"beta": IMAGES}, r"beta must be a number, not an array \[5000, 28, 28, 1\]"),
        ({"beta": "{[1]:2}"}, r"beta must be a number, not '{\[1\]:2}'"),
        ({"beta": "-" * 9999 + "1"}, "beta must be a number, not '-+[.]{3}-+1'"),
        ({"beta": "(" * 9999}, "beta must be a number, not "),
        ({"lr": "9" * 400}, "lr must be a number, not 9+[.]{3}9+$"),
    ],
)
def test_a_bad_override_is_one_line(overrides, says):
    with pytest.raises(InputError, match=says) as fault:
        config.settle(base(), overrides)
    assert "\n" not in str(fault.value) and len(str(fault.value)) < 500


@pytest.mark.parametrize("text", ["beta=1,", "beta=,1", "beta= ,1"])
def test_an_empty_value_leaves_a_hyperparameter_out_wherever_it_stands(text):
    found = [
        run.hparams for run in config.settle(base(), grid=dict([config.axis(text)]))
    ]
    assert sorted(found, key=len) == [{"lr": 1e-3}, {"lr": 1e-3, "beta": 1}]


@pytest.mark.parametrize(
    "text", ["encoder.widths=32,64)", "encoder.widths=(32,64", "beta,lr=(1:2,1"]
)
def test_brackets_that_do_not_match_are_one_line(text):
    with pytest.raises(InputError, match="the brackets of '.*' do not match"):
        config.axis(text)


@pytest.mark.parametrize(
    ("current", "says"),
    [
        (jax.nn.relu, r"of jax.nn \(tanh, .*relu, [^)]*\), or module:name, not 'tanj'"),
        (functools.partial(jax.nn.relu), r"of jax.nn \(tanh, .*relu"),
        (nn.relu, r"of jax.nn \(tanh, .*relu"),
        (np.tanh, "must be a function of .*, or module:name, not 'tanj'"),
    ],
)
def test_a_function_is_found_where_users_know_it(current, says):
    with pytest.raises(InputError, match=says) as fault:
        tree.coerce("tanj", current, "activation")
    for wrong in ("_src", "Any", "partial", "operator", "softmax"):
        assert wrong not in str(fault.value)
    if current is not np.tanh:
        assert tree.coerce("tanh", current, "activation") is jax.nn.tanh
        assert tree.coerce("jax.numpy:sin", current, "activation") is jnp.sin


def test_what_is_set_cannot_be_swept_as_well():
    with pytest.raises(InputError, match="latent is both set and swept"):
        config.settle(base(grid={"latent": (2, 4)}), overrides={"model.latent": "3"})
    runs = config.settle(
        base(grid={"latent": (2, 4)}), {"batch": "7"}, {"beta": (1, 2)}
    )
    assert [(r.model.latent, r.batch) for r in runs] == [(4, 7), (4, 7)]


def test_a_value_cannot_be_set_twice_under_two_names():
    with pytest.raises(InputError, match="set twice: lr and hparams.lr; leave"):
        config.settle(base(), {"lr": "1e-3", "hparams.lr": "1e-2"})


def test_hyperparameters_are_numbers_however_written():
    run = config.override(base(hparams={"warmup": 100, "lr": 1}), "warmup", "0.5")
    assert run.hparams == {"warmup": 0.5, "lr": 1.0}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batch": 0}, "batch must be a whole number of at least 1, not 0"),
        ({"batch": -3}, "batch must be"),
        ({"batch": float("nan")}, "batch must be"),
        ({"epochs": 0}, "epochs must be"),
        ({"epochs": 1.5}, "epochs must be"),
        ({"hparams": {"lr": -1.0}}, "lr must be a number above 0"),
        ({"hparams": {"lr": 1e-3, "sigma": 0.0}}, "sigma must be a number above 0"),
        ({"hparams": {"beta": 1e39}}, "beta must be a finite number"),
        ({"hparams": {"lr": IMAGES}}, r"above 0, not an array \[5000, 28, 28, 1\]"),
        ({"hparams": {"lr": 10**400}}, "lr must be a number above 0, not 10+[.]{3}0+$"),
        (
            {"hparams": {"lr": 1e-50}},
            "lr must be a number above 0, not 1e-50, which is 0 in float32$",
        ),
        ({"epochs": 10**400}, "epochs must be at most 2147483647, not 10+[.]{3}0+$"),
        ({"patience": 0.5}, "patience must be .* or inf, not 0.5$"),
        ({"patience": 10**400}, "patience must be .* or inf, not 1"),
        ({"objective": "beta_vae"}, r"objective must be a function .*, not 'beta_vae'"),
        ({"objective": lambda a, b: 0}, r"\(model, params, .* -> \(loss, m.*\(a, b\)$"),
        ({"schedule": lambda hp: hp}, r"schedule .* \(hp, step\) -> hp.*\(hp\)$"),
        ({"schedule": optim.ramp}, r"not ramp\(hp, step, \*, name, length\)"),
        ({"binarization": lambda batch: 0}, r"\(key, stored batch\) -> batch, not"),
        ({"optimizer": optax.adam(1.0)}, "hp -> optax.GradientTransformation, not of"),
        ({"model": models.VAE}, r"must be an instance, VAE\(...\), not a class"),
        ({"model": networks.MLPEncoder((8,))}, "MLPEncoder has no .*prior, decode"),
        ({"model": None}, "a Flax module, as models.VAE: NoneType has no encode"),
        ({"hparams": None}, "hparams must be numbers by name, .*, not None"),
        ({"hparams": [1.0]}, "hparams must be numbers by name"),
        ({"patience": "3"}, "patience must be a whole number .* or inf, not '3'"),
        (
            {"dataset": np.zeros((9, 4, 4))},
            "name of a data set, not of type ndarray: g",
        ),
        ({"dataset": None}, "the name of a data set, not None"),
        ({"train": 3}, r"train must be text, as train\[:80%\], not 3"),
    ],
)
def test_a_bad_value_is_one_line(change, says):
    with pytest.raises(InputError, match=says) as fault:
        base(**change)
    assert "\n" not in str(fault.value)


def test_a_function_that_cannot_be_hashed_is_checked_as_any_other():
    class Loss(list):
        def __call__(self, model, params, batch, key, hp):
            return 0.0, {}

    assert base(objective=Loss()).objective == []
    with pytest.raises(InputError, match="optimizer must be a function hp -> .*Loss"):
        base(optimizer=Loss())


def test_a_path_is_the_name_of_a_data_set_and_no_config():
    assert base(dataset=Path("x.npz")).dataset == "x.npz"
    for given in (None, 3, {}):
        with pytest.raises(InputError, match="a Config or the path of a config file"):
            config.load(given)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def get_config(): return 3", "must return a Config, not 3"),
        ("import nothing_of_the_kind", "fails with ModuleNotFoundError"),
        ("def f(:", "fails with SyntaxError"),
        ("x = 1", "fails with AttributeError"),
    ],
)
def test_a_broken_config_file_is_one_line(text, says, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as fault:
        config.load(path)
    assert "\n" not in str(fault.value)


def test_a_missing_config_file_shows_its_neighbors(tmp_path):
    (tmp_path / "there.py").write_text("")
    with pytest.raises(InputError, match="beside it are .*there.py"):
        config.load(tmp_path / "here.py")
