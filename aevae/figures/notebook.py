"""Figures on axes of one's own, of tables of one's own: for a notebook or a paper's script.

A table is a list of dict rows, as `runs.tables.read` gives it, a dict of columns, or a pandas
DataFrame, as `pandas.read_csv("runs/digits/curves.csv")`; aevae does not need pandas. Each function
draws on `ax`, or makes a figure of its own, and returns the axes. `figures.style` sets their
letters, their size and what bands show.
"""

import textwrap

import numpy as np

from aevae import InputError
from aevae.figures import curves, frontier, inference, planes, sheet

BARE = (3.25, 2.4)  # inches of a figure that was not given


def rows_of(table, *needed):
    """Gives a table as a list of dict rows, with None for what is blank or NaN.

    Raises an InputError where there is no row, or one of the columns that are needed is missing.
    """
    if hasattr(table, "to_dict"):  # a DataFrame
        table = table.to_dict("list")
    if hasattr(table, "keys"):
        columns = {name: list(values) for name, values in table.items()}
        counts = {name: len(values) for name, values in columns.items()}
        if len(set(counts.values())) > 1:
            raise InputError(f"columns of a table have unequal lengths: {counts}")
        table = [dict(zip(columns, row)) for row in zip(*columns.values())]
    rows = [{name: _cell(value) for name, value in row.items()} for row in table]
    if not rows:
        raise InputError("the table has no rows")
    for name in needed:
        if not all(name in row for row in rows):
            there = ", ".join(map(str, rows[0]))
            raise InputError(f"the table has no column {name!r}: there are {there}")
    return sheet.labeled(rows)


def _cell(value):
    value = value.item() if isinstance(value, np.generic) else value
    missing = value is None or isinstance(value, float) and np.isnan(value)
    # pandas' NA and NaT are unequal to themselves, or to nothing at all.
    missing = missing or type(value).__name__ in ("NAType", "NaTType")
    if missing:
        return None
    # pandas makes floats of whole numbers where a cell is blank.
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole else value


def _axes(ax):
    if ax is not None:
        return ax
    _, ((ax,),) = sheet.canvas(1, 1, *BARE)
    return ax


def elbo_curves(table, ax=None, by="beta", measure="elbo", split=("train", "test")):
    """Draws train and test ELBO against samples seen, of rows of curves.csv.

    A color is a value of the column `by`; the line is the mean over the rows of equal `samples`, as
    of seeds, and the band of the test values their 95 % t interval, or what `figures.style` says.
    Keep the rows of one point of what else was swept: they would be averaged over.

    Args:
      table: with the columns `samples`, `run`, `by`, and `train_elbo` and `test_elbo`.
      ax: matplotlib axes; by default those of a new figure.
      by: the column that has a color for each value; None for one.
      measure: "elbo", or "distortion".
      split: which of "train" and "test" are drawn.
    Returns:
      The axes.
    """
    known = ("train", "test")
    split = (split,) if isinstance(split, str) else tuple(split)
    if not split or not {*split} <= {*known}:
        raise InputError(f"split is {split!r}: it is of {', '.join(known)}")
    split = tuple(part for part in known if part in split)
    names = [f"{part}_{measure}" for part in split]
    rows = rows_of(table, "samples", "run", *names, *[by] * (by is not None))
    rows = [{"diverged": None} | row for row in rows]
    ax = _axes(ax)
    colors = sheet.colors(sheet.values(rows, by) if by else [None])
    lasts, diverged = curves.lines(ax, rows, by, colors, measure, split)
    curves.frame([ax], lasts)
    counts = curves.seeds(rows, by)
    single = len({row["samples"] for row in rows}) == 1
    handles = curves.parts(single, counts, bool(diverged), split)
    if by and len(colors) > sheet.MANY:
        sheet.bar(ax.figure, ax, by, colors)
    else:
        handles = [*curves.named(by, colors if by else {}), *handles]
    for handle in handles:  # in narrow lines, since it is among the curves
        handle.set_label(textwrap.fill(handle.get_label(), 16))
    ax.legend(handles=handles)
    ax.set_xlabel("samples seen")
    ax.set_ylabel(curves.label(measure))
    return ax


