"""Lines before training on the scales of data: what is hardly meant."""

import numpy as np

from aevae import data

LEAST, MOST, APART = 0.03, 30.0, 100.0  # deviations without a line, and their ratio
FAR = 100.0  # deviations from the mean of standardized values without a line
OTHER = 10.0  # ratio of a split's deviations to those of train without a line
FEW, SOME = 10, 1000  # rows, at least and at most, of a split that these are found on
ROWS = 10_000  # training images that deviations are found on; of tables, all rows


def doubts(config, dataset, density, own_scales):
    """Yields a line for each doubt about the scales of the data.

    `density` says that the likelihood has one, and `own_scales` that it has a standard deviation
    for each value of an image.
    """
    yield from _other(dataset)
    yield from _constant(config, dataset, density and own_scales)
    if not density:
        return
    if config.standardize == "channel" and dataset.shape[-1] == 1:
        yield (
            f"{dataset.name}: images {list(dataset.shape)} have one channel, of which "
            "standardize=channel is the same as all; each takes every value by itself"
        )
    if dataset.scaling is not None:
        yield from _outlying(config, dataset)
    elif config.binarization is data.none:
        yield from _apart(dataset)


def _other(dataset):
    """A line on splits that are on another scale than train."""
    kind = "each" if len(dataset.shape) == 1 else "all"
    found = {}
    for part, split in dataset.parts.items():
        image = split["image"]
        if len(image) >= FEW:
            some = image[:: -(-len(image) // SOME)]
            found[part] = data.Moments(some, kind).std.ravel()
    train = found.pop("train", np.zeros(1))
    for part, std in found.items():
        varied = (std > 0) & (train > 0)
        ratio = np.divide(std, train, out=np.ones_like(std), where=varied)
        worst = abs(np.log(ratio)).argmax()
        if not 1 / OTHER <= ratio[worst] <= OTHER:
            of = data.named(dataset, [[int(worst)]]) if kind == "each" else "the values"
            yield (
                f"{dataset.name}: the standard deviation of {of} is {std[worst]:.3g} in {part} and "
                f"{train[worst]:.3g} in train: bring the splits to one scale"
            )


def _constant(config, dataset, own_scales):
    """Lines on values that are constant in training: of tables always, of images where it matters."""
    image, table = dataset.train["image"], len(dataset.shape) == 1
    alone, kind = config.standardize == "each", "columns" if table else "pixels"
    if not (table or own_scales or alone):
        return
    constant = _alike(image)
    stored = (
        constant if dataset.stored is None else _alike(dataset.stored.train["image"])
    )
    lost, places = (np.argwhere(at).tolist() for at in (constant & ~stored, stored))
    if lost:
        yield (
            f"{dataset.name}, train: {len(lost)} of {image[0].size} {kind} "
            f"({data.named(dataset, lost)}) vary, but too little beside the others: under "
            f"standardize={config.standardize} float32 makes one value of each; set "
            "--config.standardize=each, or rescale what is large"
        )
    if not places:
        return
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


def _alike(image):
    """Which values of an image are the same in all rows."""
    return image.min(0) == image.max(0)


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
