"""Training in memory: configs and a data set in, trained runs out."""

import dataclasses
import sys

import numpy as np

from aevae import InputError, config, data
from aevae.system import machine
from aevae.training import initial
from aevae.training.check import check_run
from aevae.training.loop import snapshots
from aevae.training.population import populate
from aevae.training.trained_run import EXAMPLES, Trained


@machine.standard()
@machine.within_memory(
    "train fewer runs at a time (chunk), keep less data on the devices (memory), or take a smaller "
    "batch or split"
)
def fit(
    configs, dataset=None, *, data_dir=None, chunk=None, memory=None, init_from=None
):
    """Trains runs in memory and returns a list of `Trained`, in the order of the runs.

    Runs of one network shape are trained together by one program, as a study trains them.

    Args:
      configs: a `Config`, or the path of a config file, of which the grid is trained; or a list
        of such.
      dataset: a name, a `data.DataSet`, or arrays as `data.load` takes them; by default the one
        that each config names.
      data_dir: where TFDS has prepared data sets.
      chunk: how many runs a device trains at a time; by default `populate` decides.
      memory: bytes of each device's memory that data may take, by default half of it.
      init_from: a `Trained`, as `runs.trained.load` gives it: every run starts from its
        parameters, with a new optimizer state and at step 0 of its schedule.
    Raises:
      InputError: whatever is wrong with the input, before any training.
      OutOfMemory: the memory of a device or of the host is too small.
    """
    machine.prepare()
    if not isinstance(configs, (list, tuple)):
        configs = [configs]
    configs = [c if isinstance(c, config.Config) else config.load(c) for c in configs]
    runs = [run for base in configs for run in config.settle(base)]
    if dataset is not None:
        data.check_given(dataset, runs)
        name = data.name_of(dataset)
        runs = [dataclasses.replace(run, dataset=name) for run in runs]
    if not runs:
        raise InputError("there is no run to train: configs is empty")
    named = [path for base in configs for path in config.grid_paths(base)]
    paths, known, found = config.swept(runs, named), {}, [None] * len(runs)
    tasks, said = [], set()
    for group in config.groups_of_one_program(runs):
        own = [runs[n] for n in group]
        stored = data.of(own[0], data_dir, dataset=dataset, known=known)
        for line in stored.notes:
            if line not in said:
                print(line, file=sys.stderr)
        said.update(stored.notes)
        tasks.append((group, own, stored, check_run(own[0], stored)))
        if init_from is not None:
            _check_start(init_from, own[0], stored)
    warnings = (line for *_, checked in tasks for line in checked.warnings)
    for line in dict.fromkeys([*warnings, *config.doubts(runs)]):
        print(line, file=sys.stderr)
    for group, own, stored, checked in tasks:
        how = {"chunk": chunk, "memory": memory, "checked": checked}
        population = populate(own, stored, **how)
        start = population.start(init_from and init_from.params)
        for number, run in zip(group, _trained(own, population, start, paths)):
            found[number] = run
    return found


def _check_start(init_from, run, dataset):
    """An InputError unless a run can start from what is given."""
    if not isinstance(init_from, Trained):
        raise InputError(
            f"init_from must be a trained run, as trained.load(FOLDER, run=0) gives it, not "
            f"{config.shown(init_from)}"
        )
    if not initial.are_finite(init_from.params):
        raise InputError("init_from has diverged: not all of its parameters are finite")
    scaling = init_from.scaling and init_from.scaling.mean
    odd = initial.misfit(run, dataset, init_from.params, scaling)
    if odd:
        raise InputError(f"the parameters of init_from do not fit these runs: {odd}")


def _trained(runs, population, start, paths):
    """Trains a population from a snapshot to its end, and yields its runs."""
    history = {}
    for snapshot in snapshots(population, start):
        for name, rows in (snapshot.metrics or {}).items():
            history.setdefault(name, []).extend(rows)
    examples, status = population.examples(EXAMPLES), snapshot.status
    for member, (run, state) in enumerate(zip(runs, population.selected(snapshot))):
        ended = int(status.stopped[member]) or snapshot.epoch
        curves = {name: np.array(rows)[:, member] for name, rows in history.items()}
        done = curves["epoch"] <= ended
        curves = {name: values[done] for name, values in curves.items()}
        row = {
            name.removeprefix("test_"): float(values[member])
            for name, values in snapshot.results.items()
        }
        row |= {name: _cell(run.values.get(path)) for name, path in paths.items()}
        row |= {"diverged": int(status.diverged[member]) or None, "epochs": ended}
        run = dataclasses.replace(run, model=population.config.model)
        known = row, examples, curves, population.seen
        yield Trained(run, state.params, state.step, *known)


def _cell(value):
    """A value as a row has it: numbers and texts as they are, functions by their name."""
    plain = value is None or isinstance(value, (bool, int, float, str))
    return value if plain else config.describe(value)
