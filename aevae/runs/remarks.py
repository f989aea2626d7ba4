"""What is said below the table of results: runs that collapsed or diverged, and the likely cause."""

import inspect

import numpy as np

from aevae.runs import record

COLLAPSED = 0.1  # nats: a rate below it, with no active unit
SCALE = 100.0  # standard deviations of a likelihood that pixels lie from 0 at most
RATE = 0.1  # a learning rate above it moves a weight by more than most weights are
LOST = -1e9  # nats
FEW = 8  # runs that a line names


def collapsed(rows):
    """Yields a line on runs whose codes say nothing of the image.

    No latent is active, which means that its posterior mean varies by more than 0.01 (Burda et al.,
    2016, section 5.2), and the rate is below 0.1 nats.
    """
    found = [row["run"] for row in rows if has_collapsed(row)]
    if found:
        yield (
            f"The posterior of {runs(found)} has collapsed (no active unit, a rate below "
            f"{COLLAPSED} nats): its codes say nothing of the images. A smaller beta, a warm-up of "
            "beta or free bits let codes be used"
        )


def has_collapsed(row):
    """Whether the run of a row of results.csv has collapsed, as `collapsed` has it."""
    rate = row.get("rate")
    unused = row["diverged"] is None and row.get("active_units") == 0
    return unused and rate is not None and rate < COLLAPSED


def diverged(workdir, rows, columns):
    """Yields a line on runs that diverged, or have an ELBO below -1e9 nats, for each likely cause.

    Args:
      workdir: the run folder.
      rows: those of results.csv.
      columns: those that tell runs apart.
    """
    causes, far = {}, {}
    for row in rows:
        if row["diverged"] is not None:
            causes.setdefault(_cause(workdir, row, rows, columns), []).append(row)
        elif is_lost(row):
            far.setdefault(_cause(workdir, row, rows, columns), []).append(row["run"])
    for cause, own in far.items():
        yield (
            f"The ELBO of {runs(own)} is below {LOST:.0e} nats"
            f"{cause or '; no cause is known: curves.csv has what came before'}"
        )
    for cause, own in causes.items():
        epochs = [row["diverged"] for row in own]
        low, high = min(epochs), max(epochs)
        when = f"epoch {low}" if low == high else f"epochs {low} to {high}"
        which = runs([row["run"] for row in own])
        yield (
            f"{which[0].upper()}{which[1:]} diverged in {when}: some number was not finite"
            f"{cause or '; no cause is known: curves.csv has what came before'}"
        )


def floored(opened):
    """Yields a line on trained runs whose learned sigma is at its floor for some pixel.

    Args:
      opened: `Trained` runs; their sigma is that of the examples that they keep.
    """
    found = {}
    for run in opened:
        floor, share = _at_floor(run)
        if share:
            found.setdefault(floor, []).append((run.row["run"], share))
    for floor, own in found.items():
        shares = [share for _, share in own]
        low, high = (f"{100 * f(shares):.3g}" for f in (min, max))
        span = f"{low} %" if low == high else f"{low} to {high} %"
        yield (
            f"Sigma is at its floor, {floor:g}, for {span} of the pixels of "
            f"{runs([number for number, _ in own])}: the floor (--config.likelihood.floor) bounds "
            "the ELBO there, not the data"
        )


def runs(numbers):
    """Names runs: `run 3`, `runs 0, 1`, or, of many, how many and the first of them."""
    few = ", ".join(map(str, numbers[:FEW]))
    if len(numbers) > FEW:
        return f"{len(numbers)} runs ({few}, ...)"
    return f"run{'s'[: len(numbers) > 1]} {few}"


def _cause(workdir, row, rows, columns):
    """The likely cause for which a run diverged, as the end of a sentence; "" where none is known."""
    scale, lr = _scale(workdir, row), row.get("lr")
    if lr is None:
        return scale
    same = [name for name in columns if name not in ("run", "lr", "seed")]
    alike = [r for r in rows if all(r[name] == row[name] for name in same)]
    sound = [r["lr"] for r in alike if _is_sound(r) and r["lr"] < lr]
    if sound and all(_is_sound(r) for r in alike if r["lr"] in sound):
        return (
            f"; likely cause: the learning rate: with {max(sound):g}, and else alike, no run "
            "diverged"
        )
    if lr > RATE and not scale:
        return (
            f"; likely cause: a learning rate above {RATE}: a step of Adam moves each weight by "
            "about as much"
        )
    return scale


def is_lost(row):
    """Whether the run of a row has an ELBO below -1e9 nats."""
    return (row.get("elbo") or 0.0) < LOST


def _is_sound(row):
    return row["diverged"] is None and not is_lost(row)


def _scale(workdir, row):
    """The scale of the data as a likely cause, as `_cause`; "" where it is none."""
    sigma = row.get("sigma") or 1.0  # a learned one is initialized at 1
    most = max(map(abs, _range(workdir, row)), default=0.0)
    if row.get("density") != "yes" or most <= SCALE * sigma:
        return ""
    way = "standardize them (--config.standardize=each)" if most > 1 else "raise sigma"
    return (
        f"; likely cause: the scale of {row['dataset']}, whose values lie up to {most / sigma:.3g} "
        f"sigmas from 0: {way}"
    )


def _range(workdir, row):
    """The least and the greatest pixel that a run was given, as environment.json has them, or ()."""
    declared = record.read(workdir)["config"]
    if row.get("standardize", declared.get("standardize", "no")) != "no":
        return ()
    known = {entry["name"]: entry for entry in record.data_sets(workdir)}
    entry = known.get(row.get("dataset"), {"range": (), "stored": ""})
    gray = (
        255 if entry["stored"] == "uint8" else 1
    )  # levels, of which a model sees x/255
    return [end / gray for end in entry["range"]]


def _at_floor(run):
    """The floor of a run's learned sigma, and the share of pixels at it; (None, 0) without a floor."""
    likelihood = getattr(run.config.model, "likelihood", None)
    floor = run.config.values.get("model.likelihood.floor")
    if floor is None and inspect.isfunction(likelihood):
        floor = (likelihood.__kwdefaults__ or {}).get("floor")
    if floor is None:
        return None, 0.0
    examples = dict(run.examples)
    if run.scaling is not None:
        examples["image"] = run.scaling.standardize(examples["image"])
    x = run.config.model.apply(run.params, examples, None, run.hp).x
    std = getattr(getattr(x, "base", x), "std", None)
    at = std is not None and np.asarray(std) <= floor * (1 + 1e-4)
    return floor, float(np.mean(at))
