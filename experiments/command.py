"""What the command lines share: flags for a config's values, and faults told in one line."""

import sys

from absl import app, flags, logging

from aevae import InputError, config

FLAGS = flags.FLAGS


def run(main):
    """Runs `main(FLAGS)` as a program; 2 is its exit code if the input is at fault."""
    app.run(lambda argv: _told(main, FLAGS), flags_parser=lambda argv: _parsed(argv))


def execute(main, argv):
    """The same within a process: `argv` without the program's name; returns the exit code."""
    for name in FLAGS:
        FLAGS[name].unparse()
    try:
        _parsed(["", *argv])
        return _told(main, FLAGS)
    except SystemExit as stop:
        return stop.code


def _told(main, *args):
    try:
        return main(*args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _parsed(argv):
    return _told(_parse, argv)


def _parse(argv):
    try:
        if "config" in FLAGS:
            _define(argv)
        rest = FLAGS(argv)[1:]
    except flags.Error as error:
        raise InputError(str(error).strip().replace("\n", " ")) from None
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    if rest:
        raise InputError(f"unexpected argument {rest[0]!r}: every argument is a --flag=value")
    return argv


def _define(argv):
    """A flag for every value of the config that --config names."""
    for name in [name for name in FLAGS if name.startswith("config.")]:
        delattr(FLAGS, name)
    helps = ("--help", "-help", "-?", "--helpfull", "--helpshort", "--helpxml")
    FLAGS([arg for arg in argv if arg not in helps], known_only=True)
    base = config.load(FLAGS["config"].value)
    names = [arg.lstrip("-").partition("=")[0] for arg in argv if "config." in arg.partition("=")[0]]
    given = {name.removeprefix("config."): None for name in names}
    for name in dict.fromkeys([*config.leaves(base), *given]):
        path = config.find(base, name)
        default = config.describe(config.get(base, path))
        flags.DEFINE_string(f"config.{name}", default, config.help_of(path))
    FLAGS.unparse_flags()
    for name in FLAGS:
        if not name.startswith("config."):
            FLAGS[name].unparse()
