"""Prepares a data set with TFDS, once for all later runs and machines.

    python -m experiments.prepare --dataset=mnist
    python -m experiments.prepare --dataset=mnist --data_dir=DIR --manual_dir=ORIGINALS

A stock set needs TensorFlow, for this command alone (`pip install -e '.[tf]'`). It is downloaded, or, with
--manual_dir, made from the original files under their own names, whose checksums TFDS verifies. The
folder can then be copied to machines without TensorFlow or a network.
"""

import contextlib
import sys
from pathlib import Path

from absl import flags, logging

from aevae import InputError
from aevae.data.sources import cache as cached
from aevae.data.sources import tfds as prepared
from aevae.data.sources.embedded import EMBEDDED
from experiments import command


def define():
    flags.DEFINE_string(
        "dataset",
        None,
        "a TFDS set, such as mnist or emnist/letters, or module:Builder",
    )
    flags.DEFINE_string(
        "data_dir",
        None,
        "the folder to prepare in; by default AEVAE_DATA_DIR, or else the cache",
    )
    flags.DEFINE_string("manual_dir", None, "a folder with the original files")


def main(args):
    name, manual = args["dataset"].value, args["manual_dir"].value
    if not name:
        raise InputError("--dataset must name a set, as in --dataset=mnist")
    if manual is not None:
        if not Path(manual).is_dir():
            raise InputError(f"--manual_dir={manual} is not a folder")
        manual = Path(manual).absolute()
    if args["data_dir"].value and name.partition("/")[0] in EMBEDDED:
        raise InputError(
            f"{name} is embedded: it is kept in the cache, not in --data_dir; leave that out"
        )
    builder = prepared.builder(name, prepared.place_of(name, args["data_dir"].value))
    prepared.check_possible(builder)
    stock = prepared.is_stock(type(builder)) and not prepared.is_done(builder)
    if stock and not manual:
        print(
            f"{name} is downloaded unless it already is; without a network that fails after some "
            "minutes: give the original files with --manual_dir",
            file=sys.stderr,
        )
    logging.set_verbosity(logging.ERROR)
    with contextlib.redirect_stdout(sys.stderr):
        new = prepared.prepare(builder, manual, quiet=False)
    source = cached.load(Path(builder.data_dir))
    print(
        f"{source.name} {source.version} {'is' if new else 'was already'} prepared in"
    )
    print(f"  {builder.data_dir}")
    for split, fields in source.splits.items():
        kinds = (f"{k} {v.dtype} {list(v.shape[1:])}" for k, v in fields.items())
        print(f"  {split}: {len(fields['image']):,} examples, {', '.join(kinds)}")
    return 0


if __name__ == "__main__":
    command.run(define, main)
