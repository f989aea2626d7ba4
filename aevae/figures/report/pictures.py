"""What every run of a folder decodes, as one small PNG a run: all runs of a group in one program.

`figures.codes` shows as much of the best runs, large and with labels, by an encoding and a decoding of
each run; here all runs of one shape are looked at together.
"""

import io
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError, data
from aevae.figures import views
from aevae.models.distributions import kl_each
from aevae.runs import record, trained
from aevae.system import machine
from aevae.training.trained_run import EXAMPLES

TOGETHER = 64  # runs in a program
SIDE = 32  # pixels of an image at most: larger ones are made smaller
WIDE = 400  # pixels of a row of vectors at most
LATENTS = 8  # traversals of a run at most, the latents of most rate
QUICK = {
    "xla_backend_optimization_level": 0
}  # it runs once: compiling is what it costs
SHOWN = 30  # pixels of an image on the page, about


class Picture(NamedTuple):
    """A PNG of a run, and what its parts are.

    Attributes:
      png: bytes.
      size: (width, height).
      scale: by how much the page enlarges it.
      parts: [(title, top, height, labels of its rows)], in pixels.
      rates: [(label of a latent, nats)], by falling rate; [] where they have no closed form.
    """

    png: bytes
    size: tuple
    scale: int
    parts: list
    rates: list


@machine.standard()
@machine.at_precision
def of(workdir, rows, base=None):
    """The `Picture`s of runs of a folder, {run: Picture}, and sentences on those that have none.

    Args:
      workdir: the run folder.
      rows: rows of results.csv, of runs that have finished.
      base: as in `trained.load`.
    """
    found, notes = {}, []
    rows = {row["run"]: row for row in rows}
    try:
        configs = record.declared(workdir, base)
    except InputError as error:
        return found, [f"Without pictures: {error}"]
    for group in record.read(workdir)["groups"]:
        opened = []
        for number in group:
            try:
                if number in rows:
                    opened.append(
                        trained.open_run(workdir, rows[number], configs=configs)
                    )
            except InputError as error:
                notes.append(f"Without pictures of run {number}: {error}")
        try:
            for start in range(0, len(opened), TOGETHER):
                found |= _of_group(opened[start : start + TOGETHER])
        # Whatever a model of the user's does: the page has all the rest.
        except Exception as error:  # noqa: BLE001
            told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            notes.append(f"Without pictures of runs {group[0]} to {group[-1]}: {told}")
    return found, notes


def _of_group(runs):
    """The pictures of runs of one shape, {run: Picture}."""
    first = runs[0]
    alike = [r for r in runs if _same(r.examples, first.examples)]
    others = [r for r in runs if not _same(r.examples, first.examples)]
    images, rates = _decoded(alike)
    found = {}
    for place, run in enumerate(alike):
        own = {name: values[place] for name, values in images.items()}
        each = None if rates is None else rates[place]
        found[run.row["run"]] = _picture(run, own, each)
    return found | (_of_group(others) if others else {})


def _same(batch, other):
    return {*batch} == {*other} and all(
        np.array_equal(values, other[name]) for name, values in batch.items()
    )


def _decoded(runs):
    """Mean images of runs of one shape, {name: [runs, n, ...]}, and rates [runs, Z] or None.

    They are what `views.View.images` has of one run: of the mean codes of the examples, of codes drawn
    from the prior, and of a code whose latents of most rate are moved, one at a time.
    """
    first = runs[0]
    model, examples = first.config.model, first.examples
    batch = {
        k: jnp.asarray(v)
        for k, v in examples.items()
        if np.asarray(v).dtype.kind in "biuf"
    }
    image = batch["image"]
    if first.scaling is not None:
        image = first.scaling.standardize(data.as_floats(image))
    batch = data.none(None, batch | {"image": image})
    bounded = any(run.row.get("elbo") is not None for run in runs)
    beside, count = views.beside(batch), len(examples["image"])

    def one(params, hp):
        q = model.apply(params, batch, method="encode")
        prior = model.apply(params, {}, method="prior")
        code = q.sample(None)
        each = kl_each(q, prior) if bounded else None
        vector = isinstance(code, jax.Array) and code.ndim == 2
        vector &= not getattr(q, "discrete", False)
        scaled = hasattr(prior, "mean") and hasattr(prior, "std")
        pieces = {"reconstructions": (code, np.arange(count))}
        if bounded or scaled:
            drawn = prior.sample(jax.random.key(0), EXAMPLES)
            pieces["samples"] = drawn, np.arange(EXAMPLES) % count
        rates = None
        if vector and each is not None:
            rates = each.mean(0)
            if scaled:
                moved = _moved(code[0], rates, prior)
                pieces["traversals"] = moved, np.zeros(len(moved), int)
        codes = [code for code, _ in pieces.values()]
        codes = jax.tree.map(lambda *parts: jnp.concatenate(parts), *codes)
        which = np.concatenate([at for _, at in pieces.values()])
        given = {name: values[which] for name, values in beside.items()}
        images = model.apply(params, codes, given, hp, method="decode").mean
        ends = np.cumsum([len(at) for _, at in pieces.values()])[:-1]
        return dict(zip(pieces, jnp.split(images, ends))), rates

    stacked = [
        jax.tree.map(lambda *v: np.stack(v), *of)
        for of in zip(*((r.params, r.hp) for r in runs))
    ]
    return jax.tree.map(
        np.asarray, jax.jit(jax.vmap(one), compiler_options=QUICK)(*stacked)
    )


