"""What the figures look at of a trained run: test examples, their codes, and decoded images."""

import dataclasses
import functools

import jax
import numpy as np

from aevae import InputError, data
from aevae.figures import contract
from aevae.models.distributions import kl_each
from aevae.training.given import is_unit
from aevae.training.trained_run import EXAMPLES

ROWS, BLOCK = 5_000, 500  # test examples at most, and of them encoded at a time
PAIRS, STEPS = 3, 10  # of interpolations, ends included
LATENTS, MOVES = 10, 11  # of traversals, from -REACH to REACH standard deviations
REACH = 3.0
GRID = 21  # of the manifold, each way
INTERPOLATED = (contract.VECTORS, contract.TWO_EXAMPLES)
TRAVERSED = (contract.BOUND, contract.VECTORS, contract.RATES, contract.SCALE)
CHARTED = (
    *(contract.BOUND, contract.VECTORS, contract.TWO_LATENTS),
    *(contract.QUANTILE, contract.IMAGES),
)


class View:
    """A trained run as figures look at it, by one encoding and, for `images`, one decoding.

    Args:
      run: a `training.trained.Trained`.
      rows: test examples, of which the first are `run.examples`; by default those alone.
      names: the columns that tell the run apart, for `described`.
      classes: the names of labels 0, 1, ..., if they have others.
      fitted: priors that were fitted to its codes, by name.

    Attributes:
      held: whether test examples beyond those of the folder were given.
      prior: p(z).
      code: [N, Z], the mean codes; None where codes are no vectors, or discrete.
      labels: [N], the labels of the rows, or None.
      rates: [Z], each latent's KL(q || p) in nats, mean over the rows; None where it has no closed
        form, or the run no bound.
      order: the latents by falling rate, or None.
    """

    def __init__(self, run, rows=None, names=(), classes=(), fitted=None):
        self.run, self.names, self.held = run, names, rows is not None
        self.fitted = fitted or {}
        rows = rows if self.held else run.examples
        self.prior = run.config.model.apply(run.params, {}, method="prior")
        self._codes, each, discrete = _encoded(run, rows, self.prior)
        code = self._codes
        vectors = isinstance(code, np.ndarray) and code.ndim == 2 and not discrete
        rated = vectors and run.row["elbo"] is not None and each is not None
        self.code = code if vectors else None
        self.labels, self.classes = rows.get("label"), classes
        self.rates = each.mean(0) if rated else None
        self.order = np.argsort(-self.rates, kind="stable") if rated else None

    def described(self, joint):
        """Names the run by the columns that tell it apart."""
        row = self.run.row
        names = [name for name in self.names if row.get(name) is not None]
        return joint.join(f"{name} {row[name]}" for name in names)

    @functools.cached_property
    def images(self):
        """{name: mean images [n, ...]}, those of the following that have a meaning.

        `reconstructions` of the examples, `samples` from the prior and, after a colon their names,
        from fitted ones, `interpolations`, `traversals` and the `manifold`.
        """
        count = len(self.run.examples["image"])
        first = jax.tree.map(lambda v: v[:count], self._codes)
        pieces = {"reconstructions": (first, np.arange(count))}
        # An autoencoder trains no prior; N(0, I) is one that codes may be drawn from anyway.
        priors = {f"samples:{name}": p for name, p in self.fitted.items()}
        if self._meets(contract.BOUND) or self._meets(contract.SCALE):
            priors["samples"] = self.prior
        for name, p in priors.items():
            # As one program, which compiles sooner than each operation of it; of a prior of
            # functions, too, which cannot be an argument.
            sample = jax.jit(lambda key, p=p: p.sample(key, EXAMPLES))
            drawn = sample(jax.random.key(0))
            which = np.arange(EXAMPLES) % count
            pieces[name] = jax.tree.map(np.asarray, drawn), which
        if self._meets(*INTERPOLATED):
            pieces["interpolations"] = lines(first)
        if self._meets(*TRAVERSED):
            pieces["traversals"] = moves(first[0], self.order, self.prior)
        if self._meets(*CHARTED):
            grid = quantiles(self.prior, GRID)
            pieces["manifold"] = grid, np.zeros(len(grid), int)
        return _decoded(self.run, pieces)

    @functools.cached_property
    def given(self):
        """The fields of a batch, as "label", without which the model does not decode."""
        run, fields = self.run, beside(self.run.examples)
        code = jax.eval_shape(
            lambda: run.config.model.apply(run.params, run.examples, None, run.hp).z
        )

        def decodes(without):
            rest = {name: v for name, v in fields.items() if name != without}
            try:
                apply = functools.partial(run.config.model.apply, method="decode")
                jax.eval_shape(apply, run.params, code, rest, run.hp)
            except KeyError:
                return False
            return True

        return [name for name in fields if not decodes(name)]

    def _meets(self, *needs):
        return contract.missing(needs, self) is None


def span(run):
    """What is black and white in a run's pictures: the least and greatest pixel of its data.

    It is 0 and 1 where the data take up more than half of that.
    """
    ends = run.examples["image"] if run.seen is None else run.seen[:2]
    low, high = float(np.min(ends)), float(np.max(ends))
    return (0, 1) if is_unit(low, high) or low == high else (low, high)


