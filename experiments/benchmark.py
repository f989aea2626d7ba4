"""Measures how fast this machine trains the base run of a config, alone and in groups.

    python -m experiments.benchmark
    python -m experiments.benchmark --config=configs/mnist_vae.py --data_dir=DIR

Prints tables and writes them, with versions and hardware, as JSON. What is measured:

* images/s: steps and data order as a sweep runs them, without evaluation; the median over
  `rounds` rounds, in each of which every group trains for about `seconds`. `x one` is the rate over
  that of one run in the same round, `of peak` the floating-point operations of the step's matrix
  products a second over those of a 2048-cube product in the same round.
* start: seconds from a group's runs to the end of its first step, with nothing compiled before
  (cold), and again with its programs in the cache (warm).
* a checkpoint: seconds from the devices to the disk, and as a share of training at the default
  interval.
* launch: seconds from the command line of a sweep of one run to its first step, with nothing cached,
  neither programs nor data (cold), and again (warm, the median of three).
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
import jax.numpy as jnp
import numpy as np
from absl import flags
from tqdm import tqdm

from aevae import InputError, config, data
from aevae.runs import checkpoints, study, tables
from aevae.system import files, machine
from aevae.training.check import check_run, shaped
from aevae.training.layout import Pace, lay_out
from aevae.training.population import Population
from aevae.training.step import init_state, train_step
from experiments import command

CUBE = 2048


def define():
    command.define_config()
    flags.DEFINE_list("runs", ["1", "4", "16", "64"], "sizes of the groups")
    flags.DEFINE_list(
        "chunks", ["1", "2", "4", "8", "16"], "runs a device trains at a time"
    )
    flags.DEFINE_float("seconds", 1.0, "of training a round, about", lower_bound=0.01)
    flags.DEFINE_integer("rounds", 5, "of which the median is told", lower_bound=1)
    flags.DEFINE_bool("launch", True, "start sweeps, to measure how soon they train")
    flags.DEFINE_string(
        "out", None, "by default runs/benchmark_ and config's name .json"
    )


def main(args):
    file = args["config"].value
    sizes, chunks = (
        whole_numbers(args[name].value, name) for name in ("runs", "chunks")
    )
    out = Path(args["out"].value or f"runs/benchmark_{config.split(file)[0].stem}.json")
    (run,) = config.settle(config.load(file), command.overrides(args), {})
    with files.writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    # Beside the results: checkpoints are to go to a disk, not to a /tmp that may be memory.
    with files.writing(out), tempfile.TemporaryDirectory(dir=out.parent) as place:
        machine.prepare(Path(place) / "programs")
        dataset = data.of(run, args["data_dir"].value)
        soon = {"launch": launch(args, Path(place))} if args["launch"].value else {}
        found = measure(run, dataset, sizes, chunks, args, Path(place)) | soon
    found = {"config": file, "overrides": command.overrides(args)} | found
    with files.whole(out) as whole:
        whole.write((json.dumps(found, indent=2) + "\n").encode())
    print(f"{report(found)}\n\nWritten to {out}")
    return 0


def whole_numbers(texts, name):
    if not texts or not all(text.isdigit() and int(text) for text in texts):
        raise InputError(
            f"--{name} must be whole numbers above 0, not {','.join(texts)}"
        )
    return sorted(set(map(int, texts)))


def measure(run, dataset, sizes, chunks, args, place):
    """All that is measured within this process."""
    parameters, metrics, _ = check_run(run, dataset)
    products = step_products(run, dataset)
    layouts = {
        lay_out(size, parameters, chunk=chunk): None
        for size in sizes
        for chunk in (None, *chunks)
    }
    layouts = sorted(layouts, key=lambda lay: (lay.members, lay.devices, lay.chunk))
    groups = []
    for layout in watched(layouts, "compiling"):
        cold = Timed(run, dataset, layout, metrics).start
        groups.append(Timed(run, dataset, layout, metrics))
        groups[-1].cold = cold
        groups[-1].span()  # the first that is as long as the others
    cube = [(Product((CUBE, CUBE), (CUBE, CUBE)), 1)]
    peaks, shapes, rates = [], [], []
    for _ in watched(range(args["rounds"].value), "measuring"):
        peaks.append(speed(cube, 0.5))
        shapes.append(speed(products, 0.1))
        rates.append([group.rate(args["seconds"].value) for group in groups])
    operations = sum(p.operations * times for p, times in products) / run.batch
    solo = next((i for i, lay in enumerate(layouts) if lay.members == 1), None)
    rows = []
    for i, (group, layout) in enumerate(zip(groups, layouts)):
        own = [rate[i] for rate in rates]
        default = layout == lay_out(layout.members, parameters)
        rows.append(layout._asdict() | {"default": default})
        rows[-1] |= {"images_per_second": statistics.median(own)}
        if solo is not None:
            over = [rate[i] / rate[solo] for rate in rates]
            rows[-1]["over_one_run"] = statistics.median(over)
        # On a CPU the cube has all cores; elsewhere it has one device.
        share = 1 if jax.default_backend() == "cpu" else 1 / layout.devices
        of_peak = [rate * operations * share / peak for rate, peak in zip(own, peaks)]
        rows[-1]["of_peak"] = statistics.median(of_peak)
        rows[-1] |= {
            "start_cold_seconds": group.cold,
            "start_warm_seconds": group.start,
        }
        if default:
            rows[-1] |= group.checkpoint(place / "checkpoints")
    return {
        "objective": config.describe(run.objective),
        "dataset": dataset.name,
        "shape": list(dataset.shape),
        "batch": run.batch,
        "parameters": parameters,
        "machine": machine.describe(),
        "cube_flops": statistics.median(peaks),
        "products_flops": statistics.median(shapes),
        "operations_per_image": operations,
        "products": [
            {"left": p.left, "right": p.right, "times": times} for p, times in products
        ],
        "groups": rows,
    }


def watched(steps, what):
    """The steps, with a bar on a terminal."""
    return tqdm(steps, what, leave=False, disable=None)


class Timed:
    """A group of runs that differ in their seed, and the seconds of its `start`."""

    def __init__(self, run, dataset, layout, metrics):
        began = time.perf_counter()
        runs = [config.replace(run, "seed", seed) for seed in range(layout.members)]
        self._population = Population(runs, dataset, layout, metrics)
        self._begun = self._population.start()
        self._carry, self._epoch, self._pace = self._begun.carry, 0, Pace()
        self.span()  # of one step
        self.start = time.perf_counter() - began

    def span(self):
        """Images of the first steps of an epoch, and seconds with their share of its order's."""
        population, began = self._population, time.perf_counter()
        window = jax.block_until_ready(next(population.feed.windows(self._epoch)))
        ordered = time.perf_counter()
        stop = self._pace.begin(0, population.feed.end(window))
        self._carry = population.span(self._carry, window, 0, stop)
        self._pace.end(self._carry)
        ended, self._epoch = time.perf_counter(), self._epoch + 1
        images = stop * population.config.batch * len(population.runs)
        return images, ended - ordered + (ordered - began) * stop / population.steps

    def rate(self, seconds):
        """Images a second, of all runs together."""
        images = taken = 0
        while taken < seconds:
            more, longer = self.span()
            images, taken = images + more, taken + longer
        return images / taken

    def checkpoint(self, place):
        """What a checkpoint takes, the median of three."""
        seconds = []
        for number in range(3):
            self.span()
            began = time.perf_counter()
            arrays = self._population.dump(self._begun._replace(carry=self._carry))
            checkpoints.save(place, f"{number}-0", {"state": arrays})
            seconds.append(time.perf_counter() - began)
        shutil.rmtree(place)
        middle = statistics.median(seconds)
        return {
            "checkpoint_bytes": sum(values.nbytes for values in arrays.values()),
            "checkpoint_seconds": middle,
            "checkpoint_share": middle / (study.INTERVAL + middle),
        }


