"""What a method does not claim, by the name of the check, and why.

Everything else is claimed. An objective of a fork says so by an attribute of its own:

    def mine(model, params, batch, key, hp): ...
    mine.disclaims = {"batch-size": "its penalty is between the examples of a batch"}

Here is what the package's own objectives do not claim. What follows from what a method is (no bound
without a rate, no sampled rate of a code without noise) needs no declaration: the check finds it.
"""

from aevae import objectives

BETWEEN = "{} is estimated between the examples of a batch"
BATCH = "examples", "batch-size"


def _between(what, *checks):
    return dict.fromkeys(checks or BATCH, BETWEEN.format(what))


JUMPS = "the Jacobian of ReLUs jumps, which its derivative does not see"
STRAIGHT = "the gradient passes the rounding of the code straight through"
OF_PACKAGE = {
    objectives.denoising: {
        "distortion": "it is at the code of an image with noise, which the objective draws"
    },
    objectives.contractive: {"gradient": JUMPS},
    objectives.rae_gp: {"gradient": JUMPS},
    objectives.sparse_kl: _between("the mean activation", "batch-size"),
    objectives.optimal_sigma_vae: {
        "gradient": "it is that at the batch's own sigma, and moves sigma by its average"
    },
    objectives.capacity_vae: {
        "batch-size": "the distance from the capacity is that of the mean over the batch",
        "collapse": "the rate is drawn to the capacity, whatever the weight",
    },
    objectives.beta_tcvae: _between("the total correlation")
    | {"collapse": "beta weighs the total correlation alone"},
    objectives.dip_vae: _between("the covariance", "batch-size"),
    objectives.info_vae: _between("the discrepancy"),
    objectives.wae_mmd: _between("the discrepancy"),
    objectives.factor_vae: _between("the total correlation")
    | {"gradient": "the discriminator's parameters have a loss of their own"},
    objectives.vq_vae: {
        "beta-1": "the rate is fixed, and the codebook has terms of its own",
        "gradient": STRAIGHT,
    },
    objectives.fsq_vae: {
        "beta-1": "the rate is fixed, and no part of the loss",
        "gradient": STRAIGHT,
    },
    objectives.stl: {"gradient": "it is biased for K > 1: Tucker et al. (2019)"},
}
FREE = {
    "batch-size": "free bits bound the mean over the batch",
    "collapse": "a rate below its free bits has no weight",
}


def disclaimed(config):
    """What a config's objective does not claim, {check: why}."""
    function = getattr(config.objective, "func", config.objective)
    found = dict(OF_PACKAGE.get(function, {}))
    if getattr(config.objective, "keywords", {}).get("free"):
        found |= FREE
    for thing in (function, config.objective):
        found |= getattr(thing, "disclaims", {})
    return found
