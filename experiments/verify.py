"""Checks laws: trains or solves small problems whose answers are known, and compares.

    python -m experiments.verify
    python -m experiments.verify --laws=1,4 --data_dir=DIR

Laws 1 to 3 are trained on the embedded set `gaussian`, and also solved for on the covariance of MNIST's
training images where TFDS has prepared MNIST. With a config, what is checked is that config, a method of
anyone's, by the battery of checks that hold for every method, or for those that claim them:

    python -m experiments.verify --config=mine.py
    python -m experiments.verify --config=mine.py --checks=rate,gradient --config.hparams.beta=4

Exit codes: 0 all hold; 1 some do not; 2 a fault of the input.
"""

import time

from absl import flags

from aevae import InputError, config, data
from aevae.system import machine
from aevae.training.check import check_run
from experiments import battery, command, laws

WIDTH = 62


def define():
    command.define_config()
    numbers = ", ".join(f"{n} {name}" for n, (name, _) in laws.ALL.items())
    flags.DEFINE_list("laws", None, f"some of {numbers}; by default all")
    names = ", ".join(battery.CHECKS)
    flags.DEFINE_list("checks", None, f"of a --config, some of {names}; by default all")


def main(args):
    overrides, given = command.overrides(args), args["config"].present
    if given and args["laws"].present:
        raise InputError("--laws are of the package, not of a --config: leave one out")
    if not given and (overrides or args["checks"].present):
        raise InputError("--checks and --config.PATH are of a --config=FILE: give one")
    if given:
        return _battery(args, overrides)
    return _laws(args)


def _laws(args):
    chosen = args["laws"].value or [*map(str, laws.ALL)]
    for name in chosen:
        if name not in map(str, laws.ALL):
            raise InputError(
                f"there is no law {name!r}; there are {', '.join(map(str, laws.ALL))}"
            )
    machine.prepare()
    began, failed, count = time.perf_counter(), 0, 0
    print(f"{'':{WIDTH}}  {'expected':>12}  {'measured':>12}  difference  tolerance")
    for number in map(int, chosen):
        title, law = laws.ALL[number]
        print(f"{number}. {title}")
        for row in law(*_data(number)):
            failed, count = failed + (not row.holds), count + 1
            _show(row)
    if {1, 2, 3} & {*map(int, chosen)}:
        rows = _mnist(args["data_dir"].value)
        failed += sum(not row.holds for row in rows)
        count += len(rows)
    seconds = time.perf_counter() - began
    print(f"{count - failed} of {count} hold; {seconds:.0f} s")
    return 1 if failed else 0


def _battery(args, overrides):
    """The battery on the base run of a config: a line for each check."""
    chosen = args["checks"].value or [*battery.CHECKS]
    for name in chosen:
        if name not in battery.CHECKS:
            raise InputError(
                f"there is no check {name!r}; there are {', '.join(battery.CHECKS)}"
            )
    machine.prepare()
    began = time.perf_counter()
    (run,) = config.settle(config.load(args["config"].value), overrides, {})
    dataset = data.of(run, args["data_dir"].value)
    subject = _subject(run, dataset)
    print(f"{'check':16}  {'expected':>12}  {'found':>12}")
    lines = []
    for found in battery.lines(subject, chosen):
        lines.append(found)
        print(_told(found), flush=True)
    holds = [found.holds for found in lines]
    seconds = time.perf_counter() - began
    print(
        f"{holds.count(True)} of {len(holds) - holds.count(None)} hold, "
        f"{holds.count(None)} are not claimed; {seconds:.0f} s"
    )
    return 1 if False in holds else 0


def _subject(run, dataset):
    try:
        return battery.Subject(run, dataset)
    except InputError:
        raise
    except Exception:
        check_run(run, dataset)  # which says what fails, in one line
        raise


def _told(found):
    if found.found is None:
        return f"{found.name:16}  {found.verdict}{found.what and f': {found.what}'}"
    numbers = f"{found.expected:12.6g}  {found.found:12.6g}"
    return f"{found.name:16}  {numbers}  {found.verdict:4}  {found.what}"


def _data(number):
    if number not in laws.WITH_DATA:
        return ()
    return (data.load("gaussian", "train", "validation", "test"),)


def _mnist(data_dir):
    try:
        dataset = data.load("mnist", "train", "test", "test", data_dir)
    except InputError as error:
        print(f"Left out on MNIST, which was not found ({error})")
        return []
    print("1 to 3, on the covariance of MNIST's 60,000 training images in [0, 1]")
    rows = []
    for row in laws.linear.mnist(dataset):
        rows.append(row)
        _show(row)
    return rows


def _show(row):
    apart = row.measured - row.expected
    print(
        f"   {row.name:{WIDTH - 3}}  {row.expected:12.6g}  {row.measured:12.6g}  "
        f"{apart:10.2g}  {row.tolerance:9.2g}  {'pass' if row.holds else 'FAIL'}",
        flush=True,
    )


if __name__ == "__main__":
    command.run(define, main)
