"""What tests of the report share: its data read from the file, and a folder whose every text is markup."""

import csv
import json
import re
import shutil

MARKUP = "</script><b id=x>&amp;$$y$$"


def contents(path):
    """What the page of a report gives `links.js`."""
    text = path.read_text("utf-8")
    (found,) = re.findall(
        r'<script type="application/json" id="report">(.*?)</script>', text, re.DOTALL
    )
    return json.loads(found)


def marked(folder, place):
    """A copy of a run folder in which names and values of a user's are markup."""
    folder = shutil.copytree(folder, place / "<b id=x>run")
    record = json.loads((folder / "config.json").read_text("utf-8"))
    name = f"{MARKUP}beta"
    record["columns"] = [name if n == "beta" else n for n in record["columns"]]
    record["config"]["dataset"] = MARKUP
    record["sweeps"][0]["overrides"][MARKUP] = MARKUP
    (folder / "config.json").write_text(json.dumps(record), "utf-8")
    with (folder / "config.py").open("a", encoding="utf-8") as file:
        file.write(f"# {MARKUP} config text\n")
    made = json.loads((folder / "environment.json").read_text("utf-8"))
    made[0]["data"][0]["name"] = f"{MARKUP}set"
    (folder / "environment.json").write_text(json.dumps(made), "utf-8")
    for table in ("results.csv", "curves.csv"):
        rewrite(folder / table, lambda row: _marked(row, name))
    return folder


def _marked(row, name):
    row = {name if n == "beta" else n: v for n, v in row.items()}
    row["lr"] = f"{MARKUP}{row['lr']}"
    for other in ("dataset", "objective", "binarization"):
        if other in row:
            row[other] = f"{MARKUP}{other}"
    return row


def rewrite(path, change):
    """Changes each row of a table; a row of which None is made goes."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [change(row) for row in csv.DictReader(file)]
    rows = [row for row in rows if row is not None]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
