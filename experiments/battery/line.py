"""A line of the battery: what a check found of a config, and whether it holds."""

import math
from typing import NamedTuple

from aevae import InputError
from experiments.laws.law import Law


class NotClaimed(Exception):
    """A check that does not apply to a method, with the reason as its message."""


class Line(NamedTuple):
    """A check by name: `holds` is None where it is not claimed, and `why` says why not."""

    name: str
    what: str  # of all that was compared, what is farthest from its tolerance
    found: float | None
    expected: float | None
    holds: bool | None
    why: str = ""

    @property
    def verdict(self):
        """Its result as text."""
        return {True: "ok", False: "FAIL", None: f"not claimed: {self.why}"}[self.holds]


def line(name, check, subject):
    """The line of a check, a function of a `Subject` that returns laws or raises `NotClaimed`.

    A check in which something fails, as a run that the package refuses, does not hold.
    """
    why = subject.disclaimed.get(name)
    if why:
        return Line(name, "", None, None, None, why)
    try:
        worst = max(check(subject), key=distance)
    except NotClaimed as reason:
        return Line(name, "", None, None, None, str(reason))
    except Exception as error:  # noqa: BLE001  whatever a fork's code may raise
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        reason = (str(error).strip().splitlines() or [""])[0]
        return Line(name, f"{kind}{reason}", None, None, False)
    found, expected = float(worst.measured), float(worst.expected)
    return Line(name, worst.name, found, expected, bool(worst.holds))


def distance(law):
    """How far a law is from its tolerance: above 1 where it does not hold, infinite for NaN."""
    apart = abs(law.measured - law.expected)
    if math.isnan(apart):
        return math.inf
    if law.tolerance == 0:
        return math.inf if apart else 0.0
    return apart / law.tolerance


def counted(name, bad):
    """The law that a number of faults is 0."""
    return Law(name, 0, int(bad), 0)


def paired(name, expected, found, relative=2e-5, errors=4.5):
    """The law that the means of two samples [K], drawn with the same keys, are equal."""
    apart = found - expected
    noise = apart.std(ddof=1) / len(apart) ** 0.5 if len(apart) > 1 else 0.0
    size = abs(expected).mean() + 1e-3
    return Law(name, expected.mean(), found.mean(), errors * noise + relative * size)
