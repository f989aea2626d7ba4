"""HEADER"""

import functools

from flax import linen as nn

from aevae import config, data, models, objectives, train


def get_config():
    return config.Config(
        model=models.VAE(
            latent=50,
            encoder=models.MLPEncoder((200, 200), nn.tanh),
            decoder=models.MLPDecoder((200, 200), nn.tanh),
            output_bias=models.mean_logit,
        ),
        objective=functools.partial(objectives.iwae, k=5),
        hparams={"lr": 1e-3},
        optimizer=train.adam,
        schedule=train.constant,
        binarization=data.stochastic,
        dataset="mnist",
        train="train[:50000]",
        validation="train[50000:]",
        test="test",
        batch=20,
        epochs=5,
        grid={"k": (1, 5, 50)},
    )
