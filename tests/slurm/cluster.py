"""A real Slurm for tests: munged, slurmctld and two slurmd on this machine, everything in one throw-away folder.

Works as root and as anybody. Nodes differ by port only and share this machine's name and network; they claim two CPUs
and two GPUs each, which do not exist. There is no accounting database, so no sacct: the launcher does not need it.
"""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
NODES = ("n1", "n2")


def find_program(name: str) -> str | None:
    """Daemons stand in /usr/sbin, which is not on everybody's PATH."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def missing_programs() -> list[str]:
    return [name for name in PROGRAMS if find_program(name) is None]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class SlurmCluster:
    """Start it, submit to it with SLURM_CONF set to `conf`, stop it."""

    def __init__(self) -> None:
        # Unix socket paths hold at most 107 characters: not pytest's long tmp_path.
        self.folder = Path(tempfile.mkdtemp(prefix="mc-slurm-", dir="/tmp"))
        self.conf = self.folder / "slurm.conf"
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Returns when both nodes are idle; raises RuntimeError with the logs' ends where they never are."""
        self._write_files()
        key, sock = self.folder / "munge.key", self.folder / "munge.sock"
        self._daemon(
            "munged",
            "--foreground",
            f"--key-file={key}",
            f"--socket={sock}",
            f"--pid-file={self.folder / 'munged.pid'}",
            f"--log-file={self.folder / 'munged.log'}",
            f"--seed-file={self.folder / 'munge.seed'}",
        )
        self._wait_for("munged", sock.exists)
        self._daemon("slurmctld", "-D")
        for node in NODES:
            self._daemon("slurmd", "-D", "-N", node)
        self._wait_for("the nodes", lambda: self.ask("sinfo", "-h", "-N", "-t", "idle", "-o", "%N").split() == [*NODES])

    def stop(self) -> None:
        """End all jobs and daemons and remove the folder."""
        self.ask("scancel", "--me")
        try:
            self._wait_for("the queue to empty", lambda: not self.ask("squeue", "-h").strip(), seconds=8)
        except RuntimeError:
            self.ask("scancel", "--me", "--signal=KILL")
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(timeout=5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, *command: str) -> str:
        """Standard output of a Slurm command; empty where it fails."""
        return subprocess.run(command, capture_output=True, text=True, env=self.environment).stdout

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.conf)}

    def _daemon(self, name: str, *arguments: str) -> None:
        program = find_program(name)
        assert program is not None
        output = (self.folder / f"{name}-{len(self._daemons)}.out").open("wb")
        # A session of its own: Ctrl-C in the terminal is pytest's, which then stops the cluster in order.
        self._daemons.append(
            subprocess.Popen(
                [program, *arguments], stdout=output, stderr=output, env=self.environment, start_new_session=True
            )
        )

    def _wait_for(self, what: str, condition: Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                logs = [f"{path}:\n{path.read_text(errors='replace')[-1500:]}" for path in self.folder.glob("*.out")]
                raise RuntimeError("\n".join([f"waited {seconds} s for {what}", *logs]))
            time.sleep(0.05)

    def _write_files(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        self.folder.chmod(0o755)  # munged minds who else may write here
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        user, host = getpass.getuser(), socket.gethostname().split(".")[0]
        controller, *nodes = _free_ports(1 + len(NODES))
        lines = [
            "ClusterName=throwaway",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={controller}",
            f"SlurmUser={user}",
            f"SlurmdUser={user}",
            # cred_expire also is how long a requeued job waits; 120 s by default
            f"AuthInfo=socket={self.folder / 'munge.sock'},cred_expire=5",
            f"StateSaveLocation={self.folder / 'state'}",
            f"SlurmdSpoolDir={self.folder / 'spool'}/%n",
            f"SlurmctldPidFile={self.folder / 'slurmctld.pid'}",
            f"SlurmdPidFile={self.folder}/slurmd-%n.pid",
            "AuthType=auth/munge",
            "CredType=cred/munge",
            "SwitchType=switch/none",
            "MpiDefault=none",
            "ProctrackType=proctrack/linuxproc",
            # task/affinity fails where a node claims more CPUs than this machine has
            "TaskPlugin=task/none",
            "SlurmdParameters=config_overrides",
            "JobAcctGatherType=jobacct_gather/none",
            "AccountingStorageType=accounting_storage/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core",
            "SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0,sched_min_interval=0",
            "ReturnToService=2",
            "KillWait=5",
            "PropagateResourceLimits=NONE",
            "GresTypes=gpu",
            *(
                f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=2000 Gres=gpu:2"
                for name, port in zip(NODES, nodes, strict=True)
            ),
            f"PartitionName=main Nodes={','.join(NODES)} Default=YES MaxTime=01:00:00 State=UP",
        ]
        self.conf.write_text("\n".join(lines) + "\n")
        # A GPU must be a character device; these two exist everywhere.
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
        cgroup = ["CgroupPlugin=cgroup/v1", "ConstrainCores=no", "ConstrainRAMSpace=no", "ConstrainDevices=no"]
        (self.folder / "cgroup.conf").write_text("\n".join(cgroup) + "\n")
