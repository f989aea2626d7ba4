"""Workers on this machine, with more said than `--workers=N` says: the same, as a file to change.

    python -m experiments.sweep --config=... --workdir=runs/beta --workers=experiments/workers/local.py

What to change is marked CHANGE. https://parsl.readthedocs.io has all options.
"""

from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.jobs.error_handlers import windowed_error_handler
from parsl.providers import LocalProvider

WORKERS = 2  # CHANGE: on CPUs at most one a core; on GPUs one a GPU
GPUS = ()  # CHANGE: ("0", "1") for two GPUs; each worker sees one of them alone


def config(folder):
    del folder  # the path of the run folder, for who needs it
    workers = HighThroughputExecutor(
        label="local",
        address="127.0.0.1",
        max_workers_per_node=len(GPUS) or WORKERS,
        available_accelerators=GPUS,
        # Each worker has cores of its own. Without this each would take all of them.
        cpu_affinity="block",
        # A group takes long: none is to wait in the queue of a worker that is busy.
        prefetch_capacity=0,
        # A worker that is silent for so many seconds is lost, and its group goes to another. It must
        # be less than the 150 seconds for which that one waits for the group's lock.
        heartbeat_period=5,
        heartbeat_threshold=30,
        # The pool of workers is started again if it dies; three in a row end the command.
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
        block_error_handler=windowed_error_handler,
    )
    return Config(executors=[workers])
