"""Working at a sweep on this machine until all is done, in good order also when it is stopped."""

import time
from collections.abc import Callable

from mammut_clip.config.errors import InputError
from mammut_clip.sweep.local_jobs import LocalLauncher
from mammut_clip.sweep.progress import Report
from mammut_clip.sweep.result import LaunchResult
from mammut_clip.sweep.standing import Standing, look
from mammut_clip.sweep.stored import Launched, is_paused
from mammut_clip.sweep.turn import COLLECT_PATIENCE_SECONDS, collecting
from mammut_clip.sweep.watch import Refresh, refresh_if_stale

_REFRESH_SECONDS = 60.0
"""Between two looks whether results and laws are to be made anew."""


def launch_here(
    launched: Launched, *, report: Report, refresh: Refresh, poll_seconds: float, grace_seconds: float
) -> LaunchResult:
    """Do all that is due, and make the results. To be called with the sweep's turn taken (sweep.turn).

    Ctrl-C and `sweep pause` end the jobs in good order, within `grace_seconds`; a second Ctrl-C at once. Raises
    InputError where the sweep is paused.
    """
    if is_paused(launched.folder):
        raise InputError(f"{launched.folder.path}: this sweep is paused; `sweep resume` first")
    launcher = LocalLauncher(launched, grace_seconds)
    interrupted = paused = False
    try:
        paused = launcher.run(report, poll_seconds, _now_and_then(launched, refresh))
    except KeyboardInterrupt:
        interrupted = True
        try:
            launcher.stop()
        except KeyboardInterrupt:  # no more patience
            launcher.stop(at_once=True)
    except BaseException:
        launcher.stop()
        raise
    if paused:
        launcher.stop()
    with collecting(launched.folder, COLLECT_PATIENCE_SECONDS):
        refresh(launched.folder.path)
    return _result(look(launched, frozenset()), interrupted=interrupted, paused=paused)


def _now_and_then(launched: Launched, refresh: Refresh) -> Callable[[Standing], str]:
    """Refresh where something has ended, but not so often that it keeps the cores from the jobs."""
    last = time.monotonic()

    def look_and_refresh(standing: Standing) -> str:
        nonlocal last
        if time.monotonic() - last < _REFRESH_SECONDS:
            return ""
        last = time.monotonic()
        return refresh_if_stale(launched, standing.ended, refresh)

    return look_and_refresh


def _result(standing: Standing, *, interrupted: bool, paused: bool) -> LaunchResult:
    note = "paused; `sweep resume` and the same command continue" if paused else ""
    return LaunchResult(standing.finished, standing.failed, interrupted, note=note, cancelled=standing.cancelled)
