"""Reproduces a published result: trains as the paper did, and sets ours beside the published numbers.

    python -m experiments.reproduce --list
    python -m experiments.reproduce --result=aevb_figure2 --data_dir=DIR
    python -m experiments.reproduce --result=aevb_figure2 --data_dir=DIR --budget=60
    python -m experiments.reproduce --result=aevb_figure2 --data_dir=DIR --workers=4
    python -m experiments.reproduce --result=iwae_table1 --data_dir=DIR --share=1/40,1/20 --points=vae_1

`--budget` is minutes of training over all calls together: as many epochs as fit are trained, at least one
and at most the config's schedule (`--budget=inf`), and a curve is compared with the paper's after as many
images. Not counted are the 5 epochs by which figure 3 chooses its learning rates, flax's 10, and evaluation.
The same command again does nothing, a larger budget trains further, and an interrupted call is resumed.
A result whose schedule ends, as iwae_table1's, has no budget: `--share` shortens all of its stages and
warm-ups by one factor and is trained to its end; `--points` are the runs to train, its first by default. What
earlier calls have ended stays in its table.

Table and figure are written to `runs/reproduce/RESULT`; `--keep` also puts them into
`experiments/published/found`, and rewrites the tables of `experiments/published/README.md` from what is there.
Of shares it keeps the tables of their runs, too, so that a result can be made of what several machines have
trained: with `--keep`, what is kept is in the table, and is not trained again.
Exit codes: 0; 1 the disk is full or cannot be written; 2 a fault of the input; 128 + n: signal n.
"""

import datetime
import json
import re
import time
from fractions import Fraction
from pathlib import Path

from absl import flags

from aevae import InputError, figures
from aevae.runs import tables
from aevae.system import files, machine
from experiments import command, published
from experiments.published.job import keep, kept

README = Path(__file__).parent / "published" / "README.md"
FOUND = README.parent / "found"
AGAIN = (
    "date",
    "beside",
    "note",
    "facts",
)  # what may change though the numbers are the same
LOST = "interrupted.json"  # seconds beside training of calls that were interrupted
BEGIN, END = "<!-- reproduced: begin -->", "<!-- reproduced: end -->"
HEADS = "published or exact", "ours", "difference", "tolerance", "verdict"
SHARE = r"\d{1,9}(/\d{1,9}|\.\d{0,9})?|\.\d{1,9}"
FORETOLD = "predicted"  # a column before ours, of tables that have any


def define():
    flags.DEFINE_string("result", None, f"one of {', '.join(published.ALL)}")
    flags.DEFINE_bool("list", False, "list all results, and how long they take")
    flags.DEFINE_float(
        "budget", None, "minutes of training, or inf; the default is in --list"
    )
    flags.DEFINE_list(
        "share",
        None,
        "shares of a schedule that ends, as 1/40 or 0.025, or 1 for all of it",
    )
    flags.DEFINE_list("points", None, "runs of such a schedule; --list has their names")
    flags.DEFINE_string("workdir", "runs/reproduce", "the folder of all results")
    flags.DEFINE_string("data_dir", None, "where TFDS has prepared data sets")
    command.define_workers()
    flags.DEFINE_bool(
        "keep", False, "keep it in the repository, and rewrite the README's tables"
    )


def main(args):
    name = args["result"].value
    if args["list"].value:
        print(listed())
        return 0
    if name not in published.ALL:
        names = ", ".join(published.ALL)
        wrong = f"there is no result {name!r}" if name else "name one with --result"
        raise InputError(f"{wrong}; there are {names}")
    result, budget = published.ALL[name], args["budget"].value
    shares, points = chosen(name, result, args)
    kept(
        FOUND / f"{name}.json"
    )  # if it is damaged, that is said before anything is trained
    if result.budget is not None:
        budget = result.budget if budget is None else budget
        if not budget >= 0:
            raise InputError(f"budget must be minutes, 0 or more, not {budget}")
    machine.prepare()
    folder = Path(args["workdir"].value) / name
    where = args["data_dir"].value, args["workers"].value
    asked = {"shares": shares, "points": points}
    if shares and args["keep"].value:
        asked["kept"] = FOUND / name
    job = published.Job(folder, budget, *where, **asked)
    with figures.style():
        outcome, beside = timed(result, job)
    found = record(name, job, outcome, beside)
    with files.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    keep(folder / "result.json", found)
    (folder / LOST).unlink(missing_ok=True)
    print(report(found))
    image = folder / f"{name}.png"
    if outcome.figure is not None:
        with figures.style():
            print(figures.save(outcome.figure, image))
    if args["keep"].value:
        keep_here(found, image if outcome.figure is not None else None, job)
    return 0


