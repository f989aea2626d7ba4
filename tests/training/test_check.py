"""What a run is made of is refused in one line, before any work, where it is of another kind."""

import dataclasses

import jax.numpy as jnp
import pytest
from outside import NETWORKS, run_of

from aevae import InputError, models, objectives
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
