"""What the figures share: canvas, colors, captions, rows of images, and how they are saved."""

import math
import textwrap
from pathlib import Path

import numpy as np

from aevae.runs import tables
from aevae.system import files

DPI = 150
TILE = 0.6  # inches of an image ...
LINE = 0.12  # ... and of a line of its label
# Of classes, in no order: Paul Tol's "muted", two of them darker, and black. Markers say more.
CLASSES = (
    *("#cc6677", "#332288", "#c8a415", "#117733", "#4aa8d8"),
    *("#882255", "#44aa99", "#999933", "#aa4499", "#222222"),
)
MARKERS = "os^DvP*X<>"


def save(figure, path):
    """Writes `path` as a PNG and, beside it, as a PDF; returns the path of the PNG.

    Each is there whole or not at all, and the same figure gives the same bytes.
    """
    import matplotlib

    path = Path(path)
    stem = path.with_suffix("") if path.suffix in (".png", ".pdf") else path
    figure.draw_without_rendering()  # which lays it out, once for both
    layout = figure.get_layout_engine()
    figure.set_layout_engine("none")
    about = {"png": {}, "pdf": {"CreationDate": None}}
    with matplotlib.rc_context({"pdf.fonttype": 42}):  # letters stay text
        for kind, metadata in about.items():
            with files.whole(stem.with_name(f"{stem.name}.{kind}")) as file:
                figure.savefig(file, format=kind, dpi=DPI, metadata=metadata)
    figure.set_layout_engine(layout)
    return stem.with_name(f"{stem.name}.png")


def labeled(rows):
    """Rows of a table with texts as figures show them: short, and without signs of mathematics."""
    texts = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, str):
                texts.setdefault(name, {})[value] = None
    for name, found in texts.items():
        texts[name] = dict(zip(found, drawn(found)))
    return [
        {k: texts[k][v] if isinstance(v, str) else v for k, v in row.items()}
        for row in rows
    ]


def drawn(texts):
    """Texts, no two alike, as figures show them: short, and without signs of mathematics."""
    return [_drawn(label) for label in tables.labels(texts).values()]


def _drawn(text):
    """A text that matplotlib draws as it stands; what its font lacks is escaped, as \\u6570."""
    from matplotlib import font_manager

    text = files.encoded(text).decode("utf-8", "replace")
    if not text.isascii():
        font = font_manager.get_font(
            font_manager.findfont(font_manager.FontProperties())
        )
        known = font.get_charmap()
        text = "".join(
            letter
            if ord(letter) in known
            else letter.encode("ascii", "backslashreplace").decode()
            for letter in text
        )
    return text.replace("$", r"\$")


def canvas(rows, columns, width, height, **options):
    """Makes a figure and its panels, [rows, columns], without pyplot: a notebook's stay its own."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, **options)
    for panel in panels.flat:
        panel.tick_params(labelsize=8)
    return figure, panels


def caption(figure, text):
    """Writes a small title in as many lines as it needs; returns it with its line breaks."""
    width = int(16 * figure.get_figwidth())
    text = "\n".join(textwrap.fill(line, width) for line in text.splitlines())
    figure.suptitle(text, fontsize=8)
    return text


def source(rows):
    """Names the data set and its binarization, of rows of results.csv."""
    found = dict.fromkeys((row["dataset"], row["binarization"]) for row in rows)
    kinds = [f"{name}, {'no' if b == 'none' else b} binarization" for name, b in found]
    return "; ".join(kinds) if len(kinds) < 4 else f"{len(kinds)} kinds of data"


def values(rows, name):
    """Lists the values of a column, each once, in the order of the tables."""
    return [value for (value,) in grouped(rows, [name])]


def grouped(rows, names):
    """Gives {values of the columns: rows}, in the order of the tables."""
    found = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    order = tables.in_order([dict(zip(names, point)) for point in found], names)
    return {point: found[point] for point in (tuple(row.values()) for row in order)}


def selected(rows, names, most, axis=None):
    """Gives `grouped` with `most` points at most, and a note on what is left out.

    Those are kept that have most values of the axis, and of these those of most runs.
    """
    found = grouped(rows, names)
    if len(found) <= most:
        return found, []
    count = {
        point: [len({row.get(n) for row in own}) for n in (axis, "run")]
        for point, own in found.items()
    }
    kept = sorted(found, key=count.get, reverse=True)[:most]
    note = (
        f"{most} of {len(found)} points of {', '.join(names)}: all are in results.csv"
    )
    return {point: own for point, own in found.items() if point in kept}, [note]


def named(names, point):
    """Writes a point as `latent 2, no beta`: the latter of runs that have none."""
    pairs = zip(names, point)
    return ", ".join(f"no {n}" if v is None else f"{n} {v}" for n, v in pairs)


def seeds(counts):
    """Writes numbers of seeds: `3 seeds`, or `1 to 3 seeds`."""
    low, high = min(counts), max(counts)
    span = f"{low}" if low == high else f"{low} to {high}"
    return f"{span} seed{'' if high == 1 else 's'}"


def colors(found):
    """Gives {value: color} from dark to light, so that a print in gray keeps their order."""
    from matplotlib import colormaps

    shades = np.linspace(0.0, 0.88, len(found)) if len(found) > 1 else [0.3]
    return dict(zip(found, colormaps["viridis"](shades)))


def number(value, digits):
    """Writes a value with so many decimals, with a minus sign as axes have it."""
    return f"{value:.{digits}f}".replace("-", "−")


def log_ticks(axis):
    """Gives a log axis two labels or more, however short it is."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    if high < 100 * low:
        subs = (1, 2, 5) if high >= 10 * low else (1, 1.5, 2, 3, 5, 7)
        axis.set_major_locator(LogLocator(subs=subs, numticks=20))
        axis.set_major_formatter(EngFormatter(sep=""))
    axis.set_minor_formatter(NullFormatter())


