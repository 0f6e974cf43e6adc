"""How a sweep stands, from its run directories alone: no launcher, no queue, no database is asked.

What stands where: how far a run is, in its status.json; how its attempts ended, in ends.jsonl; whether one that says it
runs does, in its lease; what a sweep's runs are, in launch/sweep.json; what its jobs were in the queue when a launcher
looked last, in launch/queue.json.
"""

import os
import time
from pathlib import Path

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError
from mammut_clip.config.sweep import SweepPolicy
from mammut_clip.runs.ends import End, read_ends
from mammut_clip.runs.holder import this_process
from mammut_clip.runs.layout import RunDir, SweepDir
from mammut_clip.runs.lease_files import LEASE_SECONDS
from mammut_clip.runs.records import Status
from mammut_clip.slurm.policy import Decision, decide
from mammut_clip.sweep.evaluations import NOTHING, ends_that_count, evaluated, evaluation_id
from mammut_clip.sweep.heartbeat import Heartbeat, heartbeat
from mammut_clip.sweep.progress import last_row
from mammut_clip.sweep.queue_file import QueueFile, QueueLine, read_queue_file
from mammut_clip.sweep.standing import training_ends
from mammut_clip.sweep.status_rows import RunHistory, StatusRow, SweepStatus
from mammut_clip.sweep.stored import Control, StoredRun, StoredSweep, stored_file

_START = Decision("start", "")


def sweep_status(sweep: SweepDir | Path) -> SweepStatus:
    """The state of every run in a sweep's folder. Raises InputError where there is no sweep."""
    looker = _Looker(SweepDir(sweep) if isinstance(sweep, Path) else sweep)
    ids = looker.run_ids()
    if not ids:
        raise InputError(
            f"{looker.sweep.path}: no sweep here (nothing was launched, and no folder holds a config.yaml)"
        )
    return SweepStatus(
        looker.sweep.name,
        [looker.row(run_id) for run_id in ids],
        on_gpus=looker.on_gpus,
        paused=Control.of(looker.sweep).paused,
        queue_age=None if looker.queue is None else max(0.0, looker.now - looker.queue.at),
        queue_answered=looker.queue is None or looker.queue.answered,
    )


def run_history(sweep: SweepDir | Path, run_id: str) -> RunHistory:
    """One run of a sweep. Raises InputError where there is none of this name."""
    looker = _Looker(SweepDir(sweep) if isinstance(sweep, Path) else sweep)
    known = looker.run_ids()
    if run_id not in known:
        raise InputError(f"{looker.sweep.path}: no run {run_id!r} here; {nearest(run_id, known)}")
    run = looker.sweep.run(run_id)
    ends = read_ends(run.ends_file)
    # Without hidden files, such as last words: they go away while one looks at them.
    logs = sorted(run.logs.glob("[!.]*"), key=lambda file: file.stat().st_mtime, reverse=True)
    names = {file.name for file in logs}
    jobs = [end.log for end in reversed(ends) if end.log is not None and Path(end.log).name not in names]
    return RunHistory(looker.row(run_id), ends, list(dict.fromkeys([*map(str, logs), *jobs])))


