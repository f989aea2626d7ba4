"""placeholder"""

from aevae import config, data, models, objectives, train


def get_config():
    return config.Config(
        model=models.VAE(
            latent=8,
            encoder=models.MLPEncoder((64,)),
            decoder=models.MLPDecoder((64,)),
            output_bias=models.mean_logit,
        ),
        objective=objectives.beta_vae,
        hparams={"beta": 1.0, "lr": 3e-3},
        optimizer=train.adam,
        schedule=train.constant,
        binarization=data.stochastic,
        dataset="digits",
        batch=100,
        epochs=200,
        grid={"latent": (1, 2, 4, 8), "beta": (0.25, 0.5, 1.0, 2.0), "seed": (0, 1, 2)},
    )
