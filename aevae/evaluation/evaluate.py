"""Evaluates every run of a folder, and adds what it finds to the folder's results."""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from aevae import InputError, Interrupted, data
from aevae.evaluation import likelihood, measures
from aevae.models.distributions import Code
from aevae.runs import evaluated, record, tables, trained
from aevae.runs.progress import say
from aevae.runs.tables import Table
from aevae.system import files, machine
from aevae.system.signals import Signals
from aevae.training.layout import Members, Pace, lay_out

MEASURES = tuple(measures.ALL)
ASKED = ("train_likelihood", "ais")  # only measured where they are asked for
OPTIONS = {  # of each measure: what its values depend on beside the run
    "likelihood": ("k",),
    "train_likelihood": ("k",),
    "latents": ("minibatch",),
    "ais": ("chains", "steps", "examples"),
}
SAVED = 30.0  # seconds between what is kept of unfinished work


class Group(NamedTuple):
    """Finished runs of one network, their rows, and what was trained of them."""

    numbers: list[int]
    rows: list[dict]
    runs: list[Any]
    states: list[Any]  # (params, step)


def run(
    workdir,
    asked=None,
    *,
    k=5000,
    chains=16,
    steps=500,
    examples=100,
    minibatch=0,
    data_dir=None,
    base=None,
):
    """Evaluates every finished run of a folder that has not diverged; the columns that were found.

    What was found before, of the same parameters and with the same numbers, is kept. results.csv has
    the values beside the sweep's own, latents.csv those of each latent.

    Args:
      workdir: a run folder.
      asked: some of MEASURES, which is an error where one has no meaning for the data; by
        default all that have one but those of ASKED.
      k: samples of the importance-weighted bound.
      chains, steps, examples: of annealed importance sampling, for the first test examples.
      minibatch: how large the batches are of which total correlation and mutual information are
        estimated as well, by objectives.stratified and weighted; 0 for no such estimates.
      data_dir: where TFDS has prepared data sets.
      base: the Config that the sweep was given, where it was not given a file.
    Raises:
      InputError: whatever is wrong with the input, before any work.
      Interrupted: SIGTERM or Ctrl-C. What was found is kept, and so is the work of now.
    """
    machine.prepare()
    numbers = {"k": k, "chains": chains, "steps": steps, "examples": examples}
    for name, value in numbers.items():
        if value < 1:
            raise InputError(
                f"{name} must be a whole number of at least 1, not {value}"
            )
    if minibatch < 0 or minibatch == 1:
        raise InputError(f"minibatch must be 0, or at least 2, not {minibatch}")
    for name in asked or ():
        if name not in MEASURES:
            raise InputError(
                f"there is no measure {name!r}; there are {', '.join(MEASURES)}"
            )
    numbers |= {"minibatch": minibatch}
    record.read(workdir)
    with files.lock(workdir):
        groups = list(_groups(workdir, base))
        sets = {}
        work = [
            (group, measure, _dataset(group, sets, workdir, data_dir))
            for group in groups
            for measure in _meaningful(group, asked, sets, workdir, data_dir)
        ]
        for _, measure, dataset in work:
            count = len(dataset.test["image"])
            if measure == "latents" and minibatch > count:
                raise InputError(
                    f"minibatch must be at most the {count} test examples, not {minibatch}"
                )
        with Signals() as signals:
            for group, measure, dataset in work:
                options = {n: numbers[n] for n in OPTIONS.get(measure, ())}
                if not _known(workdir, group, measure, options):
                    _evaluate(workdir, group, measure, options, dataset, signals)
                    tables.extend(workdir)
                    _write_latents(workdir)
        tables.extend(workdir)
        _write_latents(workdir)
    return list(
        dict.fromkeys(
            name
            for group, measure, _ in work
            for number in group.numbers
            for name in evaluated.of(workdir, number)[measure]["values"]
        )
    )


def _groups(workdir, base):
    """The finished runs, group by group; those that diverged are said to be left out."""
    rows = {row["run"]: row for row in tables.results(workdir)}
    declared = record.declared(workdir, base)
    diverged = [n for n, row in rows.items() if row["diverged"] is not None]
    if diverged:
        names = ", ".join(map(str, diverged))
        say(f"{workdir}: run {names} diverged, and is left out")
    for indices in record.read(workdir)["groups"]:
        own = [n for n in indices if n in rows and n not in diverged]
        if own:
            opened = [trained.open_run(workdir, rows[n], base) for n in own]
            states = [(run.params, run.step) for run in opened]
            yield Group(own, [rows[n] for n in own], [declared[n] for n in own], states)
    if len(diverged) == len(rows):
        raise InputError(f"{workdir}: every run has diverged: nothing to evaluate")


