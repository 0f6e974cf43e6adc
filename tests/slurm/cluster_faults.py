"""What a power cut takes: every process of one virtual node, found and killed by its id."""

import contextlib
import os
import signal
from pathlib import Path


def processes_of_node(conf: Path, node: str, slurmd_log: Path, slurmd: int | None) -> list[int]:
    """Its slurmd, the slurmstepds (which keep its log open), all below them, and what has left that tree but carries
    the job's environment. Parents come before their children, so that none lives to report the death of another."""
    parents = {pid: _parent(pid) for pid in _all_processes()}
    found = [pid for pid in parents if pid == slurmd or _is_step_daemon(pid, slurmd_log)]
    marks = {f"SLURMD_NODENAME={node}".encode(), f"SLURM_CONF={conf}".encode()}
    found += [pid for pid in parents if pid not in found and marks <= _environment(pid)]
    for pid in found:  # grows while it is walked
        found += [child for child, parent in parents.items() if parent == pid and child not in found]
    return [pid for pid in found if pid != os.getpid()]


def kill_all(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Whether it runs: what has ended and is not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _all_processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def _is_step_daemon(pid: int, slurmd_log: Path) -> bool:
    try:
        if not Path(f"/proc/{pid}/comm").read_text().startswith("slurmstepd"):
            return False
        return any(file.readlink() == slurmd_log for file in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def _environment(pid: int) -> set[bytes]:
    try:
        return set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return set()
