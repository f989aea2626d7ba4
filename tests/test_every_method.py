"""What every listed method gets for free: it traces, reads its numbers, trains, and resumes."""

import dataclasses
import functools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aevae import InputError, config, data
from aevae.runs import place, study, tables, trained
from aevae.training.check import check_run, with_image_shape
from aevae.training.layout import lay_out
from aevae.training.loop import snapshots
from aevae.training.population import Population
from aevae.training.step import init_state, initial_batch

FILE = Path(__file__).parents[1] / "configs" / "methods.py"
NAMES = re.findall(r"^def (\w+)\(\):", FILE.read_text(), re.MULTILINE)
METHODS = [name for name in NAMES if not name.startswith("_")]

# Of different kinds: no bound, a noisy input, a schedule, terms between examples, a second
# optimizer, several draws, a learned prior, and codes without noise. The slow suite has all.
QUICK = (
    *("autoencoder", "denoising", "warm_up", "beta_tcvae"),
    *("factor_vae", "dreg", "vampprior", "vq_vae"),
)
EACH = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
    for name in METHODS
]


def base_of(method):
    (base,) = config.settle(config.load(f"{FILE}:{method}"), {}, {})
    return base


def test_all_methods_are_listed():
    with pytest.raises(InputError, match="there is no method 'x'; there are auto") as e:
        config.load(f"{FILE}:x")
    listed = str(e.value).rpartition("there are ")[2].split(", ")
    assert listed == METHODS and len(METHODS) > 30
    assert set(QUICK) < set(METHODS)
    assert all(base_of(method).hparams for method in METHODS)


@pytest.mark.parametrize("method", EACH)
def test_it_reads_every_number_it_is_given_and_no_other(method, digits):
    """lightning-bolts #328: a weight that nothing read. Here the run is refused."""
    base = base_of(method)
    base = dataclasses.replace(base, hparams=base.hparams | {"unread": 1.0})
    with pytest.raises(InputError, match="nothing reads hyperparameter unread; it"):
        check_run(base, digits)


@pytest.mark.parametrize("method", ["beta_tcvae", "factor_vae", "info_vae", "wae_mmd"])
def test_what_is_between_examples_needs_two_of_them(method, digits):
    """In a held-out split too, before any work: it was a traceback, or a run marked diverged."""
    one = {name: values[:1] for name, values in digits.test.items()}
    with pytest.raises(InputError, match="validation and test splits, of two examples"):
        check_run(base_of(method), digits._replace(test=one))
    odd = {name: np.concatenate([v, v])[:501] for name, v in digits.test.items()}
    check_run(base_of(method), digits._replace(test=odd))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_finite_at_extreme_images(method, digits):
    base = with_image_shape(base_of(method), digits)
    hp = {name: jnp.float32(value) for name, value in base.hparams.items()}
    state = jax.jit(functools.partial(init_state, base))(
        initial_batch(digits.train), 0, hp
    )
    batch = data.none(None, data.rows(digits.train, slice(64)))
    ends = jnp.arange(64)[:, None, None, None] % 3  # black, white, and black and white
    checks = (jnp.indices((8, 8)).sum(0) % 2)[None, :, :, None]
    image = jnp.where(ends == 2, checks, ends) * jnp.ones((64, 8, 8, 1))

    @jax.jit
    def slope(params):
        def loss(params):
            own = batch | {"image": image}
            return base.objective(base.model, params, own, jax.random.key(0), hp)[0]

        return jax.value_and_grad(loss)(params)

    for leaf in jax.tree.leaves(slope(state.params)):
        assert np.isfinite(leaf).all()


@pytest.mark.bits
@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_three_values_in_a_group_are_three_runs_alone(method, digits):
    base = dataclasses.replace(base_of(method), epochs=1, batch=400)
    runs = [config.replace(base, "hparams.lr", lr) for lr in (1e-3, 2e-3, 3e-3)]
    dataset = data.binarized(digits, base.binarization)
    checked = check_run(base, dataset)

    def last(runs):
        layout = lay_out(len(runs), min(3, len(runs)), 1)
        population = Population(runs, dataset, layout, checked)
        for snapshot in snapshots(population, population.start()):
            pass
        return population.states(snapshot)

    together = last(runs)
    for run, state in zip(runs, together):
        (alone,) = last([run])
        for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(alone.params)):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@pytest.mark.bits
@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_sweep_of_it_resumes_to_the_same_bytes(method, tmp_path, monkeypatch):
    ask = {"overrides": {"epochs": 2, "batch": 400}}
    study.run(f"{FILE}:{method}", tmp_path / "straight", **ask)
    save, left = place.Place.save, []

    def dying(self, *args):
        save(self, *args)
        left.append(0)
        if len(left) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(place.Place, "save", dying)
    with pytest.raises(KeyboardInterrupt):
        study.run(f"{FILE}:{method}", tmp_path / "again", interval=0, **ask)
    monkeypatch.undo()
    study.run(f"{FILE}:{method}", tmp_path / "again", **ask)
    for name in ("curves.csv", "results.csv"):
        ours, theirs = (tmp_path / f / name for f in ("again", "straight"))
        assert ours.read_bytes() == theirs.read_bytes()
    rows = tables.results(tmp_path / "again")
    assert all(row["diverged"] is None for row in rows)
    run = trained.open_run(tmp_path / "again", rows[0])
    given = {k: v for k, v in run.examples.items() if k != "image"}
    for images in (
        run.reconstruct(run.examples),
        run.sample(jax.random.key(0), 10, given)
        if rows[0]["elbo"] is not None
        else 0.0,
    ):
        assert np.isfinite(images).all()