class _Looker:
    """One look at a sweep."""

    def __init__(self, sweep: SweepDir) -> None:
        self.sweep = sweep
        self.now = time.time()
        self.stored = StoredSweep.read(stored_file(sweep))
        self.queue: QueueFile | None = read_queue_file(sweep)
        self.me = this_process(LEASE_SECONDS)
        self._runs = {} if self.stored is None else {entry.id: entry for entry in self.stored.runs}
        self._policy = SweepPolicy() if self.stored is None else self.stored.policy

    @property
    def on_gpus(self) -> bool:
        return self.stored is not None and self.stored.cluster.gpus_per_node > 0

    def run_ids(self) -> list[str]:
        """Those that were launched, in the grid's order; then those made by hand."""
        try:
            names = {entry.name for entry in os.scandir(self.sweep.path) if entry.is_dir()}
        except OSError:
            names = set()
        others = sorted(names - set(self._runs))
        return [*self._runs, *(name for name in others if self.sweep.run(name).config_file.is_file())]

    def row(self, run_id: str) -> StatusRow:
        run, entry = self.sweep.run(run_id), self._runs.get(run_id)
        written = Status.read(run.status_file)
        status, ends = written or Status(), read_ends(run.ends_file)
        training = training_ends(ends)
        last, beat = {}, None
        if status.state == "running":
            last, beat = last_row(run.metrics_file), heartbeat(run, training, self.me)
            if beat is None:  # it may have come to its end since its status was read
                status = run.status
        decision = decide(training, self._policy) if training else _START
        line = self._line(run_id)
        state = _state(status, decision, line, beat, entry)
        seen = max(status.samples_seen, int(last.get("samples_seen", 0)))
        total = _total_samples(run, entry, status)
        seconds = max(status.train_seconds, float(last.get("train_seconds", 0.0)))
        rate = float(last.get("samples_per_second") or 0.0) if state == "running" else 0.0
        ended = training[-1] if training else None
        done, missing, evaluation_why = self._evaluations(run, total, ends)
        return StatusRow(
            id=run_id,
            state=state,
            samples_seen=seen,
            total_samples=total,
            attempts=status.attempts,
            hours=seconds * _processes(run, entry, seconds) / 3600,
            loss=last.get("loss"),
            samples_per_second=rate or None,
            eta_seconds=(total - seen) / rate if rate else None,
            last_error=_one_line(status.last_error or (ended.error if ended is not None else None)),
            ended=None if ended is None else ended.kind,
            why=_why(state, decision, line, beat, self.now),
            has_problem=state == "queued" and line is not None and line.problem is not None,
            job=(beat.job if beat is not None else None) or (line.job if line is not None else None),
            updated_at=None if written is None else written.updated_at,
            evaluations_done=done,
            evaluations_missing=missing,
            evaluation_why=evaluation_why,
        )

    def _evaluations(self, run: RunDir, total_samples: int, ends: list[End]) -> tuple[int, int, str | None]:
        """How many are done, how many missing, and what stands in their way."""
        found = NOTHING if self.stored is None else evaluated(run, total_samples, self.stored)
        if not found.missing:
            return len(found.done), 0, None
        counting, line, why = ends_that_count(run, found.missing, ends), self._line(evaluation_id(run.name)), None
        if counting:
            decision = decide(counting, self._policy)
            why = decision.why if decision.action != "start" else _one_line(counting[-1].error or counting[-1].kind)
        return len(found.done), len(found.missing), why or (line.problem if line is not None else None)

    def _line(self, task_id: str) -> QueueLine | None:
        return None if self.queue is None else self.queue.jobs.get(task_id)


def _state(
    status: Status,
    decision: Decision,
    line: QueueLine | None,
    beat: Heartbeat | None,
    entry: StoredRun | None,
) -> str:
    if status.state == "finished":
        return "finished"
    if beat is not None and not beat.is_silent:
        return "running"
    if entry is not None and entry.dropped:
        return "dropped"
    if decision.action == "give_up":
        return "given_up"
    if decision.action == "leave":
        return "cancelled"
    if line is not None and not line.runs:
        return "queued"
    if beat is not None:
        return "silent"
    if line is not None:
        return "queued"
    return "interrupted" if status.state == "running" else status.state


def _why(state: str, decision: Decision, line: QueueLine | None, beat: Heartbeat | None, now: float) -> str | None:
    if state == "given_up":
        return decision.why
    if state == "silent" and beat is not None:
        return f"no sign of life for {now - beat.at:.0f} s from {beat.holder}"
    if line is not None and state == "queued":
        return line.problem or line.reason or None
    if state in ("failed", "interrupted", "pending") and decision.not_before > now:
        return f"{decision.why}: next try in {decision.not_before - now:.0f} s"
    return None


def _total_samples(run: RunDir, entry: StoredRun | None, status: Status) -> int:
    """The clock at its end; its config is read only where nobody else says it."""
    if entry is not None:
        return entry.total_samples
    return run.config.total_samples if status.total_samples is None else status.total_samples


def _processes(run: RunDir, entry: StoredRun | None, seconds: float) -> int:
    if entry is not None:
        return entry.processes
    manifest = run.manifest if seconds else None
    return 1 if manifest is None else manifest.world_size


def _one_line(text: str | None) -> str | None:
    return " ".join(text.split()) if text else None
