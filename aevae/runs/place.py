"""A group's own files in a run folder: a lock, checkpoints, parameters, event files, and attempts.

One process at a time trains a group, on whatever host, and writes no files but these.
"""

import contextlib
import json

from aevae import InputError, WriteError
from aevae.runs import checkpoints, history, pictures, record, sessions, trained
from aevae.runs.events import Events, folders, named
from aevae.runs.progress import say
from aevae.system import files, locks, machine
from aevae.training.trained_run import EXAMPLES

LOSSES = 3  # attempts without progress, after which a group has failed
FAILED, ATTEMPTS = "failed", "attempts"


class Place:
    """The files of a group in a run folder."""

    def __init__(self, workdir, number):
        self.workdir, self.number = workdir, number
        self.path = workdir / "checkpoints" / f"{number:04d}"
        self.held = None  # its `locks.Lock`, while this process has it

    @property
    def name(self):
        """What the group is called in messages."""
        return f"group {self.number} of {self.workdir}"

    @contextlib.contextmanager
    def taken(self, wait=0.5):
        """Holds the group's lock; InputError where another process still does after `wait` seconds.

        Where another host takes the group nevertheless, nothing more is written: a WriteError.
        """
        with files.writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        self.held = locks.lock(self.path, self.name, wait)
        try:
            with files.guarded(self.held.check):
                files.remove_partial(self.path)
                yield
        finally:
            self.held.close()
            self.held = None

    def is_taken(self):
        """Whether another process has the group."""
        return (self.path / ".lock").is_file() and not locks.is_free(self.path)

    # Attempts

    def begin_attempt(self):
        """Notes that a worker begins; InputError where LOSSES of them were lost at the same point."""
        at = self._at()
        epoch, step = at.split("-")[:2]
        again = "the sweep's command again (or with --declare) tries it anew"
        self.attempt(ATTEMPTS, at, f"at epoch {epoch}, step {step}", again)
        (self.path / FAILED).unlink(missing_ok=True)

    def attempt(self, name, at, where, again):
        """Notes in a file that a process begins at a point; InputError where LOSSES were lost there.

        `where` is the point in words, and `again` how the file is forgotten.
        """
        path = self.path / name
        known = (
            path.read_text("utf-8", "replace").splitlines() if path.is_file() else []
        )
        lost = [line for line in known if line.partition(" ")[0] == at]
        if len(lost) >= LOSSES:
            raise InputError(
                f"{self.name} was lost {len(lost)} times {where}, at last by "
                f"{lost[-1].partition(' ')[2]}: its memory may be too small, or its time; {again}"
            )
        files.append(path, f"{at} {self.held.owner.rpartition(', ')[0]}\n".encode())

    def end_attempt(self):
        """Forgets the attempts, since this one was not lost."""
        with contextlib.suppress(WriteError):  # the group is another's
            self.held.check()
            (self.path / ATTEMPTS).unlink(missing_ok=True)

    def forget(self):
        """Lets a group that has failed be tried anew."""
        for name in (ATTEMPTS, FAILED):
            (self.path / name).unlink(missing_ok=True)

    def fail(self, reason):
        """Keeps why the group cannot be trained, if that can be written."""
        with contextlib.suppress(WriteError):
            reason = " ".join(str(reason).split())
            files.replace_text(self.path / FAILED, f"{reason}\n")

    def failure(self):
        """Why the group cannot be trained; None where nothing is known against it."""
        try:
            return (self.path / FAILED).read_text("utf-8", "replace").strip()
        except OSError:
            return None

    def _at(self):
        newest = [*checkpoints.find(self.path), None][0]
        return newest.name if newest else "0-0"

    # Checkpoints

    def history(self):
        """The `History` in the newest sound checkpoint; None where there is none."""
        for checkpoint in checkpoints.find(self.path):
            try:
                (arrays,) = checkpoints.read(checkpoint, ["record"]).values()
            except files.Broken:
                continue  # `_restored` says so if it is needed
            return history.History.load(arrays)
        return None

    def begin(self, population, dataset, start=None):
        """The snapshot at which the group starts or resumes, and its history.

        `start` is the `initial.Start` of the runs, if any.
        """
        layout = population.layout
        here = {"steps": population.steps, "data": dataset.digest}
        here |= {"devices": layout.devices, "chunk": layout.chunk}
        here |= {"made_by": json.dumps(machine.describe())}
        found = self._restored()
        if found is None:
            snapshot = population.start(start and start.at_hand())
            return snapshot, history.History(**here, status=snapshot.status)
        known, arrays = found
        at = known.epoch, known.step
        snapshot = population.load(arrays, *at, known.status)
        say(
            f"{self.name} resumes at epoch {known.epoch}, step {known.step}"
            f"{known.differences(here)}"
        )
        for name, value in here.items():
            setattr(known, name, value)
        return snapshot, known

    def _restored(self):
        for checkpoint in checkpoints.find(self.path):
            try:
                read = checkpoints.read(checkpoint, ["record", "state"])
            except files.Broken as fault:
                say(f"{fault}; the checkpoint is skipped")
                with files.writing(checkpoint):
                    checkpoint.rename(checkpoint.with_name(f"{checkpoint.name}.broken"))
                continue
            return history.History.load(read["record"]), read["state"]
        return None

    def save(self, population, snapshot, known):
        """Writes a checkpoint."""
        parts = {"record": known.dump(), "state": population.dump(snapshot)}
        name = f"{known.epoch}-{known.step}{'-1' if known.results else ''}"
        checkpoints.save(self.path, name, parts)

    def finish(self, group, population, snapshot, known):
        """Writes the parameters of the group's runs, and a last checkpoint."""
        about = population.examples(EXAMPLES), population.seen, population.scaling
        with files.writing(self.workdir):
            (self.workdir / "params").mkdir(exist_ok=True)
        judged = zip(
            group.numbers, population.selected(snapshot), population.states(snapshot)
        )
        for number, state, last in judged:
            files.remove_partial(self.workdir / "params", f"{number:04d}.*")
            trained.save(record.params_path(self.workdir, number), state, *about)
            if snapshot.run.best is not None:
                path = record.params_path(self.workdir, number, last=True)
                trained.save(path, last, *about)
        self.save(population, snapshot, known)

    def is_finished(self, group, known):
        """Whether there is nothing left to do, as `known`, its history, and its parameters say."""
        return (
            known is not None
            and known.finished(group)
            and all(
                record.params_path(self.workdir, number, last).is_file()
                for number in group.numbers
                for last in {False, group.runs[0].keep == "best"}
            )
        )

    # Event files

    def events(self, group, known):
        """The event files of the group's runs, begun with all points that are known."""
        names = [*self._names_of_events(group)]
        hparams = [*map(sessions.hparams, group.runs, group.names)]
        step = known.epoch * known.steps + known.step
        points = known.event_points(group)
        return Events(self.workdir / "tensorboard", names, points, hparams, step)

    def chosen(self, images):
        """The numbers of the runs that TensorBoard has pictures of, so many of the folder's."""
        if not images:
            return set()
        groups = record.read(self.workdir)["groups"]
        return pictures.chosen(sum(map(len, groups)), images)

    def _names_of_events(self, group):
        """Yields the folder of each run's event files: one that is there, if columns came since."""
        known = folders(self.workdir)
        for columns in group.names:
            there = known.get(columns["run"])
            yield there.name if there else named(columns)
