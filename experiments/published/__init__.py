"""Published results, each by its name: what `experiments.reproduce` trains and compares."""

from experiments.published import aevb, deep, disentangle, iwae, priors, theory
from experiments.published.job import Fact, Job, Outcome, Part, Result, Row

__all__ = ["ALL", "Fact", "Job", "Outcome", "Part", "Result", "Row"]

ALL = {
    "aevb_figure2": Result(
        title="lower bound against images seen, 5 latent sizes: Kingma and Welling (2014), figure 2",
        run=aevb.figure2,
        budget=30.0,
    ),
    "aevb_figure3": Result(
        title="marginal likelihood by training set: Kingma and Welling (2014), figure 3",
        run=aevb.figure3,
        budget=8.0,
    ),
    "iwae_table1": Result(
        title="VAE and IWAE at K = 1, 5, 50: Burda et al. (2016), table 1",
        run=iwae.table1,
        budget=18.0,
    ),
    "deep_autoencoder": Result(
        title="784-1000-500-250-30: Hinton and Salakhutdinov (2006), figure 2",
        run=deep.autoencoder,
        budget=10.0,
    ),
    "ppca": Result(
        title="the linear VAE is probabilistic PCA: Tipping and Bishop (1999)",
        run=theory.ppca,
        budget=0.0,
    ),
    "priors": Result(
        title="standard prior and VampPrior: Tomczak and Welling (2018), table 1; flax's example",
        run=priors.table1,
        budget=12.0,
    ),
    "frontier": Result(
        title="rate and distortion of a beta sweep: Alemi et al. (2018), beside the exact linear one",
        run=theory.frontier,
        budget=10.0,
    ),
    "gradients": Result(
        title="gradients' signal to noise against K: Rainforth et al. (2018)",
        run=theory.gradients,
        budget=0.0,
    ),
    "disentanglement": Result(
        title="six methods on sprites, all metrics: after Locatello et al. (2019)",
        run=disentangle.family,
        budget=12.0,
    ),
}
