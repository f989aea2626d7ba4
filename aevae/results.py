"""A run folder: written while a sweep trains, and read back."""

import csv
import dataclasses
import functools
import io
import json
import struct
import time
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from aevae import InputError, config, data, files, plan

IMAGES = 10  # test examples that a folder keeps, to draw reconstructions of


class Table:
    """A CSV file. A cell that a row lacks is blank, never 0."""

    def __init__(self, path, columns):
        self.path, self.columns = Path(path), columns

    def write(self, rows):
        """Makes these the rows of the table, at once; the file is not touched if they are."""
        files.replace_text(
            self.path, self._text([dict(zip(self.columns, self.columns)), *rows])
        )

    def add(self, rows):
        """Adds rows at the end."""
        files.append(self.path, self._text(rows).encode())

    def _text(self, rows):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows(
            [_cell(row.get(name)) for name in self.columns] for row in rows
        )
        return text.getvalue()


def _cell(value):
    """Numbers in the fewest digits that give the float32 back."""
    return "" if value is None else str(value)


def read(path):
    """The rows of a table as dicts: numbers where they are numbers, None where blank.

    A last row that was being written when the process died is left out.
    """
    lines = Path(path).read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    return [{k: _number(v) for k, v in row.items()} for row in csv.DictReader(whole)]


def _number(text):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text or None


