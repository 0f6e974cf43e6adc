"""What a launcher knows of its runs: which wait, which are in a job, which another process trains, which are done.

When a job has ended, each of its runs is judged by its own status file: finished, failed (one more try in this launch),
or lost, when the process died under it (three tries). A run that its job never came to just waits again.
"""

from dataclasses import dataclass, field

from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.lease import is_leased
from mammut_clip.slurm.jobs import Job
from mammut_clip.sweep.plan import PlannedRun

MAX_FAILURES = 2
MAX_DEATHS = 3


@dataclass(frozen=True)
class FailedRun:
    """A run that is not tried again in this launch."""

    id: str
    error: str
    """What the run's status says ended it, or how its process ended."""
    log: str
    """Path of the log of its last job."""


@dataclass
class Entry:
    """One run of the plan and what has come of it in this launch."""

    planned: PlannedRun
    run: RunDir
    attempts_before: int = 0
    """Attempts in its status when its current job was submitted."""
    failures: int = 0
    deaths: int = 0

    @property
    def is_finished(self) -> bool:
        return self.run.status.state == "finished"

    @property
    def has_started(self) -> bool:
        """Whether its current job has begun to train it."""
        return self.run.status.attempts > self.attempts_before


@dataclass
class Ledger:
    """The state of one launch."""

    entries: dict[str, Entry]
    waiting: list[str] = field(default_factory=list)
    in_job: dict[str, Job] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)
    """Runs that a process trains which is in none of our jobs."""
    finished: list[str] = field(default_factory=list)
    failed: dict[str, FailedRun] = field(default_factory=dict)

    @classmethod
    def open(cls, entries: dict[str, Entry]) -> "Ledger":
        """Sort the runs by what stands in their directories."""
        ledger = cls(entries)
        for run_id, entry in entries.items():
            if entry.is_finished:
                ledger.finished.append(run_id)
            elif is_leased(entry.run.lock_file):
                ledger.elsewhere.append(run_id)
            else:
                ledger.waiting.append(run_id)
        return ledger

    @property
    def is_done(self) -> bool:
        return not (self.waiting or self.in_job or self.elsewhere)

    def begin(self, run_ids: list[str], job: Job) -> None:
        """Note that a job has these runs now."""
        for run_id in run_ids:
            self.entries[run_id].attempts_before = self.entries[run_id].run.status.attempts
            self.in_job[run_id] = job
        taken = set(run_ids)
        self.waiting = [run_id for run_id in self.waiting if run_id not in taken]
        self.elsewhere = [run_id for run_id in self.elsewhere if run_id not in taken]

    def runs_of(self, job: Job) -> list[str]:
        return [run_id for run_id, its_job in self.in_job.items() if its_job is job]

    def settle(self, job: Job) -> None:
        """Judge the runs of a job that has ended."""
        runs = self.runs_of(job)
        any_started = any(self.entries[run_id].has_started for run_id in runs)
        for run_id in runs:
            del self.in_job[run_id]
            self._judge(run_id, job, any_started)

    def give_up(self, run_id: str, error: str, job: Job) -> None:
        self.in_job.pop(run_id, None)
        self.failed[run_id] = FailedRun(run_id, error, str(job.log))

    def look_elsewhere(self) -> None:
        """Runs that other processes have let go of are finished, or wait for us."""
        for run_id in [r for r in self.elsewhere if not is_leased(self.entries[r].run.lock_file)]:
            self.elsewhere.remove(run_id)
            (self.finished if self.entries[run_id].is_finished else self.waiting).append(run_id)

    def _judge(self, run_id: str, job: Job, any_started: bool) -> None:
        entry = self.entries[run_id]
        status = entry.run.status
        if status.state == "finished":
            self.finished.append(run_id)
        elif is_leased(entry.run.lock_file, ended_job=job.id):
            self.elsewhere.append(run_id)
        elif entry.has_started and status.state == "failed":
            entry.failures += 1
            self._again_or_fail(
                run_id, entry.failures < MAX_FAILURES, status.last_error or "no reason was recorded", job
            )
        elif entry.has_started or not any_started:
            entry.deaths += 1
            self._again_or_fail(run_id, entry.deaths < MAX_DEATHS, _how_it_ended(job, entry.deaths), job)
        else:
            self.waiting.append(run_id)

    def _again_or_fail(self, run_id: str, again: bool, error: str, job: Job) -> None:
        if again:
            self.waiting.append(run_id)
        else:
            self.give_up(run_id, error, job)


def _how_it_ended(job: Job, times: int) -> str:
    codes = [record["exit_code"] for record in job.ended]
    how = "with no exit code recorded" if not codes else f"with exit code {codes[-1]}"
    killed = " (killed, perhaps for want of memory)" if codes and codes[-1] == -9 else ""
    return f"its process ended {times} times without finishing it, the last time {how}{killed}"
