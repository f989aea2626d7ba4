"""The battery: what holds for a method, whatever it is, checked for a config of anyone's.

    python -m experiments.verify --config=mine.py

A check is a function of a `subject.Subject` that yields laws, or raises `NotClaimed` with the reason.
`line` makes a line of it, and `claims` has what the package's objectives do not claim. `finite` has
the checks of extremes, `units` of sums and means, `rates` of q and p, `bounds`, `penalties`, and
`training` those of what trains; `table` has all of them for each of configs/methods.py.
"""

from aevae import InputError
from experiments.battery import bounds, finite, penalties, rates, training, units
from experiments.battery.line import Line, NotClaimed, line
from experiments.battery.subject import Subject

__all__ = ["CHECKS", "Line", "NotClaimed", "Subject", "lines"]

CHECKS = {
    "read": training.read,
    "pure": training.pure,
    "extreme-images": finite.images,
    "large-parameters": finite.parameters,
    "far-codes": finite.codes,
    "distortion": units.distortion,
    "rate": rates.value,
    "positive-rate": rates.sign,
    "sampled-rate": rates.sampled,
    "posterior": rates.posterior,
    "prior": rates.prior,
    "elbo": units.identity,
    "beta-1": units.weight_one,
    "pixels": units.pixels,
    "mean-bound": units.bound_examples,
    "examples": units.examples,
    "batch-size": units.batch_size,
    "many-samples": bounds.many_samples,
    "iwae": bounds.importance,
    "exact": bounds.exact,
    "penalties": penalties.penalties,
    "gradient": training.gradient,
    "collapse": training.collapse,
    "member": training.member,
    "resume": training.resume,
}


def lines(subject, checks=None):
    """Yields the `Line` of each check of a `Subject`, or of those that are named.

    Raises:
      InputError: what its objective disclaims is no check.
    """
    for name in subject.disclaimed:
        if name not in CHECKS:
            raise InputError(
                f"the objective disclaims {name!r}, and there is no such check; there are "
                f"{', '.join(CHECKS)}"
            )
    for name in CHECKS if checks is None else checks:
        yield line(name, CHECKS[name], subject)
