"""A study: the runs of a grid, trained group by group into a run folder."""

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from aevae import InputError, __version__, config, data, results, sweep
from aevae.progress import Progress

PARTS = ("train", "validation", "test")
TERMS = (
    "elbo",
    "distortion",
    "rate",
)  # first in every table, blank where a run has none
MEASURES = (*TERMS, "iwae", "active_units")
ABOUT = ("objective", "dataset", "binarization")  # told of every run
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "tensorflow-datasets")


class Group(NamedTuple):
    """Runs that one program trains."""

    numbers: list[int]  # of its runs, in the grid's order
    runs: list[config.Config]
    names: list[dict[str, str]]  # what a table's row says of which run it is
    dataset: data.DataSet
    parameters: int  # of one run
    metrics: list[str]  # that its objective reports in training
    held: list[str]  # and in evaluation


def prepare():
    """Makes every CPU core a device and turns JAX's cache of compiled programs on.

    To be called before the first JAX operation: a process that has used JAX keeps its devices.
    What the user has set stays.
    """
    if jax.config.jax_compilation_cache_dir is None:
        programs = str(data.cache_dir() / "programs")
        jax.config.update("jax_compilation_cache_dir", programs)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if jax.config.jax_num_cpu_devices == -1:
        try:
            jax.config.update("jax_num_cpu_devices", _cores())
        except RuntimeError:
            pass


def _cores():
    """That this process may use, where the system tells."""
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count()


def run(base, workdir, *, overrides=None, grid=None, data_dir=None, chunk=None):
    """Trains every run of a grid into the folder `workdir`; returns the rows of its results.

    Args:
      base: the path of a config file, or a Config.
      workdir: a folder that does not exist yet, or is empty.
      overrides: {name: value or text} in place of the config's values.
      grid: {name: values}, or a list of such, in place of the config's grid.
      data_dir: where TFDS has prepared the data sets.
      chunk: how many members a device trains at a time; by default `sweep.layout` decides.
    Raises InputError, before any training, on whatever is wrong with the input.
    """
    prepare()
    _check_unused(workdir)
    text = None
    if not isinstance(base, config.Config):
        base, text = config.load(base), Path(base).read_text()
    runs = config.settle(base, overrides, grid)
    if chunk is not None and chunk < 1:
        raise InputError(f"chunk must be a whole number of at least 1, not {chunk}")
    paths = config.swept(base, runs)
    taken = set(paths) & {*MEASURES, "run", "epoch", "step", "samples"}
    if taken:
        raise InputError(
            f"{', '.join(taken)} is a column of the tables: call it otherwise"
        )
    groups = _groups(runs, paths, data_dir)

    record = {"columns": ["run", *paths], "file": text and "config.py"}
    record |= {"overrides": config.canonical(overrides or {})}
    # A run is `config` with the values that its row names.
    record |= {"grid": config.canonical(grid), "config": config.canonical(runs[0])}
    folder = Folder(workdir, groups, record, text)
    progress = Progress(groups)
    for number, group in enumerate(groups):
        _train(number, group, folder, chunk, progress)
    progress.close()
    return results.rows_of(workdir)


def _check_unused(workdir):
    """Told at once, before the data are read; the folder is made when all else is sound."""
    path = Path(workdir)
    if path.is_dir() and any(path.iterdir()):
        raise InputError(f"{workdir} is not empty: name another --workdir")
    parent = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise InputError(
            f"cannot write to {workdir}: {parent} is not a writable folder"
        )


def _groups(runs, paths, data_dir):
    """Reads the data and traces one step of every group: what is wrong shows here."""
    sets, groups = {}, []
    for numbers in config.groups(runs):
        own = [runs[number] for number in numbers]
        name = (own[0].dataset, *(getattr(own[0], part) for part in PARTS))
        if name not in sets:
            sets[name] = data.load(*name, data_dir)
        names = [{"run": n} | config.columns(runs[n], paths) for n in numbers]
        groups.append(
            Group(numbers, own, names, sets[name], *sweep.check(own[0], sets[name]))
        )
    return groups


def _train(number, group, folder, chunk, progress):
    layout = sweep.layout(len(group.runs), group.parameters, chunk=chunk)
    began = time.perf_counter()
    progress.begin(number, group)
    population = sweep.Population(group.runs, group.dataset, layout, group.metrics)
    events, diverged = folder.events(group), {}
    for moment in population.train(population.start()):
        progress.show(moment)
        if moment.metrics is None:
            continue
        losses = [moment.metrics[f"{part}_loss"] for part in PARTS]
        for m in np.flatnonzero(~np.isfinite(losses).all(0)):
            diverged.setdefault(group.numbers[m], moment.epoch)
        folder.add_curves(group, moment, population.steps, events)
    seconds = time.perf_counter() - began
    folder.add_results(group, population, moment, diverged)
    folder.add_timing(number, group, layout, seconds, moment.epoch * population.steps)


