"""The file of a report: written once, or again and again while a sweep trains."""

import hashlib
import math
import time
from pathlib import Path
from urllib.parse import quote

from aevae import InputError, WriteError
from aevae.figures.report import folders, pictures
from aevae.runs import record
from aevae.runs.progress import say
from aevae.system import files
from aevae.training import bounds

NAME = "report.html"
INSIDE = 100  # pictures in the file at most, and ...
BYTES = 8e6  # ... bytes of them
EVERY = 5.0  # seconds between two looks at folders that are being trained
SHARE = 200  # of the time goes into pages, at most one part


def write(workdirs, out=None, base=None, runs=None):
    """Writes the report of run folders as one HTML file; returns its path.

    Args:
      workdirs: the run folders, which stand side by side.
      out: the file; by default `report.html` in the folder, or beside the first of several.
      base: as in `trained.load`, of one folder.
      runs: numbers of the runs, up to 100 of each folder, whose pictures are in the file; by default the
        best of each grid point, and then others. Those of other runs are in a folder beside the file.
    """
    return Report(workdirs, out, base, runs).write()


def watch(workdirs, out=None, base=None, runs=None, every=EVERY, told=print):
    """Writes a report anew whenever its folders have changed, until all of their runs have finished.

    Nothing is locked, and no file of a run folder is written but the report. After each writing, it rests
    for 200 times the CPU seconds that the page took; the pictures of a run are made once.
    """
    made = Report(workdirs, out, base, runs, every=every)
    told(made.write(live=True))
    seen = made.seen
    while not made.finished:
        rest = time.monotonic() + SHARE * made.seconds
        while made.look() == seen or time.monotonic() < rest and not made.done():
            time.sleep(every)
        try:
            made.write(live=True)
        except (
            InputError,
            WriteError,
        ) as error:  # as of a table that is being replaced
            say(str(error))
        seen = made.seen
    return made.out


