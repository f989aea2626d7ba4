"""What a law says, and what came out."""

from typing import NamedTuple


class Law(NamedTuple):
    """A number that is known, the one that was measured, and how far apart they may be."""

    name: str
    expected: float
    measured: float
    tolerance: float

    @property
    def holds(self):
        return abs(self.measured - self.expected) <= self.tolerance


def above(name, margin, tolerance):
    """That a margin is 0 or more, but for the tolerance."""
    return Law(name, 0.0, min(float(margin), 0.0), tolerance)
