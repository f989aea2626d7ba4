"""Optimizers and schedules: functions of the hyperparameters, called inside every training step.

An optimizer is a function `hp -> optax.GradientTransformation`, with the learning rate `hp["lr"]`.
A schedule is a function `(hp, step) -> hp`, applied before objective and optimizer. Its other
arguments are bound by `functools.partial`; `name`, `length`, `rise` and `factor` are names of
hyperparameters, whose values can be swept.
"""

import jax.numpy as jnp
import optax

from aevae import InputError

# Optimizers


def adam(hp, *, eps=1e-8):
    """Adam: Kingma and Ba (2015)."""
    return optax.adam(hp["lr"], eps=eps)


def adamw(hp):
    """AdamW, Adam with decoupled weight decay of `weight_decay`: Loshchilov and Hutter (2019)."""
    return optax.adamw(hp["lr"], weight_decay=hp["weight_decay"])


def adagrad(hp, *, start=0.0, eps=1e-7):
    """Adagrad: Duchi et al. (2011).

    The accumulator starts at 0, as in the paper; optax starts it at 0.1.
    """
    return optax.adagrad(hp["lr"], initial_accumulator_value=start, eps=eps)


def rmsprop(hp, *, decay=0.9):
    """RMSProp: Tieleman and Hinton (2012)."""
    return optax.rmsprop(hp["lr"], decay=decay)


def sgd(hp):
    """Stochastic gradient descent with `momentum`."""
    return optax.sgd(hp["lr"], momentum=hp["momentum"])


def decayed(hp, *, optimizer=adam):
    """An optimizer of gradients to which `weight_decay` times the parameters is added.

    With a loss that is a mean over N examples, `weight_decay` = 1/N is a prior N(0, I) on all
    parameters, and the result their maximum a posteriori: Kingma and Welling (2014), section 5.
    """
    return optax.chain(optax.add_decayed_weights(hp["weight_decay"]), optimizer(hp))


def clipped(hp, *, optimizer=adam):
    """An optimizer of gradients clipped to a global norm of `clip`: Pascanu et al. (2013)."""
    return optax.chain(optax.clip_by_global_norm(hp["clip"]), optimizer(hp))


def adversarial(hp):
    """Adam at `lr` for the model, and at `discriminator_lr` with b1 = 0.5 for the discriminator.

    Kim and Mnih (2018), for `models.FactorVAE`.
    """
    return _partitioned("discriminator", optax.adam(hp["discriminator_lr"], b1=0.5), hp)


def averaged(hp):
    """Adam at `lr` for the model, and a running average for the likelihood's sigma².

    The average moves by `share` of the difference at each step. For `objectives.optimal_sigma_vae`.
    """
    return _partitioned("likelihood", optax.sgd(hp["share"]), hp)


def _partitioned(part, optimizer, hp):
    """Adam for the model, and another optimizer for the submodule called `part`."""

    def label(params):
        labels = {name: "model" for name in params["params"]}
        if part not in labels:
            raise InputError(
                f"the optimizer needs a model with a {part}; this one has {', '.join(labels)}"
            )
        return {"params": labels | {part: part}}

    return optax.partition({"model": optax.adam(hp["lr"]), part: optimizer}, label)


# Schedules


def constant(hp, step):
    """The schedule that leaves all hyperparameters as they are."""
    del step
    return hp


def ramp(hp, step, *, name, length):
    """Raises a hyperparameter from 0 to its value over `length` steps, linearly, and holds it.

    For `beta` this is the KL warm-up of Bowman et al. (2016), for `capacity` the increasing
    capacity of Burgess et al. (2018).
    """
    return hp | {name: hp[name] * jnp.minimum(1.0, step / hp[length])}


def cycle(hp, step, *, name, length, rise):
    """Raises a hyperparameter from 0 to its value anew in every cycle of `length` steps.

    Cyclical annealing: Fu et al. (2019). It rises over the fraction `rise` of the cycle, linearly,
    and is held for the rest.
    """
    phase = jnp.mod(step / hp[length], 1.0)
    return hp | {name: hp[name] * jnp.minimum(1.0, phase / hp[rise])}


def cosine(hp, step, *, length, name="lr"):
    """Lowers a hyperparameter to 0 over `length` steps by half a cosine.

    Loshchilov and Hutter (2017).
    """
    progress = jnp.minimum(1.0, step / hp[length])
    return hp | {name: hp[name] * 0.5 * (1 + jnp.cos(jnp.pi * progress))}


def steps(hp, step, *, length, factor, name="lr"):
    """Multiplies a hyperparameter by `factor` after every `length` steps."""
    return hp | {name: hp[name] * hp[factor] ** jnp.floor(step / hp[length])}


def stages(hp, step, *, ends, factor, name="lr"):
    """Multiplies a hyperparameter by `factor` at each of the steps `ends`, a tuple of numbers."""
    passed = (step >= jnp.asarray(ends)).sum()
    return hp | {name: hp[name] * hp[factor] ** passed}


def shortened(hp, step, *, schedule, share="share"):
    """Runs through a whole schedule in the share `hp[share]` of its steps.

    Every stage and warm-up is shorter by that factor, so that a run of as large a share of the
    epochs ends where the schedule ends.
    """
    return schedule(hp, step / hp[share])


def chain(hp, step, *, schedules):
    """Applies several schedules in turn."""
    for schedule in schedules:
        hp = schedule(hp, step)
    return hp
