"""HEADER"""

from aevae import config, data, distributions, models, objectives, train


def get_config():
    return config.Config(
        model=models.VAE(
            latent=30,
            encoder=models.MLPEncoder((500,)),
            decoder=models.MLPDecoder((500,)),
            likelihood=distributions.gaussian,
        ),
        objective=objectives.autoencoder,
        hparams={"sigma": 0.5**0.5, "lr": 1e-3},
        optimizer=train.adam,
        schedule=train.constant,
        binarization=data.none,
        dataset="mnist",
        train="train[:50000]",
        validation="train[50000:]",
        test="test",
        batch=100,
        epochs=10,
        grid={"latent": (2, 5, 10, 30), "seed": (0, 1)},
    )
