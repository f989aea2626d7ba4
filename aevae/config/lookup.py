"""Functions that are named on a command line: some of the package's, or `module:function`."""

import importlib

from aevae import InputError


def find(names, known, kind, attribute, decorator):
    """Finds functions by name: of the known ones, `module:function`, or functions themselves.

    Args:
      names: a list, or a single one.
      known: the package's own functions.
      kind: what they are, for messages: "measure".
      attribute: what a decorator has given each of them.
      decorator: how it is written, for messages.
    Raises:
      InputError: a name that is none, a function that is not decorated, several functions of one
        name.
    """
    ours = {function.__name__: function for function in known}
    names = [names] if isinstance(names, str) or callable(names) else [*names]
    if not names:
        raise InputError(f"no {kind} is named; there are {', '.join(ours)}")
    found = {}
    for name in names:
        function = name if callable(name) else ours.get(name)
        if function is None:
            function = _imported(name, ours, kind)
        own = getattr(function, "__name__", None)
        if not hasattr(function, attribute):
            raise InputError(f"{name} is not a {kind}: decorate it with {decorator}")
        if found.setdefault(own, function) is not function:
            raise InputError(f"several {kind}s are named {own}: rename one")
        if ours.get(own, function) is not function:
            raise InputError(f"{name} has the name of a {kind} of aevae: rename it")
    return [*found.values()]


def _imported(name, ours, kind):
    module, colon, attribute = str(name).partition(":")
    if not (colon and module and attribute):
        raise InputError(
            f"no {kind} is named {name!r}: there are {', '.join(ours)}, or module:function"
        )
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # noqa: BLE001, whatever the module does
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"cannot import the {kind} {name}: {reason}") from None
