"""The plots, the tables and what filters them, as models of Bokeh; `links.js` fills and links them."""

import math

import numpy as np
from bokeh import models, plotting
from bokeh.models import widgets

HEIGHT = 360  # pixels
COLORS = {"diverged": "#b2182b", "collapsed": "#b35900", "training": "#4a6fa5"}
COLORS["lost"] = COLORS["diverged"]
TOOLS = "pan,wheel_zoom,box_zoom,tap,box_select,reset,save"
MOST = 8  # selects of swept values, and ...
VALUES = 60  # ... values of one, at most
SHAPES = 5  # values that are told apart by dashes
LETTERS = 7.2  # pixels of a letter, about


def plain(text):
    """A text that Bokeh draws as it stands: what opens and closes mathematics, for which it would ask a
    network, is cut in two by a mark without width."""
    for mark in ("$$", r"\(", r"\[", r"\)", r"\]"):
        text = text.replace(mark, f"{mark[0]}\u2060{mark[1]}")
    return text


def columns_of(rows, names):
    """The columns of a source, {field: values}: numbers, nan where there are none, or else texts.

    Fields are c0, c1, ...: a name of the user's may be anything.
    """
    found = {}
    for place, name in enumerate(names):
        values = [row.get(name) for row in rows]
        known = [value for value in values if value is not None]
        if all(isinstance(value, (int, float)) for value in known):
            values = np.array([math.nan if v is None else v for v in values], float)
        else:
            values = ["" if v is None else str(v) for v in values]
        found[f"c{place}"] = values
    return found


def table(source, names, own, view=None, status=None, height=HEIGHT):
    """A sortable table of a source.

    Args:
      source, names: as `columns_of` has them.
      own: the names whose numbers are shown as they were given, as hyperparameters.
      view: what filters it.
      status: the name of the column that is colored by its value.
    """
    columns = []
    for place, name in enumerate(names):
        values = source.data[f"c{place}"]
        formatter, longest = _formatter(values, name in own)
        if name == status:
            formatter.text_color = "status color"
        width = int(LETTERS * min(max(len(name), longest, 4), 40)) + 20
        columns.append(
            widgets.TableColumn(
                field=f"c{place}",
                title=_titled(name),
                formatter=formatter,
                width=width,
            )
        )
    return widgets.DataTable(
        source=source,
        columns=columns,
        view=view or models.CDSView(),
        index_position=None,
        autosize_mode="none",
        reorderable=False,  # it would take jQuery UI
        stylesheets=[".slick-row .slick-cell.selected { background: #cfe2f7; }"],
        row_height=24,
        height=height,
        sizing_mode="stretch_width",
    )


def _titled(text):
    """The title of a column, which some versions of Bokeh take for HTML and others for text.

    As in `plain`, what begins a tag or a letter's name is cut in two by a mark without width.
    """
    return text.replace("<", "<\u2060").replace("&", "&\u2060")


def _formatter(values, own):
    """How a column is written, and of how many letters it is."""
    if isinstance(values, list):
        return widgets.StringFormatter(), max(map(len, values), default=0)
    finite = values[np.isfinite(values)]
    most = float(np.abs(finite).max()) if len(finite) else 0.0
    whole = bool((finite == finite.round()).all()) and most < 1e9
    style = {"text_align": "right", "nan_format": ""}
    if own and not whole:
        longest = max((len(f"{v:.9g}") for v in finite), default=0)
        return widgets.StringFormatter(**style), longest
    digits = 0 if whole else 2 if most >= 10 else 3
    if most >= 1e7 or 0 < most < 1e-2:
        return widgets.ScientificFormatter(precision=3, **style), 10
    text = "0" if not digits else f"0.{'0' * digits}"
    return widgets.NumberFormatter(format=text, **style), len(f"{most:.{digits}f}") + 1


