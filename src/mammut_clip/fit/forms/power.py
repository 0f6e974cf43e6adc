"""Straight lines in log-log."""

from typing import ClassVar

import numpy as np

from mammut_clip.fit.forms.base import (
    ALPHA_GRID,
    LOG_ALPHA,
    Array,
    Candidates,
    Form,
    fill_level,
    level_bounds,
)


class Power(Form):
    """y = a x^c with a > 0, c < 0. Internal: log f(g), log(-c)."""

    name = "power"
    parameters = ("a", "c")
    exponent = 1
    formula = "a x^c"

    def value(self, theta: Array, x: Array) -> Array:
        return np.exp(theta[:, :1] - np.exp(theta[:, 1:2]) * np.log(x))

    def jacobian(self, theta: Array, x: Array) -> Array:
        value = self.value(theta, x)
        return np.stack([value, -value * np.exp(theta[:, 1:2]) * np.log(x)], axis=-1)

    def bounds(self, x: Array, y: Array) -> tuple[Array, Array]:
        level = level_bounds(y)
        return np.array([level[0], LOG_ALPHA[0]]), np.array([level[1], LOG_ALPHA[1]])

    def candidates(self, x: Array) -> Candidates:
        theta = np.column_stack([np.zeros_like(ALPHA_GRID), np.log(ALPHA_GRID)])
        return Candidates(theta, self.value(theta, x)[..., None], np.zeros((len(theta), len(x))))

    def with_linear(self, theta: Array, coefficients: Array) -> Array:
        return fill_level(theta, coefficients)

    def natural(self, theta: Array, scale: float) -> Array:
        alpha = np.exp(theta[1])
        return np.array([np.exp(theta[0] + alpha * np.log(scale)), -alpha])

    def natural_jacobian(self, theta: Array, scale: float) -> Array:
        a, c = self.natural(theta, scale)
        return np.array([[a, -a * c * np.log(scale)], [0.0, c]])

    def evaluate(self, params: dict[str, float], x: Array) -> Array:
        return np.asarray(np.exp(np.log(params["a"]) + params["c"] * np.log(x)))


class Line(Form):
    """y = a x^c with a > 0 and c of either sign: a line in log-log, such as compute-optimal samples over compute.

    Internal: log f(g), c.
    """

    name = "line"
    parameters: ClassVar[tuple[str, ...]] = ("a", "c")
    formula = "a x^c"

    def value(self, theta: Array, x: Array) -> Array:
        return np.exp(theta[:, :1] + theta[:, 1:2] * np.log(x))

    def jacobian(self, theta: Array, x: Array) -> Array:
        value = self.value(theta, x)
        return np.stack([value, value * np.log(x)], axis=-1)

    def bounds(self, x: Array, y: Array) -> tuple[Array, Array]:
        level = level_bounds(y)
        return np.array([level[0], -20.0]), np.array([level[1], 20.0])

    def candidates(self, x: Array) -> Candidates:
        slopes = np.concatenate([-ALPHA_GRID, [0.0], ALPHA_GRID])
        theta = np.column_stack([np.zeros_like(slopes), slopes])
        return Candidates(theta, self.value(theta, x)[..., None], np.zeros((len(theta), len(x))))

    def with_linear(self, theta: Array, coefficients: Array) -> Array:
        return fill_level(theta, coefficients)

    def natural(self, theta: Array, scale: float) -> Array:
        return np.array([np.exp(theta[0] - theta[1] * np.log(scale)), theta[1]])

    def natural_jacobian(self, theta: Array, scale: float) -> Array:
        a = self.natural(theta, scale)[0]
        return np.array([[a, -a * np.log(scale)], [0.0, 1.0]])

    def evaluate(self, params: dict[str, float], x: Array) -> Array:
        return np.asarray(np.exp(np.log(params["a"]) + params["c"] * np.log(x)))
