"""Runs compared: which are equal, what tells them apart, which share a program, and joined.

What runs share, as those of a grid share a model, is looked at once.
"""

import dataclasses

import numpy as np

from aevae import InputError
from aevae.config.tree import Names, canonical, describe, facts, leaves

NOT_OF_START = (  # fields on which neither initial weights nor the order of data depend
    *("objective", "hparams", "optimizer", "schedule", "precision", "seed"),
    *("epochs", "keep", "patience", "evaluate_every", "validation", "test"),
)


def fields(configs):
    """The names of the fields of configs of one class; none where there are no configs."""
    declared = dataclasses.fields(configs[0]) if configs else ()
    return [field.name for field in declared if field.init and field.name != "grid"]


def column(configs, field, of):
    """What `of(value, field)` gives for a field of each config, a list; once where they share it.

    The runs of a grid share most: each point of an axis is one object, in all runs that have it.
    """
    values, keys, firsts = _shared(configs, field)
    found = {key: of(values[number], field) for key, number in firsts.items()}
    return [found[key] for key in keys]


def parts(configs):
    """The fields of configs, [(field, value)], as they come; what several share is there once."""
    found = []
    for order, field in enumerate(fields(configs)):
        values, _, firsts = _shared(configs, field)
        found += [(number, order, field, values[number]) for number in firsts.values()]
    return [part[2:] for part in sorted(found)]


def _shared(configs, field):
    """The values of a field, a key of each, and the first number of each key, {key: number}."""
    values = [getattr(config, field) for config in configs]
    key = repr if field == "hparams" else id  # each config has a dict of its own
    keys, firsts = [*map(key, values)], {}
    for number, own in enumerate(keys):
        firsts.setdefault(own, number)
    return values, keys, firsts


def comparable(value):
    """What is equal for equal values; numbers are compared in float32, as they are trained."""
    number = isinstance(value, float)
    return float(np.float32(value)) if number else repr(canonical(value))


def identities(runs):
    """A key for each run, equal for equal runs."""
    return [*zip(*(column(runs, field, _identity) for field in fields(runs)))]


def _identity(value, field):
    return frozenset((path, comparable(v)) for path, v in leaves(value, field).items())


def identity(run):
    """A key that is equal for equal runs: all their values by path."""
    return frozenset().union(*identities([run])[0])


def swept(runs, named=()):
    """The columns that name a run in the tables, {name: path}.

    They are the paths that are named and all whose values differ between the runs, and always
    latent, hparams and seed.
    """
    paths = _texts(runs, _cells)
    names = Names(paths)
    named = {names.find(name) for name in named}
    latent = [path for path in paths if path == "model.latent"]
    hparams = [path for path in paths if path.startswith("hparams.")]
    others = [path for path in paths if path not in (*latent, *hparams, "seed")]
    told = [p for p in others if p in named or len({t or "" for t in paths[p]}) > 1]
    return {names.short(path): path for path in [*latent, *told, *hparams, "seed"]}


def columns(run, paths):
    """The cells of a table's row that name the run, {name: text}, for the `paths` of `swept`."""
    (found,) = all_columns([run], paths)
    return found


def all_columns(runs, paths):
    """Yields the `columns` of each run; a cell is blank where the run has no such value."""
    places = [(path, path.partition(".")[0]) for path in paths.values()]
    known = {field: column(runs, field, _cells) for _, field in places}
    cells = [[own.get(path, "") for own in known[field]] for path, field in places]
    for row in zip(*cells):
        yield dict(zip(paths, row))


def _cells(value, field):
    """The values of a field as the tables show them, {path: text}."""
    return {path: describe(leaf) for path, leaf in leaves(value, field).items()}


def _texts(runs, of):
    """Every path of runs, and the texts that `of` gives for it, a set; None where it is absent."""
    told = [(field, of(value, field)) for field, value in parts(runs)]
    each = {}
    for field, texts in told:
        each.setdefault(field, []).append(texts)
    paths = dict.fromkeys((path, field) for field, texts in told for path in texts)
    return {path: {texts.get(path) for texts in each[field]} for path, field in paths}


