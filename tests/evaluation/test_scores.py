"""Metrics of codes whose relation to the factors is known."""

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from aevae import InputError
from aevae.evaluation import disentanglement, scores

SPRITES = (3, 6, 10, 16, 16)
DSPRITES = (3, 6, 40, 32, 32)
FAST = [
    scores.mig,
    scores.sap,
    scores.modularity,
    scores.beta_vae_score,
    scores.factor_vae_score,
]


def drawn(sizes, count=4000, seed=0):
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, size, count) for size in sizes], axis=1)


def perfect(factors, latent):
    code = np.zeros((len(factors), latent))
    code[:, : factors.shape[1]] = (factors - factors.mean(0)) / factors.std(0)
    return code


@pytest.fixture(scope="module")
def factors():
    return drawn(SPRITES)


@pytest.fixture(scope="module")
def code(factors):
    return perfect(factors, 8)


def rotated(code, count=5, seed=3):
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(count, count)))[0]
    return np.concatenate([code[:, :count] @ turn, code[:, count:]], axis=1)


def test_information_is_that_of_the_table(factors):
    """Against scikit-learn's, of binned values, and by hand where a latent is the factor."""
    from sklearn.metrics import mutual_info_score

    random = np.random.default_rng(1)
    codes = np.c_[factors[:, 1] + 0.5 * random.normal(size=len(factors)), factors[:, 3]]
    found = scores.mutual_information(codes, factors)
    edges = np.linspace(codes[:, 0].min(), codes[:, 0].max(), 21)
    binned = np.clip(np.digitize(codes[:, 0], edges) - 1, 0, 19)
    for k in range(5):
        theirs = mutual_info_score(binned, factors[:, k])
        np.testing.assert_allclose(found[0, k], theirs, rtol=1e-6, atol=1e-9)
    share = np.bincount(factors[:, 3]) / len(factors)
    np.testing.assert_allclose(found[1, 3], scipy.stats.entropy(share), rtol=1e-9)
    constant = scores.mutual_information(np.ones((len(factors), 1)), factors)
    np.testing.assert_array_equal(constant, 0)


@pytest.mark.parametrize("score", FAST)
def test_disvae_64_latents_may_change_places_and_samples_may_too(score, code, factors):
    """A `view` in a transpose's place mixed the two; MIG came out near 0.001."""
    random = np.random.default_rng(0)
    order, rows = random.permutation(8), random.permutation(len(code))
    own = score(code, factors)
    np.testing.assert_allclose(score(code[:, order], factors), own, atol=1e-9)
    np.testing.assert_allclose(score(code[rows], factors[rows]), own, atol=0.04)
    if score is not scores.sap:  # whose penalty knows scales
        np.testing.assert_allclose(score(-2 * code + 1, factors), own, atol=0.02)


def test_a_perfect_code_has_the_best_scores(code, factors):
    found = disentanglement.ceilings(factors, 8)
    for name in ("mig", "beta_vae_score", "factor_vae_score"):
        np.testing.assert_allclose(found[name], 1.0, atol=0.01)
    assert found["mig"] == scores.mig(code.astype(np.float32), factors)
    assert found["dci_disentanglement"] > 0.99 < found["dci_completeness"]
    np.testing.assert_allclose(found["modularity"], 5 / 8, atol=0.01)  # dead ones are 0
    assert 0.2 < found["sap"] < 0.3 and 0.99 < found["mig_chen"] <= 1
    assert disentanglement.ceilings(factors, 4) == {}


def test_dsprites_has_the_ceilings_that_were_computed_for_it():
    """MIG 0.8955 and SAP 0.244 with factors of 3, 6, 40, 32 and 32 values: not 1."""
    factors = drawn(DSPRITES, 10_000)
    codes = perfect(factors, 10)
    assert abs(scores.mig(codes, factors) - 0.8955) < 0.005
    assert abs(scores.sap(codes, factors) - 0.244) < 0.02
    turned = rotated(codes)
    assert scores.mig(turned, factors) < 0.35 and scores.sap(turned, factors) < 0.17