def chosen(name, result, args):
    """The shares and points that are asked for of a result, both empty for one with a budget."""
    asked = {flag: args[flag].value for flag in ("budget", "share", "points")}
    if result.share is None:
        how = "say how long with --budget"
        instead = {"share": how, "points": "all its runs are trained"}
    else:
        instead = {"budget": "say how long with --share"}
    for flag, what in instead.items():
        if asked[flag] is not None:
            raise InputError(f"{name} has no --{flag}: {what}")
    if result.share is None:
        return (), ()
    shares = [str(result.share)] if asked["share"] is None else asked["share"]
    shares = [_share(text) for text in shares or [""]]
    points = result.points[:1] if asked["points"] is None else asked["points"] or [""]
    for point in points:
        if point not in result.points:
            known = ", ".join(result.points)
            raise InputError(f"{name} has no point {point!r}; it has {known}")
    return tuple(sorted(set(shares))), tuple(dict.fromkeys(points))


def _share(text):
    digits = re.fullmatch(SHARE, text.strip(), flags=re.ASCII)
    try:
        share = Fraction(text) if digits else 0
    except ZeroDivisionError:
        share = 0
    if not 0 < share <= 1:
        raise InputError(
            f"--share={text}: a share is above 0 and at most 1, as 1/40 or 0.025"
        )
    return share


def timed(result, job):
    """Runs a result; returns its outcome and the seconds beside training, interrupted calls included."""
    began, place = time.perf_counter(), job.folder / LOST
    lost = kept(place) or 0.0

    def beside():
        return lost + time.perf_counter() - began - sum(job.took)

    try:
        return result.run(job), beside()
    except KeyboardInterrupt:  # Interrupted is one
        if job.folder.is_dir() and not job.shares:  # of shares only training counts
            keep(place, beside())
        raise


def keep_here(found, image, job):
    """Puts a result among those of the repository, and rewrites the README's tables."""
    name = found["result"]
    if not any(row["main"] for row in found["rows"]):
        more = "--budget" if job.kept is None else "--share"
        raise InputError(f"{name} has nothing to keep yet: give it more {more}")
    place = FOUND / f"{name}.json"
    known = (
        kept(place) if job.kept is None else None
    )  # shares are added to what is kept
    if known and known["samples"] > found["samples"]:
        raise InputError(
            f"{place} is of {known['samples']:,} images a run, more than these "
            f"{found['samples']:,}: delete it, if less is to be kept"
        )
    with files.writing(FOUND):
        FOUND.mkdir(exist_ok=True)
    keep(place, found)
    if image is not None:
        with files.whole(FOUND / image.name) as file:
            file.write(image.read_bytes())
    if job.kept is not None:
        job.keep()
    write_readme()


def listed():
    """A table of all results, and how long they take."""
    heads = "result", "minutes of training, or share, by default", "and of all else"
    lines = [[*heads, "images of the whole schedule", "what it is"]]
    for name, result in published.ALL.items():
        known = kept(FOUND / f"{name}.json")
        full = f"{known['full']:,}" if known and known["full"] else ""
        beside = f"{known['beside']:g}" if known and result.share is None else ""
        how = f"{result.budget:g}" if result.share is None else f"share {result.share}"
        lines.append([name, how, beside, full, result.title])
    widths = [max(map(len, column)) for column in zip(*lines)]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
        for line in lines
    ]
    points = [
        f"points of {name}: {', '.join(result.points)}"
        for name, result in published.ALL.items()
        if result.points
    ]
    return "\n".join([*table, *points])


def record(name, job, outcome, beside):
    """What is kept of a result, as JSON has it.

    Date and minutes beside training stay as they were where the numbers are the same; where more was
    trained, minutes add up. Of shares, which several machines may have trained, only training is counted.

    Args:
      name: the result's.
      job: the `Job` that trained it.
      outcome: its `Outcome`.
      beside: seconds of this call without training.
    """
    made, data = [], {}
    for point, folder in sorted(job.folders.items()):
        entries = kept(folder / "environment.json") or []
        made += entries
        data[point] = {d["name"]: d["sha256"] for e in entries for d in e["data"]}
    made = made or [machine.describe()]
    found = {
        "result": name,
        "date": datetime.date.today().isoformat(),
        "hardware": list(dict.fromkeys(map(_hardware, made))),
        "versions": list(dict.fromkeys(map(_versions, made))),
        "data": data,
        "minutes": round(job.seconds / 60, 1),
        "beside": None if job.shares else round(beside / 60, 1),
        "samples": outcome.samples,
        "full": outcome.full,
        "complete": outcome.complete,
        "note": outcome.note,
        "rows": [row._asdict() for row in outcome.rows],
        "facts": [fact._asdict() for fact in outcome.facts],
    }
    found = json.loads(json.dumps(found))
    elsewhere = job.kept is not None
    known = kept(
        job.kept.with_suffix(".json") if elsewhere else job.folder / "result.json"
    )
    if known and all(found[n] == known.get(n) for n in found if n not in AGAIN):
        same = ("date",) if job.shares else ("date", "beside")
        return found | {name: known[name] for name in same}
    if known and found["samples"] and not job.shares:
        found["beside"] = round(found["beside"] + known["beside"], 1)
    return found


