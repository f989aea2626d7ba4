"""Each law at small size, what a law says when it does not hold, and the command."""

import functools

import numpy as np
import pytest

from aevae import data
from experiments import command, laws, verify
from experiments.laws import estimates, gradients, linear


@pytest.fixture(scope="module")
def gaussian():
    return data.load("gaussian", "train", "validation", "test")


SMALL = {
    3: functools.partial(linear.reconstruction, latents=(2,), steps=1000),
    5: functools.partial(gradients.exact_posterior, k=10),
    8: functools.partial(estimates.information, count=3000),
}


@pytest.mark.parametrize("number", SMALL)
def test_a_law_holds_at_small_size(number, gaussian):
    given = (gaussian,) if number in laws.WITH_DATA else ()
    rows = SMALL[number](*given)
    assert all(row.holds for row in rows), rows


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2, 4, 6, 7])
def test_a_law_holds(number, gaussian):
    given = (gaussian,) if number in laws.WITH_DATA else ()
    assert all(row.holds for row in laws.ALL[number][1](*given))


def test_solved_optima_are_those_in_closed_form(gaussian):
    """Of the likelihood, of reverse water-filling, and of a learned sigma²; from random starts."""
    x = gaussian.train["image"].astype(np.float64)
    covariance = np.cov(x.T, ddof=0)
    values = linear.spectrum(covariance)
    best, variance = linear.maximum(values, 4)
    solved = linear.solve(covariance, 4)
    np.testing.assert_allclose(linear.measured(solved, covariance)[2], best, atol=1e-4)
    np.testing.assert_allclose(solved[3], variance, rtol=1e-3)
    for beta in (0.5, 2.0, 9.0):
        known = linear.frontier(values, 6, beta, 0.5)
        solved = linear.solve(covariance, 6, beta, 0.5)
        found = linear.active(solved), *linear.measured(solved, covariance)
        np.testing.assert_allclose(found, known, rtol=1e-3, atol=1e-3)
        learned = linear.solve(covariance, 6, beta)
        if beta < 9:
            known = linear.best_variance(values, 6, beta)
            np.testing.assert_allclose(learned[3], known, rtol=1e-3)
    assert all(row.holds for row in linear.collapse(values, 6))


def test_the_covariance_is_over_n():
    """The notebook of Lucas et al. (2019) divides by N - 1, and finds ½ d log(N / (N - 1)) less."""
    x = np.random.default_rng(0).normal(size=(50, 6)) @ np.diag(np.arange(1, 7))
    right, wrong = (
        linear.maximum(linear.spectrum(np.cov(x.T, ddof=ddof)), 2)[0] for ddof in (0, 1)
    )
    np.testing.assert_allclose(right - wrong, 0.5 * 6 * np.log(50 / 49), rtol=1e-9)


def test_the_package_evaluates_a_solved_optimum(gaussian):
    x = gaussian.train["image"].astype(np.float64)
    covariance, mean = np.cov(x.T, ddof=0), x.mean(0)
    solved = linear.solve(covariance, 4)
    found, error = linear._by_the_package(solved, mean, gaussian.train["image"])
    known, _ = linear.maximum(linear.spectrum(covariance), 4)
    assert abs(found - known) < 4 * error < 0.1


@pytest.mark.slow
def test_mnist_has_the_numbers_that_were_computed_for_it(mnist):
    """q = 20: 299.7584 and q = 50: 507.9054 nats on the 60,000 images."""
    dataset = data.load("mnist", "train", "test", "test", mnist)
    rows = linear.mnist(dataset)
    assert all(row.holds for row in rows)
    known = [row.expected for row in rows if "pPCA" in row.name]
    np.testing.assert_allclose(known, [299.7584, 507.9054], atol=1e-4)


def test_the_command_says_what_holds(monkeypatch, capsys):
    run = functools.partial(command.execute, verify.define, verify.main)
    assert run(["--laws=5"]) == 0
    assert "2 of 2 hold" in capsys.readouterr().out
    broken = laws.Law("a law", 1.0, 2.0, 0.5)
    monkeypatch.setitem(laws.ALL, 5, ("broken", lambda: [broken]))
    assert run(["--laws=5"]) == 1
    shown = capsys.readouterr().out
    assert "FAIL" in shown and "0 of 1 hold" in shown
    assert run(["--laws=9"]) == 2
    assert "there is no law '9'; there are 1, 2" in capsys.readouterr().err
