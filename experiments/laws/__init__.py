"""Laws: small problems whose answers are known, trained or solved for with the package.

`linear` has those of linear autoencoders and VAEs, `gradients` those of gradient estimators, and
`estimates` those of bounds, metrics and the parts of the rate; `law` is what a law is.
"""

from experiments.laws import estimates, gradients, linear
from experiments.laws.law import Law

__all__ = ["ALL", "Law", "estimates", "gradients", "linear"]

ALL = {  # by number; those in WITH_DATA take the set `gaussian`, the others no data
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
