"""The figures of a run folder, drawn from its tables and parameters alone."""

import itertools
from pathlib import Path

import jax
import numpy as np

from aevae import evaluate, files, results

DRAWN = ".drawn"  # a file that says when the figures were last all drawn
PANELS = 12  # in a figure at most
TELL_APART = ("seed", "run")  # columns that are averaged over, never an axis


def draw(workdir, base=None):
    """Draws every figure of the folder; returns their paths.

    Curves by each swept value (mean over seeds, band from least to greatest), the rate-distortion
    plane, and of the best run of each latent size (by the validation ELBO, or distortion where
    there is none) reconstructions and samples from the prior. `base` as in `results.load`.
    """
    rows = results.rows_of(workdir)
    curves = results.read(Path(workdir) / "curves.csv")
    names = [n for n in results.record_of(workdir)["columns"] if n not in TELL_APART]
    axes = [n for n in names if len(_values(rows, n)) > 1]
    folder = Path(workdir) / "figures"
    with files.writing(folder):
        folder.mkdir(exist_ok=True)
    paths = []
    bounded = [row for row in rows if row["elbo"] is not None]
    measure = "elbo" if bounded else "distortion"
    for axis in axes or [None]:
        figure = _curves(curves, axis, [a for a in axes if a != axis], measure)
        paths.append(
            _save(figure, folder / f"{measure}{f'_by_{axis}' if axis else ''}.png")
        )
    if bounded:
        figure = _rate_distortion(bounded, axes)
        paths.append(_save(figure, folder / "rate_distortion.png"))
    best = [
        results.open_run(workdir, row, base) for row in best_of_each(rows, "latent")
    ]
    if best:
        paths.append(_save(_reconstructions(best), folder / "reconstructions.png"))
    generative = [run for run in best if run.row["elbo"] is not None]
    if generative:
        paths.append(_save(_samples(generative), folder / "samples.png"))
    with files.writing(folder):
        for of in ("elbo", "distortion"):
            for old in (of, *(f"{of}_by_{name}" for name in names)):
                if folder / f"{old}.png" not in paths:  # the grid has other axes now
                    (folder / f"{old}.png").unlink(missing_ok=True)
        (folder / DRAWN).write_bytes(b"")
    return paths


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
        value = evaluate.score(row)
        if np.isfinite(value) and value > found.get(row.get(name), (-np.inf,))[0]:
            found[row.get(name)] = value, row
    return [row for _, row in found.values()]


def _values(rows, name):
    return list(dict.fromkeys(row[name] for row in rows))


def _save(figure, path):
    with files.whole(path) as file:
        figure.savefig(file, dpi=120, format="png")
    return path


