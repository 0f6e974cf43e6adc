"""A sweep on this machine: its tasks packed into as many jobs as there are slots, watched until all have ended.

A job trains several short runs one after another in one process, which saves the seconds of start-up that would
dominate them. A launcher that is killed leaves its jobs running; the next one finds them by their locks and waits.
"""

import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.runs.failures import VARIABLE
from mammut_clip.slurm.local import LocalJob, submit_local
from mammut_clip.slurm.task import Task
from mammut_clip.sweep.local_ends import settle, words_of
from mammut_clip.sweep.local_record import NAME, LocalRecord, LocalTask
from mammut_clip.sweep.meter import Meter
from mammut_clip.sweep.progress import Report
from mammut_clip.sweep.standing import Standing, look
from mammut_clip.sweep.stored import Launched, StoredRun, is_paused

_JOB_NAME = re.compile(r"^(\d+)-slot(\d+)$")
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE_SECONDS = 15
"""Beyond a job's own grace, before it is killed."""
JOB_SECONDS = 600.0
"""Predicted time for which a job takes further runs; whoever is free next takes the others."""


def pack(tasks: Sequence[Task], bins: int, seconds: float = JOB_SECONDS) -> list[list[Task]]:
    """At most `bins` lists of about equal predicted time, each of one task, or of several trainings on as many ranks
    that take no more than `seconds`; what does not fit is left out. Evaluations first, then the longest trainings."""
    lists: list[list[Task]] = []
    for task in sorted(tasks, key=lambda task: (task.kind != "evaluate", -task.seconds, task.id)):
        if len(lists) < bins:
            lists.append([task])
            continue
        alike = [found for found in lists if task.kind == "train" and _kind(found[0]) == _kind(task)]
        emptiest = min(alike, key=_seconds, default=None)
        if emptiest is not None and _seconds(emptiest) + task.seconds <= seconds:
            emptiest.append(task)
    return lists


def _kind(task: Task) -> tuple[str, int]:
    return task.kind, task.processes


def _seconds(tasks: Sequence[Task]) -> float:
    return sum(task.seconds for task in tasks)


def command_for(tasks: Sequence[Task]) -> list[str]:
    """The command that does one task, or several trainings one after the other: a run comes last, others follow it."""
    python = [sys.executable]
    if tasks[0].processes > 1:
        python += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={tasks[0].processes}"]
    return [*python, *tasks[0].arguments, *(task.run for task in tasks[1:])]


@dataclass(frozen=True)
class _Slot:
    """Room for one job."""

    number: int
    gpus: tuple[int, ...]


def _slots(cluster: ClusterConfig, runs: Sequence[StoredRun]) -> list[_Slot]:
    width = max((run.gpus for run in runs if not run.dropped), default=0)
    count = cluster.slots
    if width:
        # GPUs are not shared: jobs at once are limited by them even where parallel_jobs says more
        count = min(count, cluster.gpus_per_node // width)
    return [_Slot(n, tuple(range(n * width, (n + 1) * width))) for n in range(count)]


class LocalLauncher:
    """Starts, watches and stops the jobs of one launch on this machine."""

    def __init__(self, launched: Launched, grace_seconds: float) -> None:
        self._launched = launched
        self._grace = grace_seconds
        self._folder = launched.folder.launch_folder / "jobs"
        self._slots = _slots(launched.stored.cluster, launched.stored.runs)
        self._jobs: dict[int, tuple[LocalJob, LocalRecord]] = {}
        """Slot number -> the job in it."""
        self._alone: set[str] = set()
        """Tasks that get a job for themselves, since a shared one did not come to them."""
        self._stopped = False
        self._adopt()

    def run(self, report: Report, poll_seconds: float, refresh: Callable[[Standing], str]) -> bool:
        """Until nothing is left that goes on by itself, or the user pauses the sweep: whether that was it.

        KeyboardInterrupt passes through; `stop` ends the jobs then, and after a pause. `refresh` makes the results anew
        where need be, and returns why it could not."""
        meter = Meter()
        while True:
            self._reap()
            standing = look(self._launched, self._busy())
            paused = is_paused(self._launched.folder)
            if not paused:
                self._start(standing.due)
            report(meter.snapshot(self._launched, standing, refresh(standing)))
            if paused or not (self._jobs or standing.waiting or standing.elsewhere or standing.due):
                return paused
            time.sleep(poll_seconds)

    def stop(self, at_once: bool = False) -> None:
        """End all jobs: in good order (their runs write a checkpoint), or at once."""
        self._stopped = True
        deadline = time.monotonic() + (0 if at_once else self._grace + _PATIENCE_SECONDS)
        while running := [job for job, _ in self._jobs.values() if job.is_running]:
            for job in running:
                if time.monotonic() < deadline:
                    job.cancel()
                else:
                    job.kill()
            time.sleep(0.2)
        self._reap()

    def _busy(self) -> set[str]:
        return {task.id for _, record in self._jobs.values() for task in record.tasks}

    def _adopt(self) -> None:
        """Take over the jobs that an earlier launcher left: so that the machine is not given twice the work, and the
        ends of those that nobody has seen are noted."""
        for file in sorted(self._folder.glob(f"*/{NAME}")):
            record, name = LocalRecord.read(file), _JOB_NAME.match(file.parent.name)
            if record is None or record.settled or name is None:
                continue
            log = next(file.parent.glob("*_log.out"), file)
            job = LocalJob(file.parent.name, file.parent / f"{file.parent.name}.json", log)
            if job.is_running:
                self._jobs[int(name.group(2))] = job, record
            else:
                self._settle(job, record)

    def _reap(self) -> None:
        for number, (job, record) in list(self._jobs.items()):
            if not job.is_running:
                del self._jobs[number]
                self._settle(job, record)

    def _settle(self, job: LocalJob, record: LocalRecord) -> None:
        self._alone |= settle(job, record, self._launched.stored.policy, stopped=self._stopped)

    def _start(self, due: Sequence[Task]) -> None:
        free = [slot for slot in self._slots if slot.number not in self._jobs]
        busy = self._busy()  # a job that was taken over may have runs that say they are due
        waiting = [task for task in due if task.id not in busy]
        for slot, tasks in zip(free, self._pack(waiting, len(free)), strict=False):
            name = f"{self._next_number():04d}-slot{slot.number}"
            folder = self._folder / name
            record = LocalRecord(tasks=[LocalTask.of(task) for task in tasks])
            record.write(folder / NAME)
            with _interrupts_later():  # when the job is known to `stop`
                job = submit_local(
                    self._launched.stored.cluster,
                    command_for(tasks),
                    folder,
                    name,
                    visible_gpus=slot.gpus,
                    grace_seconds=self._grace,
                    environment={VARIABLE: str(words_of(folder / NAME))},
                )
                self._jobs[slot.number] = job, record

    def _pack(self, tasks: Sequence[Task], bins: int) -> list[list[Task]]:
        alone = [[task] for task in tasks if task.id in self._alone][:bins]
        return alone + pack([task for task in tasks if task.id not in self._alone], bins - len(alone))

    def _next_number(self) -> int:
        numbers = [int(match.group(1)) for path in self._folder.glob("*") if (match := _JOB_NAME.match(path.name))]
        return max(numbers, default=0) + 1


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Signals that end a launcher do so at the end of the block. (Masked ones would come by way of other threads.)"""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    is_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in _ENDING} if is_main else {}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
