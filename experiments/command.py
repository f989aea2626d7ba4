"""What the command lines share: flags for a config's values, errors in one line, exit codes."""

import codecs
import contextlib
import os
import re
import signal
import sys
from pathlib import Path

from absl import app, flags, logging

from aevae import InputError, Interrupted, OutOfMemory, WriteError, config
from aevae.system import cache, machine

FLAGS = flags.FLAGS
PLAIN = {
    "±": "+-",
    "×": "x",
    "−": "-",
    "–": "-",
    "…": "...",
    "≤": "<=",
}  # without Unicode
PATHS = ("config", "workdir", "data_dir", "manual_dir", "out", "dataset", "init_from")
TOLD = (  # what absl says of a wrong value, and what is said in place of it
    (
        r"flag --(\w+)=(.*): invalid literal for int.*",
        r"--\1 must be a whole number, not '\2'",
    ),
    (r"flag --(\w+)=(.*): could not convert .*", r"--\1 must be a number, not '\2'"),
    (r"flag --(\w+)=(.*): value should be one of <(.*)>", r"--\1 must be \3, not '\2'"),
    (r"flag --(\w+)=(.*): \('Non-boolean .*", r"--\1 is true or false, not '\2'"),
    (
        r"Unable to open flagfile: \[Errno \d+\] (.*): '(.*)'",
        r"cannot read the flag file \2: \1",
    ),
)


def run(define, main):
    """Runs a program: defines its flags, parses the arguments, calls `main(FLAGS)`, and exits.

    The exit code is what `main` returns; 2 where the input is at fault, 1 where the disk or the memory
    is, and 128 plus the number of the signal where one came.
    """
    _ready_streams()
    define()
    app.run(
        lambda argv: _main(main),
        flags_parser=lambda argv: _reported(_parse, argv),
    )


def _main(main):
    if "workers" in FLAGS and FLAGS["workers"].value:
        machine.prefer_cpu()  # they need the accelerators
    return _reported(main, FLAGS)


def define_config():
    """Defines the flags of every command that trains a config."""
    flags.DEFINE_string(
        "config", "configs/digits.py", "file of the base run and grid, or file:name"
    )
    flags.DEFINE_string("data_dir", None, "where TFDS has prepared data sets")
    for name in ("config", "data_dir"):  # which --help of each program lists
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], FLAGS[name])


def define_workers():
    """Defines the flag of every command whose groups may be tasks of other processes."""
    flags.DEFINE_string(
        "workers",
        None,
        "how many processes of this machine take groups side by side, or a file whose `config` is "
        "Parsl's, of machines that see the run folder (pip install 'aevae[cluster]')",
    )
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], FLAGS["workers"])


def overrides(args):
    """The values of the config that the command line sets, {name: text}."""
    given = [name for name in args if name.startswith("config.") and args[name].present]
    return {name.removeprefix("config."): args[name].value for name in given}


def configured(args, prefix):
    """The Config that the flags give, and the folder: --workdir, or runs/ with the prefix and its name."""
    file, part = config.split(args["config"].value)
    name = f"{file.stem}_{part}" if part else file.stem
    base = config.load(args["config"].value)
    for value in overrides(args).items():
        base = config.override(base, *value)
    return base, Path(args["workdir"].value or f"runs/{prefix}_{name}")


def execute(define, main, arguments):
    """Runs a program within this process, any number of times; returns the exit code."""
    before = set(FLAGS)
    define()
    mine = set(FLAGS) - before
    try:
        _reported(_parse, ["", *arguments])
        return _reported(main, FLAGS)
    except SystemExit as stop:
        return stop.code
    finally:
        for name in mine | {name for name in FLAGS if name.startswith("config.")}:
            delattr(FLAGS, name)


def _ready_streams():
    """Lets standard output and error take any text, whatever the terminal's encoding.

    Those that are closed, as by `2>&-`, lead nowhere: files that are opened would get their numbers.
    """
    codecs.register_error("plain", _plain)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                _lead_nowhere(number)
            how = {"mode": "w", "errors": "plain"} if number else {}
            setattr(sys, name, open(os.devnull, **how))  # noqa: SIM115
        elif number and hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="plain")


