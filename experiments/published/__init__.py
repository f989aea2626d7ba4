"""Published results by name: what `experiments.reproduce` trains and compares with a paper.

Each file trains the results of one paper or family; `job` has what they share. `reference/` holds the
papers' numbers, `found/` ours: NAME.json and its figure, and NAME.md on what differs, where anything is
to be said.
"""

from fractions import Fraction

from experiments.published import (
    aevb,
    deep,
    disentangle,
    iwae,
    priors,
    readings,
    theory,
)
from experiments.published.job import Fact, Job, Outcome, Part, Result, Row

__all__ = ["ALL", "Fact", "Job", "Outcome", "Part", "Result", "Row"]

ALL = {
    "aevb_figure2": Result(
        title="lower bound against images seen, 5 latent sizes: Kingma and Welling (2014), figure 2",
        run=aevb.figure2,
        pixels="real-valued pixels",
        budget=30.0,
    ),
    "aevb_readings": Result(
        title="3 latents, what the paper leaves open read otherwise: Kingma and Welling (2014), figure 2",
        run=readings.readings,
        pixels="real-valued pixels, or binarized, as each row says",
        budget=None,
        share=Fraction(1, 10),
        points=readings.POINTS,
    ),
    "aevb_figure3": Result(
        title="marginal likelihood by training set size: Kingma and Welling (2014), figure 3",
        run=aevb.figure3,
        pixels="real-valued pixels",
        budget=8.0,
    ),
    "iwae_table1": Result(
        title="VAE and IWAE at K = 1, 5, 50: Burda et al. (2016), table 1",
        run=iwae.table1,
        pixels="stochastic binarization",
        budget=None,
        share=Fraction(1, 40),
        points=tuple(iwae.POINTS),
    ),
    "deep_autoencoder": Result(
        title="784-1000-500-250-30: Hinton and Salakhutdinov (2006), figure 2",
        run=deep.autoencoder,
        pixels="real-valued pixels",
        budget=15.0,
    ),
    "ppca": Result(
        title="the linear VAE is probabilistic PCA: Tipping and Bishop (1999)",
        run=theory.ppca,
        pixels="real-valued pixels",
        budget=0.0,
    ),
    "priors": Result(
        title="standard prior and VampPrior: Tomczak and Welling (2018), table 1; flax's example",
        run=priors.table1,
        pixels="dynamic (stochastic) or static binarization, as each row says",
        budget=None,
        share=Fraction(1, 10),
        points=tuple(priors.POINTS),
    ),
    "frontier": Result(
        title="rate and distortion of a beta sweep: Alemi et al. (2018), beside the exact linear one",
        run=theory.frontier,
        pixels="VAEs: stochastic binarization; linear beta-VAEs: real-valued pixels",
        budget=10.0,
    ),
    "gradients": Result(
        title="signal-to-noise ratio of gradients against K: Rainforth et al. (2018)",
        run=theory.gradients,
        pixels="no images",
        budget=0.0,
    ),
    "disentanglement": Result(
        title="six methods on sprites, all metrics: after Locatello et al. (2019)",
        run=disentangle.family,
        pixels="binary pixels",
        budget=12.0,
    ),
    "disentanglement_best": Result(
        title="VAE, beta-VAE and beta-TCVAE on sprites at their best strength: after Locatello et al. (2019)",
        run=disentangle.best,
        pixels="binary pixels",
        budget=None,
        share=Fraction(1, 40),
        points=tuple(disentangle.BEST),
    ),
}
