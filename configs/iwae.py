"""Importance-weighted autoencoders on MNIST: Burda, Grosse and Salakhutdinov (2016), table 1.

    python -m experiments.reproduce --result=iwae_table1 --data_dir=DIR --share=1/40 --points=vae_1

As in the paper (section 5): 784-200-200-50 and back with one stochastic layer, 784-200-200-100 and
100-100-100-50 with two (`two_layers`); tanh; initialization of Glorot and Bengio (2010); Adam with an epsilon
of 1e-4, batches of 20; the learning rate is 1e-3 · 10^(-i/7) for 3^i epochs, i = 0 to 7: 3,280 epochs in all.
`share` shortens all stages by one factor: --config.share=0.025 goes with --config.epochs=82, where the last ends.
Stochastic binarization, afresh at each visit; 60,000 training images, one sample (seed 0) of the 10,000 test
images. The output bias starts from the mean image, which the paper does not mention but the released code does,
and which a replication (nbip/IWAE) found to be worth a nat at K = 1.

The VAE with K samples is m = K, k = 1; the IWAE is m = 1, k = K. The bound of every sample is estimated
from it; nothing is in closed form.

The released code differs from its paper, and from this: a first-moment decay of 0.99, a second moment that
starts at 1, gradients summed over the batch, learning rates from 10 to 1 times 1e-4, no shuffling, 59,600
images, a layer whose exponential is the standard deviation, not the variance, and mean and variance layers
that start equal. Active units are counted on the test images here, on 500 training images there. The
validation split is of test images: nothing is chosen by it.
"""

import functools

from flax import linen as nn

from aevae import InputError, config, data, models, networks, objectives, optim

PASSES = (1, 4, 13, 40, 121, 364, 1093)  # epochs after which the learning rate shrinks
EPOCHS = 3280  # in all
STEPS = 3000  # in an epoch


def get_config(part="one_layer"):
    kernel = networks.glorot_uniform
    networks_ = {
        "encoder": networks.MLPEncoder((200, 200), nn.tanh, kernel),
        "decoder": networks.MLPDecoder((200, 200), nn.tanh, kernel),
        "output_bias": models.mean_logit,
        "kernel": kernel,
    }
    if part == "one_layer":
        model = models.VAE(50, **networks_)
    elif part == "two_layers":
        model = models.TwoLevel(100, **networks_, top=50, widths=(100, 100))
    else:
        raise InputError(f"there is no {part!r}; there are one_layer, two_layers")
    ends = tuple(STEPS * passes for passes in PASSES)
    stages = functools.partial(optim.stages, ends=ends, factor="shrink")
    return config.Config(
        model=model,
        objective=functools.partial(objectives.miwae, m=1, k=1),
        hparams={"lr": 1e-3, "shrink": 10 ** (-1 / 7), "share": 1.0},
        optimizer=functools.partial(optim.adam, eps=1e-4),
        schedule=functools.partial(optim.shortened, schedule=stages),
        binarization=data.stochastic,
        dataset="mnist",
        train="train",
        validation="test[:1000]",
        test="test",
        batch=20,
        epochs=EPOCHS,
        grid=[{"m": (1, 5, 50), "k": 1}, {"m": 1, "k": (5, 50)}],
    )
