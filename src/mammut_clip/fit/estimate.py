"""What predictions, comparisons and plans need of a fitted law, whether it is one law, a chosen or an averaged one."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from mammut_clip.fit.forms import Array

Points: TypeAlias = float | Sequence[float] | Array
"""x: compute (GFLOPs) or samples, positive."""


class Estimate(Protocol):
    """An error as a function of x, with the draws that its uncertainty comes from.

    Draw i of two estimates made with one bootstrap belongs to the same redrawn cells, where the bootstrap is paired;
    draws of estimates that are not paired are independent. Every method keeps the order of x [m].
    """

    @property
    def x_range(self) -> tuple[float, float]:
        """Least and largest x of the points that were fitted; beyond it is extrapolation."""
        ...

    def predict(self, x: Points) -> Array:
        """Error at x, in the shape of x."""
        ...

    def draws(self, x: Points) -> Array:
        """[count, m]: the law itself under refits to redrawn data (and under other forms, for an average)."""
        ...

    def law_interval(self, x: Points, level: float = 0.95) -> tuple[Array, Array]:
        """Ends of an interval for the law itself, without the scatter of single measurements."""
        ...

    def predict_interval(self, x: Points, level: float = 0.95) -> tuple[Array, Array]:
        """Ends of an interval for one new measurement: refits, scatter of measurements, choice of form."""
        ...
