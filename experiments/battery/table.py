"""The table of methods and checks of battery.md: what holds, and what is not claimed and why.

    python -m experiments.battery.table

prints it anew, for each of configs/methods.py: a letter stands for a reason. `draw` makes its figure.
"""

import itertools
import re
import string
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from aevae import config, data
from aevae.system import machine
from experiments import battery

FILE = Path("configs") / "methods.py"
HOLDS, FAILS, UNKNOWN = "·", "FAIL", "?"  # the last: not run


def methods(root=Path()):
    """The names of the methods of configs/methods.py."""
    found = re.findall(
        r"^def ([a-z]\w*)\(\):", (root / FILE).read_text("utf-8"), re.MULTILINE
    )
    return [*found]


def verdicts(method, root=Path(), checks=None):
    """What the battery says of a method, {check: HOLDS, FAILS or why not claimed}."""
    (run,) = config.settle(config.load(f"{root / FILE}:{method}"), {}, {})
    subject = battery.Subject(run, data.of(run))
    said = {True: HOLDS, False: FAILS}
    return {
        line.name: said.get(line.holds, line.why)
        for line in battery.lines(subject, checks)
    }


def draw(found):
    """A figure of {method: verdicts}: what holds, and what is not claimed."""
    checks = [*battery.CHECKS]
    colors = {HOLDS: "#2a6f97", FAILS: "#c1121f", UNKNOWN: "#ffffff"}
    figure = Figure((7.5, 0.19 * len(found) + 1.8), layout="constrained")
    panel = figure.subplots()
    for row, said in enumerate(found.values()):
        for column, check in enumerate(checks):
            face = colors.get(said.get(check, UNKNOWN), "#e3e6e8")
            panel.add_patch(
                Rectangle((column - 0.45, row - 0.45), 0.9, 0.9, color=face)
            )
    panel.set(xlim=(-0.6, len(checks) - 0.4), ylim=(len(found) - 0.4, -0.6))
    panel.set_xticks(
        range(len(checks)),
        checks,
        rotation=60,
        ha="left",
        fontsize=8,
        rotation_mode="anchor",
    )
    panel.set_yticks(range(len(found)), found, fontsize=8)
    panel.xaxis.tick_top()
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    parts = {"holds": colors[HOLDS], "not claimed": "#e3e6e8", "fails": colors[FAILS]}
    fails = any(FAILS in said.values() for said in found.values())
    shown = [Patch(color=c, label=n) for n, c in parts.items() if n != "fails" or fails]
    figure.legend(handles=shown, loc="outside lower center", ncols=3, frameon=False)
    return figure


def letters():
    """a, b, ..., z, aa, ab, ...: a name for each reason."""
    for size in itertools.count(1):
        for name in itertools.product(string.ascii_lowercase, repeat=size):
            yield "".join(name)


def markdown(found):
    """The table of {method: verdicts}, and its reasons; what was not run is UNKNOWN."""
    reasons, names = {}, letters()
    lines = [
        f"| | {' | '.join(battery.CHECKS)} |",
        f"|---|{'---|' * len(battery.CHECKS)}",
    ]
    for method, said in found.items():
        cells = []
        for check in battery.CHECKS:
            why = said.get(check, UNKNOWN)
            if why not in (HOLDS, FAILS, UNKNOWN):
                why = reasons.setdefault(why, None) or _named(reasons, why, names)
            cells.append(why)
        lines.append(f"| {method} | {' | '.join(cells)} |")
    lines += ["", "| | not claimed, since |", "|---|---|"]
    lines += [f"| {letter} | {why} |" for why, letter in reasons.items()]
    return "\n".join(lines)


def _named(reasons, why, names):
    reasons[why] = next(names)
    return reasons[why]


def read(text):
    """{method: verdicts} of a table that `markdown` wrote."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    head = next(row for row in rows if row[1] == next(iter(battery.CHECKS)))
    why = {row[0]: row[1] for row in rows if len(row) == 2}
    return {
        row[0]: {c: why.get(cell, cell) for c, cell in zip(head[1:], row[1:])}
        for row in rows
        if len(row) == len(head) and row is not head
    }


if __name__ == "__main__":
    machine.prepare()
    print(markdown({method: verdicts(method) for method in methods()}))
