"""Cycle after cycle until nothing is left that goes on by itself; and the one cycle that a job runs when it ends."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from mammut_clip.config.atomic import read_json, write_json
from mammut_clip.config.errors import InputError
from mammut_clip.runs.layout import SweepDir
from mammut_clip.runs.lease import is_leased
from mammut_clip.sweep.cycle import Cycle, run_cycle
from mammut_clip.sweep.meter import Meter
from mammut_clip.sweep.progress import Report
from mammut_clip.sweep.result import LaunchResult, result_of
from mammut_clip.sweep.standing import look
from mammut_clip.sweep.stored import Launched, is_paused
from mammut_clip.sweep.turn import COLLECT_PATIENCE_SECONDS, collecting, lock_of, turn, turn_or_served

Refresh = Callable[[Path], None]
"""Makes the results table, and the laws, of a sweep's folder anew."""
PATIENCE_SECONDS = 120.0
"""How long to wait for one's turn: others' cycles take seconds, or half a minute where Slurm does not answer."""
_REFUSED_SECONDS = 60.0
"""After sbatch has refused something, how long until it is asked again."""
_REFUSALS = 5
"""Refusals in a row, with nothing of the sweep in the queue, after which a watcher gives up."""


def watch(folder: Path, *, refresh: Refresh, report: Report, poll_seconds: float) -> LaunchResult:
    """Carry out cycles until everything is done, given up, cancelled or cannot start; paused counts as done.

    KeyboardInterrupt ends it; jobs go on. Raises InputError where sbatch refuses everything again and again.
    """
    meter, refusals, quiet_until = Meter(), 0, 0.0
    sweep, cycle = Launched.at(folder).folder, None
    try:
        while True:
            may_submit = time.time() >= quiet_until
            with turn(sweep, PATIENCE_SECONDS) as lease:
                launched = Launched.at(folder)  # each time, and not before: it may have grown
                cycle = run_cycle(launched, lease, patient=True, may_submit=may_submit)
            refusals = refusals + 1 if cycle.outcome.refused else 0 if may_submit else refusals
            if cycle.outcome.refused:
                quiet_until = time.time() + _REFUSED_SECONDS
            note = refresh_if_stale(launched, cycle.standing.ended, refresh)
            report(meter.snapshot(launched, cycle.standing, "; ".join(filter(None, [*cycle.news(launched), note]))))
            if cycle.is_over:
                return result_of(cycle)
            if refusals >= _REFUSALS and not cycle.queued:
                raise InputError(cycle.outcome.note)
            time.sleep(poll_seconds)
    except KeyboardInterrupt:
        if cycle is None:
            raise
        return result_of(cycle, interrupted=True)


def watch_local(folder: Path, *, report: Report, poll_seconds: float) -> LaunchResult:
    """Show how far the launcher on this machine is, until it ends. Raises InputError where none works, and something is
    left to do."""
    meter, launched = Meter(), Launched.at(folder)
    if not is_leased(lock_of(launched.folder)) and look(launched, (), patient=False).due:
        raise InputError(f"{folder}: no launcher works on this sweep now; `sweep launch` continues it")
    while is_leased(lock_of(launched.folder)):
        launched = Launched.at(folder)
        report(meter.snapshot(launched, look(launched, set(launched.entries)), _paused(launched.folder)))
        time.sleep(poll_seconds)
    standing = look(launched, (), patient=False)
    return LaunchResult(standing.finished, standing.failed, cancelled=standing.cancelled)


def tend(folder: Path, *, refresh: Refresh) -> Cycle | None:
    """One cycle, for a job that ends; None where another's cycle, which began since, has done it all.

    Of a thousand jobs that end together, the first few do the work of all.
    """
    launched = Launched.at(folder)
    with turn_or_served(launched.folder, PATIENCE_SECONDS) as lease:
        cycle = None if lease is None else run_cycle(Launched.at(folder), lease, patient=False)
    if cycle is not None:
        note = refresh_if_stale(launched, cycle.standing.ended, refresh)
        for line in (cycle.note, note):
            if line:
                print(line, file=sys.stderr, flush=True)
    return cycle


def refresh_if_stale(launched: Launched, ended: int, refresh: Refresh) -> str:
    """Make results and laws anew where runs or evaluations have ended since; why that failed, if it did.

    `ended`: as in Standing, counted before. Counts are compared, not times: hosts' clocks differ.
    """
    sweep = launched.folder
    if not _is_stale(sweep, ended):
        return ""
    try:
        with collecting(sweep, COLLECT_PATIENCE_SECONDS):
            if _is_stale(sweep, ended):
                refresh(sweep.path)
                write_json(_stamp(sweep), {"ended": ended})
    except InputError as error:
        return f"the results were not refreshed: {error}"
    return ""


def _is_stale(sweep: SweepDir, ended: int) -> bool:
    made_of = (read_json(_stamp(sweep)) or {}).get("ended", 0) if sweep.results_file.exists() else 0
    return ended > made_of


def _stamp(sweep: SweepDir) -> Path:
    """How many ends the results were made of."""
    return sweep.launch_folder / "collected.json"


def _paused(sweep: SweepDir) -> str:
    return "paused: the launcher stops" if is_paused(sweep) else ""
