"""VAEs with a standard prior and with a VampPrior on MNIST: Tomczak and Welling (2018), table 1.

    python -m experiments.reproduce --result=priors --data_dir=DIR --share=1/10 --points=standard_static

As in the paper and its code: gated layers 784-300-300 and back, 40 latents, Adam at 5e-4, batches of 100,
50,000 training, 10,000 validation and 10,000 test images. Of each run the epoch with the best validation
bound is kept; it stops after 50 epochs without a better one, and after 2,000 at most. Initialization is He's,
as in the code; the paper says Glorot's. "Dynamic" is stochastic binarization, afresh at each visit, with one
sample (seed 0) of validation and test. The VampPrior has 500 pseudo-inputs.

`share` shortens the warm-up, of 100 epochs, with the schedule; the 50 epochs without a better bound stay.

What differs: the rate under the standard prior is in closed form, not sampled; gradients are not normalized per
tensor; log-variances and output probabilities are not clipped; pseudo-inputs start as training images. "Static"
is one sample of our own (`data.fixed`, seed 0), not Larochelle's, and the 50,000 are `train[:50000]` of TFDS.

`flax` is the VAE of flax's own example, 784-500-20-500-784, Adam at 1e-3, batches of 128, on static
binarization.
"""

import functools

from aevae import InputError, config, data, models, networks, objectives, optim

PSEUDO = 500
FULL = 2000
STEPS = 500  # in an epoch


def _gated(kind, **fields):
    kernel = networks.he_normal
    warmup = functools.partial(optim.ramp, name="beta", length="warmup")
    return {
        "model": kind(
            latent=40,
            encoder=networks.GatedEncoder((300, 300), kernel),
            decoder=networks.GatedDecoder((300, 300), kernel),
            kernel=kernel,
            **fields,
        ),
        "hparams": {"beta": 1.0, "lr": 5e-4, "warmup": 100.0 * STEPS, "share": 1.0},
        "schedule": functools.partial(optim.shortened, schedule=warmup),
        "binarization": data.stochastic,
        "batch": 100,
        "epochs": FULL,
        "keep": "best",
        "patience": 50,
        "grid": {"binarization": (data.stochastic, data.fixed)},
    }


def standard():
    return _gated(models.VAE)


def vamp():
    return _gated(models.VampPrior, pseudo=PSEUDO)


def flax():
    return {
        "model": models.VAE(
            latent=20,
            encoder=networks.MLPEncoder((500,)),
            decoder=networks.MLPDecoder((500,)),
        ),
        "hparams": {"beta": 1.0, "lr": 1e-3},
        "schedule": optim.constant,
        "binarization": data.fixed,
        "batch": 128,
        "epochs": 10,
    }


PARTS = {part.__name__: part for part in (standard, vamp, flax)}


def get_config(part="standard"):
    if part not in PARTS:
        raise InputError(f"there is no {part!r}; there are {', '.join(PARTS)}")
    return config.Config(
        objective=objectives.beta_vae,
        optimizer=optim.adam,
        dataset="mnist",
        train="train[:50000]",
        validation="train[50000:]",
        test="test",
        **PARTS[part](),
    )
