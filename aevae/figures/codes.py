"""Figures of trained runs: what they make of test examples, of their codes and of the prior."""

import functools
import textwrap

import jax
import numpy as np

from aevae import InputError, data
from aevae.figures import sheet
from aevae.models.distributions import Code, Normal, kl_each
from aevae.training import bounds
from aevae.training.trained import EXAMPLES, Trained

ROWS, BLOCK = 5_000, 500  # test examples at most, and of them encoded at a time
PAIRS, STEPS = 3, 10  # of interpolations, ends included
LATENTS, MOVES = 10, 11  # of traversals, from -REACH to REACH deviations of the prior
REACH = 3.0
GRID = 21  # of the manifold, each way
STRIPS = 24  # rows of traversals and of interpolations in a figure at most


def held(run, dataset, data_dir, known):
    """At most 5,000 test examples as the run was evaluated on them; None if they are not at hand.

    They are at hand if the first are those that the run's folder keeps. `known` remembers.
    """
    config = run.config
    name = config.dataset, config.train, config.validation, config.test
    if (name, config.binarization) not in known:
        try:
            found = data.of(config, data_dir, dataset=dataset)
            found = data.held_out(config.binarization, found, "test")
        except InputError:
            found = None
        known[name, config.binarization] = found
    found, kept = known[name, config.binarization], run.examples["image"]
    if found is None or found["image"].shape[1:] != kept.shape[1:]:
        return None
    first = data.none(None, {"image": found["image"][: len(kept)]})["image"]
    if not (first.shape == kept.shape and np.allclose(first, kept, atol=1e-6)):
        return None
    count = min(len(found["image"]), ROWS)
    count -= count % BLOCK if count > BLOCK else 0  # blocks of one size: one program
    return {field: values[:count] for field, values in found.items()}


def view(run, rows=None):
    """What the figures show of a run, by one encoding and one decoding.

    Args:
      run: a `results.Trained`.
      rows: test examples, of which the first are `run.examples`; by default those alone.
    Returns:
      A dict: `code` [N, Z], the mean codes, or None where codes are no vectors or discrete; `label`
      [N] or None; `rates` [Z], each latent's KL(q || p) in nats, mean over the rows, or None where
      it has no closed form or the run no bound; `order`, the latents by falling rate; `given`, what
      the decoder reads beside the code, as "label"; `images`,
      {name: [n, ...]}, of `reconstructions`, `samples`, `interpolations`, `traversals` and
      `manifold` those that have a meaning.
    """
    rows = run.examples if rows is None else rows
    prior = run.config.model.apply(run.params, {}, method="prior")
    code, each, discrete = _encoded(run, rows, prior)
    first = jax.tree.map(lambda v: v[: len(run.examples["image"])], code)
    pieces = {"reconstructions": (first, np.arange(len(run.examples["image"])))}
    bounded = run.row["elbo"] is not None
    if bounded or isinstance(prior, Normal):
        drawn = prior.sample(jax.random.key(0), EXAMPLES)
        which = np.arange(EXAMPLES) % len(run.examples["image"])
        pieces["samples"] = jax.tree.map(np.asarray, drawn), which
    vectors = isinstance(code, np.ndarray) and code.ndim == 2 and not discrete
    rates = each.mean(0) if vectors and bounded and each is not None else None
    order = None if rates is None else np.argsort(-rates, kind="stable")
    given = _given(run)
    if vectors and len(first) > 1:
        pieces["interpolations"] = lines(first)
    if rates is not None:
        pieces["traversals"] = moves(first[0], order, prior)
    plane = isinstance(prior, Normal) and vectors and code.shape[1] == 2 and bounded
    if plane and sheet.is_image(run.examples["image"]):
        grid = quantiles(prior, GRID)
        pieces["manifold"] = grid, np.zeros(len(grid), int)
    return {
        "run": run,
        "code": code if vectors else None,
        "label": rows.get("label"),
        "rates": rates,
        "order": order,
        "given": given,
        "images": _decoded(run, pieces),
    }


def _encoded(run, rows, prior):
    """Mean codes, each latent's rate [N, Z] or None, and whether codes are discrete."""
    found, count = [], len(rows["image"])
    for start in range(0, count, BLOCK):
        q = run.encode({k: v[start : start + BLOCK] for k, v in rows.items()})
        gaussian = isinstance(q, Normal) and isinstance(prior, Normal)
        each = _rates(q, prior) if gaussian else None
        found.append(jax.tree.map(np.asarray, (q.sample(None), each)))
    code, each = jax.tree.map(lambda *blocks: np.concatenate(blocks), *found)
    return code, each, isinstance(q, Code)


