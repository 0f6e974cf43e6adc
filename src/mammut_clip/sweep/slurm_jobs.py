"""Runs on a Slurm cluster: one job per run, each submission on record before and after it is made.

Whether a run still has a job is asked of one squeue for all; where Slurm does not answer, the answer is "unknown" and
no run that was ever submitted is submitted again.
"""

import hashlib
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from mammut_clip.config.atomic import read_json, write_json
from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.errors import InputError
from mammut_clip.runs.lease import is_leased
from mammut_clip.slurm.jobs import Job, submit
from mammut_clip.slurm.queue import QueuedJob, read_queue
from mammut_clip.sweep.ledger import Ledger
from mammut_clip.sweep.progress import Progress, Report

NO_ANSWER = "Slurm does not answer; nothing that may be in its queue is submitted again"


@dataclass
class Submission:
    """The last job submitted for a run, as it stands in launch/jobs.json."""

    name: str
    job_id: str | None
    """None while sbatch is asked: a launcher that died then is followed by a look for the name in the queue."""
    folder: str
    log: str
    submitted_at: float

    @property
    def record(self) -> Path:
        """The file in which the job records what it has run."""
        return Path(self.folder) / f"{self.name}.json"


class Submissions:
    """launch/jobs.json: run -> its last submission."""

    def __init__(self, file: Path) -> None:
        self._file = file
        stored = read_json(file) or {}
        self._all = {run_id: Submission(**values) for run_id, values in stored.items()}

    def get(self, run_id: str) -> Submission | None:
        return self._all.get(run_id)

    def put(self, run_id: str, submission: Submission) -> None:
        self._all[run_id] = submission
        write_json(self._file, {run_id: asdict(submission) for run_id, submission in self._all.items()})


class SlurmLauncher:
    """Submits what is missing and, if asked to, waits for it."""

    def __init__(self, cluster: ClusterConfig, sweep_dir: Path, ledger: Ledger, trainer_command: list[str]) -> None:
        self._cluster = cluster
        self._sweep_dir = sweep_dir.resolve()
        self._ledger = ledger
        self._trainer_command = trainer_command
        self._unknown: list[str] = []
        """Runs whose jobs Slurm did not tell us about."""
        self._submissions = Submissions(sweep_dir / "launch" / "jobs.json")
        # Two checkouts may hold sweeps of one name; their jobs must not be taken for each other's.
        self._tag = hashlib.sha256(str(self._sweep_dir).encode()).hexdigest()[:8]

    def submit_missing(self) -> str:
        """Submit every waiting run that has no job in the queue; a note where something stood in the way.

        Raises InputError where sbatch refuses the first job that is asked of it.
        """
        queue = read_queue()
        self._unknown = []
        self._find_ours(queue)
        submitted = 0
        for run_id in list(self._ledger.waiting):
            last = self._submissions.get(run_id)
            if last is not None and queue is None:
                self._unknown.append(run_id)
                continue
            found = _find(last, queue)
            if last is not None and found is not None:
                self._adopt(run_id, last, found)
                continue
            try:
                self._submit(run_id)
            except InputError as error:
                if not submitted:
                    raise
                left = len(self._ledger.waiting)
                return f"{submitted} jobs submitted, {left} runs left for the next launch: {error}"
            submitted += 1
        return NO_ANSWER if queue is None else ""

    def wait(self, report: Report, poll_seconds: float) -> None:
        """Until every run is finished or given up, submitting again what its job left undone."""
        progress = Progress(self._ledger)
        note = ""
        while not self._ledger.is_done:
            report(progress.snapshot(note))
            time.sleep(poll_seconds)
            self._ledger.look_elsewhere()
            queue = read_queue()
            if queue is None:
                note = NO_ANSWER
                continue
            self._reap(queue)
            try:
                note = self.submit_missing() if self._ledger.waiting else ""
            except InputError as error:  # what worked before fails now: the controller went away, or a limit is reached
                note = str(error)
        report(progress.snapshot(note))

    def queued(self) -> list[str]:
        """Runs that have a job now, or may have one."""
        return [*self._ledger.in_job, *self._unknown]

    def _find_ours(self, queue: dict[str, QueuedJob] | None) -> None:
        """What some process trains is in the job of an earlier launch, or was until that ended, or is not ours."""
        for run_id in list(self._ledger.elsewhere):
            last = self._submissions.get(run_id)
            if last is None:
                continue
            found = _find(last, queue)
            if queue is None:
                self._unknown.append(run_id)
            elif found is not None:
                self._adopt(run_id, last, found)
            elif not is_leased(self._ledger.entries[run_id].run.lock_file, ended_job=last.job_id):
                self._ledger.elsewhere.remove(run_id)
                self._ledger.waiting.append(run_id)

    def _adopt(self, run_id: str, last: Submission, found: QueuedJob) -> None:
        """The job of an earlier launch is this one's."""
        last.job_id = found.id
        self._submissions.put(run_id, last)
        self._ledger.begin([run_id], _job(last))

    def _submit(self, run_id: str) -> None:
        entry = self._ledger.entries[run_id]
        attempt = entry.run.status.attempts + entry.deaths + entry.failures
        name = f"{run_id}.{self._tag}"
        folder = self._sweep_dir / "launch" / "jobs" / f"{run_id}.{attempt}.{time.time_ns()}"
        submission = Submission(name, None, str(folder), "", time.time())
        self._submissions.put(run_id, submission)
        command = [*self._trainer_command, str(self._sweep_dir / run_id)]
        job = submit(self._cluster, [command], folder, name, processes=entry.planned.processes)
        submission.job_id, submission.log = job.id, str(job.log)
        self._submissions.put(run_id, submission)
        self._ledger.begin([run_id], job)

    def _reap(self, queue: dict[str, QueuedJob]) -> None:
        for run_id, job in list(self._ledger.in_job.items()):
            if job.id in queue:
                continue
            entry = self._ledger.entries[run_id]
            state, locked = entry.run.status.state, is_leased(entry.run.lock_file, ended_job=job.id)
            if state != "finished" and not job.record.exists():
                error = "its job left the queue before it began: cancelled, or its log could not be written"
                self._ledger.give_up(run_id, error, job)
            elif state != "finished" and job.was_stopped and not locked:
                # Time limits and preemptions stay in the queue; a job that leaves it like this was cancelled.
                self._ledger.give_up(run_id, "its job was cancelled; launch again to continue it", job)
            else:
                self._ledger.settle(job)


def _find(last: Submission | None, queue: dict[str, QueuedJob] | None) -> QueuedJob | None:
    """The run's job in the queue: by id, or by its name where the id was never recorded."""
    if last is None or queue is None:
        return None
    if last.job_id is not None:
        return queue.get(last.job_id)
    return next((job for job in queue.values() if job.name == last.name), None)


def _job(submission: Submission) -> Job:
    return Job(submission.job_id or "", submission.name, submission.record, Path(submission.log))