class Events:
    """TensorBoard's event files: a folder a run, the scalars of the curves by step.

    What was there is written anew. No file stays open, so that a group may have any number of runs.
    """

    def __init__(self, path, names):
        from tensorboardX.proto.event_pb2 import Event

        self._event = Event
        self._files = [Path(path) / name / "events.out.tfevents.0" for name in names]
        head = _record(Event(wall_time=time.time(), file_version="brain.Event:2"))
        for file in self._files:
            with files.writing(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(head)

    def add(self, member, step, scalars):
        event = self._event(wall_time=time.time(), step=step)
        for tag, value in scalars.items():
            event.summary.value.add(tag=tag, simple_value=value)
        files.append(self._files[member], _record(event))


def _record(event):
    """A TFRECORD: length, its checksum, the bytes, their checksum."""
    from tensorboardX.record_writer import masked_crc32c

    content = event.SerializeToString()
    return b"".join(
        part + struct.pack("<I", masked_crc32c(part))
        for part in (struct.pack("<Q", len(content)), content)
    )


def write_json(path, content):
    files.replace_text(Path(path), json.dumps(content, indent=2) + "\n")


def save(path, state, examples):
    """The parameters and step of one run, and some test examples, by name in one .npz file."""
    trees = {"params": state.params, "examples": examples}
    leaves = {_path(path): leaf for path, leaf in jax.tree.leaves_with_path(trees)}
    with files.whole(Path(path)) as file:
        np.savez(file, step=state.step, **leaves)


def _path(keys):
    return "/".join(str(key.key) for key in keys)


def _nested(leaves):
    tree = {}
    for path, leaf in leaves.items():
        *folders, name = path.split("/")
        functools.reduce(lambda node, key: node.setdefault(key, {}), folders, tree)[
            name
        ] = leaf
    return tree


class Trained:
    """A trained run: what its folder says of it, and its model as functions of data.

    Images are [N, H, W, C]: uint8, bool, or float32 in [0, 1]; or a batch, a dict of `image` and what
    else the model reads. To build on, there are `config`, `params`, `hp` (at the last step), `row`
    (of results.csv) and `examples`, the first test examples as they were evaluated.
    """

    def __init__(self, config, params, step, row, examples):
        self.config, self.row, self.examples = config, row, examples
        self.step = step
        self.params = jax.tree.map(jnp.asarray, params)
        hp = {name: jnp.float32(value) for name, value in config.hparams.items()}
        self.hp = config.schedule(hp, jnp.int32(step))
        self._programs = {}

    def encode(self, images):
        """q(z|x), [N, Z]: its `mean` is the code."""
        return self._apply("encode", self._batch(images))

    def decode(self, z, batch=None):
        """p(x|z), [N, H, W, C]: its `mean` is the image."""
        z = jax.tree.map(jnp.asarray, z)
        return self._apply("decode", z, batch or {}, self.hp)

    def reconstruct(self, images):
        """The mean image of the mean code, [N, H, W, C]."""
        batch = self._batch(images)
        return self.decode(self.encode(batch).sample(None), batch).mean

    def sample(self, key, count, batch=None):
        """Mean images of `count` codes drawn from the prior, [count, H, W, C].

        `batch` has what the model reads beside the image: the labels of a conditional VAE.
        """
        codes = self._apply("prior", {}).sample(key, count)
        return self.decode(codes, batch).mean

    def _batch(self, images):
        batch = images if isinstance(images, dict) else {"image": images}
        image, shape = np.asarray(batch["image"]), tuple(self.config.model.shape)
        known = image.dtype == np.uint8 or image.dtype.kind in "bf"
        if image.shape[1:] != shape or not known:
            raise InputError(
                f"images must be uint8, bool or floats, [N, {', '.join(map(str, shape))}], "
                f"not {image.dtype} {list(image.shape)}"
            )
        return data.none(None, batch | {"image": jnp.asarray(image)})

    def _apply(self, method, *args):
        if method not in self._programs:
            apply = functools.partial(self.config.model.apply, method=method)
            self._programs[method] = jax.jit(apply)
        return self._programs[method](self.params, *args)


def load(workdir, base=None, *, last=False, **where):
    """The one run of a folder whose columns are as given, as in `load("runs/digits", beta=4)`.

    What is not named must not matter: several runs that match are an error, and so is none.
    `base` is the Config that the sweep was given, where it was not given a config file. Where a
    run keeps its best parameters, they are what is loaded, unless the `last` are asked for.
    """
    rows, names = rows_of(workdir), record_of(workdir)["columns"]
    for name in where:
        if name not in names:
            raise InputError(
                f"{workdir} tells runs apart by {', '.join(names)}, not {name!r}"
            )
    found = [row for row in rows if all(_same(row[k], v) for k, v in where.items())]
    if len(found) != 1:
        near = found or rows
        there = {k: list(dict.fromkeys(str(row[k]) for row in near)) for k in names}
        values = "; ".join(
            f"{k} {', '.join(v)}" for k, v in there.items() if len(v) > 1
        )
        asked = ", ".join(f"{k}={v}" for k, v in where.items()) or "no condition"
        count = len(found) or "none"
        raise InputError(
            f"{count} of the runs of {workdir} match {asked}; there are {values}"
        )
    return open_run(workdir, found[0], base, last)


def open_run(workdir, row, base=None, last=False):
    """The trained run that a row of results.csv is of."""
    workdir, number = Path(workdir), row["run"]
    run = declared(workdir, base)[number]
    path = params_path(workdir, number, last and run.keep == "best")
    _existing(workdir, path.relative_to(workdir))
    try:
        with path.open("rb") as file, np.load(file) as archive:
            leaves = dict(archive)
    except (zipfile.BadZipFile, ValueError, EOFError):
        raise InputError(
            f"{path} is damaged: delete it, and the sweep's command writes it again"
        ) from None
    step, trees = leaves.pop("step"), _nested(leaves)
    shape = trees["examples"]["image"].shape[1:]
    run = dataclasses.replace(run, model=run.model.clone(shape=shape))
    return Trained(run, trees["params"], step, row, trees["examples"])


def params_path(workdir, number, last=False):
    """Where a run's parameters are: those that its row describes, or beside them the last."""
    return Path(workdir) / "params" / f"{number:04d}{'.last' if last else ''}.npz"


def declared(workdir, base=None):
    """The configs of a folder's runs, from what its commands asked for."""
    runs = []
    for sweep in record_of(workdir)["sweeps"]:
        if base is None and sweep["file"] is None:
            raise InputError(
                f"{workdir} was trained from a Config, not a file: pass it as base=..."
            )
        own = base or config.load(Path(workdir) / sweep["file"], sweep.get("part"))
        more = plan.settle(own, sweep["overrides"], sweep["grid"])
        names = plan.names(own, sweep["grid"])
        runs = plan.join(runs, more, names) if runs else more
    return runs


def evaluated_path(workdir, number):
    """Where it is kept what evaluations found of a run."""
    return Path(workdir) / "evaluated" / f"{number:04d}.json"


def evaluated(workdir, number):
    """{measure: {"options", "values", ...}} of the parameters that a run has now; {} if of none."""
    try:
        known = json.loads(evaluated_path(workdir, number).read_text())
        same = known["params"] == files.digest(params_path(workdir, number))
        return known["measures"] if same else {}
    except (OSError, ValueError, KeyError):
        return {}


def merged(workdir, columns, rows):
    """Columns and rows of results.csv, and what evaluations found, before the validation's."""
    found = []
    for row in rows:
        own = evaluated(workdir, int(row["run"])).values()
        found.append({k: v for measure in own for k, v in measure["values"].items()})
    names = dict.fromkeys(name for values in found for name in values)
    names = [name for name in names if name not in columns]
    at = list(columns).index("validation_elbo")
    columns = [*columns[:at], *names, *columns[at:]]
    return columns, [row | values for row, values in zip(rows, found)]


def extend(workdir):
    """Writes results.csv anew, with what evaluations have found. Nothing else in it changes."""
    path = _existing(workdir, "results.csv")
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows, columns = list(reader), reader.fieldnames
    columns, rows = merged(workdir, columns, rows)
    Table(path, columns).write(rows)


def record_of(workdir):
    """What config.json says."""
    path = _existing(workdir, "config.json")
    try:
        record = json.loads(path.read_text())
        record["sweeps"]
    except (ValueError, KeyError):
        raise InputError(
            f"{workdir}/config.json is damaged, or another version's"
        ) from None
    return record


def rows_of(workdir):
    """The rows of results.csv: one for each run of the groups that are finished."""
    rows = read(_existing(workdir, "results.csv"))
    if not rows:
        raise InputError(f"{workdir} has no finished run yet")
    return rows


def _existing(workdir, name):
    path = Path(workdir) / name
    if not path.is_file():
        raise InputError(f"{workdir} is not a run folder: it has no {name}")
    return path


def _same(cell, value):
    if isinstance(cell, (int, float)) and isinstance(value, (int, float)):
        return np.float32(cell) == np.float32(value)
    return str(cell) == config.describe(value)


def summary(workdir, only=None):
    """A table as text: the results of each point of the grid, mean ± deviation over its seeds.

    The deviation is that of the runs themselves, with n - 1; diverged runs are left out. Of what
    evaluations found, `only` these columns; without them, what the sweep itself found.
    """
    rows, names = rows_of(workdir), record_of(workdir)["columns"]
    if only is None:
        own = [evaluated(workdir, row["run"]).values() for row in rows]
        hidden = {n for of in own for measure in of for n in measure["values"]}
        rows = [{k: v for k, v in row.items() if k not in hidden} for row in rows]
    else:
        kept = {*names, *only, "diverged"}
        rows = [{k: v for k, v in row.items() if k in kept} for row in rows]
    points = [n for n in names if n not in ("run", "seed")]
    points = [n for n in points if len({row[n] for row in rows}) > 1] or points[:1]
    measures = [
        name
        for name in list(rows[0])[len(names) :]
        if any(isinstance(row[name], (int, float)) for row in rows)
        and name not in ("epoch", "epochs", "diverged", "validation_distortion")
    ]
    grouped = {}
    for row in rows:
        grouped.setdefault(tuple(row[n] for n in points), []).append(row)
    lines = [[*points, "runs", *measures]]
    for point, own in grouped.items():
        sound = [row for row in own if row["diverged"] is None]
        lines.append([*map(str, point), f"{len(sound)}/{len(own)}"])
        for name in measures:
            values = [row[name] for row in sound if row[name] is not None]
            mean = f"{np.mean(values):.2f}" if values else ""
            spread = f" ±{np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
            lines[-1].append(mean + spread)
    return aligned(lines)


def aligned(rows):
    """Rows of texts as a table, each column to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows
    )
