"""Kingma and Welling (2014), Auto-Encoding Variational Bayes: figures 2 and 3, MNIST."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from aevae import InputError, config, data
from aevae.evaluation import likelihood
from aevae.runs import trained as trained_runs
from experiments.published import draw
from experiments.published.job import Fact, Outcome, Part, Row, keep, kept

REFERENCE = Path(__file__).parent / "reference"
RATES = (0.01, 0.02, 0.1)  # learning rates
EPOCH = 50_000  # images
SPLITS = ("test", "train")
LATENTS = (3, 5, 10, 20, 200)
MARKS = (1_000_000, 10_000_000, 100_000_000)
FULL = 2000  # epochs: 1e8 images, where the paper's test curves are within a nat of their best
GAPS = (5_000_000, 10_000_000, 20_000_000, 40_000_000, 60_000_000)
SIZES = {1000: "figure3_small", 50_000: "figure3"}
TOLERANCE = 2.0
READ = 0.6  # nats: twice the accuracy with which the paper's curves were read
NOTE = "learning rate 0.02, whose first epochs are nearest to the paper's curve"


def curves(name):
    """The curves of a paper's figure, {(latents or training images, "AEVB test" ...): (images, nats)}."""
    found = json.loads((REFERENCE / f"{name}.json").read_text("utf-8"))["curves"]
    return {
        (c.get("latent", c.get("train_size")), c["curve"]): np.array(c["points"]).T
        for c in found
    }


def at(curve, samples):
    """The value of a curve after so many images, interpolated along log images."""
    return float(np.interp(np.log(samples), np.log(curve[0]), curve[1]))


def figure2(job):
    """Figure 2: the lower bound against images seen, train and test, for five latent sizes."""
    paper = curves("aevb_figure2")
    parts = {"runs": Part("configs/aevb.py:figure2", {"latent": LATENTS})}
    runs = job.train(FULL, parts)["runs"].must_not_diverge()
    ours = {
        (latent, split): draw.curve(runs.curves, f"{split}_elbo", latent=latent)
        for latent in LATENTS
        for split in SPLITS
    }
    marks = [mark for mark in MARKS if mark <= runs.samples]
    rows = []
    for mark in marks:
        for split in SPLITS:
            for latent in LATENTS:
                published = at(paper[latent, f"AEVB {split}"], mark)
                found = at(ours[latent, split], mark)
                what = f"{latent} latents, {split} ELBO at {mark:.0e} images"
                main = mark == marks[-1] and split == "test"
                rows.append(Row(what, published, found, TOLERANCE, 1, main))
    facts = [*_orders(paper, ours, runs.samples), *_overfit(paper, ours, runs.samples)]
    image = figure2_image(paper, ours)
    return Outcome(
        *(rows, facts, runs.samples, FULL * EPOCH, runs.complete, image),
        NOTE,
    )


def _orders(paper, ours, samples):
    """Whether latent sizes are in the paper's order, at the paper's points from 3e6 images on."""
    points = [p for p in paper[3, "AEVB test"][0] if 3e6 <= p <= samples]
    if not points:
        return []
    wrong, swapped = 0, set()
    for point in points:
        theirs, own = (
            [at(lines[z, name], point) for z in LATENTS]
            for lines, name in ((paper, "AEVB test"), (ours, "test"))
        )
        pairs = {
            f"{LATENTS[j]} and {LATENTS[i]}"
            for i in range(len(LATENTS))
            for j in range(i)
            if abs(theirs[i] - theirs[j]) > READ
            and (theirs[i] - theirs[j]) * (own[i] - own[j]) <= 0
        }
        wrong, swapped = wrong + bool(pairs), swapped | pairs
    text = (
        f"latent sizes are in the paper's order at its {len(points)} points from 3e6 images on, "
        f"where it has them more than {READ} nats apart"
    )
    if wrong:
        text += f" (not at {wrong}: {', '.join(sorted(swapped))} change places)"
    return [Fact(text, not wrong)]


def _overfit(paper, ours, samples):
    if samples < MARKS[1]:
        return []
    test, train = ours[200, "test"], ours[200, "train"]
    lost, gap = test[1].max() - test[1][-1], train[1][-1] - test[1][-1]
    theirs = [at(paper[200, f"AEVB {split}"], samples) for split in SPLITS]
    known = theirs[1] - theirs[0]
    return [
        Fact(
            f"200 latents do not overfit: the test ELBO ends {lost:.2f} nats below its best (at most "
            f"0.5), {gap:.2f} below the training ELBO (at most the paper's {known:.2f} and 1)",
            bool(lost <= 0.5 and gap <= known + 1),
        )
    ]