def _moved(code, rates, prior):
    """A code [Z] with one latent at a time moved through the prior, [latents · MOVES, Z], as `views.moves`."""
    shown = min(LATENTS, len(code))
    order = jnp.argsort(-rates, stable=True)[:shown]
    t = jnp.linspace(-views.REACH, views.REACH, views.MOVES)
    mean, std = (
        jnp.broadcast_to(v, (1, len(code)))[0, order] for v in (prior.mean, prior.std)
    )
    values = mean[:, None] + std[:, None] * t[None]  # [latents, MOVES]
    chosen = jax.nn.one_hot(order, len(code), dtype=bool)[:, None]
    return jnp.where(chosen, values[..., None], code[None, None]).reshape(-1, len(code))


def _picture(run, images, rates):
    """The `Picture` of a run."""
    examples, made = run.examples["image"], images["reconstructions"]
    order = [] if rates is None else np.argsort(-rates, kind="stable")
    names = [f"z{latent + 1}" for latent in order]
    rows = [("test examples", [examples], [""]), ("reconstructions", [made], [""])]
    if "samples" in images:
        rows.append(("samples", [images["samples"]], [""]))
    if "traversals" in images:
        strips = images["traversals"]
        strips = strips.reshape(-1, views.MOVES, *strips.shape[1:])
        rows.append(("traversals", [*strips], names[: len(strips)]))
    level = _leveler(run, examples)
    parts, stripes, top = [], [], 0
    for title, strips, labels in rows:
        own = [_strip(level(strip)) for strip in strips]
        height = sum(len(strip) for strip in own)
        parts.append((title, top, height, labels))
        stripes, top = stripes + own, top + height
    wide = max(strip.shape[1] for strip in stripes)
    whole = [
        np.pad(s, ((0, 0), (0, wide - s.shape[1]), (0, 0)), constant_values=255)
        for s in stripes
    ]
    png, size = _png(np.concatenate(whole))
    tall = parts[0][2] if np.ndim(examples) == 4 else SHOWN
    scale = max(1, round(SHOWN / tall))
    each = [] if rates is None else [(n, float(rates[i])) for n, i in zip(names, order)]
    return Picture(png, size, scale, parts, each)


def _leveler(run, examples):
    """A function that gives images the gray levels from 0 to 255, black and white as `views.span` has them.

    Columns of a table have scales of their own: each is shown within three deviations of its mean.
    """
    low, high = views.span(run)
    if np.ndim(examples) == 2:
        mean, std = examples.mean(0), examples.std(0)
        if run.scaling is not None:
            mean, std = run.scaling.mean, run.scaling.std
        low, high = mean - 3 * std - 1e-12, mean + 3 * std + 1e-12

    def level(images):
        shares = (np.nan_to_num(np.asarray(images, np.float64)) - low) / (high - low)
        return (255 * shares.clip(0, 1)).round().astype(np.uint8)

    return level


def _strip(images):
    """Images of gray levels side by side, or vectors a line each, [height, width, 1 or 3], with a white edge."""
    if images.ndim == 2:
        strip = images[..., None]
        if strip.shape[1] > WIDE:
            strip = strip[:, np.linspace(0, strip.shape[1] - 1, WIDE).astype(int)]
        return np.pad(strip, ((0, 1), (0, 1), (0, 0)), constant_values=255)
    if images.shape[-1] not in (1, 3):
        images = images[..., :1]
    step = -(-max(images.shape[1:3]) // SIDE)
    if step > 1:  # means of blocks of pixels
        _, height, width, depth = images.shape
        edge = ((0, 0), (0, -height % step), (0, -width % step), (0, 0))
        blocks = np.pad(images, edge, mode="edge")
        blocks = blocks.reshape(len(images), -(-height // step), step, -1, step, depth)
        images = blocks.mean((2, 4)).astype(np.uint8)
    tiles = np.pad(images, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=255)
    return np.concatenate([*tiles], axis=1)


def _png(image):
    """An image [H, W, 1 or 3] as the bytes of a PNG, and its width and height."""
    from PIL import Image

    gray = image.shape[-1] == 1
    made = Image.fromarray(image[..., 0] if gray else image)
    file = io.BytesIO()
    made.save(file, "png", compress_level=6)
    return file.getvalue(), made.size
