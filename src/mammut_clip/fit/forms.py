"""The forms a law can have, each with its derivatives.

A form is fitted in internal parameters in which the problem is well scaled: x is divided by its geometric
mean g, the amplitude is the law's value at g instead of at x = 1 (1e10 away), and amplitude, shift and
exponent enter by their logarithm. `natural` turns them into the parameters people write: a, b, c, d of y = a
(x + b)^c + d.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError

Array: TypeAlias = NDArray[np.float64]


class Form(ABC):
    """A family of decreasing curves y = f(x; parameters), x > 0.

    Shapes: S problems (starts, bootstrap replicates), n points, P parameters. `x` is already divided by g.
    """

    name: ClassVar[str]
    parameters: ClassVar[tuple[str, ...]]
    """Natural parameters, in the order of the internal ones."""

    @abstractmethod
    def value(self, theta: Array, x: Array) -> Array:
        """[S, n] of theta [S, P] at x [n]."""

    @abstractmethod
    def jacobian(self, theta: Array, x: Array) -> Array:
        """[S, n, P]: derivatives of `value` by the internal parameters."""

    @abstractmethod
    def bounds(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Lower and upper bounds [P] of the internal parameters, wide enough that data rarely meet them."""

    @abstractmethod
    def candidates(self, x: Array) -> tuple[Array, Array]:
        """Start values before the linear parameters are known.

        Returns theta [G, P], linear parameters at 0, and the basis [G, n, L] whose combination is the curve.
        """

    @abstractmethod
    def with_linear(self, theta: Array, coefficients: Array) -> Array:
        """theta [G, P] with linear coefficients [G, L] (all non-negative) filled in."""

    @abstractmethod
    def natural(self, theta: Array, scale: float) -> Array:
        """Natural parameters [P] of internal ones [P]; scale is g."""

    @abstractmethod
    def natural_jacobian(self, theta: Array, scale: float) -> Array:
        """[P, P]: derivatives of `natural` (rows) by the internal parameters (columns)."""

    @abstractmethod
    def evaluate(self, params: dict[str, float], x: Array) -> Array:
        """y at x (not scaled) from natural parameters."""


_LOG_ALPHA = (np.log(1e-4), np.log(20.0))
_ALPHA_GRID = np.geomspace(0.03, 4.0, 9)
_TINY = 1e-300


class Power(Form):
    """y = a x^c with a > 0, c < 0. Internal: log f(g), log(-c)."""

    name = "power"
    parameters = ("a", "c")

    def value(self, theta: Array, x: Array) -> Array:
        return np.exp(theta[:, :1] - np.exp(theta[:, 1:2]) * np.log(x))

    def jacobian(self, theta: Array, x: Array) -> Array:
        value = self.value(theta, x)
        return np.stack([value, -value * np.exp(theta[:, 1:2]) * np.log(x)], axis=-1)

    def bounds(self, x: Array, y: Array) -> tuple[Array, Array]:
        level = _level_bounds(y)
        return np.array([level[0], _LOG_ALPHA[0]]), np.array([level[1], _LOG_ALPHA[1]])

    def candidates(self, x: Array) -> tuple[Array, Array]:
        theta = np.column_stack([np.zeros_like(_ALPHA_GRID), np.log(_ALPHA_GRID)])
        return theta, self.value(theta, x)[..., None]

    def with_linear(self, theta: Array, coefficients: Array) -> Array:
        filled = theta.copy()
        filled[:, 0] = np.log(np.maximum(coefficients[:, 0], _TINY))
        return filled

    def natural(self, theta: Array, scale: float) -> Array:
        alpha = np.exp(theta[1])
        return np.array([np.exp(theta[0] + alpha * np.log(scale)), -alpha])

    def natural_jacobian(self, theta: Array, scale: float) -> Array:
        a, c = self.natural(theta, scale)
        return np.array([[a, -a * c * np.log(scale)], [0.0, c]])

    def evaluate(self, params: dict[str, float], x: Array) -> Array:
        return np.asarray(np.exp(np.log(params["a"]) + params["c"] * np.log(x)))


class SaturationNoFloor(Form):
    """y = a (x + b)^c with a, b > 0, c < 0. Internal: log f(g), log(b/g), log(-c)."""

    name = "saturation_no_floor"
    parameters: ClassVar[tuple[str, ...]] = ("a", "b", "c")

    def value(self, theta: Array, x: Array) -> Array:
        return np.exp(theta[:, :1] - np.exp(theta[:, 2:3]) * self._log_ratio(theta, x))

    def jacobian(self, theta: Array, x: Array) -> Array:
        shift, alpha = np.exp(theta[:, 1:2]), np.exp(theta[:, 2:3])
        value = SaturationNoFloor.value(self, theta, x)
        by_shift = -value * alpha * shift * (1.0 / (x + shift) - 1.0 / (1.0 + shift))
        return np.stack([value, by_shift, -value * alpha * self._log_ratio(theta, x)], axis=-1)

    def bounds(self, x: Array, y: Array) -> tuple[Array, Array]:
        level = _level_bounds(y)
        lower = np.array([level[0], np.log(x.min() * 1e-4), _LOG_ALPHA[0]])
        return lower, np.array([level[1], np.log(x.max() * 1e3), _LOG_ALPHA[1]])

    def candidates(self, x: Array) -> tuple[Array, Array]:
        shifts = np.log(np.geomspace(x.min() * 0.03, x.max() * 3.0, 12))
        grid = np.stack(np.meshgrid(shifts, np.log(_ALPHA_GRID), indexing="ij"), axis=-1).reshape(-1, 2)
        theta = np.column_stack([np.zeros(len(grid)), grid])
        return theta, SaturationNoFloor.value(self, theta, x)[..., None]

    def with_linear(self, theta: Array, coefficients: Array) -> Array:
        filled = theta.copy()
        filled[:, 0] = np.log(np.maximum(coefficients[:, 0], _TINY))
        return filled

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

    def value(self, theta: Array, x: Array) -> Array:
        return super().value(theta, x) + theta[:, 3:4]

    def jacobian(self, theta: Array, x: Array) -> Array:
        without = super().jacobian(theta, x)
        return np.concatenate([without, np.ones((*without.shape[:2], 1))], axis=-1)

    def bounds(self, x: Array, y: Array) -> tuple[Array, Array]:
        lower, upper = super().bounds(x, y)
        return np.append(lower, 0.0), np.append(upper, y.max())

    def candidates(self, x: Array) -> tuple[Array, Array]:
        theta, basis = super().candidates(x)
        return np.column_stack([theta, np.zeros(len(theta))]), np.concatenate([basis, np.ones_like(basis)], axis=-1)

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


FORMS: dict[str, Form] = {form.name: form for form in (Power(), SaturationNoFloor(), Saturation())}


def get_form(name: str) -> Form:
    """The form of this name; InputError, with the nearest names, where there is none."""
    if name not in FORMS:
        raise InputError(f"form = {name!r}: no such form; {nearest(name, list(FORMS))}")
    return FORMS[name]


def _level_bounds(y: Array) -> tuple[float, float]:
    top = float(np.log(max(y.max(), _TINY)))
    return top - 40.0, top + 10.0
