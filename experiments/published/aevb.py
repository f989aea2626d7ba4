"""Kingma and Welling (2014), Auto-Encoding Variational Bayes: figures 2 and 3, MNIST."""

import json
from pathlib import Path

import numpy as np

from aevae.figures import sheet
from experiments.published.job import Fact, Outcome, Row, keep, kept

REFERENCE = Path(__file__).parent / "reference"
STEPS = (0.01, 0.02, 0.1)
EPOCH = 50_000  # images
PARTS = ("test", "train")
LATENTS = (3, 5, 10, 20, 200)
MARKS = (1_000_000, 10_000_000, 100_000_000)
FULL = 2000  # epochs: 1e8 images
GAPS = (5_000_000, 10_000_000, 20_000_000, 40_000_000, 60_000_000)
SIZES = {1000: "figure3_small", 50_000: "figure3"}
TOLERANCE = 2.0


def curves(name):
    """{(latents or training images, "AEVB test" ...): (samples, nats)}, read from the paper's figure."""
    found = json.loads((REFERENCE / f"{name}.json").read_text())["curves"]
    return {
        (c.get("latent", c.get("train_size")), c["curve"]): np.array(c["points"]).T
        for c in found
    }


def at(curve, samples):
    """The value of a published curve, between its points along log samples."""
    return float(np.interp(np.log(samples), np.log(curve[0]), curve[1]))


def figure2(job):
    """Lower bound against samples seen, train and test, for five latent sizes."""
    base, paper = "configs/aevb.py:figure2", curves("aevb_figure2")
    runs = job.train("runs", base, FULL, grid={"latent": LATENTS})
    ours = {
        (latent, part): _curve(runs.curves, latent, part)
        for latent in LATENTS
        for part in PARTS
    }
    marks = [mark for mark in MARKS if mark <= runs.samples]
    rows = []
    for mark in marks:
        for part in PARTS:
            for latent in LATENTS:
                published = at(paper[latent, f"AEVB {part}"], mark)
                found = at(ours[latent, part], mark)
                what = f"{latent} latents, {part} ELBO at {mark:.0e} images"
                main = mark == marks[-1] and part == "test"
                rows.append(Row(what, published, found, TOLERANCE, 1, main))
    facts = _orders(paper, ours, runs.samples) + [_overfit(paper, ours, runs.samples)]
    image = figure2_image(paper, ours)
    return Outcome(rows, facts, runs.samples, FULL * EPOCH, image)


def _curve(table, latent, part):
    own = [row for row in table if row["latent"] == latent]
    pairs = [(row["samples"], row[f"{part}_elbo"]) for row in own]
    return np.array([p for p in pairs if p[1] is not None], float).T


def _orders(paper, ours, samples):
    """Whether latent sizes are in the paper's order, at its own points from 3e6 images on."""
    points = paper[3, "AEVB test"][0]
    points = [p for p in points if 3e6 <= p <= samples]
    if not points:
        return []
    apart = []
    for point in points:
        theirs = [at(paper[z, "AEVB test"], point) for z in LATENTS]
        own = [at(ours[z, "test"], point) for z in LATENTS]
        pairs = [
            (LATENTS[i], LATENTS[j])
            for i in range(len(LATENTS))
            for j in range(i)
            if (theirs[i] - theirs[j]) * (own[i] - own[j]) < 0
        ]
        apart.append((point, pairs))
    wrong = [point for point, pairs in apart if pairs]
    names = {f"{min(pair)} and {max(pair)}" for _, pairs in apart for pair in pairs}
    text = f"order of the latent sizes as in the paper at its {len(points)} points from 3e6 images on"
    if wrong:
        text += f" (not at {len(wrong)}: {', '.join(sorted(names))} change places)"
    return [Fact(text, not wrong)]


def _overfit(paper, ours, samples):
    test, train = ours[200, "test"], ours[200, "train"]
    lost = test[1].max() - test[1][-1]
    gap = train[1][-1] - test[1][-1]
    theirs = at(paper[200, "AEVB train"], samples) - at(
        paper[200, "AEVB test"], samples
    )
    return Fact(
        f"200 latents do not overfit: the test ELBO ends {lost:.2f} nats below its best, "
        f"{gap:.2f} below the training ELBO ({theirs:.2f} in the paper there)",
        bool(lost < 0.5),
    )


