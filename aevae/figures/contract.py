"""What a figure is: a function that carries what it looks at, what it needs, and its files' names.

    @contract.of_runs(contract.VECTORS)
    def code_norms(views):
        ...
        return figure

A figure of the folder's tables takes `Tables`; a figure of trained runs takes a list of
`views.View`, the best run of each latent size. Either returns a matplotlib Figure, which is saved
under the function's name, or {name: Figure}. `experiments.figures --figures=module:function` draws
one that is not in the package.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from aevae import InputError
from aevae.config import lookup
from aevae.figures import strips


class Need(NamedTuple):
    """A condition without which a figure has no meaning, and the sentence that is said then."""

    met: Callable  # of Tables or a View
    otherwise: str


class Contract(NamedTuple):
    """What a figure carries as its attribute `contract`."""

    looks_at: str  # "tables" or "runs"
    needs: tuple[Need, ...]
    files: Callable  # of the columns that tell runs apart: all names that it may be saved under


class Tables(NamedTuple):
    """What a figure of tables looks at; of long texts, such as paths, rows have a short label."""

    results: list  # rows of results.csv
    curves: list  # rows of curves.csv
    axes: list  # the columns that were swept, but for the seed
    latents: list = ()  # rows of latents.csv
    frontier: tuple | list = ()  # rows of frontier.csv, if there is one

    @property
    def measure(self):
        """What a run is judged by: "elbo", or "distortion" where no run has a bound."""
        return "elbo" if self.bounded else "distortion"

    @property
    def bounded(self):
        """The rows of results.csv of runs that have a bound."""
        return [row for row in self.results if row["elbo"] is not None]

    @property
    def sound(self):
        """The rows of results.csv of runs that have not diverged."""
        return [row for row in self.results if row["diverged"] is None]


def of_tables(*needs, files=None):
    """Makes a function of `Tables` a figure; it is left out where one of its needs is not met.

    Args:
      needs: each a `Need` of the tables.
      files: where it gives {name: Figure}: a function of the columns that tell runs apart that
        gives all names there may ever be, so that those that no longer apply are removed.
    """
    return _carrying("tables", needs, files)


def of_runs(*needs, files=None):
    """Makes a function of views a figure; it gets those of which all needs are met.

    It is left out where there is no such view.

    Args:
      needs: each a `Need` of a view, as those below.
      files: as in `of_tables`.
    """
    return _carrying("runs", needs, files)


def _carrying(looks_at, needs, files):
    def carry(function):
        own = files or (lambda columns: (function.__name__,))
        function.contract = Contract(looks_at, needs, own)
        return function

    return carry


def missing(needs, seen):
    """Gives the sentence of the first need that is not met by tables or a view; None if all are."""
    return next((need.otherwise for need in needs if not need.met(seen)), None)


def find(names, known, columns):
    """Finds figures by name, as `config.lookup.find`.

    Raises an InputError also for one whose files are a known figure's.
    """
    how = "aevae.figures.contract.of_runs or of_tables"
    found = lookup.find(names, known, "figure", "contract", how)
    taken = {file for other in known for file in other.contract.files(columns)}
    for function in found:
        clash = taken.intersection(function.contract.files(columns))
        if clash and function not in known:
            raise InputError(
                f"{function.__name__} would be saved as {', '.join(clash)}, as a figure of aevae "
                "is: rename the function"
            )
    return found


# Needs of tables.
BOUNDED = Need(
    lambda tables: bool(tables.bounded),
    "no run has a bound: autoencoders have no rate",
)
FRONTIER = Need(
    lambda tables: bool(tables.frontier),
    "there is no frontier.csv: experiments.evaluate --measures=frontier measures multi-rate runs",
)
TWO_AXES = Need(
    lambda tables: len(tables.axes) > 1,
    "fewer than two values were swept, beside the seed",
)
SOUND = Need(
    lambda tables: any(row[tables.measure] is not None for row in tables.sound),
    "all runs diverged",
)
GAPS = Need(
    lambda tables: any(row.get("inference_gap") is not None for row in tables.results),
    "experiments.evaluate --measures=inference_gap has not measured it",
)
BETAS = Need(
    lambda tables: "beta" in tables.axes,
    "one value of beta was swept",
)
LATENT_RATES = Need(
    lambda tables: any(row.get("rate") is not None for row in tables.latents),
    "experiments.evaluate --measures=collapse has not measured it",
)

# Needs of views.
BOUND = Need(
    lambda view: view.run.row["elbo"] is not None,
    "the model is an autoencoder: it has no bound, no rate, and no prior that it was trained with",
)
SAMPLED = Need(
    lambda view: BOUND.met(view) or bool(view.fitted),
    f"{BOUND.otherwise}; experiments.prior fits one to its codes",
)
VECTORS = Need(
    lambda view: view.code is not None,
    "codes are not a vector of real numbers each",
)
RATES = Need(
    lambda view: view.rates is not None,
    "the rate of each latent has no closed form: "
    "the posterior has no method kl_each, or it gives None for this prior",
)
SCALE = Need(
    lambda view: hasattr(view.prior, "mean") and hasattr(view.prior, "std"),
    "the prior has no mean and std",
)
QUANTILE = Need(
    lambda view: hasattr(view.prior, "quantile"),
    "the prior has no method quantile",
)
TWO_LATENTS = Need(
    lambda view: np.shape(view.code)[1:] == (2,),
    "the model has not two latents",
)
TWO_EXAMPLES = Need(
    lambda view: len(view.run.examples["image"]) > 1,
    "the folder keeps fewer than two test examples",
)
IMAGES = Need(
    lambda view: strips.is_image(view.run.examples["image"]),
    "the data are not images of one or three channels",
)
TEST_DATA = Need(
    lambda view: view.held,
    "the runs' test data are not at hand: data_dir (--data_dir) says where sets are prepared, and "
    "dataset (--dataset) where a file or folder that moved is",
)
OF_TEST_DATA = {
    RATES,
    TEST_DATA,
}  # the needs of what is drawn of all test examples at hand
