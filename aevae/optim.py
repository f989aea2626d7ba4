"""Optimizers and schedules: functions of hyperparameters, rebuilt inside each step.

An optimizer is `hp -> optax.GradientTransformation`, as optax has them, at the learning rate
`lr`. A schedule is `(hp, step) -> hp`, applied before objective and optimizer; all but
`constant` are bound with functools.partial, and what `length` and the like name are
hyperparameters, so that they can be swept.
"""

import jax.numpy as jnp
import optax

from aevae import InputError

# Optimizers


def adam(hp, *, eps=1e-8):
    """Adam: Kingma and Ba (2015)."""
    return optax.adam(hp["lr"], eps=eps)


def adamw(hp):
    """Adam with `weight_decay` beside the gradient: Loshchilov and Hutter (2019)."""
    return optax.adamw(hp["lr"], weight_decay=hp["weight_decay"])


def adagrad(hp, *, start=0.0, eps=1e-7):
    """Adagrad: Duchi et al. (2011), whose accumulator starts at 0; optax's own default is 0.1."""
    return optax.adagrad(hp["lr"], initial_accumulator_value=start, eps=eps)


def rmsprop(hp, *, decay=0.9):
    """RMSProp: Tieleman and Hinton (2012)."""
    return optax.rmsprop(hp["lr"], decay=decay)


def sgd(hp):
    """Gradient descent with `momentum`."""
    return optax.sgd(hp["lr"], momentum=hp["momentum"])


def decayed(hp, *, optimizer=adam):
    """An optimiser of gradients to which `weight_decay` times the parameters is added.

    Beside a mean over N examples, `weight_decay` = 1/N is the prior N(0, I) on all parameters, and
    what is found is the most probable of them: Kingma and Welling (2014), section 5.
    """
    return optax.chain(optax.add_decayed_weights(hp["weight_decay"]), optimizer(hp))


def clipped(hp, *, optimizer=adam):
    """An optimiser of gradients whose global norm is at most `clip`: Pascanu et al. (2013)."""
    return optax.chain(optax.clip_by_global_norm(hp["clip"]), optimizer(hp))


def adversarial(hp):
    """Adam at `lr`, and for the discriminator at `discriminator_lr` with b1 = 0.5.

    As Kim and Mnih (2018) train FactorVAE.
    """

    return _apart("discriminator", optax.adam(hp["discriminator_lr"], b1=0.5), hp)


def averaged(hp):
    """Adam at `lr`, and for the likelihood's kept sigma² a running average of `share` a step.

    For `objectives.optimal_sigma_vae`.
    """
    return _apart("likelihood", optax.sgd(hp["share"]), hp)


def _apart(part, optimizer, hp):
    """Adam, but for a part of the model that has an optimiser of its own."""

    def label(params):
        own = {name: "model" for name in params["params"]}
        if part not in own:
            raise InputError(f"the model has no {part}; it has {', '.join(own)}")
        return {"params": own | {part: part}}

    return optax.partition({"model": optax.adam(hp["lr"]), part: optimizer}, label)


# Schedules


def constant(hp, step):
    """The schedule that changes nothing."""
    del step
    return hp


def ramp(hp, step, *, name, length):
    """Hyperparameter `name` grows from 0 to its value over `length` steps, and stays.

    Of `beta` it is the KL warm-up of Bowman et al. (2016), of `capacity` the growing capacity of
    Burgess et al. (2018).
    """
    return hp | {name: hp[name] * jnp.minimum(1.0, step / hp[length])}


def cycle(hp, step, *, name, length, rise):
    """`name` grows from 0 to its value over the share `rise` of every `length` steps, and stays.

    Cyclical annealing: Fu et al. (2019).
    """
    at = jnp.mod(step / hp[length], 1.0)
    return hp | {name: hp[name] * jnp.minimum(1.0, at / hp[rise])}


def cosine(hp, step, *, length, name="lr"):
    """`name` falls to 0 over `length` steps as half a cosine: Loshchilov and Hutter (2017)."""
    share = jnp.minimum(1.0, step / hp[length])
    return hp | {name: hp[name] * 0.5 * (1 + jnp.cos(jnp.pi * share))}


def steps(hp, step, *, length, factor, name="lr"):
    """`name` is multiplied by `factor` after every `length` steps."""
    return hp | {name: hp[name] * hp[factor] ** jnp.floor(step / hp[length])}


def stages(hp, step, *, ends, factor, name="lr"):
    """`name` is multiplied by `factor` after each of the steps `ends`."""
    passed = (step >= jnp.asarray(ends)).sum()
    return hp | {name: hp[name] * hp[factor] ** passed}


def chain(hp, step, *, schedules):
    """One schedule after the other."""
    for schedule in schedules:
        hp = schedule(hp, step)
    return hp
