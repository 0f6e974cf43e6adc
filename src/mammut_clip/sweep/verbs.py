"""pause, resume, cancel, retry: what a user may want of a launched sweep.

Wishes stand in launch/control.json, at which the supervisors of running jobs look every few seconds, and in the runs'
ends.jsonl, by which every launcher decides. So they hold even where Slurm does not answer when they are uttered.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError
from mammut_clip.runs.ends import End, append_end
from mammut_clip.runs.lease import is_leased
from mammut_clip.slurm.control import cancel as cancel_jobs
from mammut_clip.slurm.control import send_signal
from mammut_clip.slurm.errors import SlurmAwayError
from mammut_clip.slurm.queue import QueuedJob, read_queue
from mammut_clip.sweep.cycle import NO_ANSWER
from mammut_clip.sweep.departures import settle, work_of
from mammut_clip.sweep.journal import Journal
from mammut_clip.sweep.standing import look
from mammut_clip.sweep.stored import Control, Launched, control_file
from mammut_clip.sweep.turn import lock_of, turn
from mammut_clip.sweep.watch import PATIENCE_SECONDS

_WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD")
_LOCAL_PATIENCE_SECONDS = 1.0


@dataclass
class Done:
    """What a verb did."""

    runs: list[str] = field(default_factory=list)
    """Runs that it was about."""
    withdrawn: int = 0
    """Jobs that waited in the queue and were taken out of it."""
    told: int = 0
    """Running jobs that were told to end in good order, or will see it."""
    note: str = ""
    """What stood in the way, or what to do next."""
    complete: bool = True
    """Whether Slurm heard of it. If not, jobs that begin find the user's wish written down, and heed it."""

    def to_json_dict(self) -> dict[str, Any]:
        """What the verbs print with --json."""
        return asdict(self)

    def __str__(self) -> str:
        counts = {"run": len(self.runs), "waiting job taken out": self.withdrawn, "running job told": self.told}
        parts = [f"{count} {what if count == 1 else _many(what)}" for what, count in counts.items() if count]
        return "; ".join([*parts, *([self.note] if self.note else [])])


def _many(what: str) -> str:
    """`waiting jobs taken out`."""
    return what.replace("job", "jobs") if "job" in what else what + "s"


def pause(launched: Launched) -> Done:
    """No job of the sweep is submitted any more; waiting ones leave the queue, running ones checkpoint and end."""
    if launched.stored.cluster.kind == "local":
        # Not in turn: the launcher on this machine has it until all is done, and looks at the file.
        _write(launched, Control.of(launched.folder).model_copy(update={"paused": True}))
        if is_leased(lock_of(launched.folder)):
            return Done(note="the launcher that works on it stops in good order")
        return Done(note="no launcher works on it now")
    with _turn(launched) as launched:
        _write(launched, Control.of(launched.folder).model_copy(update={"paused": True}))

        def stop(done: Done, journal: Journal, queue: dict[str, QueuedJob]) -> None:
            ours = [queue[job_id] for job_id in journal.jobs if job_id in queue]
            waiting, running = _split(ours)
            _withdraw(journal, waiting, done)
            send_signal(running, "USR1", to="batch")
            done.told = len(running)

        return _with_queue(launched, Done(), stop)


def resume(launched: Launched) -> Done:
    """Take back `pause`; what is due is for the next cycle to submit."""
    # As in `pause`; what cancels and retries on a cluster writes the same file, in its turn.
    with nullcontext() if launched.stored.cluster.kind == "local" else _turn(launched):
        control = Control.of(launched.folder)
        _write(launched, control.model_copy(update={"paused": False}))
    return Done(note=_next_step(launched) if control.paused else "it was not paused")


def cancel(launched: Launched, names: Sequence[str]) -> Done:
    """Runs are left alone until `retry`: all that are not finished, or those named. What trains now checkpoints and
    ends; other runs of its job go on. Raises InputError for an unknown name."""
    with _turn(launched) as launched:
        chosen = [run for run in _named(launched, names) if launched.run(run).status.state != "finished"]
        # First for those who decide, then for the jobs that run, and in `retry` the other way round: were this process
        # killed in between, jobs would else be submitted again and again, and each would find its run cancelled.
        for run_id in chosen:
            append_end(launched.run(run_id).ends_file, End(kind="cancelled", error="cancelled by `sweep cancel`"))
        nothing = "" if chosen else f"nothing, as {'what was named is' if names else 'all are'} finished"
        if launched.stored.cluster.kind == "local":
            return Done(chosen, note=nothing)
        control = Control.of(launched.folder)
        _write(launched, control.model_copy(update={"cancelled": sorted({*control.cancelled, *chosen})}))

        def stop(done: Done, journal: Journal, queue: dict[str, QueuedJob]) -> None:
            idle = _idle(launched, journal, {*control.cancelled, *chosen})
            waiting, running = _split([queue[job_id] for job_id in idle if job_id in queue])
            _withdraw(journal, waiting, done)
            concerned = {job.id for job in journal.jobs.values() if _runs_of(launched, job.task_ids) & set(chosen)}
            done.told = len(concerned & {*running, *_split([queue[i] for i in concerned if i in queue])[1]})

        return _with_queue(launched, Done(chosen, note=nothing), stop)


