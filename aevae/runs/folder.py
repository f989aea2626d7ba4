"""A run folder on the disk: locked, joined by a command, declared, and reported on."""

import dataclasses
import functools
import json
import os
from pathlib import Path

from aevae import InputError, __version__, config, data
from aevae.runs import code, history, record
from aevae.runs.place import Place
from aevae.runs.progress import say
from aevae.runs.reports import Reports, check_columns
from aevae.system import files, locks, machine

HARMLESS = (".lock", "config", "config.py")  # of a folder that was about to be made


class Folder:
    """A run folder, with the runs of its earlier commands and of the present one.

    `groups` come in the order in which they were asked for. `histories` has the groups that have
    begun. No file but the lock is touched before `claim`.
    """

    def __init__(self, workdir, fresh=False):
        self.path, self._fresh, self._lock = Path(workdir), fresh, None
        locks.check_place(workdir)
        self._record = {"format": record.FORMAT, "aevae": __version__}
        self._record |= {"sweeps": [], "groups": [], "code": {}}
        if os.path.isfile(self.path / "config.json"):  # False where a name is too long
            if not fresh:
                record.read(self.path)  # before anything is touched
            self._lock = locks.lock(self.path)
            if not fresh:
                self._record = record.read(self.path)
        else:
            _check_unused(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._lock:
            self._lock.close()

    @property
    def mark(self):
        """That of the lock which this process holds."""
        return self._lock.mark

    @property
    def begun(self):
        """Whether the folder has runs of earlier commands."""
        return bool(self._record["groups"])

    @property
    def init_from(self):
        """The trained run that the folder's runs started from, as config.json has it, or None."""
        return self._record.get("init_from")

    def join(
        self, base, source, overrides, grid, load, accept=False, start=None, split=None
    ):
        """Adds the runs that a command asks for to those of the folder.

        `source` is its config file's `Source` and what was named of it; (None, None) for a Config.
        `load` gives the data set of a run: data under another name, but with the sha256 of those
        that the folder's runs were trained on, are the same data, which moved.
        `accept`: code that is not a method's own may have changed, and config.json says so.
        `start`: the `initial.Start` of the runs, if any.
        `split`: new groups of more runs are divided into groups of so many, laid out as the whole.
        """
        source, part = source
        text = source and source.text
        runs = config.settle(base, overrides, grid)
        indices, before = self._record["groups"], []
        self.histories = dict(self._begun(range(len(indices))))
        self.moved, self._returned = {}, []
        self._texts, changed = {}, True
        now = code.of(runs, source)
        self._unsaid = now.bytecode
        if indices:
            known = code.Code(**self._record["code"])
            self._unsaid = sorted({*now.bytecode}.difference(known.bytecode))
            try:
                self._check_code(base, text)
                known = known.join(now, accept)
                before = record.declared(self.path, self._base(base, text))
                now = known.join(code.of(before, source, now))
                self.moved = self._moved(before, runs, load)
                runs = record.renamed(runs, self.moved)
                runs = config.join(before, runs, config.grid_paths(base, grid))
            except InputError as error:
                raise InputError(f"{self.path} holds other runs: {error}") from None
            # More runs, or more epochs: all else is as it was.
            changed = [run.epochs for run in runs] != [run.epochs for run in before]
        if changed:
            explicit = base.grid if text is None and grid is None else grid
            sweep = {"file": source and self._file_of(source)}
            sweep |= {"part": part} if part else {}
            sweep |= {"overrides": config.canonical(overrides or {})}
            sweep |= {"grid": config.canonical(explicit if text else explicit or {})}
            sweep |= {"moved": self.moved} if self.moved else {}
            if text is None:
                sweep["base"] = config.canonical(base)
            _check_written(base, sweep, overrides, grid)
            new = config.groups_of_one_program(runs[len(before) :])
            new = [[n + len(before) for n in own] for own in new]
            wholes = self._record.get("wholes", {})
            indices, wholes = _divided(indices, new, split, wholes)
            self._record = self._record | {
                "sweeps": [*self._record["sweeps"], sweep],
                "groups": indices,
            }
            self._record |= {"wholes": wholes} if wholes else {}
        named = self._record.get("columns", ["run"])[1:]
        named = [*named, *(config.grid_paths(base, grid) if changed else ())]
        paths = config.swept(runs, named)
        check_columns(paths)
        self._record |= {
            "columns": ["run", *paths],
            "config": config.canonical(runs[0]),
            "code": now._asdict(),
        }
        self._record |= {"init_from": start.record} if start else {}
        places = {old: record.place(new) for new, old in self.moved.items()}
        for old in self._returned:
            del self._record["places"][old]
        if places:
            self._record["places"] = self._record.get("places", {}) | places
        self._start = start
        self.groups = history.grouped(runs, indices, paths)

    def _begun(self, numbers):
        """Yields (number, history) of the groups that have begun."""
        for number in numbers:
            known = Place(self.path, number).history()
            if known is not None:
                yield number, known

    def _base(self, base, text):
        """The Config of the folder, whose data may have moved since; None where it keeps files."""
        if text is not None:
            return None
        known = self._record["sweeps"][0]["base"].get("dataset", base.dataset)
        return dataclasses.replace(base, dataset=known)

    def _moved(self, before, runs, load):
        """The data sets that are asked for under another name than they had, {new: old}."""
        known = {}
        for number, own in self.histories.items():
            first = before[self._record["groups"][number][0]]
            known.setdefault(own.data, first.dataset)
        places = self._record.get("places", {})
        self._returned = record.returned(places, known, runs, load)
        found = record.moved(before, known, runs, load)
        for new, old in found.items():
            say(
                f"{self.path}: {new} has the sha256 of {old}, and is taken for the same data"
            )
        return found

    def here(self, run):
        """A run with its data set where it is now, if it moved."""
        now = {old: new for new, old in self.moved.items()}
        return dataclasses.replace(run, dataset=now.get(run.dataset, run.dataset))

    def _check_code(self, base, text):
        sweeps = self._record["sweeps"]
        if (text is None) != (sweeps[0]["file"] is None):
            kinds = "a config file", "a Config object"
            was, given = kinds if text is None else kinds[::-1]
            raise InputError(
                f"it was trained from {was}, and this command gives {given}"
            )
        if text is not None:
            known = config.code(self._known_text("config.py"))
            if known != config.code(text):
                raise InputError(
                    "the config file's code is not that of config.py in it: take another "
                    "--workdir, or start over with --fresh"
                )

    def _known_text(self, name):
        try:
            text = (self.path / name).read_text(encoding="utf-8")
            config.code(text)
        except (OSError, ValueError, SyntaxError):
            raise InputError(f"{name} in it is damaged or missing") from None
        return text

    def _file_of(self, source):
        """The name under which the folder keeps a config file: one that it has, or a new one.

        The user's modules that it imports are in a folder of that name without `.py`.
        """
        names = dict.fromkeys(sweep["file"] for sweep in self._record["sweeps"])
        for name in names:
            if (self._known_text(name), self._known_modules(name)) == source[:2]:
                return name
        name = f"config.{len(names)}.py" if names else "config.py"
        self._texts[name] = source.text
        for module, text in source.texts.items():
            self._texts[f"{name.removesuffix('.py')}/{module}"] = text
        return name

    def _known_modules(self, name):
        folder = self.path / name.removesuffix(".py")
        found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*.py")}
        return {
            module: path.read_text(encoding="utf-8") for module, path in found.items()
        }

    def open(self, base=None):
        """Takes the runs as they are declared, to report on them; `base` as in `record.declared`."""
        runs, indices = record.declared(self.path, base), self._record["groups"]
        paths = config.swept(runs, self._record["columns"][1:])
        self.histories = dict(self._begun(range(len(indices))))
        self.groups = history.grouped(runs, indices, paths)

    def layout(self, group):
        """How a group is laid out, as `record.layout` has it."""
        return record.layout(self._record, group)

    def place(self, group):
        """The files of a group."""
        return Place(self.path, group.number)

    def finished(self, group):
        """Whether there is nothing left to do for a group."""
        known = self.histories.get(group.number)
        return self.place(group).is_finished(group, known)

    def look(self, group):
        """Reads what there is of a group anew, which another process trains; whether it is finished."""
        known = self.place(group).history()
        if known is not None:
            self.histories[group.number] = known
        return self.finished(group)

    def claim(self, metrics, held_out_metrics, sets, chunk=None):
        """Takes the folder for this command: writes its declaration, and the tables so far.

        Args:
          metrics, held_out_metrics: names of what the groups still to be trained report, in training
            and in evaluation.
          sets: their data sets.
          chunk: how many runs a device trains at a time, if that was asked for.
        """
        self._record |= {"chunk": chunk} if chunk else {}
        if self._fresh and self._lock:
            self._move_aside()
        if not self._lock:
            with files.writing(self.path):
                self.path.resolve().mkdir(parents=True, exist_ok=True)
            self._lock = locks.lock(self.path)
            if (self.path / "config.json").exists():
                raise InputError(f"another process has just begun in {self.path}")
        for name, text in self._texts.items():
            with files.writing(self.path):
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            files.replace_text(self.path / name, text)
        if self._unsaid:
            say(
                f"the source of {', '.join(self._unsaid)} cannot be had: bytecode is compared "
                "instead, which another version of Python may change"
            )
        files.remove_partial(self.path)
        files.write_json(self.path / "config.json", self._record)
        self._add_environment(sets)
        self.report(metrics, held_out_metrics)

    def _move_aside(self):
        for number in range(len(record.read(self.path)["groups"])):
            if (place := Place(self.path, number)).is_taken():
                raise InputError(
                    f"cannot rename {self.path} to start over (--fresh): {place.name} is being "
                    f"trained by {locks.holder(place.path)[0]}"
                )
        whole, number = self.path.resolve(), 1
        if Path.cwd().is_relative_to(whole):
            raise InputError(
                f"cannot rename {self.path} to start over (--fresh): this process is within it"
            )
        while (aside := whole.with_name(f"{whole.name}.{number}")).exists():
            number += 1
        with files.writing(whole):
            whole.rename(aside)
        self._lock.close()
        self._lock = None
        say(f"{self.path}: the folder that was there is now {aside}")

    def _add_environment(self, sets):
        path = self.path / "environment.json"
        try:
            known = json.loads(path.read_text("utf-8")) if path.is_file() else []
        except ValueError:
            say(f"{path} was damaged, and is started anew")
            known = []
        now = machine.describe() | {
            "data": [
                {
                    "name": dataset.name,
                    "version": dataset.version,
                    "sha256": dataset.digest,
                    "shape": list(dataset.shape),
                    "stored": str(dataset.train["image"].dtype),
                    "range": list(dataset.range),
                    **({"labels": list(dataset.labels)} if dataset.labels else {}),
                    "examples": {
                        p: len(getattr(dataset, p)["image"]) for p in data.PARTS
                    },
                }
                for dataset in {d.digest: d.stored or d for d in sets}.values()
            ]
        }
        if now not in known:
            files.write_json(path, [*known, now])

    def end(self, accept):
        """Writes what a command without anything to do leaves: the tables, and accepted code."""
        if accept or self.moved or self._returned:
            files.write_json(self.path / "config.json", self._record)
        self.report()

    def report(self, metrics=(), held_out_metrics=()):
        """Writes anew every table that differs from the histories."""
        known = self.groups, self.histories, self.finished, self._record["columns"]
        self.reports = Reports(self.path, *known, metrics, held_out_metrics)
        self.reports.write()

    def check_data(self, group, dataset):
        """Raises InputError if another group of the same splits was trained on other data."""
        known = self._trained_on.get(_splits(group), dataset.digest)
        if known != dataset.digest:
            raise InputError(
                f"{self.path} was trained on other data: the sha256 of {dataset.name} was "
                f"{known[:12]}..., and now is {dataset.digest[:12]}..."
            )

    @functools.cached_property
    def _trained_on(self):
        """{splits: the sha256 of the data that groups of them were trained on}."""
        groups = {group.number: group for group in self.groups}
        known = self.histories.items()
        return {_splits(groups[n]): its.data for n, its in known if n in groups}


def _splits(group):
    """The data set and the splits of a group's runs."""
    return tuple(getattr(group.runs[0], name) for name in ("dataset", *data.PARTS))


def _divided(known, new, most, wholes):
    """Groups with new ones, divided into parts of at most `most` runs; {part: runs of the whole}."""
    groups, wholes = [*known], dict(wholes)
    for own in new:
        parts = [
            own[n : n + (most or len(own))]
            for n in range(0, len(own), most or len(own))
        ]
        if len(parts) > 1:
            wholes |= {str(len(groups) + n): len(own) for n in range(len(parts))}
        groups += parts
    return groups, wholes


def _check_written(base, sweep, overrides, grid):
    """Raises InputError if what config.json has of a command is not the command again."""
    written = json.loads(json.dumps([sweep["overrides"], sweep["grid"]]))
    try:
        same = config.asks(base, *written) == config.asks(base, overrides, grid)
    except InputError:
        same = False
    if not same:
        raise InputError(
            "the grid or an override holds what config.json cannot name: functions must be those "
            "of a module, not a partial, a lambda or a local one"
        )


def _is_harmless(path):
    return path.name in HARMLESS or path.suffix == files.PARTIAL


def _check_unused(path):
    """Raises InputError if a new run folder cannot be made, before the data are read."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise InputError(f"cannot write to {path}: {error.strerror}") from None
    if path.is_dir() and not all(map(_is_harmless, path.iterdir())):
        raise InputError(
            f"{path} is neither empty nor a run folder: name another (--workdir)"
        )
    parent = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise InputError(f"cannot write to {path}: {parent} is not a writable folder")
