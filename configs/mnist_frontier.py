"""The rate-distortion frontier: beta-VAEs on stochastically binarized MNIST, beta 0.1 to 16.

The one-layer network of Burda et al. (2016), 784-200-200-50-200-200-784, tanh, Glorot
initialization, output bias from the mean image; the objective of Higgins et al. (2017). Adam at a constant
learning rate of 1e-3, batches of 100, 20 epochs.

    python -m experiments.sweep --config=configs/mnist_frontier.py --data_dir=DIR
    python -m experiments.frontier --workdir=runs/mnist_frontier

Measured on two cores of an AMD EPYC (seconds: of an Intel Xeon), Python 3.11, jax 0.10.2, flax
0.12.8, train[:50000]: for beta = 0.1, 0.25, 0.5, 1, 2, 4, 8, 16 test rates of 88.1, 56.7, 38.5,
25.1, 15.4, 8.8, 4.6, 1.2 nats and ELBOs of -137.9, -114.5, -104.5, -101.7, -106.1, -119.8, -141.0,
-182.1, mean of seeds 0, 1, 2. 24 runs, 561 s of training, compilation included.
"""

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
        epochs=20,
        grid={"beta": (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0), "seed": (0, 1, 2)},
    )
