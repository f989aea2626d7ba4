"""How figures look: sizes and letters for a paper, a talk or a notebook, and what bands show.

    with figures.style("paper", width="single"):
        ...

Within it figures are made so; without it they have the letters and lines of one's own matplotlib.
"""

import contextlib
import contextvars
from typing import NamedTuple

import numpy as np

from aevae import InputError
from aevae.runs import statistics

WIDTHS = {"single": 3.25, "double": 6.75}  # inches: of a column, and of a page of two
# Letters in points; what a width of a paper is multiplied by; and the thickness of lines. A talk's
# letters are larger for its width than a paper's: it is read from afar.
LETTERS = {"paper": 8.0, "notebook": 10.0, "talk": 14.0}
SCALES = {"paper": 1.0, "notebook": 1.25, "talk": 1.4}
LINES = {"paper": 1.0, "notebook": 1.2, "talk": 1.7}
BANDS = {
    "interval": "95 % t interval",
    "range": "least to greatest",
    "deviation": "± standard deviation",
}
MEANINGS = {  # in a sentence
    "interval": "its 95 % t interval",
    "range": "from the least to the greatest seed",
    "deviation": "a standard deviation over seeds to each side",
}
LEAST = {"interval": statistics.ENOUGH, "range": 2, "deviation": 2}  # seeds


class Style(NamedTuple):
    """What figures are made for."""

    name: str = "paper"
    width: str | None = None  # of WIDTHS; None: what the content needs of the two
    band: str = "interval"

    @property
    def scale(self):
        return SCALES[self.name]

    @property
    def letters(self):
        """How much larger letters are than a paper's."""
        return LETTERS[self.name] / LETTERS["paper"]

    @property
    def widths(self):
        """The widths of a column and of a page, in inches."""
        return tuple(self.scale * width for width in WIDTHS.values())


USUAL = Style()
_style = contextvars.ContextVar("style", default=USUAL)


def current():
    """Gives the style that figures are made in."""
    return _style.get()


def checked(style="paper", width=None, band="interval"):
    """Makes a Style of names; an InputError says which there are."""
    for what, value, known in (
        ("style", style, LETTERS),
        ("width", width or "single", WIDTHS),
        ("band", band, BANDS),
    ):
        if value not in known:
            allowed = ", ".join(known)
            raise InputError(f"no {what} is named {value!r}: there are {allowed}")
    return Style(style, width, band)


@contextlib.contextmanager
def style(name="paper", width=None, band="interval"):
    """Makes figures within it for a paper, a talk or a notebook.

    Args:
      name: "paper" (8 points), "notebook" (10) or "talk" (14).
      width: "single", a paper's column of 3.25 inches, or "double", a page of 6.75; 1.25 times that in
        a notebook and 1.4 times in a talk. By default what the content needs of the two.
      band: what bands and crosses show of seeds: "interval", the 95 % t interval of their mean;
        "range", from the least to the greatest; "deviation", a standard deviation to each side.
    """
    import matplotlib

    token = _style.set(checked(name, width, band))
    try:
        with matplotlib.rc_context(parameters(name)):
            yield
    finally:
        _style.reset(token)


def parameters(name):
    """Gives a style as matplotlib's parameters, for `matplotlib.rc_context` or `rcParams.update`."""
    points, line = LETTERS[name], LINES[name]
    small = points * 0.875
    return {
        **dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize"), points),
        **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), small),
        **dict.fromkeys(("legend.fontsize", "legend.title_fontsize"), small),
        "figure.labelsize": points,
        "figure.titlesize": points,
        "axes.titleweight": "normal",
        "axes.linewidth": 0.6 * line,
        "grid.linewidth": 0.5 * line,
        "lines.linewidth": 1.2 * line,
        "lines.markersize": 3.5 * line,
        **{f"{axis}tick.major.width": 0.6 * line for axis in "xy"},
        **{f"{axis}tick.minor.width": 0.4 * line for axis in "xy"},
        **{f"{axis}tick.major.size": 2.5 * line for axis in "xy"},
        **{f"{axis}tick.minor.size": 1.5 * line for axis in "xy"},
        "axes.labelpad": 3.0,
        "axes.titlepad": 4.0,
        "legend.frameon": False,
        "legend.handlelength": 1.6,
        "legend.columnspacing": 1.2,
        "pdf.fonttype": 42,  # letters stay text, in fonts that are embedded
        "figure.constrained_layout.w_pad": 0.05,
        "figure.constrained_layout.h_pad": 0.05,
    }


def spread(values, band=None):
    """Gives what a band shows of values over seeds, (from, to); None where they are too few."""
    band = band or current().band
    if len(values) < LEAST[band]:
        return None
    if band == "range":
        return min(values), max(values)
    if band == "deviation":
        mean, half = np.mean(values), np.std(values, ddof=1)
        return mean - half, mean + half
    found = statistics.interval(values)
    return found.low, found.high


def enough(counts):
    """Whether some of the numbers of seeds are enough for the band."""
    return max(counts, default=0) >= LEAST[current().band]
