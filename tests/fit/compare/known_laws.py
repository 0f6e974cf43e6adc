"""Estimates whose law and draws are written down, so that what a comparison must find is known exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SPAN = (1e6, 1e10)


@dataclass(frozen=True)
class Known:
    """a (x + b)^-alpha + d; one set of parameters for the law, one for each draw."""

    law: tuple[float, float, float, float]
    drawn: Sequence[tuple[float, float, float, float]]
    span: tuple[float, float] = SPAN

    @property
    def x_range(self) -> tuple[float, float]:
        return self.span

    def predict(self, x: float | Sequence[float] | Array) -> Array:
        a, b, alpha, d = self.law
        return np.asarray(a * (np.asarray(x, dtype=np.float64) + b) ** -alpha + d)

    def draws(self, x: float | Sequence[float] | Array) -> Array:
        at = np.atleast_1d(np.asarray(x, dtype=np.float64))
        a, b, alpha, d = np.array(self.drawn, dtype=np.float64).T[..., None]
        return np.asarray(a * (at + b) ** -alpha + d)

    def law_interval(self, x: float | Sequence[float] | Array, level: float = 0.95) -> tuple[Array, Array]:
        low, high = np.quantile(self.draws(x), [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high

    def predict_interval(self, x: float | Sequence[float] | Array, level: float = 0.95) -> tuple[Array, Array]:
        return self.law_interval(x, level)


def power(at_1e8: float, alpha: float, scatter: Sequence[float] = (0.0,)) -> Known:
    """A power law through (1e8, at_1e8); draw i is that law times e^scatter[i]."""
    return shifted(at_1e8, alpha, scatter=scatter)


def shifted(
    at_1e8: float, alpha: float, b: float = 0.0, floor: float = 0.0, scatter: Sequence[float] = (0.0,)
) -> Known:
    """A law with at_1e8 above its floor at 1e8; scatter multiplies what is above the floor."""
    a = at_1e8 * (1e8 + b) ** alpha
    return Known((a, b, alpha, floor), [(a * float(np.exp(s)), b, alpha, floor) for s in scatter])


def normal(count: int, sigma: float, seed: int) -> list[float]:
    """Scatter for draws."""
    return [float(v) for v in np.random.default_rng(seed).normal(0.0, sigma, count)]
