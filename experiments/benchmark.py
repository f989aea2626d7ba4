"""Measures how fast this machine trains the base run of a config, alone and in groups.

    python -m experiments.benchmark
    python -m experiments.benchmark --config=configs/mnist_vae.py --data_dir=DIR

Prints a table, and writes it as JSON with versions and hardware. What is measured:

* images/s: the steps of an epoch in the order of a sweep, without evaluation; the median over `rounds`
  rounds, in each of which every group trains for about `seconds`. `x one` is the rate over that of one run
  in the same round; `of peak` and `of own` are the floating-point operations a second of the step's matrix
  products, over those of a 2048-cube product and of these products one after another in the same round.
* in a sweep: images/s with all that a sweep does in training, which is the steps, their order, and the
  evaluations; `evaluation` (at the end of a first epoch) and `host` are their shares of the time. On an
  accelerator `x given loops` is the rate by loops whose length the compiler knows over that by others.
* start: seconds from a group's runs to the end of its first iteration, with nothing compiled (cold), and
  again with its programs in the cache (warm). `programs` are those of a group from its start to its results,
  with the seconds that tracing and lowering take, and compilation with nothing cached.
* checkpoint: seconds from the devices to the disk, and as a share of training at the default interval.
* launch: seconds from the command line of a sweep of one run to its first iteration, with neither programs
  nor data cached (cold), and again (warm, the median of three).
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
from absl import flags
from jax import monitoring
from tqdm import tqdm

from aevae import InputError, config, data
from aevae.runs import checkpoints, study, tables
from aevae.system import files, machine
from aevae.training.check import check_run
from aevae.training.layout import Pace, chunk_of, lay_out
from aevae.training.loop import snapshots
from aevae.training.population import Population
from experiments import command, products

CUBE = 2048
ABOUT = """\
{config}: {objective} on {dataset}, {parameters:,} parameters, batch {batch}
{processor}, {cores} cores; {devices} x {device}; Python {python}, jax {jax}, flax {flax}
float32 products: {CUBE}-cube {cube:,.0f} GFLOP/s; a step's own one after another {own:,.0f} GFLOP/s, \
{each:.3g} MFLOP an image"""
LAUNCH = """
launch to first step: {cold_seconds:.1f} s with nothing cached, {warm_seconds:.1f} s again"""
COLUMNS = {  # of the table; a cell is blank where a group lacks a value
    "runs": "{members}",
    "devices": "{devices}",
    "chunk": "{chunk}{star}",
    "images/s": "{images_per_second:,.0f}",
    "a run": "{each:,.0f}",
    "x one": "{over_one_run:.2f}",
    "of peak": "{of_peak:.0%}",
    "of own": "{of_products:.0%}",
    "x given loops": "{over_given_loops:.2f}",
    "in a sweep": "{sweep_images_per_second:,.0f}",
    "evaluation": "{evaluation_share:.0%}",
    "host": "{host_share:.1%}",
    "start cold": "{start_cold_seconds:.2f} s",
    "warm": "{start_warm_seconds:.2f} s",
    "programs": "{programs}",
    "traced": "{tracing_seconds:.2f} s",
    "compiled": "{compilation_seconds:.2f} s",
    "checkpoint": "{megabytes:.1f} MB {checkpoint_seconds:.2f} s {checkpoint_share:.1%}",
}


def define():
    command.define_config()
    flags.DEFINE_list("runs", ["1", "4", "16", "64"], "sizes of the groups")
    flags.DEFINE_list(
        "chunks", ["1", "2", "4", "8", "16"], "how many runs a device trains at a time"
    )
    flags.DEFINE_float("seconds", 1.0, "of training a round, about", lower_bound=0.01)
    flags.DEFINE_integer("rounds", 5, "whose median is reported", lower_bound=1)
    flags.DEFINE_bool("launch", True, "also launch sweeps, and time them")
    flags.DEFINE_string(
        "profile", None, "a folder for JAX's trace of a second of the largest group"
    )
    flags.DEFINE_string(
        "out", None, "by default runs/benchmark_ and config's name .json"
    )


