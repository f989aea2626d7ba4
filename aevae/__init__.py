"""Autoencoders and variational autoencoders in JAX: pure functions, swept many at a time.

The way of a batch, from config to figure:

    config/run.py               declares one run
    config/grid.py              expands the grid, and groups the runs that share one program
    data/dataset.py             loads its data set, and binarizes or standardizes it
    training/feed.py            brings training rows to the devices, in the order of (seed, epoch)
    training/step.py            takes a step on a batch: the objective's gradient, the optimizer's update
    objectives.py               computes the loss of a batch: the ELBO's terms of a `Draw`
    models/vae.py               encodes, draws and decodes the batch, which gives that `Draw`
    training/population.py      does so for all runs of a group, in one program
    runs/study.py               saves what is trained into a run folder, and writes its tables
    figures/draw.py             draws what is in the folder; figures/report writes a page of it

Letters in names and docstrings: B batch, H W C image height, width and channels,
F features, Z latents, K importance samples, M members of a group (runs trained together),
N examples, T steps of an epoch, S seeds, E epochs.

Units everywhere: nats, summed over pixels and latents, averaged over examples.
"""

from aevae.system.errors import InputError, Interrupted, OutOfMemory, WriteError

__all__ = ["InputError", "Interrupted", "OutOfMemory", "WriteError"]
__version__ = "0.3.0"
