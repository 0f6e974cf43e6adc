"""A shifted power law, with and without an irreducible error: the form of arXiv:2506.04598."""

from typing import ClassVar

import numpy as np

from mammut_clip.fit.forms.base import (
    LOG_ALPHA,
    Array,
    Candidates,
    Form,
    fill_level,
    level_bounds,
    shift_and_exponent_grid,
    shift_bounds,
)


class SaturationNoFloor(Form):
    """y = a (x + b)^c with a, b > 0, c < 0. Internal: log f(g), log(b/g), log(-c)."""

    name = "saturation_no_floor"
    parameters: ClassVar[tuple[str, ...]] = ("a", "b", "c")
    exponent = 2
    formula = "a (x + b)^c"

    def value(self, theta: Array, x: Array) -> Array:
        return np.exp(theta[:, :1] - np.exp(theta[:, 2:3]) * self._log_ratio(theta, x))

    def jacobian(self, theta: Array, x: Array) -> Array:
        shift, alpha = np.exp(theta[:, 1:2]), np.exp(theta[:, 2:3])
        value = SaturationNoFloor.value(self, theta, x)
        by_shift = -value * alpha * shift * (1.0 / (x + shift) - 1.0 / (1.0 + shift))
        return np.stack([value, by_shift, -value * alpha * self._log_ratio(theta, x)], axis=-1)

    def bounds(self, x: Array, y: Array) -> tuple[Array, Array]:
        level, shift = level_bounds(y), shift_bounds(x)
        return np.array([level[0], shift[0], LOG_ALPHA[0]]), np.array([level[1], shift[1], LOG_ALPHA[1]])

    def candidates(self, x: Array) -> Candidates:
        grid = shift_and_exponent_grid(x)
        theta = np.column_stack([np.zeros(len(grid)), grid])
        return Candidates(theta, SaturationNoFloor.value(self, theta, x)[..., None], np.zeros((len(grid), len(x))))

    def with_linear(self, theta: Array, coefficients: Array) -> Array:
        return fill_level(theta, coefficients)

    def natural(self, theta: Array, scale: float) -> Array:
        shift, alpha = np.exp(theta[1]), np.exp(theta[2])
        return np.array([np.exp(theta[0] + alpha * np.log(scale * (1.0 + shift))), scale * shift, -alpha])

    def natural_jacobian(self, theta: Array, scale: float) -> Array:
        shift, alpha = np.exp(theta[1]), np.exp(theta[2])
        a, b, c = SaturationNoFloor.natural(self, theta, scale)
        log_x = np.log(scale * (1.0 + shift))
        return np.array([[a, a * alpha * shift / (1.0 + shift), a * alpha * log_x], [0.0, b, 0.0], [0.0, 0.0, c]])

    def evaluate(self, params: dict[str, float], x: Array) -> Array:
        return np.asarray(np.exp(np.log(params["a"]) + params["c"] * np.log(x + params["b"])))

    @staticmethod
    def _log_ratio(theta: Array, x: Array) -> Array:
        shift = np.exp(theta[:, 1:2])
        return np.asarray(np.log((x + shift) / (1.0 + shift)))


class Saturation(SaturationNoFloor):
    """y = a (x + b)^c + d with a, b > 0, c < 0, d >= 0 (arXiv:2506.04598). Internal: log(f(g) - d), log(b/g),
    log(-c), d."""

    name = "saturation"
    parameters = ("a", "b", "c", "d")
    formula = "a (x + b)^c + d"

    def value(self, theta: Array, x: Array) -> Array:
        return super().value(theta, x) + theta[:, 3:4]

    def jacobian(self, theta: Array, x: Array) -> Array:
        without = super().jacobian(theta, x)
        return np.concatenate([without, np.ones((*without.shape[:2], 1))], axis=-1)

    def bounds(self, x: Array, y: Array) -> tuple[Array, Array]:
        lower, upper = super().bounds(x, y)
        return np.append(lower, 0.0), np.append(upper, y.max())

    def candidates(self, x: Array) -> Candidates:
        bare = super().candidates(x)
        theta = np.column_stack([bare.theta, np.zeros(len(bare.theta))])
        return Candidates(theta, np.concatenate([bare.basis, np.ones_like(bare.basis)], axis=-1), bare.offset)

    def with_linear(self, theta: Array, coefficients: Array) -> Array:
        filled = super().with_linear(theta, coefficients)
        filled[:, 3] = coefficients[:, 1]
        return filled

    def natural(self, theta: Array, scale: float) -> Array:
        return np.append(super().natural(theta, scale), theta[3])

    def natural_jacobian(self, theta: Array, scale: float) -> Array:
        full = np.eye(4)
        full[:3, :3] = super().natural_jacobian(theta, scale)
        return full

    def evaluate(self, params: dict[str, float], x: Array) -> Array:
        return super().evaluate(params, x) + params["d"]