_rates = jax.jit(kl_each)


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
    """What a model may read beside the image, as labels."""
    return {name: values for name, values in batch.items() if name != "image"}


def _given(run):
    """The fields of the examples without which the model does not decode."""
    names = list(beside(run.examples))
    code = jax.eval_shape(
        lambda: run.config.model.apply(run.params, run.examples, None, run.hp).z
    )

    def decodes(name):
        rest = {n: v for n, v in beside(run.examples).items() if n != name}
        try:
            apply = functools.partial(run.config.model.apply, method="decode")
            jax.eval_shape(apply, run.params, code, rest, run.hp)
        except KeyError:
            return False
        return True

    return [name for name in names if not decodes(name)]


def lines(codes):
    """Codes on straight lines between pairs of examples, and the nearer example of each.

    [pairs · STEPS, Z], from the first to the second, the third to the fourth, and so on.
    """
    count = min(PAIRS, len(codes) // 2)
    left, right = np.arange(0, 2 * count, 2), np.arange(1, 2 * count, 2)
    t = np.linspace(0, 1, STEPS, dtype=codes.dtype)[:, None]
    found = [(1 - t) * codes[a] + t * codes[b] for a, b in zip(left, right)]
    near = [np.where(t[:, 0] < 0.5, a, b) for a, b in zip(left, right)]
    return np.concatenate(found), np.concatenate(near)


def moves(code, order, prior):
    """A code with one latent moved through the prior, for the first latents of an order.

    [latents · MOVES, Z], and the example that they start from, which is the first.
    """
    shown = order[:LATENTS]
    found = np.tile(code, (len(shown), MOVES, 1))
    t = np.linspace(-REACH, REACH, MOVES)
    for i, latent in enumerate(shown):
        mean, std = (np.asarray(v)[0, latent] for v in prior)
        found[i, :, latent] = mean + std * t
    found = found.reshape(-1, len(code))
    return found, np.zeros(len(found), int)


def quantiles(prior, count):
    """Codes [count², 2] at the quantiles (i + ½) / count of a prior of two Gaussians.

    The first latent rises from left to right, the second from the bottom row to the top one.
    """
    z = jax.scipy.special.ndtri((np.arange(count) + 0.5) / count)
    mean, std = (np.asarray(v)[0] for v in prior)
    across, up = mean[:, None] + std[:, None] * np.asarray(z)[None]
    x, y = np.meshgrid(across, up[::-1])
    return np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)


def told(run, names, joint):
    """The columns that tell a run apart, as text."""
    return joint.join(f"{name} {run.row[name]}" for name in names if name in run.row)


def _note(views, whose):
    """What is decoded beside the code, where the models need it."""
    names = dict.fromkeys(name for view in views for name in view["given"])
    return f"; given the {' and '.join(names)} of {whose}" if names else ""


def _source(views):
    return sheet.source([view["run"].row for view in views])


def reconstructions(views, names):
    """Of each run, the test examples above their reconstructions from the mean code."""
    rows, before = [], None
    for view in views:
        images = view["run"].examples["image"]
        if before is None or not np.array_equal(images, before):
            rows.append(("test", images))
        before = images
        label = told(view["run"], names, "\n")
        rows.append((label, view["images"]["reconstructions"]))
    title = "test examples and their reconstructions from the mean code, best runs"
    return sheet.tiles(rows, f"{title}\n{_source(views)}")


def samples(views, names):
    """Mean images of codes drawn from the prior, a row a run."""
    rows = [
        (told(view["run"], names, "\n"), view["images"]["samples"]) for view in views
    ]
    title = "mean images of codes drawn from the prior, best runs"
    title += _note(views, "the test examples")
    return sheet.tiles(rows, f"{title}\n{_source(views)}")


def interpolations(views, names):
    """Between pairs of test examples, which stand at the ends: decoded lines of mean codes."""
    pairs = PAIRS if PAIRS * len(views) <= STRIPS else 1
    rows, heads = [], {}
    for view in views:
        heads[len(rows)] = told(view["run"], names, ", ")
        rows += [("", strip) for strip in between(view)[:pairs]]
    ticks = ["test", *_shares(), "test"]
    title = (
        "between the codes of two test examples (outermost), a straight line decoded"
    )
    return sheet.tiles(rows, f"{title}, best runs\n{_source(views)}", heads, ticks)


