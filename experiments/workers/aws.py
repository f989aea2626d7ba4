"""Workers as instances of Amazon EC2, spot instances if you like, while this command lasts.

    pip install boto3
    python -m experiments.sweep --config=... --workdir=/shared/beta --workers=experiments/workers/aws.py

Start it on an instance in the same network. An EFS or FSx file system is mounted at the same path on
all of them, and holds the run folder, the data, the code and the environment; a bucket (S3) will not
do. Parsl keeps in `state_file` which network it made for them. Not tried on EC2. What to change is
marked CHANGE. A cluster that a cloud makes for you (AWS ParallelCluster, Google's Cluster Toolkit; EKS,
GKE) is often less work: take slurm.py or kubernetes.py there.
"""

import os
import sys

CORES = 8  # CHANGE: as the instance type has them
GPUS = 0  # CHANGE: as the instance type has them; one worker each


def config(folder):
    # Parsl asks for the package boto3 here, and not before.
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.jobs.error_handlers import windowed_error_handler
    from parsl.providers import AWSProvider

    instances = AWSProvider(
        image_id="ami-0123456789abcdef0",  # CHANGE: a Linux with Python as here, and NFS
        key_name="aevae",  # CHANGE: the key pair for ssh
        profile="default",  # CHANGE: of ~/.aws/config; it names who pays
        region="us-east-2",  # CHANGE
        instance_type="c7i.2xlarge",  # CHANGE: one kind a study, for its bits
        spot_max_bid=0,  # CHANGE: dollars an hour for spot instances; 0 for others
        # CHANGE: what an instance runs first. It mounts the file system and finds `python`.
        worker_init="mkdir -p /shared && mount -t nfs4 fs-0123.efs.us-east-2.amazonaws.com:/ /shared"
        f"\ncd {os.getcwd()}\nexport PATH={os.path.dirname(sys.executable)}:$PATH",
        max_blocks=8,  # CHANGE: instances at a time
        init_blocks=1,
        min_blocks=0,
        state_file=str(folder / "aws.json"),
    )
    workers = HighThroughputExecutor(
        label="aws",
        provider=instances,
        max_workers_per_node=GPUS or 1,
        cores_per_worker=CORES // (GPUS or 1),
        available_accelerators=GPUS,
        cpu_affinity="block",
        prefetch_capacity=0,
        # EC2 sends no SIGTERM in time: what came after the last checkpoint is trained again.
        heartbeat_period=15,
        heartbeat_threshold=60,
        block_error_handler=windowed_error_handler,
    )
    return Config(executors=[workers], strategy="simple", max_idletime=300)
