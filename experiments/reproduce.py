"""Trains what a paper trained, evaluates it as the paper did, and sets ours beside the published.

    python -m experiments.reproduce --list
    python -m experiments.reproduce --result=aevb_figure2 --data_dir=DIR
    python -m experiments.reproduce --result=aevb_figure2 --data_dir=DIR --budget=60

`--budget` is minutes of training, of all calls together: as many epochs as fit are trained, of the config's
schedule at most (`--budget=inf`), and a curve is compared with the paper's after as many images. The same command again does
nothing, a larger budget goes on, and so does what was interrupted. Table and figure are in
`runs/reproduce/` and the result's name; `--keep` puts them among the results of the repository too, and
makes the README's table anew, which is of those alone. Exit codes: 0; 1 the disk is full or cannot be written;
2 a fault of the input; 128 + n: signal n.
"""

import datetime
import json
import re
import shutil
import time
from pathlib import Path

from absl import flags

from aevae import InputError, figures, files, machine, results
from experiments import command, published
from experiments.published.job import keep, kept

README = Path(__file__).parents[1] / "README.md"
FOUND = Path(__file__).parent / "published" / "found"
BEGIN, END = "<!-- reproduced: begin -->", "<!-- reproduced: end -->"


def define():
    flags.DEFINE_string("result", None, f"one of {', '.join(published.ALL)}")
    flags.DEFINE_bool("list", False, "show all results, and what they take")
    flags.DEFINE_float(
        "budget", None, "minutes of training, or inf; the default is in --list"
    )
    flags.DEFINE_string("workdir", "runs/reproduce", "the folder of all results")
    flags.DEFINE_string("data_dir", None, "where TFDS has prepared data sets")
    flags.DEFINE_bool(
        "keep", False, "keep it in the repository, and make README's table anew"
    )


def main(args):
    name = args["result"].value
    if args["list"].value:
        print(listed())
        return 0
    if name not in published.ALL:
        names = ", ".join(published.ALL)
        said = f"there is no result {name!r}" if name else "name a result with --result"
        raise InputError(f"{said}; there are {names}")
    result, budget = published.ALL[name], args["budget"].value
    budget = result.budget if budget is None else budget
    if not budget >= 0:
        raise InputError(f"budget must be minutes, 0 or more, not {budget}")
    machine.prepare()
    folder = Path(args["workdir"].value) / name
    job = published.Job(folder, budget, args["data_dir"].value)
    began, before = time.perf_counter(), job.seconds
    outcome = result.run(job)
    beside = time.perf_counter() - began - (job.seconds - before)
    found = record(name, job, outcome, beside)
    folder.mkdir(parents=True, exist_ok=True)
    keep(folder / "result.json", found)
    print(told(found))
    image = folder / f"{name}.png"
    if outcome.figure is not None:
        print(figures.save(outcome.figure, image))
    if args["keep"].value:
        if not any(row.main for row in outcome.rows):
            raise InputError(
                f"nothing of {name} is to be kept yet: give it more --budget"
            )
        FOUND.mkdir(exist_ok=True)
        keep(FOUND / f"{name}.json", found)
        if outcome.figure is not None:
            shutil.copyfile(image, FOUND / image.name)
        write_readme()
    return 0


def listed():
    """All results, and what they take."""
    lines = [
        ["result", "minutes by default", "images a run seen in full", "what it is"]
    ]
    for name, result in published.ALL.items():
        known = kept(FOUND / f"{name}.json")
        full = f"{known['full']:,}" if known and known["full"] else ""
        lines.append([name, f"{result.budget:g}", full, result.title])
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
        for line in lines
    )


