"""Laws that start at the error of chance: E(0) is known, so that one parameter less is left to the data."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mammut_clip.fit.forms.base import LOG_ALPHA, Array, Candidates, Form, shift_and_exponent_grid, shift_bounds


@dataclass(frozen=True)
class BoundedNoFloor(Form):
    """y = e0 (1 + x/b)^c with b > 0, c < 0, e0 = `error_at_zero` given. Internal: log(b/g), log(-c).

    The saturation form with the condition that its value at x = 0 is the error of guessing.
    """

    error_at_zero: float = 1.0

    name: ClassVar[str] = "bounded_no_floor"
    parameters: ClassVar[tuple[str, ...]] = ("b", "c")
    exponent: ClassVar[int | None] = 1
    formula: ClassVar[str] = "e0 (1 + x/b)^c"

    @property
    def ceiling(self) -> float:
        """`error_at_zero`."""
        return self.error_at_zero

    def value(self, theta: Array, x: Array) -> Array:
        return self.error_at_zero * self._decay(theta, x)

    def jacobian(self, theta: Array, x: Array) -> Array:
        return self.error_at_zero * self._decay_jacobian(theta, x)

    def bounds(self, x: Array, y: Array) -> tuple[Array, Array]:
        shift = shift_bounds(x)
        return np.array([shift[0], LOG_ALPHA[0]]), np.array([shift[1], LOG_ALPHA[1]])

    def candidates(self, x: Array) -> Candidates:
        theta = shift_and_exponent_grid(x)
        decay = self._decay(theta, x)
        return Candidates(theta, np.zeros((*decay.shape, 0)), self.error_at_zero * decay)

    def with_linear(self, theta: Array, coefficients: Array) -> Array:
        return theta

    def natural(self, theta: Array, scale: float) -> Array:
        return np.array([scale * np.exp(theta[0]), -np.exp(theta[1])])

    def natural_jacobian(self, theta: Array, scale: float) -> Array:
        return np.diag(BoundedNoFloor.natural(self, theta, scale))

    def evaluate(self, params: dict[str, float], x: Array) -> Array:
        return np.asarray(self.error_at_zero * np.exp(params["c"] * np.log1p(x / params["b"])))

    @staticmethod
    def _decay(theta: Array, x: Array) -> Array:
        """[S, n]: (1 + x/b)^c."""
        return np.asarray(np.exp(-np.exp(theta[:, 1:2]) * np.log1p(x * np.exp(-theta[:, :1]))))

    @classmethod
    def _decay_jacobian(cls, theta: Array, x: Array) -> Array:
        """[S, n, 2]."""
        decay, alpha, ratio = cls._decay(theta, x), np.exp(theta[:, 1:2]), x * np.exp(-theta[:, :1])
        return np.stack([decay * alpha * ratio / (1.0 + ratio), -decay * alpha * np.log1p(ratio)], axis=-1)


@dataclass(frozen=True)
class Bounded(BoundedNoFloor):
    """y = d + (e0 - d) (1 + x/b)^c with b > 0, c < 0, d >= 0, e0 = `error_at_zero` given. Internal: log(b/g),
    log(-c), d."""

    name = "bounded"
    parameters = ("b", "c", "d")
    formula = "d + (e0 - d) (1 + x/b)^c"

    def value(self, theta: Array, x: Array) -> Array:
        floor = theta[:, 2:3]
        return floor + (self.error_at_zero - floor) * self._decay(theta, x)

    def jacobian(self, theta: Array, x: Array) -> Array:
        by_shape = (self.error_at_zero - theta[:, 2:3])[..., None] * self._decay_jacobian(theta, x)
        return np.concatenate([by_shape, (1.0 - self._decay(theta, x))[..., None]], axis=-1)

    def bounds(self, x: Array, y: Array) -> tuple[Array, Array]:
        lower, upper = super().bounds(x, y)
        return np.append(lower, 0.0), np.append(upper, min(float(y.max()), self.error_at_zero))

    def candidates(self, x: Array) -> Candidates:
        bare = super().candidates(x)
        theta = np.column_stack([bare.theta, np.zeros(len(bare.theta))])
        return Candidates(theta, (1.0 - bare.offset / self.error_at_zero)[..., None], bare.offset)

    def with_linear(self, theta: Array, coefficients: Array) -> Array:
        filled = theta.copy()
        filled[:, 2] = coefficients[:, 0]
        return filled

    def natural(self, theta: Array, scale: float) -> Array:
        return np.append(super().natural(theta, scale), theta[2])

    def natural_jacobian(self, theta: Array, scale: float) -> Array:
        full = np.eye(3)
        full[:2, :2] = super().natural_jacobian(theta, scale)
        return full

    def evaluate(self, params: dict[str, float], x: Array) -> Array:
        decay = np.exp(params["c"] * np.log1p(x / params["b"]))
        return np.asarray(params["d"] + (self.error_at_zero - params["d"]) * decay)
