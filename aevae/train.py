"""One run: state, step, and a span of steps. Nothing here knows that runs are batched."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from aevae import InputError, data

INIT_ROWS = 10_000  # training examples that initial values may depend on


class State(NamedTuple):
    """Everything that changes during a run. Arrays only: no functions, no config, no key."""

    params: Any
    opt: optax.OptState
    step: jax.Array


# Optimisers, hp -> optax.GradientTransformation: as optax has them, at the learning rate `lr`.


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


# Schedules, (hp, step) -> hp, before objective and optimiser. All but `constant` are bound with
# functools.partial; what `length` and the like name are hyperparameters, so that they can be swept.


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


def init(config, scaled, seed, hp):
    """The first state. `scaled` is training data: initial values may come from it."""
    hp = config.schedule(hp, jnp.int32(0))
    params = config.model.init(
        jax.random.fold_in(jax.random.key(seed), 0), scaled, None, hp
    )
    return State(params, config.optimizer(hp).init(params), jnp.int32(0))


def step(config, state, batch, key, hp):
    """One update. The optimiser is rebuilt here, so that its numbers may be traced."""
    hp = config.schedule(hp, state.step)

    def objective(params):
        return config.objective(config.model, params, batch, key, hp)

    (loss, metrics), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
    updates, opt = config.optimizer(hp).update(grads, state.opt, state.params)
    params = optax.apply_updates(state.params, updates)
    return State(params, opt, state.step + 1), metrics | {"loss": loss}


class Window(NamedTuple):
    """Steps of an epoch, from `first` on, and the rows that they visit.

    Of a set that is on the device as a whole the window is the epoch, and `stored` the set.
    """

    stored: dict[str, jax.Array]  # arrays of rows
    order: jax.Array  # [T, B]: which rows of `stored` each batch has
    first: int  # the step that order[0] is of
    size: float  # of the set that the rows are of


def span(config, window, carry, seed, hp, start, stop):
    """Steps `start` to `stop` (traced) of an epoch, within a window of it.

    `carry` is (state, sums of the epoch's metrics so far). Cutting an epoch into spans, or into
    windows, changes no bit of either, so the host may look, save or leave between any two steps. The keys come
    from the seed and the step alone: nothing random is stored, any step can be replayed.
    """
    root = jax.random.fold_in(jax.random.key(seed), 1)
    state, sums = carry
    sums = jax.tree.map(lambda s: jnp.where(start == 0, 0.0, s), sums)

    def body(t, carry):
        state, sums = carry
        key, noise_key = jax.random.split(jax.random.fold_in(root, state.step))
        batch = rows(window.stored, window.order[t - window.first], window.size)
        # What comes after is then compiled alike, whatever shape the window has.
        batch = jax.lax.optimization_barrier(batch)
        batch = config.binarization(key, batch)
        state, metrics = step(config, state, batch, noise_key, hp)
        return state, jax.tree.map(jnp.add, sums, metrics)

    return jax.lax.fori_loop(start, stop, body, (state, sums))


def rows(stored, index, size=None):
    """Those rows of every array, and `size`: how many examples they were drawn from."""
    batch = {
        name: values.reshape(len(values), -1)[index].reshape(-1, *values.shape[1:])
        for name, values in stored.items()
    }
    return batch | {"size": jnp.float32(len(stored["image"]) if size is None else size)}


def everything(split, size=None):
    """Scaled training data, for initial values that come from it; `size` as in `rows`."""
    return data.none(None, rows(split, slice(INIT_ROWS), size))
