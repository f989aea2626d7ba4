"""Pictures of runs while they train, for TensorBoard: reconstructions of test examples, and samples."""

import jax
import numpy as np

from aevae import InputError, config
from aevae.runs.progress import say
from aevae.training.given import is_unit
from aevae.training.trained_run import EXAMPLES, Trained

TIMES = 10  # that a run is pictured, beside the last: as many as TensorBoard keeps
VECTORS = "no pictures for TensorBoard: the data are vectors, not images"
SIDE = 64  # pixels, to which smaller images are enlarged


class Pictures:
    """Makes pictures of some runs of a group at its evaluations; no bit of training depends on them.

    Args:
      group: the `history.Group`.
      population: its runs.
      numbers: of the runs of the folder that are pictured.
    """

    def __init__(self, group, population, numbers):
        images = len(population.config.model.shape) == 3
        which = enumerate(group.numbers)
        self._members = [m for m, number in which if number in numbers and images]
        self._group, self._population = group, population
        self._last, self._trained = None, None

    def due(self, snapshot):
        """Whether a snapshot is to be pictured: it has results, or is evaluated and far enough on."""
        if not self._members or snapshot.results:
            return bool(self._members)
        wait = self._population.epochs / TIMES
        late = self._last is None or snapshot.epoch - self._last >= wait
        return snapshot.metrics is not None and late

    def of(self, snapshot):
        """Yields (member, {tag: picture}) of the parameters that a snapshot has."""
        self._last = snapshot.epoch
        if self._trained is None:
            self._trained = self._opened(snapshot)
        run = self._trained
        for member in self._members:
            state = snapshot.run.state
            run.params = jax.tree.map(
                lambda v, m=member: np.asarray(v[m]), state.params
            )
            hp = self._group.runs[member].hparams.items()
            hp = {name: np.float32(value) for name, value in hp}
            run.hp = run.config.schedule(hp, np.int32(state.step[member]))
            try:
                yield member, self._drawn()
            except InputError as error:
                say(f"group {self._group.number}: no pictures for TensorBoard: {error}")
                self._members = []
                return

    def _opened(self, snapshot):
        population = self._population
        examples = population.examples(EXAMPLES)
        params = jax.tree.map(lambda v: np.asarray(v[0]), snapshot.run.state.params)
        given = population.config, params, 0, None, examples
        return Trained(*given, seen=population.seen)

    def _drawn(self):
        run, images = self._trained, self._trained.examples["image"]
        low, high = map(float, run.seen[:2])
        ends = (0.0, 1.0) if is_unit(low, high) or low == high else (low, high)
        pairs = [images, run.reconstruct(run.examples)]
        found = {"reconstructions": _tiled(pairs, ends)}
        if self._population.bounded:  # or no prior was trained
            beside = {k: v for k, v in run.examples.items() if k != "image"}
            drawn = run.sample(jax.random.key(0), len(images), beside)
            found["samples"] = _tiled([drawn], ends)
        return found


def chosen(count, most):
    """The numbers of `most` of `count` runs, spread over them."""
    most = min(count, most)
    return {n * count // most for n in range(most)}


def check(images):
    """Raises InputError where `images` is not how many runs are pictured."""
    if type(images) is not int or images < 0:
        raise InputError(
            f"images must be a whole number of runs, 0 for none, not {config.shown(images)}"
        )


def _tiled(rows, ends):
    """Rows of images [N, H, W, C] as one picture, uint8 [H, W] or [H, W, 3], a gap between them."""
    low, high = ends
    rows = np.stack([np.asarray(row, np.float32) for row in rows])
    rows = np.nan_to_num((rows - low) / (high - low), nan=0.5)
    rows = np.round(255 * np.clip(rows, 0, 1)).astype(np.uint8)
    times = max(1, SIDE // max(rows.shape[2:4]))
    rows = rows.repeat(times, 2).repeat(times, 3)
    gap = 2
    rows = np.pad(
        rows, [(0, 0), (0, 0), (0, gap), (0, gap), (0, 0)], constant_values=255
    )
    whole = np.concatenate([np.concatenate([*row], 1) for row in rows])
    whole = whole[:-gap, :-gap]
    channels = whole.shape[-1]
    return whole[..., :3] if channels >= 3 else whole[..., 0]
