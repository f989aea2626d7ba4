"""Kingma and Welling (2014), figure 2 with 3 latents: what the paper leaves open, one reading at a time."""

import numpy as np

from aevae.figures import sheet
from aevae.runs import statistics
from experiments.published import aevb, draw
from experiments.published.job import Outcome, Part, Row

LATENT, SEEDS = 3, (0, 1, 2)
COMPARED = 10_000_000  # images
EVERY = 5  # epochs: the marks up to 1e7 images are read at every share
BASE = "as_read"
READINGS = {  # point, and part of configs/aevb.py: what it reads otherwise
    BASE: "as configs/aevb.py reads it",
    "std_0_1": "initialization N(0, 0.1²)",
    "start_0_1": "Adagrad's accumulator starts at 0.1",
    "no_prior": "no prior on the parameters",
    "one_start": "all seeds start alike",
    "stochastic": "stochastic binarization",
    "threshold": "binarized at 0.5",
}
SPREAD = BASE, "one_start"  # whose seeds are compared among one another
LONG = {  # a point of one seed, which may go on: what it reads
    "one_seed": BASE,
    "one_seed_stochastic": "stochastic",
}
POINTS = (*READINGS, *LONG)
PREDICTED = {  # (point, split, images): the bound and its error, guessed before the run
    ("one_seed_stochastic", "test", 100_000_000): (-134.5, 1.5),
}


def readings(job):
    """The lower bound with 3 latents by one reading after another, beside the paper's curve."""
    trained = job.ends(aevb.FULL, {point: _part(point) for point in POINTS})
    longest = {point: runs for (point, _), runs in trained.items()}  # of its shares
    paper = {
        split: aevb.curves("aevb_figure2")[LATENT, f"AEVB {split}"]
        for split in aevb.SPLITS
    }
    ours = {
        (point, split): _curves(runs.must_not_diverge(), split)
        for point, runs in longest.items()
        for split in aevb.SPLITS
    }
    bounds = {
        (*key, mark): np.array([aevb.at(curve, mark) for curve in curves])
        for key, curves in ours.items()
        for mark in aevb.MARKS
        if curves[0][0][0] <= mark <= curves[0][0][-1]
    }
    rows = [_row(paper, *key, values) for key, values in bounds.items()]
    most = max(runs.samples for runs in longest.values())
    note = f"{LATENT} latents, learning rate 0.02; {_lengths(longest)}"
    note += "" if rows else f"; before {aevb.MARKS[0]:,} images nothing is compared"
    complete = any(share == 1 for _, share in trained)
    counts = most, aevb.FULL * aevb.EPOCH, complete
    return Outcome(rows + _gains(bounds), [], *counts, figure(paper, ours), note)


def _row(paper, point, split, mark, values):
    """A bound beside the paper's. At COMPARED, the table has that of training images of one reading."""
    what = f"{_named(point)}: {split} ELBO at {mark:.0e} images, {_seeds(values)}"
    numbers = aevb.at(paper[split], mark), float(values.mean()), aevb.TOLERANCE, 1
    main = mark == COMPARED and point not in LONG and (split == "test" or point == BASE)
    foretold = PREDICTED.get((point, split, mark))
    return Row(what, *numbers, mark > COMPARED or main, foretold)


def _lengths(longest):
    """How many points have seen how many images."""
    seen = [runs.samples for runs in longest.values()]
    counts = [f"{seen.count(n)} to {n:,} images" for n in sorted({*seen})]
    return f"points trained: {', '.join(counts)}"


def _part(point):
    reading = LONG.get(point, point)
    part = "figure2" if reading == BASE else reading
    seeds = SEEDS[:1] if point in LONG else SEEDS
    grid = {"latent": LATENT, "seed": seeds}
    return Part(f"configs/aevb.py:{part}", grid, {"evaluate_every": EVERY})


def _named(point):
    return READINGS[LONG.get(point, point)]


def _seeds(values):
    if len(values) == 1:
        return f"seed {SEEDS[0]}"
    return f"{len(values)} seeds from {values.min():.1f} to {values.max():.1f}"


def _curves(runs, split):
    """The ELBO of each seed against images seen."""
    seeds = sheet.values(runs.rows, "seed")
    return [draw.curve(runs.curves, f"{split}_elbo", seed=seed) for seed in seeds]


def _gains(bounds):
    """By how much each reading changes the bound, seed by seed, and the spread over seeds of two.

    With `one_start` it is the spread that is asked for: it is of the order of the data and the noise alone.
    """
    own = {
        point: values
        for (point, split, mark), values in bounds.items()
        if split == "test" and mark == COMPARED
    }
    rows = []
    for point in [p for p in READINGS if p in own and p not in SPREAD and BASE in own]:
        gain = statistics.paired(own[point], own[BASE])
        what = (
            f"{READINGS[point]}: gain at {COMPARED:.0e} images, ± {gain.half:.2f} (95 % t interval of "
            f"{len(SEEDS)} pairs)"
        )
        rows.append(Row(what, None, gain.mean, main=True))
    for point in [p for p in SPREAD if p in own]:
        what = (
            f"{READINGS[point]}: standard deviation over seeds at {COMPARED:.0e} images"
        )
        rows.append(Row(what, None, float(own[point].std(ddof=1)), main=True))
    return rows


def figure(paper, ours):
    """The mean over seeds of each reading, and the paper's curve: of test and of training images."""
    colors = dict(zip(READINGS, ("black", *sheet.CLASSES)))
    lines = [
        (panel, "paper", "-", "0.55", 2.4, paper[split])
        for panel, split in enumerate(paper)
    ]
    for (point, split), curves in ours.items():
        if len(curves[0][0]) < 2:
            continue
        mean = curves[0][0], np.mean([curve[1] for curve in curves], 0)
        color, style = colors[LONG.get(point, point)], "--" if point in LONG else "-"
        name = _named(point) + (", one seed" if point in LONG else "")
        lines.append(([*paper].index(split), name, style, color, 1.2, mean))
    note = (
        f"Kingma and Welling (2014), figure 2 with {LATENT} latents: MNIST, pixels real-valued unless "
        "binarized; means over seeds"
    )
    titles = [f"{LATENT} latents, {kind} images" for kind in ("test", "training")]
    made, axes = draw.panels(titles, lines, "ELBO (nats)", note, width=4.2)
    axes[0].set(xlim=(5e5, 2e8), ylim=(-162, -126))
    return made
