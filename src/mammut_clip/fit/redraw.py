"""Draws of whole cells or single runs, with the frontier found anew in each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mammut_clip.config.errors import InputError
from mammut_clip.fit.forms import Array

Pick = Callable[[NDArray[np.intp]], NDArray[np.bool_]]
"""Numbers [m] of the rows in a draw -> mask [m] of those a law is fitted to."""

_TRIES = 200


@dataclass(frozen=True, eq=False)
class Redrawn:
    """Rows that draws are made from."""

    x: Array
    """[r]."""
    y: Array
    """[r]: errors."""
    weights: Array
    """[r]: factors of the squared residuals."""
    units: NDArray[np.intp]
    """[r]: which of `names` a row is drawn with."""
    names: tuple[str, ...]
    """Everything that is drawn from, the other groups' cells too: groups with the same names and seed are paired."""
    pick: Pick

    @classmethod
    def of_points(cls, x: Array, y: Array, weights: Array) -> "Redrawn":
        """Each point by itself, all of them fitted."""
        n = len(x)
        return cls(x, y, weights, np.arange(n), tuple(map(str, range(n))), lambda rows: np.ones(len(rows), dtype=bool))

    def draw(self, count: int, seed: int, needed: int) -> tuple[Array, Array, Array]:
        """(x [m], y [m], weights [count, m]) of the rows that are on the frontier of at least one draw.

        A draw whose frontier has fewer than `needed` different x is drawn again.
        """
        weights = np.zeros((count, len(self.x)))
        missing = np.arange(count)
        for attempt in range(_TRIES):
            times = self._times(np.random.default_rng([seed, 5, attempt]), count)
            for i in missing:
                weights[i] = self._on_frontier(times[i], needed)
            missing = missing[~weights[missing].any(axis=1)]
            if not missing.size:
                used = weights.any(axis=0)
                return self.x[used], self.y[used], weights[:, used]
        raise InputError(
            f"the bootstrap drew {_TRIES} times and never found {needed} points of different x on the frontier; "
            "take method: residual or a form with fewer parameters"
        )

    def _times(self, rng: np.random.Generator, count: int) -> NDArray[np.intp]:
        """[count, r]: how often each row is drawn. All `count` are drawn at every attempt, so that a draw that is made
        again stays paired with those of other groups."""
        units = len(self.names)
        return rng.multinomial(units, np.full(units, 1.0 / units), size=count)[:, self.units]

    def _on_frontier(self, times: NDArray[np.intp], needed: int) -> Array:
        """[r]: weights of the rows of one draw that are fitted; none where they are too few."""
        weights, rows = np.zeros(len(self.x)), np.flatnonzero(times)
        chosen = rows[self.pick(rows)] if rows.size else rows
        if len(set(self.x[chosen].tolist())) >= needed:
            weights[chosen] = times[chosen] * self.weights[chosen]
        return weights


def units_of(names: Sequence[str], rows: Sequence[str]) -> NDArray[np.intp]:
    """[r]: the place of each row's name among all names."""
    place = {name: i for i, name in enumerate(names)}
    return np.array([place[name] for name in rows], dtype=np.intp)