def held(run, dataset, data_dir, known, place=None, digests=()):
    """Gives up to 5,000 test examples as the run was evaluated on them; None if not at hand.

    They are at hand if the data's sha256 is one of `digests`, where these are known, and the first
    are those that the run's folder keeps; an InputError where a `dataset` that is given is another.
    `known` is a dict that remembers data sets from one run to the next; `place` is the run's config
    with its data set where it is now.
    """
    config = place or run.config
    name = config.dataset, config.train, config.validation, config.test
    if (name, config.binarization) not in known:
        try:
            stored = dataclasses.replace(config, standardize=data.NO)
            found = data.of(stored, data_dir, dataset=dataset)
            digest = found.digest
            found = data.held_out(config.binarization, found, "test", slice(ROWS))
        except InputError:
            if dataset is not None:
                raise
            found = digest = None
        known[name, config.binarization] = found, digest
    found, digest = known[name, config.binarization]
    theirs = not digests or digest in digests
    if not (theirs and _begins_with(found, run.examples["image"])):
        if dataset is not None:
            raise InputError(
                f"{data.name_of(dataset)} is not what the runs were trained on: its "
                f"{'first test examples are others' if theirs else 'sha256 is another'}"
            )
        return None
    count = min(len(found["image"]), ROWS)
    count -= count % BLOCK if count > BLOCK else 0  # blocks of one size: one program
    return {field: values[:count] for field, values in found.items()}


def _begins_with(found, kept):
    """Whether test examples are at hand and their first images are those that were kept."""
    if found is None or found["image"].shape[1:] != kept.shape[1:]:
        return False
    first = data.none(None, {"image": found["image"][: len(kept)]})["image"]
    return first.shape == kept.shape and np.allclose(first, kept, atol=0)


def _encoded(run, rows, prior):
    """Mean codes, each latent's rate [N, Z] or None, and whether codes are discrete."""
    found, count = [], len(rows["image"])
    for start in range(0, count, BLOCK):
        block = {k: v[start : start + BLOCK] for k, v in rows.items()}
        q = run.encode(block | {"image": data.as_floats(block["image"])})
        found.append(jax.tree.map(np.asarray, (q.sample(None), _rates(q, prior))))
    code, each = jax.tree.map(lambda *blocks: np.concatenate(blocks), *found)
    return code, each, getattr(q, "discrete", False)


def _rates(q, prior):
    """KL(q || p) of each latent, [N, Z]; None where it has no closed form.

    Not every distribution can be an argument of jit: those of flows and chains hold functions.
    """
    if jax.eval_shape(lambda: kl_each(q, prior)) is None:
        return None
    return _compiled_kl_each(q, prior)


_compiled_kl_each = jax.jit(kl_each)


def _decoded(run, pieces):
    """The mean images of {name: (codes, example that each is beside)}, by one program."""
    codes = [code for code, _ in pieces.values()]
    code = jax.tree.map(lambda *parts: np.concatenate(parts), *codes)
    which = np.concatenate([of for _, of in pieces.values()])
    given = {name: v[which] for name, v in beside(run.examples).items()}
    images = np.asarray(run.decode(code, given).mean)
    ends = np.cumsum([len(of) for _, of in pieces.values()])[:-1]
    return dict(zip(pieces, np.split(images, ends)))


def beside(batch):
    """Picks what a model may read beside the image, as labels."""
    return {name: values for name, values in batch.items() if name != "image"}


def lines(codes):
    """Makes codes on straight lines between pairs of examples, with the nearer example of each.

    Returns [pairs · STEPS, Z], from the first to the second, the third to the fourth, and so on.
    """
    count = min(PAIRS, len(codes) // 2)
    left, right = np.arange(0, 2 * count, 2), np.arange(1, 2 * count, 2)
    t = np.linspace(0, 1, STEPS, dtype=codes.dtype)[:, None]
    found = [(1 - t) * codes[a] + t * codes[b] for a, b in zip(left, right)]
    near = [np.where(t[:, 0] < 0.5, a, b) for a, b in zip(left, right)]
    return np.concatenate(found), np.concatenate(near)


def moves(code, order, prior):
    """Moves one latent of a code at a time through the prior, for the first latents of an order.

    Returns [latents · MOVES, Z], from -3 to 3 standard deviations of the prior, and the example
    that they start from, which is the first.
    """
    shown = order[:LATENTS]
    found = np.tile(code, (len(shown), MOVES, 1))
    t = np.linspace(-REACH, REACH, MOVES)
    for i, latent in enumerate(shown):
        mean, std = (np.asarray(v)[0, latent] for v in (prior.mean, prior.std))
        found[i, :, latent] = mean + std * t
    found = found.reshape(-1, len(code))
    return found, np.zeros(len(found), int)


def quantiles(prior, count):
    """Makes codes [count², 2] at the quantiles (i + ½) / count of a prior of two latents.

    The first latent rises from left to right, the second from the bottom row to the top one.
    """
    u = ((np.arange(count) + 0.5) / count).astype(np.float32)
    quantile = jax.jit(
        lambda u: prior.quantile(u)
    )  # sooner than operation by operation
    across, up = np.asarray(quantile(u[:, None])).T
    x, y = np.meshgrid(across, up[::-1])
    return np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)
