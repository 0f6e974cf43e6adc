"""What a form of law is: values, derivatives, bounds and starts, in parameters in which its problem is well scaled."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

TINY = 1e-300
LOG_ALPHA = (np.log(1e-4), np.log(20.0))
"""Bounds of the logarithm of an exponent's size."""
ALPHA_GRID = np.geomspace(0.03, 4.0, 9)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Start values whose linear parameters are not known yet: the curve is offset + basis @ coefficients."""

    theta: Array
    """[G, P], linear parameters at 0."""
    basis: Array
    """[G, n, L], L at most 2; coefficients are never negative."""
    offset: Array
    """[G, n]."""


class Form(ABC):
    """A family of curves y = f(x; parameters), x > 0.

    x is divided by its geometric mean g, an amplitude is the law's value at g instead of at x = 1 (1e10 away), and
    amplitude, shift and exponent enter by their logarithm. `natural` turns these internal parameters theta into those
    that people write. Shapes: S problems (starts, bootstrap replicates), n points, P parameters.
    """

    name: ClassVar[str]
    parameters: ClassVar[tuple[str, ...]]
    """Natural parameters, in the order of the internal ones."""
    exponent: ClassVar[int | None] = None
    """Index of the internal parameter log(-c), which a prior on the exponent speaks of."""
    formula: ClassVar[str]
    """The curve as people write it."""

    @property
    def ceiling(self) -> float | None:
        """Largest y that the curve can reach, where it has one."""
        return None

    @abstractmethod
    def value(self, theta: Array, x: Array) -> Array:
        """[S, n] of theta [S, P] at scaled x [n]."""

    @abstractmethod
    def jacobian(self, theta: Array, x: Array) -> Array:
        """[S, n, P]: derivatives of `value` by the internal parameters."""

    @abstractmethod
    def bounds(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Lower and upper bounds [P] of the internal parameters, wide enough that data rarely meet them."""

    @abstractmethod
    def candidates(self, x: Array) -> Candidates:
        """A grid over the parameters that are not linear."""

    @abstractmethod
    def with_linear(self, theta: Array, coefficients: Array) -> Array:
        """theta [G, P] with linear coefficients [G, L] filled in."""

    @abstractmethod
    def natural(self, theta: Array, scale: float) -> Array:
        """Natural parameters [P] of internal ones [P]; scale is g."""

    @abstractmethod
    def natural_jacobian(self, theta: Array, scale: float) -> Array:
        """[P, P]: derivatives of `natural` (rows) by the internal parameters (columns)."""

    @abstractmethod
    def evaluate(self, params: dict[str, float], x: Array) -> Array:
        """y at x (not scaled) from natural parameters."""


def level_bounds(y: Array) -> tuple[float, float]:
    """Bounds of the logarithm of an amplitude at g."""
    top = float(np.log(max(y.max(), TINY)))
    return top - 40.0, top + 10.0


def shift_bounds(x: Array) -> tuple[float, float]:
    """Bounds of the logarithm of a shift beside scaled x."""
    return float(np.log(x.min() * 1e-4)), float(np.log(x.max() * 1e3))


def shift_and_exponent_grid(x: Array) -> Array:
    """[G, 2]: log shifts from below the data to beyond them, with log exponents."""
    shifts = np.log(np.geomspace(x.min() * 0.03, x.max() * 3.0, 12))
    return np.stack(np.meshgrid(shifts, np.log(ALPHA_GRID), indexing="ij"), axis=-1).reshape(-1, 2)


def fill_level(theta: Array, coefficients: Array) -> Array:
    """theta [G, P] with its first parameter, the log of an amplitude, from coefficients [G, L]."""
    filled = theta.copy()
    filled[:, 0] = np.log(np.maximum(coefficients[:, 0], TINY))
    return filled
