"""Published results: what of a paper is compared with our runs, and how."""

import types
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aevae import InputError, config
from aevae.evaluation import likelihood
from aevae.models.distributions import Normal
from aevae.models.likelihoods import Bernoulli
from experiments import reproduce
from experiments.laws import linear
from experiments.published import aevb, disentangle, iwae, priors, readings, theory
from experiments.published.job import Job, Row

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("ours", "better", "verdict"),
    [
        (-99, 1, "within"),
        (-101.9, 1, "within"),
        (-102.1, 1, "worse"),
        (-50, 1, "better"),
    ]
    + [(-50, 0, "worse"), (-150, 0, "worse"), (-98.5, 0, "within")]
    + [(-150, -1, "better"), (-101, -1, "within"), (-97, -1, "worse")],
)
def test_what_is_beyond_the_tolerance_is_better_or_worse(ours, better, verdict):
    row = Row("", -100.0, ours, 2.0, better)
    assert row.verdict == verdict
    assert row._replace(tolerance=None).verdict is None
    assert row._replace(published=None).verdict is None


def test_a_curve_is_read_along_log_images():
    curve = np.array([1e4, 1e6, 1e8]), np.array([-150.0, -110.0, -100.0])
    found = [aevb.at(curve, samples) for samples in (1e3, 1e5, 1e6, 1e7, 1e9)]
    np.testing.assert_allclose(found, [-150, -130, -110, -105, -100])


def test_reference_curves_show_what_the_paper_says():
    """AEVB ends above wake-sleep for every latent size; the gap to training shrinks with more images."""
    paper = aevb.curves("aevb_figure2")
    for latent in aevb.LATENTS:
        for split in aevb.SPLITS:
            own, other = (paper[latent, f"{name} {split}"] for name in ("AEVB", "WS"))
            assert (np.diff(own[0]) > 0).all() and own[0][-1] >= 1e8
            assert aevb.at(own, 1e8) > aevb.at(other, 1e8)
    small = aevb.curves("aevb_figure3")
    gaps = [
        aevb.at(small[size, "AEVB train"], 6e7) - aevb.at(small[size, "AEVB test"], 6e7)
        for size in aevb.SIZES
    ]
    np.testing.assert_allclose(gaps, [34.1, 7.0], atol=0.05)


