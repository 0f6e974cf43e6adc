"""What one rank knows and all must act on, such as a signal: asked in one small all-reduce every few steps."""

import math

import torch
import torch.distributed as dist

from mammut_clip.distributed import Process

_SLOW_STEP = 0.5  # seconds; asking after each such step costs nothing that could be measured
_SECONDS_BETWEEN = 1.0
_MOST_STEPS = 8


class Agreement:
    """At agreed steps every rank learns the largest value of each flag on any rank.

    The question goes over gloo, from the CPU: what a GPU still computes is not waited for. It is asked after every step
    until `pace` says that they are fast.
    """

    def __init__(self, process: Process) -> None:
        self._alone = process.world_size == 1
        self._every = 1

    def reached(self, step: int, *flags: int) -> tuple[int, ...]:
        """The largest value of each flag over the ranks where this step is an agreed one, else zeros.

        Every rank calls it after every step, with as many flags. A flag counts from 0, and stays raised until it
        was agreed on: between two agreed steps nobody asks for it.
        """
        if self._alone:
            return flags
        if step % self._every:
            return (0,) * len(flags)
        most = torch.tensor(flags)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        return tuple(most.tolist())

    def pace(self, seconds_per_step: float) -> None:
        """Ask about once a second, but at least every 8 steps, and after every step that takes half a second or more.

        All ranks call it after the same step, with the same number: which steps are agreed ones follows from it.
        """
        if not seconds_per_step < _SLOW_STEP:  # a NaN is slow too
            self._every = 1
        else:
            self._every = math.floor(_SECONDS_BETWEEN / max(seconds_per_step, _SECONDS_BETWEEN / _MOST_STEPS))
