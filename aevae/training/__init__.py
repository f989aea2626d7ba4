"""Training: one run (`step`), and all runs of a group in one program (`layout`, `population`).

`feed` brings the data, `check` tells what is wrong before any work, `bounds` evaluates during
training, `snapshots` is the loop, and `fit` does all of it in memory.
"""

from aevae.training.fit import fit
from aevae.training.population import Population, populate
from aevae.training.snapshots import Snapshot, snapshots
from aevae.training.trained import Trained

__all__ = ["Population", "Snapshot", "Trained", "fit", "populate", "snapshots"]
