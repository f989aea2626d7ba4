"""Beta-VAEs on stochastically binarized MNIST: 784-500-latent-500-784, latent size x beta.

The objective of Higgins et al. (2017), on the network of `mnist_vae.py`.

    python -m experiments.sweep --config=configs/mnist_beta.py --data_dir=DIR

Measured on two cores of an AMD EPYC (seconds: of an Intel Xeon), Python 3.11, jax 0.10.2, flax
0.12.8, seed 0, 10 epochs of train[:50000]: with 10 latents test rates of 23.2, 18.6, 14.3, 9.2 nats
for beta = 0.5, 1, 2, 4 and ELBOs of -110.33, -109.53, -112.04, -122.60; 170 s of training for the 8
runs, compilation included.
"""

from aevae import config, data, models, networks, objectives, optim


def get_config():
    return config.Config(
        model=models.VAE(
            latent=10,
            encoder=networks.MLPEncoder((500,)),
            decoder=networks.MLPDecoder((500,)),
        ),
        objective=objectives.beta_vae,
        hparams={"beta": 1.0, "lr": 1e-3},
        optimizer=optim.adam,
        schedule=optim.constant,
        binarization=data.stochastic,
        dataset="mnist",
        train="train[:50000]",
        validation="train[50000:]",
        test="test",
        batch=100,
        epochs=10,
        grid={"latent": (2, 10), "beta": (0.5, 1.0, 2.0, 4.0)},
    )