class Folder:
    """A run folder, being written."""

    def __init__(self, workdir, groups, record, text):
        self.path = Path(workdir)
        try:
            (self.path / "params").mkdir(parents=True)
        except OSError as error:
            raise InputError(f"cannot write to {workdir}: {error.strerror}") from None
        if text is not None:
            (self.path / "config.py").write_text(text)
        results.write_json(self.path / "config.json", record)
        results.write_json(self.path / "environment.json", _environment(groups))

        metrics = _ordered(name for group in groups for name in group.metrics)
        held = _ordered(name for group in groups for name in group.held)
        identity = record["columns"]
        self._curves = results.Table(
            self.path / "curves.csv",
            [*identity, "epoch", "step", "samples"]
            + [f"train_{name}" for name in metrics]
            + [f"{part}_{name}" for part in PARTS[1:] for name in held],
        )
        errors = [name for name in held if name in ("squared_error", "cross_entropy")]
        tail = [
            "validation_elbo",
            "validation_distortion",
            "epochs",
            "diverged",
            *ABOUT,
        ]
        tail = [name for name in (*MEASURES, *errors, *tail) if name not in identity]
        self._results = results.Table(self.path / "results.csv", [*identity, *tail])
        self._timing = results.Table(
            self.path / "timing.csv",
            ["group", "runs", "devices", "chunk", "seconds", "images_per_second"],
        )

    def events(self, group):
        """TensorBoard's files of a group, a folder a run."""
        names = []
        for columns in group.names:
            name = ",".join(f"{k}={v}" for k, v in columns.items() if k != "run")
            names.append(f"{columns['run']:04d},{name.replace('/', '_')}")
        return results.Events(self.path / "tensorboard", names)

    def add_curves(self, group, moment, steps, events):
        """A row for each run of a group at the end of an epoch."""
        rows = []
        step = moment.epoch * steps
        at = {
            "epoch": moment.epoch,
            "step": step,
            "samples": step * group.runs[0].batch,
        }
        for m, columns in enumerate(group.names):
            values = {name: column[m] for name, column in moment.metrics.items()}
            rows.append(columns | at | values)
            scalars = {name.replace("_", "/", 1): v for name, v in values.items()}
            events.add(m, step, scalars)
        self._curves.add(rows)

    def add_results(self, group, population, moment, diverged):
        """The parameters of a group's runs, and then their rows: it is finished."""
        values = population.results(moment)
        for number, state in zip(group.numbers, population.states(moment)):
            path = self.path / "params" / f"{number:04d}.npz"
            results.save(path, state, population.examples(results.IMAGES))
        rows = []
        for m, (columns, run) in enumerate(zip(group.names, group.runs)):
            measured = {name.removeprefix("test_"): v[m] for name, v in values.items()}
            rows.append(
                measured
                | {name: config.describe(getattr(run, name)) for name in ABOUT}
                | {"epochs": run.epochs, "diverged": diverged.get(columns["run"])}
                | columns
            )
        self._results.add(rows)

    def add_timing(self, number, group, layout, seconds, steps):
        """What a group cost; a table of its own, so that equal runs give equal other tables."""
        images = len(group.runs) * steps * group.runs[0].batch
        row = {"group": number, "runs": len(group.runs), "devices": layout.devices}
        row |= {"chunk": layout.chunk, "seconds": f"{seconds:.2f}"}
        self._timing.add([row | {"images_per_second": f"{images / seconds:.0f}"}])


def _ordered(names):
    return list(dict.fromkeys(["loss", *TERMS, *sorted(names)]))


def _environment(groups):
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        "versions": {"aevae": __version__}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "hardware": {
            "machine": platform.machine(),
            "cores": _cores(),
            "platform": device.platform,
            "device": device.device_kind,
            "devices": jax.device_count(),
        },
        "data": [
            {
                "name": dataset.name,
                "version": dataset.version,
                "sha256": dataset.digest,
                "shape": list(dataset.shape),
                "examples": {p: len(getattr(dataset, p)["image"]) for p in PARTS},
            }
            for dataset in {
                group.dataset.digest: group.dataset for group in groups
            }.values()
        ],
    }