def tiles(rows, title, heads=None, ticks=(), span=(0, 1)):
    """Makes a figure of rows (label, images [N, H, W, C]): framed images side by side.

    Of vectors a row is a matrix, an example a line, and all rows share their gray levels. What of
    pictures is black and white is said above them, unless it is 0 and 1.

    Args:
      rows: the rows, of images of one shape.
      title: above them.
      heads: {row: text above it}.
      ticks: texts below the last row, one for each image.
      span: the values of pictures that are black and white; beyond them they look the same.
    """
    from matplotlib.figure import Figure

    heads = heads or {}
    pictures, shape = is_image(rows[0][1]), np.shape(rows[0][1])
    count = max(len(images) for _, images in rows)
    low, high = (f([f(v) for _, v in rows]) for f in (np.min, np.max))
    if not pictures:
        title += f"\nan example a line; black {number(low, 2)}, white {number(high, 2)}"
    title += ends(span) if pictures else ""
    wide, tall = 4.5, 0.9
    if pictures:
        pixel = TILE / (shape[2] + 1)  # one of them is the gap to the next image
        wide, tall = TILE * count - pixel, pixel * shape[1]
    letters = max(len(line) for label, _ in rows for line in label.split("\n"))
    left, foot = 0.12 + 0.062 * letters, 0.22 if ticks else 0.08
    width = left + wide + 0.08
    figure = Figure(figsize=(width, 1))
    text = caption(figure, title)
    tops, top = [], 0.14 * (text.count("\n") + 1) + 0.1
    for row, (label, _) in enumerate(rows):
        top += 0.2 if row in heads else 0
        spare = max(0.0, LINE * (label.count("\n") + 1) - tall)  # for a high label
        tops.append(top + spare / 2)
        top += tall + spare + 0.07
    height = top + foot
    figure.set_figheight(height)
    figure.suptitle(text, fontsize=8, y=1 - 0.05 / height, va="top")
    for row, (label, images) in enumerate(rows):
        corner = left / width, 1 - (tops[row] + tall) / height
        panel = figure.add_axes((*corner, wide / width, tall / height))
        images = np.asarray(images)
        if pictures:
            _strip(panel, leveled(images, span), count)
        else:
            panel.imshow(
                images.reshape(len(images), -1),
                cmap="gray",
                vmin=low,
                vmax=high,
                aspect="auto",
                interpolation="nearest",
            )
        panel.set_xticks([])
        panel.set_yticks([])
        panel.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=7)
        if row in heads:
            panel.set_title(heads[row], fontsize=8, loc="left", pad=3)
        for spine in panel.spines.values():
            spine.set_visible(False)
    if pictures and ticks:
        step = shape[2] + 1
        panel.set_xticks([step * i + step / 2 - 1 for i in range(count)], ticks)
        panel.tick_params(labelsize=7, length=0)
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
