"""What a job writes down: its record, and how its tasks ended. What cannot be written now (a full disk) is kept and
tried again, with a wait that doubles; no task is begun meanwhile."""

import time
from pathlib import Path

from mammut_clip.config.errors import InputError
from mammut_clip.runs.ends import End, append_end, read_ends
from mammut_clip.slurm.ends import is_noted
from mammut_clip.slurm.record import JobRecord, TaskRecord
from mammut_clip.slurm.supervisor.say import say
from mammut_clip.slurm.supervisor.this_job import ThisJob
from mammut_clip.slurm.task import Task

_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
_WORDS = ("cancelled", "retry")
"""The user's."""


class Notes:
    """The record of this job, of earlier restarts too, and ends that wait to be written."""

    def __init__(self, path: Path, record: JobRecord) -> None:
        self._path = path
        self.record = record
        self._unwritten: list[tuple[TaskRecord, Path, End]] = []
        self._changed = True
        self._wait = 0.0
        self._next_try = 0.0

    @classmethod
    def open(cls, path: Path, job: ThisJob) -> "Notes":
        """The job's own record where an earlier restart left one. Its `restart` and `told_to_stop` are still those of
        that restart: see `begin_restart`."""
        before = JobRecord.read(path)
        if before is None or before.job != job.id:
            before = JobRecord(job=job.id, began=time.time(), restart=job.restart)
        return cls(path, before)

    def begin_restart(self, job: ThisJob) -> None:
        """From now on the record speaks of this restart."""
        self.record.restart, self.record.nodes, self.record.host = job.restart, job.nodes, job.host
        self.record.began, self.record.told_to_stop, self.record.ended = time.time(), None, False
        self.changed()

    def changed(self) -> None:
        """The record has been changed; to be written with the next `flush`."""
        self._changed = True

    def begin(self, task: TaskRecord) -> bool:
        """Note that a task begins; whether that stands on disk. If not, the task is not to be begun."""
        self.record.tasks.append(task)
        self.changed()
        if self.flush(now=True):
            return True
        self.record.tasks.remove(task)
        return False

    def end(self, noted: TaskRecord, ends_file: Path, end: End) -> None:
        """Note how an attempt at a task ended, as soon as that can be written."""
        self._unwritten.append((noted, ends_file, end))
        self.flush(now=True)

    def ends_of(self, task: Task) -> list[End]:
        """How attempts at a task ended, and what the user said of its run. An evaluation that is done does not stand
        against the next one of the run."""
        path = task.run_dir.ends_file
        ends = [*read_ends(path), *(end for _, file, end in self._unwritten if file == path)]
        if task.kind == "train":
            return [end for end in ends if end.work == "train"]
        ends = [end for end in ends if end.work == "evaluate" or end.kind in _WORDS]
        last_done = max((number for number, end in enumerate(ends) if end.kind == "done"), default=-1)
        return [end for number, end in enumerate(ends) if number > last_done or end.kind in _WORDS]

    @property
    def settled(self) -> bool:
        """Whether everything stands on disk."""
        return not self._unwritten and not self._changed

    def flush(self, *, now: bool = False) -> bool:
        """Write what has not been written, unless it failed a moment ago; whether everything stands on disk then."""
        if self.settled or (not now and time.monotonic() < self._next_try):
            return self.settled
        try:
            self._write()
        except (OSError, InputError) as error:
            self._wait = min(_LONGEST_WAIT, 2 * self._wait or _FIRST_WAIT)
            self._next_try = time.monotonic() + self._wait
            say(f"cannot be noted now, tried again in {self._wait:g} s: {error}")
        else:
            self._wait = 0.0
        return self.settled

    def leave(self) -> None:
        """Say what was never written: this process ends."""
        for noted, file, end in self._unwritten:
            say(f"not noted in {file}: {noted.task} ended: {end.model_dump_json(exclude_defaults=True)}")

    def _write(self) -> None:
        while self._unwritten:
            noted, path, end = self._unwritten[0]
            # A write that failed may have come through all the same, or the one who wrote it was killed right after.
            if not is_noted(path, end):
                append_end(path, end)
            noted.ended = self._changed = True
            del self._unwritten[0]
        if self._changed:
            there = JobRecord.read(self._path)
            if there is None or there.job != self.record.job or there.restart <= self.record.restart:
                self.record.write(self._path)
            else:  # Slurm has lost this node and begun the job anew on another
                say(f"restart {there.restart} of this job runs on {there.host}: the job's record is left to it")
            self._changed = False
