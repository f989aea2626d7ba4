"""HEADER"""

from aevae import config, data, models, objectives, train


def get_config():
    return config.Config(
        model=models.VAE(
            latent=10,
            encoder=models.MLPEncoder((500,)),
            decoder=models.MLPDecoder((500,)),
        ),
        objective=objectives.beta_vae,
        hparams={"beta": 1.0, "lr": 1e-3},
        optimizer=train.adam,
        schedule=train.constant,
        binarization=data.stochastic,
        dataset="mnist",
        train="train[:50000]",
        validation="train[50000:]",
        test="test",
        batch=100,
        epochs=10,
        grid={"latent": (2, 5, 10, 20), "beta": (0.5, 1.0, 2.0, 4.0)},
    )
