"""Checks of units: nats, summed over pixels and latents, averaged over examples; beta = 1 is 1."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.battery import known
from experiments.battery import subject as subjects
from experiments.battery.line import NotClaimed, paired
from experiments.laws.law import Law

BOUND = "elbo", "distortion", "rate"
TRIED = 0.0, 1.0  # values of weights at which a loss may be -ELBO


def _reported(subject, name):
    if name not in subject.found:
        raise NotClaimed(f"it reports no {name}")


def distortion(subject):
    """The reported distortion is -log p(x|z) of the battery's own, in float64."""
    _reported(subject, "distortion")
    own = known.log_prob(subject.draw.x, subject.batch["image"])
    found = subject.fixed["distortion"][0]
    yield Law("E[-log p(x|z)]", -own.mean(), found, 2e-5 * abs(own).mean() + 1e-4)


def identity(subject):
    """elbo = -(distortion + rate), whatever the weights: with hyperparameters three times as large, too."""
    _reported(subject, "elbo")
    _reported(subject, "rate")
    large = {n: v if n == "lr" else 3 * v for n, v in subject.hp.items()}
    for at, found in (
        ("", subject.found),
        (" at 3 times hp", subject.values(subject.batch, hp=large)),
    ):
        own = -(found["distortion"] + found["rate"])
        yield paired(f"elbo = -(distortion + rate){at}", own, found["elbo"])


def weight_one(subject):
    """The loss is -ELBO at beta = 1, with other weights at 0, at 1 or as the config has them.

    Where an importance-weighted bound is reported, the loss is its negative. What a discriminator
    loses is no part of the bound.
    """
    found = subject.found
    if "iwae" in found:
        yield paired("loss = -iwae", -found["iwae"], found["loss"])
        return
    _reported(subject, "elbo")
    names = [n for n in subject.config.hparams if n not in ("beta", "lr")]
    own = {name: float(subject.hp[name]) for name in names}
    values = [dict.fromkeys((own[name], *TRIED)) for name in names]
    best, noisy = None, []
    for chosen in itertools.product(*values):
        weights = dict(zip(names, chosen))
        if "beta" in subject.hp:
            weights["beta"] = 1.0
        hp = subject.hp | {k: jnp.float32(v) for k, v in weights.items()}
        got = subject.values(subject.batch, hp=hp)
        loss = got["loss"] - got.get("discriminator", 0.0)
        changed = {k: v for k, v in weights.items() if v != own.get(k)}
        at = ", ".join(f"{k} = {v:g}" for k, v in changed.items()) or "the config's own"
        law = paired(f"loss = -elbo at {at}", -got["elbo"], loss)
        if np.allclose(loss, -got["elbo"], rtol=2e-5, atol=1e-3):
            yield law
            return
        noisy.append(law)
    noisy = [law for law in noisy if np.isfinite(law.measured)]
    best = min(noisy, key=lambda law: abs(law.measured - law.expected))
    yield best


def pixels(subject):
    """An image beside itself, with a decoder that says all twice, has twice the distortion.

    And the same rate. The posterior sees the first half.
    """
    _reported(subject, "distortion")
    if subject.dataset.scaling is not None:
        raise NotClaimed("standardized values are of one shape")
    batch = subject.batch | {"image": _beside(subject.batch["image"], 0)}
    run = subjects.over_keys(subject.config.objective, tiled(subject.model))
    twice = subjects.numpy(run(subject.params, batch, subject.keys, subject.hp))
    once = subject.found
    yield paired("distortion", 2 * once["distortion"], twice["distortion"])
    if "rate" in once:
        yield paired("rate", once["rate"], twice["rate"])


def _beside(leaf, size):
    """A leaf of [B, H, ...] twice along H; `size` is H, or 0 for whatever there is."""
    fits = jnp.ndim(leaf) >= 2 and leaf.shape[1] in (size, size or leaf.shape[1])
    return jnp.concatenate([leaf, leaf], 1) if fits else leaf


def tiled(model):
    """The model for images of twice the height, whose decoder gives what it gave twice."""
    kind, size = type(model), model.shape[0]

    class Tiled(kind):
        def encode(self, batch):
            image = batch["image"]
            if image.shape[1] == 2 * size:
                batch = batch | {"image": image[:, :size]}
            return super().encode(batch)

        def decode(self, z, batch, hp):
            x = super().decode(z, batch, hp)
            return jax.tree.map(
                lambda leaf: _beside(leaf, size) if size > 1 else leaf, x
            )

    return subjects.remade(model, Tiled)


def examples(subject):
    """A batch twice over has the same bound, loss and terms: they are means over examples."""
    again = {
        k: jnp.concatenate([v, v]) if jnp.ndim(v) else v
        for k, v in subject.batch.items()
    }
    yield from _same(subject.found, subject.values(again), "a batch twice")


def bound_examples(subject):
    """A batch of two halves has the mean of their elbo, distortion and rate."""
    if not set(BOUND) & set(subject.found):
        raise NotClaimed("it reports no elbo, distortion or rate")
    halves, whole = _halves(subject)
    kept = {k: v for k, v in halves.items() if k in BOUND}
    yield from _same(kept, whole, "two halves")


def batch_size(subject):
    """A batch of two halves has the mean of their losses and terms."""
    yield from _same(*_halves(subject), "two halves")


def _halves(subject):
    first, second = subject.found, subject.values(subject.other)
    whole = subject.values(subject.twice)
    return {k: 0.5 * (first[k] + second[k]) for k in first}, whole


def _same(expected, found, what):
    for name in expected:
        yield paired(f"{name} of {what}", expected[name], found[name], 5e-5)