def _lead_nowhere(number):
    """Makes a file descriptor that of the null device."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)


def _plain(error):
    """What is written for a letter that an encoding lacks."""
    letter = error.object[error.start]
    if 0xDC80 <= ord(letter) <= 0xDCFF:  # a byte of a file's name, which stays as it is
        return bytes([ord(letter) - 0xDC00]), error.start + 1
    escaped = letter.encode("ascii", "backslashreplace").decode()
    return PLAIN.get(letter, escaped), error.start + 1


def _reported(f, *args):
    """Calls f; an expected exception ends the process with its exit code and one line."""
    try:
        return _told(f, *args)
    except BrokenPipeError:  # as by `| head`, which has read enough
        for number in (1, 2):
            _lead_nowhere(number)
        sys.exit(128 + signal.SIGPIPE)


def _flush():
    """Writes out what was printed; WriteError where a disk that it is sent to refuses."""
    try:
        print(end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _lead_nowhere(1)  # or it would fail again at the exit
        raise WriteError(f"cannot write standard output: {error.strerror}") from None


def _told(f, *args):
    try:
        with machine.standard():
            found = f(*args)
        _flush()
        return found
    except (InputError, WriteError, OutOfMemory) as error:
        _leave(f"error: {error}", 2 if isinstance(error, InputError) else 1)
    except Interrupted as stop:
        _leave(stop, 128 + stop.signal)
    except KeyboardInterrupt:
        _leave("interrupted", 128 + signal.SIGINT)


def _leave(line, code):
    """Prints a line on stderr and exits, whether or not anyone is there to read."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)
    sys.exit(code)


def _parse(argv):
    FLAGS.set_gnu_getopt()  # `--name value` of a flag that is not yet defined ends nothing
    if any(arg.lstrip("-") == "flagfile=" for arg in argv):
        raise InputError("--flagfile is empty: name a file, or leave it out")
    try:
        argv = [argv[0], *map(_expanded, FLAGS.read_flags_from_files(argv[1:]))]
        if "config" in FLAGS:
            _define_values(argv)
        rest = _set(argv)
    except flags.Error as error:
        line = " ".join(str(error).split()).removeprefix("ERROR:: ")
        for pattern, text in TOLD:
            line = re.sub(pattern, text, line)
        if isinstance(error, flags.UnrecognizedFlagError) and "config" in FLAGS:
            line += "; a value of the config is set by --config.PATH=VALUE"
        raise InputError(line) from None
    except UnicodeDecodeError:
        raise InputError("a flag file (--flagfile) is not text in UTF-8") from None
    _check_paths()
    if rest:
        raise InputError(
            f"unexpected argument {rest[0]!r}: every one is a --flag=value"
        )
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    return argv


def _expanded(arg):
    """An argument with the home folder for the ~ of its path, which shells leave behind a `=`."""
    name, equals, path = arg.partition("=")
    if name.lstrip("-") not in PATHS or not path.startswith("~"):
        return arg
    found = cache.home(path)
    if found is None:
        raise InputError(f"{arg}: there is no such home folder; write the path in full")
    return f"{name}{equals}{found}"


def _check_paths():
    for name in PATHS:
        value = FLAGS[name].value if name in FLAGS else None
        if value == "":
            raise InputError(f"--{name} is empty: give a path, or leave it out")
        if value and value[0] == value[-1] in ("'", '"'):
            raise InputError(
                f"--{name}={value} has quotes, which a shell takes away and a flag file keeps: "
                "leave them out"
            )


def _set(argv):
    """Sets the flags, and returns the other arguments; --help, which absl ends with 1, ends with 0."""
    try:
        return FLAGS(argv)[1:]
    except SystemExit:
        sys.exit(0)


def _define_values(argv):
    """Defines a flag for every value of the config that --config names."""
    helps = ("--help", "-help", "-?", "--helpfull", "--helpshort", "--helpxml")
    FLAGS([arg for arg in argv if arg not in helps], known_only=True)
    _check_paths()
    named = FLAGS["config"].present or any("config." in arg for arg in argv)
    if not (named or os.path.isfile(FLAGS["config"].value)):
        return  # as where a run folder is looked at from elsewhere
    base = config.load(FLAGS["config"].value)
    for name in FLAGS:
        FLAGS[name].unparse()
    given = [arg.lstrip("-").partition("=")[0] for arg in argv if arg.startswith("-")]
    short = [n.removeprefix("config.") for n in given if n.startswith("config.")]
    for name in dict.fromkeys([*config.leaves(base), *short]):
        path = config.find(base, name)
        default = config.describe(base.values.get(path, ""))
        flags.DEFINE_string(f"config.{name}", default, config.help_of(path))
