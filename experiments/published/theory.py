"""Results with exact answers: probabilistic PCA, the rate-distortion frontier, the noise of gradients."""

import math

import numpy as np

from aevae import data
from aevae.figures import sheet
from experiments import frontier as frontier_command
from experiments import laws
from experiments.laws import linear
from experiments.published.job import Fact, Outcome, Part, Row

PPCA = {  # latents: sigma², log-likelihood of a training image, and of a test image; float64
    2: (0.05609580, 12.4277, 14.3601),
    5: (0.04519335, 90.6986, 93.9204),
    10: (0.03486734, 182.1547, 186.0241),
    20: (0.02459713, 299.7584, 306.5487),
    50: (0.01259605, 507.9054, 517.6033),
    100: (0.00658072, 680.9518, 689.3221),
    200: (0.00302922, 839.5438, 844.7477),
}
FIXED = {  # beta, 50 latents, sigma² 0.05: rate, squared error, ELBO; float64
    0.5: (77.263, 10.4955, 271.661),
    1: (59.935, 11.7455, 276.490),
    4: (25.481, 19.1685, 236.713),
    8: (13.012, 26.1640, 179.227),
    16: (5.809, 34.1795, 106.276),
    32: (2.098, 42.4069, 27.713),
    128: (0.0, 52.7250, -73.371),
}
LEARNED = {  # beta, 50 latents: the learned sigma², and the rate
    0.5: (0.012181, 112.567),
    1: (0.012596, 94.401),
    2: (0.013517, 75.308),
    4: (0.015831, 54.028),
    8: (0.023968, 26.445),
    16: (0.040375, 7.568),
    64: (0.066123, 0.095),
}
SOLVED = (2, 5, 10, 20, 50), (2, 8)  # latents, betas of LEARNED; others take minutes
SIGMA2, LATENT = 0.05, 50
FULL = 20  # epochs of the beta sweep


def ppca(job):
    """The optimal linear VAE against probabilistic PCA, Tipping and Bishop (1999).

    At beta = 1 its ELBO and sigma² are those of probabilistic PCA; at other betas its rate and sigma²
    are those of reverse water-filling.
    """
    train, test = _images(job)
    mean, covariance = linear.moments(train)
    rows, found = [], {}
    for latent in SOLVED[0]:
        variance, likelihood, held = PPCA[latent]
        solved = linear.solve(covariance, latent)
        *_, elbo = linear.measured(solved, covariance)
        found[latent] = elbo
        of_test = _likelihood(solved[0], solved[3], mean, test)
        what = f"{latent} latents"
        rows += [
            Row(f"{what}: ELBO", likelihood, elbo, 1e-3, 0, True),
            Row(f"{what}: sigma²", variance, solved[3], 1e-6),
            Row(f"{what}: log p(x) of test", held, of_test, 5e-3),
        ]
    for beta in SOLVED[1]:
        variance, rate = LEARNED[beta]
        solved = linear.solve(covariance, LATENT, beta)
        what = f"{LATENT} latents, beta {beta:g}"
        of = linear.measured(solved, covariance)
        rows.append(Row(f"{what}: learned sigma²", variance, solved[3], 1e-5))
        rows.append(Row(f"{what}: rate", rate, of[0], 1e-2))
    image = _ppca_image(linear.spectrum(covariance), found)
    return Outcome(rows, [], 0, 0, True, image, "solved for, not trained")


def _images(job):
    dataset = data.load("mnist", "train", "test", "test", job.data_dir)
    parts = dataset.train, dataset.test
    return [part["image"].reshape(len(part["image"]), -1) for part in parts]


def _likelihood(w, sigma2, mean, images):
    """Mean log N(x; mean, W Wᵀ + sigma² I)."""
    x, d = images / 255 - mean, len(w)
    cov = w @ w.T + sigma2 * np.eye(d)
    _, volume = np.linalg.slogdet(cov)
    spread = np.einsum("nd,nd->n", x @ np.linalg.inv(cov), x).mean()
    return -0.5 * (d * math.log(2 * math.pi) + volume + spread)


