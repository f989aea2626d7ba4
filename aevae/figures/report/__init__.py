"""A page of run folders for the browser: a table of runs, linked plots, and what each run decodes.

    folders    what run folders hold, whoever is writing them: runs, curves, and what is said of them
    lines      curves, thinned, with intervals over seeds
    summary    means over seeds, areas under rate-distortion curves, paired differences
    about      the command again, versions, data and config
    pictures   reconstructions, samples and traversals of every run, as one small PNG each
    plots      the table and the plots, as models of Bokeh
    contents   what the page shows: rows, axes, curves, pictures
    page       all of it as one HTML file
    file       the file, written once, or again and again while a sweep trains

`links.js` is what a click, a filter or a choice does; `page.html` and `page.css` are how the file looks.
"""

from aevae.figures.report.file import EVERY, NAME, current, watch, write

__all__ = ["EVERY", "NAME", "current", "watch", "write"]
