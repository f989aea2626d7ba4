"""What is said of a run before any work: of its functions, and of its data."""

import dataclasses
import functools
import re

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from outside import NETWORKS, run_of

from aevae import InputError, config, data, models, networks, objectives, optim
from aevae.training.check import check_run

pytestmark = pytest.mark.retraced


@pytest.mark.parametrize(
    ("name", "function", "says"),
    [
        ("objective", lambda model, params, batch, key, hp: jnp.ones(()), "float32 []"),
        (
            "objective",
            lambda model, params, batch, key, hp: (jnp.ones(2), {}),
            "('float32 [2]', {})",
        ),
        ("objective", lambda model, params, batch, key, hp: (0, {}), "('int', {})"),
        ("objective", lambda model, params, batch, key, hp: (0.0, []), "('float', [])"),
        ("optimizer", lambda hp: None, "None"),
        ("schedule", lambda hp, step: step, "int32 []"),
        ("binarization", lambda key, batch: batch["image"], "uint8 [16, 4, 4, 1]"),
    ],
)
def test_a_function_that_returns_something_else(name, function, says, tiny):
    model = models.VAE(2, *NETWORKS)
    run = run_of(model, objectives.beta_vae, {"beta": 1.0}, batch=16)
    with pytest.raises(InputError) as fault:
        check_run(dataclasses.replace(run, **{name: function}), tiny)
    assert f"the {name} <lambda> must be a function " in str(fault.value)
    assert str(fault.value).endswith(f", and returns {says}")


def test_an_optimizer_of_optax_itself_takes_a_learning_rate_not_hp(tiny):
    with pytest.raises(InputError, match="the optimizer adam must be a function hp ->"):
        check_run(
            dataclasses.replace(run(models.bernoulli), optimizer=optax.adam), tiny
        )


def run(likelihood, outputs=1):
    encoder, decoder = networks.MLPEncoder((4,)), networks.MLPDecoder((4,))
    model = models.VAE(2, encoder, decoder, likelihood, outputs=outputs)
    hp = {"beta": 1.0, "lr": 1e-3}
    hp |= {"sigma": 1.0} if likelihood is models.gaussian else {}
    how = optim.adam, optim.constant, data.none
    return config.Config(model, objectives.beta_vae, hp, *how, batch=4)


@pytest.mark.parametrize(
    ("likelihood", "outputs", "density", "floor"),
    [
        (models.bernoulli, 1, False, None),
        (models.gaussian, 1, True, None),
        (models.LearnedGaussian(), 1, True, None),
        (models.LearnedGaussian(True, floor=0.02), 1, True, r"0.02 \(--config"),
        (functools.partial(models.gaussian_pair, floor=0.03), 2, True, r"0.03 \(--"),
        (models.gaussian_pair, 2, True, "if it has one"),
    ],
)
def test_constant_pixels_are_named_where_each_has_a_scale(
    likelihood, outputs, density, floor, tiny
):
    images = np.array(tiny.train["image"])
    images[:, 0, :3] = 7
    dataset = tiny._replace(train=tiny.train | {"image": images})
    found = check_run(run(likelihood, outputs), dataset)
    assert found.density is density
    if floor is None:
        assert found.warnings == []
    else:
        (line,) = found.warnings
        assert "3 of 16 pixels are constant (pixels (0, 0, 0), " in line
        assert re.search(floor, line)
    assert check_run(run(likelihood, outputs), tiny).warnings == []


def test_what_the_likelihood_alone_reads_in_evaluation_is_read(tiny):
    """An objective of its own, whose bound and samples are those of another sigma."""

    def squared(model, params, batch, key, hp):
        x = model.apply(params, batch, key, hp).x.mean
        return ((x - batch["image"]) ** 2).sum() / len(x), {}

    base = dataclasses.replace(run(models.gaussian), objective=squared)
    assert check_run(config.replace(base, "hparams", {"sigma": 1.0, "lr": 1.0}), tiny)
    with pytest.raises(InputError, match="nothing reads hyperparameter beta"):
        check_run(base, tiny)


def test_a_hyperparameter_may_be_made_by_the_schedule(tiny):
    def ramp(hp, step):
        return hp | {"beta": hp["b"] * step}

    base = dataclasses.replace(run(models.bernoulli), schedule=ramp)
    assert check_run(config.replace(base, "hparams", {"b": 1.0, "lr": 1.0}), tiny)


