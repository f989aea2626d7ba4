"""Draws the figures of a run folder into its `figures/`: PNG, PDF, and captions as text."""

from pathlib import Path

import numpy as np

from aevae import InputError, data
from aevae.figures import (
    codes,
    collapse,
    contract,
    curves,
    frontier,
    inference,
    looks,
    planes,
    sheet,
    views,
)
from aevae.runs import fitted, record, tables, trained
from aevae.runs.progress import say
from aevae.system import files, machine
from aevae.training import bounds

FIGURES = (
    *(curves.curves, planes.rate_distortion, frontier.frontier, planes.heat_map),
    *(inference.inference_gap, collapse.collapse),
    *(codes.reconstructions, codes.samples, codes.interpolations, codes.traversals),
    *(codes.rates, codes.manifold, codes.codes),
)
DRAWN = ".drawn"  # a file that says when the figures were last all drawn
DATA = ("dataset", "binarization")  # runs of other data do not compare
AVERAGED = ("seed", "run")  # columns that tell runs apart and are never an axis


@machine.standard()
@machine.within_memory(
    "what the folder has is sound; name the figures to draw (--figures)"
)
@machine.at_precision
def draw(
    workdir,
    names=None,
    base=None,
    dataset=None,
    data_dir=None,
    priors=None,
    style="paper",
    width=None,
    band="interval",
):
    """Draws every figure that has a meaning for a run folder; returns the paths of the PNGs.

    Of the tables: curves by each swept value, the rate-distortion plane, the curve of multi-rate runs,
    heat maps where two axes are swept, and, once they are measured, the gaps of the bound and the
    collapse of latents; all average over seeds alone. Of the best run of each latent size and data
    set (by the validation ELBO, or distortion where there is none): reconstructions, samples from
    the prior and from fitted ones, interpolations, traversals and rates of the latents; where it
    has two latents their codes and the manifold. Figures of earlier grids that no longer apply are
    removed.

    Args:
      workdir: a run folder.
      names: the figures to draw, instead of all: names of functions in `FIGURES`,
        "module:function", or functions that carry a `contract`. One that has no meaning for the
        folder is an InputError, with the reason.
      base: as in `trained.load`.
      dataset: the runs' data, as `data.load` takes them; by default those that their config names,
        where they are at hand. Without them, figures of test data stay as they are if they were
        drawn since the tables were written; else codes are not shown, and rates are those of the
        ten examples that are kept.
      data_dir: where TFDS has prepared data sets.
      priors: names of the fitted priors that are sampled from, beside the runs' own; by default all
        that there are of a run.
      style, width, band: what figures are made for, and what their bands show, as `figures.style`
        takes them.
    """
    looks.checked(style, width, band)
    columns = record.read(workdir)["columns"]
    rows = sheet.labeled(tables.results(workdir))
    asked = FIGURES if names is None else contract.find(names, FIGURES, columns)
    axes = [name for name in columns if name not in AVERAGED]
    axes = [name for name in axes if len(sheet.values(rows, name)) > 1]
    runs = {row["run"] for row in rows}
    parts = ("curves", "latents", "frontier")
    parts = [_labeled(Path(workdir) / f"{name}.csv", runs) for name in parts]
    of_tables = contract.Tables(rows, parts[0], axes, *parts[1:])
    of_runs = []
    if any(function.contract.looks_at == "runs" for function in asked):
        of_runs = _views(workdir, rows, axes, base, dataset, data_dir, priors)
    found, reasons, spared, fewer, old = [], [], [], [], []
    for function in asked:
        own = function.contract
        shown, reason = _shown(own, of_tables, of_runs)
        away = names is None and _lacks_data(own, of_runs)
        kept = away and _is_drawn(workdir, *own.files(columns))
        if kept or away and reason:
            spared.append(function)
        elif reason is None:
            found.append((function, shown))
        else:
            reasons.append(f"cannot draw {function.__name__}: {reason}")
        if away and not kept:
            old.append(function)
            fewer += [function] if reason is None else []
    if reasons and names is not None:
        raise InputError(f"{workdir}: {'; '.join(reasons)}")
    for functions, what in (
        (spared, "cannot be drawn"),
        (fewer, "are drawn of the test examples that are kept or at hand"),
    ):
        if functions:
            listed = ", ".join(function.__name__ for function in functions)
            say(f"{workdir}: {listed} {what}: {contract.TEST_DATA.otherwise}")
    gone = set(FIGURES).difference(spared) if names is None else None
    with looks.style(style, width, band):
        return _write(Path(workdir) / "figures", found, columns, gone, not old)


