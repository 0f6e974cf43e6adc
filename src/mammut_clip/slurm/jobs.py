"""Submitting commands as one job, through submitit: a process on this machine, or an sbatch job.

    job = submit(cluster, [[sys.executable, "-m", "mammut_clip.train", run]], folder, "toy-1", processes=4)

submitit writes the batch script, pickles `Work` by reference and starts it; the states of jobs are read from the
process (local) or from one squeue for all (slurm.queue), never through submitit's sacct polling.
"""

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mammut_clip
from mammut_clip.config.atomic import read_json
from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.errors import InputError
from mammut_clip.runs.lock import is_held
from mammut_clip.slurm.work import Work, lock_of

_NEVER = 60 * 24 * 365  # minutes; submitit's local executor wants a number
_REQUEUES = 1_000_000
"""submitit ends a job after this many time limits; how often a long run is continued is not its to decide."""


@dataclass
class Job:
    """A submitted job."""

    id: str
    """Process id of submitit's controller (local), or Slurm's job id."""
    name: str
    record: Path
    """JSON file that the job keeps; see slurm.work."""
    log: Path
    """What the commands print."""
    process: Any = None
    """local: the controller, where this process started it."""

    @property
    def is_running(self) -> bool:
        """local: whether it still runs. A job that another launcher left behind is recognised by its lock."""
        return (self.process is not None and self.process.poll() is None) or is_held(lock_of(self.record))

    @property
    def ended(self) -> list[dict[str, Any]]:
        """Records {command, exit_code, seconds} of the commands that have ended."""
        return (read_json(self.record) or {}).get("ended", [])

    @property
    def was_stopped(self) -> bool:
        """Whether it was told to stop before its commands were done."""
        return (read_json(self.record) or {}).get("stopped", False)

    def cancel(self) -> None:
        """local: ask it to stop; its commands get time to write a checkpoint. Repeat until it has stopped."""
        pid = (read_json(self.record) or {}).get("pid")
        with suppress(ProcessLookupError):
            if pid is not None and is_held(lock_of(self.record)):
                os.kill(pid, signal.SIGTERM)
            elif self.process is not None and self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """local: end it and its running command at once."""
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


def submit(
    cluster: ClusterConfig,
    commands: list[list[str]],
    folder: Path,
    name: str,
    *,
    processes: int = 1,
    visible_gpus: Sequence[int] = (),
    grace_seconds: float = 60.0,
) -> Job:
    """Submit a job that runs the commands one after another.

    On slurm it gets `processes` tasks, one per GPU where the cluster has any, and every task runs the commands. On this
    machine it is one process that sees `visible_gpus`. Logs and records go to `folder`. Raises InputError where sbatch
    refuses the job or is not there.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    is_local = cluster.kind == "local"
    work = Work(
        commands,
        environment=_environment(cluster) if is_local else {},  # on slurm the batch script sets it
        grace_seconds=min(grace_seconds, max(1.0, 0.8 * cluster.signal_seconds)),
        record=str(folder / f"{name}.json"),
        is_local=is_local,
    )
    if is_local:
        return _submit_local(cluster, work, folder, name, visible_gpus)
    return _submit_slurm(cluster, work, folder, name, processes)


def _submit_local(cluster: ClusterConfig, work: Work, folder: Path, name: str, visible_gpus: Sequence[int]) -> Job:
    import submitit

    python = ["env", f"PYTHONPATH={_python_path(os.environ.get('PYTHONPATH', ''))}", sys.executable]
    executor = submitit.LocalExecutor(folder, max_num_timeout=_REQUEUES, python=shlex.join(python))
    executor.update_parameters(
        timeout_min=cluster.time_limit_minutes or _NEVER,
        signal_delay_s=cluster.signal_seconds if cluster.time_limit_minutes else 0,
        stderr_to_stdout=True,
        gpus_per_node=len(visible_gpus),
        visible_gpus=list(visible_gpus),
    )
    with _interrupts_wait():
        job = executor.submit(work)
    return Job(job.job_id, name, Path(work.record), Path(job.paths.stdout), job._process)


def _submit_slurm(cluster: ClusterConfig, work: Work, folder: Path, name: str, processes: int) -> Job:
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    if shutil.which("sbatch") is None:
        raise InputError("sbatch is not on this machine's PATH: use a cluster file of kind local, or a login node")
    executor = submitit.SlurmExecutor(folder, max_num_timeout=_REQUEUES)
    executor.update_parameters(**slurm_parameters(cluster, name, processes))
    with _outside_any_job():
        try:
            job = executor.submit(work)
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            raise InputError(f"sbatch refused the job {name}: {error}") from error
    return Job(job.job_id, name, Path(work.record), Path(job.paths.stdout))


def slurm_parameters(cluster: ClusterConfig, name: str, processes: int) -> dict[str, Any]:
    """submitit's parameters of a job with this many tasks."""
    per_node = min(processes, cluster.gpus_per_node or 1)
    parameters: dict[str, Any] = {
        "job_name": name,
        "account": cluster.account,
        "partition": cluster.partition,
        "qos": cluster.qos,
        "exclude": ",".join(cluster.exclude_nodes) or None,
        "time": cluster.time_limit_minutes,
        "nodes": -(-processes // per_node),
        "ntasks_per_node": per_node,
        "cpus_per_task": cluster.cpus_per_task,
        "gres": f"gpu:{per_node}" if cluster.gpus_per_node else None,
        "signal_delay_s": cluster.signal_seconds,
        "stderr_to_stdout": True,
        "wckey": None,
        "setup": _setup_lines(cluster),
        # Without the first, the ranks that are left wait for the one that died until the time limit.
        "srun_args": ["--kill-on-bad-exit=1"],
        "additional_parameters": {"requeue": True},
    }
    return {key: value for key, value in parameters.items() if value is not None or key == "wckey"}


def _setup_lines(cluster: ClusterConfig) -> list[str]:
    """The site's lines, then our variables, quoted."""
    root = shlex.quote(_package_root())
    return [
        *cluster.setup,
        f"export PYTHONPATH={root}${{PYTHONPATH:+:$PYTHONPATH}}",
        # Since Slurm 22.05 srun does not take --cpus-per-task over from the job.
        "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK",
        *(f"export {name}={shlex.quote(value)}" for name, value in _environment(cluster).items()),
    ]


def _environment(cluster: ClusterConfig) -> dict[str, str]:
    """The variables of a job: threads, interfaces, names of nodes, and what the cluster's file says, which wins."""
    variables = {"OMP_NUM_THREADS": str(cluster.cpus_per_task)}
    if cluster.network_interfaces:
        names = ",".join(cluster.network_interfaces)
        variables |= {"NCCL_SOCKET_IFNAME": names, "GLOO_SOCKET_IFNAME": names}
    if cluster.host_suffix:
        variables["MAMMUT_CLIP_HOST_SUFFIX"] = cluster.host_suffix  # read by mammut_clip.distributed.meeting
    return variables | cluster.environment


def _package_root() -> str:
    """The folder that holds mammut_clip: a job must find it from any working directory."""
    return str(Path(mammut_clip.__file__).resolve().parents[1])


def _python_path(before: str) -> str:
    parts = [str(Path(part).resolve()) for part in before.split(os.pathsep) if part]
    return os.pathsep.join([_package_root(), *parts])


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


@contextmanager
def _outside_any_job() -> Iterator[None]:
    """Hide the variables of the job we may be running in: sbatch would take them for options of the new one."""
    hidden = {k: v for k, v in os.environ.items() if k.startswith(("SLURM_", "SBATCH_", "SRUN_")) and k != "SLURM_CONF"}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
