"""Six methods of disentanglement on sprites, each over its published strengths: a table of our own."""

import numpy as np

from aevae.figures import sheet
from experiments.published import draw
from experiments.published.job import Fact, Outcome, Part, Row, shown, whole_epochs

FULL = 480  # epochs of 400 steps: as many images as 300,000 batches of 64
IMAGES, SEEDS = 40_000, (0, 1, 2)
METHODS = {  # part of the config: the hyperparameter that is its strength, its name
    "beta_vae": ("beta", "beta-VAE"),
    "capacity_vae": ("capacity", "capacity"),
    "factor_vae": ("gamma", "FactorVAE"),
    "beta_tcvae": ("beta", "beta-TCVAE"),
    "dip_vae_1": ("off_diagonal", "DIP-VAE-I"),
    "dip_vae_2": ("off_diagonal", "DIP-VAE-II"),
}
METRICS = (
    *("mig", "mig_chen", "sap", "dci_disentanglement", "dci_completeness"),
    *("dci_informativeness", "beta_vae_score", "factor_vae_score", "modularity"),
)
SHOWN = "mig", "dci_disentanglement", "factor_vae_score", "elbo", "rate"
BESIDE = ("udr", "elbo", "rate", "total_correlation", "mutual_information")
BEST = {  # of the whole schedule: part, and the strength with the best MIG of nine epochs
    "vae": ("beta_vae", 1),
    "beta_vae": ("beta_vae", 4),
    "beta_tcvae": ("beta_tcvae", 4),
}
PANELS = (
    *("mig", "sap", "dci_disentanglement", "factor_vae_score"),
    *("total_correlation", "elbo"),
)


def family(job):
    """Every metric of every method at every strength, over three seeds, and what papers say of them."""
    parts = {part: Part(f"configs/disentangle.py:{part}") for part in METHODS}
    trained = job.train(FULL, parts)
    for runs in trained.values():
        runs.must_not_diverge()
    found = {
        part: job.evaluate(runs, "latents", "disentanglement", "udr")
        for part, runs in trained.items()
    }
    rows = []
    for part, (strength, name) in METHODS.items():
        steps = sheet.values(found[part], strength)
        for step in steps:
            for measure in (*METRICS, *BESIDE):
                own = _values(found[part], part, measure, step)
                rows.append(Row(f"{name} {step:g}: {measure}", None, own.mean()))
        best = max(steps, key=lambda s: _values(found[part], part, "mig", s).mean())
        own = _values(found[part], part, "mig", best)
        what = f"{name}: best MIG over strengths, at {best:g}, mean of {len(own)} seeds"
        rows.append(Row(what, None, own.mean(), main=True))
    row = found["beta_vae"][0]
    for name in METRICS:
        if f"{name}_ceiling" in row:
            what = f"a perfect code: {name}"
            rows.append(Row(what, None, row[f"{name}_ceiling"], main=name == "mig"))
    runs = trained["beta_vae"]
    counts = runs.samples, FULL * IMAGES, runs.complete
    note = (
        f"{runs.epochs} epochs, 3 seeds; every metric at every strength is in the file"
    )
    return Outcome(rows, _facts(found), *counts, figure(found), note)


def best(job):
    """Every metric of the VAE, and of two methods at their best strength, by shares of the schedule."""
    parts = {
        point: Part(f"configs/disentangle.py:{part}", _grid(part, strength))
        for point, (part, strength) in BEST.items()
    }
    trained, found, rows = job.ends(FULL, parts), {}, []
    for (point, share), runs in trained.items():
        asked = "latents", "disentanglement", "udr"
        found[point, share] = job.evaluate(runs.must_not_diverge(), *asked)
        name = f"{_method(point)}, {shown(share)}"
        for measure in (*METRICS, *BESIDE):
            own = np.array([row[measure] for row in found[point, share]], float)
            what = f"{name}: {measure}, {own.min():.3g} to {own.max():.3g}"
            rows.append(Row(what, None, own.mean(), main=measure in SHOWN))
    most = max(share for _, share in trained)
    counts = whole_epochs(most, FULL) * IMAGES, FULL * IMAGES, most == 1
    note = f"at most {shown(most)}, {whole_epochs(most, FULL)} epochs; means of {len(SEEDS)} seeds, and their range"
    return Outcome(rows, _raised(found), *counts, figure_of_best(trained), note)


def _grid(part, strength):
    return {METHODS[part][0]: float(strength), "seed": SEEDS}


def _method(point):
    part, strength = BEST[point]
    return "VAE" if point == "vae" else f"{METHODS[part][1]} {strength}"