def _dataset(group, sets, workdir, data_dir):
    """What the group was trained on: its sha256 must be one that the folder knows."""
    found = data.of(group.runs[0], data_dir, known=sets)
    known = {
        entry["sha256"]
        for environment in _environments(workdir)
        for entry in environment["data"]
    }
    if known and found.digest not in known:
        raise InputError(
            f"{workdir} was trained on other data than {found.name} with sha256 "
            f"{found.digest[:12]}..."
        )
    return found


def _environments(workdir):
    try:
        return json.loads((Path(workdir) / "environment.json").read_text())
    except (OSError, ValueError):
        return []


def _meaningful(group, asked, sets, workdir, data_dir):
    """The measures that have a meaning for a group; an error where one that was asked has none."""
    dataset = _dataset(group, sets, workdir, data_dir)
    bounded = group.rows[0]["elbo"] is not None
    code = _shapes(group, dataset)
    reasons = {
        "likelihood": None if bounded else "the objective has no bound",
        "train_likelihood": None if bounded else "the objective has no bound",
        "latents": None
        if bounded and "rate" in code
        else "q(z|x) and p(z) are not diagonal Gaussians with a bound",
        "reconstruction": None,
        "representation": _without_labels(dataset, code),
        "disentanglement": None
        if dataset.factors and "code" in code
        else f"{dataset.name} has no factors"
        if "code" in code
        else "the code is not one vector",
        "ais": None
        if bounded and _continuous(group, dataset)
        else "AIS needs a bound and a continuous code",
    }
    for name in asked or [name for name in MEASURES if name not in ASKED]:
        if reasons[name] is None:
            yield name
        elif asked:
            raise InputError(f"{name} has no meaning here: {reasons[name]}")


def _without_labels(dataset, code):
    if "label" not in dataset.train or "label" not in dataset.test:
        return f"{dataset.name} has no labels"
    return None if "code" in code else "the code is not one vector"


def _one(group, dataset):
    """A population of the group's first run, and what it is given, as shapes."""
    population = _members(group, dataset)
    given = jax.tree.map(
        lambda v: jax.ShapeDtypeStruct(v.shape[1:], v.dtype), _given(group, population)
    )
    return population.config, given


def _shapes(group, dataset):
    run, given = _one(group, dataset)
    of, _ = likelihood.codes(run, jax.random.key(0), _small(run, dataset))
    return of(given)


def _small(run, dataset):
    return {
        name: values[:2]
        for name, values in data.held_out(run.binarization, dataset, "test").items()
    }


def _continuous(group, dataset):
    run, given = _one(group, dataset)
    batch = data.none(None, _small(run, dataset))

    def code(params, step, hp):
        return run.model.apply(params, batch, None, run.schedule(hp, step)).q

    return not isinstance(jax.eval_shape(code, *given), Code)


def _members(group, dataset):
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(group.states[0][0]))
    layout = lay_out(len(group.runs), size)
    return Members(group.runs, dataset, layout)


def _given(group, population):
    params, step = jax.tree.map(lambda *v: np.stack(v), *group.states)
    placed = jax.tree.map(population.spread, (params, np.int32(step)))
    return *placed, jax.device_put(population.hp, population.along)


def _known(workdir, group, measure, options):
    found = [evaluated.of(workdir, n).get(measure) for n in group.numbers]
    return all(own and own["options"] == options for own in found)


def _evaluate(workdir, group, measure, options, dataset, signals):
    """Evaluates the group's runs by one measure, and keeps what it finds of each."""
    work = Work(workdir, group, measure, options, dataset, signals)
    found = measures.ALL[measure](work, **options)
    for number, (values, *more) in zip(group.numbers, found):
        entry = {"options": options, "values": _written(values)}
        if more:
            entry["latents"] = {k: _written(v) for k, v in more[0].items()}
        _keep(workdir, number, measure, entry)
    work.done()


def _written(values):
    """In the digits of a float32."""
    if isinstance(values, dict):
        return {name: _written(v) for name, v in values.items()}
    if isinstance(values, (list, tuple, np.ndarray)):
        return [_written(v) for v in values]
    return None if values is None else float(f"{float(values):.7g}")


def _keep(workdir, number, measure, entry):
    path = evaluated.path(workdir, number)
    digest = files.digest(record.params_path(workdir, number))
    known = evaluated.of(workdir, number) | {measure: entry}
    with files.writing(path):
        path.parent.mkdir(exist_ok=True)
    files.write_json(path, {"params": digest, "measures": known})


