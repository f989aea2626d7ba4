"""A SLURM of one node for tests: Debian's packages, unpacked into a folder, without rights or services.

Jobs run as this user. Nothing is installed, and nothing is left running.
"""

import contextlib
import getpass
import os
import platform
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

PACKAGES = "slurmctld", "slurmd", "slurm-client"
KILL_WAIT = 15  # seconds between SIGTERM and SIGKILL at the end of a job's time
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/none
CredType=cred/none
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
PluginDir={plugins}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=5,sched_interval=5,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
KillWait={wait}
MinJobAge=600
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Missing(Exception):
    """There is no SLURM here, and why."""


@contextlib.contextmanager
def cluster(place, cores=2):
    """Yields the environment in which sbatch and its like reach a SLURM that lives in the block.

    `cores` are what it believes the node to have. Missing where it cannot be had.
    """
    root = _programs(place / "root")
    path, libraries = os.environ["PATH"], os.environ.get("LD_LIBRARY_PATH", "")
    bins = [str(root / "usr" / name) for name in ("bin", "sbin")]
    libs = [str(lib) for lib in (root / "usr" / "lib").glob("*-linux-gnu")]
    plugins = [p for lib in libs for p in Path(lib).glob("slurm*") if p.is_dir()]
    if not plugins:
        raise Missing(f"no plugins of SLURM in {', '.join(libs)}")
    env = os.environ | {"SLURM_CONF": str(place / "slurm.conf")}
    env["PATH"] = os.pathsep.join([*bins, path])
    if root != Path("/"):
        own = [*libs, str(plugins[0]), *filter(None, [libraries])]
        env["LD_LIBRARY_PATH"] = os.pathsep.join(own)
    for name in ("state", "spool"):
        (place / name).mkdir()
    known = {"host": platform.node().partition(".")[0], "user": getpass.getuser()}
    known |= {"place": place, "plugins": plugins[0], "cores": cores, "wait": KILL_WAIT}
    text = CONF.format(ports=_free_ports(2), **known)
    (place / "slurm.conf").write_text(text)
    daemon = _program(root, "slurmd")
    step = _program(root, "slurmstepd")
    commands = (
        [_program(root, "slurmctld"), "-D", "-i"],
        [daemon, "-D", "-N", known["host"], "-d", step],
    )
    with contextlib.ExitStack() as stack:
        for command in commands:
            stack.enter_context(_running(command, env, place))
        _wait_for_a_node(env, place)
        try:
            yield env
        finally:
            subprocess.run(
                ["scancel", "--user", known["user"]],
                env=env,
                capture_output=True,
                check=False,
            )
            _until(lambda: not _said(["squeue", "-h"], env), KILL_WAIT + 15)


@contextlib.contextmanager
def _running(command, env, place):
    """Runs a daemon in the foreground of a process of its own while the block runs."""
    with (place / f"{Path(command[0]).name}.out").open("w") as out:
        process = subprocess.Popen(
            command, env=env, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_a_node(env, place):
    if not _until(lambda: "idle" in _said(["sinfo", "-h", "-o", "%T"], env), 30):
        logs = [*place.glob("slurm*.log"), *place.glob("slurm*.out")]
        last = [line for log in logs for line in log.read_text().splitlines()[-3:]]
        raise Missing("SLURM does not start here: " + "; ".join(last))


def _said(command, env):
    return subprocess.run(
        command, env=env, capture_output=True, text=True, check=False
    ).stdout


def _until(holds, seconds):
    """Whether something holds within so many seconds."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.5)
    return True


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


def _program(root, name):
    for folder in ("sbin", "bin"):
        for own in (f"{name}-wlm", name):  # Debian's names, and the source's
            if (path := root / "usr" / folder / own).is_file():
                return str(path)
    raise Missing(f"no {name} in {root}")


def _programs(place):
    """A root with SLURM's programs: the system's, or packages that are unpacked into `place`."""
    with contextlib.suppress(Missing):
        return _program(Path("/"), "slurmctld") and Path("/")
    for tool in ("apt-get", "dpkg"):
        if not shutil.which(tool):
            raise Missing(f"no slurmctld here, and no {tool} to get it with")
    place.mkdir(parents=True)
    simulated = ["apt-get", "-s", "--no-install-recommends", "install", *PACKAGES]
    names = re.findall(r"^Inst (\S+)", _did(simulated, place), re.MULTILINE)
    _did(["apt-get", "download", *names], place)
    for package in sorted(place.glob("*.deb")):
        _did(["dpkg", "-x", package.name, "."], place)
    return place


def _did(command, place):
    """What a command printed; Missing where it failed."""
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise Missing(f"no slurmctld here, and {' '.join(command[:3])} fails: {last}")
    return done.stdout
