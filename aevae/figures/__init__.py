"""The figures of a run folder, drawn from its tables and parameters, and from test data if at hand.

`draw` draws them, `contract` says what a figure is; `curves` and `planes` are made of the tables,
`codes` of trained runs through `views`; `sheet`, `strips` and `looks` have what all of them share.
`differences` is drawn of what `runs.paired` finds; `notebook` draws tables on axes of one's own,
and `report` writes all of a folder as a page for the browser.
"""

from aevae.figures.draw import best_of_each, current, draw
from aevae.figures.looks import parameters, style
from aevae.figures.notebook import (
    elbo_curves,
    heat_map,
    inference_gap,
    multi_rate,
    rate_distortion,
)
from aevae.figures.pair import side_by_side
from aevae.figures.sheet import save
from aevae.figures.strips import tiles
from aevae.figures.views import span

__all__ = [
    "best_of_each",
    "current",
    "draw",
    "elbo_curves",
    "heat_map",
    "inference_gap",
    "multi_rate",
    "parameters",
    "rate_distortion",
    "save",
    "side_by_side",
    "span",
    "style",
    "tiles",
]
