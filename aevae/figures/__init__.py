"""The figures of a run folder, drawn from its tables and parameters, and from test data if at hand.

`draw` draws them, `contract` says what a figure is; `curves` and `planes` are made of the tables,
`codes` of trained runs through `views`; `sheet` has what all of them share. `differences` is drawn
of what `runs.paired` finds.
"""

from aevae.figures.codes import side_by_side
from aevae.figures.draw import best_of_each, current, draw
from aevae.figures.sheet import save, tiles
from aevae.figures.views import span

__all__ = ["best_of_each", "current", "draw", "save", "side_by_side", "span", "tiles"]
