"""Submitting jobs through submitit: one sbatch, an array where there are several of one shape.

    jobs = submit(cluster, requests, sweep_dir=folder, number=7, policy=policy)

All that belongs to a submission stands in <sweep>/launch/jobs/<number>/: submitit's files, and of each job its record
and its log, <index>.json and <index>.log, known before anything is submitted. The supervisor that a job runs is pickled
by reference; the states of jobs are read from one squeue for all (slurm.queue), never through submitit.
"""

import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from mammut_clip.config.atomic import disk_errors
from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.errors import InputError
from mammut_clip.config.sweep import SweepPolicy
from mammut_clip.runs.layout import SweepDir
from mammut_clip.slurm.errors import SlurmAwayError
from mammut_clip.slurm.names import job_name
from mammut_clip.slurm.partition import time_limit_refusal
from mammut_clip.slurm.script import PYTHON, check_script, package_root, parameters, script_text
from mammut_clip.slurm.task import JobRequest, Shape, SubmittedJob

_AWAY = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Connection refused",
    "Connection reset",
    "Communication connection failure",
    "Communication shutdown failure",
    "slurm_receive_msg",
    "in standby mode",
)
"""What sbatch says, with exit code 1 like any other error, where the controller does not answer."""
_HIDDEN = ("SLURM_", "SBATCH_", "SRUN_", "SUBMITIT_")
_HIDDEN_GPUS = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
_TEST_SECONDS = 120
_NO_SBATCH = "sbatch is not on this machine's PATH: use a cluster file of kind local, or a login node"


def jobs_folder(sweep_dir: Path, number: int) -> Path:
    """Where a submission's files stand."""
    return SweepDir(sweep_dir.resolve()).launch_folder / "jobs" / str(number)