def main(args):
    file = args["config"].value
    sizes, chunks = (
        whole_numbers(args[name].value, name) for name in ("runs", "chunks")
    )
    out = Path(args["out"].value or f"runs/benchmark_{config.split(file)[0].stem}.json")
    overrides = command.overrides(args)
    (run,) = config.settle(config.load(file), overrides, {})
    with files.writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    # Beside the results: checkpoints are to go to a disk, not to a /tmp that may be memory.
    with files.writing(out), tempfile.TemporaryDirectory(dir=out.parent) as folder:
        place = Path(folder)
        machine.prepare(place / "programs")
        dataset = data.of(run, args["data_dir"].value)
        found = {"config": file, "overrides": overrides}
        if args["launch"].value:
            found["launch"] = launch(args, place)
        training = args["seconds"].value, args["rounds"].value
        traced = args["profile"].value
        found |= measure(run, dataset, sizes, chunks, *training, place, traced)
    with files.whole(out) as whole:
        whole.write((json.dumps(found, indent=2) + "\n").encode())
    print(f"{report(found)}\n\nWritten to {out}")
    return 0


def whole_numbers(texts, name):
    """The numbers of a flag, sorted, each once."""
    if not texts or not all(text.isdigit() and int(text) for text in texts):
        raise InputError(
            f"--{name} must be whole numbers above 0, not {','.join(texts)}"
        )
    return sorted(set(map(int, texts)))


def measure(run, dataset, sizes, chunks, seconds, rounds, place, traced=None):
    """Everything that is measured within this process.

    Args:
      run, dataset: a `Config` and its `data.DataSet`.
      sizes, chunks: how many runs a group has, and how many a device trains at a time.
      seconds, rounds: how long each group trains in a round, and how many rounds there are.
      place: a folder for checkpoints.
      traced: a folder for JAX's trace, if any.
    """
    checked = check_run(run, dataset)
    parameters = checked.parameters
    own, cube = products.of_step(run, dataset), [(products.cube(CUBE), 1)]
    wanted = [(size, chunk) for size in sizes for chunk in (None, *chunks)]
    own_chunk = {size: chunk_of(size, parameters) for size in sizes}
    wanted = [(size, min(chunk or own_chunk[size], size)) for size, chunk in wanted]
    layouts = {lay_out(size, chunk) for size, chunk in wanted}
    layouts = sorted(layouts, key=lambda lay: (lay.members, lay.devices, lay.chunk))
    groups = []
    for layout in watched(layouts, "compiling"):
        cold = Timed(run, dataset, layout, checked)
        groups.append(Timed(run, dataset, layout, checked))
        groups[-1].cold = cold.start
        groups[-1].compiled = cold.compiled
        del cold
        groups[-1].span()  # the first that is as long as the others
    peaks, speeds, rates = [], [], []  # a round each
    for _ in watched(range(rounds), "measuring"):
        peaks.append(products.speed(cube, 0.5))
        speeds.append(products.speed(own, 0.1))
        rates.append([group.rate(seconds) for group in groups])
    operations = products.operations(own) / run.batch
    solo = next((i for i, lay in enumerate(layouts) if lay.members == 1), None)
    rows = []
    for i, (group, layout) in enumerate(zip(groups, layouts)):
        # On a CPU the cube has all cores; elsewhere it has one device.
        share = 1 if jax.default_backend() == "cpu" else 1 / layout.devices
        default = layout.chunk == own_chunk[layout.members]
        row = layout._asdict() | {"default": default}
        row["images_per_second"] = statistics.median(rate[i] for rate in rates)
        if solo is not None:
            over = (rate[i] / rate[solo] for rate in rates)
            row["over_one_run"] = statistics.median(over)
        row["of_peak"] = statistics.median(
            rate[i] * operations * share / peak for rate, peak in zip(rates, peaks)
        )
        row["of_products"] = statistics.median(
            rate[i] * operations * share / own for rate, own in zip(rates, speeds)
        )
        row |= {"start_cold_seconds": group.cold, "start_warm_seconds": group.start}
        if default:
            row |= group.compiled | group.whole(seconds, rounds)
            row |= group.loops(seconds, rounds)
            row |= group.checkpoint(place / "checkpoints")
        rows.append(row)
    if traced:
        with jax.profiler.trace(traced):
            groups[-1].rate(seconds)
    return {
        "objective": config.describe(run.objective),
        "dataset": dataset.name,
        "shape": list(dataset.shape),
        "batch": run.batch,
        "parameters": parameters,
        "machine": machine.describe(),
        "cube_flops": statistics.median(peaks),
        "products_flops": statistics.median(speeds),
        "operations_per_image": operations,
        "products": [
            {"left": p.left, "right": p.right, "times": times} for p, times in own
        ],
        "groups": rows,
    }