def curves(label):
    """The plot of curves against examples seen; its sources are `lines` and `own`."""
    figure = _figure("curves", "training examples seen", label, x_axis_type="log")
    source = models.ColumnDataSource(
        {n: [] for n in ("xs", "ys", "bx", "by", "color", "dash", "label")},
        name="lines",
    )
    figure.patches("bx", "by", source=source, color="color", alpha=0.14, line_width=0)
    lines = figure.multi_line(
        "xs", "ys", source=source, color="color", line_dash="dash", line_width=2
    )
    lines.nonselection_glyph.line_alpha = 0.25
    figure.xaxis.ticker = models.LogTicker(mantissas=[1, 2, 5], num_minor_ticks=0)
    figure.xaxis.formatter = models.NumeralTickFormatter(format="0.[0]a")
    own = models.ColumnDataSource({"xs": [], "ys": []}, name="own")
    figure.multi_line("xs", "ys", source=own, color="black", line_width=1)
    for tool in figure.select({"type": models.TapTool}):
        tool.renderers = [lines]
    tips = [("", "@label")]
    figure.add_tools(models.HoverTool(renderers=[lines], tooltips=tips))
    return figure


def plane(runs, view):
    """The rate-distortion plane, with the line of the best ELBO."""
    figure = _figure("plane", "rate (nats)", "distortion (nats)")
    _points(figure, "rate", "distortion", runs, view)
    figure.add_layout(
        models.Slope(
            gradient=-1, y_intercept=0, line_dash="dotted", line_color="gray", name="best elbo",
            visible=False,
        )
    )  # fmt: skip
    return figure


def scatter(runs, view):
    """The plot of any two columns, which are the fields x and y."""
    figure = _figure("scatter", "", "")
    _points(figure, "x", "y", runs, view)
    return figure


def _figure(name, across, up, **options):
    figure = plotting.figure(
        name=name,
        height=HEIGHT,
        sizing_mode="stretch_width",
        tools=TOOLS,
        x_axis_label=across,
        y_axis_label=up,
        x_range=(1, 10),  # links.js sets them
        y_range=(1, 10),
        **options,
    )
    figure.toolbar.logo = None
    figure.toolbar.autohide = True
    figure.grid.grid_line_alpha = 0.4
    figure.outline_line_color = None
    for axis in figure.axis:
        axis.axis_label_text_font_style = "normal"
    return figure


def _points(figure, x, y, runs, view):
    points = figure.scatter(
        x, y, source=runs, view=view, size=9, color="color", marker="marker", alpha=0.8
    )
    points.nonselection_glyph.fill_alpha = points.nonselection_glyph.line_alpha = 0.15
    points.selection_glyph = points.glyph.clone()
    points.selection_glyph.update(size=14, line_color="black", line_width=2)
    tips = [("", "@label"), (x, f"@{x}{{0.000}}"), (y, f"@{y}{{0.000}}")]
    figure.add_tools(models.HoverTool(renderers=[points], tooltips=tips))


def controls(metrics, axes, numbers, x, y):
    """The widgets above the plots, {name: widget}.

    Args:
      metrics: [(name, label)] of curves.
      axes: {name: texts of its values} of what was swept.
      numbers: [(field, name)] of columns of numbers.
      x, y: fields that the scatter plot shows first.
    """
    swept = [("", "none"), *((name, plain(name)) for name in axes)]
    first, second = [*axes, "", ""][:2]
    second = second if len(axes.get(second, ())) <= SHAPES else ""
    found = [widgets.TextInput(name="filter", title="filter", width=250)]
    found[0].placeholder = "as: elbo > -30, latent = 4"
    for place, (name, texts) in enumerate([*axes.items()][:MOST]):
        if len(texts) <= VALUES:
            options = [("", "all"), *((str(n), text) for n, text in enumerate(texts))]
            found.append(_select(f"only{place}", f"only {plain(name)}", options, ""))
    found += [
        _select("color", "color by", swept, first),
        _select("shape", "dash and marker by", swept, second),
        _select("metric", "curves of", metrics, metrics[0][0] if metrics else ""),
        _select("x", "any two: across", numbers, x),
        _select("y", "any two: up", numbers, y),
    ]
    return {widget.name: widget for widget in found}


def _select(name, title, options, value):
    return widgets.Select(
        name=name, title=title, options=options, value=value, width=140
    )


def colors(texts, ordered):
    """A color a value: from dark to light where they have an order, as `sheet.colors`."""
    from bokeh.palettes import Plasma256

    from aevae.figures.sheet import CLASSES, LIGHTEST

    if not ordered and len(texts) <= len(CLASSES):
        return [*CLASSES[: len(texts)]]
    if len(texts) == 1:
        return [Plasma256[26]]
    last = 255 * LIGHTEST / (len(texts) - 1)
    return [Plasma256[round(last * n)] for n in range(len(texts))]
