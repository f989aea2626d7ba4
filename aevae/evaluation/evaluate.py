"""Evaluates every run of a folder by measures, and adds what they find to the folder's results."""

import importlib
from pathlib import Path

from aevae import InputError, data
from aevae.evaluation import measured, plan, worker
from aevae.evaluation.plan import MEASURES
from aevae.runs import evaluated, events, record, tables, trained
from aevae.runs.place import Place
from aevae.runs.progress import Counting
from aevae.runs.worker import WAIT
from aevae.system import locks, machine
from aevae.system.signals import Signals
from aevae.training.layout import check_chunk

__all__ = ["MEASURES", "collect", "run"]


@machine.standard()
@machine.within_memory(measured.LACK)
def run(
    workdir,
    measures=None,
    *,
    fresh=False,
    dataset=None,
    data_dir=None,
    base=None,
    chunk=None,
    workers=None,
    **options,
):
    """Evaluates every finished run of a folder that has not diverged; the columns that were found.

    What was found before is kept, if it is of the same parameters, by the same code of the measure
    (see `contract.code_of`) and with the same options. results.csv has the values beside the sweep's
    own; what has several rows a run, as that of each latent, is in tables of their own.

    Args:
      workdir: a run folder.
      measures: names of functions of `MEASURES`, "module:function", or functions that carry a
        `contract`. One that has no meaning for the runs is an InputError, with the reason. By
        default all that have a meaning, except those that are measured on request alone.
      fresh: measure again what is known.
      dataset: the runs' data as `study.run` was given them, where the config does not name them, or
        where they are now.
      data_dir: where TFDS has prepared data sets.
      base: the Config that the sweep was given, or a file of it, where it was not given a file.
      chunk: how many runs a device evaluates at a time; by default `layout.chunk_of` decides, and on
        an accelerator its memory. Another one may change the last bits.
      workers: how many processes of this machine evaluate groups side by side, or a file, as in
        `study.run`. What looks across groups is measured by this process.
      options: of the measures, as `k`.
    Raises:
      InputError: whatever is wrong with the input, before any work.
      OutOfMemory: the memory of a device or of the host is too small. What was found is kept.
      Interrupted: a signal, such as Ctrl-C. What was found is kept, and so is the work so far.
    """
    if workers is not None:
        from aevae.runs import engine

        loaded = engine.load(workers, workdir)  # before any work
    machine.prepare()
    check_chunk(chunk)
    functions, by_name = plan.named(measures), measures is not None
    plan.check_names(functions, options)
    sweeps = record.read(workdir)["sweeps"]
    if workers is not None:
        _check_named(functions, sweeps, dataset)
        options = {name: _named(value) for name, value in options.items()}
    with locks.lock(workdir) as lock:
        groups, given = plan.finished(workdir, base), plan.Given(dataset, data_dir)
        asked = functions, options, by_name, given
        tasks, across = plan.made(workdir, groups, *asked, once=workers is not None)
        how = {"dataset": dataset, "data_dir": data_dir, "chunk": chunk, **options}
        if workers is not None:
            _follow(Path(workdir), lock.mark, tasks, how, fresh, loaded)
        with Signals() as signals:
            if workers is None:
                for task in _todo(workdir, tasks, fresh):
                    place, then = _place(workdir, task.group), lambda: _report(workdir)
                    worker.forget(place)
                    with place.taken(WAIT):
                        worker.each(workdir, task, place, signals, fresh, chunk, then)
            for one, of, facts in across:
                if fresh or measured.unknown(workdir, [one], of):
                    its = [plan.opened(workdir, group) for group in of], facts
                    held = {"holding": lambda group: _place(workdir, group).taken(WAIT)}
                    measured.measure(workdir, one, *its, signals, chunk, **held)
                    _report(workdir)
        _report(workdir)
        _add_events(workdir)
    return _columns(workdir, tasks, across)


