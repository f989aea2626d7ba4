"""Generation, measured without a pretrained network: what is decoded from each prior, against test data.

For every prior of a run, its own, N(0, I) or one that `second_stage` fitted, as many codes are drawn
as test examples are compared, and decoded. The mean images are compared with the test images before
any binarization, or samples x ~ p(x|z) with test images as they are binarized, in features that the
data set itself gives; data that a run standardizes are compared as it has them. As many training
images stand in the row `train`: what a perfect model reaches at these numbers.
"""

import functools
from typing import Annotated

import jax
import numpy as np

from aevae import InputError, data
from aevae.evaluation import contract, features, neighbors, two_sample
from aevae.evaluation.contract import Found, at_least, measure, of_priors
from aevae.evaluation.representation import FITTED, Pixels
from aevae.evaluation.work import standard_error
from aevae.models.distributions import Normal, is_standard
from aevae.runs import fitted
from aevae.runs.progress import say

SAMPLES = 2000
IMAGES = "mean", "sample"
COLUMNS = (
    *("density", "coverage", "precision", "recall", "mmd", "two_sample"),
    *("frechet_pca", "frechet_classifier", "nearest", "nearest_ratio"),
)
BLOCK = 500  # codes that are decoded at a time
NOT_FITTED = fitted.OWN, fitted.STANDARD


def _named(value, facts):
    """A check: names of priors; of those that are not fitted, those that the runs can have."""
    if not all(isinstance(name, str) for name in value):
        return "must be names of priors"
    if fitted.OWN in value and not facts.bounded:
        return f"must not have {fitted.OWN}: the objective trains no prior"
    fault = contract.vector(facts) or contract.continuous(facts)
    if fitted.STANDARD in value and fault:
        return f"must not have {fitted.STANDARD}: {fault}"
    return None


def _neighbors(value, facts):
    """A check: a whole number that is below the number of examples that are compared."""
    if type(value) is not int or value < 1:
        return "must be a whole number of at least 1"
    most = _count(facts, SAMPLES)
    if value < most:
        return None
    return (
        f"must be below the {most} examples of {facts.dataset.name} that are compared, the least of "
        "the test examples and half of the training examples"
    )


