"""Trains what a paper trained, evaluates it as the paper did, and sets ours beside the published.

    python -m experiments.reproduce --list
    python -m experiments.reproduce --result=aevb_figure2 --data_dir=DIR
    python -m experiments.reproduce --result=aevb_figure2 --data_dir=DIR --budget=60

`--budget` is minutes of training, of all calls together: as many epochs as fit are trained, of the config's
schedule at most (`--budget=inf`), and a curve is compared with the paper's after as many images. Beside it are one
epoch of all runs, the 5 epochs by which figure 3 chooses its steps, flax's 10, and evaluation. The same
command again does nothing, a larger budget goes on, and so does what was interrupted. Table and figure are in
`runs/reproduce/` and the result's name; `--keep` puts them among the results of the repository too, and
makes the README's table anew, which is of those alone. Exit codes: 0; 1 the disk is full or cannot be written;
2 a fault of the input; 128 + n: signal n.
"""

import datetime
import re
import time
from pathlib import Path

from absl import flags

from aevae import InputError, figures
from aevae.runs import tables
from aevae.system import files, machine
from experiments import command, published
from experiments.published.job import keep, kept

README = Path(__file__).parents[1] / "README.md"
FOUND = Path(__file__).parent / "published" / "found"
AGAIN = "date", "beside", "note", "facts"  # what may be told anew of the same numbers
LOST = "interrupted.json"  # seconds beside training of calls that were interrupted
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
    outcome, beside = timed(result, job)
    found = record(name, job, outcome, beside)
    with files.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    keep(folder / "result.json", found)
    (folder / LOST).unlink(missing_ok=True)
    print(told(found))
    image = folder / f"{name}.png"
    if outcome.figure is not None:
        print(figures.save(outcome.figure, image))
    if args["keep"].value:
        keep_here(found, image if outcome.figure is not None else None)
    return 0


def timed(result, job):
    """What a result comes to, and the seconds beside training; those of interrupted calls too."""
    began, place = time.perf_counter(), job.folder / LOST
    lost = kept(place) or 0.0

    def beside():
        return lost + time.perf_counter() - began - sum(job.took)

    try:
        return result.run(job), beside()
    except KeyboardInterrupt:  # Interrupted is one
        if job.folder.is_dir():
            keep(place, beside())
        raise


def keep_here(found, image):
    """Puts a result among those of the repository, and makes README's table of them."""
    name = found["result"]
    if not any(row["main"] for row in found["rows"]):
        raise InputError(f"nothing of {name} is to be kept yet: give it more --budget")
    place = FOUND / f"{name}.json"
    known = kept(place)
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
    write_readme()


def listed():
    """All results, and what they take."""
    heads = "result", "minutes of training by default", "and of all else"
    lines = [[*heads, "images a run seen in full", "what it is"]]
    for name, result in published.ALL.items():
        known = kept(FOUND / f"{name}.json")
        full = f"{known['full']:,}" if known and known["full"] else ""
        beside = f"{known['beside']:g}" if known else ""
        lines.append([name, f"{result.budget:g}", beside, full, result.title])
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
        for line in lines
    )


def record(name, job, outcome, beside):
    """What is kept of a result, to be written as JSON. `beside` are seconds without training.

    Date and minutes beside training are those of the day and call that found it: where nothing but
    them is new they stay, and where more was trained minutes add up.
    """
    made, data = [], {}
    for path in sorted(job.folder.glob("*/environment.json")):
        entries = kept(path)
        made += entries
        data[path.parent.name] = {
            d["name"]: d["sha256"] for e in entries for d in e["data"]
        }
    made = made or [machine.describe()]
    found = {
        "result": name,
        "date": datetime.date.today().isoformat(),
        "hardware": list(dict.fromkeys(map(_hardware, made))),
        "versions": list(dict.fromkeys(map(_versions, made))),
        "data": data,
        "minutes": round(job.seconds / 60, 1),
        "beside": round(beside / 60, 1),
        "samples": outcome.samples,
        "full": outcome.full,
        "complete": outcome.complete,
        "note": outcome.note,
        "rows": [row._asdict() for row in outcome.rows],
        "facts": [fact._asdict() for fact in outcome.facts],
    }
    known = kept(job.folder / "result.json")
    if known and all(found[n] == known.get(n) for n in found if n not in AGAIN):
        return found | {n: known[n] for n in ("date", "beside")}
    if known and found["samples"]:
        found["beside"] = round(found["beside"] + known["beside"], 1)
    return found


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
    table = tables.aligned([[line[0].ljust(width), *line[1:]] for line in lines])
    facts = "\n".join(f"{_verdict(fact)}: {fact['what']}" for fact in found["facts"])
    about = [*found["hardware"], f"{found['minutes']} minutes of training"]
    about.append(f"{found['beside']} of evaluation and all else")
    if found["full"]:
        about.insert(0, f"{found['samples']:,} of {found['full']:,} images")
    if not found["complete"]:
        about.append("shortened: what has – is not compared")
    pixels = published.ALL[found["result"]].pixels
    if pixels:
        about.insert(0, f"pixels {pixels}")
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
    heads += ("pixels", "images seen, of", "minutes", "on", "date")
    lines = [_line(heads), _line(["---"] * len(heads))]
    words, versions = [], {}
    for name, result in published.ALL.items():
        found = kept(FOUND / f"{name}.json")
        if found is None:
            continue
        versions |= dict.fromkeys(found["versions"])
        seen = f"{found['samples']:.3g}, {found['full']:.3g}" if found["full"] else ""
        where = [
            result.pixels,
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
