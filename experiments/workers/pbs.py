"""Workers as jobs of PBS (PBS Pro, OpenPBS), which come and go while this command lasts.

    python -m experiments.sweep --config=... --workdir=/shared/beta --workers=experiments/workers/pbs.py

As slurm.py, which has the comments. Not tried on a PBS. What to change is marked CHANGE. Torque, LSF,
Grid Engine and HTCondor have providers of their own: https://parsl.readthedocs.io
"""

import os
import sys

from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.jobs.error_handlers import windowed_error_handler
from parsl.launchers import SimpleLauncher
from parsl.providers import PBSProProvider

WORKERS = 4  # CHANGE: a job's workers; on GPUs one a GPU
CORES = 2  # CHANGE: of each worker
GPUS = 0  # CHANGE: a node's GPUs that a job gets; then WORKERS is the same number


def config(folder):
    del folder
    jobs = PBSProProvider(
        queue=None,  # CHANGE
        account=None,  # CHANGE: who pays
        # CHANGE: what a job runs first: modules to load, an environment other than this Python's.
        worker_init=f"cd {os.getcwd()}\nexport PATH={os.path.dirname(sys.executable)}:$PATH",
        # CHANGE: at its end PBS sends SIGTERM, and SIGKILL after the site's kill_delay (10 seconds
        # unless it says otherwise). Groups are saved within 5.
        walltime="04:00:00",
        max_blocks=8,  # CHANGE: jobs at a time
        init_blocks=1,
        min_blocks=0,
        nodes_per_block=1,
        cpus_per_node=WORKERS * CORES,
        select_options=f"ngpus={GPUS}" if GPUS else "",
        # CHANGE: more lines for qsub, such as "#PBS -l place=shared"
        scheduler_options="",
        launcher=SimpleLauncher(),  # one node a job; several need MpiExecLauncher
    )
    workers = HighThroughputExecutor(
        label="pbs",
        provider=jobs,
        max_workers_per_node=WORKERS,
        cores_per_worker=CORES,
        available_accelerators=GPUS,
        cpu_affinity="block",
        prefetch_capacity=0,
        heartbeat_period=15,
        heartbeat_threshold=60,
        block_error_handler=windowed_error_handler,
    )
    return Config(executors=[workers], strategy="simple", max_idletime=60)