def test_a_hyperparameter_that_is_taken_out(tiny):
    def taking(model, params, batch, key, hp):
        hp.pop("beta")
        return objectives.beta_vae(model, params, batch, key, hp)

    base = dataclasses.replace(run(models.bernoulli), objective=taking)
    with pytest.raises(InputError, match="'beta' is a hyperparameter, and was not in"):
        check_run(base, tiny)


@pytest.mark.parametrize("outputs", [0, -1])
def test_a_size_below_1_is_named_where_it_fails(outputs, tiny):
    """Flax and NumPy say "float division by zero" and the like."""
    says = f"fails: .*; outputs is {outputs}, and sizes are whole numbers of at least 1"
    with pytest.raises(InputError, match=says):
        check_run(run(models.bernoulli, outputs), tiny)


def test_a_size_below_1_is_named_within_what_it_is_of(tiny):
    sizes = {"width": 8, "depth": 1, "heads": 2}
    base, model = run(models.bernoulli), run(models.bernoulli).model
    model = dataclasses.replace(model, encoder=networks.PatchEncoder(0, **sizes))
    with pytest.raises(InputError, match="; encoder.patch is 0, and sizes"):
        check_run(dataclasses.replace(base, model=model), tiny)


@pytest.mark.parametrize(("most", "inside"), [(1 + 2e-7, True), (1.001, False)])
@pytest.mark.parametrize("binarization", [data.none, data.stochastic])
def test_rounding_does_not_leave_the_support(most, inside, binarization):
    images = np.linspace(-(most - 1), most, 6 * 16, dtype=np.float32)
    part = {"image": images.reshape(6, 4, 4, 1)}
    dataset = data.arrays(part, part, part)
    base = dataclasses.replace(run(models.bernoulli), binarization=binarization)
    if inside:
        check_run(base, data.of(base, dataset=dataset))
        p = models.bernoulli(jnp.zeros((1, 4, 4, 1)), {})
        assert np.isfinite(p.log_prob(part["image"])).all()
    else:
        with pytest.raises(
            InputError, match="pixels from -0.001.* to 1.001 lie outside"
        ):
            check_run(base, data.of(base, dataset=dataset))


def test_a_model_of_labels_and_data_without_any(tiny):
    model = models.ConditionalVAE(2, *NETWORKS, classes=3)
    run = run_of(model, objectives.beta_vae, {"beta": 1.0}, batch=16)
    with pytest.raises(
        InputError, match="VAE reads 'label' .*, and tiny has none: give"
    ):
        check_run(run, tiny)


@pytest.mark.parametrize(("classes", "says"), [(4, None), (3, "has label 3, and the")])
def test_labels_beyond_a_models_classes(classes, says, tiny):
    parts = {
        name: split | {"label": np.arange(len(split["image"]), dtype=np.int32) % 4}
        for name, split in tiny.parts.items()
    }
    model = models.ConditionalVAE(2, *NETWORKS, classes=classes)
    run = run_of(model, objectives.beta_vae, {"beta": 1.0}, batch=16)
    if says is None:
        check_run(run, tiny._replace(**parts))
        return
    with pytest.raises(InputError, match=f"{says} model has 3 .* --config.classes=4"):
        check_run(run, tiny._replace(**parts))


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (-1, 1, r"\(x \+ 1\) / 2 brings"),
        (-3, 5, r"\(x \+ 3\) / 8 brings"),
        (0, 255, "by 255, or save gray levels as uint8"),
        (0, 4000, "by 4095 or 65535"),
        (0, 12, "divide them by 12"),
        (0, 1e6, r"divide them by 1000000"),
    ],
)
def test_pixels_outside_the_range_are_told_how_to_come_into_it(low, high, says):
    images = np.linspace(low, high, 6 * 16, dtype=np.float32).reshape(6, 4, 4, 1)
    part = {"image": images}
    dataset = data.arrays(part, part, part)
    for binarization in (data.none, data.stochastic):
        base = dataclasses.replace(run(models.bernoulli), binarization=binarization)
        with pytest.raises(InputError, match=f"{says}.*; or a Gaussian likelihood"):
            check_run(base, data.of(base, dataset=dataset))