def groups_of_one_program(runs):
    """The groups of runs that share a program, as lists of indices.

    The runs of a group differ only in hyperparameters and seed.
    """
    found = {}
    static = [field for field in fields(runs) if field != "seed"]
    programs = zip(*(column(runs, field, _program) for field in static))
    for index, own in enumerate(programs):
        found.setdefault(own, []).append(index)
    return list(found.values())


def _program(value, field):
    """What is equal where a field's values make one program."""
    things = (
        getattr(v, "func", v) for v in leaves(value, field).values() if not _plain(v)
    )
    static = _facts(value, field)
    return (*(static if field == "hparams" else static.items()), *map(id, things))


def starts(runs):
    """A key for each run, equal for runs that share their start where they share a seed.

    That is their initial weights, their data and the order of them. Such runs may differ in
    hyperparameters, objective, optimizer and length; what else differs, as a latent size or the size
    of a batch, changes the start, or might.
    """
    shared = [field for field in fields(runs) if field not in NOT_OF_START]
    return [*zip(*(column(runs, field, _start) for field in shared))]


def _start(value, field):
    return tuple(_facts(value, field).items())


def unlike(one, other):
    """The paths in which the starts of two runs differ, as `starts` compares them."""
    shared = [field for field in fields([one, other]) if field not in NOT_OF_START]
    facts = [
        {
            k: v
            for field in shared
            for k, v in _facts(getattr(run, field), field).items()
        }
        for run in (one, other)
    ]
    paths = dict.fromkeys([*facts[0], *facts[1]])
    return [path for path in paths if facts[0].get(path) != facts[1].get(path)]


def structures(runs):
    """A key for each run, equal for runs that differ in numbers alone, as widths and latent sizes."""
    return [*zip(*(column(runs, field, _structure) for field in fields(runs)))]


def _structure(value, field):
    known = leaves(value, field)
    kinds = {path: _kind(v) for path, v in known.items() if _plain(v)}
    return tuple((_facts(value, field) | kinds).items())


def _kind(value):
    """A value without its numbers."""
    if isinstance(value, (tuple, list)):
        return tuple(map(_kind, value))
    return value if isinstance(value, str) else type(value).__name__


def _facts(value, field):
    return dict(facts(canonical(value), field))


def _plain(value):
    """Whether a value is equal to another if their texts are; functions of one name may differ."""
    return isinstance(value, (bool, int, float, str, tuple, list, type(None)))


def join(runs, more, names):
    """The runs of a folder joined with those of a later command, new ones last.

    Args:
      runs: the runs of the folder.
      more: the runs that the command asks for; it may ask for more epochs of all.
      names: the paths in the command's grid. The two may differ in these, and in what already
        differs among the folder's runs.
    Raises:
      InputError: any other difference, by name.
    """
    first, other = runs[0], more[0]
    texts = _texts(runs, _facts)
    axes = {*names, *(path for path, found in texts.items() if len(found) > 1)}
    fixed = "epochs" not in axes
    axes.add("epochs")
    for name, old, new in differences(canonical(first), canonical(other), axes):
        raise InputError(
            f"it was trained with {name} {old}, and now {name} is {new}: name it in the "
            "grid (--sweep) to add runs, take another folder (--workdir; with --init_from=FOLDER:RUN "
            "runs go on from trained parameters), or start over (--fresh); what is to change during "
            "a run is a schedule (--config.schedule)"
        )
    if fixed and other.epochs < first.epochs:
        raise InputError(
            f"it was trained for {first.epochs} epochs: epochs may be more, not {other.epochs}"
        )
    if fixed and other.epochs != first.epochs:
        runs = [dataclasses.replace(run, epochs=other.epochs) for run in runs]
    known = {*identities(runs)}
    return runs + [run for run, own in zip(more, identities(more)) if own not in known]


def differences(old, new, axes=(), defaults=()):
    """Yields (name, old value, new value) where two canonical configs differ outside `axes`.

    A path of `defaults` that only the new config has is ignored, so that folders from before a
    field was added can still be resumed.
    """
    old, new = dict(facts(old)), dict(facts(new))
    for path in dict.fromkeys([*old, *new]):
        was, now = old.get(path, "absent"), new.get(path, "absent")
        allowed = axes if path in old else (*axes, *defaults)
        if was != now and not any(f"{path}.".startswith(f"{a}.") for a in allowed):
            field = path.removesuffix(".class").removesuffix(".partial")
            yield field.rpartition(".")[-1], was, now
