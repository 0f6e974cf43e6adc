"""Jobs on this machine: a command, under a process that outlives its launcher; through submitit.

    job = submit_local(cluster, [sys.executable, "-m", "mammut_clip.train", run], folder, "0001-slot0")

submitit pickles `Work` by reference and starts it; whether a job runs is read from its process or, where another
launcher started it, from the lock that it holds.
"""

import os
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammut_clip.config.atomic import read_json
from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.runs.lock import is_held
from mammut_clip.slurm.script import job_environment, package_root
from mammut_clip.slurm.work import Work, lock_of

_NEVER = 60 * 24 * 365  # minutes; submitit's local executor wants a number
_TIMEOUTS = 1_000_000
"""submitit ends a job after this many time limits; how often a long run is continued is not its to decide."""


@dataclass
class LocalJob:
    """A job on this machine."""

    name: str
    record: Path
    """JSON file that the job keeps; see slurm.work."""
    log: Path
    """What the command prints."""
    process: Any = None
    """submitit's controller, where this process started it."""

    @property
    def is_running(self) -> bool:
        """Whether it still runs. A job that another launcher left behind is recognised by its lock."""
        return (self.process is not None and self.process.poll() is None) or is_held(lock_of(self.record))

    @property
    def ended(self) -> dict[str, Any] | None:
        """{exit_code, began, seconds} of its command, began in unix time; None where that has not ended by itself."""
        return (read_json(self.record) or {}).get("ended")

    @property
    def was_stopped(self) -> bool:
        """Whether it was told to stop before its command had ended."""
        return (read_json(self.record) or {}).get("stopped", False)

    def cancel(self) -> None:
        """Ask it to stop; its command gets time to write a checkpoint. Repeat until it has stopped."""
        pid = (read_json(self.record) or {}).get("pid")
        with suppress(ProcessLookupError):
            if pid is not None and is_held(lock_of(self.record)):
                os.kill(pid, signal.SIGTERM)
            elif self.process is not None and self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and its running command at once."""
        record = read_json(self.record) or {}
        held = is_held(lock_of(self.record))
        with suppress(ProcessLookupError):
            if held and record.get("running_pid") is not None:
                os.killpg(record["running_pid"], signal.SIGKILL)
        with suppress(ProcessLookupError):
            if held and record.get("pid") is not None:
                os.kill(record["pid"], signal.SIGKILL)
        if self.process is not None and self.process.poll() is None:
            self.process.kill()


def submit_local(
    cluster: ClusterConfig,
    command: list[str],
    folder: Path,
    name: str,
    *,
    visible_gpus: Sequence[int] = (),
    grace_seconds: float = 60.0,
    environment: Mapping[str, str] | None = None,
) -> LocalJob:
    """Start a job that runs the command and sees `visible_gpus`; its log and record go to `folder`.

    `grace_seconds`: what the command gets, when it is told to stop, before it is killed. `environment`: variables
    beside those that the cluster's file says.
    """
    import submitit

    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    grace = min(grace_seconds, max(1.0, 0.8 * cluster.signal_seconds))
    variables = job_environment(cluster) | dict(environment or {})
    work = Work(command, str(folder / f"{name}.json"), variables, grace)
    python = ["env", f"PYTHONPATH={_python_path(os.environ.get('PYTHONPATH', ''))}", sys.executable]
    executor = submitit.LocalExecutor(folder, max_num_timeout=_TIMEOUTS, python=shlex.join(python))
    executor.update_parameters(
        timeout_min=cluster.time_limit_minutes or _NEVER,
        signal_delay_s=cluster.signal_seconds if cluster.time_limit_minutes else 0,
        stderr_to_stdout=True,
        gpus_per_node=len(visible_gpus),
        visible_gpus=list(visible_gpus),
    )
    with _interrupts_wait():
        job = executor.submit(work)
    return LocalJob(name, Path(work.record), Path(job.paths.stdout), job._process)


def _python_path(before: str) -> str:
    """PYTHONPATH by which a job finds mammut_clip from any working directory."""
    parts = [package_root(), *before.split(os.pathsep)]
    return os.pathsep.join(str(Path(part).resolve()) for part in parts if part)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Block SIGINT while children start, which inherit that: Ctrl-C in the terminal then reaches the launcher alone.

    submitit's controller would answer it by killing its task one second later, in the middle of a checkpoint.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