def _ppca_image(values, found):
    figure, panels = sheet.canvas(1, 1, 4.2, 3.0)
    sizes = range(1, 301)
    known = [linear.maximum(values, size)[0] for size in sizes]
    panels[0, 0].plot(sizes, known, color="0.55", lw=2.4, label="probabilistic PCA")
    panels[0, 0].plot(*zip(*found.items()), "o", color="#aa3355", label="linear VAE")
    panels[0, 0].set(xscale="log", xlabel="latents", ylabel="ELBO (nats)")
    panels[0, 0].legend(fontsize=8)
    panels[0, 0].grid(alpha=0.25)
    sheet.caption(figure, "MNIST, 60,000 training images, real-valued pixels in [0, 1]")
    return figure


def frontier(job):
    """A beta sweep of VAEs on MNIST, and linear beta-VAEs against their exact frontier."""
    parts = {"runs": Part("configs/mnist_frontier.py")}
    runs = job.train(FULL, parts)["runs"].must_not_diverge()
    _, facts = frontier_command.table(runs.workdir)
    train, _ = _images(job)
    covariance = linear.moments(train)[1]
    rows, points = [], {}
    for beta in sheet.values(runs.rows, "beta"):
        for name in ("rate", "distortion"):
            own = [row[name] for row in runs.rows if row["beta"] == beta]
            what = f"VAE, beta {beta:g}: {name} on the test split"
            rows.append(Row(what, None, float(np.mean(own)), main=True))
    for beta, known in FIXED.items():
        solved = linear.solve(covariance, LATENT, beta, SIGMA2)
        points[beta] = linear.measured(solved, covariance)
        for name, value, ours in zip(
            ("rate", "squared error", "ELBO"), known, points[beta]
        ):
            what = f"linear beta-VAE, beta {beta:g}: {name}"
            main = name != "ELBO" and beta in (1, 8)
            rows.append(Row(what, value, ours, 1e-2, 0, main))
    facts = [Fact(f"VAEs: {what}", bool(holds)) for what, holds in facts]
    image = _frontier_image(runs.rows, linear.spectrum(covariance), points)
    note = "3 seeds; linear beta-VAEs are solved for, 50 latents, sigma² 0.05"
    counts = runs.samples, FULL * 50_000, runs.complete
    return Outcome(rows, facts, *counts, image, note)


def _frontier_image(rows, values, points):
    figure, panels = sheet.canvas(1, 2, 4.0, 3.4)
    left, right = panels[0]
    betas = sheet.values(rows, "beta")
    colors = sheet.colors(betas)
    for row in rows:
        left.plot(row["rate"], row["distortion"], "o", ms=4, color=colors[row["beta"]])
    for beta in betas:
        own = [row for row in rows if row["beta"] == beta]
        at = (
            np.mean([r["rate"] for r in own]),
            np.mean([r["distortion"] for r in own]),
        )
        left.annotate(
            f"{beta:g}", at, xytext=(5, 3), textcoords="offset points", fontsize=7
        )
    left.set_title("VAEs of beta 0.1 to 16, test split", fontsize=9)
    left.set(xlabel="rate (nats)", ylabel="distortion (nats)")
    known = [
        linear.frontier(values, LATENT, beta, SIGMA2)[1:3]
        for beta in np.geomspace(0.3, 130, 200)
    ]
    right.plot(*zip(*known), color="0.55", lw=2.4, label="reverse water-filling")
    at = [point[:2] for point in points.values()]
    right.plot(*zip(*at), "o", ms=4, color="#aa3355", label="linear beta-VAE")
    for beta, point in zip(points, at):
        right.annotate(
            f"{beta:g}", point, xytext=(5, 3), textcoords="offset points", fontsize=7
        )
    right.set_title(f"linear, {LATENT} latents, sigma² = {SIGMA2}", fontsize=9)
    right.set(xlabel="rate (nats)", ylabel="squared error")
    right.legend(fontsize=8)
    for panel in panels[0]:
        panel.grid(alpha=0.25)
    sheet.caption(
        figure,
        "MNIST; left stochastic binarization, right real-valued pixels; numbers are betas",
    )
    return figure


def gradients(job):
    """The signal-to-noise ratio of gradients against K: Rainforth et al. (2018), Tucker et al. (2019)."""
    del job
    rows = [
        Row(
            law.name, law.expected, law.measured, law.tolerance, 0, "signal" in law.name
        )
        for law in laws.gradients.signal_to_noise()
    ]
    return Outcome(
        rows,
        [],
        0,
        0,
        True,
        None,
        "a toy model of 20 latents; K = 16 to 1024, 2,000 repeats",
    )