class Product:
    """A matrix product or convolution of float32 arrays, as it stands in a step."""

    def __init__(self, left, right, multiply=jnp.matmul, operations=None):
        self.left, self.right, self._multiply = list(left), list(right), multiply
        self.operations = operations or 2 * left[0] * left[1] * right[1]
        self._times = jax.jit(self._repeat)

    def _repeat(self, left, right, times):
        """The product so many times; each takes a number from the one before."""

        def body(_, left):
            out = self._multiply(left, right)
            return left.at[(0,) * left.ndim].set(jnp.clip(out.ravel()[0], -1, 1))

        return jax.lax.fori_loop(0, times, body, left)

    def seconds(self, budget):
        """Of one, from as many as fit the budget."""
        keys = jax.random.split(jax.random.key(0))
        pair = [jax.random.normal(k, s) for k, s in zip(keys, (self.left, self.right))]
        times, taken = 1, 0.0
        jax.block_until_ready(self._times(*pair, times))
        while True:
            began = time.perf_counter()
            jax.block_until_ready(self._times(*pair, times))
            taken = time.perf_counter() - began
            if taken > budget / 2:
                return taken / times
            times *= 2


def speed(products, budget):
    """Floating-point operations a second of some products, one after another."""
    done = sum(product.operations * times for product, times in products)
    return done / sum(p.seconds(budget) * times for p, times in products)


