"""Laws: problems whose answers are known, and what the package makes of them."""

from experiments.laws import estimates, gradients, linear
from experiments.laws.law import Law

__all__ = ["ALL", "Law", "estimates", "gradients", "linear"]

ALL = {  # by their numbers; `gaussian` is that set, and the others need no data
    1: ("the linear VAE is probabilistic PCA", linear.likelihood),
    2: ("the linear beta-VAE is reverse water-filling", linear.water_filling),
    3: ("the linear autoencoder is PCA", linear.reconstruction),
    4: ("bounds, annealing, and chi²/(2K)", estimates.bounds),
    5: (
        "exact posteriors have log-weights without variance",
        gradients.exact_posterior,
    ),
    6: ("signal to noise of gradients", gradients.signal_to_noise),
    7: ("what disentanglement metrics can reach", estimates.ceilings),
    8: ("the parts of the rate", estimates.information),
}
WITH_DATA = (1, 2, 3)
