"""Of which kind an end was: from the exit code, the run's status, the processes' last words, and what we did. Pure."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from mammut_clip.runs.ends import EndKind
from mammut_clip.runs.failures import LastWords
from mammut_clip.runs.records import Status

_OF_ITS_OWN = ("disk_full", "out_of_memory", "bad_input")
"""What a task may fail by on the way out, when it is told to stop, and not because of that."""


@dataclass(frozen=True)
class Evidence:
    """What is known of an attempt that has ended."""

    exit_code: int | None
    """srun's; 128 + n for signal n; None where it has not ended, but the run's status says that it will. With
    --kill-on-bad-exit it may be that of a rank that was killed because another had failed."""
    done: bool
    """Whether nothing is left to do."""
    status: Status | None
    """The run's, where this attempt wrote it."""
    words: Sequence[LastWords]
    """Last words of its processes, by rank."""
    told: EndKind | None
    """Why it was told to stop, if it was."""
    began: bool = True
    """Whether any of its processes was started."""
    disk_is_full: bool = False
    """Whether nothing can be written in the run's folder now, not even last words."""
    silent_minutes: float | None = None
    """How long nothing had been heard of it when it was killed, if it was."""


@dataclass(frozen=True)
class Judgement:
    """What ended it."""

    kind: EndKind | None
    """None: it has not begun, as another process is writing the run."""
    error: str | None = None
    """The last error, in one line."""


def judge(evidence: Evidence) -> Judgement:
    """What ended an attempt."""
    if evidence.done:
        return Judgement("done")
    if evidence.silent_minutes is not None:
        return Judgement("hung", f"no sign of life for {evidence.silent_minutes:g} minutes")
    own = _own_failure(evidence)
    if evidence.told is not None:
        return own if own is not None and own.kind in _OF_ITS_OWN else Judgement(evidence.told)
    if own is not None:
        return own
    if evidence.status is not None and evidence.status.state == "interrupted":
        return Judgement("requeued", "somebody told its processes to stop, and not the job")
    if evidence.disk_is_full:
        return Judgement("disk_full", "no room is left where the run's files stand")
    if not evidence.began:
        return Judgement("crash", f"its processes were not started (srun: {evidence.exit_code}); see the job's log")
    if evidence.exit_code == 2:
        return Judgement("bad_input", "it ended with exit code 2, which says bad input; its log says which")
    return Judgement("crash", _in_words(evidence.exit_code))


def _own_failure(evidence: Evidence) -> Judgement | None:
    status, words = evidence.status, evidence.words
    locked = next((word for word in words if word.kind == "locked"), None)
    if locked is not None:
        return Judgement(None, locked.error)
    if status is not None and status.state == "failed":
        error = None if status.last_error is None else " ".join(status.last_error.split())
        return Judgement(status.error_kind or "crash", error)
    if not words:
        return None
    # Ranks that fail because another did say `crash`, or `bad_input` where rank 0 tells them of its own error.
    telling = next((word for word in words if word.kind in ("out_of_memory", "disk_full", "hung")), words[0])
    assert telling.kind != "locked"
    return Judgement(telling.kind, telling.error)


def _in_words(code: int | None) -> str:
    if code is None:
        return "it has not ended"
    if code == 0:
        return "it ended with exit code 0, but is not done"
    if code <= 128:
        return f"it ended with exit code {code} and without last words"
    try:
        name = signal.Signals(code - 128).name
    except ValueError:
        name = f"signal {code - 128}"
    hint = ", as by the kernel where a node's memory is full" if code == 128 + signal.SIGKILL else ""
    return f"it was ended by {name}{hint}, without last words"
