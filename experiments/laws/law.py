"""A law: a number that is known, and the one that was measured."""

from typing import NamedTuple


class Law(NamedTuple):
    """A known number, the measured one, and how far apart they may be."""

    name: str
    expected: float
    measured: float
    tolerance: float

    @property
    def holds(self):
        return abs(self.measured - self.expected) <= self.tolerance


def above(name, margin, tolerance):
    """The law that a margin is at least 0, up to a tolerance."""
    return Law(name, 0.0, min(float(margin), 0.0), tolerance)
