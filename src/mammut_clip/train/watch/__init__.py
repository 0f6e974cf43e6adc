"""A watch over all ranks: who hangs, who has died, and what went wrong first."""

from mammut_clip.train.watch.clock import Limits
from mammut_clip.train.watch.watch import Watch

__all__ = ["Limits", "Watch"]
