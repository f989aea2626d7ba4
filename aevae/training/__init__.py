"""Training: one run (`step`, and `epochs` of it), and all of a group in one program (`layout`, `population`).

`feed` brings the data, `check` checks the input before any work, `bounds` evaluates during
training, `loop` yields snapshots of a group while it trains, and `fitting` does all of it in
memory. `trained_run` is what comes of it, and `given` reads the new data that it is given.
"""

from aevae.training.fitting import fit
from aevae.training.loop import Snapshot, snapshots
from aevae.training.population import Population, populate
from aevae.training.trained_run import Trained

__all__ = ["Population", "Snapshot", "Trained", "fit", "populate", "snapshots"]
