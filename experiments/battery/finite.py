"""Checks of extremes: losses, gradients and codes that must stay finite."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.battery.line import counted

SCALES = 3.0, 0.0
FAR = 1e3  # size of codes


def _slope(subject):
    @jax.jit
    def slope(params, batch, hp):
        def loss(params):
            key = jax.random.key(0)
            return subject.config.objective(subject.model, params, batch, key, hp)[0]

        return jax.value_and_grad(loss)(params)

    return slope


def _bad(tree):
    return sum((~np.isfinite(leaf)).sum() for leaf in jax.tree.leaves(tree))


def images(subject):
    """Loss and gradient at black, at white, and at black and white in turn, at the data's ends."""
    image, slope = subject.batch["image"], _slope(subject)
    low, high = float(subject.twice["image"].min()), float(subject.twice["image"].max())
    support = getattr(subject.draw.x, "support", None)
    if support is None:  # any number is possible: go out of the data's range
        low, high = low - 3 * (high - low), high + 3 * (high - low)
    else:
        low, high = support
    turn = jnp.indices(image.shape[1:]).sum(0) % 2
    kinds = {
        "all at the least": jnp.full_like(image, low),
        "all at the greatest": jnp.full_like(image, high),
        "in turn": jnp.broadcast_to(jnp.where(turn == 1, high, low)[None], image.shape),
    }
    for name, extreme in kinds.items():
        given = subject.batch | {"image": extreme}
        yield counted(
            f"{name}: values of loss and gradient that are not finite",
            _bad(slope(subject.params, given, subject.hp)),
        )


def parameters(subject):
    """Loss and gradient with all parameters 3 times as large, and with all at 0."""
    slope = _slope(subject)
    for scale in SCALES:
        large = jax.tree.map(functools.partial(jnp.multiply, scale), subject.params)
        yield counted(
            f"parameters times {scale:g}: values of loss and gradient that are not finite",
            _bad(slope(large, subject.batch, subject.hp)),
        )


def codes(subject):
    """log p(x|z) and log p(z), and their gradients in z, at codes that are far out."""
    model = subject.model

    @functools.partial(jax.jit, static_argnums=0)
    def slope(method, params, z, batch, hp):
        def total(z):
            if method == "decode":
                x = model.apply(params, z, batch, hp, method="decode")
                return x.log_prob(batch["image"]).sum()
            return model.apply(params, batch, method="prior").log_prob(z).sum()

        return jax.value_and_grad(total)(z)

    for size in (FAR, -FAR):
        fill = functools.partial(jnp.full_like, fill_value=size)
        far = jax.tree.map(fill, subject.draw.z)
        for method, density in (("decode", "log p(x|z)"), ("prior", "log p(z)")):
            if method == "prior" and not subject.has_bound:
                continue
            found = slope(method, subject.params, far, subject.batch, subject.hp)
            name = f"{density} at z = {size:g}: values that are not finite"
            yield counted(name, _bad(found))
