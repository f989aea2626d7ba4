"""Rows of images side by side, and what of their values is black and white."""

import math

import numpy as np

from aevae.figures import looks, sheet

TILE = 0.56  # inches of an image at most ...
LINE = 0.12  # ... and of a line of its label


def tiles(rows, title, heads=None, ticks=(), span=(0, 1)):
    """Makes a figure of rows (label, images [N, H, W, C]): framed images side by side.

    Of vectors a row is a matrix, an example a line, and all rows share their gray levels. What of
    pictures is black and white is in the caption, unless it is 0 and 1.

    Args:
      rows: the rows, of images of one shape.
      title: the caption.
      heads: {row: text above it}.
      ticks: texts below the last row, one for each image.
      span: the values of pictures that are black and white; beyond them they look the same.
    """
    from matplotlib.figure import Figure

    heads, look = heads or {}, looks.current()
    pictures, shape = is_image(rows[0][1]), np.shape(rows[0][1])
    count = max(len(images) for _, images in rows)
    low, high = (f([f(v) for _, v in rows]) for f in (np.min, np.max))
    if not pictures:
        title += f"\nan example a line; black {sheet.number(low, 2)}, white {sheet.number(high, 2)}"
    title += ends(span) if pictures else ""
    size = look.letters
    letters = max(len(line) for label, _ in rows for line in label.split("\n"))
    left, foot = size * (0.1 + 0.056 * letters), size * (0.2 if ticks else 0.03)
    page = dict(zip(looks.WIDTHS, look.widths)).get(look.width, look.widths[1])
    wide, tall = page - left - 0.04, 0.9 * size
    if pictures:
        # Between two images is a gap of a pixel.
        across, most = count * (shape[2] + 1) - 1, TILE * look.scale / (shape[2] + 1)
        pixel = wide / across if look.width else min(wide / across, most)
        wide, tall = pixel * across, pixel * shape[1]
    elif not look.width:
        wide = min(wide, 4.5 * look.scale)
    width = left + wide + 0.04
    figure = Figure(figsize=(width, 1))
    sheet.caption(figure, title)
    tops, top = [], 0.04
    for row, (label, _) in enumerate(rows):
        top += 0.2 * size if row in heads else 0
        high_label = size * LINE * (label.count("\n") + 1)
        spare = max(0.0, high_label - tall)
        tops.append(top + spare / 2)
        top += tall + spare + 0.05
    height = top + foot
    figure.set_figheight(height)
    for row, (label, images) in enumerate(rows):
        corner = left / width, 1 - (tops[row] + tall) / height
        panel = figure.add_axes((*corner, wide / width, tall / height))
        images = np.asarray(images)
        if pictures:
            _strip(panel, leveled(images, span), count)
        else:
            look = {"cmap": "gray", "vmin": low, "vmax": high, "aspect": "auto"}
            images = images.reshape(len(images), -1)
            panel.imshow(images, interpolation="nearest", **look)
        panel.set_xticks([])
        panel.set_yticks([])
        panel.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=7 * size)
        if row in heads:
            panel.set_title(heads[row], fontsize=8 * size, loc="left", pad=3)
        for spine in panel.spines.values():
            spine.set_visible(False)
    if pictures and ticks:
        step = shape[2] + 1
        room = wide * 72 / count / (7 * size)  # letters that an image is as wide as
        if max(map(len, ticks)) > 1.5 * room:  # every second, or they would touch
            ticks = [tick * (i % 2 == 0) for i, tick in enumerate(ticks)]
        panel.set_xticks([step * i + step / 2 - 1 for i in range(count)], ticks)
        panel.tick_params(labelsize=7 * size, length=0)
    return figure


def is_image(images):
    """Says whether an array can be shown as pictures: [N, H, W, 1 or 3]."""
    return np.ndim(images) == 4 and np.shape(images)[-1] in (1, 3)


def leveled(images, span):
    """Gives images [N, ...] the gray levels from 0 to 1 of a `span` (black, white)."""
    low, high = span
    return ((np.asarray(images) - low) / (high - low)).clip(0, 1)


def ends(span):
    """Says what is black and white, in a line of a title; nothing where that is 0 and 1."""
    if tuple(span) == (0, 1):
        return ""
    digits = 3 - math.floor(math.log10(span[1] - span[0]))
    low, high = (f"{round(v, digits) + 0.0:.6g}".replace("-", "−") for v in span)
    return f"\nblack {low} or less, white {high} or more"


def _strip(panel, images, count):
    """Images from 0 to 1 side by side, each in a thin frame, in the width of `count`."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    gap = ((0, 0), (0, 0), (0, 1), (0, 0))
    tiles = np.pad(images, gap, constant_values=1)
    strip = np.concatenate(list(tiles), axis=1)[:, :-1]
    strip = strip if strip.shape[-1] == 3 else strip[..., 0]
    look = {"cmap": "gray", "vmin": 0, "vmax": 1, "aspect": "auto"}
    panel.imshow(strip, interpolation="nearest", **look)
    height, width = images.shape[1:3]
    corners = [((width + 1) * i - 0.5, -0.5) for i in range(len(images))]
    frames = [Rectangle(corner, width, height) for corner in corners]
    look = {"edgecolor": "0.5", "facecolor": "none", "linewidth": 0.6}
    panel.add_collection(PatchCollection(frames, clip_on=False, **look))
    panel.set_xlim(-0.5, (width + 1) * count - 1.5)