def submit(
    cluster: ClusterConfig,
    requests: Sequence[JobRequest],
    *,
    sweep_dir: Path,
    number: int,
    policy: SweepPolicy,
    tend: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> list[SubmittedJob]:
    """Submit jobs of one shape with one sbatch, under the name of the sweep's submission of this number.

    Each runs its tasks, and when they are done or given up the command `tend`; none gets a node of `exclude`. Raises
    InputError where sbatch refuses, with its words, and SlurmAwayError where the controller does not answer: then the
    queue must be asked for the name before anything of this is submitted again, as the answer alone may be lost.
    """
    from mammut_clip.slurm.supervisor import Supervisor

    _check(cluster, sweep_dir)
    folder, shape = jobs_folder(sweep_dir, number), _shape_of(requests, cluster)
    values = _values(cluster, shape, sweep_dir, number, exclude, len(requests))
    supervisors = [Supervisor(cluster, shape, request.tasks, policy, str(folder), tuple(tend)) for request in requests]
    ids = hand_over(folder, values, supervisors)
    return [
        SubmittedJob(
            job_id,
            job_name(sweep_dir, number),
            str(folder / f"{index}.json"),
            str(folder / f"{index}.log"),
            tuple(task.id for task in request.tasks),
        )
        for index, (job_id, request) in enumerate(zip(ids, requests, strict=True))
    ]


def hand_over(folder: Path, values: dict[str, Any], work: Sequence[Callable[[], Any]]) -> list[str]:
    """Have submitit submit jobs with these parameters (script.parameters), each of which calls its part of `work`; the
    ids that Slurm gave them. Raises as `submit` does."""
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise InputError(_NO_SBATCH)
    with disk_errors(folder), _outside_any_job(), redirect_stderr(io.StringIO()):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            executor = submitit.SlurmExecutor(folder, python=PYTHON)
            executor.update_parameters(**values)
            return [job.job_id for job in executor.submit_array(work)]
        except FailedJobError as error:  # submitit's word for an exit code of sbatch that is not 0
            raise _refused(str(error)) from error
        except FailedSubmissionError as error:  # sbatch took it, and said so in words that submitit does not know
            raise SlurmAwayError(f"what sbatch answered has no job id in it: {error}") from error


def render(
    cluster: ClusterConfig,
    requests: Sequence[JobRequest],
    *,
    sweep_dir: Path,
    number: int,
    policy: SweepPolicy,
    tend: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> str:
    """The script that `submit` would hand to sbatch; nothing is written or submitted, and no Slurm is needed.

    Raises InputError for what is no shell text or no path for Slurm. The tasks, the policy and `tend` travel beside the
    script.
    """
    values = _values(cluster, _shape_of(requests, cluster), sweep_dir, number, exclude, len(requests))
    return script_text(values, jobs_folder(sweep_dir, number), len(requests))


def refusal(cluster: ClusterConfig, shape: Shape, *, sweep_dir: Path, exclude: Sequence[str] = ()) -> str | None:
    """Why Slurm would not take, or never start, a job of this shape; None where it would. Nothing is submitted.

    Raises SlurmAwayError where the controller does not answer.
    """
    try:
        _check(cluster, sweep_dir)
        script = render(
            cluster, [JobRequest(shape, ())], sweep_dir=sweep_dir, number=0, policy=SweepPolicy(), exclude=exclude
        )
        _test(script)
    except SlurmAwayError:
        raise
    except InputError as error:
        return str(error)
    return time_limit_refusal(cluster)


def _test(script: str) -> None:
    """Raise InputError where sbatch would not take the script."""
    try:
        with _outside_any_job():
            done = subprocess.run(
                ["sbatch", "--test-only"], input=script, capture_output=True, text=True, timeout=_TEST_SECONDS
            )
    except FileNotFoundError as error:
        raise InputError(_NO_SBATCH) from error
    except subprocess.TimeoutExpired as error:
        raise SlurmAwayError(f"sbatch --test-only did not answer within {_TEST_SECONDS} s") from error
    if done.returncode != 0:
        raise _refused(done.stderr)


def _values(
    cluster: ClusterConfig, shape: Shape, sweep_dir: Path, number: int, exclude: Sequence[str], jobs: int
) -> dict[str, Any]:
    """submitit's parameters, checked as a script."""
    folder = jobs_folder(sweep_dir, number)
    if cluster.kind != "slurm":
        raise InputError(f"a cluster of kind {cluster.kind} has no queue: expected one of kind slurm")
    if any(sign in str(folder) for sign in "%\\\n"):
        raise InputError(f"{folder}: Slurm cannot write logs to a path with %, a backslash or a line break in it")
    values = parameters(cluster, shape, jobs, job_name(sweep_dir, number), folder, exclude)
    check_script(script_text(values, folder, jobs))
    return values


def _shape_of(requests: Sequence[JobRequest], cluster: ClusterConfig) -> Shape:
    shapes = {request.shape for request in requests}
    if len(shapes) != 1:
        raise ValueError(f"one sbatch is for jobs of one shape, got {len(shapes)}")
    if len(requests) > cluster.limits.array_size:
        raise InputError(
            f"{len(requests)} jobs at once: limits.array_size of the cluster's file allows {cluster.limits.array_size}"
        )
    return shapes.pop()


def why_not(cluster: ClusterConfig, sweep_dir: Path) -> list[str]:
    """What keeps jobs of a sweep in this folder from being submitted, as far as the cluster's file tells."""
    found = []
    folder = sweep_dir.resolve()
    shared = [Path(path).resolve() for path in cluster.shared_paths]
    if shared and not any(folder.is_relative_to(path) for path in shared):
        found.append(
            f"{folder} is not below any of the cluster's shared_paths ({', '.join(cluster.shared_paths)}), where all "
            "nodes would see it: set --runs to a folder there"
        )
    if cluster.needs_account and cluster.account is None:
        found.append(
            "account is not set, and this site charges a project for every job: add cluster.account=PROJECT, or name a "
            "file of your own that begins with `extends:` (docs/clusters.md)"
        )
    return found


def _check(cluster: ClusterConfig, sweep_dir: Path) -> None:
    reasons = why_not(cluster, sweep_dir)
    if reasons:
        raise InputError("; ".join(reasons))


def _refused(words: str) -> InputError:
    """sbatch's error as ours."""
    if any(phrase in words for phrase in _AWAY):
        return SlurmAwayError(f"Slurm's controller does not answer: {words.strip()}")
    return InputError(f"sbatch refused the job: {words.strip()}")


@contextmanager
def _outside_any_job() -> Iterator[None]:
    """Hide the variables of the job we may be running in: sbatch would take them for options of the new one, or hand
    them on to it. Of PYTHONPATH our own part, or it would grow with every job that submits the next."""
    hidden = {name: value for name, value in os.environ.items() if _belongs_to_a_job(name)}
    if "PYTHONPATH" in os.environ:
        hidden["PYTHONPATH"] = os.environ["PYTHONPATH"]
        ours = package_root()
        left = [part for part in hidden["PYTHONPATH"].split(os.pathsep) if part != ours]
        os.environ["PYTHONPATH"] = os.pathsep.join(left)
    for name in hidden.keys() - {"PYTHONPATH"}:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _belongs_to_a_job(name: str) -> bool:
    if name in _HIDDEN_GPUS:
        return "SLURM_JOB_ID" in os.environ
    return name.startswith(_HIDDEN) and name != "SLURM_CONF"
