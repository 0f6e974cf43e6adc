"""What happens at points of a run's clock: each part hangs on the loop and is called after every step."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from mammut_clip.train.step import LossTerms


@dataclass(frozen=True)
class StepDone:
    """The step that has just ended, as its numbers stand on the device: reading one waits for it."""

    losses: LossTerms
    lr: float
    grad_norm: Tensor
    """[], before clipping."""


class Part(Protocol):
    """Called on every rank after every step; the parts of a loop are called in order."""

    def after_step(self, done: StepDone) -> None: ...
