"""Checks of training: what reads hyperparameters, gradients, groups, resuming, and collapse."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError, optim
from aevae import config as configs
from aevae.training import snapshots
from aevae.training.check import check_run
from aevae.training.layout import lay_out
from aevae.training.population import Population
from aevae.training.step import State, train_step
from experiments.battery import subject as subjects
from experiments.battery.line import NotClaimed, counted
from experiments.laws.law import Law

EXAMPLES = 1_000  # of a run that is trained
STEPS = 10  # of its one epoch
HELD = 100  # examples of its validation and test splits
BETA, LR, COLLAPSE_STEPS, COLLAPSED = 1e4, 0.01, 300, 0.1
EPSILON = 1e-3  # of Adam, where runs of a group and alone are compared
SHIFT = 1e-4  # by which a finite difference moves the loss, as a share of it
FARTHEST = 0.05  # that it moves a parameter, as a root mean square


def read(subject):
    """Every hyperparameter is read, and one that is not known is refused."""
    check_run(subject.given, subject.dataset)
    more = subject.given.hparams | {"unread_by_all": 1.0}
    odd = dataclasses.replace(subject.given, hparams=more)
    try:
        check_run(odd, subject.dataset)
        refused = False
    except InputError:
        refused = True
    yield counted("hyperparameters that nothing reads and that are taken", not refused)


def pure(subject):
    """The same key gives the same loss and terms, when the objective is traced once more, too."""
    again = subjects.over_keys(subject.config.objective, subject.model)
    runs = subject.over_keys, subject.over_keys, again
    one, *others = (subjects.numpy(run(*_given(subject))) for run in runs)
    bad = sum((one[name] != other[name]).sum() for other in others for name in one)
    yield counted("values that another call with the same key changes", bad)


def _given(subject):
    return subject.params, subject.batch, subject.keys, subject.hp


def gradient(subject):
    """The mean gradient is the slope of the mean loss, for each part of the model.

    The slope is a difference of losses at parameters moved along the gradient itself, with the
    same keys: a surrogate whose value or gradient is of another function shows.
    """
    objective = subject.config.objective

    @jax.jit
    def gradients(params, batch, keys, hp):
        def one(key):
            def loss(params):
                return objective(subject.model, params, batch, key, hp)[0]

            return jax.grad(loss)(params)

        return jax.lax.map(one, keys, batch_size=16)

    all_of = gradients(*_given(subject))
    for name in subject.params["params"]:
        own = all_of["params"][name]
        way = jax.tree.map(lambda leaf: leaf.mean(0), own)
        square = sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(way))
        if square == 0:
            continue
        count = sum(leaf.size for leaf in jax.tree.leaves(way))
        level = abs(subject.found["loss"].mean()) + 1
        step = min(SHIFT * level / square, FARTHEST * math.sqrt(count / square))
        ends = [_moved_loss(subject, name, way, sign * step) for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        along = np.array(_dots(own, way))
        apart = along - slope
        noise = apart.std(ddof=1) / math.sqrt(len(apart))
        rounding = 2e-7 * level / step
        slack = 4.5 * noise + 0.02 * square + rounding
        yield Law(f"slope along that of {name}", slope.mean(), along.mean(), slack)


def _moved_loss(subject, name, way, step):
    inner = dict(subject.params["params"])
    inner[name] = jax.tree.map(lambda leaf, g: leaf + step * g, inner[name], way)
    return subject.values(subject.batch, {**subject.params, "params": inner})["loss"]


def _dots(own, way):
    pairs = zip(jax.tree.leaves(own), jax.tree.leaves(way))
    return sum(
        (np.float64(a) * np.float64(b)[None]).reshape(len(a), -1).sum(1)
        for a, b in pairs
    )


def collapse(subject):
    """At a beta of 10,000 the rate falls to 0, by Adam with a learning rate of 0.01."""
    if "rate" not in subject.found:
        raise NotClaimed("it reports no rate")
    if "beta" not in subject.hp:
        raise NotClaimed("it has no beta")
    if hasattr(subject.draw.q, "discrete"):
        raise NotClaimed("the rate of discrete codes is fixed")
    config = dataclasses.replace(
        subject.config, optimizer=optim.adam, schedule=optim.constant
    )
    hp = subject.hp | {"beta": jnp.float32(BETA), "lr": jnp.float32(LR)}

    @jax.jit
    def trained(params, batch, hp):
        def step(state, key):
            return train_step(config, state, batch, key, hp)

        state = State(params, config.optimizer(hp).init(params), jnp.int32(0))
        keys = jax.random.split(jax.random.key(31), COLLAPSE_STEPS)
        _, metrics = jax.lax.scan(step, state, keys)
        return metrics["rate"]

    rates = np.float64(trained(subject.params, subject.twice, hp))
    name = f"rate after {COLLAPSE_STEPS} steps at beta = {BETA:g}"
    yield Law(name, 0.0, rates[-10:].mean(), COLLAPSED)


def member(subject):
    """A run in a group of three is the same run alone, to rounding; Adam's epsilon is 1e-3.

    With its own 1e-8 Adam makes whole steps of gradients near 0, and so of their rounding, which each
    program does in its own way.
    """
    short = _short(subject)
    if short.optimizer is optim.adam:
        coarse = functools.partial(optim.adam, eps=EPSILON)
        short = dataclasses.replace(short, optimizer=coarse)
    runs = [configs.replace(short, "hparams.lr", lr) for lr in _rates(subject)]
    together = _last(_population(subject, runs))
    for run, state in zip(runs, together):
        (alone,) = _last(_population(subject, [run]))
        for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(alone.params)):
            apart = abs(np.float64(a) - b) / (2e-5 + 2e-4 * abs(np.float64(b)))
            yield Law(
                "parameters, in tolerances of 2e-5 + 2e-4 |value|", 0, apart.max(), 1
            )


def resume(subject):
    """A run that is saved within an epoch and goes on from there ends with the same bits."""
    population = _population(subject, [_short(subject)])
    kept = None
    for snapshot in _trained(population):
        if kept is None:
            arrays = {k: np.array(v) for k, v in population.dump(snapshot).items()}
            status = jax.tree.map(np.array, snapshot.status)
            kept = arrays, snapshot.epoch, snapshot.step, status
    straight = population.states(snapshot), snapshot.metrics
    for snapshot in _trained(population, population.load(*kept)):
        pass
    again = population.states(snapshot), snapshot.metrics
    pairs = itertools.zip_longest(jax.tree.leaves(straight), jax.tree.leaves(again))
    bad = sum((np.asarray(a) != np.asarray(b)).sum() for a, b in pairs)
    yield counted("numbers that differ after a resume", bad)


def _trained(population, start=None):
    """Snapshots up to the end of the epoch; what is reported of a run is not evaluated."""
    for snapshot in snapshots(population, start, length=STEPS // 2):
        yield snapshot
        if snapshot.epoch == population.epochs:
            return


def _rates(subject):
    if "lr" not in subject.config.hparams:
        raise NotClaimed("it has no lr, along which the runs of a group would differ")
    lr = subject.config.hparams["lr"]
    return lr, 1.5 * lr, 2 * lr


def _short(subject):
    """The config with one short epoch."""
    size = len(_data(subject).train["image"])
    return dataclasses.replace(
        subject.given, batch=size // STEPS, epochs=1, evaluate_every=1, keep="last"
    )


def _data(subject):
    """The first rows of each split."""
    dataset = subject.dataset
    most = {"train": EXAMPLES, "validation": HELD, "test": HELD}
    cut = {
        part: {k: v[: most[part]] for k, v in split.items()}
        for part, split in dataset.parts.items()
    }
    return dataset._replace(**cut, drawn={})


def _population(subject, runs):
    stored = _data(subject)
    checked = check_run(runs[0], stored)
    return Population(runs, stored, lay_out(len(runs), len(runs), 1), checked)


def _last(population):
    for snapshot in _trained(population):
        pass
    return population.states(snapshot)
