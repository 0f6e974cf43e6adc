"""Plan -> finished runs. Run it again after anything: only what is missing happens.

runs/<sweep>/launch/lock        held by the launcher: two on one sweep would start runs twice
runs/<sweep>/launch/plan.json   the plan as it was launched last
runs/<sweep>/launch/jobs.json   slurm: the last job of each run
runs/<sweep>/launch/jobs/       one folder per job: batch script, log, record of its commands
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from mammut_clip.config.atomic import write_json
from mammut_clip.config.errors import ConfigError, InputError
from mammut_clip.runs.layout import RunDir, SweepDir
from mammut_clip.runs.lock import RunIsLockedError, hold
from mammut_clip.sweep.ledger import Entry, FailedRun, Ledger
from mammut_clip.sweep.local_jobs import LocalLauncher
from mammut_clip.sweep.plan import Plan
from mammut_clip.sweep.progress import Progress, Report, Snapshot
from mammut_clip.sweep.slurm_jobs import SlurmLauncher

TRAINER = [sys.executable, "-m", "mammut_clip.train"]


@dataclass(frozen=True)
class LaunchResult:
    """What a launch left behind."""

    finished: list[str]
    """Runs that are finished, whether now or before."""
    failed: list[FailedRun]
    """Runs that were given up in this launch; the next one tries them again."""
    interrupted: bool = False
    """Stopped by Ctrl-C or a signal; the next launch continues."""
    queued: list[str] = field(default_factory=list)
    """slurm without waiting: runs whose jobs are in the queue, or may be."""
    note: str = ""
    """What stood in the way, such as a limit on submitted jobs."""

    def to_json_dict(self) -> dict[str, Any]:
        """What `sweep launch --json` prints."""
        return asdict(self)

    def __str__(self) -> str:
        parts = [f"{len(self.finished)} runs finished"]
        if self.queued:
            parts.append(f"{len(self.queued)} in the queue")
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        if self.interrupted:
            parts.append("interrupted: the same command continues")
        if self.note:
            parts.append(self.note)
        return "\n".join([", ".join(parts), *(f"  {run.id}: {run.error}\n    log: {run.log}" for run in self.failed)])


def launch(
    plan: Plan,
    runs_root: Path,
    *,
    progress: Report | None = None,
    wait: bool | None = None,
    poll_seconds: float | None = None,
    grace_seconds: float = 60.0,
    trainer_command: list[str] | None = None,
) -> LaunchResult:
    """Train every run of the plan that is not finished, and write the results table.

    Finished runs are left alone. `progress` gets a Snapshot every `poll_seconds` (default 0.5 on this machine, 10 on
    slurm). On slurm the jobs are submitted and, unless `wait`, left to the queue. At Ctrl-C, SIGTERM or SIGHUP the
    jobs on this machine get `grace_seconds` to write checkpoints and end; those on slurm go on.

    Raises InputError where another launcher holds the sweep or sbatch refuses the jobs, ConfigError where a run's
    folder holds a run of another config.
    """
    sweep_dir = runs_root / plan.sweep
    with _only_launcher(sweep_dir), _signals_as_interrupt():
        entries = _make_directories(plan, runs_root)
        write_json(sweep_dir / "launch" / "plan.json", plan.to_json_dict())
        ledger = Ledger.open(entries)
        trainer = trainer_command or TRAINER
        if plan.cluster.kind == "local":
            result = _launch_local(
                plan, sweep_dir, ledger, progress or _silent, trainer, poll_seconds or 0.5, grace_seconds
            )
        else:
            result = _launch_slurm(
                plan, sweep_dir, ledger, progress or _silent, trainer, poll_seconds or 10.0, bool(wait)
            )
        from mammut_clip.runs import table  # pandas, which planning does not need

        table.write(SweepDir(sweep_dir))
        return result


def _launch_local(
    plan: Plan,
    sweep_dir: Path,
    ledger: Ledger,
    report: Report,
    trainer: list[str],
    poll_seconds: float,
    grace_seconds: float,
) -> LaunchResult:
    launcher = LocalLauncher(plan.cluster, sweep_dir.resolve(), ledger, trainer, grace_seconds)
    interrupted = False
    try:
        launcher.run(report, poll_seconds)
    except KeyboardInterrupt:
        interrupted = True
        try:
            launcher.stop()
        except KeyboardInterrupt:  # a second Ctrl-C: no more patience
            launcher.stop(at_once=True)
    except BaseException:
        launcher.stop()
        raise
    return _result(ledger, interrupted=interrupted)


def _launch_slurm(
    plan: Plan, sweep_dir: Path, ledger: Ledger, report: Report, trainer: list[str], poll_seconds: float, wait: bool
) -> LaunchResult:
    launcher = SlurmLauncher(plan.cluster, sweep_dir, ledger, trainer)
    interrupted, note = False, ""
    try:
        note = launcher.submit_missing()
        if wait:
            launcher.wait(report, poll_seconds)
        else:
            report(Progress(ledger).snapshot(note))
    except KeyboardInterrupt:
        interrupted = True
    return _result(ledger, interrupted=interrupted, queued=launcher.queued(), note=note)


def _result(ledger: Ledger, *, interrupted: bool, queued: list[str] | None = None, note: str = "") -> LaunchResult:
    finished = [run_id for run_id, entry in ledger.entries.items() if entry.is_finished]
    failed = [ledger.failed[run_id] for run_id in ledger.entries if run_id in ledger.failed]
    return LaunchResult(finished, failed, interrupted, queued or [], note)


def _make_directories(plan: Plan, runs_root: Path) -> dict[str, Entry]:
    """The run directories, all of them checked before the first is made."""
    made: dict[str, RunDir] = {}
    problems = []
    for planned in plan.runs:
        if (runs_root / plan.sweep / planned.id / "config.yaml").is_file():
            try:
                made[planned.id] = RunDir.create(runs_root, planned.config)
            except ConfigError as error:
                problems.append(error)
    if problems:
        others = f"\n(and {len(problems) - 1} other runs)" if len(problems) > 1 else ""
        raise InputError(f"{problems[0]}{others}") from problems[0]
    for planned in plan.runs:
        if planned.id not in made:
            made[planned.id] = RunDir.create(runs_root, planned.config)
    return {planned.id: Entry(planned, made[planned.id]) for planned in plan.runs}


@contextmanager
def _only_launcher(sweep_dir: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(hold(sweep_dir / "launch" / "lock"))
        except RunIsLockedError as error:
            message = f"{sweep_dir}: another launcher works on this sweep now; `sweep status` shows how far it is"
            raise InputError(message) from error
        yield


@contextmanager
def _signals_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP (a closed terminal) end a launch as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _silent(_snapshot: Snapshot) -> None:
    return None