class Report:
    """A report of run folders, which remembers the pictures that it has made."""

    def __init__(self, workdirs, out=None, base=None, runs=None, every=EVERY):
        if not workdirs:
            raise InputError("name the run folder with --workdir")
        if base is not None and len(workdirs) > 1:
            raise InputError("base is of one run folder, and several are given")
        self.workdirs = [*map(Path, workdirs)]
        self.out = Path(out) if out else _place(self.workdirs)
        if self.out.is_dir():
            raise InputError(f"{self.out} is a folder: name the file of the report")
        if self.out.suffix not in (".html", ".htm"):
            raise InputError(
                f"the report is an HTML file: {self.out} must end in .html"
            )
        self._base, self._runs, self._every = base, runs, every
        self._made, self._notes = {}, {}
        self.seconds, self.seen, self.finished = 0.0, None, False

    def write(self, live=False):
        """Writes the file, and the pictures beside it, if there are any; returns its path.

        `live`: the page looks for a newer one.
        """
        from aevae.figures.report import page  # which loads Bokeh

        began = time.process_time()
        self.seen = self.look()
        found = folders.read(self.workdirs)
        self._check_runs(found)
        known = {}
        for number, folder in enumerate(found):
            before = time.process_time()
            known |= self._pictures(number, folder)
            began += time.process_time() - before
            folder.notes.extend(self._notes.get(number, ()))
        inside = _inside(found, known, self._runs)
        beside = self.out.with_name(files.short_name(f"{self.out.stem}_pictures"))
        links = {}
        for key, picture in known.items():
            if key not in inside:
                links[key] = f"{beside.name}/{key[0]}-{key[1]:04d}.png"
                with files.writing(beside):
                    beside.mkdir(parents=True, exist_ok=True)
                _replace(
                    self.out.with_name(beside.name) / Path(links[key]).name, picture.png
                )
        self.finished = all(_is_finished(folder) for folder in found)
        self._write_page(page, found, known, links, live)
        self.seconds = time.process_time() - began
        return self.out

    def _write_page(self, page, found, known, links, live):
        script = self.out.with_suffix(".js")
        how = None
        if live:
            stamp = hashlib.sha256(repr(self.seen).encode()).hexdigest()[:16]
            how = {"stamp": stamp}
            how |= (
                {}
                if self.finished
                else {"beside": quote(script.name), "every": self._every}
            )
        with files.writing(self.out):
            self.out.parent.mkdir(parents=True, exist_ok=True)
        text = page.html(found, known, links, self._base, how)
        with files.whole(self.out) as file:
            file.write(text.encode("utf-8", "replace"))
        if live:  # after the page that it announces
            files.replace_text(
                script, f'window.aevaeReport && aevaeReport("{stamp}")\n'
            )

    def _check_runs(self, found):
        if self._runs is None:
            return
        if len(self._runs) > INSIDE:
            raise InputError(
                f"at most {INSIDE} runs can have their pictures inside, not {len(self._runs)}"
            )
        for number in self._runs:
            if not any(0 <= number < folder.declared for folder in found):
                most = max(folder.declared for folder in found) - 1
                raise InputError(
                    f"there is no run {number}: runs are numbered from 0 to {most}"
                )

    def _pictures(self, number, folder):
        """The pictures of a folder's runs, of which only new ones are made."""
        sound = [r for r in folder.rows if r["status"] not in ("training", "diverged")]
        now = {row["run"]: _changed(folder.path, row["run"]) for row in sound}
        known = self._made.setdefault(number, {})
        new = [r for r in sound if known.get(r["run"], ("",))[0] != now[r["run"]]]
        if new:
            made, self._notes[number] = pictures.of(folder.path, new, self._base)
            known |= {
                run: (now[run], made.get(run)) for run in (row["run"] for row in new)
            }
        found = {run: known[run][1] for run in now if run in known}
        return {(number, run): picture for run, picture in found.items() if picture}

    def look(self):
        """What tells whether the folders have changed."""
        names = ("config.json", "results.csv", "curves.csv")
        return [_stat(workdir / name) for workdir in self.workdirs for name in names]

    def done(self):
        """Whether the folders have as many results as there are runs, so that nothing more comes."""
        try:
            found = [
                (record.read(w), (w / "results.csv").read_bytes())
                for w in self.workdirs
            ]
        except (InputError, OSError):
            return False
        return all(sum(map(len, r["groups"])) <= t.count(b"\n") - 1 for r, t in found)


def current(workdir):
    """Whether the report of a folder is newer than its tables."""
    made, *others = (
        _stat(Path(workdir) / name) for name in (NAME, "results.csv", "curves.csv")
    )
    return made is not None and all(made >= other for other in others if other)


def _place(workdirs):
    """Where a report is written that was given no place."""
    if len(workdirs) == 1:
        return workdirs[0] / NAME
    names = "_".join(workdir.absolute().name for workdir in workdirs)
    return workdirs[0].absolute().parent / files.short_name(f"report_{names}.html")


def _is_finished(folder):
    done = [row for row in folder.rows if row["status"] != "training"]
    return len(done) >= folder.declared


def _stat(path):
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _changed(path, run):
    return _stat(record.params_path(path, run))


def _replace(path, content):
    if not (path.is_file() and path.read_bytes() == content):
        with files.whole(path) as file:
            file.write(content)


def _inside(found, known, asked):
    """The runs whose pictures are in the file, {(number of the folder, run)}."""
    if asked is not None:
        order = [key for key in known if key[1] in asked]
    else:
        ranked, seen = [], {}
        for number, folder in enumerate(found):
            for row in sorted(folder.rows, key=_judged, reverse=True):
                point = number, *(row[n] for n in folder.names if n != "seed")
                seen[point] = seen.get(point, 0) + 1
                ranked.append((seen[point], len(ranked), (number, row["run"])))
        order = [key for *_, key in sorted(ranked) if key in known]
    inside, size = set(), 0
    for key in order[:INSIDE]:
        size += len(known[key].png)
        if size <= BYTES:
            inside.add(key)
    return inside


def _judged(row):
    value = bounds.criterion(row) if row["status"] != "training" else math.nan
    return value if math.isfinite(value) else -math.inf
