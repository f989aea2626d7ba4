"""Autoencoders on real-valued MNIST (pixels in [0, 1]), by latent size.

784-500-latent-500-784 under a Gaussian of sigma 1/sqrt(2), whose distortion is the squared
error plus a constant.

    python -m experiments.sweep --config=configs/mnist_ae.py --data_dir=DIR

Measured on two cores of an Intel Xeon, Python 3.11, jax 0.10.2, flax 0.12.8, 10 epochs of
train[:50000], mean of seeds 0 and 1: squared error on the test split, summed over pixels, 34.2, 21.3,
14.5, 7.6 with 2, 5, 10, 30 latents; 147 s of training in all, compilation included. Principal
components leave 13.87 at 30 (Hinton and Salakhutdinov, 2006, figure 2).
"""

from aevae import config, data, models, networks, objectives, optim


def get_config():
    return config.Config(
        model=models.VAE(
            latent=30,
            encoder=networks.MLPEncoder((500,)),
            decoder=networks.MLPDecoder((500,)),
            likelihood=models.gaussian,
        ),
        objective=objectives.autoencoder,
        hparams={"sigma": 0.5**0.5, "lr": 1e-3},
        optimizer=optim.adam,
        schedule=optim.constant,
        binarization=data.none,
        dataset="mnist",
        train="train[:50000]",
        validation="train[50000:]",
        test="test",
        batch=100,
        epochs=10,
        grid={"latent": (2, 5, 10, 30), "seed": (0, 1)},
    )
