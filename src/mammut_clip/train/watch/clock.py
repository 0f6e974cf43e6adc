"""The times of the watch, and a clock that stands still while its own process does."""

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Seconds. A rank that dies is to take the others down within a minute: silence + settle + grace + a few turns."""

    turn: float = 1.0
    """How often each rank's thread looks around."""
    beat: float = 10.0
    """How often each rank gives a sign of life."""
    silence: float = 30.0
    """Without a sign of life for so long, a rank is taken for dead. (A process that ends is noticed at once.)"""
    settle: float = 3.0
    """From the first trouble to the verdict: what a rank's end does to others may be heard of before the end itself."""
    collect: float = 5.0
    """The same where a step hangs: all ranks write down their stacks meanwhile."""
    grace: float = 10.0
    """From the verdict until a process whose main thread did not end by itself is ended."""
    goodbye: float = 5.0
    """How long rank 0, when it leaves, waits for the others to leave too."""


class WakingClock:
    """Seconds during which whoever asks it every turn was awake.

    A job that is suspended (`scontrol suspend`, a closed laptop) and wakes up after an hour has not been hanging for an
    hour, nor has the rest of the world been silent for so long.
    """

    def __init__(self, largest_step: float) -> None:
        self._largest_step = largest_step
        self._last = time.monotonic()
        self._awake = 0.0

    def now(self) -> float:
        """To be asked at least every `largest_step` seconds; what goes beyond that is not counted."""
        last, self._last = self._last, time.monotonic()
        self._awake += min(self._last - last, self._largest_step)
        return self._awake
