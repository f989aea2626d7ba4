"""Checks laws: trains or solves small problems whose answers are known, and compares.

    python -m experiments.verify
    python -m experiments.verify --laws=1,4 --data_dir=DIR

Laws 1 to 3 are trained on the embedded set `gaussian`, and also solved for on the covariance of MNIST's
training images where TFDS has prepared MNIST. Exit codes: 0 all hold; 1 some do not; 2 a fault of the
input.
"""

import time

from absl import flags

from aevae import InputError, data
from aevae.system import machine
from experiments import command, laws

WIDTH = 62


def define():
    numbers = ", ".join(f"{n} {name}" for n, (name, _) in laws.ALL.items())
    flags.DEFINE_list("laws", None, f"some of {numbers}; by default all")
    flags.DEFINE_string("data_dir", None, "where TFDS has prepared MNIST")


def main(args):
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
