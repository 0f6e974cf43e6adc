"""One start of a task: an srun step, a child process of ours in a group of its own."""

import errno
import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mammut_clip.runs.adjustments import with_micro_batch
from mammut_clip.runs.ends import End, EndKind
from mammut_clip.runs.failures import VARIABLE, take_last_words
from mammut_clip.slurm.record import TaskRecord
from mammut_clip.slurm.steps import step_command
from mammut_clip.slurm.supervisor.heartbeat import Heartbeat
from mammut_clip.slurm.supervisor.judge import Evidence, Judgement, judge
from mammut_clip.slurm.supervisor.say import say
from mammut_clip.slurm.supervisor.this_job import ThisJob
from mammut_clip.slurm.task import Task

if TYPE_CHECKING:
    from mammut_clip.slurm.supervisor import Supervisor

_AGAIN_SECONDS = 5.0
_STUBBORN_SECONDS = 60.0


class Attempt:
    """A task that runs. `begin` starts it."""

    def __init__(self, task: Task, noted: TaskRecord, number: int, job: ThisJob, work: "Supervisor") -> None:
        """`number`: of the starts of this task in this restart of the job, from 1."""
        self.task, self.noted, self._job, self._work = task, noted, job, work
        what = "job" if task.kind == "train" else "eval-job"
        run = task.run_dir
        self.log = run.logs / f"{what}-{job.id}-{job.restart}-{number}"
        self._words = run.logs / f".{self.log.name}.last-words"
        self._attempts_before = run.status.attempts
        self._results_before = _results(task)
        silence = work.policy.silent_minutes * 60
        self._heart = Heartbeat(run.lock_file, silence) if task.kind == "train" else None
        self._child: subprocess.Popen[bytes] | None = None
        self._told: EndKind | None = None
        self._told_at = -float("inf")
        self._killed_at: float | None = None
        self._is_silent = False
        self._ended_at = 0.0

    def begin(self) -> None:
        """Raises OSError where its log folder cannot be made or srun cannot be run, InputError for a bad cluster."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = step_command(self._work.cluster, self._work.shape, self.task, self.log, {VARIABLE: str(self._words)})
        self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)

    @property
    def exit_code(self) -> int | None:
        """128 + n for signal n; None while it runs."""
        code = None if self._child is None else self._child.poll()
        if code is not None and not self._ended_at:
            self._ended_at = time.monotonic()
        return 128 - code if code is not None and code < 0 else code

    @property
    def began(self) -> bool:
        """Whether any of its processes was started: Slurm then opens their logs."""
        return bool(self._logs)

    @property
    def _logs(self) -> list[Path]:
        """What its ranks print, or its nodes under torchrun, the first one first."""
        return sorted(self.log.parent.glob(f"{self.log.name}-*"))

    @property
    def has_said_its_end(self) -> bool:
        """Whether the run's status says that this attempt is over, though srun has not ended yet."""
        status = self.task.run_dir.status
        is_over = status.state in ("interrupted", "failed", "finished")
        return self.task.kind == "train" and status.attempts > self._attempts_before and is_over

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.task.run_dir.status.state == "finished" if self.task.kind == "train" else self.exit_code == 0

    @property
    def seconds_since_end(self) -> float:
        return time.monotonic() - self._ended_at

    def tell(self, why: EndKind | None) -> None:
        """Have its ranks write a checkpoint and end. Again and again: one that starts up may not hear it at first.

        srun hands SIGUSR1 on to the ranks of all nodes, without the controller. (SIGTERM it would not: it kills them.)
        """
        now = time.monotonic()
        self._told = why or self._told
        if now - self._told_at >= _AGAIN_SECONDS:
            self._told_at = now
            self._signal(signal.SIGUSR1)

    def look_after(self) -> None:
        """End it where it has given no sign of life for too long."""
        if self._killed_at is None and self._heart is not None and self._heart.is_silent():
            say(f"{self.task.id}: no sign of life for {self._work.policy.silent_minutes:g} minutes, it is ended")
            self._is_silent, self._killed_at = True, time.monotonic()
            self._signal(signal.SIGTERM)  # srun then kills the ranks
        elif self._killed_at is not None and time.monotonic() - self._killed_at > _STUBBORN_SECONDS:
            self._signal(signal.SIGKILL)

    def judgement(self, why: EndKind | None) -> Judgement:
        """What ended it. `why`: the job's own end, where that is near."""
        status = self.task.run_dir.status
        code = self.exit_code
        is_training = self.task.kind == "train"
        return judge(
            Evidence(
                exit_code=code,
                done=self.is_done,
                status=status if is_training and status.attempts > self._attempts_before else None,
                words=take_last_words(self._words),
                told=why or self._told,
                began=self.began,
                disk_is_full=_disk_is_full(self.log.parent),
                silent_minutes=self._work.policy.silent_minutes if self._is_silent else None,
            )
        )

    def end(self, judgement: Judgement, nodes: str = "") -> End:
        """Its line in ends.jsonl. `nodes`: those to blame, where not all of the job's are."""
        assert judgement.kind is not None
        status = self.task.run_dir.status
        return made_end(
            self.task,
            self.noted,
            self._job,
            judgement.kind,
            exit_code=self.exit_code,
            error=judgement.error,
            attempt=status.attempts if status.attempts > self._attempts_before else None,
            results=max(0, _results(self.task) - self._results_before),
            nodes=nodes if judgement.kind == "node_failure" else None,
            log=next(map(str, self._logs), None),
        )

    def _signal(self, number: int) -> None:
        if self._child is not None and self._child.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self._child.pid, number)


def made_end(
    task: Task,
    noted: TaskRecord,
    job: ThisJob,
    kind: EndKind,
    *,
    exit_code: int | None = None,
    error: str | None = None,
    attempt: int | None = None,
    results: int = 0,
    nodes: str | None = None,
    log: str | None = None,
) -> End:
    """How a task that this job had begun ended, with where its run stands now."""
    end = End(
        kind=kind,
        work=task.kind,
        job=job.id,
        restart=noted.restart,
        attempt=attempt if task.kind == "train" else None,
        samples_before=noted.samples_before,
        samples_after=samples_at_newest(task),
        results=results,
        exit_code=exit_code,
        error=error,
        nodes=nodes or noted.nodes,
        log=log,
        began=noted.began,
        ended=round(time.time(), 3),
    )
    return with_micro_batch(end, task.run_dir, task.processes)


def samples_at_newest(task: Task) -> int:
    """Samples seen at the newest checkpoint of a training; 0 for an evaluation, which does not move the run."""
    if task.kind != "train":
        return 0
    checkpoints = task.run_dir.checkpoints
    return checkpoints[-1].samples_seen if checkpoints else 0


def _disk_is_full(folder: Path) -> bool:
    """Whether a small file cannot be written there, for want of room."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(65536))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return False


def _results(task: Task) -> int:
    """How many results the run's evaluations have."""
    return 0 if task.kind == "train" else sum(1 for _ in Path(task.run).glob("evals/*/*.json"))
