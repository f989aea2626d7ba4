"""The figures of the inference gap and of collapse show what the tables say."""

import numpy as np
import pytest

from aevae.figures import collapse, contract, inference

BETAS, SEEDS = (0.5, 1.0, 4.0), (0, 1)


def tables(train=False, kinds=True):
    """Two latents, of which one dies at beta 2 and the other at beta 8, and gaps of known parts."""
    results, latents, run = [], [], 0
    for beta in BETAS:
        for seed in SEEDS:
            row = {"run": run, "beta": beta, "seed": seed, "gap_examples": 100}
            row |= {"dataset": "digits", "binarization": "stochastic", "elbo": -3.0}
            for prefix in ("", "train_") if train else ("",):
                row[f"{prefix}approximation_gap"] = beta
                row[f"{prefix}amortization_gap"] = 1.0 + seed
                row[f"{prefix}inference_gap"] = beta + 1.0 + seed
            results.append(row)
            for latent, end in enumerate((2.0, 8.0)):
                rate = max(0.5 * np.log(end / beta), 0.0)
                own = {"run": run, "beta": beta, "seed": seed, "rate": rate}
                if kinds:
                    own |= {"kind": 2.0 * (rate > 0), "used_permuted": 2 * rate}
                    own |= {"used_permuted_error": 0.001}
                latents.append(own)
            run += 1
    return contract.Tables(results, [], ["beta"], latents)


@pytest.mark.parametrize("train", [False, True])
def test_bars_are_the_means_of_the_parts(train):
    figure = inference.inference_gap(tables(train))
    (panel,) = figure.axes
    bars = sorted((bar.get_x(), bar.get_y(), bar.get_height()) for bar in panel.patches)
    bars = [bar[1:] for bar in bars]
    each = [((0.0, beta), (beta, 1.5)) for beta in BETAS for _ in range(1 + train)]
    np.testing.assert_allclose(bars, [bar for pair in each for bar in pair])
    caption = figure.caption
    assert "100 test examples; mean over 2 seeds" in caption
    assert len(figure.legends[0].get_texts()) == 2 + 2 * train


def test_lines_are_counts_and_rates_and_ticks_where_latents_die():
    figure = collapse.collapse(tables())
    above, below = figure.axes
    lines = {line.get_label(): list(line.get_ydata()) for line in above.get_lines()}
    assert lines["rate above 0.01 nats"] == lines["active"] == [2, 2, 1]
    assert lines["used by the decoder"] == [2, 2, 1]
    assert lines["passive"] == [0, 0, 1] and lines["mixed"] == [0, 0, 0]
    first, second, *ticks = below.get_lines()
    assert list(first.get_ydata()) == [0.5 * np.log(8 / beta) for beta in BETAS]
    assert second.get_ydata()[-1] == 0
    (tick,) = ticks  # the other one lives at every beta
    assert tick.get_xdata()[0] == pytest.approx(2.0)


def test_beta_0_leaves_the_other_betas_their_places():
    """A logarithmic axis has none for it, and would push all others together."""
    known = tables()
    for row in known.latents:
        row["beta"] = {0.5: 0.0}.get(row["beta"], row["beta"])
    _, below = collapse.collapse(known).axes
    places = below.transAxes.inverted().transform(
        below.transData.transform([(beta, 0) for beta in (0.0, 1.0, 4.0)])
    )[:, 0]
    assert 0 < places[0] and places[-1] < 1
    assert (np.diff(places) > 0.15).all()


def test_rates_alone_are_drawn_without_kinds():
    above, _ = collapse.collapse(tables(kinds=False)).axes
    assert [line.get_label() for line in above.get_lines()] == ["rate above 0.01 nats"]


def test_what_is_not_measured_is_said():
    known = tables()._replace(latents=[], results=[{"elbo": -3.0}])
    assert contract.missing(inference.inference_gap.contract.needs, known) == (
        "experiments.evaluate --measures=inference_gap has not measured it"
    )
    assert contract.missing(collapse.collapse.contract.needs, known) == (
        "experiments.evaluate --measures=collapse has not measured it"
    )
    one = known._replace(axes=["latent"])
    assert "one value of beta" in contract.missing(
        collapse.collapse.contract.needs, one
    )