def between(view):
    """[pairs, 1 + STEPS + 1, ...]: a test example, the decoded line, the other test example."""
    images = view["images"]["interpolations"]
    images = images.reshape(-1, STEPS, *images.shape[1:])
    ends = view["run"].examples["image"][: 2 * len(images)]
    ends = ends.reshape(-1, 2, *ends.shape[1:])
    return np.concatenate([ends[:, :1], images, ends[:, 1:]], axis=1)


def _shares():
    return [f"{t:.2g}" for t in np.linspace(0, 1, STEPS)]


def traversals(views, names):
    """One latent at a time through the prior, in the order of their rates, of each run.

    Of the best run alone where all would be too much for a page.
    """
    if sum(min(len(view["rates"]), LATENTS) for view in views) > STRIPS:
        views = [max(views, key=lambda view: bounds.score(view["run"].row))]
    rows, heads = [], {}
    for view in views:
        images = view["images"]["traversals"]
        found = images.reshape(-1, MOVES, *images.shape[1:])
        heads[len(rows)] = told(view["run"], names, ", ")
        if len(found) < len(view["rates"]):
            most = f": the {len(found)} of {len(view['rates'])} latents of most rate"
            heads[len(rows)] += most
        for latent, strip in zip(view["order"], found):
            label = f"z{latent + 1}, {view['rates'][latent]:.2f} nats"
            rows.append((label, strip))
    ticks = [sheet.number(t, 1) for t in np.linspace(-REACH, REACH, MOVES)]
    title = (
        "one latent at a time, in standard deviations of the prior; the others as in the code of a "
        "test example"
    )
    title += _note(views, "that example")
    rate = "beside each its rate, mean over " + _counted(views)
    return sheet.tiles(rows, f"{title}; {rate}\n{_source(views)}", heads, ticks)


def _counted(views):
    counts = sorted({len(view["code"]) for view in views})
    return f"{' or '.join(f'{n:,}' for n in counts)} test examples"


