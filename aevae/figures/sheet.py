"""What the figures share: canvas, colors, legends, captions, and how they are saved."""

import textwrap
from pathlib import Path

import numpy as np

from aevae.figures import looks
from aevae.runs import tables
from aevae.system import files

DPI = 150
LIGHTEST = 0.64  # of the color map: farther on it fades into white paper
PLANE = "rate KL(q(z|x) || p(z)) and distortion E[−log p(x|z)]"  # in a caption
MANY = 9  # values that a legend names at most; of more there is a bar
# Of classes, in no order: Paul Tol's "muted", two of them darker, and black. Markers say more.
CLASSES = (
    *("#cc6677", "#332288", "#c8a415", "#117733", "#4aa8d8"),
    *("#882255", "#44aa99", "#999933", "#aa4499", "#222222"),
)
MARKERS = "os^DvP*X<>"


def save(figure, path):
    """Writes `path` as a PNG and, beside it, a PDF and its caption, as text; returns the PNG's path.

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
    text = getattr(figure, "caption", "")
    if text:
        with files.whole(stem.with_name(f"{stem.name}.txt"), same=True) as file:
            file.write(files.encoded(f"{text}\n"))
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
    """Makes a figure and its panels, [rows, columns], without pyplot: a notebook's stay its own.

    It is as wide as a column of a paper, or as its page where the panels ask for more, or as the
    style says; panels that get narrower get lower, too.

    Args:
      rows, columns: the panels.
      width, height: of a panel, in inches of a paper.
      options: of `Figure.subplots`.
    """
    from matplotlib.figure import Figure

    look = looks.current()
    single, double = look.widths
    wide = single if width * columns <= 1.4 * looks.WIDTHS["single"] else double
    wide = dict(zip(looks.WIDTHS, look.widths)).get(look.width, wide)
    tall = height * np.clip(wide / (width * columns), 0.75, look.letters)
    figure = Figure(figsize=(wide, tall * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def across(width):
    """How many panels of a width in inches of a paper stand side by side, in the style."""
    look = looks.current()
    wide = dict(zip(looks.WIDTHS, look.widths)).get(look.width, look.widths[1])
    return max(1, int(wide / (width * look.letters) + 0.01))


def caption(figure, text):
    """Keeps a caption, which `save` writes beside the figure; returns it.

    A line is a sentence: it gets a capital and a full stop.
    """
    lines = [" ".join(line.split()).rstrip(".") for line in text.splitlines()]
    lines = [f"{line[0].upper()}{line[1:]}." for line in lines if line]
    figure.caption = " ".join(lines).replace(r"\$", "$")
    return figure.caption


def legend(figure, handles):
    """The one legend of a figure: below it, in as many columns as it has room for.

    Each row but the first makes the figure higher, so that panels stay as they are.
    """
    import matplotlib

    for handle in handles:
        handle.set_label(textwrap.fill(handle.get_label(), 40))
    points = matplotlib.rcParams["font.size"]
    room = figure.get_figwidth() * 72 / points
    lengths = [max(map(len, h.get_label().split("\n"))) for h in handles]
    for columns in range(len(handles), 0, -1):
        rows = -(-len(handles) // columns)
        starts = range(0, len(handles), rows)  # a column is filled before the next
        wide = sum(0.52 * max(lengths[i : i + rows]) + 3.2 for i in starts)
        if wide <= room:
            break
    lines = sum(handle.get_label().count("\n") for handle in handles[:rows])
    higher = (rows - 1 + lines) * 1.5 * points / 72
    figure.set_figheight(figure.get_figheight() + higher)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(starts))


def bar(figure, panels, name, colors):
    """A bar of the colors of many values, with some of the values beside it."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    found, count = list(colors), len(colors)
    norm = BoundaryNorm(np.arange(count + 1) - 0.5, count)
    shades = ScalarMappable(norm, ListedColormap(list(colors.values())))
    ticks = np.unique(np.linspace(0, count - 1, 7).round().astype(int))
    look = {"ticks": ticks, "aspect": 30, "pad": 0.02, "drawedges": False}
    made = figure.colorbar(shades, ax=list(np.ravel(panels)), label=name, **look)
    made.ax.set_yticklabels([short(found[i]) for i in ticks])
    made.ax.minorticks_off()
    made.outline.set_visible(False)


def short(value):
    """Writes a value of a column as an axis has it."""
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def source(rows):
    """Names the data set and its binarization, of rows of results.csv."""
    found = dict.fromkeys((row["dataset"], row["binarization"]) for row in rows)
    kinds = [f"{name}, {'no' if b == 'none' else b} binarization" for name, b in found]
    found = "; ".join(kinds) if len(kinds) < 4 else f"{len(kinds)} kinds of data"
    return f"Data: {found}"


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
    """Gives {value: color} from dark to light, so that a print in gray keeps their order.

    The lightest has a contrast of 3 to 1 on white, which is what lines need to be seen (WCAG 2).
    """
    from matplotlib import colormaps

    shades = np.linspace(0.0, LIGHTEST, len(found)) if len(found) > 1 else [0.1]
    return dict(zip(found, colormaps["plasma"](shades)))


def marker(place):
    """Gives the marker of a value by its place; they come again where there are many."""
    return MARKERS[place % len(MARKERS)]


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