def test_a_constant_latent_has_no_information_and_no_modularity():
    """Not 1e-16 nats either, which would make it as good as a perfect one."""
    for seed in range(30):
        factors = drawn(SPRITES, 500 + 37 * seed, seed)
        codes = perfect(factors, 10) + 1.5
        assert (scores.mutual_information(codes, factors)[5:] == 0).all()
        assert scores.modularity(codes, factors) <= 0.5


def test_a_factor_that_is_held_changes_nothing(code, factors):
    """One value in all rows: no factor of an average, and no base of an entropy."""
    turned = rotated(code)
    more = np.insert(factors, 2, 7, axis=1)
    for score in (
        *FAST,
        lambda *given: scores.mig_chen(given[0], 0.3 + 0 * code, given[1]),
    ):
        assert score(turned, more) == score(turned, factors)
    few = [drawn((3, 4), 400)]
    few.append(np.c_[few[0], np.zeros(400, int)])
    codes = few[0] @ np.array([[1.0, 0.5], [-0.5, 1.0]])
    assert scores.dci(codes, few[0]) == scores.dci(codes, few[1])


def test_chens_information_does_not_depend_on_blocks(code, factors, monkeypatch):
    std = np.full(code.shape, 0.4)
    whole = scores.posterior_information(code, std, factors, samples=100)
    monkeypatch.setattr(scores, "FLOATS", 100 * 8 * 37)  # a last block that is not full
    part = scores.posterior_information(code, std, factors, samples=100)
    np.testing.assert_allclose(part, whole, rtol=1e-4, atol=1e-5)


def test_disvae_64_information_is_that_of_each_latent_alone(code, factors):
    """Samples and latents are told apart also where there are as many of both."""
    turned, std = rotated(code), np.linspace(0.2, 0.6, 8) * np.ones(code.shape)
    order = np.random.default_rng(4).permutation(8)
    for samples in (8, 500):
        own, other = (
            scores.posterior_information(turned[:, o], std[:, o], factors, 0, samples)
            for o in (slice(None), order)
        )
        if samples > 8:
            np.testing.assert_allclose(other, own[order], atol=0.1)
        assert (own[5:] < 1e-5).all() and (
            other[np.isin(order, (5, 6, 7))] < 1e-5
        ).all()
        assert (own[:5] > 1e-3).any(1).all()


def test_udr_leaves_dead_latents_out():
    """A trace of the image in a dead latent has a rank correlation as large as any."""
    random = np.random.default_rng(0)
    live = random.normal(size=(500, 3))
    traced = np.c_[live, 0.01 * live[:, [1, 2, 0]]]
    rates = [np.r_[np.ones(3), np.zeros(3)]] * 3
    np.testing.assert_allclose(
        scores.udr([traced] * 3, rates),
        scores.udr([live] * 3, [np.ones(3)] * 3),
    )


def test_a_rotation_takes_the_gap_and_leaves_the_votes(code, factors):
    turned = rotated(code)
    assert scores.mig(turned, factors) < 0.5 * scores.mig(code, factors)
    assert scores.beta_vae_score(turned, factors) > 0.8
    assert scores.modularity(turned, factors) < scores.modularity(code, factors)


def test_a_copy_of_every_latent_closes_the_gaps(code, factors):
    twice = np.concatenate([code[:, :5], code[:, :5]], axis=1)
    for score in (scores.mig, scores.sap):
        np.testing.assert_allclose(score(twice, factors), 0, atol=1e-9)
    assert scores.modularity(twice, factors) > 0.99


def test_codes_that_know_nothing(factors):
    noise = np.random.default_rng(5).normal(size=(len(factors), 8))
    assert scores.mig(noise, factors) < 0.02 and scores.sap(noise, factors) < 0.1
    for score in (scores.beta_vae_score, scores.factor_vae_score):
        assert score(noise, factors) < 0.35  # one of five by chance
    dead = np.zeros((len(factors), 8))
    assert scores.factor_vae_score(dead, factors) == 0 == scores.mig(dead, factors)