def watched(steps, what):
    """The steps, with a progress bar on a terminal."""
    return tqdm(steps, what, leave=False, disable=None)


class Timed:
    """A group of runs that differ in their seed alone, timed.

    `start` is in seconds; `compiled` says how many programs a group has, and what they cost.
    """

    def __init__(self, run, dataset, layout, checked):
        with Compilation() as compilation:
            began = time.perf_counter()
            runs = [config.replace(run, "seed", seed) for seed in range(layout.members)]
            self._population = Population(runs, dataset, layout, checked)
            self._begun = self._population.start()
            self._run = self._begun.run
            self._pace = Pace(first=self._population.piece or 1)
            windows = self._population.feed.windows(0, 0, self._population.epochs)
            self._window = next(windows)
            windows.close()
            self.span()  # as short as they come
            self.start = time.perf_counter() - began
            next(self._population.evaluate(self._run, 1))  # the first block
        self.compiled = compilation.found()

    def span(self, first=0):
        """Trains the first steps of an epoch; returns images and seconds, with those of their order."""
        population, began = self._population, time.perf_counter()
        population.feed.order(0)
        ordered = time.perf_counter()
        end = population.feed.end(self._window)
        stop = self._pace.begin(first, end, population.cut)
        self._run = population.advance(self._run, self._window, first, stop)
        self._pace.end(self._run)
        ended, steps = time.perf_counter(), stop - first
        images = steps * population.config.batch * len(population.runs)
        return images, ended - ordered + (ordered - began) * steps / population.steps

    def rate(self, seconds):
        """Images a second of all runs together, over so many seconds or more."""
        images = taken = 0
        while taken < seconds:
            more, longer = self.span()
            images, taken = images + more, taken + longer
        return images / taken

    def whole(self, seconds, rounds):
        """Images a second of training as a sweep does it, and what evaluation and the host take of it."""
        population, found = self._population, []
        steps, units, window = population.steps, population.units, self._window
        length = population.feed.length
        advance, busy = population.advance, []

        def timed(*args):
            began = time.perf_counter()
            run = jax.block_until_ready(advance(*args))
            busy.append(time.perf_counter() - began)
            return run

        population.advance = timed
        for _ in range(rounds):
            busy.clear()
            before, began = population.start(), time.perf_counter()
            for now in snapshots(population, before):
                taken = time.perf_counter() - began
                if taken > seconds or now.epoch == population.epochs:
                    break
            images = (now.epoch * steps + now.step) * population.config.batch
            host = 1 - sum(busy) / taken
            busy.clear()
            run = timed(timed(now.run, window, 0, length), window, steps, units)
            trained, evaluated = busy[0] * steps / length, busy[1]
            share = evaluated / (trained + evaluated)
            found.append((images * len(population.runs) / taken, share, host))
        self._run, population.advance = run, advance
        names = "sweep_images_per_second", "evaluation_share", "host_share"
        return dict(zip(names, map(statistics.median, zip(*found))))

    def loops(self, seconds, rounds):
        """The rate by loops of known length over that by loops whose length is given, in turn."""
        population, ratios = self._population, []
        known = population.piece
        if known is None:
            return {}
        for _ in range(rounds + 1):
            rates = []
            for population.piece in (known, None):
                self.span()  # which may compile
                rates.append(self.rate(seconds))
            ratios.append(rates[0] / rates[1])
        population.piece = known
        return {"over_given_loops": statistics.median(ratios[1:])}

    def checkpoint(self, place):
        """Size and seconds of a checkpoint, the median of three, and their share of training."""
        seconds = []
        for number in range(3):
            self.span()
            began = time.perf_counter()
            arrays = self._population.dump(self._begun._replace(run=self._run))
            checkpoints.save(place, f"{number}-0", {"state": arrays})
            seconds.append(time.perf_counter() - began)
        shutil.rmtree(place)
        middle = statistics.median(seconds)
        return {
            "checkpoint_bytes": sum(values.nbytes for values in arrays.values()),
            "checkpoint_seconds": middle,
            "checkpoint_share": middle / (study.INTERVAL + middle),
        }