def _labeled(path, runs):
    """The rows of a table, of runs whose axes are known; none where there is no such table."""
    found = tables.read(path) if path.is_file() or path.stem == "curves" else []
    return sheet.labeled([row for row in found if row["run"] in runs])


def _views(workdir, rows, axes, base, dataset, data_dir, priors):
    """The best run of each latent size, as the figures look at it."""
    names = [*dict.fromkeys(("latent", "beta", *axes)), "seed"]
    names = [name for name in names if name in rows[0]]
    best, known, found = best_of_each(rows, "latent", *DATA), {}, []
    configs = record.declared(workdir, base) if best else None
    declaration = record.read(workdir)
    data_sets = record.data_sets(workdir)
    classes = {entry["name"]: entry.get("labels", ()) for entry in data_sets}
    data.check_given(dataset, [configs[row["run"]] for row in best])
    for row in best:
        run = trained.open_run(workdir, row, configs=configs)
        place = record.here(declaration, run.config)
        own = run.config.dataset
        digests = [e["sha256"] for e in data_sets if e["name"] == own]
        held = views.held(run, dataset, data_dir, known, place, digests)
        own_priors = _fitted(workdir, row["run"], priors)
        about = names, classes.get(own, ()), own_priors
        found.append(views.View(run, held, *about))
    return found


def _fitted(workdir, number, named):
    """The fitted priors of a run that are named, or all that can be loaded."""
    if named:
        named = [named] if isinstance(named, str) else named
        return {name: fitted.load(workdir, number, name) for name in named}
    found = {}
    for name in fitted.names(workdir, number):
        try:
            found[name] = fitted.load(workdir, number, name)
        except InputError as error:
            say(str(error))
    return found


def _shown(own, of_tables, of_runs):
    """What a figure is given, and None; or what it lacks, as a sentence."""
    if own.looks_at == "tables":
        return of_tables, contract.missing(own.needs, of_tables)
    lacking = [contract.missing(own.needs, view) for view in of_runs]
    shown = [view for view, reason in zip(of_runs, lacking) if reason is None]
    if shown:
        return shown, None
    sentences = [
        need.otherwise for need in own.needs
    ]  # of the view that lacks the least
    return shown, max(lacking, key=sentences.index, default="all runs diverged")


def _lacks_data(own, of_runs):
    """Whether a figure is drawn of all test data, and those of a run that it shows are away."""
    needs = set(own.needs)
    away = [view for view in of_runs if not view.held]
    return bool(needs & contract.OF_TEST_DATA) and any(
        contract.missing(needs - {contract.TEST_DATA}, view) is None for view in away
    )


def _write(folder, found, columns, gone, is_all):
    """Makes the figures and saves them; of those in `gone`, removes what was not made.

    `is_all`: whether the figures are then all drawn, of all that they look at.
    """
    with files.writing(folder):
        folder.mkdir(exist_ok=True)
    paths = []
    for function, shown in found:
        made = function(shown)
        made = made if isinstance(made, dict) else {function.__name__: made}
        paths += [sheet.save(figure, folder / f"{n}.png") for n, figure in made.items()]
    if gone is not None:
        names = {path.stem for path in paths}
        with files.writing(folder):
            for function in gone:
                for name in {*function.contract.files(columns)} - names:
                    for kind in ("png", "pdf", "txt"):
                        (folder / f"{name}.{kind}").unlink(missing_ok=True)
            (folder / DRAWN).unlink(missing_ok=True)
            if is_all:
                (folder / DRAWN).write_bytes(b"")
    return paths


def current(workdir):
    """Says whether all figures were drawn since the tables were last written."""
    return _is_since_tables(workdir, DRAWN)


def _is_drawn(workdir, *names):
    """Whether a figure was drawn since the tables were last written, with all its files."""
    return all(_is_since_tables(workdir, f"{name}.png") for name in names)


def _is_since_tables(workdir, name):
    path = Path(workdir) / "figures" / name
    written = (Path(workdir) / f"{table}.csv" for table in ("curves", "results"))
    return path.is_file() and all(
        path.stat().st_mtime_ns >= table.stat().st_mtime_ns for table in written
    )


def best_of_each(rows, *names):
    """Picks the best row for each point of some columns: by validation ELBO, or else distortion.

    Runs with a bound and runs without are picked apart, since the two do not compare.
    """
    found = {}
    for row in rows:
        value = bounds.criterion(row)
        point = (row.get("validation_elbo") is None, *map(row.get, names))
        if np.isfinite(value) and value > found.get(point, (-np.inf,))[0]:
            found[point] = value, row
    return [row for _, row in found.values()]
