"""Beta-VAEs on sprites: five known factors, ten latents, swept over beta.

The objective of Higgins et al. (2017); 1024-256-256-10-256-256-1024. Stochastic binarization: a
pixel at the edge of a shape is 1 with a probability equal to the share that the shape covers.

    python -m experiments.sweep --config=configs/sprites.py

Measured on two cores of an AMD EPYC (seconds: of an Intel Xeon), Python 3.11, jax 0.10.2, flax
0.12.8, mean of seeds 0 and 1, 20 epochs: for beta = 1, 2, 4 test ELBOs at beta = 1 of -39.56,
-40.29, -46.50 nats, rates of 14.3, 10.1, 7.0, and 8, 6.5, 4 active latents; 143 s of training,
compilation included. The set is prepared in 13 s the first time.
"""

from aevae import config, data, models, networks, objectives, optim


def get_config():
    return config.Config(
        model=models.VAE(
            latent=10,
            encoder=networks.MLPEncoder((256, 256)),
            decoder=networks.MLPDecoder((256, 256)),
            output_bias=models.mean_logit,
        ),
        objective=objectives.beta_vae,
        hparams={"beta": 1.0, "lr": 1e-3},
        optimizer=optim.adam,
        schedule=optim.constant,
        binarization=data.stochastic,
        dataset="sprites",
        batch=100,
        epochs=20,
        grid={"beta": (1.0, 2.0, 4.0), "seed": (0, 1)},
    )
