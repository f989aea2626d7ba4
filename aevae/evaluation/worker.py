"""One group of finished runs, evaluated by a process of its own: an idempotent task.

Any scheduler can run it, any number of times: what is known is not measured again, and unfinished
work goes on. It writes the group's own files alone, under the group's lock. Tables, and what looks
across groups, are made by `evaluate`.
"""

import hashlib
from pathlib import Path

from aevae import InputError, Interrupted
from aevae.evaluation import measured, plan
from aevae.evaluation.work import unfinished
from aevae.runs import evaluated, record
from aevae.runs.place import Place
from aevae.runs.progress import say
from aevae.runs.worker import WAIT
from aevae.system import files, locks, machine
from aevae.system.signals import Signals
from aevae.training.layout import check_chunk

ATTEMPTS = "evaluations"  # in a group's folder, beside those of its training


@machine.standard()
@machine.within_memory(measured.LACK)
def run(
    workdir,
    number,
    measures=None,
    *,
    fresh=False,
    dataset=None,
    data_dir=None,
    chunk=None,
    wait=WAIT,
    **options,
):
    """Evaluates a group by all measures that look at it alone; what it is called, and of how many.

    Args:
      workdir: a run folder.
      number: of the group, from 0. Its runs must be finished; those that diverged are left out.
      measures, fresh, dataset, data_dir, chunk, options: as in `evaluate.run`.
      wait: seconds to wait for another process that has the group, before it is an error.
    Raises:
      InputError: whatever is wrong with the input, before any work; or three processes were lost at
        this, without any progress between.
      WriteError, OutOfMemory, Interrupted: as in `evaluate.run`.
    """
    machine.prepare()
    check_chunk(chunk)
    functions = plan.named(measures)
    plan.check_names(functions, options)
    functions = [f for f in functions if not f.contract.across]
    if not functions:
        raise InputError(
            "what looks across groups is not measured of one: leave out --group"
        )
    workdir = Path(workdir)
    locks.check_place(workdir)
    record.group(workdir, number)  # there is one, before anything is written
    place, given = Place(workdir, number), plan.Given(dataset, data_dir)
    with place.taken(wait):
        group, by_name = plan.alone(workdir, number), measures is not None
        (task,), _ = plan.made(workdir, [group], functions, options, by_name, given)
        if fresh or measured.unknown(workdir, task.asked, [group]):
            _begin(place, group)
            try:
                with Signals(f"the same command for group {number}") as signals:
                    each(workdir, task, place, signals, fresh, chunk)
            except Interrupted:
                raise
            except BaseException:
                forget(place)  # it was not lost
                raise
            forget(place)
        else:
            say(f"{place.name} is evaluated: nothing to do")
    return [one.name for one in task.asked]


def each(workdir, task, place, signals, fresh=False, chunk=None, then=None):
    """Measures what is not known of a group that is taken; calls `then()` after each measure."""
    group = plan.opened(workdir, task.group)
    todo = task.asked if fresh else measured.unknown(workdir, task.asked, [group])
    for one in todo:
        place.held.tell(f"evaluating {one.name}")
        its = [group], [task.facts]
        measured.measure(workdir, one, *its, signals, chunk)
        if then:
            then()


def forget(place):
    """Lets a group that processes were lost at be tried anew."""
    (place.path / ATTEMPTS).unlink(missing_ok=True)


def _begin(place, group):
    """Notes that a process begins; InputError where too many were lost since anything was found."""
    found = [evaluated.path(place.workdir, number) for number in group.numbers]
    found += [record.params_path(place.workdir, number) for number in group.numbers]
    found += [unfinished(place.workdir, group)]
    known = " ".join(files.digest(path) for path in found if path.is_file())
    at = hashlib.sha256(known.encode()).hexdigest()[:16]
    again = "the command for the whole folder tries it anew"
    place.attempt(ATTEMPTS, at, "at its evaluation without any progress", again)
