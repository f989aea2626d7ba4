"""One model for every beta: layers are gated by functions of log beta, which travels in the batch.

Bae et al. (2022) scale the pre-activations of every layer by an activation of an affine function of
log beta. Ours beyond that: `Response`, from the closed form of the linear VAE below; gates of the
layers between that are 1 at the start; and gates around any network, by its layers' calls.

Where S has eigenvalues l_i and eigenvectors u_i, and p(x|z) = N(W z + m, sigma² I), the best
beta-VAE has, with s_i = beta sigma² / l_i,

    E[z_i|x] = sqrt(relu(1 - s_i)) u_iᵀ(x - m) / sqrt(l_i),   log Var[z_i|x] = min(0, log s_i),
    W_i = sqrt(relu(1 - s_i)) sqrt(l_i) u_i.

All that depends on beta is the gate sqrt(relu(1 - exp(log beta + b_i))), of the code on both sides,
and the variance: one set of weights is exact at every beta.
"""

import itertools
from typing import ClassVar

import jax.numpy as jnp
from flax import linen as nn

from aevae.models.distributions import LOG_STD, Normal, bounded
from aevae.models.vae import VAE

LAYERS = nn.Dense, nn.Conv, nn.ConvTranspose  # that are gated
NETWORKS = "encoder", "decoder"  # within which a layer has its name
OPEN = -3.0  # b at the start: latents close at beta = e³


class Response(nn.Module):
    """u = a log beta + b of each latent, [B or 1, Z]; a starts at 1, as in the closed form."""

    count: int

    @nn.compact
    def __call__(self, log_beta):
        slope = self.param("slope", nn.initializers.ones, (1, self.count))
        start = nn.initializers.constant(OPEN)
        return slope * log_beta + self.param("threshold", start, (1, self.count))


def opening(u):
    """The gate sqrt(relu(1 - exp(u))): 0 from u = 0 on, 1 far below; its gradient is finite."""
    is_open = u < 0
    share = -jnp.expm1(jnp.where(is_open, u, -1.0))
    return jnp.where(is_open, jnp.sqrt(share), 0.0)


class Gates(nn.Module):
    """Calls a function, with the dense and convolutional layers in it gated by log beta.

    What a layer gives, before its activation, is multiplied by 2 sigmoid(a log beta + b) of each
    unit or channel, which is 1 at the start. Layers inside `nn.RNN`, whose loop has no place for
    other parameters, are left as they are.
    """

    @nn.compact
    def __call__(self, log_beta, function):
        gates, inside = {}, []

        def gate(name, count):
            if name not in gates:
                a, b = (
                    self.param(f"{name}_{part}", nn.initializers.zeros, (1, count))
                    for part in ("slope", "offset")
                )
                gates[name] = 2 * nn.sigmoid(a * log_beta + b)
            return gates[name]

        def called(layer, args, kwargs, context):
            if isinstance(context.module, nn.RNN):
                inside.append(context.module)
            out = layer(*args, **kwargs)
            if inside and inside[-1] is context.module:
                inside.pop()
            is_layer = isinstance(context.module, LAYERS)
            if inside or not is_layer or context.method_name != "__call__":
                return out
            path = itertools.dropwhile(NETWORKS.__contains__, context.module.path)
            own = gate("_".join(path), out.shape[-1])
            return out * own.reshape(-1, *[1] * (out.ndim - 2), out.shape[-1])

        with nn.intercept_methods(called):
            return function()


class MultiRateVAE(VAE):
    """A VAE of every beta at once: Bae et al. (2022), for `objectives.multi_rate_vae`.

    It reads log beta of each example as batch["log_beta"], [B] or a scalar; without it beta is 1.
    Any encoder and decoder may stand in it: their layers are gated (`Gates`), and each latent
    closes at a beta of its own, where u of its `Response` is 0: its mean and the decoder's input
    are multiplied by sqrt(relu(1 - exp(u))), and log std² = min(0, what the encoder says + u).
    """

    multi_rate: ClassVar[bool] = True

    def setup(self):
        super().setup()
        self.encoder_gates, self.decoder_gates = Gates(), Gates()
        self.response = Response(self.latent)

    def encode(self, batch):
        """The posterior q(z|x) at the batch's betas."""
        log_beta = _log_beta(batch)
        h = self.encoder_gates(log_beta, lambda: self.encoder(batch["image"]))
        q = self.posterior(h)
        u = self.response(log_beta)
        log_std = bounded(jnp.minimum(q.log_std + 0.5 * u, 0.0), *LOG_STD)
        return Normal(q.mean * opening(u), log_std)

    def decode(self, z, batch, hp):
        """The likelihood p(x|z) at the batch's betas."""
        log_beta = _log_beta(batch)
        z = z * opening(self.response(log_beta))
        decode = super().decode
        return self.decoder_gates(log_beta, lambda: decode(z, batch, hp))


def _log_beta(batch):
    """The log betas of a batch, [B, 1] or [1, 1]."""
    return jnp.reshape(jnp.asarray(batch.get("log_beta", 0.0)), (-1, 1))
