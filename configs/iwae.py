"""Importance-weighted autoencoders on MNIST: Burda, Grosse and Salakhutdinov (2016), table 1.

    python -m experiments.reproduce --result=iwae_table1 --data_dir=DIR

As the paper has it (section 5): 784-200-200-50 and back with one stochastic layer, 784-200-200-100 and
100-100-100-50 with two (`two_layers`); tanh; first weights of Glorot and Bengio (2010); Adam with an
epsilon of 1e-4, batches of 20; the step is 1e-3 · 10^(-i/7) for 3^i passes, i = 0 to 7: 3,280 passes in all.
The first output bias is from the mean image, which the paper does not tell but the released code has, and
which explains a nat at K = 1. Stochastic binarisation, afresh at each visit; 60,000 training images, one
draw (seed 0) of the 10,000 test images.

`m` and `k`: the VAE with K samples is m = K, k = 1, the IWAE m = 1, k = K. The bound of every sample is by
sampling; nothing is in closed form.

The released code differs from its paper, and from this: a first-moment decay of 0.99, a second moment that
starts at 1, gradients summed over the batch, steps from 10 to 1 times 1e-4, no shuffling, 59,600 images, a head
whose exponential is the deviation, and heads that start equal. Active units are told of the test images
here, of 500 training images there. The validation split is of test images: nothing is chosen by it.
"""

import functools

from flax import linen as nn

from aevae import InputError, config, data, models, networks, objectives, optim

PASSES = (1, 4, 13, 40, 121, 364, 1093)  # after which the step shrinks
STEPS = 3000  # in a pass


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
    return config.Config(
        model=model,
        objective=functools.partial(objectives.miwae, m=1, k=1),
        hparams={"lr": 1e-3, "shrink": 10 ** (-1 / 7)},
        optimizer=functools.partial(optim.adam, eps=1e-4),
        schedule=functools.partial(
            optim.stages, ends=tuple(STEPS * n for n in PASSES), factor="shrink"
        ),
        binarization=data.stochastic,
        dataset="mnist",
        train="train",
        validation="test[:1000]",
        test="test",
        batch=20,
        epochs=4,
        grid=[{"m": (1, 5, 50), "k": 1}, {"m": 1, "k": (5, 50)}],
    )