def test_every_config_is_one_and_is_as_the_paper_says():
    parts = [f"aevb.py:{part}" for part in ("figure2", *aevb.SIZES.values())]
    parts += [f"priors.py:{part}" for part in (*priors.NAMES, "flax")]
    parts += [f"disentangle.py:{part}" for part in disentangle.METHODS]
    parts += [readings._part(point).base.partition("/")[2] for point in readings.POINTS]
    parts += ["iwae.py:one_layer", "iwae.py:two_layers", "deep.py", "mnist_frontier.py"]
    for part in parts:
        runs = config.settle(config.load(ROOT / "configs" / part))
        assert len({config.identity(run) for run in runs}) == len(runs)
    base = config.load(ROOT / "configs/iwae.py")
    points = [run.objective.keywords for run in config.settle(base)]
    assert [(p["m"], p["k"]) for p in points] == [
        (1, 1),
        (5, 1),
        (50, 1),
        (1, 5),
        (1, 50),
    ]

    def lr(passes):
        return float(base.schedule(base.hparams, 3000 * passes)["lr"])

    # 3^i passes at 1e-3 · 10^(-i/7)
    firsts = [sum(3**j for j in range(i)) for i in range(8)]
    want = [1e-3 * 10 ** (-i / 7) for i in range(8)]
    np.testing.assert_allclose([lr(n) for n in firsts], want, rtol=1e-5)
    np.testing.assert_allclose([lr(n - 1) for n in firsts[1:]], want[:-1], rtol=1e-5)
    assert iwae.FULL == base.epochs == sum(3**i for i in range(8))
    short = base.hparams | {"share": 1 / 40}
    found = [float(base.schedule(short, 3000 * n // 40)["lr"]) for n in firsts]
    np.testing.assert_allclose(found, want, rtol=1e-5)
    warm = config.load(ROOT / "configs/priors.py")
    for share, epochs in ((1.0, 100), (0.1, 10)):
        hp = warm.hparams | {"share": share}
        beta = [float(warm.schedule(hp, 500 * epochs * n)["beta"]) for n in (0.5, 1, 2)]
        np.testing.assert_allclose(beta, [0.5, 1, 1], rtol=1e-6)


class Fake(Job):
    """A job whose training is made up: `table` gives a part's rows of results and of curves."""

    table = None

    def train(self, full, parts):
        del full
        return {name: self.table(name) for name in parts}

    def ends(self, full, parts):
        del full
        keys = [(name, share) for name in parts for share in self.shares]
        return {key: self.table(*key) for key in keys}

    def evaluate(self, trained, *asked, k=5000):
        del asked
        return [
            {n.replace("iwae_K", f"iwae_{k}"): v for n, v in row.items()}
            for row in trained.rows
        ]


def made(rows, curves, epochs=20, complete=False):
    trained = types.SimpleNamespace(rows=rows, curves=curves, epochs=epochs)
    trained.complete, trained.samples = complete, max(row["samples"] for row in curves)
    trained.must_not_diverge = lambda: trained
    return trained


def test_figure_2_is_compared_point_by_point():
    """The paper's own curves, moved by a nat: all within 2, and in order; moved by five: none."""
    paper = aevb.curves("aevb_figure2")

    def moved(by, order=aevb.LATENTS, lost=0.0):
        curves = [
            {"latent": z, "samples": n, "test_elbo": t, "train_elbo": t + 0.5}
            for z, own in zip(order, aevb.LATENTS)
            for n in range(500_000, 12_000_000, 500_000)
            for t in [aevb.at(paper[own, "AEVB test"], n) + by - lost * (n > 1e7)]
        ]
        fake = type("Moved", (Fake,), {"table": lambda self, name: made([], curves)})
        return aevb.figure2(fake(Path(), 1))

    near, far = moved(-1.0), moved(-5.0)
    tests = [row.verdict for row in near.rows if "test" in row.what]
    assert tests == 10 * ["within"]
    assert {row.verdict for row in far.rows} == {"worse"}
    assert {row.verdict for row in moved(5.0).rows} == {"better"}
    for outcome in (near, far):
        assert [fact.holds for fact in outcome.facts] == [True, True]
        assert len([row for row in outcome.rows if row.main]) == 5
    assert near.samples == 11_500_000 and not near.complete
    turned, lost = moved(0.0, order=(5, 3, 10, 20, 200)), moved(0.0, lost=2.0)
    assert [fact.holds for fact in turned.facts] == [False, True]
    assert "3 and 5 change" in turned.facts[0].what
    assert [fact.holds for fact in lost.facts] == [True, False]


POSTERIORS = {  # q(z|x) by the moments of p(z|x)
    "exact": lambda mean, std: (mean, std),
    "wide": lambda mean, std: (mean, 2 * std),
    "far": lambda mean, std: (mean + 4, 0.05 * std),
}


@pytest.mark.parametrize("kind", POSTERIORS)
@pytest.mark.parametrize("gain", [1.0, 8.0])
def test_a_mixture_finds_log_px_whatever_the_encoder_is(kind, gain):
    """Against quadrature: where the prior misses and the encoder hits, the reverse, and where both do."""
    rng = np.random.default_rng(0)
    weights = gain * rng.normal(size=(2, 16))
    line = np.linspace(-6, 6, 601)
    z = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    x = rng.uniform(size=(6, 16)) < 1 / (1 + np.exp(-rng.normal(size=(6, 2)) @ weights))
    log_joint = x @ (z @ weights).T - np.logaddexp(0, z @ weights).sum(1)
    log_joint -= (z**2).sum(1) / 2 + np.log(2 * np.pi) - 2 * np.log(line[1] - line[0])
    exact = np.logaddexp.reduce(log_joint, axis=1)
    weight = np.exp(log_joint - exact[:, None])
    mean = weight @ z
    std = np.sqrt(weight @ z**2 - mean**2)

    mean, std = POSTERIORS[kind](mean, std)
    q = Normal(jnp.float32(mean), jnp.float32(np.log(std)))
    run = types.SimpleNamespace(
        encode=lambda images: q,
        prior=lambda: Normal(*jnp.zeros((2, 1, 2))),
        decode=lambda z: Bernoulli(z @ jnp.float32(weights)),
    )
    few = gain > 1 and kind != "far"  # of the prior: then they miss
    samples = (64, 500) if few else (2**17, 64)
    images = jnp.float32(x).reshape(-1, 4, 4, 1)
    found = likelihood.mixture(run, images, samples, block=min(samples[0], 8192))
    np.testing.assert_allclose(found, exact, atol=0.2 if few else 0.1)


def test_figure_3_keeps_what_a_mark_was(tmp_path, monkeypatch):
    """Each mark is measured once; what other runs or another estimate have left is refused."""
    paper, asked = aevb.curves("aevb_figure3"), []
    likelihoods = iter(np.arange(100.0))

    class Marked(Fake):
        reached = 10_000_000

        def train(self, full, parts):
            asked.append(full)
            samples = min(50_000 * full, self.reached)
            runs = made([], [{"samples": samples}], complete=samples == 50_000 * full)
            runs.workdir = tmp_path / "runs"
            return dict.fromkeys(parts, runs)

        def chosen(self, name, base, axis, values):
            return self.steps[name.endswith("small")]

        steps = 0.1, 0.02

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(aevb, "_thousand", lambda job: {"test": 0, "train": 1})
    monkeypatch.setattr(aevb.trained_runs, "load", lambda workdir: None)
    monkeypatch.setattr(
        aevb.likelihood,
        "mixture",
        lambda run, of: -100 - np.float64([next(likelihoods)]),
    )
    job = Marked(tmp_path, 1)
    outcome = aevb.figure3(job)
    assert asked == [100, 200, 400] and outcome.samples == 10_000_000
    assert [row.ours for row in outcome.rows] == [-100.0 - n for n in range(8)]
    assert [row.main for row in outcome.rows] == 4 * [False] + 4 * [True]
    test = outcome.rows[4]
    assert test.published == aevb.at(paper[1000, "AEVB test"], 1e7) == -142.9
    assert not outcome.facts[0].holds  # gaps of 1 and 1
    assert outcome.note.startswith("learning rates 0.02 and 0.1;")

    asked.clear()
    Marked.reached = 20_000_000
    more = aevb.figure3(job)
    assert asked == [400, 800] and more.rows[:4] == [
        row._replace(main=False) for row in outcome.rows[:4]
    ]
    Marked.steps = 0.1, 0.1
    with pytest.raises(InputError, match="was made of other runs"):
        aevb.figure3(job)

    class Past(Marked):
        def train(self, full, parts):
            runs = made([], [{"samples": 20_000_000}], complete=True)
            runs.workdir = tmp_path / "runs"
            return dict.fromkeys(parts, runs)

    with pytest.raises(InputError, match="is past 5,000,000 images"):
        aevb.figure3(Past(tmp_path / "new", 1))


def ended(values, sign=1):
    """A `Fake` whose points have these (log p(x), active units), the better the larger the share."""

    def table(self, name, share=1):
        del self
        value, units = values.get(name, (-104.5, None))
        curves = [
            {"samples": n, "test_elbo": -n, "test_iwae": -n, "train_elbo": -n}
            | {"validation_elbo": -n}
            for n in (1, 2)
        ]
        row = {"iwae_K": sign * value - (1 - float(share)), "elbo": value, "epochs": 20}
        row["active_units"] = sign * (units or 0)
        return made([row], curves)

    return type("Ended", (Fake,), {"table": table})


SHARES = Fraction(1, 40), Fraction(1)


def test_table_1_is_compared_at_the_whole_schedule_alone(monkeypatch):
    monkeypatch.setattr(iwae, "PREDICTED", {("vae_1", SHARES[1]): (-86.9, 0.25)})
    values = {
        name: (v - 0.3, u) for name, (v, u) in zip(iwae.POINTS, iwae.TABLE.values())
    }

    def outcome_of(sign, *shares):
        fake = ended(values, sign)
        return iwae.table1(fake(Path(), None, shares=shares))

    outcome = outcome_of(1, *SHARES)
    assert len(outcome.rows) == 2 * (7 + 5) and outcome.complete
    for row in outcome.rows:
        assert row.verdict == (None if "share 1/40" in row.what else "within")
    assert len(outcome.facts) == 6 and all(f.holds for f in outcome.facts)
    assert all("whole schedule" in fact.what for fact in outcome.facts)
    (told,) = [row for row in outcome.rows if row.predicted]
    heads, *lines = reproduce._table(outcome.rows)
    assert heads.index("predicted") == 2
    assert [line[2] for line in lines if line[2]] == ["-86.90 ±0.25"]
    assert told.what.startswith("VAE, K = 1") and told.ours == values["vae_1"][0]
    short = outcome_of(1, SHARES[0])
    assert {row.verdict for row in short.rows} == {None} and not short.complete
    assert "82 of 3,280 passes" in short.note
    assert not any(fact.holds for fact in outcome_of(-1, SHARES[1]).facts)


def test_statements_are_made_of_what_is_trained():
    found = {("vae_1", SHARES[0]): (-90.0, 20), ("iwae_5", SHARES[0]): (-89.0, 22)}
    facts = iwae._facts(found | {("vae_1", SHARES[1]): (-87.0, 19)})
    assert [fact.what for fact in facts] == [
        "IWAE's log p(x) rises with K = 1, 5 (-90.00, -89.00), share 1/40",
        "and so do its active units with K = 1, 5 (20, 22), share 1/40",
    ]
    assert iwae._facts(found | {("iwae_50", SHARES[1]): (-86.0, 25)}) == iwae._facts(
        found
    )
    assert not iwae._facts({("vae_1", SHARES[0]): (-90.0, 20)})


def test_priors_are_compared_at_the_whole_schedule_alone():
    values = {name: (v, None) for name, v in zip(priors.POINTS, priors.TABLE.values())}
    for share, verdict in zip(SHARES, (None, "within")):
        outcome = priors.table1(ended(values)(Path(), None, shares=(share,)))
        assert [row.verdict for row in outcome.rows] == 4 * [verdict] + ["within"]
        assert outcome.complete is (verdict is not None)
        assert len(outcome.facts) == 2 and all(fact.holds for fact in outcome.facts)
    outcome = priors.table1(ended(values, -1)(Path(), None, shares=SHARES[1:]))
    assert not any(fact.holds for fact in outcome.facts)


def test_methods_are_ranked_by_what_was_measured():
    """Metrics that are functions of the strength: all facts hold but the one on seeds."""

    def table(self, name):
        del self
        strength = disentangle.METHODS[name][0]
        rows = [
            {strength: step, "seed": seed, "run": 3 * i + seed}
            | {m: 0.1 * i + 0.001 * seed for m in disentangle.METRICS}
            | {"udr": i + 0.1 * seed, "elbo": -i, "rate": -i, "total_correlation": -i}
            | {"mutual_information": i, "mig_ceiling": 0.9}
            for i, step in enumerate((1, 2, 4))
            for seed in range(3)
        ]
        return made(rows, [{"samples": 40_000}])

    fake = type("Table", (Fake,), {"table": table})
    outcome = disentangle.family(fake(Path(), 1))
    doubted = [fact.what for fact in outcome.facts if not fact.holds]
    assert len(doubted) == 1 and doubted[0].startswith("seeds matter")
    best = [row.what for row in outcome.rows if row.main]
    assert len(best) == 7 and "beta-VAE: best MIG over strengths, at 4" in best[0]


def test_methods_at_their_best_are_set_beside_the_vae():
    """Three seeds of each; what is above the VAE by less than three standard errors is not said to be."""

    def table(self, name, share):
        gain = {"vae": 0.1, "beta_vae": 0.12, "beta_tcvae": 0.2}[name] + float(share)
        measures = *disentangle.METRICS, *disentangle.BESIDE
        rows = [dict.fromkeys(measures, gain + 0.02 * seed) for seed in range(3)]
        seen = [
            {"samples": n, "seed": s, "test_elbo": -n} for n in (1, 2) for s in range(3)
        ]
        return made(rows, seen)

    fake = type("Table", (Fake,), {"table": table})
    outcome = disentangle.best(fake(Path(), None, shares=SHARES))
    holds = [fact.holds for fact in outcome.facts]
    assert holds == [False, False, True, True] and outcome.complete
    (row,) = [
        r for r in outcome.rows if r.what.startswith("VAE, whole schedule: mig, ")
    ]
    assert row.what.endswith("1.1 to 1.14") and abs(row.ours - 1.12) < 1e-9


def test_readings_are_compared_seed_by_seed():
    """A gain is of pairs of seeds, which differ among one another by more."""
    paper = aevb.curves("aevb_figure2")
    gains = {"std_0_1": 4.0, "no_prior": 0.0}

    def table(self, name, share):
        seeds = (0,) if name in readings.LONG else (0, 1, 2)
        marks = [500_000, *aevb.MARKS][: None if share == 1 else -1]
        spread = 0.5 if name == "one_start" else 3.0
        curves = [
            {"seed": seed, "samples": mark}
            | {f"{split}_elbo": known[split] + moved for split in aevb.SPLITS}
            for seed in seeds
            for moved in [gains.get(name, 0) + spread * (seed - 1)]
            for mark in marks
            for known in [
                {s: aevb.at(paper[3, f"AEVB {s}"], mark) for s in aevb.SPLITS}
            ]
        ]
        return made([{"seed": seed} for seed in seeds], curves)

    fake = type("Table", (Fake,), {"table": table})
    short, whole = Fraction(1, 10), Fraction(1)
    outcome = readings.readings(fake(Path(), None, shares=(short, whole)))
    rows = {row.what: row for row in outcome.rows}
    at = "test ELBO at 1e+07 images, 3 seeds from"
    (row,) = [r for n, r in rows.items() if n.startswith("initialization") and at in n]
    assert row.difference == pytest.approx(4) and row.verdict == "better" and row.main
    told = [r for n, r in rows.items() if "gain at 1e+07 images" in n]
    assert [round(r.ours, 6) for r in told] == [4, 0, 0, 0, 0]
    assert "± 0.00 (95 % t interval of 3 pairs)" in told[0].what
    spreads = [r.ours for n, r in rows.items() if "standard deviation" in n]
    assert np.allclose(spreads, [3.0, 0.5])
    last = [r for n, r in rows.items() if "seed 0" in n and "1e+08" in n]
    assert [(r.difference, r.main) for r in last] == 4 * [(pytest.approx(-3), True)]
    assert ["test" in r.what for r in last] == 2 * [True, False]
    assert [r.predicted is None for r in last] == [True, True, False, True]
    alone = readings.readings(fake(Path(), None, shares=(short,)))
    assert alone.samples == 1e7 and not alone.complete
    assert "points trained: 9 to 10,000,000 images" in alone.note


def test_one_start_is_the_same_for_every_seed():
    from configs import aevb as settings

    keys = [jax.random.key(seed) for seed in (0, 1)]
    one, other = (settings.one_start(key, (784, 500), jnp.float32) for key in keys)
    assert (one == other).all() and abs(float(one.std()) - 0.01) < 1e-4
    turned = settings.one_start(keys[0], (500, 784), jnp.float32)
    assert not np.isin(turned[0, :9], one[0, :9]).any()


def test_the_exact_numbers_are_those_of_the_closed_form(mnist):
    """Table of probabilistic PCA, from MNIST's own spectrum, against what is written down."""
    train, test = theory._images(Job(Path(), 0, mnist))
    mean, covariance = linear.moments(train)
    values, axes = np.linalg.eigh(covariance)
    values, axes = values[::-1], axes[:, ::-1]
    for latent, (variance, known, held) in theory.PPCA.items():
        best, found = linear.maximum(values, latent)
        np.testing.assert_allclose(best, known, atol=6e-5)
        np.testing.assert_allclose(found, variance, atol=6e-9)
        w = axes[:, :latent] * np.sqrt(values[:latent] - found)
        np.testing.assert_allclose(
            theory._likelihood(w, found, mean, test), held, atol=1e-3
        )

    for beta, (variance, rate) in theory.LEARNED.items():
        found = linear.best_variance(values, theory.LATENT, beta)
        known = linear.frontier(values, theory.LATENT, beta, found)
        np.testing.assert_allclose([found, known[1]], [variance, rate], atol=6e-4)
    for beta, known in theory.FIXED.items():
        found = linear.frontier(values, theory.LATENT, beta, theory.SIGMA2)
        np.testing.assert_allclose(found[1:], known, atol=6e-4)
