"""Figures fit a paper: their widths, letters, fonts, colors and what their bands show."""

import re
import zlib

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from aevae import InputError, figures
from aevae.figures import contract, curves, looks, planes, sheet, strips

VALUES = [-3.0, -1.0, -2.5, -2.0]  # over seeds
BETAS = (0.5, 1.0, 2.0)


def made(betas=BETAS, seeds=4):
    """Tables of runs whose ELBO is beta + VALUES in each of two epochs."""
    results, lines = [], []
    for beta in betas:
        for seed in range(seeds):
            run = {"run": len(results), "beta": beta, "seed": seed, "diverged": None}
            run |= {"dataset": "made", "binarization": "none"}
            value = VALUES[seed] + beta
            results.append(
                run | {"elbo": value, "rate": 1 / beta, "distortion": -value - 1 / beta}
            )
            both = {"train_elbo": value - 1, "test_elbo": value}
            lines += [run | {"samples": n} | both for n in (1000, 9000)]
    return contract.Tables(results, lines, ["beta"])


@pytest.mark.parametrize("name", looks.LETTERS)
def test_a_figure_is_as_wide_as_its_column_and_has_its_letters(name):
    """On paper 3.25 and 6.75 inches and 8 points; narrower panels are lower ones."""
    for width, wide in looks.WIDTHS.items():
        with figures.style(name, width):
            figure = curves.curves(made())["elbo_by_beta"]
            strip = figures.tiles([("x", np.zeros((10, 8, 8, 1)))], "of zeros")
        ours = wide * looks.SCALES[name]
        for one in (figure, strip):
            assert one.get_figwidth() == pytest.approx(ours, abs=1e-9)
        letters = figure.axes[0].yaxis.label, *figure.axes[0].get_xticklabels()
        sizes = {text.get_fontsize() for text in letters if text.get_text()}
        assert max(sizes, default=8) <= looks.LETTERS[name]
        figure.draw_without_rendering()
        box = figure.get_tightbbox()
        assert box.x0 >= 0 and box.x1 <= ours and box.y0 >= 0
        assert box.y1 <= figure.get_figheight()


def test_content_chooses_between_a_column_and_a_page():
    with figures.style():
        assert sheet.canvas(1, 1, 3, 3)[0].get_figwidth() == 3.25
        assert sheet.canvas(1, 4, 2, 2)[0].get_figwidth() == 6.75
        many = figures.tiles([("x", np.zeros((40, 8, 8, 1)))], "of zeros")
    assert many.get_figwidth() == pytest.approx(6.75)


def parameters():
    known = dict(matplotlib.rcParams.copy())
    known.pop("backend")  # which is chosen when it is first asked for
    return known


def test_a_style_ends_with_its_block():
    before = parameters()
    with figures.style("talk", "double", "range"):
        assert looks.current() == ("talk", "double", "range")
        assert matplotlib.rcParams["font.size"] == 14
    assert parameters() == before and looks.current() == looks.Style()


@pytest.mark.parametrize(
    "how", [{"name": "poster"}, {"width": "half"}, {"band": "error"}]
)
def test_what_is_no_style_is_one_line(how):
    with pytest.raises(InputError, match=r"is named '\w+': there are \w+, \w+"):
        figures.style(**how).__enter__()


def test_every_color_is_seen_on_white():
    """A contrast of 3 to 1 or more, as WCAG 2 asks of lines; and gray prints keep the order."""
    for count in (1, 2, 4, 9, 30):
        colors = np.array(list(sheet.colors(range(count)).values()))[:, :3]
        linear = np.where(
            colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4
        )
        light = linear @ [0.2126, 0.7152, 0.0722]
        assert (1.05 / (light + 0.05) >= 3).all() and (np.diff(light) > 0).all()


