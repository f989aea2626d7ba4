"""Workers as pods of Kubernetes, which come and go while this command lasts.

    pip install kubernetes
    python -m experiments.sweep --config=... --workdir=/shared/beta --workers=experiments/workers/kubernetes.py

Start it in a pod of the cluster, which the workers' pods can reach and whose service account may
make, watch and delete pods. A volume that many pods may write (ReadWriteMany: NFS, Filestore, EFS,
CephFS; no bucket) is mounted at the same path in all of them. It holds the run folder, the data
and the code. Not tried on a cluster. What to change is marked CHANGE.
"""

import os

WORKERS = 1  # CHANGE: a pod's workers; on GPUs one a GPU
CORES = 4  # CHANGE: of each worker
GPUS = 0  # CHANGE: a pod's GPUs; then WORKERS is the same number


def config(folder):
    del folder
    # Parsl asks for the package kubernetes here, and not before.
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.jobs.error_handlers import windowed_error_handler
    from parsl.providers import KubernetesProvider

    gpus = {"nvidia.com/gpu": str(GPUS)} if GPUS else {}
    pods = KubernetesProvider(
        image="registry/aevae:0.3",  # CHANGE: with Python, aevae and Parsl as here
        namespace="default",  # CHANGE
        persistent_volumes=[("shared", "/shared")],  # CHANGE: (claim, path)
        # CHANGE: what a pod runs first. Kubernetes sends SIGTERM to a pod's first process alone, which
        # is Parsl's: what a pod trained after its last checkpoint (--checkpoint_seconds) is lost.
        worker_init=f"cd {os.getcwd()}",
        max_blocks=8,  # CHANGE: pods at a time
        init_blocks=1,
        min_blocks=0,
        init_cpu=WORKERS * CORES,
        max_cpu=WORKERS * CORES,
        init_mem="8Gi",  # CHANGE
        max_mem="8Gi",  # CHANGE
        extra_requests=gpus,
        extra_limits=gpus,
    )
    workers = HighThroughputExecutor(
        label="kubernetes",
        provider=pods,
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
