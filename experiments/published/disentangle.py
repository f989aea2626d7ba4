"""Six methods of disentanglement on sprites, over their published strengths: our own table."""

import numpy as np

from aevae.figures import sheet
from experiments.published.job import Fact, Outcome, Row

FULL = 750  # epochs: about 300,000 steps
METHODS = {  # of a config's part: its strength, and how it is named
    "beta_vae": ("beta", "beta-VAE"),
    "capacity_vae": ("capacity", "capacity"),
    "factor_vae": ("gamma", "FactorVAE"),
    "beta_tcvae": ("beta", "beta-TCVAE"),
    "dip_vae_1": ("off_diagonal", "DIP-VAE-I"),
    "dip_vae_2": ("off_diagonal", "DIP-VAE-II"),
}
METRICS = ("mig", "sap", "dci_disentanglement", "factor_vae_score", "beta_vae_score")
PANELS = (*METRICS[:4], "total_correlation", "elbo")


def family(job):
    """Every metric of every method at every strength, three seeds, and what is known of them."""
    runs = {
        part: job.train(part, f"configs/disentangle.py:{part}", FULL, share=1 / 6)
        for part in METHODS
    }
    measures = "latents", "disentanglement"
    found = {part: job.evaluate(runs[part], *measures) for part in METHODS}
    epochs = [trained.epochs for trained in runs.values()]
    rows = []
    for part, (strength, name) in METHODS.items():
        for value in sheet.values(found[part], strength):
            for metric in (*METRICS, "mig_chen", "modularity", "udr", "elbo"):
                own = _values(found[part], strength, value, metric)
                if len(own):
                    rows.append(Row(f"{name} {value:g}: {metric}", None, own.mean()))
        best = max(
            sheet.values(found[part], strength),
            key=lambda v: _values(found[part], strength, v, "mig").mean(),
        )
        own = _values(found[part], strength, best, "mig")
        what = f"{name}, best strength {best:g}: MIG, mean of {len(own)} seeds"
        rows.append(Row(what, None, own.mean(), main=True))
    samples = min(epochs) * 40_080
    note = f"{min(epochs)} to {max(epochs)} epochs"
    return Outcome(rows, _facts(found), samples, FULL * 40_080, figure(found), note)


def _values(rows, strength, value, name):
    own = [
        row[name] for row in rows if row[strength] == value and row["diverged"] is None
    ]
    return np.array([v for v in own if v is not None], float)


def _facts(found):
    """What Locatello et al. (2019) and the methods' papers found, asked of these runs."""
    from scipy.stats import spearmanr

    rows = [
        (part, row)
        for part in METHODS
        for row in found[part]
        if row["diverged"] is None
    ]
    mig = np.array([row["mig"] for _, row in rows])
    strength = [row[METHODS[part][0]] for part, row in rows]
    points = {}
    for (part, row), s in zip(rows, strength):
        points.setdefault((part, s), []).append(row["mig"])
    by_point = np.array([np.mean(v) for v in points.values()])
    by_seed = np.mean([np.std(v, ddof=1) for v in points.values() if len(v) > 1])
    udr = [(row["udr"], row["mig"]) for _, row in rows if row.get("udr") is not None]
    facts = []
    beta = [r for r in found["beta_vae"] if r["diverged"] is None]
    rate = spearmanr([r["beta"] for r in beta], [r["rate"] for r in beta])[0]
    elbo = spearmanr([r["beta"] for r in beta], [r["elbo"] for r in beta])[0]
    facts.append(
        Fact(
            f"a larger beta lowers rate and ELBO (rank correlations {rate:.2f}, {elbo:.2f})",
            bool(rate < -0.9 and elbo < -0.5),
        )
    )
    one = _values(found["beta_vae"], "beta", 1.0, "mig").mean()
    top = max(
        _values(found["beta_vae"], "beta", b, "mig").mean() for b in (2, 4, 6, 8, 16)
    )
    facts.append(
        Fact(
            f"some beta above 1 has a higher MIG than the VAE ({top:.3f} against {one:.3f})",
            bool(top > one),
        )
    )
    for part in ("factor_vae", "beta_tcvae"):
        own = [r for r in found[part] if r["diverged"] is None]
        name = METHODS[part][0]
        tc = spearmanr([r[name] for r in own], [r["total_correlation"] for r in own])[0]
        facts.append(
            Fact(
                f"{METHODS[part][1]}'s total correlation falls with its strength "
                f"(rank correlation {tc:.2f})",
                bool(tc < -0.5),
            )
        )
    facts.append(
        Fact(
            "seeds matter as much as the method and its strength: the deviation of MIG between seeds is "
            f"{by_seed:.3f}, between the {len(points)} points {by_point.std(ddof=1):.3f}",
            bool(by_seed > 0.5 * by_point.std(ddof=1)),
        )
    )
    if udr:
        c = spearmanr(*zip(*udr))[0]
        facts.append(
            Fact(
                f"UDR, which needs no labels, ranks runs as MIG does (rank correlation {c:.2f})",
                bool(c > 0.3),
            )
        )
    other = spearmanr(mig, [row["dci_disentanglement"] for _, row in rows])[0]
    facts.append(
        Fact(
            f"MIG and DCI's disentanglement agree (rank correlation {other:.2f})",
            bool(other > 0.5),
        )
    )
    return facts


def figure(found):
    """Each metric against strength: a colour a method, the mean and every seed."""
    figure, panels = sheet.canvas(2, 3, 3.0, 2.6, sharex=True)
    for panel, name in zip(panels.flat, PANELS):
        for i, (part, (strength, label)) in enumerate(METHODS.items()):
            steps = sheet.values(found[part], strength)
            means = [_values(found[part], strength, s, name).mean() for s in steps]
            colour = sheet.CLASSES[i]
            panel.plot(range(1, len(steps) + 1), means, "-", color=colour, label=label)
            for j, step in enumerate(steps):
                own = _values(found[part], strength, step, name)
                panel.plot([j + 1] * len(own), own, ".", ms=3, color=colour)
        panel.set_title(name.replace("_", " "), fontsize=9)
        panel.grid(alpha=0.25)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8)
    figure.supxlabel("strength, from the least to the greatest of its grid", fontsize=9)
    sheet.caption(
        figure, "sprites/32x32_binary; lines are means of 3 seeds, points the seeds"
    )
    return figure
