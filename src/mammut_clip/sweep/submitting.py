"""Due tasks -> jobs in the queue, within what the site allows; each submission in the journal before and after."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mammut_clip.config.cluster import Limits
from mammut_clip.config.errors import InputError
from mammut_clip.runs.lease import Lease
from mammut_clip.slurm.errors import SlurmAwayError
from mammut_clip.slurm.names import job_name
from mammut_clip.slurm.steps import room
from mammut_clip.slurm.task import JobRequest, Shape, Task
from mammut_clip.sweep.journal import Journal
from mammut_clip.sweep.packing import arrays, pack
from mammut_clip.sweep.stored import Launched


@dataclass
class Outcome:
    """What became of the due tasks."""

    jobs: int = 0
    """How many were submitted."""
    left: int = 0
    """Tasks that are left for a later cycle."""
    note: str = ""
    """What stood in the way of these."""
    refused: bool = False
    """Whether sbatch refused something, and took nothing."""
    ready_at: float | None = None
    """Unix time from which more may be submitted, where only the site's limit on submissions stood in the way."""


@dataclass
class Submitter:
    """Submits for one cycle, in which it has the sweep for itself."""

    launched: Launched
    journal: Journal
    lease: Lease
    exclude: Sequence[str] = ()
    """Nodes that failed too often."""
    outcome: Outcome = field(default_factory=Outcome)

    def submit(self, tasks: Sequence[Task], queued: int) -> Outcome:
        """Submit what may be submitted now; `queued`: how many jobs this user has in the queue."""
        jobs = self._pack(tasks)
        limits = self.launched.stored.cluster.limits
        free = None if limits.jobs is None else max(0, limits.jobs - queued)
        if free is not None and len(jobs) > free:
            self.outcome.note = f"limits.jobs allows {limits.jobs} jobs in the queue"
        for group in arrays(jobs, size=limits.array_size, at_most=free):
            if not self._submit_group(group):
                break
        taken = self.journal.busy
        self.outcome.left = sum(task.id not in taken for task in tasks)
        return self.outcome

    def _pack(self, tasks: Sequence[Task]) -> list[JobRequest]:
        stored = self.launched.stored
        by_shape: dict[Shape, list[Task]] = {}
        for task in tasks:
            by_shape.setdefault(room(stored.cluster, task.processes), []).append(task)
        half = 30.0 * (stored.cluster.time_limit_minutes or 0)
        return [
            job
            for shape, group in by_shape.items()
            for job in pack(group, shape, seconds=half, per_job=stored.runs_per_job)
        ]

    def _submit_group(self, group: Sequence[JobRequest]) -> bool:
        """Whether to go on with the next. An array that is refused is tried again by halves: the site may have room for
        some of its jobs, and says no to all."""
        while group:
            ready = ready_at(self.journal, self.launched.stored.cluster.limits)
            if ready > time.time():
                self.outcome.ready_at = ready
                self.outcome.note = "limits.submissions_per_minute is used up"
                return False
            try:
                self._submit_one(group)
                return True
            except SlurmAwayError as error:  # it may have been taken all the same: the next cycle looks for the name
                self.outcome.note = str(error)
                return False
            except InputError as error:
                self.outcome.note = str(error)
                self.outcome.refused = self.outcome.jobs == 0
                group = group[: len(group) // 2]
        return True

    def _submit_one(self, group: Sequence[JobRequest]) -> None:
        from mammut_clip.slurm.submit import submit  # what a job runs, which planning does not need

        stored, sweep_dir = self.launched.stored, self.launched.folder.path
        number = self.journal.next_number
        name = job_name(sweep_dir, number)
        self.lease.check(force=True)
        self.journal.begin(number, name, [[task.id for task in job.tasks] for job in group], self.exclude)
        try:
            with _in_directory(stored.directory):
                jobs = submit(
                    stored.cluster,
                    group,
                    sweep_dir=sweep_dir,
                    number=number,
                    policy=stored.policy,
                    tend=tend_command(self.launched),
                    exclude=self.exclude,
                )
        except SlurmAwayError:
            raise
        except InputError as error:
            self.journal.refused(number, str(error))
            raise
        self.journal.taken(number, jobs)
        self.outcome.jobs += len(jobs)
        self.outcome.refused = False


@contextmanager
def _in_directory(path: str) -> Iterator[None]:
    """Jobs begin where the sweep was launched, from wherever they are submitted."""
    if path and not Path(path).is_dir():
        raise InputError(f"{path}: the sweep was launched in this folder, which is there no more; launch it anew")
    with chdir(path or "."):
        yield


def ready_at(journal: Journal, limits: Limits) -> float:
    """Unix time from which one more call of sbatch keeps to limits.submissions_per_minute."""
    calls = max(1, int(limits.submissions_per_minute))
    window = 60.0 * calls / limits.submissions_per_minute
    earlier = [submission.at for submission in list(journal.submissions.values())[-calls:]]
    return earlier[0] + window if len(earlier) == calls else 0.0


def tend_command(launched: Launched) -> tuple[str, ...]:
    """What a job runs when it ends, so that nobody needs to watch; nothing where jobs may not submit."""
    if not launched.stored.cluster.submit_from_jobs:
        return ()
    return (sys.executable, "-m", "mammut_clip.cli", "sweep", "tend", str(launched.folder.path))
