"""Signals of the batch shell, noted for the supervisor's loop to see."""

import signal
from types import FrameType

_NEAR_THE_END = (signal.SIGUSR1, signal.SIGUSR2)


class Signals:
    """From its construction on. It takes the place of submitit's handlers, which would checkpoint in their own way."""

    def __init__(self) -> None:
        self.near_end: str | None = None
        """Name of the signal that says that the time limit is near, or that somebody wants the job to make room."""
        self.term = False
        """Whether SIGTERM has come: cancelled, queued again, preempted or at the time limit; SIGKILL follows."""
        for number in _NEAR_THE_END:
            signal.signal(number, self._note)
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)  # Slurm sends it before others

    @property
    def any(self) -> bool:
        return self.term or self.near_end is not None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            self.term = True
        elif self.near_end is None:
            self.near_end = signal.Signals(number).name
