"""The loop of a job: as many tasks at a time as it has room for, until all are over or the job has to end."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mammut_clip.config.atomic import DiskFullError
from mammut_clip.config.errors import InputError
from mammut_clip.runs.ends import EndKind
from mammut_clip.slurm.control import controller_answers
from mammut_clip.slurm.record import TaskRecord
from mammut_clip.slurm.supervisor.attempt import Attempt, made_end, samples_at_newest
from mammut_clip.slurm.supervisor.judge import Judgement
from mammut_clip.slurm.supervisor.leftovers import note_leftovers
from mammut_clip.slurm.supervisor.notes import Notes
from mammut_clip.slurm.supervisor.readiness import Later, Over, readiness
from mammut_clip.slurm.supervisor.say import say
from mammut_clip.slurm.supervisor.signals import Signals
from mammut_clip.slurm.supervisor.this_job import ThisJob
from mammut_clip.slurm.supervisor.wishes import Wishes
from mammut_clip.slurm.task import Task

if TYPE_CHECKING:
    from mammut_clip.slurm.supervisor import Supervisor

_TURN_SECONDS = 0.2
_LOOK_AGAIN_SECONDS = 10.0
_WISHES_SECONDS = 3.0
_SIGNAL_LAG_SECONDS = 1.0
"""A step may end by a signal a moment before its job's supervisor hears of it."""
_OWN_FAILURES: tuple[EndKind, ...] = ("done", "disk_full", "out_of_memory", "bad_input")


@dataclass
class _Waiting:
    """A task that has not begun, or is to begin again."""

    task: Task
    look_at: float = 0.0
    """Unix time before which nothing needs to be looked at."""
    since: float = field(default_factory=time.time)
    """Unix time since which it waits."""
    told: str = ""
    """What was printed about it last."""


@dataclass(frozen=True)
class Stop:
    """Why the job ends before its tasks are over."""

    kind: EndKind | None
    """None where Slurm did not say: how its tasks ended is for the next restart, or the launcher, to find out."""
    nodes: str = ""
    """node_failure: those that went away."""
    by_slurm: bool = False
    """Whether Slurm ends the job: it has told the steps itself, and what comes of the job is Slurm's to say."""