def step_products(run, dataset):
    """The matrix products of one step of a run, and how often each is done: [(product, times)]."""
    run = shaped(run, dataset)
    hp = {name: jnp.float32(value) for name, value in run.hparams.items()}
    key = jax.random.key(0)

    def start(hp):
        return init_state(
            run, data.none(None, data.rows(dataset.train, slice(9))), 0, hp
        )

    batch = run.binarization(key, data.rows(dataset.train, np.arange(run.batch)))
    state = jax.eval_shape(start, hp)
    traced = jax.make_jaxpr(lambda *args: train_step(run, *args))(state, batch, key, hp)
    found = {}
    for equation, times in equations(traced.jaxpr):
        left, right = (tuple(var.aval.shape) for var in equation.invars)
        params = {name: str(value) for name, value in equation.params.items()}
        first, before = found.get((left, right, *params.items()), (equation, 0))
        found[(left, right, *params.items())] = first, before + times
    return [(of(equation), times) for equation, times in found.values()]


def equations(jaxpr, times=1):
    """Every product in a jaxpr and those within it; a `while` counts once."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            yield equation, times
        turns = equation.params["length"] if equation.primitive.name == "scan" else 1
        for value in equation.params.values():
            for part in value if isinstance(value, (tuple, list)) else (value,):
                part = getattr(part, "jaxpr", part)
                if hasattr(part, "eqns"):
                    yield from equations(part, times * turns)


def of(equation):
    left, right = (var.aval.shape for var in equation.invars)
    sizes, numbers = equation.outvars[0].aval.size, equation.params["dimension_numbers"]
    if equation.primitive.name == "dot_general":
        summed = np.prod([left[axis] for axis in numbers[0][0]])
    else:
        summed = np.prod(right) / right[numbers.rhs_spec[0]]

    def multiply(a, b):
        return equation.primitive.bind(a, b, **equation.params)

    return Product(left, right, multiply, int(2 * sizes * summed))


def launch(args, place):
    """Seconds from the command line to the first step, [cold, warm]."""
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
    """What was measured, for people."""
    made = found["machine"]
    rows = [["runs", "devices", "chunk", "images/s", "a run", "x one", "of peak"]]
    rows[0] += ["start cold", "warm", "checkpoint"]
    for row in found["groups"]:
        total = row["images_per_second"]
        rows.append([str(row[name]) for name in ("members", "devices", "chunk")])
        rows[-1][2] += "*" if row["default"] else " "
        over = f"{row['over_one_run']:.2f}" if "over_one_run" in row else ""
        rows[-1] += [f"{total:,.0f}", f"{total / row['members']:,.0f}", over]
        rows[-1] += [f"{row['of_peak']:.0%}"]
        rows[-1] += [f"{row[f'start_{how}_seconds']:.2f} s" for how in ("cold", "warm")]
        rows[-1] += [
            f"{row['checkpoint_bytes'] / 1e6:.1f} MB {row['checkpoint_seconds']:.2f} s "
            f"{row['checkpoint_share']:.1%}"
            if row["default"]
            else ""
        ]
    lines = [
        "{config}: {objective} on {dataset}, {parameters:,} parameters, batch {batch}",
        "{processor}, {cores} cores; {devices} x {device}; Python {python}, jax {jax}, flax {flax}",
        "float32 products: {CUBE}-cube {cube:,.0f} GFLOP/s; a step's own one after another "
        + "{own:,.0f} GFLOP/s, {each:.3g} MFLOP an image",
    ]
    if "launch" in found:
        lines.append(
            "launch to first step: {cold_seconds:.1f} s with nothing cached, {warm_seconds:.1f} s again"
        )
    lines += ["", tables.aligned(rows), ""]
    lines.append(
        "* the default chunk; checkpoint: its share of training, at one in {every:.0f} s"
    )
    numbers = {
        "CUBE": CUBE,
        "every": study.INTERVAL,
        "cube": found["cube_flops"] / 1e9,
        "own": found["products_flops"] / 1e9,
        "each": found["operations_per_image"] / 1e6,
    }
    known = found | made | made["hardware"] | made["versions"] | found.get("launch", {})
    return "\n".join(lines).format(**known | numbers)


if __name__ == "__main__":
    command.run(define, main)