def _image(paper, ours, keys, named, label, note, width):
    """A panel for each key: the paper's curves gray, ours in color; test solid, train dashed."""
    lines = []
    for panel, key in enumerate(keys):
        for split, style in (("test", "-"), ("train", "--")):
            known = paper[key, f"AEVB {split}"]
            lines.append((panel, f"paper, {split}", style, "0.55", 2.4, known))
            own = ours[key, split]
            lines.append((panel, f"aevae, {split}", style, "#aa3355", 1.2, own))
    titles = [named(key) for key in keys]
    return draw.panels(titles, lines, label, note, width)


def figure2_image(paper, ours):
    """The paper's curves and ours, a panel for each latent size."""
    figure, axes = _image(
        *(paper, ours, LATENTS, lambda latent: f"{latent} latents", "ELBO (nats)"),
        "Kingma and Welling (2014), figure 2: MNIST, real-valued pixels; training curves are "
        "running averages of an epoch",
        width=2.6,
    )
    axes[0].set(xlim=(2e5, 2e8), ylim=(-170, -95))
    return figure


def figure3(job):
    """Figure 3: the marginal likelihood of training and test images, by size of the training set."""
    paper, parts = curves("aevb_figure3"), {}
    for part in SIZES.values():
        base = f"configs/aevb.py:{part}"
        lr = job.chosen(f"pilot_{part}", base, "lr", RATES)
        parts[part] = Part(base, overrides={"lr": lr})
    found = _marginals(job, parts)
    marks = [mark for mark, _ in found]
    ours = {
        (size, split): np.array([marks, [v[part][split] for _, v in found]])
        for size, part in SIZES.items()
        for split in SPLITS
    }
    rows = [
        Row(
            f"{size:,} training images, log p(x) of {split} at {mark:.0e} images",
            at(paper[size, f"AEVB {split}"], mark),
            at(ours[size, split], mark),
            *(TOLERANCE, 1, mark == marks[-1]),
        )
        for mark in marks
        for size in SIZES
        for split in SPLITS
    ]
    seen = marks[-1] if marks else 0
    return Outcome(
        *(rows, _gaps(paper, ours, seen), seen, GAPS[-1], seen == GAPS[-1]),
        figure3_image(paper, ours),
        figure3_note(part.overrides["lr"] for part in parts.values()),
    )


def figure3_note(rates):
    """How figure 3 was made, by the learning rates that were chosen."""
    chosen = " and ".join(f"{rate:g}" for rate in rates)
    return (
        f"learning rates {chosen}; importance samples of prior and posterior in place of "
        "Hamiltonian Monte Carlo"
    )


def _marginals(job, parts):
    """[(images, {part: {"train": nats, "test": nats}})] at GAPS, as far as trained; kept in a file."""
    place = job.folder / "marks.json"
    made = {"estimate": likelihood.MIXED, "parts": _identities(parts)}
    known = kept(place) or {"made": made, "found": []}
    if known["made"] != made:
        raise InputError(
            f"{place} was made of other runs, or with another estimate: take another --workdir"
        )
    found = known["found"]
    for mark in GAPS[len(found) :]:
        runs = job.train(mark // EPOCH, parts)
        if not all(trained.complete for trained in runs.values()):
            break
        values, some = {}, _thousand(job)
        for part, trained in runs.items():
            if trained.must_not_diverge().samples != mark:
                raise InputError(
                    f"{trained.workdir} is past {mark:,} images, and {place} does not have what "
                    "was found there: take another --workdir"
                )
            run = trained_runs.load(trained.workdir)
            values[part] = {
                split: float(likelihood.mixture(run, images).mean())
                for split, images in some.items()
            }
        found.append([mark, values])
        keep(place, known)
    return found


def _identities(parts):
    """The identities of each part's runs, as JSON has them."""
    of = {
        name: config.settle(config.load(part.base), part.overrides, None)
        for name, part in parts.items()
    }
    return {
        name: [str(config.identity(run)) for run in runs] for name, runs in of.items()
    }


def _thousand(job):
    """The first 1,000 test and training images, whose marginal likelihood is estimated."""
    splits = "train[:1000]", "test[:1000]", "test[:1000]"
    dataset = data.load("mnist", *splits, job.data_dir)
    return {
        split: data.none(None, {"image": jnp.asarray(part["image"])})["image"]
        for split, part in (("test", dataset.test), ("train", dataset.train))
    }


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
    gaps = "; ".join(
        f"{gap[s]:.1f} with {s:,} ({theirs[s]:.1f} in the paper)" for s in SIZES
    )
    text = f"the fewer training images, the further train is above test: {gaps}"
    return [Fact(text, gap[1000] > gap[50_000])]


def figure3_image(paper, ours):
    """The paper's curves and ours, a panel for each training set."""
    return _image(
        *(paper, ours, SIZES, lambda size: f"{size:,} training images"),
        "log p(x) (nats)",
        "Kingma and Welling (2014), figure 3: MNIST, real-valued pixels, 3 latents, 100 hidden",
        width=3.4,
    )[0]