def rate_distortion(table, ax=None, by="latent", along="beta"):
    """Draws runs in the rate-distortion plane, of rows of results.csv; in nats.

    A color is a value of the column `by`; means over the rows of equal `along` are joined, and have
    as a cross their 95 % t intervals, or what `figures.style` says. Gray lines have equal ELBO.

    Args:
      table: with the columns `rate`, `distortion`, `by` and `along`.
      ax: matplotlib axes; by default those of a new figure.
      by, along: columns, or None.
    Returns:
      The axes.
    """
    names = [name for name in (by, along) if name is not None]
    rows = rows_of(table, "rate", "distortion", *names)
    rows = [r for r in rows if r["rate"] is not None and r["distortion"] is not None]
    rows = [r for r in rows if np.isfinite([r["rate"], r["distortion"]]).all()]
    if not rows:
        raise InputError("no row has a rate and a distortion: autoencoders have none")
    ax = _axes(ax)
    colors = sheet.colors(sheet.values(rows, by) if by else [None])
    lines = []
    for i, (value, color) in enumerate(colors.items()):
        own = [row for row in rows if by is None or row[by] == value]
        look = {"marker": sheet.marker(i)}
        lines.append(planes.curve(ax, own, along, color, **look)[:2])
    planes.finish(ax, rows, lines if along else ())
    if by and len(colors) > sheet.MANY:
        sheet.bar(ax.figure, ax, by, colors)
    elif by:
        handles = curves.named(by, colors)
        for i, handle in enumerate(handles):
            handle.set(marker=sheet.marker(i))
        ax.legend(handles=handles)
    return ax


def heat_map(table, ax=None, value="elbo", down="latent", across="beta"):
    """Draws means of a column over two others, a number in each cell, of rows of results.csv.

    Below a mean is the half-width of its 95 % t interval, of three seeds or more.

    Args:
      table: with the columns `value`, `down` and `across`.
      ax: matplotlib axes; by default those of a new figure.
      value, down, across: columns.
    Returns:
      The axes.
    """
    rows = rows_of(table, value, down, across)
    rows = [row for row in rows if row.get("diverged") is None]
    axes = {name: sheet.values(rows, name) for name in (down, across)}
    means, halves, counts = planes.cells(rows, axes, value)
    if not np.isfinite(means).any():
        raise InputError(f"no row has a number in the column {value!r}")
    ax = _axes(ax)
    counts = np.where(counts == counts.max(), 0, counts)
    low, high = np.nanmin(means), np.nanmax(means)
    planes.heat(ax, means, halves, counts, low, high)
    ax.set_xticks(range(len(axes[across])), map(sheet.short, axes[across]))
    ax.set_yticks(range(len(axes[down])), map(sheet.short, axes[down]))
    ax.tick_params(length=0)
    ax.set(xlabel=across, ylabel=down, title=value)
    return ax


def multi_rate(table, ax=None, by=None):
    """Draws multi-rate runs in the rate-distortion plane, of rows of frontier.csv; in nats.

    The line is the mean over runs at each `at_beta`, which is written beside it; a thin line is a run.

    Args:
      table: with the columns `run`, `at_beta`, `rate` and `distortion`.
      ax: matplotlib axes; by default those of a new figure.
      by: a column that has a line for each value, or None.
    Returns:
      The axes.
    """
    needed = ("run", "at_beta", "rate", "distortion")
    rows = rows_of(table, *needed, *[by] * (by is not None))
    ax = _axes(ax)
    lines = sheet.grouped(rows, [by] if by else [])
    for (point, own), color in zip(lines.items(), sheet.colors(lines).values()):
        name = sheet.named([by], point) if by else "multi-rate"
        frontier.draw_curve(ax, own, color, name)
    frontier.label(ax)
    ax.legend()
    return ax


def inference_gap(table, ax=None, by="beta"):
    """Draws log p(x) - ELBO as bars of two parts, of rows of results.csv; in nats.

    Args:
      table: with the columns `inference_gap`, `approximation_gap`, `amortization_gap` and `by`.
      ax: matplotlib axes; by default those of a new figure.
      by: the column that has a bar for each value.
    Returns:
      The axes.
    """
    needed = ("inference_gap", "approximation_gap", "amortization_gap")
    rows = [r for r in rows_of(table, *needed, by) if r["inference_gap"] is not None]
    if not rows:
        raise InputError("no row has an inference_gap")
    ax = _axes(ax)
    found = sheet.grouped(rows, [by])
    for place, own in enumerate(found.values()):
        inference.bar(ax, place, own)
    ax.set_xticks(range(len(found)), [sheet.short(value) for (value,) in found])
    ax.set(xlabel=by, ylabel="log p(x) − ELBO (nats)")
    ax.legend(handles=inference.handles([""]))
    return ax
