"""How a job ends: its last notes, queueing itself again, or the one command that follows."""

import subprocess
import time
from collections.abc import Sequence

from mammut_clip.slurm.supervisor.lanes import Lanes
from mammut_clip.slurm.supervisor.notes import Notes
from mammut_clip.slurm.supervisor.say import say
from mammut_clip.slurm.supervisor.signals import Signals
from mammut_clip.slurm.supervisor.this_job import ThisJob

_NOTES_SECONDS = 600.0
"""How long a job waits for room to write its last notes."""
_AGAIN_SECONDS = 5.0
_TERM_SECONDS = 60.0
_TEND_SECONDS = 900.0


def finish(tend: Sequence[str], job: ThisJob, notes: Notes, signals: Signals, lanes: Lanes) -> int:
    """Bring the job to its end; its exit code: 0 where all its tasks are done, 3 otherwise."""
    _write_notes(notes, signals)
    stop = lanes.stop
    if not signals.term:
        lanes.drop_what_is_over()
    if stop is not None and stop.kind == "time_limit" and not lanes.all_over:
        _queue_again(job, signals)
        return 3
    by_slurm = signals.term or (stop is not None and stop.by_slurm)
    if lanes.all_over or not by_slurm:
        notes.record.ended = True
        notes.changed()
        _write_notes(notes, signals)
    if tend and not by_slurm:
        _tend(tend, signals)
    for task, why in lanes.undone.items():
        say(f"not done: {task}: {why}")
    return 0 if lanes.all_over and not lanes.undone else 3


def _write_notes(notes: Notes, signals: Signals) -> None:
    """As long as there is hope, and time: a signal does not let it wait for room any more."""
    deadline = time.monotonic() + _NOTES_SECONDS
    while not notes.flush(now=signals.any) and time.monotonic() < deadline and not signals.term:
        time.sleep(0.5)
    if not notes.settled:
        notes.leave()


def _queue_again(job: ThisJob, signals: Signals) -> None:
    """Until Slurm takes it, or ends the job."""
    while True:
        refused = job.requeue()
        if refused is None:
            say("queued again")
            break
        say(f"not queued again yet: {refused}")
        if signals.term and job.why_told_to_stop() != "time_limit":
            return
        time.sleep(_AGAIN_SECONDS if not signals.term else 0.5)
    deadline = time.monotonic() + _TERM_SECONDS
    while not signals.term and time.monotonic() < deadline:
        time.sleep(0.1)


def _tend(command: Sequence[str], signals: Signals) -> None:
    """One cycle of the launcher; what comes of it changes nothing here."""
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    except OSError as error:
        say(f"{command[0]}: {error}")
        return
    deadline = time.monotonic() + _TEND_SECONDS
    while child.poll() is None and time.monotonic() < deadline and not signals.term:
        time.sleep(0.1)
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
    say(f"{' '.join(command)}: exit code {child.returncode}")
