"""Importance-weighted autoencoders on stochastically binarized MNIST, K = 1, 5, 50.

The one-layer network of Burda et al. (2016), section 5: 784-200-200-50-200-200-784, tanh,
initialization of Glorot and Bengio (2010), batches of 20, output bias from the mean image. The schedule
is not theirs: Adam at a constant learning rate of 1e-3 for 5 epochs, where theirs has 3,280.

    python -m experiments.sweep --config=configs/mnist_iwae.py --data_dir=DIR

Measured on two cores of an AMD EPYC (seconds: of an Intel Xeon), Python 3.11, jax 0.10.2, flax
0.12.8, seed 0, train[:50000]: 64-sample bound on the test split -102.46, -101.40, -101.57 nats for
K = 1, 5, 50: after so few epochs K = 50 is not yet ahead. 167 s of training in all, compilation
included.
"""

import functools

from flax import linen as nn

from aevae import config, data, models, networks, objectives, optim


def get_config():
    return config.Config(
        model=models.VAE(
            latent=50,
            encoder=networks.MLPEncoder((200, 200), nn.tanh, networks.glorot_uniform),
            decoder=networks.MLPDecoder((200, 200), nn.tanh, networks.glorot_uniform),
            output_bias=models.mean_logit,
            kernel=networks.glorot_uniform,
        ),
        objective=functools.partial(objectives.iwae, k=5),
        hparams={"lr": 1e-3},
        optimizer=optim.adam,
        schedule=optim.constant,
        binarization=data.stochastic,
        dataset="mnist",
        train="train[:50000]",
        validation="train[50000:]",
        test="test",
        batch=20,
        epochs=5,
        grid={"k": (1, 5, 50)},
    )
