"""One cycle of the launcher: look at the queue and the run directories, note what has ended, submit what is due.

Everything is asked for once: one squeue for all jobs, one sacct for those that left. Where Slurm does not answer,
nothing is known, and nothing changes.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mammut_clip.runs.lease import Lease
from mammut_clip.slurm.errors import SlurmAwayError
from mammut_clip.slurm.names import submission_number
from mammut_clip.slurm.queue import QueuedJob, read_queue
from mammut_clip.slurm.waits import why_it_cannot_start
from mammut_clip.sweep.departures import settle
from mammut_clip.sweep.holding import exclude_from_waiting, failed_nodes, release_held
from mammut_clip.sweep.journal import Journal
from mammut_clip.sweep.queue_file import QueueFile, QueueLine, read_queue_file
from mammut_clip.sweep.standing import Standing, look
from mammut_clip.sweep.stored import Launched, is_paused
from mammut_clip.sweep.submitting import Outcome, Submitter
from mammut_clip.sweep.turn import serve, tickets

NO_ANSWER = "Slurm does not answer; what is in its queue goes on, and nothing is submitted"


@dataclass
class Cycle:
    """What a cycle found and did."""

    answered: bool
    """Whether Slurm answered."""
    standing: Standing
    queued: dict[str, str] = field(default_factory=dict)
    """Task -> its job, of all that are in the queue, or may be."""
    problems: dict[str, str] = field(default_factory=dict)
    """Task -> why its job will not start."""
    outcome: Outcome = field(default_factory=Outcome)
    paused: bool = False
    note: str = ""
    """What stood in the way."""

    def news(self, launched: Launched) -> list[str]:
        """What a watcher is told beside how far the runs are."""
        evaluations = sum(task not in launched.entries for task in self.queued)
        counts = {
            "evaluations in jobs": evaluations,
            "cancelled": len(self.standing.cancelled),
            "waiting for the next try": len(self.standing.waiting),
            "cannot start": len(self.problems),
        }
        said = [f"{count} {what}" for what, count in counts.items() if count]
        return [*said, *(["paused"] if self.paused else []), *([self.note] if self.note else [])]

    @property
    def is_over(self) -> bool:
        """Whether nothing is left that could go on by itself."""
        if not self.answered or self.standing.waiting or self.standing.elsewhere or self.outcome.left:
            return False
        return all(task in self.problems for task in self.queued)


def run_cycle(launched: Launched, lease: Lease, *, patient: bool, may_submit: bool = True) -> Cycle:
    """Carry out one cycle, with the sweep's turn taken (sweep.turn). `patient` as in sweep.standing.look.

    `may_submit`: whether anything is submitted. Raises InputError where the journal or a run directory cannot be read
    or written.
    """
    served = tickets(launched.folder)
    began = time.time()
    journal = Journal.open(launched.folder)
    queue = read_queue()
    if queue is None:
        return _unknown(launched, journal, patient)
    lease.check(force=True)  # suspended (Ctrl-Z) while Slurm was asked, it would note again what another has noted
    settle(launched, journal, queue)
    paused = is_paused(launched.folder)
    standing = look(launched, journal.busy, patient=patient)
    ours = {job_id: queue[job_id] for job_id in journal.jobs if job_id in queue}
    cycle = Cycle(True, standing, paused=paused)
    try:
        for job_id in release_held(journal, ours):
            queue[job_id] = replace(queue[job_id], reason="released")  # no problem any more
        nodes = failed_nodes(launched, standing.node_failures) if standing.node_failures else frozenset()
        exclude_from_waiting(launched, journal, ours, nodes)
        cycle.outcome.left = 0 if paused else len(standing.due)
        if standing.due and not paused and may_submit:
            submitter = Submitter(launched, journal, lease, sorted(nodes))
            cycle.outcome = submitter.submit(standing.due, _in_queue(launched, journal, queue))
            cycle.note = cycle.outcome.note
    except SlurmAwayError as error:
        cycle.note = str(error)
    _show(launched, journal, cycle, queue, began)
    serve(served)
    return cycle


def _in_queue(launched: Launched, journal: Journal, queue: Mapping[str, QueuedJob]) -> int:
    """Jobs of this user in the queue, without those of the sweep that have come to their end, such as the one that
    runs this."""
    sweep_dir = launched.folder.path
    return sum(
        not job.is_over and (job.id in journal.jobs or submission_number(sweep_dir, job.name) is None)
        for job in queue.values()
    )


def _unknown(launched: Launched, journal: Journal, patient: bool) -> Cycle:
    before = read_queue_file(launched.folder) or QueueFile(at=time.time())
    before.model_copy(update={"answered": False}).store(launched.folder)
    in_jobs = {task: job.id for job in journal.jobs.values() for task in job.task_ids}
    queued = {task: in_jobs.get(task, "") for task in journal.busy}
    return Cycle(False, look(launched, journal.busy, patient=patient), queued, note=NO_ANSWER)


def _show(launched: Launched, journal: Journal, cycle: Cycle, queue: Mapping[str, QueuedJob], at: float) -> None:
    """Note for `sweep status` what is in the queue now."""
    lines: dict[str, QueueLine] = {}
    for job in journal.jobs.values():
        queued = queue.get(job.id)
        problem = None if queued is None else why_it_cannot_start(queued)
        for task in job.task_ids:
            cycle.queued[task] = job.id
            if problem is not None:
                cycle.problems[task] = problem
            state, reason = ("PENDING", None) if queued is None else (queued.state, queued.reason)
            lines[task] = QueueLine(job=job.id, state=state, reason=reason, problem=problem)
    for task in journal.busy - lines.keys():
        cycle.queued[task] = ""
    QueueFile(at=at, jobs=lines).store(launched.folder)
