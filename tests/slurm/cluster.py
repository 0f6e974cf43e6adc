"""A real Slurm for tests: munged, slurmctld and four slurmd on this machine, everything in one throw-away folder.

Works as root and as anybody. Nodes claim four CPUs and four GPUs each, which do not exist. They differ by port only and
share this machine's name and network, unless the cluster is given a network (cluster_network). There is no sacct
unless it is given a database (cluster_database): the launcher does not need it. Several clusters run side by side.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from cluster_faults import is_alive, kill_all, processes_of_node
from cluster_files import Addresses, NodeAddress, this_host, write_files

from ports import reserved

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
NODES = ("n1", "n2", "n3", "n4")


def find_program(name: str) -> str | None:
    """Daemons stand in /usr/sbin, which is not on everybody's PATH."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def missing_programs(programs: Sequence[str] = PROGRAMS) -> list[str]:
    return [name for name in programs if find_program(name) is None]


class SlurmCluster:
    """Start it, submit to it with SLURM_CONF set to `conf`, stop it."""

    def __init__(self) -> None:
        # Unix socket paths hold at most 107 characters: not pytest's long tmp_path.
        self.folder = Path(tempfile.mkdtemp(prefix="mc-slurm-", dir="/tmp"))
        self.conf = self.folder / "slurm.conf"
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = ExitStack()

    def start(self) -> None:
        """Returns when all nodes are idle; raises RuntimeError with the logs' ends where they never are."""
        write_files(self.folder, self._addresses(), self._accounting())
        key, sock = self.folder / "munge.key", self.folder / "munge.sock"
        self._daemon(
            "munged",
            "munged",
            "--foreground",
            f"--key-file={key}",
            f"--socket={sock}",
            f"--pid-file={self.folder / 'munged.pid'}",
            f"--log-file={self.folder / 'munged.log'}",
            f"--seed-file={self.folder / 'munge.seed'}",
        )
        self.wait_for("munged", sock.exists)
        self._start_accounting()
        self._daemon("slurmctld", "slurmctld", "-D")
        for node in NODES:
            self._start_node(node)
        self.wait_for("the nodes", lambda: self.idle_nodes() == [*NODES])

    def stop(self) -> None:
        """End all jobs and daemons and remove the folder."""
        for daemon in self._daemons.values():
            with contextlib.suppress(ProcessLookupError):
                daemon.send_signal(signal.SIGCONT)
        if "slurmctld" in self._daemons:
            self._end_jobs()
        self._stop_daemons()
        for node in NODES:  # where a job outlived its daemon
            kill_all(self.processes_of(node))
        self._ports.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def reserve_ports(self, count: int) -> list[int]:
        """Until it stops: a node that is without power for a while finds its port free."""
        return reserved(self._ports, count)

    def ask(self, *command: str) -> str:
        """Standard output of a Slurm command; empty where it fails."""
        return subprocess.run(command, capture_output=True, text=True, env=self.environment).stdout

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.conf)}

    def idle_nodes(self) -> list[str]:
        return self.ask("sinfo", "-h", "-N", "-p", "main", "-t", "idle", "-o", "%N").split()

    def power_cut(self, node: str) -> None:
        """Kill the node's slurmd and every process of its jobs, all at once. Slurm notices after 20 to 30 s."""
        kill_all(self.processes_of(node))
        daemon = self._daemons.pop(node, None)
        if daemon is not None:
            daemon.wait()
        self.wait_for(f"{node} to be dark", lambda: not [pid for pid in self.processes_of(node) if is_alive(pid)])

    def lose(self, node: str) -> None:
        """Kill the node's slurmd alone: its jobs go on, and Slurm takes the node for dead after 20 to 30 s."""
        self._end(node, signal.SIGKILL)

    def power_on(self, node: str) -> None:
        """Start its slurmd; Slurm takes it back by itself."""
        self._start_node(node)

    def kill_controller(self) -> None:
        """SIGKILL to slurmctld: commands fail after 9 to 18 s, jobs go on."""
        self._end("slurmctld", signal.SIGKILL)

    def start_controller(self) -> None:
        """Returns when it answers."""
        self._daemon("slurmctld", "slurmctld", "-D")
        self.wait_for("the controller", lambda: "is UP" in self.ask("scontrol", "ping"))

    def freeze_controller(self) -> None:
        """It keeps its connections and answers nobody."""
        self._daemons["slurmctld"].send_signal(signal.SIGSTOP)

    def thaw_controller(self) -> None:
        self._daemons["slurmctld"].send_signal(signal.SIGCONT)

    def processes_of(self, node: str) -> list[int]:
        """Ids of all processes of a node: its daemons, and what its jobs have started."""
        daemon = self._daemons.get(node)
        log = self.folder / f"slurmd-{node}.log"
        return processes_of_node(self.conf, node, log, None if daemon is None else daemon.pid)

    def wait_for(self, what: str, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Raises RuntimeError with the ends of the daemons' logs when it takes longer."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                files = sorted([*self.folder.glob("*.out"), *self.folder.glob("*.log")])
                logs = [f"{path}:\n{path.read_text(errors='replace')[-1500:]}" for path in files]
                raise RuntimeError("\n".join([f"waited {seconds} s for {what}", *logs]))
            time.sleep(0.05)

    def _addresses(self) -> Addresses:
        """Where the daemons listen: all on this machine's loopback."""
        controller, *ports = self.reserve_ports(1 + len(NODES))
        nodes = tuple(NodeAddress(name, this_host(), "127.0.0.1", p) for name, p in zip(NODES, ports, strict=True))
        return Addresses("127.0.0.1", controller, nodes)

    def _accounting(self) -> list[str]:
        """Lines of slurm.conf."""
        return ["AccountingStorageType=accounting_storage/none"]

    def _start_accounting(self) -> None:
        """There is none."""

    def _start_node(self, node: str) -> None:
        self._daemon(node, "slurmd", "-D", "-N", node)

    def _daemon(self, key: str, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        program = find_program(name)
        assert program is not None, name
        output = (self.folder / f"{key}.out").open("ab")
        # A session of its own: Ctrl-C in the terminal is pytest's, which then stops the cluster in order.
        self._daemons[key] = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=self.environment,
            start_new_session=True,
        )
        return self._daemons[key]

    def _end_jobs(self) -> None:
        self.ask("scancel", "--me")
        try:
            self.wait_for("the queue to empty", lambda: not self.ask("squeue", "-h").strip(), seconds=8)
        except RuntimeError:
            self.ask("scancel", "--me", "--signal=KILL")

    def _end(self, key: str, number: signal.Signals = signal.SIGTERM) -> None:
        daemon = self._daemons.pop(key)
        daemon.send_signal(number)
        try:
            daemon.wait(timeout=5)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _stop_daemons(self) -> None:
        for daemon in self._daemons.values():
            if daemon is not self._daemons.get("munged"):
                daemon.terminate()
        for key in [*reversed(self._daemons)]:
            self._end(key)