def _versions(made):
    shown = ", ".join(f"{n} {made['versions'][n]}" for n in ("jax", "flax", "optax"))
    return f"Python {made['python']}, {shown}"


def _hardware(made):
    hardware = made["hardware"]
    if hardware["platform"] == "cpu":
        cores = hardware["cores"]
        return f"{cores} core{'s'[: cores != 1]}, {hardware['processor']}"
    return f"{hardware['devices']} × {hardware['device']}"


def report(found):
    """What was found, as text for a terminal."""
    lines = _table([published.Row(**row) for row in found["rows"]])
    width = max(len(line[0]) for line in lines)
    table = tables.aligned([[line[0].ljust(width), *line[1:]] for line in lines])
    facts = "\n".join(map(_fact, found["facts"]))
    text = remark(found["result"])
    about = text and f"On the result in the repository:\n{text}"
    parts = table, facts, _how(found), about
    return "\n\n".join(part for part in parts if part)


def _fact(fact):
    return f"{'holds' if fact['holds'] else 'DOES NOT HOLD'}: {fact['what']}"


def _table(rows):
    """Heads, and the cells of each row."""
    lines = [["", *HEADS], *([row.what, *_cells(row)] for row in rows)]
    if any(row.predicted for row in rows):
        told = [
            row.predicted and "{:.2f} ±{:.2f}".format(*row.predicted) for row in rows
        ]
        for line, cell in zip(lines, [FORETOLD, *told]):
            line.insert(2, cell or "")
    return lines


def _cells(row):
    """A row's cells under HEADS: blank without a published number, – where it is not compared."""
    if row.published is None:
        return ["", f"{row.ours:.5g}", "", "", ""]
    compared = row.verdict is not None
    return [
        *(f"{row.published:.6g}", f"{row.ours:.6g}", f"{row.difference:+.2g}"),
        *((f"{row.tolerance:g}", row.verdict) if compared else ("–", "–")),
    ]


def _how(found):
    """Two lines on how a result was found: data and schedule; time, hardware and versions."""
    what = [published.ALL[found["result"]].pixels]
    if found["full"]:
        what.append(f"{found['samples']:,} of {found['full']:,} images a run")
    if not found["complete"]:
        what.append("a shorter schedule, where – is not compared")
    spent = f"{found['minutes']:g} minutes of training"
    if found["beside"] is not None:
        spent += f", {found['beside']:g} of all else"
    where = [spent, *found["hardware"], *found["versions"], found["date"]]
    what = "; ".join(part for part in [*what, found["note"]] if part)
    return f"{_sentence(what)}\n\n{'; '.join(where)}."


def remark(name):
    """What is to be said of a kept result: the text of its NAME.md; "" if there is none."""
    path = FOUND / f"{name}.md"
    return path.read_text("utf-8").strip() if path.is_file() else ""


def readme_tables():
    """Markdown of every result that is kept: a section each, with its main rows and facts."""
    sections = []
    for name, result in published.ALL.items():
        found = kept(FOUND / f"{name}.json")
        if found is not None:
            sections.append(_section(name, result, found))
    return "\n\n".join(sections)


def _section(name, result, found):
    rows = [row for row in (published.Row(**row) for row in found["rows"]) if row.main]
    heads, *lines = _table(rows)
    table = [_line(heads), _line(["---"] * len(heads)), *map(_line, lines)]
    facts = [f"* {_fact(fact)}" for fact in found["facts"]]
    image = FOUND / f"{name}.png"
    parts = [f"### `{name}`", _sentence(result.title), _how(found)]
    parts += ["\n".join(table), "\n".join(facts), remark(name)]
    if image.is_file():
        parts.append(f"![{result.title}](found/{image.name})")
    return "\n\n".join(part for part in parts if part)


def _sentence(text):
    return f"{text[0].upper()}{text[1:]}."


def _line(cells):
    return f"| {' | '.join(cells)} |"


def write_readme():
    """Puts the tables between their marks."""
    text = README.read_text("utf-8")
    block = f"{BEGIN}\n{readme_tables()}\n{END}"
    text = re.sub(f"{BEGIN}.*?{END}", lambda _: block, text, flags=re.DOTALL)
    with files.whole(README) as file:
        file.write(text.encode())


if __name__ == "__main__":
    command.run(define, main)
