"""The figure of two runs side by side on the same test images."""

import numpy as np

from aevae import data
from aevae.figures import codes, sheet
from aevae.figures.views import View
from aevae.training.trained_run import EXAMPLES, Trained


def side_by_side(left, right, images):
    """Shows two runs on the same test images: reconstructions, samples, interpolations.

    Args:
      left, right: runs as `trained.load` gives them, as an autoencoder and a VAE. The prior that
        an autoencoder's codes are drawn from is its model's: N(0, I).
      images: test images, or a batch with what else the models read; ten at most are shown.
    Returns:
      A matplotlib Figure, for `save`.
    """
    batch = {k: np.asarray(v)[:EXAMPLES] for k, v in left.read(images).items()}
    batch = {k: np.asarray(v) for k, v in data.none(None, batch).items()}
    views = [_view_of(run, batch) for run in (left, right)]
    found = [_strips_of(view) for view in views]
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
    return codes.tiled(views, rows, title, heads)


def _view_of(run, batch):
    """A run as figures look at it, on images of the caller's."""
    known = run.config, run.params, run.step, run.row
    return View(Trained(*known, batch, seen=run.seen))


def _strips_of(shown):
    """{piece: strips of images} of a view."""
    found = {
        name: shown.images[name][None]
        for name in ("reconstructions", "samples")
        if name in shown.images
    }
    if "interpolations" in shown.images:
        found["interpolations"] = codes.between(shown)[:2]
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
