"""The configuration files of a throw-away Slurm."""

import os
import pwd
import socket
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CPUS = 4
GPUS = 4
MEMORY_MB = 2000


@dataclass(frozen=True)
class NodeAddress:
    """Where the slurmd of a node listens."""

    name: str
    host: str
    address: str
    port: int


@dataclass(frozen=True)
class Addresses:
    """Where the daemons of a cluster listen."""

    controller: str
    port: int
    nodes: tuple[NodeAddress, ...]


def this_host() -> str:
    return socket.gethostname().split(".")[0]


def this_user() -> str:
    """Who runs this process, whatever USER or LOGNAME say."""
    return pwd.getpwuid(os.geteuid()).pw_name


def write_files(folder: Path, addresses: Addresses, accounting: Iterable[str] = ()) -> None:
    """slurm.conf, gres.conf, cgroup.conf and munge's key, with the folders that they name."""
    for name in ("state", "spool", "dev"):
        (folder / name).mkdir()
    folder.chmod(0o755)  # munged minds who else may write here
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    # Ports of trainings follow the ids of their jobs: two clusters on one machine must not count from the same number.
    first_job = f"FirstJobId={addresses.port}"
    lines = [*_settings(folder), first_job, *_scheduling(), *_machines(addresses), *accounting]
    (folder / "slurm.conf").write_text("\n".join(lines) + "\n")
    devices = _gpu_devices(folder / "dev")
    (folder / "gres.conf").write_text("".join(f"Name=gpu File={device}\n" for device in devices))
    cgroup = ["CgroupPlugin=cgroup/v1", "ConstrainCores=no", "ConstrainRAMSpace=no", "ConstrainDevices=no"]
    (folder / "cgroup.conf").write_text("\n".join(cgroup) + "\n")


def _settings(folder: Path) -> list[str]:
    user = this_user()
    return [
        "ClusterName=throwaway",
        f"SlurmUser={user}",
        f"SlurmdUser={user}",
        "AuthType=auth/munge",
        # cred_expire, in which a step must start, also is how long a requeued job waits; 120 s by default
        f"AuthInfo=socket={folder / 'munge.sock'},cred_expire=10",
        "CredType=cred/munge",
        f"StateSaveLocation={folder / 'state'}",
        f"SlurmdSpoolDir={folder / 'spool'}/%n",
        f"SlurmctldPidFile={folder / 'slurmctld.pid'}",
        f"SlurmdPidFile={folder}/slurmd-%n.pid",
        f"SlurmctldLogFile={folder}/slurmctld.log",
        # the steps' slurmstepd keep it open, which says whose they are
        f"SlurmdLogFile={folder}/slurmd-%n.log",
        "SwitchType=switch/none",
        "MpiDefault=none",
        "ProctrackType=proctrack/linuxproc",
        # task/affinity fails where a node claims more CPUs than this machine has
        "TaskPlugin=task/none",
        "SlurmdParameters=config_overrides",
        "JobAcctGatherType=jobacct_gather/none",
        "JobCompType=jobcomp/none",
        "PropagateResourceLimits=NONE",
        "GresTypes=gpu",
    ]


def _scheduling() -> list[str]:
    return [
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core",
        "SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0,sched_min_interval=0",
        "PreemptType=preempt/partition_prio",
        "PreemptMode=REQUEUE",
        "ReturnToService=2",
        "KillWait=5",
        "MinJobAge=300",
        # a node that is gone is noticed after two to three times this long
        "SlurmdTimeout=10",
    ]


def _machines(addresses: Addresses) -> list[str]:
    size = f"CPUs={CPUS} RealMemory={MEMORY_MB} Gres=gpu:{GPUS}"
    names = ",".join(node.name for node in addresses.nodes)
    return [
        f"SlurmctldHost={this_host()}({addresses.controller})",
        f"SlurmctldPort={addresses.port}",
        *(
            f"NodeName={node.name} NodeHostname={node.host} NodeAddr={node.address} Port={node.port} {size}"
            for node in addresses.nodes
        ),
        f"PartitionName=main Nodes={names} Default=YES MaxTime=01:00:00 State=UP PriorityTier=10 PreemptMode=REQUEUE",
        f"PartitionName=high Nodes={names} MaxTime=01:00:00 State=UP PriorityTier=100 PreemptMode=OFF",
        f"PartitionName=short Nodes={names} MaxTime=00:01:00 State=UP PriorityTier=10 PreemptMode=REQUEUE",
    ]


def _gpu_devices(folder: Path) -> list[Path]:
    """Character devices, as a GPU must be one; Slurm numbers them by the digits that their names end in."""
    if os.geteuid() == 0:
        made = [folder / f"gpu{number}" for number in range(GPUS)]
        for device in made:
            os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # copies of /dev/null
        return made
    terminals = [Path(f"/dev/tty{number}") for number in range(GPUS)]
    if all(device.is_char_device() for device in terminals):
        return terminals
    return [Path("/dev") / name for name in ("null", "zero", "full", "urandom")]
