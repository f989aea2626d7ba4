"""Published results, each by its name: what `experiments.reproduce` trains and compares."""

from experiments.published import aevb, deep, disentangle, iwae, priors, theory
from experiments.published.job import Fact, Job, Outcome, Result, Row

__all__ = ["ALL", "Fact", "Job", "Outcome", "Result", "Row"]

ALL = {
    "aevb_figure2": Result(
        "lower bound against images seen, 5 latent sizes: Kingma and Welling (2014), figure 2",
        *(aevb.figure2, 30.0, "mnist"),
    ),
    "aevb_figure3": Result(
        "marginal likelihood by training set: Kingma and Welling (2014), figure 3",
        *(aevb.figure3, 8.0, "mnist"),
    ),
    "iwae_table1": Result(
        "VAE and IWAE at K = 1, 5, 50: Burda et al. (2016), table 1",
        *(iwae.table1, 20.0, "mnist"),
    ),
    "deep_autoencoder": Result(
        "784-1000-500-250-30: Hinton and Salakhutdinov (2006), figure 2",
        *(deep.autoencoder, 10.0, "mnist"),
    ),
    "ppca": Result(
        "the linear VAE is probabilistic PCA: Tipping and Bishop (1999)",
        *(theory.ppca, 0.0, "mnist"),
    ),
    "priors": Result(
        "standard prior and VampPrior: Tomczak and Welling (2018), table 1; flax's example",
        *(priors.table1, 12.0, "mnist"),
    ),
    "frontier": Result(
        "rate and distortion of a beta sweep: Alemi et al. (2018), beside the exact linear one",
        *(theory.frontier, 10.0, "mnist"),
    ),
    "gradients": Result(
        "gradients' signal to noise against K: Rainforth et al. (2018)",
        *(theory.gradients, 0.0, None),
    ),
    "disentanglement": Result(
        "six methods on sprites, all metrics: after Locatello et al. (2019)",
        *(disentangle.family, 12.0, None),
    ),
}
