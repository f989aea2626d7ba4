"""Disentanglement of the trained runs of a folder: scores beside what they can reach, and UDR."""

import functools
from typing import Annotated

import numpy as np

from aevae import data
from aevae.config.lookup import find
from aevae.evaluation import scores
from aevae.evaluation.contract import (
    bound,
    factors,
    measure,
    moments,
    rates,
    several_seeds,
    vector,
)
from aevae.runs.progress import say

FACTORED = 50_000  # examples at most that disentanglement is measured on
EXACT = 1e-3  # standard deviation of a code without noise


def _chosen(value):
    """The scores that are named; all of the package's where none is."""
    how = "aevae.evaluation.scores.score"
    return find(value or scores.SCORES, scores.SCORES, "score", "score", how)


def _known(value, facts):
    """A check: names of scores, or module:function."""
    del facts
    _chosen(value)


@measure(factors, vector)
def disentanglement(
    work,
    *,
    metrics: Annotated[
        list,
        "disentanglement scores, by default all: some of "
        f"{', '.join(s.__name__ for s in scores.SCORES)}, or module:function",
        _known,
        _chosen,
    ] = (),
):
    """Measures disentanglement scores, and beside each its ceiling: that of a perfect code.

    Of the mean codes of the whole set, of 50,000 examples at most. See `scores` for each.
    """
    chosen = _chosen(metrics)
    whole = _whole(work)
    codes = work.encoded(whole, 5)
    best = ceilings(whole["factors"], codes["code"].shape[-1], chosen)
    for i, row in enumerate(work.group.rows):
        work.stop()
        std = None
        if row["elbo"] is not None and hasattr(codes.get("q"), "std"):
            std = np.asarray(codes["q"].std)[i]
        found = scored(codes["code"][i], std, whole["factors"], chosen)
        say(f"{work.name}: {i + 1} of {len(work.group.rows)} measured")
        yield found | {f"{name}_ceiling": value for name, value in best.items()}


@measure(
    *(bound, moments, rates, several_seeds),
    across=True,
    default=lambda facts: bool(facts.dataset.factors),
)
def udr(works):
    """Measures the unsupervised disentanglement ranking of each run among the seeds of its point.

    Duan et al. (2020): see `scores.udr`. Runs are compared that differ in their seed alone,
    wherever in the folder they lie; a run without such mates has none.
    """
    alike, found = {}, {}
    for work in works:
        codes = work.encoded(_whole(work), 5)
        mean, rate = np.asarray(codes["q"].mean), codes["rate"].mean(1)
        for i, (number, run) in enumerate(zip(work.group.numbers, work.group.runs)):
            mates = alike.setdefault(point(run), [])
            mates.append((number, mean[i], rate[i]))
    for mates in alike.values():
        if len(mates) > 1:
            numbers, means, of_latents = zip(*mates)
            found |= dict(zip(numbers, scores.udr(means, of_latents)))
    for work in works:
        for number in work.group.numbers:
            yield {"udr": found[number]} if number in found else {}


def point(run):
    """What is equal in runs that differ in their seed alone."""
    return tuple(
        item for item in run.facts.items() if item[0] not in ("seed", "epochs")
    )


def _whole(work):
    """All splits of the set as one, of 50,000 examples at most."""
    ends = np.cumsum([len(split["image"]) for split in work.dataset.parts.values()])
    if ends[-1] <= FACTORED:
        parts = [work.held(part) for part in data.PARTS]
    else:  # those rows alone: the set may be large
        some = np.sort(np.random.default_rng(0).permutation(ends[-1])[:FACTORED])
        given = zip(data.PARTS, np.split(some, np.searchsorted(some, ends[:-1])))
        of = functools.partial(data.held_out, work.config.binarization, work.dataset)
        parts = [
            of(part, rows - first) for (part, rows), first in zip(given, [0, *ends])
        ]
    return {n: np.concatenate([p[n] for p in parts]) for n in parts[0]}


def scored(mean, std, factors, chosen=scores.SCORES):
    """Every score by the name of its column; without `std`, none of those that need it."""
    found = {}
    for score in chosen:
        if score.score["noise"] and std is None:
            continue
        given = (mean, std, factors) if score.score["noise"] else (mean, factors)
        value = score(*given)
        found |= value if isinstance(value, dict) else {score.__name__: value}
    return found


def ceilings(factors, latent, chosen=scores.SCORES):
    """What scores say of a perfect code of so many latents: what each can reach.

    Each factor has a latent that is its value, standardized, without noise; the latents beyond are
    the prior whatever the image. {} where there are fewer latents than factors.
    """
    factors = scores.varied(factors)
    count, size = factors.shape
    if latent < size:
        return {}
    mean, std = np.zeros((count, latent)), np.ones((count, latent))
    mean[:, :size] = (factors - factors.mean(0)) / factors.std(0)
    std[:, :size] = EXACT
    return scored(mean, std, factors, chosen)