class Lanes:
    """The tasks of a job, running and waiting."""

    def __init__(self, work: "Supervisor", job: ThisJob, notes: Notes, signals: Signals, control: Path) -> None:
        self._work, self._job, self._notes, self._signals, self._control = work, job, notes, signals, control
        self._waiting = [_Waiting(task) for task in work.tasks]
        self._running: list[Attempt] = []
        self._starts: dict[str, int] = {}
        self._wishes, self._wished_at = Wishes(), -float("inf")
        self._heard_term = False
        self.stop: Stop | None = None
        self.undone: dict[str, str] = {}
        """Ids of tasks that are over and not done -> why."""

    @property
    def all_over(self) -> bool:
        """Whether nothing is left to do: each task is done, given up or to be left alone."""
        return not self._waiting and not self._running

    def run(self) -> None:
        """Returns when all is over, or the job has to end and nothing of it runs any more."""
        say(f"job {self._job.id}, restart {self._job.restart}, on {self._job.nodes}: {len(self._waiting)} tasks")
        note_leftovers(self._work.tasks, self._job, self._notes)
        self._notes.begin_restart(self._job)
        self._notes.flush(now=True)
        while True:
            self._heed()
            self._reap()
            self._notes.flush()
            if self.stop is None:
                self._begin_what_may()
            if not self._running and (self.stop is not None or not self._waiting):
                return
            time.sleep(_TURN_SECONDS)

    def _heed(self) -> None:
        """Signals, and what the user wants."""
        now = time.monotonic()
        if now - self._wished_at >= _WISHES_SECONDS:
            self._wishes, self._wished_at = Wishes.at(self._control), now
        if self._signals.near_end is not None and self.stop is None:
            self._near_end(self._signals.near_end)
        elif self._wishes.paused and self.stop is None:
            say("the sweep is paused: the job ends in good order")
            self.stop = Stop("paused")
        if self._signals.term and not self._heard_term:
            self._heard_term = True
            self._told_to_stop()
        for attempt in self._running:
            if self.stop is not None and not self.stop.by_slurm:
                attempt.tell(self.stop.kind)
            elif attempt.task.run_dir.name in self._wishes.cancelled:
                attempt.tell("paused")  # that it is cancelled says the user's own word, until `sweep retry`
            attempt.look_after()

    def _near_end(self, name: str) -> None:
        self._wishes = Wishes.at(self._control)
        kind: EndKind = "paused" if self._wishes.paused else "time_limit"
        say(f"{name}: checkpoints are written, nothing is begun any more ({kind})")
        self.stop = Stop(kind)
        self._notes.record.told_to_stop = name
        self._notes.changed()
        self._notes.flush(now=True)

    def _told_to_stop(self) -> None:
        """SIGTERM: the steps have got it too, and SIGKILL follows after the site's KillWait."""
        if self._notes.record.told_to_stop is None:
            self._notes.record.told_to_stop = "SIGTERM"
            self._notes.changed()
            self._notes.flush(now=True)
        self._ask_slurm()
        if self.stop is None:
            say("SIGTERM: Slurm does not say why")
            self.stop = Stop(None)

    def _ask_slurm(self) -> None:
        """Whether Slurm is about to end the job, or has given it up with its node and queued it again, and why."""
        kind, nodes = self._job.why_told_to_stop(), ""
        if kind == "requeued":
            nodes = self._job.down_nodes()
            kind = "node_failure" if nodes else kind
        elif kind == "cancelled" and Wishes.at(self._control).paused:
            kind = "paused"  # `sweep pause` takes waiting jobs out of the queue, and this one began meanwhile
        if kind is not None:
            say(f"Slurm ends the job: {kind} {nodes}".rstrip())
            self.stop = Stop(kind, nodes, by_slurm=True)

    def _reap(self) -> None:
        for attempt in list(self._running):
            code = attempt.exit_code
            if code is None and not (self._will_be_killed and attempt.has_said_its_end):
                continue
            if code and self.stop is None and attempt.seconds_since_end < _SIGNAL_LAG_SECONDS:
                continue
            self._running.remove(attempt)
            self._ended(attempt, code)

    @property
    def _will_be_killed(self) -> bool:
        """Whether SIGKILL is near, and why is known: then nothing is waited for that is not needed."""
        return self._heard_term and self.stop is not None and self.stop.kind is not None

    def _ended(self, attempt: Attempt, code: int | None) -> None:
        if self.stop is None and not attempt.is_done:
            # Slurm may have lost this node: then srun ends, perhaps with exit code 0, and nobody tells this process.
            self._ask_slurm()
        task, stop = attempt.task, self.stop
        judgement = attempt.judgement(None if stop is None else stop.kind)
        if judgement.kind == "crash" and stop is None and not attempt.began and not controller_answers():
            judgement = Judgement(None, "Slurm's controller does not answer, so no step can begin")
        if judgement.kind is None:
            say(f"{task.id}: {judgement.error}")
            self._not_begun(attempt)
            return
        if stop is not None and stop.kind is None and judgement.kind not in _OWN_FAILURES:
            say(f"{task.id}: ended with exit code {code}; why is not known")
        else:
            self._note_end(attempt, judgement, code)
        if judgement.kind == "done":
            return
        self._waiting.append(_Waiting(task))

    def _not_begun(self, attempt: Attempt) -> None:
        """That was no attempt, through no fault of the run."""
        self._notes.record.tasks.remove(attempt.noted)
        self._notes.changed()
        self._waiting.append(_Waiting(attempt.task, look_at=time.time() + _LOOK_AGAIN_SECONDS))

    def drop_what_is_over(self) -> None:
        """Of the tasks that wait, when nothing is begun any more."""
        for entry in list(self._waiting):
            found = readiness(entry.task, self._notes, self._work.policy, self._wishes, 0.0)
            if isinstance(found, Over):
                self._waiting.remove(entry)
                self._over(entry.task, found)

    def _note_end(self, attempt: Attempt, judgement: Judgement, code: int | None) -> None:
        task = attempt.task
        down = "" if self.stop is None else self.stop.nodes
        if judgement.kind == "crash" and self._work.shape.nodes > 1:
            down = self._job.down_nodes()
            if down:
                judgement = Judgement("node_failure", f"{down} went away; {judgement.error}")
        end = attempt.end(judgement, down)
        how = "ending" if code is None else f"exit code {code}"
        words = f": {end.error}" if end.error else ""
        say(f"{task.id}: {end.kind}, {how}, {end.samples_before} -> {end.samples_after} samples{words}")
        self._notes.end(attempt.noted, task.run_dir.ends_file, end)

    def _begin_what_may(self) -> None:
        """Tasks whose time has come, in order, as far as there is room and what happened before has been noted."""
        now = time.time()
        for entry in list(self._waiting):
            if len(self._running) >= self._work.shape.at_once or not self._notes.settled:
                return
            if now < entry.look_at:
                continue
            found = readiness(entry.task, self._notes, self._work.policy, self._wishes, self._patience(entry))
            if isinstance(found, Over):
                self._waiting.remove(entry)
                self._over(entry.task, found)
            elif isinstance(found, Later):
                entry.look_at = found.at
                if found.why != entry.told:
                    say(f"{entry.task.id}: {found.why}")
                    entry.told = found.why
            else:
                self._waiting.remove(entry)
                self._begin(entry.task, found.why)

    def _patience(self, entry: _Waiting) -> float:
        """For how long it has been alone to wait for, in seconds; 0 while others run."""
        return 0.0 if self._running else time.time() - entry.since

    def _over(self, task: Task, found: Over) -> None:
        say(f"{task.id}: {found.why}")
        if not found.done:
            self.undone[task.id] = found.why

    def _begin(self, task: Task, why: str) -> None:
        noted = TaskRecord(
            task=task.id,
            began=round(time.time(), 3),
            nodes=self._job.nodes,
            samples_before=samples_at_newest(task),
            restart=self._job.restart,
        )
        if not self._notes.begin(noted):
            self._waiting.insert(0, _Waiting(task))
            return
        number = self._starts[task.id] = self._starts.get(task.id, 0) + 1
        attempt = Attempt(task, noted, number, self._job, self._work)
        say(f"{task.id}: begins ({why}); logs {attempt.log}-*")
        try:
            attempt.begin()
        except (OSError, InputError) as error:
            kind: EndKind = "disk_full" if isinstance(error, DiskFullError) else "crash"
            say(f"{task.id}: cannot be begun: {error}")
            end = made_end(task, noted, self._job, kind, error=f"it could not be begun: {error}")
            self._notes.end(noted, task.run_dir.ends_file, end)
            self._waiting.append(_Waiting(task))
        else:
            self._running.append(attempt)
