"""How far a sweep is, for who watches it."""

import sys
import time

import numpy as np
from tqdm import tqdm


class Progress:
    """A bar on a terminal; elsewhere a line every ten seconds and at the end of a group."""

    def __init__(self, groups):
        self._groups = groups
        work = sum(len(g.runs) * g.runs[0].epochs * _images(g) for g in groups)
        live = sys.stderr.isatty()
        self._bar = tqdm(
            total=work,
            unit=" images",
            unit_scale=True,
            bar_format="{desc} {percentage:3.0f}%|{bar:16}| {rate_fmt}, {remaining} left",
            dynamic_ncols=True,
            file=sys.stderr,
            mininterval=0.1 if live else 10,
            disable=not live,
        )
        self._done = self._before = 0
        self._began = self._spoke = time.perf_counter()

    def begin(self, number, group):
        self._number, self._group, self._best = number, group, "ELBO -"
        self._before = self._done
        self._tell("compiling")

    def show(self, moment):
        group = self._group
        steps = _images(group) // group.runs[0].batch
        seen = (moment.epoch * steps + moment.step) * group.runs[0].batch
        done = self._before + seen * len(group.runs)
        self._bar.update(done - self._done)
        self._done = done
        if moment.metrics is not None:
            self._best = _best(moment.metrics)
        self._tell(f"epoch {moment.epoch}/{group.runs[0].epochs}, {self._best}", moment)

    def _tell(self, text, moment=None):
        group = self._group
        latent = getattr(group.runs[0].model, "latent", "-")
        head = f"group {self._number + 1}/{len(self._groups)} (latent {latent})"
        self._bar.set_description_str(f"{head}: {text}", refresh=False)
        now = time.perf_counter()
        last = moment is not None and moment.epoch == group.runs[0].epochs
        if self._bar.disable and (now - self._spoke > 10 or last):
            rate = self._done / (now - self._began)
            left = (self._bar.total - self._done) / rate if rate else float("nan")
            line = f"{head}: {text}, {rate:,.0f} images/s, {left:.0f} s left"
            print(line, file=sys.stderr, flush=True)
            self._spoke = now

    def close(self):
        self._bar.close()


def _images(group):
    """That a run sees in an epoch."""
    size, batch = len(group.dataset.train["image"]), group.runs[0].batch
    return size // batch * batch


def _best(metrics):
    bound = "validation_elbo" in metrics
    values = metrics["validation_elbo"] if bound else -metrics["validation_distortion"]
    best = np.max(values, initial=-np.inf, where=np.isfinite(values))
    return f"best ELBO {best:.2f}" if bound else f"best distortion {-best:.2f}"
