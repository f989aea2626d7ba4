"""The figures of a run folder, drawn from its tables and parameters, and from test data if at hand."""

import functools
from pathlib import Path

import numpy as np

from aevae.figures import codes, sheet
from aevae.figures import curves as planes
from aevae.figures.codes import side_by_side
from aevae.figures.sheet import save, tiles
from aevae.runs import record, tables, trained
from aevae.system import files
from aevae.training import bounds

__all__ = ["best_of_each", "current", "draw", "save", "side_by_side", "tiles"]

DRAWN = ".drawn"  # a file that says when the figures were last all drawn
TELL_APART = ("seed", "run")  # columns that are averaged over, never an axis
OURS = (  # beside elbo and distortion, and those by each column
    *("rate_distortion", "heat_map", "reconstructions", "samples", "interpolations"),
    *("traversals", "rates", "manifold", "codes"),
)


def draw(workdir, base=None, dataset=None, data_dir=None):
    """Draws every figure that has a meaning for the folder, as PNG and PDF; the paths of the PNGs.

    Of the tables: curves by each swept value (mean over seeds, band from least to greatest), the
    rate-distortion plane, and heat maps where two axes are swept. Of the best run of each latent
    size (by the validation ELBO, or distortion where there is none): reconstructions, samples from
    the prior, interpolations, traversals and rates of the latents; where it has two latents their
    codes and the manifold. Figures of ours that no longer apply are removed.

    Args:
      workdir: a run folder.
      base: as in `results.load`.
      dataset: the runs' `data.DataSet`; by default the one that their config names, where it is at
        hand. Without, codes are not shown and rates are those of the ten examples that are kept.
      data_dir: where TFDS has prepared data sets.
    """
    folder = Path(workdir) / "figures"
    found = _of_tables(workdir) | _of_runs(workdir, base, dataset, data_dir)
    with files.writing(folder):
        folder.mkdir(exist_ok=True)
    paths = [save(make(), folder / f"{name}.png") for name, make in found.items()]
    with files.writing(folder):
        columns = record.read(workdir)["columns"]
        for name in _names(columns):
            if name not in found:  # the grid has other axes now
                for kind in ("png", "pdf"):
                    (folder / f"{name}.{kind}").unlink(missing_ok=True)
        (folder / DRAWN).write_bytes(b"")
    return paths


def _of_tables(workdir):
    """{name: function that makes the figure} of the tables."""
    rows = tables.results(workdir)
    curves = tables.read(Path(workdir) / "curves.csv")
    axes = _axes(workdir, rows)
    bounded = [row for row in rows if row["elbo"] is not None]
    measure = "elbo" if bounded else "distortion"
    found = {}
    for axis in axes or [None]:
        others = [name for name in axes if name != axis]
        name = f"{measure}_by_{axis}" if axis else measure
        given = curves, rows, axis, others, measure
        found[name] = functools.partial(planes.curves, *given)
    if bounded:
        make = functools.partial(planes.rate_distortion, bounded, axes)
        found["rate_distortion"] = make
    sound = [row for row in rows if row["diverged"] is None]
    if len(axes) > 1 and any(row[measure] is not None for row in sound):
        make = functools.partial(planes.heat_map, sound, axes, measure)
        found["heat_map"] = make
    return found


def _of_runs(workdir, base, dataset, data_dir):
    """{name: function that makes the figure} of the best run of each latent size."""
    rows = tables.results(workdir)
    names = [*dict.fromkeys(("latent", "beta", *_axes(workdir, rows))), "seed"]
    names = [name for name in names if name in rows[0]]
    best, known, views, plane = best_of_each(rows, "latent"), {}, [], None
    for row in best:
        run = trained.open_run(workdir, row, base)
        held = codes.held(run, dataset, data_dir, known)
        views.append(codes.view(run, held))
        if held is not None and np.shape(views[-1]["code"])[1:] == (2,):
            plane = views[-1]
    found = {"reconstructions": (codes.reconstructions, views)}
    drawn = [view for view in views if view["run"].row["elbo"] is not None]
    found["samples"] = codes.samples, drawn
    for name in ("interpolations", "traversals"):
        own = [view for view in views if name in view["images"]]
        found[name] = getattr(codes, name), own
    found["rates"] = codes.rates, [v for v in views if v["rates"] is not None]
    found = {n: (make, of) for n, (make, of) in found.items() if of}
    grids = [view for view in views if "manifold" in view["images"]]
    if grids:
        found["manifold"] = codes.manifold, grids[0]
    if plane is not None:
        found["codes"] = codes.plane, plane
    return {n: functools.partial(make, of, names) for n, (make, of) in found.items()}


def _axes(workdir, rows):
    """The columns that were swept, but for the seed."""
    names = record.read(workdir)["columns"]
    names = [name for name in names if name not in TELL_APART]
    return [name for name in names if len(sheet.values(rows, name)) > 1]


def _names(columns):
    """All names of ours, whatever the grid."""
    curves = [
        of + by
        for of in ("elbo", "distortion")
        for by in ("", *(f"_by_{n}" for n in columns))
    ]
    return [*curves, *OURS]


def current(workdir):
    """Whether all figures were drawn since the tables were last written."""
    drawn = Path(workdir) / "figures" / DRAWN
    tables = (Path(workdir) / f"{name}.csv" for name in ("curves", "results"))
    return drawn.is_file() and all(
        drawn.stat().st_mtime_ns >= table.stat().st_mtime_ns for table in tables
    )


def best_of_each(rows, name):
    """For each value in a column, its row of the greatest validation ELBO or least distortion."""
    found = {}
    for row in rows:
        value = bounds.score(row)
        if np.isfinite(value) and value > found.get(row.get(name), (-np.inf,))[0]:
            found[row.get(name)] = value, row
    return [row for _, row in found.values()]