def test_importance_is_read_along_the_right_axis():
    """Two factors in one latent: complete, and not disentangled; the other way the reverse."""
    factors = drawn((4, 4, 4), 2000)
    one, two, three = (factors.T - 1.5).astype(float)
    both = np.c_[one + 4 * two, three, 0 * one]
    found = scores.dci(both, factors)
    assert found["dci_completeness"] > 0.85 > found["dci_disentanglement"]
    random = np.random.default_rng(0)
    split = np.where(
        random.random(len(one)) < 0.5, one, 0.0
    )  # one factor in two latents
    codes = np.c_[split, one - split, two, three]
    found = scores.dci(codes, factors)
    assert found["dci_disentanglement"] > 0.93 > found["dci_completeness"]


def test_chens_information_is_an_integral():
    """A factor of two values at ±1 with posteriors N(±1, s²): log 2 - H(v | z), by quadrature."""
    v = np.arange(4000) % 2
    factors = np.stack([v, np.random.default_rng(0).integers(0, 3, 4000)], axis=1)
    mean = np.c_[2.0 * v - 1, np.zeros(4000)]
    std = np.c_[np.full(4000, 0.7), np.ones(4000)]

    def density(z):
        p = [scipy.stats.norm.pdf(z, m, 0.7) for m in (-1, 1)]
        q = 0.5 * (p[0] + p[1])
        return sum(0.5 * own * np.log(own / q) for own in p)

    exact = scipy.integrate.quad(density, -6, 6)[0] / np.log(2)
    # The second factor has none, and so the gap is half of the first one's.
    found = scores.mig_chen(mean, std, factors, samples=8000)
    np.testing.assert_allclose(found, exact / 2, atol=0.02)
    prior = scores.mig_chen(0 * mean, np.ones_like(std), factors)
    np.testing.assert_allclose(prior, 0, atol=1e-5)  # whatever is drawn


def test_ranking_is_the_papers_formula():
    random = np.random.default_rng(0)
    code = random.normal(size=(500, 3))
    live, some = np.ones(3), np.array([1.0, 1.0, 0.0])
    other = -np.exp(code[:, [2, 0, 1]])  # places, signs and scales do not count
    r = abs(scipy.stats.spearmanr(code, other).statistic[:3, 3:])
    by_hand = ((r.max(0) ** 2 / r.sum(0)).sum() + (r.max(1) ** 2 / r.sum(1)).sum()) / 6
    found = scores.udr([code, other], [live, live])
    np.testing.assert_allclose(found, [by_hand, by_hand], rtol=1e-9)
    assert by_hand > 0.85
    apart = scores.udr([code, random.normal(size=(500, 3))], [live, live])
    assert max(apart) < 0.15
    alone = scores.udr([code, other], [some, 0 * some])
    assert alone == [0, 0]  # nothing to agree with
    assert scores.udr([code, other], [0 * some, 0 * some]) == [
        0,
        0,
    ]
    assert scores.udr([code], [live]) == [0.0]


def test_golden_values_of_our_own_arithmetic(factors):
    """They may change with NumPy's generator, and with nothing else."""
    codes = perfect(factors, 5) + np.random.default_rng(9).normal(size=(4000, 5))
    found = [s(codes, factors) for s in (scores.mig, scores.modularity)]
    found.append(scores.factor_vae_score(codes, factors))
    np.testing.assert_allclose(found, GOLDEN, rtol=1e-6)


GOLDEN = [0.17604532, 0.99477193, 0.9896]


@pytest.mark.parametrize(
    "codes, factors, says",
    [
        (np.ones((5, 2)), np.zeros((4, 2), int), r"\(5, 2\) and the factors of 4"),
        (np.ones((5, 2)), np.zeros((5, 2), int), "nothing to disentangle"),
    ],
)
def test_bad_input(codes, factors, says):
    with pytest.raises(InputError, match=says):
        scores.mig(codes, factors)