def retry(launched: Launched, names: Sequence[str]) -> Done:
    """Runs get another try, whatever became of them before: those named, or all that are given up or cancelled, or
    whose evaluation is. Raises InputError for an unknown or a dropped name."""
    with _turn(launched) as launched:
        chosen = _to_retry(launched, names)
        control = Control.of(launched.folder)
        if not {*chosen}.isdisjoint(control.cancelled):
            _write(launched, control.model_copy(update={"cancelled": sorted({*control.cancelled} - {*chosen})}))
        for run_id in chosen:
            append_end(launched.run(run_id).ends_file, End(kind="retry"))
    return Done(chosen, note=_next_step(launched) if chosen else "nothing, as none is given up or cancelled")


def _to_retry(launched: Launched, names: Sequence[str]) -> list[str]:
    if not names:
        standing = look(launched, set(), patient=False)
        failed = {work_of(launched, one.id)[0] for one in standing.failed}
        return [run for run in launched.entries if run in failed | set(standing.cancelled)]
    chosen = _named(launched, names)
    dropped = [run for run in chosen if launched.entries[run].dropped]
    if dropped:
        raise InputError(
            f"{launched.folder.path}: the grid has {dropped[0]} no more; launch one that has it, or `sweep add` it"
        )
    return chosen


def _next_step(launched: Launched) -> str:
    """On this machine nothing works in the background."""
    local = launched.stored.cluster.kind == "local"
    return f"`mammut-clip sweep launch` starts what is due: {launched.stored.source}" if local else ""


@contextmanager
def _turn(launched: Launched) -> Iterator[Launched]:
    """Have the sweep for oneself, as it stands then: it may have grown while others had their turn."""
    local = launched.stored.cluster.kind == "local"
    with turn(launched.folder, _LOCAL_PATIENCE_SECONDS if local else PATIENCE_SECONDS):
        yield Launched.at(launched.folder.path)


def _named(launched: Launched, names: Sequence[str]) -> list[str]:
    """Ids of the runs named, all where none is. Raises InputError, with the nearest names, for one that is none."""
    known = launched.entries
    for name in names:
        if name not in known:
            raise InputError(f"{launched.folder.path}: no run {name!r} in this sweep; {nearest(name, list(known))}")
    return list(dict.fromkeys(names)) or list(known)


def _write(launched: Launched, control: Control) -> None:
    control.write(control_file(launched.folder))


def _with_queue(launched: Launched, done: Done, act: Callable[[Done, Journal, dict[str, QueuedJob]], None]) -> Done:
    """Do something about the sweep's jobs, in turn, as far as Slurm answers."""
    journal, queue = Journal.open(launched.folder), read_queue()
    try:
        if queue is None:
            raise SlurmAwayError(NO_ANSWER)
        settle(launched, journal, queue)
        act(done, journal, queue)
    except SlurmAwayError as error:
        done.complete = False
        done.note = f"{error}. It is written down, and heeded by jobs that run or begin; the same command does the rest"
    return done


def _split(jobs: Collection[QueuedJob]) -> tuple[list[str], list[str]]:
    """Ids of those that wait and of those that have nodes."""
    waiting = [job.id for job in jobs if job.state in _WAITING]
    return waiting, [job.id for job in jobs if job.state not in _WAITING and not job.is_over]


def _withdraw(journal: Journal, ids: list[str], done: Done) -> None:
    """Take waiting jobs out of the queue, so that nobody takes that for the user's word about their runs."""
    journal.withdraw(ids)
    cancel_jobs(ids)
    done.withdrawn = len(ids)


def _idle(launched: Launched, journal: Journal, cancelled: set[str]) -> list[str]:
    """Jobs that have nothing to do any more, as all their runs are cancelled or finished."""
    return [
        job.id
        for job in journal.jobs.values()
        if all(
            run in cancelled or launched.run(run).status.state == "finished" for run in _runs_of(launched, job.task_ids)
        )
    ]


def _runs_of(launched: Launched, task_ids: Sequence[str]) -> set[str]:
    return {work_of(launched, task_id)[0] for task_id in task_ids}
