"""Every law of a comparison, and every draw of it, on one grid of x that is wider than the data."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_compare import CompareConfig
from mammut_clip.fit.estimate import Estimate
from mammut_clip.fit.forms import Array

Range = tuple[float, float]

_PER_DECADE = 60
"""Between neighbours, 4% apart, curves are interpolated linearly in log x: x is right to about 0.1%."""


@dataclass(frozen=True, eq=False)
class Curves:
    """Laws at the points of a grid. Row i of all draws belongs together: it is one redrawn set of data."""

    x: Array
    """[m] rising; holds the ends of every range that two groups share, and every x that was asked for."""
    laws: dict[str, Array]
    """[m] each: what the law predicts."""
    draws: dict[str, Array]
    """[count, m] each."""

    @property
    def names(self) -> tuple[str, ...]:
        """The groups, in the order in which they were given."""
        return tuple(self.laws)

    def between(self, start: float, end: float) -> slice:
        """The stretch of the grid from start to end, both included."""
        return slice(int(np.searchsorted(self.x, start, "left")), int(np.searchsorted(self.x, end, "right")))

    def at(self, x: float) -> int:
        """Index of a point of the grid; the nearest one where x is none."""
        return int(np.argmin(np.abs(np.log(self.x / x))))


def trace(
    estimates: Mapping[str, Estimate], measured: Mapping[str, Range], config: CompareConfig
) -> tuple[Curves, tuple[str, ...]]:
    """The curves of all estimates that have an uncertainty, and one sentence for each that has none.

    A law through as many points as it has parameters has no scatter to judge by; nothing can be claimed of it.
    """
    x = _grid([measured[name] for name in estimates], config)
    laws: dict[str, Array] = {}
    draws: dict[str, Array] = {}
    left_out: list[str] = []
    for name, estimate in estimates.items():
        try:
            draws[name] = np.asarray(estimate.draws(x), dtype=np.float64)
        except InputError as error:
            left_out.append(f"{name} is not compared: {error}")
            continue
        laws[name] = np.asarray(estimate.predict(x), dtype=np.float64)
    fewest = min((len(d) for d in draws.values()), default=0)
    return Curves(x, laws, {name: d[:fewest] for name, d in draws.items()}), tuple(left_out)


def _grid(ranges: list[Range], config: CompareConfig) -> Array:
    marks = [end for span in ranges for end in span] + list(config.at)
    low, high = min(marks), max(marks)
    low, high = (
        min(low, min(r[0] for r in ranges) / config.beyond),
        max(high, max(r[1] for r in ranges) * config.beyond),
    )
    count = int(np.ceil(np.log10(high / low) * _PER_DECADE)) + 2
    return np.unique(np.concatenate([np.geomspace(low, high, count), marks]))