def _raised(found):
    """Whether each method's MIG is above the VAE's after as long a training, by 3 standard errors."""
    facts = []
    for point, share in found:
        if point == "vae" or ("vae", share) not in found:
            continue
        own, vae = (
            np.array([row["mig"] for row in found[key, share]], float)
            for key in (point, "vae")
        )
        error = np.sqrt((own.var(ddof=1) + vae.var(ddof=1)) / len(own))
        text = (
            f"{_method(point)} has a higher MIG than the VAE, {shown(share)}: {own.mean():.3f} against "
            f"{vae.mean():.3f}, by more than 3 standard errors of {error:.3f}"
        )
        facts.append(Fact(text, bool(own.mean() - vae.mean() > 3 * error)))
    return facts


def figure_of_best(trained):
    """The ELBO of every seed against images seen."""
    colors, lines = dict(zip(BEST, sheet.CLASSES)), []
    shares = sorted({share for _, share in trained}, reverse=True)
    styles = dict(zip(shares, ("-", "--", ":", "-.")))
    for (point, share), runs in trained.items():
        name = ", ".join([_method(point), *[shown(share)][: len(shares) - 1]])
        style = styles.get(share, "-")
        for seed in SEEDS:
            curve = draw.curve(runs.curves, "test_elbo", seed=seed)
            lines.append((0, name, style, colors[point], 1.0, curve))
    note = f"sprites/32x32_binary; each of {len(SEEDS)} seeds"
    return draw.panels([""], lines, "test ELBO (nats)", note, width=6.0)[0]


def _values(rows, part, measure, strength):
    own = [row[measure] for row in rows if row[METHODS[part][0]] == strength]
    return np.array(own, float)


def _rank(rows, one, other):
    """Spearman's rank correlation of two columns."""
    from scipy.stats import spearmanr

    pairs = [(r[one], r[other]) for r in rows if None not in (r[one], r[other])]
    return float(spearmanr(*zip(*pairs))[0])


def _facts(found):
    """Whether what Locatello et al. (2019) and the methods' papers found holds for these runs."""
    beta, facts = found["beta_vae"], []
    rate, elbo = _rank(beta, "beta", "rate"), _rank(beta, "beta", "elbo")
    text = f"a larger beta has a lower rate and ELBO (rank correlations {rate:.2f}, {elbo:.2f}; at most -0.8)"
    facts.append(Fact(text, max(rate, elbo) <= -0.8))
    for part in ("factor_vae", "beta_tcvae"):
        strength, name = METHODS[part]
        falls = _rank(found[part], strength, "total_correlation")
        text = f"{name}'s total correlation falls with its strength (rank correlation {falls:.2f}; at most -0.5)"
        facts.append(Fact(text, falls <= -0.5))
    means, spreads = {}, []
    for part in METHODS:
        for step in sheet.values(found[part], METHODS[part][0]):
            own = _values(found[part], part, "mig", step)
            means[part, step] = own.mean()
            spreads.append(own.std(ddof=1) if len(own) > 1 else np.nan)
    error = np.sqrt(np.nanmean(np.square(spreads)) * 2 / 3)
    vae, best = means["beta_vae", 1], max(means, key=means.get)
    text = (
        f"the best point of all ({METHODS[best[0]][1]} {best[1]:g}) has a higher MIG than the VAE, "
        f"{means[best]:.3f} against {vae:.3f}, by more than 3 standard errors of {error:.3f}"
    )
    facts.append(Fact(text, bool(means[best] - vae > 3 * error)))
    seeds, points = (
        np.sqrt(np.nanmean(np.square(spreads))),
        np.std([*means.values()], ddof=1),
    )
    text = (
        f"seeds matter: the standard deviation of MIG over seeds, {seeds:.3f}, is at least half of that over "
        f"the {len(means)} points, {points:.3f}"
    )
    facts.append(Fact(text, bool(seeds >= points / 2)))
    every = [row for rows in found.values() for row in rows]
    for name, least in (("dci_disentanglement", 0.5), ("udr", 0.3)):
        agree = _rank(every, "mig", name)
        text = f"{name} ranks runs as MIG does (rank correlation {agree:.2f}; at least {least})"
        facts.append(Fact(text, agree >= least))
    return facts


def figure(found):
    """Each metric against strength: a color for each method, means as lines, seeds as points."""
    figure, panels = sheet.canvas(2, 3, 3.0, 2.6, sharex=True)
    for panel, name in zip(panels.flat, PANELS):
        for i, (part, (strength, label)) in enumerate(METHODS.items()):
            steps = sheet.values(found[part], strength)
            means = [_values(found[part], part, name, s).mean() for s in steps]
            color = sheet.CLASSES[i]
            panel.plot(range(1, len(steps) + 1), means, "-", color=color, label=label)
            for j, step in enumerate(steps):
                own = _values(found[part], part, name, step)
                panel.plot([j + 1] * len(own), own, ".", ms=3, color=color)
        panel.set_title(name.replace("_", " "), fontsize=9)
        panel.grid(alpha=0.25)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8)
    panels[1, 1].set_xlabel("strength, from the least of its grid to the greatest")
    sheet.caption(
        figure, "sprites/32x32_binary; lines are means of 3 seeds, points the seeds"
    )
    return figure
