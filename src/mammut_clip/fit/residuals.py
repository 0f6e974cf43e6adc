"""What a fit minimises: residuals raw, in logs or in logits, squared or under Huber's loss, weighted.

All are written as sums of squares, so that one Levenberg-Marquardt serves them.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mammut_clip.config.fit import ResidualName

Array: TypeAlias = NDArray[np.float64]

_LEAST = {"log": 1e-100, "logit": 1e-12}
"""A trial curve may leave the range of its space; its distance and slope stay finite there."""


@dataclass(frozen=True)
class Space:
    """The space in which residuals are taken: measurement and law are carried there before they are subtracted."""

    name: ResidualName

    def forward(self, y: Array) -> Array:
        """y, log y or log(y / (1 - y)), in the shape of y."""
        if self.name == "raw":
            return y
        inside = self._inside(y)
        return np.log(inside) if self.name == "log" else np.log(inside) - np.log1p(-inside)

    def slope(self, y: Array) -> Array:
        """Derivative of `forward` by y, in the shape of y."""
        if self.name == "raw":
            return np.ones_like(y)
        inside = self._inside(y)
        return 1.0 / inside if self.name == "log" else 1.0 / (inside * (1.0 - inside))

    def backward(self, z: Array) -> Array:
        """The y of which z is `forward`; raw errors below zero, which no metric has, become zero."""
        if self.name == "raw":
            return np.maximum(z, 0.0)
        if self.name == "log":
            return np.exp(z)
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))

    def _inside(self, y: Array) -> Array:
        least = _LEAST[self.name]
        return np.maximum(y, least) if self.name == "log" else np.clip(y, least, 1.0 - least)

    def problem(self, y: Array) -> tuple[NDArray[np.bool_], str]:
        """Mask of values that have no place in this space, and what is expected of them."""
        if self.name == "logit":
            return (y <= 0) | (y >= 1), "must lie between 0 and 1 for logit residuals"
        if self.name == "log":
            return y <= 0, "must be positive for log residuals"
        return y < 0, "must not be negative"


def huber_root(r: Array, delta: float) -> tuple[Array, Array]:
    """(s, ds/dr) with s^2 / 2 = Huber's loss of r: r^2 / 2 up to |r| = delta, delta (|r| - delta / 2) beyond.

    r: any shape. A sum of squares of s is twice the sum of Huber losses (Huber 1964).
    """
    size = np.abs(r)
    far = size > delta
    root = np.sqrt(np.maximum(2.0 * delta * size - delta**2, 1e-300))
    return np.where(far, np.sign(r) * root, r), np.where(far, delta / root, 1.0)
