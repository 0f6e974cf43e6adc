"""Plan -> finished runs. Run it again after anything: only what is missing happens.

runs/<sweep>/launch/sweep.json      the sweep as it was launched last; later commands need no more (sweep.stored)
runs/<sweep>/launch/lock.<n>        held by the launcher whose turn it is (sweep.turn)
runs/<sweep>/launch/journal.jsonl   slurm: what was submitted, before and after (sweep.journal)
runs/<sweep>/launch/control.json    what the user wants of jobs that run: pause, cancel (sweep.verbs)
runs/<sweep>/launch/queue.json      slurm: the queue as a launcher saw it last, for `sweep status`
runs/<sweep>/launch/jobs/           slurm: a folder per submission, with script, logs and records; local: one per job
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from mammut_clip.config.errors import InputError
from mammut_clip.runs.layout import SweepDir
from mammut_clip.slurm.errors import SlurmAwayError
from mammut_clip.slurm.steps import room
from mammut_clip.sweep.cycle import run_cycle
from mammut_clip.sweep.local_launch import launch_here
from mammut_clip.sweep.meter import Meter
from mammut_clip.sweep.plan import Plan
from mammut_clip.sweep.prepare import prepare
from mammut_clip.sweep.progress import Report, Snapshot
from mammut_clip.sweep.result import LaunchResult, result_of
from mammut_clip.sweep.stored import Launched, StoredSweep, stored_file
from mammut_clip.sweep.turn import turn
from mammut_clip.sweep.watch import Refresh, refresh_if_stale, watch

__all__ = ["LaunchResult", "launch"]

_PATIENCE_SECONDS = {"local": 1.0, "slurm": 30.0}
"""How long to wait for another launcher: on this machine one works until all is done, on slurm for a cycle."""


def launch(
    plan: Plan,
    runs_root: Path,
    *,
    progress: Report | None = None,
    wait: bool | None = None,
    poll_seconds: float | None = None,
    grace_seconds: float = 60.0,
    trainer_command: list[str] | None = None,
    grow: bool = False,
    refresh: Refresh | None = None,
) -> LaunchResult:
    """Train every run of the plan that is not finished, and write the results table.

    Finished runs are left alone, and so are those that the user cancelled. `progress` gets a Snapshot every
    `poll_seconds` (default 0.5 on this machine, 10 on slurm). On slurm the jobs are submitted and, unless `wait`, left
    to the queue. At Ctrl-C, SIGTERM or SIGHUP the jobs on this machine get `grace_seconds` to write checkpoints and
    end; those on slurm go on. `trainer_command`: Python and its arguments that start a trainer. `grow`: runs that the
    sweep has and the plan has not are kept, not dropped. `refresh` makes the results; the table alone by default.

    Raises InputError where another launcher holds the sweep or sbatch refuses the jobs, ConfigError where a run's
    folder holds a run of another config.
    """
    sweep = SweepDir((runs_root / plan.sweep).resolve())
    report, refresh = progress or _silent, refresh or write_table
    trainer = tuple(trainer_command[1:]) if trainer_command else None
    with _signals_as_interrupt():
        if plan.cluster.kind == "slurm":
            return _launch_slurm(plan, runs_root, trainer, grow, report, poll_seconds or 10.0, bool(wait), refresh)
        with turn(sweep, _PATIENCE_SECONDS["local"]):
            launched = prepare(plan, runs_root, grow=grow, trainer=trainer)
            return launch_here(
                launched,
                report=report,
                refresh=refresh,
                poll_seconds=poll_seconds or 0.5,
                grace_seconds=grace_seconds,
            )


def write_table(folder: Path) -> None:
    """The results table of a sweep's folder."""
    from mammut_clip.runs import table  # pandas, which planning does not need

    table.write(SweepDir(folder))


def _launch_slurm(
    plan: Plan,
    runs_root: Path,
    trainer: tuple[str, ...] | None,
    grow: bool,
    report: Report,
    poll_seconds: float,
    wait: bool,
    refresh: Refresh,
) -> LaunchResult:
    sweep = SweepDir((runs_root / plan.sweep).resolve())
    _check_shapes(plan, sweep)
    with turn(sweep, _PATIENCE_SECONDS["slurm"]):
        prepare(plan, runs_root, grow=grow, trainer=trainer)
    result = submit_due(sweep.path, refresh=refresh, report=report)
    if wait and not result.interrupted:
        return watch(sweep.path, refresh=refresh, report=report, poll_seconds=poll_seconds)
    return result


def _check_shapes(plan: Plan, sweep: SweepDir) -> None:
    """Raise InputError where Slurm would not take, or never start, jobs of the plan, before anything is written.

    Shapes of runs that were launched before are known to do.
    """
    from mammut_clip.slurm.submit import refusal

    before = StoredSweep.read(stored_file(sweep))
    known = {room(before.cluster, run.processes) for run in before.runs} if before is not None else set()
    for shape in dict.fromkeys(room(plan.cluster, run.processes) for run in plan.runs):
        if before is not None and before.cluster == plan.cluster and shape in known:
            continue
        try:
            refused = refusal(plan.cluster, shape, sweep_dir=sweep.path)
        except SlurmAwayError:  # the submission will say so, and keeps what it has prepared
            return
        if refused is not None:
            raise InputError(refused)


def submit_due(folder: Path, *, refresh: Refresh, report: Report | None = None) -> LaunchResult:
    """Submit what is due, waiting where the site limits submissions per minute.

    KeyboardInterrupt ends it; what was submitted goes on. Raises InputError where sbatch refuses, and nothing of the
    sweep is in the queue.
    """
    meter, cycle, sweep = Meter(), None, Launched.at(folder).folder
    try:
        while True:
            with turn(sweep, _PATIENCE_SECONDS["slurm"]) as lease:
                launched = Launched.at(folder)  # not before: another launch may have changed it
                cycle = run_cycle(launched, lease, patient=False)
            note = refresh_if_stale(launched, cycle.standing.ended, refresh) or cycle.note
            if report is not None:
                report(meter.snapshot(launched, cycle.standing, note))
            if cycle.outcome.refused and not cycle.queued:
                raise InputError(cycle.outcome.note)
            if cycle.outcome.ready_at is None:
                return result_of(cycle)
            time.sleep(max(0.1, cycle.outcome.ready_at - time.time()))
    except KeyboardInterrupt:
        if cycle is None:
            raise
        return result_of(cycle, interrupted=True)


@contextmanager
def _signals_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP (a closed terminal) end a launch as Ctrl-C does. Where they come again, as the shell's SIGHUP
    does beside the terminal's, nobody is impatient."""
    numbers = (signal.SIGTERM, signal.SIGHUP)

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _silent(_snapshot: Snapshot) -> None:
    return None