class Work:
    """One measure of one group: its members on the devices, its data, and how far it is."""

    def __init__(self, workdir, group, measure, options, dataset, signals):
        self.group, self.dataset = group, dataset
        self.members = _members(group, dataset)
        self.config = self.members.config
        self.given = _given(group, self.members)
        self.name = f"{measure}, run {group.numbers[0]} to {group.numbers[-1]}"
        self._signals, self._turn = signals, 0
        self._place = Path(workdir) / "evaluated" / "unfinished.npz"
        digests = [files.digest(record.params_path(workdir, n)) for n in group.numbers]
        about = {"measure": measure, "options": options, "params": digests}
        about |= {"layout": list(self.members.layout)}
        self._about = json.dumps(about, sort_keys=True)

    def held(self, part, limit=None):
        """A split as it is evaluated."""
        return {
            name: values[:limit]
            for name, values in data.held_out(
                self.config.binarization, self.dataset, part
            ).items()
        }

    def key(self, use):
        """The same for every run."""
        root = jax.random.fold_in(jax.random.key(data.EVALUATION_SEED), 3)
        return jax.random.fold_in(root, use)

    def through(self, f, shapes, units, given, *shared):
        """The carry, on the host, of `f` over all its units, [M, ...]; shown, and kept at times."""
        turn, self._turn = self._turn, self._turn + 1
        run = self.members.everyone(f, donate_argnums=0)
        first, carry = self._resumed(turn, shapes)
        shared = jax.device_put(shared, self.members.everywhere)
        pace, saved = Pace(), time.perf_counter()
        with tqdm(
            total=units,
            initial=first,
            desc=self.name,
            bar_format="{desc} {percentage:3.0f}%|{bar:16}| {remaining} left",
            mininterval=0.5,
            leave=False,
            disable=None,
        ) as bar:
            spoke = began = time.perf_counter()
            for start, carry in self.members.work(  # noqa: B020, the last is spent
                run, carry, given, shared, first, units, pace
            ):
                bar.update(start - bar.n)
                now = time.perf_counter()
                if bar.disable and now - spoke > 10:
                    left = (now - began) * (units - start) / (start - first)
                    say(f"{self.name}: {start / units:.0%}, {left:.0f} s left")
                    spoke = now
                if self._signals.caught or now - saved > SAVED:
                    with self._signals.saving:
                        self._save(turn, start, carry)
                    saved = now
                if self._signals.caught:
                    raise Interrupted(
                        f"{self.name}: {start / units:.0%} is kept; the same command goes on "
                        "from there",
                        self._signals.caught,
                    )
        count = len(self.group.runs)
        return jax.tree.map(lambda v: np.asarray(v)[:count], carry)

    def stop(self):
        """Leaves between two pieces of work of the host, if it is asked to."""
        if self._signals.caught:
            raise Interrupted(
                f"{self.name}: interrupted; the same command begins it anew",
                self._signals.caught,
            )

    def _resumed(self, turn, shapes):
        zeros = self.members.zeros(shapes)
        try:
            with np.load(self._place) as kept:
                leaves, tree = jax.tree.flatten(zeros)
                if kept["about"].item() == f"{turn} {self._about}":
                    own = [kept[f"leaf{i}"] for i in range(len(leaves))]
                    say(f"{self.name}: goes on from {kept['start']} units of work")
                    carry = jax.device_put(
                        jax.tree.unflatten(tree, own), self.members.along
                    )
                    return int(kept["start"]), carry
        except (OSError, ValueError, KeyError, EOFError):
            pass
        return 0, zeros

    def _save(self, turn, start, carry):
        leaves = {
            f"leaf{i}": np.asarray(v) for i, v in enumerate(jax.tree.leaves(carry))
        }
        with files.writing(self._place):
            self._place.parent.mkdir(exist_ok=True)
        with files.whole(self._place) as file:
            np.savez(file, about=f"{turn} {self._about}", start=start, **leaves)

    def done(self):
        """There is no unfinished work."""
        self._place.unlink(missing_ok=True)

    def shapes(self):
        """Of what one run is given."""
        return jax.tree.map(
            lambda v: jax.ShapeDtypeStruct(v.shape[1:], v.dtype), self.given
        )

    def encoded(self, held, use):
        """What `marginal.encode` finds of every run, [M, N, ...]."""
        of, blocks = likelihood.codes(self.config, self.key(use), held)

        def f(carry, given, shared):
            return likelihood.encode(self.config, self.key(use), carry, given, shared)

        return self.through(f, of(self.shapes()), blocks, self.given, held)


def _write_latents(workdir):
    """latents.csv: of each run and latent its rate, and the variance of its mean over the data."""
    names = record.read(workdir)["columns"]
    rows = []
    for row in tables.results(workdir):
        found = evaluated.of(workdir, row["run"]).get("latents", {})
        for latent, values in enumerate(zip(*found.get("latents", {}).values())):
            own = dict(zip(found["latents"], values)) | {"latent_index": latent}
            rows.append({n: row[n] for n in names} | own)
    if rows:
        columns = [*names, "latent_index", "rate", "mean_variance"]
        Table(Path(workdir) / "latents.csv", columns).write(rows)
