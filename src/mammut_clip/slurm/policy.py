"""What follows the ends that a run has had so far: another start, and when, or none. Pure: no clock, no files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mammut_clip.config.sweep import SweepPolicy
from mammut_clip.runs.ends import ENDED_BY_OTHERS, End, EndKind

LONGEST_BACKOFF_SECONDS = 600.0
_OWN: frozenset[EndKind] = frozenset({"out_of_memory", "disk_full", "crash", "hung", "never_began"})
"""Ends that another start may meet again. `never_began` is nobody's fault in particular, and as likely to recur."""
_HINT = "`mammut-clip sweep retry` asks for another try"


@dataclass(frozen=True)
class Decision:
    """What to do about a run that is neither running nor finished."""

    action: Literal["start", "give_up", "leave"]
    """leave: it is done, or the user cancelled it."""
    why: str
    """In words, for the user."""
    not_before: float = 0.0
    """start: unix time before which it should not begin."""
    smaller_micro_batch: bool = False
    """start: whether it should go on with a smaller micro-batch than it was out of memory with."""


def decide(ends: Sequence[End], policy: SweepPolicy) -> Decision:
    """What follows these ends, earliest first, of one kind of work at one run; the user's words among them.

    Only ends after the last `retry` count. Errors are tried again up to `policy.crashes` times without progress in
    between, with a wait that doubles; what others ended goes on at once, up to `policy.stalls` times without progress.
    A training that was out of memory goes on at once with half the micro-batch, as often as that can be halved: the
    next start is another one, and the caps are for those that repeat.
    """
    counting = _since_retry(ends)
    if not counting:
        return Decision("start", "another try was asked for" if ends else "not started yet")
    if any(end.kind == "cancelled" for end in counting):
        return Decision("leave", f"cancelled by the user; {_HINT}")
    last = counting[-1]
    if last.kind == "done":
        return Decision("leave", "done")
    hopeless = next((end for end in reversed(counting) if end.kind == "bad_input"), None)
    if hopeless is not None:
        return Decision("give_up", f"another try would meet the same: {_named(hopeless)}; {_HINT}")
    return _by_count(counting, last, policy)


def _since_retry(ends: Sequence[End]) -> list[End]:
    last_word = max((number for number, end in enumerate(ends) if end.kind == "retry"), default=-1)
    return list(ends[last_word + 1 :])


def _by_count(ends: Sequence[End], last: End, policy: SweepPolicy) -> Decision:
    errors = stalls = 0
    error: End | None = None
    halved: End | None = None
    for end in ends:
        if end.advanced or end.kind == "done":
            errors = stalls = 0
        if policy.smaller_micro_batch and _can_be_halved(end, halved):
            errors, halved = 0, end
        elif end.kind in _OWN:
            errors, error = errors + 1, end
        elif end.kind in ENDED_BY_OTHERS and not end.advanced:
            stalls += 1
    if policy.smaller_micro_batch and last.micro_batch == 1:
        return Decision("give_up", f"with one pair at a time, and no fewer can be: {_named(last)}; {_HINT}")
    if halved is last:
        return Decision("start", f"goes on with fewer pairs at a time after {_named(last)}", smaller_micro_batch=True)
    if errors >= policy.crashes and error is not None:
        many = "1 start" if errors == 1 else f"{errors} starts, without progress in between,"
        return Decision("give_up", f"{many} ended in an error, the last by {_named(error)}; {_HINT}")
    if stalls >= policy.stalls:
        many = "1 start" if stalls == 1 else f"{stalls} starts"
        return Decision("give_up", f"{many} ended before another checkpoint was written ({last.kind}); {_HINT}")
    if last.kind not in _OWN:
        return Decision("start", f"goes on after {last.kind}")
    wait = min(LONGEST_BACKOFF_SECONDS, policy.backoff_seconds * 2.0 ** min(errors - 1, 60))
    smaller = last.kind == "out_of_memory" and policy.smaller_micro_batch
    return Decision("start", f"try {errors + 1} of {policy.crashes} after {_named(last)}", last.ended + wait, smaller)


def _can_be_halved(end: End, before: End | None) -> bool:
    """Whether a training was out of memory with a micro-batch that can be halved, and smaller than at the last time."""
    size = end.micro_batch or 1
    return size > 1 and (before is None or before.micro_batch is None or size < before.micro_batch)


def _named(end: End) -> str:
    code = "" if end.exit_code is None else f" (exit code {end.exit_code})"
    return f"{end.kind}{code}" + (f": {end.error}" if end.error else "")
