"""How many members at a time a device's memory holds, and at which precision they are worked on."""

import dataclasses
import itertools
import re

import jax
import numpy as np
import pytest

from aevae import InputError, OutOfMemory, config, data, models, networks
from aevae.models import likelihoods
from aevae.system import machine
from aevae.training import Trained, fit, population
from aevae.training.check import with_image_shape
from aevae.training.layout import fitting
from aevae.training.population import populate
from aevae.training.step import initial_batch

MB = 10**6


def runs(count=6, **changes):
    base = dataclasses.replace(
        config.load("configs/digits.py"), grid=None, batch=16, epochs=1, **changes
    )
    base = config.override(base, "encoder.widths", (8,))
    base = config.override(base, "decoder.widths", (8,))
    return [config.override(base, "seed", seed) for seed in range(count)]


@pytest.mark.parametrize(
    ("chunk", "temporary", "room", "expected"),
    [
        (16, 100 * MB, 200 * MB, 16),  # all fit
        (16, 100 * MB, 100 * MB, 16),
        (16, 100 * MB, 99 * MB, 15),
        (16, 100 * MB, 20 * MB, 3),
        (16, 100 * MB, 1 * MB, 1),  # one is the least: it may fail
        (16, 100 * MB, -5 * MB, 1),
        (1, 0, 1, 1),
    ],
)
def test_a_chunk_follows_from_what_a_program_takes(chunk, temporary, room, expected):
    assert fitting(chunk, temporary, room) == expected


@pytest.mark.retraced
def test_a_group_is_laid_out_by_a_devices_memory(tiny, monkeypatch):
    """By XLA's analysis of its two programs, each compiled for all members, and once more."""
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    monkeypatch.setattr(population, "chunk_of", lambda members, _: members)
    group = populate(runs(), tiny)
    assert group.layout.chunk == 6
    assert group.fitting(10**9) == 6
    assert 1 <= group.fitting(10**5) < 6
    looked = []

    def temporary(program, *inputs):
        looked.append(program)
        return 6 * MB

    monkeypatch.setattr(population, "temporary", temporary)
    monkeypatch.setattr(machine, "memory", lambda: 4 * MB)
    group = populate(runs(), tiny)
    assert (group.layout.members, group.layout.chunk) == (6, 3)
    assert len(looked) == 2
    assert populate(runs(), tiny, chunk=6).layout.chunk == 6  # what is asked for
    assert len(looked) == 2


@pytest.mark.retraced
def test_training_is_at_the_declared_precision_and_evaluation_in_float32(tiny):
    """In what is compiled; whatever JAX's own setting is, which nothing here may depend on."""
    conv = models.VAE(
        2,
        networks.ConvEncoder((2, 2), (4,)),
        networks.ConvDecoder((2, 2), (4,)),
        likelihoods.bernoulli,
    )
    with jax.default_matmul_precision("bfloat16"):
        for declared in ("default", "high"):
            made = dataclasses.replace(
                runs(1)[0], model=conv, precision=declared, binarization=data.none
            )
            group = populate([made], tiny, chunk=1)
            (window,) = group.feed.windows(0, 0, 2)
            inputs = group._shapes(), *group._inputs(window, 0, 1)
            text = group._program(0, 1).lower(*inputs).as_text()
            assert _precisions(text) == [declared.upper(), "HIGHEST"]
        given, sums, _ = group._evaluated(inputs[0].state)
        shared = group._held, np.int32(0), np.int32(1)
        text = group._evaluate.lower(sums, given, shared).as_text()
        assert _precisions(text) == ["HIGHEST"]


def _precisions(text):
    assert "stablehlo.convolution" in text and "stablehlo.dot" in text
    lists = re.findall(r"precision(?:_config)? = \[(.*?)\]", text)
    lists = re.findall(r"DEFAULT|HIGHEST|HIGH", " ".join(lists))
    # What has none is of the backend's own: as many as there are products, two operands each.
    products = re.findall(r"stablehlo\.(?:convolution|dot_general)", text)
    assert len(lists) == 2 * len(products)
    return [name for name, _ in itertools.groupby(lists)]


def test_a_precision_of_another_name_is_refused():
    with pytest.raises(InputError, match="precision must be default, high or highest"):
        runs(precision="tf32")
    swept = config.settle(runs(1)[0], None, {"precision": ("default", "highest")})
    assert len(config.groups_of_one_program(swept)) == 2
    assert "precision" in config.swept(swept)


@pytest.mark.retraced
def test_a_trained_run_is_used_in_float32(tiny):
    made = with_image_shape(runs(1)[0], tiny)
    batch = initial_batch(tiny.train)
    params = jax.jit(made.model.init)(jax.random.key(0), batch, None, {})
    run = Trained(made, params, 0, {}, {})
    q = run.encode(tiny.test["image"])
    run.decode(q.mean)
    batch = run._batch(tiny.test["image"])
    for method, args in (("encode", (batch,)), ("decode", (q.mean, {}, run.hp))):
        text = run._programs[method].lower(run.params, *args).as_text()
        assert "HIGHEST" in text and "DEFAULT" not in text


@pytest.mark.parametrize("error", ["device", "host"])
def test_out_of_memory_is_one_line_that_says_what_to_set(error, tiny, monkeypatch):
    def full(*_):
        if error == "host":
            raise MemoryError("Unable to allocate 8 GiB")
        raise jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.\nMore of it"
        )

    monkeypatch.setattr(population.Population, "advance", full)
    with pytest.raises(OutOfMemory, match=r"8 .*runs at a time \(chunk\)") as fault:
        fit([runs(1)[0]], tiny)
    assert "\n" not in str(fault.value)


def test_another_error_of_the_runtime_stays(tiny):
    with pytest.raises(jax.errors.JaxRuntimeError), machine.within_memory("buy some"):
        raise jax.errors.JaxRuntimeError("INTERNAL: what nobody knows")
