"""Workers as jobs of SLURM, which come and go while this command lasts.

    python -m experiments.sweep --config=... --workdir=/shared/beta --workers=experiments/workers/slurm.py

Start it where sbatch works and where it may run for days (a login node, under tmux or nohup): it
trains nothing itself. The run folder, the code, the data and the environment must be on a file system
that all nodes share, and compute nodes must reach this host's ports 54000 to 55000.

What to change is marked CHANGE. A site's own ready-made settings may be at
https://parsl.readthedocs.io/en/stable/userguide/configuration/examples.html
"""

import os
import sys

from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.jobs.error_handlers import windowed_error_handler
from parsl.launchers import SrunLauncher
from parsl.providers import SlurmProvider

WORKERS = 4  # CHANGE: a job's workers; on GPUs one a GPU
CORES = 2  # CHANGE: of each worker
GPUS = 0  # CHANGE: a node's GPUs that a job gets; then WORKERS is the same number


def config(folder):
    del folder  # the path of the run folder, for who needs it
    jobs = SlurmProvider(
        partition=None,  # CHANGE: "gpu", or None for the site's default
        account=None,  # CHANGE: who pays
        # CHANGE: what a job runs first: modules to load, an environment other than this Python's.
        worker_init=f"cd {os.getcwd()}\nexport PATH={os.path.dirname(sys.executable)}:$PATH",
        # CHANGE: a job's time. At its end SLURM sends SIGTERM: groups are saved, and go on in the
        # next job. Short jobs often start sooner; each costs its workers' start once more.
        walltime="04:00:00",
        max_blocks=8,  # CHANGE: jobs at a time
        init_blocks=1,
        min_blocks=0,  # idle jobs end, see max_idletime
        nodes_per_block=1,
        cores_per_node=WORKERS * CORES,
        gpus_per_node=GPUS or None,
        exclusive=False,  # CHANGE: True where nodes are given whole
        # CHANGE: more lines for sbatch, such as "#SBATCH --constraint=a100" (one kind of hardware
        # a study, for its bits).
        scheduler_options=f"#SBATCH --cpus-per-task={WORKERS * CORES}",
        # srun, so that SLURM's signals reach the workers and not only the job's shell.
        launcher=SrunLauncher(overrides=f"--cpus-per-task={WORKERS * CORES}"),
        cmd_timeout=60,  # of squeue and sbatch, which may be slow
    )
    workers = HighThroughputExecutor(
        label="slurm",
        # CHANGE where this host has several networks and nodes reach one of them:
        # address=parsl.addresses.address_by_interface("ib0")
        provider=jobs,
        max_workers_per_node=WORKERS,
        cores_per_worker=CORES,
        available_accelerators=GPUS,  # each worker sees one GPU alone
        cpu_affinity="block",  # each worker has cores of its own
        prefetch_capacity=0,  # no group waits for a worker that is busy
        # A node that is silent for 60 seconds is lost, and its groups go to others. It must be less
        # than the 150 seconds for which these wait for a group's lock.
        heartbeat_period=15,
        heartbeat_threshold=60,
        # A node's failure is no reason to stop; three jobs in a row that fail are (worker_init?).
        block_error_handler=windowed_error_handler,
    )
    # "simple": jobs that ended are replaced while there are groups to train.
    return Config(executors=[workers], strategy="simple", max_idletime=60)