def _panels(keys, paper, ours, title, name):
    """One panel a key: the paper's curves grey, ours coloured; test solid, train dashed."""
    figure, panels = sheet.canvas(1, len(keys), 2.6, 2.8, sharey=True)
    for panel, key in zip(panels[0], keys):
        for part, style in (("test", "-"), ("train", "--")):
            panel.plot(*paper[key, f"AEVB {part}"], style, color="0.55", lw=2.4)
            panel.plot(*ours[key, part], style, color="#aa3355", lw=1.2)
        panel.set_xscale("log")
        sheet.log_ticks(panel.xaxis)
        panel.set_title(name(key), fontsize=9)
        panel.grid(alpha=0.25)
    panels[0, 0].set_ylabel(title, fontsize=8)
    figure.supxlabel("training images seen", fontsize=9)
    return figure, panels


def _legend(figure):
    from matplotlib.lines import Line2D

    kinds = [
        Line2D([], [], color=colour, lw=width, ls=style, label=f"{who}, {part}")
        for who, colour, width in (("paper", "0.55", 2.4), ("aevae", "#aa3355", 1.2))
        for part, style in (("test", "-"), ("train", "--"))
    ]
    figure.legend(handles=kinds, loc="outside lower center", ncols=4, fontsize=8)


def figure2_image(paper, ours):
    """Both curves, a panel for each latent size."""
    figure, panels = _panels(
        *(LATENTS, paper, ours, "lower bound (nats)"),
        lambda latent: f"{latent} latents",
    )
    panels[0, 0].set_ylim(-170, -95)
    panels[0, 0].set_xlim(2e5, 2e8)
    for panel in panels[0][1:]:
        panel.set_xlim(2e5, 2e8)
    _legend(figure)
    sheet.caption(
        figure,
        "Kingma and Welling (2014), figure 2: MNIST, real-valued pixels; training curves are "
        "running averages of an epoch",
    )
    return figure


def figure3(job):
    """Marginal likelihood of 1,000 training and test images, by size of the training set."""
    paper, ours, seen = curves("aevb_figure3"), {}, []
    for size, part in SIZES.items():
        base = f"configs/aevb.py:{part}"
        lr = job.chosen(f"pilot_{part}", base, "lr", STEPS)
        found = _marginals(job, part, base, {"lr": lr})
        for split in PARTS:
            points = [(mark, values[split]) for mark, values in found]
            ours[size, split] = np.array(points, float).reshape(-1, 2).T
        seen.append(found[-1][0] if found else 0)
    rows, marks = [], [mark for mark in GAPS if mark <= min(seen)]
    for size in SIZES:
        for mark in marks:
            for split in PARTS:
                published = at(paper[size, f"AEVB {split}"], mark)
                found = at(ours[size, split], mark)
                what = f"{size:,} training images, log p(x) of {split} at {mark:.0e} images"
                main = mark == marks[-1]
                rows.append(Row(what, published, found, TOLERANCE, 1, main))
    return Outcome(
        *(rows, _gaps(paper, ours, min(seen)), min(seen), GAPS[-1]),
        figure3_image(paper, ours),
        "5,000 importance samples in place of Hamiltonian Monte Carlo",
    )


def _marginals(job, part, base, overrides):
    """[(samples, {"train", "test"})] at the paper's marks; what was measured before is kept."""
    place = job.folder / f"{part}.json"
    found = kept(place) or []
    for mark in GAPS[len(found) :]:
        runs = job.train(part, base, mark // EPOCH, overrides=overrides, share=0.5)
        if not runs.complete:
            break
        (row,) = job.evaluate(runs, "likelihood", "train_likelihood")
        values = {"test": row["iwae_5000"], "train": row["train_iwae_5000"]}
        found.append([runs.samples, values])
        keep(place, found)
    return found


def _gaps(paper, ours, mark):
    if not mark:
        return []
    gap = {
        size: at(ours[size, "train"], mark) - at(ours[size, "test"], mark)
        for size in SIZES
    }
    theirs = {
        size: at(paper[size, "AEVB train"], mark) - at(paper[size, "AEVB test"], mark)
        for size in SIZES
    }
    told = "; ".join(
        f"{gap[s]:.1f} with {s:,} ({theirs[s]:.1f} in the paper)" for s in SIZES
    )
    text = f"the fewer training images, the further train is above test: {told}"
    return [Fact(text, gap[1000] > gap[50_000])]


def figure3_image(paper, ours):
    """Both curves, a panel for each training set."""
    figure, _ = _panels(
        *(tuple(SIZES), paper, ours, "log p(x) (nats)"),
        lambda size: f"{size:,} training images",
    )
    _legend(figure)
    sheet.caption(
        figure,
        "Kingma and Welling (2014), figure 3: MNIST, real-valued pixels, 3 latents, 100 hidden",
    )
    return figure