def _canvas(rows, columns, width, height, **options):
    """A figure and its panels, [rows, columns], without pyplot: a notebook's stay its own."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _colours(values):
    from matplotlib import colormaps

    shades = np.linspace(0.05, 0.85, len(values)) if len(values) > 1 else [0.3]
    return dict(zip(values, colormaps["viridis"](shades)))


def _curves(curves, axis, others, measure):
    """Train and test against samples seen; a colour for each value of `axis`, a panel for the rest."""
    points = list(dict.fromkeys(tuple(row[name] for name in others) for row in curves))
    shown = points[:PANELS]
    columns = min(4, len(shown))
    figure, panels = _canvas(
        -(-len(shown) // columns),
        columns,
        4.2 if columns > 1 else 6.4,
        3.6,
        sharex=True,
        sharey=True,
    )
    values = _values(curves, axis) if axis else [None]
    colours = _colours(values)
    lasts, diverged = [], set()
    for point, panel in itertools.zip_longest(shown, panels.flat):
        if point is None:
            panel.set_axis_off()
            continue
        here = [r for r in curves if tuple(r[name] for name in others) == point]
        for value in values:
            own = [r for r in here if axis is None or r[axis] == value]
            for part, style in (("train", "--"), ("test", "-")):
                x, table = _by_samples(own, f"{part}_{measure}")
                if not len(x):
                    continue
                low, mean, high = zip(*[(min(v), np.mean(v), max(v)) for v in table])
                colour = colours[value]
                marker = "o" if len(x) == 1 else None
                panel.plot(x, mean, style, color=colour, lw=1.3, marker=marker, ms=4)
                panel.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
                lasts.extend(np.concatenate(table[len(table) // 10 :]))
            diverged |= _cross(panel, own, f"test_{measure}", colours[value])
        panel.set_xscale("log")
        panel.xaxis.set_minor_formatter("")
        panel.set_title(
            ", ".join(f"{n} {v}" for n, v in zip(others, point)), fontsize=10
        )
        panel.grid(alpha=0.25)
    if lasts:
        margin = 0.05 * (max(lasts) - min(lasts)) + 1e-6
        panels[0, 0].set_ylim(min(lasts) - margin, max(lasts) + margin)
    hidden = (
        f"; {len(points) - len(shown)} panels left out"
        if len(points) > len(shown)
        else ""
    )
    figure.supxlabel("samples seen", fontsize=10)
    title = "ELBO at beta = 1" if measure == "elbo" else "distortion"
    figure.supylabel(f"{title} (nats)", fontsize=10)
    _legend(figure, colours if axis else {}, axis)
    crosses = f"; × {len(diverged)} runs diverged" if diverged else ""
    title = f"mean over seeds, band from least to greatest{crosses}{hidden}"
    figure.suptitle(title, fontsize=9)
    return figure


def _cross(panel, rows, name, colour):
    """Marks the last finite value of each run that diverged; returns the runs.

    A run without any is marked at the foot of the panel.
    """
    runs = {row["run"] for row in rows if row["diverged"] is not None}
    for run in runs:
        own = [row for row in rows if row["run"] == run]
        sound = [r for r in own if r[name] is not None and np.isfinite(r[name])]
        place = (sound or own[:1])[-1]["samples"], sound[-1][name] if sound else 0.03
        where = panel.transData if sound else panel.get_xaxis_transform()
        panel.plot(*place, "x", color=colour, ms=7, mew=2, transform=where)
    return runs


def _by_samples(rows, name):
    """Samples seen, and for each the finite values of the runs that have come so far.

    About a hundred points, evenly spread on the log axis.
    """
    found = {}
    for row in rows:
        if row[name] is not None and np.isfinite(row[name]):
            found.setdefault(row["samples"], []).append(row[name])
    keep = np.unique(np.geomspace(1, max(len(found), 1), 100).round().astype(int)) - 1
    x = np.array(list(found))[keep] if found else np.array([])
    return x, [found[samples] for samples in x]


def _legend(figure, colours, axis):
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, label=f"{axis} {value}")
        for value, colour in colours.items()
    ]
    handles += [
        Line2D([], [], color="grey", linestyle=style, label=part)
        for part, style in (("test", "-"), ("train", "--"))
    ]
    figure.legend(handles=handles, fontsize=8, loc="outside right center")


def _rate_distortion(rows, axes):
    """Every run as a point of the plane; lines of equal ELBO, on which rate + distortion is one."""
    figure, ((panel,),) = _canvas(1, 1, 6.4, 4.8)
    axis = "latent" if "latent" in axes or not axes else axes[0]
    along = next((name for name in axes if name != axis), None)
    colours = _colours(_values(rows, axis))
    for value, colour in colours.items():
        own = [row for row in rows if row[axis] == value and np.isfinite(row["elbo"])]
        if not own:
            continue
        panel.scatter(
            [r["rate"] for r in own], [r["distortion"] for r in own], color=colour, s=16
        )
        means = []
        for point in _values(own, along) if along else [None]:
            near = [r for r in own if along is None or r[along] == point]
            means.append(
                [np.mean([r[n] for r in near]) for n in ("rate", "distortion")]
            )
        panel.plot(*np.transpose(means), color=colour, lw=1, label=f"{axis} {value}")
    panel.set_xlabel("rate, KL(q(z|x) || p(z)) (nats)")
    panel.set_ylabel("distortion, E[-log p(x|z)] (nats)")
    _equal_elbo(panel)
    joined = f", joined along {along}" if along else ""
    panel.set_title(f"test split, a point a run{joined}; grey: equal ELBO", fontsize=9)
    if panel.get_legend_handles_labels()[0]:
        panel.legend(fontsize=8)
    return figure


def _equal_elbo(panel):
    from matplotlib.ticker import MaxNLocator

    (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
    for total in MaxNLocator(8).tick_values(left + low, right + high):
        panel.plot(
            [left, right],
            [total - left, total - right],
            color="grey",
            lw=0.5,
            alpha=0.5,
        )
        x = min(right, total - low)  # where the line leaves the panel
        if left < x and low <= total - x < high:
            panel.annotate(
                f"{-total:g}",
                (x, total - x),
                fontsize=6,
                color="grey",
                ha="right",
                va="bottom",
            )
    panel.set_xlim(left, right)
    panel.set_ylim(low, high)


def _reconstructions(runs):
    """Of each run, the test examples above their reconstructions from the mean code."""
    tiles = []
    for run in runs:
        images = run.examples["image"]
        if not tiles or not np.array_equal(images, tiles[-1][2]):
            tiles.append(("test", images, images))
        tiles.append((_label(run), run.reconstruct(run.examples), images))
    return _tiles(
        [(name, images) for name, images, _ in tiles], "reconstructions, best runs"
    )


def _samples(runs):
    return _tiles(
        [
            (_label(run), run.sample(jax.random.key(0), results.IMAGES, _given(run)))
            for run in runs
        ],
        "mean images of codes drawn from the prior, best runs",
    )


def _given(run):
    """What a model may read beside the image, as labels: those of the examples."""
    return {name: v for name, v in run.examples.items() if name != "image"}


def _label(run):
    row = run.row
    names = [name for name in ("latent", "beta", "seed") if name in row]
    return "\n".join(f"{name} {row[name]}" for name in names)


def _tiles(rows, title):
    """A row of framed images for each label; of vectors a matrix, an example a line."""
    from matplotlib.patches import Rectangle

    figure, panels = _canvas(len(rows), 1, 0.75 * results.IMAGES + 0.8, 0.8)
    low, high = min(np.min(v) for _, v in rows), max(np.max(v) for _, v in rows)
    for (label, images), panel in zip(rows, panels[:, 0]):
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[-1] not in (1, 3):
            matrix = images.reshape(len(images), -1)
            panel.imshow(matrix, cmap="gray", vmin=low, vmax=high, aspect="auto")
        else:
            gap = ((0, 0), (0, 0), (0, 1), (0, 0))
            tiles = np.pad(images, gap, constant_values=1).clip(0, 1)
            strip = np.concatenate(list(tiles), axis=1)[:, :-1]
            strip = strip if strip.shape[-1] == 3 else strip[..., 0]
            panel.imshow(strip, cmap="gray", vmin=0, vmax=1)
            height, width = images.shape[1:3]
            for left in range(0, strip.shape[1], width + 1):
                corner, look = (
                    (left - 0.5, -0.5),
                    {"ec": "0.5", "lw": 0.8, "fill": False},
                )
                frame = Rectangle(corner, width, height, clip_on=False, **look)
                panel.add_patch(frame)
        panel.set_xticks([])
        panel.set_yticks([])
        panel.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
        for spine in panel.spines.values():
            spine.set_visible(False)
    figure.suptitle(title, fontsize=9)
    return figure
