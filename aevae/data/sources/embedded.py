"""The embedded data sets, which need no download: `data/builders` prepare them on first use."""

import importlib
from typing import NamedTuple


class Embedded(NamedTuple):
    """The version and the configs of a builder, known without its import."""

    version: str
    configs: tuple[str, ...] = ()  # the first is the default


EMBEDDED = {
    "digits": Embedded("1.0.0"),
    "sprites": Embedded("1.0.0", ("32x32", "64x64", "32x32_binary", "64x64_binary")),
    "gaussian": Embedded("1.0.0"),
}


def builder_class(name):
    """The TFDS builder of an embedded data set."""
    module = importlib.import_module(f"aevae.data.builders.{name}")
    return getattr(module, name.capitalize())
