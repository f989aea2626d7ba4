"""The battery for configs of anyone's: it finds faults that are planted, and holds for what is here."""

import functools
from pathlib import Path

import numpy as np
import planted
import pytest

from aevae import InputError, data, models, objectives
from experiments import battery, command, verify
from experiments.battery import known, penalties, table
from experiments.battery.line import counted, distance
from experiments.laws import Law

pytestmark = pytest.mark.retraced

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "experiments" / "battery.md"
QUICK = {  # methods, of different kinds, and checks of the default suite: few programs
    "beta_tcvae": ("rate", "distortion", "elbo", "penalties", "batch-size"),
    "wae_mmd": ("rate", "distortion", "penalties"),
    "free_bits": ("rate", "elbo", "beta-1", "collapse", "iwae"),
}
SLOW = (  # faults beyond those that are known from published code
    *("a mean over latents in the KL", "a prior whose samples are not of its density"),
    *("a mean that is an exponential", "an elbo with beta in it"),
    *("a logarithm of pixels that are 0", "logarithms of probabilities that may be 0"),
    *("a penalty between examples, not declared", "a weight that nothing reads"),
    *("a counter of calls in the loss", "a Gaussian density without its constant"),
    *("a beta that is bounded", "a variance taken for a deviation in the draws"),
)
FAULTS = [
    pytest.param(fault, id=fault.what, marks=[pytest.mark.slow] * (fault.what in SLOW))
    for fault in planted.PLANTED
]


IMAGES = np.random.default_rng(7).integers(0, 256, (88, 4, 4, 1)).astype(np.uint8)
KNOWN = {}  # subjects of sound configs, which several faults share


def line(config, check):
    if id(config) not in KNOWN:
        parts = [{"image": part} for part in np.split(IMAGES, [48, 68])]
        subject = battery.Subject(config, data.arrays(*parts, name="tiny"))
        KNOWN[id(config)] = config, subject
    (found,) = battery.lines(KNOWN[id(config)][1], [check])
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_by_its_check(fault):
    for check in fault.checks:
        assert line(fault.faulty, check).holds is False, check
        sound = line(fault.sound, check)
        assert sound.holds is True, sound


def test_checks_without_a_planted_fault_are_those_of_the_package():
    """Groups and resuming are no part of a config; test_every_method has them."""
    named = {check for fault in planted.PLANTED for check in fault.checks}
    assert {*battery.CHECKS} - named == {"member", "resume"}


def test_the_guide_has_the_table_of_all_methods_and_checks():
    found = table.read(GUIDE.read_text("utf-8"))
    assert [*found] == table.methods(ROOT)
    for method, said in found.items():
        assert [*said] == [*battery.CHECKS], method
        assert table.FAILS not in said.values(), method
        known = [why for why in said.values() if why != table.UNKNOWN]
        assert all(why == table.HOLDS or len(why) > 10 for why in known), method
    every = [said["penalties"] == table.HOLDS for said in found.values()]
    assert sum(every) > 12


@pytest.mark.parametrize("method", QUICK)
def test_a_method_is_as_the_table_says(method):
    committed = table.read(GUIDE.read_text("utf-8"))[method]
    found = table.verdicts(method, ROOT, QUICK[method])
    assert found == {check: committed[check] for check in found}


@pytest.mark.bits
@pytest.mark.slow
@pytest.mark.parametrize("method", table.methods(ROOT))
def test_all_of_the_table_is_as_it_says(method):
    committed = table.read(GUIDE.read_text("utf-8"))[method]
    found = table.verdicts(method, ROOT)
    assert table.FAILS not in found.values()
    known = {c: why for c, why in committed.items() if why != table.UNKNOWN}
    assert {check: found[check] for check in known} == known


def test_a_table_is_read_as_it_was_written():
    said = dict.fromkeys(battery.CHECKS, table.HOLDS)
    found = {"one": said | {"rate": "no rate"}, "two": said | {"iwae": "no iwae"}}
    assert table.read(table.markdown(found)) == found


def test_what_an_objective_disclaims_is_said_and_not_checked():
    def mine(model, params, batch, key, hp):
        return planted.between_examples(model, params, batch, key, hp)

    mine.disclaims = {"batch-size": "it is between examples"}
    for objective in (mine, functools.partial(mine)):
        config = planted.like(planted.VAE, objective)
        found = line(config, "batch-size")
        assert (found.holds, found.why) == (None, "it is between examples")
    mine.disclaims = {"batchsize": "a check of no such name"}
    with pytest.raises(InputError, match="disclaims 'batchsize', and there is no such"):
        line(planted.like(planted.VAE, functools.partial(mine)), "rate")


def test_numpys_divergences_are_scipys():
    import scipy.stats

    q = models.distributions.Normal(np.full((2, 3), 0.3), np.full((2, 3), -0.5))
    p = models.distributions.Normal(np.zeros((1, 3)), np.full((1, 3), 0.2))
    z = np.random.default_rng(0).normal(size=(200_000, 2, 3)) * np.exp(-0.5) + 0.3
    log_q = scipy.stats.norm(0.3, np.exp(-0.5)).logpdf(z).sum(2)
    apart = log_q - scipy.stats.norm(0, np.exp(0.2)).logpdf(z).sum(2)
    np.testing.assert_allclose(known.kl(q, p), apart.mean(0), atol=0.02)


def test_stratified_weights_of_the_battery_sum_to_1_and_are_the_packages():
    ours = penalties._stratified(6, 50.0, 1)
    np.testing.assert_allclose(ours.sum(1), 1)
    np.testing.assert_allclose(np.log(ours), objectives.stratified(6, 50.0), rtol=1e-5)


def test_what_is_not_a_number_does_not_hold():
    assert distance(Law("x", 0.0, np.nan, 1.0)) == np.inf
    assert distance(counted("x", 0)) == 0 and not counted("x", 1).holds


FORK = """
import functools
import planted
from aevae import config
def get_config(name="fault"):
    return {"fault": planted.like(planted.VAE, planted.negative_rate), "sound": planted.VAE}[name]
"""


def test_the_command_says_what_holds_of_a_config(tmp_path, capsys):
    run = functools.partial(command.execute, verify.define, verify.main)
    (tmp_path / "mine.py").write_text(FORK)
    given = f"--config={tmp_path / 'mine.py'}"
    checks = "--checks=positive-rate,iwae"
    assert run([f"{given}:sound", checks]) == 0
    shown = capsys.readouterr().out
    assert "not claimed: it reports no iwae" in shown
    assert "1 of 1 hold, 1 are not claimed" in shown
    assert run([given, checks]) == 1
    shown = capsys.readouterr().out
    assert "FAIL" in shown and "0 of 1 hold" in shown
    for arguments, what in (
        ([given, "--checks=x"], "there is no check 'x'; there are read, pure"),
        ([given, "--laws=1"], "--laws are of the package"),
        (["--checks=rate"], "--checks and --config.PATH are of a --config=FILE"),
    ):
        assert run(arguments) == 2
        assert what in capsys.readouterr().err