@pytest.mark.parametrize(
    "band, low, high",
    [
        ("range", -3.0, -1.0),
        ("deviation", -2.125 - 0.853912563829967, -2.125 + 0.853912563829967),
        # s / √4 times the 97.5 % quantile of t with 3 degrees of freedom, 3.18244630528
        (
            "interval",
            -2.125 - 0.4269562819 * 3.18244630528,
            -2.125 + 0.4269562819 * 3.18244630528,
        ),
    ],
)
def test_bands_show_what_they_say(band, low, high):
    """In figures, their legends and their captions."""
    with figures.style(band=band):
        figure = curves.curves(made())["elbo_by_beta"]
        plane = planes.rate_distortion(made())
        (area, *_) = figure.axes[0].collections
        found = area.get_paths()[0].vertices[:, 1]
        assert [found.min(), found.max()] == pytest.approx([low + 0.5, high + 0.5])
        written = [text.get_text() for text in figure.legends[0].get_texts()]
        assert f"{looks.BANDS[band]}, 4 seeds" in written
        assert looks.MEANINGS[band] in figure.caption
        assert planes.CROSSES[band] in plane.caption
    sides = [
        segment[:, 1]
        for lines in plane.axes[0].collections
        if hasattr(lines, "get_segments")
        for segment in lines.get_segments()
    ]
    ends = sorted([-low - 0.5 - 2.0, -high - 0.5 - 2.0])  # of beta 0.5: rate 2
    assert any(np.allclose(sorted(side), ends, atol=1e-6) for side in sides)


def test_of_two_seeds_there_is_a_range_but_no_interval():
    with figures.style(band="range"):
        assert "from the least" in curves.curves(made(seeds=2))["elbo_by_beta"].caption
    with figures.style():
        assert "no band" in curves.curves(made(seeds=2))["elbo_by_beta"].caption
    assert looks.spread([1.0, 2.0], "interval") is None
    assert looks.spread([1.0, 2.0], "range") == (1, 2)


def test_many_values_have_a_bar_and_few_a_legend():
    many = made(np.geomspace(0.1, 10, 30).tolist(), 1)
    figure = curves.curves(many)["elbo_by_beta"]
    assert [ax.get_ylabel() for ax in figure.axes][-1] == "beta"
    labels = [text.get_text() for text in figure.axes[-1].get_yticklabels()]
    assert labels[0] == "0.1" and labels[-1] == "10" and len(labels) == 7
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["test", "train"]
    few = curves.curves(made())["elbo_by_beta"]
    assert len(few.axes) == 1 and len(few.legends[0].get_texts()) == 6


def test_saved_are_picture_vectors_and_caption(tmp_path):
    """The PDF has its fonts as TrueType, no text is an outline, and the data are in the caption alone."""
    with figures.style():
        figure = curves.curves(made())["elbo_by_beta"]
        path = figures.save(figure, tmp_path / "curves.png")
    assert {p.name for p in tmp_path.iterdir()} == {
        *("curves.png", "curves.pdf", "curves.txt")
    }
    pdf = (tmp_path / "curves.pdf").read_bytes()
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    whole = [pdf]
    for stream in streams:
        try:
            whole.append(zlib.decompress(stream))
        except zlib.error:
            whole.append(stream)
    whole = b"".join(whole)
    assert b"/FontFile2" in whole and b"/Type3" not in whole and b"/Type42" not in pdf
    text = (tmp_path / "curves.txt").read_text("utf-8")
    assert text == f"{figure.caption}\n"
    assert text.endswith("Data: made, no binarization.\n") and text.count("made") == 1
    written = [t.get_text() for t in figure.findobj(matplotlib.text.Text)]
    assert not any("made" in one or "binarization" in one for one in written)
    first = [p.read_bytes() for p in sorted(tmp_path.iterdir())]
    with figures.style():
        figures.save(curves.curves(made())["elbo_by_beta"], path)
    assert first == [p.read_bytes() for p in sorted(tmp_path.iterdir())]


def test_a_caption_is_sentences_and_keeps_what_was_escaped():
    figure = Figure()
    text = sheet.caption(figure, "mean over\nData: \\$x\\$, no binarization")
    assert text == "Mean over. Data: $x$, no binarization."


def test_long_labels_stay_inside_of_the_figure(tmp_path):
    """Of the legend, too, which breaks their lines."""
    tables = made()
    long = [r | {"beta": f"{r['beta']} " + "word " * 12} for r in tables.results]
    lines = [r | {"beta": f"{r['beta']} " + "word " * 12} for r in tables.curves]
    with figures.style():
        figure = curves.curves(tables._replace(results=long, curves=lines))
        (figure,) = figure.values()
        figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1
    assert strips.is_image(np.zeros((1, 2, 2, 3)))