def collect(workdir):
    """Writes the tables of a folder anew with what evaluations have found so far; its columns."""
    record.read(workdir)
    with locks.lock(workdir):
        _report(workdir)
        _add_events(workdir)
    found = [evaluated.of(workdir, row["run"]) for row in tables.results(workdir)]
    return [
        *dict.fromkeys(c for own in found for e in own.values() for c in e["values"])
    ]


def _add_events(workdir):
    """Adds what is known of each run to its event files, for TensorBoard."""
    found = [row["run"] for row in tables.results(workdir)]
    events.add_measures(workdir, found, lambda n: trained.step(workdir, n))


def _place(workdir, group):
    return Place(Path(workdir), group.number)


def _todo(workdir, tasks, fresh):
    """Yields the tasks of which something is not known."""
    for task in tasks:
        known = not measured.unknown(workdir, task.asked, [task.group])
        if task.asked and (fresh or not known):
            yield task


def _columns(workdir, tasks, across):
    """The columns that measures have found, in the order of the work."""
    works = [(task.asked, [task.group]) for task in tasks]
    works += [([one], of) for one, of, _ in across]
    found = {}
    for asked, groups in works:
        entries = [evaluated.of(workdir, n) for n in measured.numbers(groups)]
        for one in asked:
            for own in entries:
                found |= dict.fromkeys(own[one.name]["values"])
    return [*found]


# By other processes


def _check_named(functions, sweeps, dataset):
    """Raises InputError where another process could not find what is to be measured."""
    for function in functions:
        _check_importable(function, "measure")
    if sweeps[0]["file"] is None:
        raise InputError(
            "the folder was trained from a Config, which is of the process that made it, and workers "
            "are others: leave workers out"
        )
    if dataset is not None and not data.is_name(dataset):
        raise InputError(
            "arrays are of this process alone, and workers are others: save them (numpy.savez), "
            "and give the path as dataset"
        )


def _check_importable(function, kind):
    """Raises InputError where a function is not one of a module that another process can import."""
    try:
        module = importlib.import_module(function.__module__)
        there = module.__name__ != "__main__" and module.__file__
        there = there and getattr(module, function.__qualname__, None) is function
    except (ImportError, AttributeError):
        there = False
    if not there:
        raise InputError(
            f"the {kind} {function.__qualname__} is of this process alone, and workers are others: "
            "put it into a module, and name it as module:function"
        )


def _named(value):
    """An option's value, with names of functions in place of them."""
    if not isinstance(value, (list, tuple)):
        return value
    for one in value:
        if callable(one):
            _check_importable(one, "function")
    return [measured.reference(one) if callable(one) else one for one in value]


def _follow(workdir, mark, tasks, how, fresh, loaded):
    """Has workers evaluate groups, and makes the tables as they end."""
    from aevae.runs import engine

    left = {task.group.number: task for task in _todo(workdir, tasks, fresh)}
    calls = {n: how | {"measures": _names(task)} for n, task in left.items()}
    if not calls:
        return
    for task in left.values():
        place = _place(workdir, task.group)
        worker.forget(place)
        if fresh:
            with place.taken(WAIT):
                for number in task.group.numbers:
                    evaluated.forget(workdir, number, {one.name for one in task.asked})
    progress = Counting(len(left), len(tasks))
    report = engine.Amortized(lambda: _report(workdir))

    def end(number, finished):
        task = left[number]
        unknown = not finished or measured.unknown(workdir, task.asked, [task.group])
        if not unknown:
            report.ask()
        return not unknown

    signals = Signals(f"the same command{' without fresh (--fresh)' * fresh}")
    mine = workdir, mark
    try:
        engine.follow(*mine, worker.run, calls, end, progress.show, signals, loaded)
    finally:
        report.now()
        progress.close()


def _names(task):
    functions = (one.measure for one in task.asked)
    return [f.__name__ if f in MEASURES else measured.reference(f) for f in functions]


def _report(workdir):
    """Writes results.csv, and the tables of several rows a run, anew with what evaluations found."""
    tables.extend(workdir)
    names, rows = record.read(workdir)["columns"], tables.results(workdir)
    tables.write_parts(workdir, names, rows)
