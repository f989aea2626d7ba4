"""Lines before training on the scales of data that a density is to score: what is hardly meant."""

import numpy as np

from aevae import data

LEAST, MOST, APART = 0.03, 30.0, 100.0  # deviations without a line, and their ratio
FAR = 100.0  # deviations from the mean of standardized values without a line
ROWS = 10_000  # training images that deviations are found on; of tables, all rows


def doubts(config, dataset, own_scales):
    """Yields a line for each doubt about the scales of the data, under a likelihood with a density.

    `own_scales` says that the likelihood has a standard deviation for each value of an image.
    """
    yield from _constant(config, dataset, own_scales)
    if dataset.scaling is not None:
        yield from _outlying(config, dataset)
    elif config.binarization is data.none:
        yield from _apart(dataset)


def _constant(config, dataset, own_scales):
    """A line on values that are constant in training: of tables always, of images where it matters."""
    image, table = dataset.train["image"], len(dataset.shape) == 1
    alone = config.standardize == "each"
    if not (table or own_scales or alone):
        return
    places = np.argwhere(image.min(0) == image.max(0)).tolist()
    if not places:
        return
    kind = "columns" if table else "pixels"
    line = (
        f"{dataset.name}, train: {len(places)} of {image[0].size} {kind} are constant"
    )
    line += f" ({data.named(dataset, places)})"
    if alone:
        line += ", and keep their scale where the others are standardized"
    if own_scales:
        floor = config.values.get("model.likelihood.floor")
        least = f"{floor} (--config.likelihood.floor)" if floor else "if it has one"
        line += ", and the likelihood has a scale for each: only the scale's floor, "
        line += f"{least}, bounds their density"
    elif not alone:
        line += ": they tell nothing apart, and add to every bound; leave them out"
    yield line


def _outlying(config, dataset):
    """A line on standardized values that are far from the mean."""
    ends = []
    for part, split in dataset.parts.items():
        image = split["image"]
        for at in (image.argmin(), image.argmax()):
            row, *place = map(int, np.unravel_index(at, image.shape))
            ends.append((abs(float(image[row, *place])), part, row, place))
    far, part, row, place = max(ends)
    if far > FAR:
        other = (
            "" if config.standardize == "all" else ", or set --config.standardize=all"
        )
        yield (
            f"{dataset.name}, {part}: once standardized, row {row} lies {far:.3g} deviations from "
            f"the mean in {data.named(dataset, [place])}: it is an outlier, or hardly anything varies there "
            f"in training; leave it out{other}"
        )


def _apart(dataset):
    """A line on the scales of columns, or of images, that are far from 1 or from one another."""
    image, table = dataset.train["image"], len(dataset.shape) == 1
    low, high = dataset.range
    if image.dtype != np.float32 or 0 <= low <= high <= 1:  # scaled already
        return
    found = data.Moments(*((image, "each") if table else (image[:ROWS], "all")))
    varied = ~found.constant.ravel()
    std, mean = found.std.ravel(), found.mean.ravel()
    if not varied.any():
        return
    order = np.flatnonzero(varied)[np.argsort(std[varied], kind="stable")]
    low, high = order[0], order[-1]
    near = np.hypot(std, mean).max() <= MOST and LEAST <= std[low]
    if near and std[high] <= APART * std[low]:
        return
    line = f"{dataset.name}, train: "
    if table and len(std) > 1:
        places = low, high, abs(mean).argmax()
        at = [data.named(dataset, [[int(place)]]) for place in places]
        line += (
            f"the standard deviations of the columns go from {std[low]:.3g} ({at[0]}) to "
            f"{std[high]:.3g} ({at[1]}), and the means to {mean[places[2]]:.3g} ({at[2]})"
        )
    else:
        line += f"values have the mean {mean[0]:.3g} and the standard deviation {std[0]:.3g}"
    kind = "each" if table else "all"
    yield (
        f"{line}, scales that training hardly meets: --config.standardize={kind} brings them to 0 "
        "and 1, and keeps results those of the data as they are"
    )
