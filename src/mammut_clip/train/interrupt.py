"""Stopping in good order: the first SIGINT, SIGTERM or SIGUSR1 asks for a checkpoint after the current step.

A second SIGINT stops at once. All ranks must agree on the step they stop after, so they ask each other.
"""

import signal
from types import FrameType

import torch
import torch.distributed as dist

from mammut_clip.distributed import Process

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class InterruptWatch:
    """Inside the block, the signals above set a flag instead of ending the process."""

    def __init__(self, process: Process, agree_every: int = 8) -> None:
        self._process = process
        # One small all-reduce every few steps instead of every step: notice is later, the step is not slower.
        self._agree_every = agree_every if process.world_size > 1 else 1
        self._received = 0
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> "InterruptWatch":
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = number

    def agreed(self, step: int) -> int:
        """The signal that any rank received, 0 for none; the same answer on every rank."""
        if step % self._agree_every:
            return 0
        if self._process.world_size == 1:
            return self._received
        flag = torch.tensor(self._received, device=self._process.device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return int(flag)