class Compilation:
    """A context that counts what JAX compiles, and the seconds that this takes."""

    def __enter__(self):
        self._compiled, self._traced = [], []
        monitoring.register_event_duration_secs_listener(self._add)
        return self

    def __exit__(self, *_):
        monitoring.unregister_event_duration_listener(self._add)

    def _add(self, name, seconds, **_):
        now = time.perf_counter()
        if name.endswith("/backend_compile_duration"):
            self._compiled.append(seconds)
        elif name.endswith(("/jaxpr_trace_duration", "/jaxpr_to_mlir_module_duration")):
            while self._traced and self._traced[-1][0] >= now - seconds:
                self._traced.pop()  # of a function within this one
            self._traced.append((now - seconds, seconds))

    def found(self):
        """The number of programs, and seconds of tracing with lowering and of compilation."""
        return {
            "programs": len(self._compiled),
            "tracing_seconds": sum(seconds for _, seconds in self._traced),
            "compilation_seconds": sum(self._compiled),
        }


def launch(args, place):
    """Seconds from the command line of a sweep to its first iteration, cold and warm."""
    values = command.overrides(args)
    seed = values.pop("seed", 0)
    given = [f"--config.{name}={text}" for name, text in values.items()]
    given.append(f"--config={args['config'].value}")
    if args["data_dir"].value:
        given.append(f"--data_dir={args['data_dir'].value}")
    environment = os.environ | {"XDG_CACHE_HOME": str(place / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    taken = []
    for number in range(4):
        workdir = place / f"launch{number}"
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "experiments.sweep", *given, f"--workdir={workdir}"]
            + [f"--sweep=seed={seed}", "--checkpoint_seconds=0"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        # There is a checkpoint at once after the first step.
        while not checkpoints.find(workdir / "checkpoints" / "0000"):
            if process.poll() is not None:
                raise InputError(process.communicate()[1].strip().splitlines()[-1])
            time.sleep(0.005)
        taken.append(time.perf_counter() - began)
        process.kill()
        process.communicate()
    return {"cold_seconds": taken[0], "warm_seconds": statistics.median(taken[1:])}


def report(found):
    """What was measured, as a table and lines of text."""
    lines = [[*COLUMNS]]
    for row in found["groups"]:
        values = row | {"star": "*" if row["default"] else " "}
        values["each"] = row["images_per_second"] / row["members"]
        if "checkpoint_bytes" in row:
            values["megabytes"] = row["checkpoint_bytes"] / 1e6
        lines.append([_cell(text, values) for text in COLUMNS.values()])
    empty = [name for name, *cells in zip(*lines) if not any(map(str.strip, cells))]
    shown = [name not in empty for name in COLUMNS]
    lines = [
        [cell for cell, is_shown in zip(line, shown) if is_shown] for line in lines
    ]
    about = found["machine"]
    known = found | about | about["hardware"] | about["versions"]
    numbers = {
        "CUBE": CUBE,
        "cube": found["cube_flops"] / 1e9,
        "own": found["products_flops"] / 1e9,
        "each": found["operations_per_image"] / 1e6,
    }
    text = ABOUT.format(**known | numbers)
    if "launch" in found:
        text += LAUNCH.format(**found["launch"])
    return (
        f"{text}\n\n{tables.aligned(lines)}\n\n* the default chunk; checkpoint: its share of "
        f"training, at one in {study.INTERVAL:.0f} s"
    )


def _cell(text, values):
    try:
        return text.format(**values)
    except KeyError:
        return ""


if __name__ == "__main__":
    command.run(define, main)