def rates(views, names):
    """The rate of every latent, sorted, a panel a run."""
    columns = min(4, len(views))
    down = -(-len(views) // columns)
    figure, panels = sheet.canvas(
        down, columns, 2.3 if columns > 1 else 3.4, 2.4, sharey=True
    )
    for panel in panels.flat[len(views) :]:
        panel.set_axis_off()
    for view, panel in zip(views, panels.flat):
        found = view["rates"][view["order"]]
        panel.bar(range(len(found)), found, color="0.4", width=0.8)
        few = len(found) <= 20
        marks = [f"z{latent + 1}" for latent in view["order"]] if few else []
        rotation = 90 if len(found) > 9 else 0
        panel.set_xticks(range(len(marks)), marks, fontsize=7, rotation=rotation)
        panel.set_xlim(-0.7, max(len(found), 4) - 0.3)
        head = textwrap.fill(told(view["run"], names, ", "), 27)
        panel.set_title(f"{head}\nsum {found.sum():.2f} nats", fontsize=8)
        panel.grid(axis="y", alpha=0.25)
        panel.set_axisbelow(True)
    figure.supxlabel("latents by rate", fontsize=9)
    figure.supylabel("rate (nats)", fontsize=9)
    title = f"rate of each latent, mean over {_counted(views)}, best runs"
    sheet.caption(figure, f"{title}\n{_source(views)}")
    return figure


def manifold(view, names):
    """Mean images on a grid of the prior's quantiles: Kingma and Welling (2014), figure 4."""
    figure, ((panel,),) = sheet.canvas(1, 1, 4.6, 4.9)
    images = view["images"]["manifold"].clip(0, 1)
    height, width, depth = images.shape[1:]
    whole = images.reshape(GRID, GRID, height, width, depth).transpose(0, 2, 1, 3, 4)
    whole = whole.reshape(GRID * height, GRID * width, depth)
    whole = whole if depth == 3 else whole[..., 0]
    panel.imshow(
        whole, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto"
    )
    prior = view["run"].config.model.apply(view["run"].params, {}, method="prior")
    codes = quantiles(prior, GRID).reshape(GRID, GRID, 2)
    marked = range(0, GRID, 5)
    x, y = codes[0, :, 0], codes[:, 0, 1]
    across, down = ([(i + 0.5) * n - 0.5 for i in marked] for n in (width, height))
    for line, step in ((panel.axvline, width), (panel.axhline, height)):
        for i in range(1, GRID):
            line(step * i - 0.5, color="0.5", lw=0.3)
    panel.set_xticks(across, [sheet.number(x[i], 2) for i in marked])
    panel.set_yticks(down, [sheet.number(y[i], 2) for i in marked])
    panel.set_xlabel("z1", fontsize=9)
    panel.set_ylabel("z2", fontsize=9)
    title = f"decoder's mean at the prior's quantiles; {told(view['run'], names, ', ')}"
    title += _note([view], "the first test example")
    sheet.caption(figure, f"{title}\n{_source([view])}")
    return figure


def plane(view, names):
    """The mean codes of test examples with two latents, each marked by its label."""
    figure, ((panel,),) = sheet.canvas(1, 1, 5.0, 4.2)
    code, label = view["code"], view["label"]
    classes = [] if label is None else sorted(set(label.tolist()))
    size = 26 if len(code) <= 1000 else 9
    look = {"linewidths": 0, "alpha": 0.85, "rasterized": len(code) > 1000}
    if label is None:
        panel.scatter(*code.T, s=size / 2, color="0.2", **look)
    elif len(classes) <= len(sheet.CLASSES):
        for kind, colour in zip(classes, sheet.CLASSES):
            own = code[label == kind]
            panel.scatter(
                *own.T,
                s=size,
                color=colour,
                marker=rf"$\mathbf{{{kind}}}$",
                label=kind,
                **look,
            )
        figure.legend(
            title="label", title_fontsize=8, fontsize=8, loc="outside right center"
        )
    else:
        shown = panel.scatter(*code.T, s=size / 2, c=label, cmap="viridis", **look)
        figure.colorbar(shown, ax=panel, label="label")
    panel.set_aspect("equal", adjustable="datalim")
    panel.set_xlabel("z1", fontsize=9)
    panel.set_ylabel("z2", fontsize=9)
    panel.grid(alpha=0.25)
    title = (
        f"mean codes of {len(code):,} test examples; {told(view['run'], names, ', ')}"
    )
    sheet.caption(figure, f"{title}\n{_source([view])}")
    return figure


def side_by_side(left, right, images):
    """Two runs on the same test images: reconstructions, draws from the prior, interpolations.

    Args:
      left, right: each a `results.Trained`, as an autoencoder and a VAE. The prior that an
        autoencoder's codes are drawn from is its model's: N(0, I).
      images: test images, or a batch with what else the models read; ten at most are shown.
    Returns:
      A matplotlib Figure, for `save`.
    """
    batch = images if isinstance(images, dict) else {"image": images}
    batch = {name: np.asarray(v)[:EXAMPLES] for name, v in batch.items()}
    batch = {k: np.asarray(v) for k, v in data.none(None, batch).items()}
    found = [_strips_of(run, batch) for run in (left, right)]
    names = _apart(left.row, right.row)
    rows, heads = [("test", batch["image"])], {}
    pieces = {
        "reconstructions": "reconstructions from the mean code",
        "samples": "mean images of codes drawn from the prior, for an autoencoder from N(0, I)",
        "interpolations": "between the mean codes of two test images (outermost)",
    }
    for piece, head in pieces.items():
        heads[len(rows)] = head
        both = [strips.get(piece, ()) for strips in found]
        for number in range(max(map(len, both))):
            pairs = zip(names, both)
            rows += [(name, own[number]) for name, own in pairs if number < len(own)]
    heads.pop(len(rows), None)  # of pieces that neither has
    title = f"trained on {sheet.source([left.row, right.row])}"
    return sheet.tiles(rows, title, heads)


def _strips_of(run, batch):
    """{piece: strips of images} of a run on images of the caller's."""
    own = Trained(run.config, run.params, run.step, run.row, batch)
    shown = view(own)
    found = {
        name: shown["images"][name][None]
        for name in ("reconstructions", "samples")
        if name in shown["images"]
    }
    if "interpolations" in shown["images"]:
        found["interpolations"] = between(shown)[:2]
    return found


def _apart(left, right):
    """Names for two rows of results: by their objectives, or else by what tells them apart."""
    names = [str(row["objective"]) for row in (left, right)]
    if names[0] == names[1]:
        columns = list(left)[1 : list(left).index("elbo")]
        columns = [name for name in columns if left[name] != right.get(name)]
        names = [
            "\n".join(f"{n} {row[n]}" for n in columns if n in row)
            for row in (left, right)
        ]
    return names if names[0] != names[1] else ["left", "right"]
