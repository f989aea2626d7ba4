"""Trains what a paper trained, evaluates it as the paper did, and sets ours beside the published.

    python -m experiments.reproduce --list
    python -m experiments.reproduce --result=aevb_figure2 --data_dir=DIR
    python -m experiments.reproduce --result=aevb_figure2 --data_dir=DIR --budget=60

`--budget` is minutes of training, of all calls together: as many epochs as fit are trained, of the paper's
at most (`--budget=inf`), and compared with what the paper has after as many. The same command again does
nothing, a larger budget goes on, and so does what was interrupted. Table and figure are in
`runs/reproduce/` and the result's name; `--keep` puts them among the results of the repository too, and
makes the README's table anew, which is of those alone. Exit codes: 0; 1 the disk is full or cannot be written;
2 a fault of the input; 128 + n: signal n.
"""

import datetime
import json
import re
import shutil
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
    outcome = result.run(job)
    found = record(name, job, outcome)
    folder.mkdir(parents=True, exist_ok=True)
    keep(folder / "result.json", found)
    print(told(found))
    image = folder / f"{name}.png"
    if outcome.figure is not None:
        print(figures.save(outcome.figure, image))
    if args["keep"].value:
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


def record(name, job, outcome):
    """What is kept of a result, to be written as JSON."""
    made = machine.describe()
    known = [
        entry
        for path in sorted(job.folder.glob("*/environment.json"))
        for entry in json.loads(path.read_text())
    ]
    return {
        "result": name,
        "date": datetime.date.today().isoformat(),
        "hardware": list(dict.fromkeys(map(_hardware, known or [made]))),
        "python": made["python"],
        "versions": made["versions"],
        "data": {entry["name"]: entry["sha256"] for e in known for entry in e["data"]},
        "minutes": round(job.minutes, 1),
        "samples": outcome.samples,
        "full": outcome.full,
        "note": outcome.note,
        "rows": [row._asdict() for row in outcome.rows],
        "facts": [fact._asdict() for fact in outcome.facts],
    }


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
    facts = "".join(f"{_verdict(fact)}: {fact['what']}\n" for fact in found["facts"])
    about = f"{', '.join(found['hardware'])}; {found['minutes']} minutes of training"
    if found["full"]:
        about = f"{found['samples']:,} of {found['full']:,} images; {about}"
    if found["samples"] < found["full"]:
        about += "\nshortened: curves are compared after as many images, and – is not compared"
    return "\n".join(part for part in (table, facts, about, found["note"]) if part)


def _verdict(fact):
    return "holds" if fact["holds"] else "DOES NOT HOLD"


def _cells(row):
    if row.published is None:
        return ["", f"{row.ours:.4f}", "", ""]
    within = {True: "yes", False: "no", None: "–"}[row.within]
    return [f"{row.published:.6g}", f"{row.ours:.6g}", f"{row.difference:+.2g}", within]


def readme_table():
    """Markdown of every result that is kept: main rows, and what came out of words."""
    lines = [
        "| result | published | ours | difference | within | images seen, of | minutes | on | date |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    words = []
    for name, result in published.ALL.items():
        found = kept(FOUND / f"{name}.json")
        if found is None:
            continue
        seen = f"{found['samples']:.3g} of {found['full']:.3g}" if found["full"] else ""
        seen = seen.replace("e+0", "e")
        where = [
            seen,
            f"{found['minutes']:g}",
            "; ".join(found["hardware"]),
            found["date"],
        ]
        for row in (published.Row(**row) for row in found["rows"]):
            if row.main:
                cells = [f"`{name}`: {row.what}", *_cells(row), *where]
                lines.append(f"| {' | '.join(cells)} |")
        about = "; ".join(
            t for t in (found["note"], result.shortened, result.missed) if t
        )
        words.append(
            f"* **`{name}`**, {result.title}" + (f". {about}." if about else ".")
        )
        words += [f"  * {_verdict(fact)}: {fact['what']}" for fact in found["facts"]]
    return "\n".join([*lines, "", *words])


def write_readme():
    """Puts the table between its marks."""
    text = README.read_text()
    block = f"{BEGIN}\n{readme_table()}\n{END}"
    text = re.sub(f"{BEGIN}.*?{END}", lambda _: block, text, flags=re.DOTALL)
    with files.whole(README) as file:
        file.write(text.encode())


if __name__ == "__main__":
    command.run(define, main)