def _count(facts, samples):
    """How many examples are compared: of test, and of training half at most, which leaves a bank."""
    train, test = (len(getattr(facts.dataset, p)["image"]) for p in ("train", "test"))
    return min(samples, test, train // 2)


def _image(value, facts):
    """A check: one of the two kinds of images."""
    del facts
    return None if value in IMAGES else f"must be {' or '.join(IMAGES)}"


def _reads(workdir, number, options):
    """The fitted priors that are named, or all, by the digests of their arrays."""
    if options["neighbors"] >= options["samples"]:
        raise InputError(
            f"neighbors must be below the {options['samples']} samples, not {options['neighbors']}"
        )
    named = options["priors"] or fitted.names(workdir, number)
    named = [name for name in named if name not in NOT_FITTED]
    return {name: fitted.digest(workdir, number, name) for name in named}


@measure(default=lambda facts: False, reads=_reads)
def generation(
    work,
    *,
    priors: Annotated[
        list,
        "priors that codes are drawn from: own, standard (N(0, I)), or fitted ones; by default all there are",
        _named,
    ] = (),
    samples: Annotated[
        int, "images of each prior, if there are as many test images", at_least(8)
    ] = SAMPLES,
    neighbors: Annotated[
        int, "k of density, coverage, precision and recall", _neighbors
    ] = two_sample.NEIGHBORS,
    image: Annotated[
        str, "what a code is decoded to, mean or sample: x ~ p(x|z)", _image
    ] = "mean",
):
    """Measures what is generated from each prior: see `two_sample`; with standard errors.

    On the first principal components (of the training images, 32 at most) density, coverage,
    precision, recall, mmd, two_sample (the accuracy of a classifier, ½ at best) and frechet_pca; on
    the features of a classifier of labels or factors, where there are any, frechet_classifier; on
    the images nearest, the mean distance to the nearest training image, and nearest_ratio, that
    over the same of test images: below 1 are copies.
    """
    count = _count(work.facts, samples)
    is_mean = image == "mean"
    compared = Compared(work, count, neighbors, is_mean)
    reference = compared.row(compared.train)
    todo = [
        (i, named)
        for i, number in enumerate(work.group.numbers)
        for named in _priors(work, i, number, priors)
    ]
    rows = {i: {fitted.REFERENCE: reference} for i in range(len(work.group.runs))}
    for i, (name, prior) in work.each(todo):
        images = _images(work, i, prior, count, is_mean)
        if np.isfinite(images).all():
            rows[i][name] = compared.row(images)
        else:
            say(f"run {work.group.numbers[i]}: images from {name} are not finite")
    for row in rows.values():
        yield Found(tables=of_priors(row))


def _priors(work, i, number, named):
    """Yields the priors of a run, (name, distribution)."""
    facts, workdir = work.facts, work.workdir
    apply = functools.partial(work.config.model.apply, method="prior")
    own = jax.jit(apply)(work.group.states[i][0], {})
    if not named:
        fault = contract.vector(facts) or contract.continuous(facts)
        named = [] if fault else [fitted.STANDARD]
        is_own = facts.bounded and not is_standard(own)
        named = [*named, *[fitted.OWN] * is_own, *fitted.names(workdir, number)]
    for name in named:
        if name == fitted.OWN:
            yield name, own
        elif name == fitted.STANDARD:
            yield name, Normal(*np.zeros((2, 1, facts.latents), np.float32))
        else:
            yield name, fitted.load(workdir, number, name)


def _images(work, i, prior, count, is_mean):
    """The images of `count` codes drawn from a prior and decoded by run i, [count, P].

    What the decoder reads beside the code, as labels, is that of the test examples.
    """
    (params, step), hp = work.group.states[i], work.group.runs[i].hparams
    model, beside = work.config.model, work.held("test")
    chosen = _chosen(len(beside["image"]), count)
    beside = {k: v[chosen] for k, v in beside.items() if k != "image"}
    z, key = _sample(prior, work.key(30), count), work.key(31)
    hp = work.config.schedule({k: np.float32(v) for k, v in hp.items()}, step)
    images = []
    for start in range(0, count, BLOCK):
        rows = slice(start, start + BLOCK)
        own = jax.tree.map(lambda v, rows=rows: v[rows], (z, beside))
        noise_key = None if is_mean else jax.random.fold_in(key, start)
        images.append(np.asarray(_decode(model, params, *own, hp, noise_key)))
    return np.concatenate(images).reshape(count, -1)


def _sample(prior, key, count):
    # Not every prior can be an argument of jit: those of functions cannot.
    return jax.jit(lambda key: prior.sample(key, count))(key)


@functools.partial(jax.jit, static_argnums=0)
def _decode(model, params, z, beside, hp, key):
    x = model.apply(params, z, beside, hp, method="decode")
    return x.mean if key is None else x.sample(key)


def _chosen(size, count, rest=0):
    """`count` and, where asked, `rest` other rows of `size`, in a fixed random order: data may be sorted."""
    order = np.random.default_rng(0).permutation(size)
    return order[:count] if not rest else (order[:count], order[count:][:rest])


class Compared:
    """The test images that are compared, and what is known of them before any others.

    Args:
      work: the `work.Work` of the measure.
      count: of test images, and of as many training images.
      k: neighbors of density, coverage, precision and recall.
      is_mean: whether images before binarization are compared, or binarized ones.
    """

    def __init__(self, work, count, k, is_mean):
        binarization = data.none if is_mean else work.config.binarization
        parts = ("train", "test")
        pixels = [Pixels(binarization, work.dataset, part) for part in parts]
        own, bank = _chosen(len(pixels[0]), count, FITTED)
        of = functools.partial(_rows, work.dataset.scaling)
        self.train, images = of(pixels[0], own), of(pixels[0], bank)
        test = of(pixels[1], _chosen(len(pixels[1]), count))
        self._bank = neighbors.Bank(images)
        self._nearest = self._bank.nearest(test).mean()
        self._components = features.components(images)
        self._real = two_sample.Real(self._components(test), k)
        self._activations = _classifier(work.dataset, images, bank)
        if self._activations:
            self._real_activations = two_sample.Real(self._activations(test), k)

    def row(self, images):
        """What is measured of images [count, P] against the test images, {column: value}."""
        found, x = {}, self._components(images)
        found |= two_sample.neighborhoods(self._real, x)
        found["mmd"] = two_sample.mmd(self._real, x)
        found["two_sample"] = two_sample.classifier_accuracy(self._real, x)
        found["frechet_pca"] = two_sample.frechet(self._real, x)
        if self._activations:
            x = self._activations(images)
            found["frechet_classifier"] = two_sample.frechet(self._real_activations, x)
        nearest = self._bank.nearest(images)
        found["nearest"] = two_sample.Estimate(nearest.mean(), standard_error(nearest))
        values = {"samples": len(images)}
        for name, (value, error) in found.items():
            values |= {name: value, f"{name}_error": error}
        return values | {"nearest_ratio": nearest.mean() / max(self._nearest, 1e-30)}


def _rows(scaling, pixels, rows):
    """Rows of images in their order, gone through by blocks; standardized as the model has them."""
    found = np.empty((len(rows), pixels.shape[1]), np.float32)
    for block in data.slices(pixels):
        places = np.flatnonzero((rows >= block.start) & (rows < block.stop))
        if len(places):
            found[places] = pixels[block][rows[places] - block.start]
    if scaling is None:
        return found
    return scaling.standardize(found.reshape(-1, *scaling.shape)).reshape(found.shape)


def _classifier(dataset, images, rows):
    """The features of a classifier of labels or, without, of factors; None where there are neither."""
    train = dataset.train
    label = train.get("label")
    given = train.get("factors") if label is None else label
    if given is None or len(np.unique(given[rows], axis=0)) < 2:
        return None
    name = "factors" if label is None else "label"
    return features.activations(images, **{name: given[rows]})