def record(name, job, outcome, beside):
    """What is kept of a result, to be written as JSON. `beside` are this call's seconds without training.

    Hardware and versions are those of the training, and so is the date, until more is trained.
    """
    made = [machine.describe()]
    data = {}
    for path in sorted(job.folder.glob("*/environment.json")):
        entries = json.loads(path.read_text())
        made = entries if not data else made + entries
        data[path.parent.name] = {
            d["name"]: d["sha256"] for e in entries for d in e["data"]
        }
    minutes = round(job.seconds / 60, 1)
    known = kept(job.folder / "result.json") or {}
    told_again = known.get("minutes") == minutes
    if told_again:
        beside = max(beside, 60 * known.get("beside", 0))
    else:
        beside += 60 * known.get("beside", 0)
    return {
        "result": name,
        "date": known["date"] if told_again else datetime.date.today().isoformat(),
        "hardware": list(dict.fromkeys(map(_hardware, made))),
        "versions": list(dict.fromkeys(map(_versions, made))),
        "data": data,
        "minutes": minutes,
        "beside": round(beside / 60, 1),
        "samples": outcome.samples,
        "full": outcome.full,
        "complete": outcome.complete,
        "note": outcome.note,
        "rows": [row._asdict() for row in outcome.rows],
        "facts": [fact._asdict() for fact in outcome.facts],
    }


def _versions(made):
    shown = ", ".join(f"{n} {made['versions'][n]}" for n in ("jax", "flax", "optax"))
    return f"Python {made['python']}, {shown}"


def _hardware(made):
    hardware = made["hardware"]
    if hardware["platform"] == "cpu":
        return f"{hardware['cores']} cores, {hardware['processor']}"
    return f"{hardware['devices']} × {hardware['device']}"


def told(found):
    """What was found, as a table and lines."""
    lines = [["", "published", "ours", "difference", "within"]]
    for row in (published.Row(**row) for row in found["rows"]):
        lines.append([row.what, *_cells(row)])
    width = max(len(line[0]) for line in lines)
    table = results.aligned([[line[0].ljust(width), *line[1:]] for line in lines])
    facts = "\n".join(f"{_verdict(fact)}: {fact['what']}" for fact in found["facts"])
    about = [*found["hardware"], f"{found['minutes']} minutes of training"]
    about.append(f"{found['beside']} of evaluation and all else")
    if found["full"]:
        about.insert(0, f"{found['samples']:,} of {found['full']:,} images")
    if not found["complete"]:
        about.append("shortened: – is not compared")
    parts = (table, facts, "; ".join(about), found["note"])
    return "\n\n".join(part for part in parts if part)


def _verdict(fact):
    return "holds" if fact["holds"] else "DOES NOT HOLD"


def _cells(row):
    if row.published is None:
        return ["", f"{row.ours:.5g}", "", ""]
    within = {True: "yes", False: "no", None: "–"}[row.within]
    return [f"{row.published:.6g}", f"{row.ours:.6g}", f"{row.difference:+.2g}", within]


def readme_table():
    """Markdown of every result that is kept: main rows, and what came out of words."""
    heads = ("result", "published or exact", "ours", "difference", "within")
    heads += ("images seen, of", "minutes", "on", "date")
    lines = [_line(heads), _line(["---"] * len(heads))]
    words, versions = [], {}
    for name, result in published.ALL.items():
        found = kept(FOUND / f"{name}.json")
        if found is None:
            continue
        versions |= dict.fromkeys(found["versions"])
        seen = f"{found['samples']:.3g}, {found['full']:.3g}" if found["full"] else ""
        where = [
            seen.replace("e+0", "e"),
            f"{found['minutes']:g} + {found['beside']:g}",
        ]
        where += ["; ".join(found["hardware"]), found["date"]]
        for row in (published.Row(**row) for row in found["rows"]):
            if row.main:
                lines.append(_line([f"`{name}`: {row.what}", *_cells(row), *where]))
        about = result.title + (f" ({found['note']})" if found["note"] else "")
        missed = f" {result.missed}." if result.missed else ""
        words.append(f"* **`{name}`**: {about}.{missed}")
        words += [f"  * {_verdict(fact)}: {fact['what']}" for fact in found["facts"]]
    return "\n".join([*lines, "", *words, "", "Versions: " + "; ".join(versions) + "."])


def _line(cells):
    return f"| {' | '.join(cells)} |"


def write_readme():
    """Puts the table between its marks."""
    text = README.read_text()
    block = f"{BEGIN}\n{readme_table()}\n{END}"
    text = re.sub(f"{BEGIN}.*?{END}", lambda _: block, text, flags=re.DOTALL)
    with files.whole(README) as file:
        file.write(text.encode())


if __name__ == "__main__":
    command.run(define, main)
