"""The main job: beta-VAEs on real 8x8 digits, latent size x beta x seed.

64-64-latent-64-64, with beta as in Higgins et al. (2017); stochastic binarization, a fresh sample at
each visit.

    python -m experiments.sweep

Measured on two cores of an AMD EPYC, Python 3.11, jax 0.10.2, flax 0.12.8: 48 runs in 36 s with
nothing cached, and in 19 s again. Test ELBO at beta = 1, mean of seeds 0, 1, 2: -25.43,
-24.26, -23.19, -23.11 nats with 1, 2, 4, 8 latents.
"""

from aevae import config, data, models, networks, objectives, optim


def get_config():
    return config.Config(
        model=models.VAE(
            latent=8,
            encoder=networks.MLPEncoder((64,)),
            decoder=networks.MLPDecoder((64,)),
            output_bias=models.mean_logit,
        ),
        objective=objectives.beta_vae,
        hparams={"beta": 1.0, "lr": 3e-3},
        optimizer=optim.adam,
        schedule=optim.constant,
        binarization=data.stochastic,
        dataset="digits",
        batch=100,
        epochs=200,
        grid={"latent": (1, 2, 4, 8), "beta": (0.25, 0.5, 1.0, 2.0), "seed": (0, 1, 2)},
    )
