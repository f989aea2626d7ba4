"""The sets that need no network: prepared on first use by TFDS builders of ours."""

import importlib
from typing import NamedTuple


class Embedded(NamedTuple):
    """What must be known of a builder before it is imported."""

    version: str
    configs: tuple[str, ...] = ()  # the first is the default


EMBEDDED = {
    "digits": Embedded("1.0.0"),
    "sprites": Embedded("1.0.0", ("32x32", "64x64", "32x32_binary", "64x64_binary")),
    "gaussian": Embedded("1.0.0"),
}


def builder_class(name):
    """The class that prepares an embedded set."""
    module = importlib.import_module(f"aevae.data.builders.{name}")
    return getattr(module, name.capitalize())
