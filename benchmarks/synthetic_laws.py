"""Laws of known parameters with scatter about them, for a simulation study.

Sizes are those of the paper's measurements: four decades of compute, 12 to 60 points, a scatter of 1% to 4%.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mammut_clip.config.fit import ResidualName
from mammut_clip.fit import get_form

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """A law and how measurements scatter about it."""

    form: str
    params: dict[str, float]
    points: int
    residuals: ResidualName
    """Where the scatter is additive; laws are fitted in the same space."""
    scatter: float
    """Standard deviation of a measurement there."""
    noise: Literal["normal", "best_of_k"] = "normal"
    """best_of_k: the least of k runs, each worse than its best by an exponential excess. The least of k exponentials is
    an exponential too, so that the scatter is one-sided at any k; the law is where its mean lies."""
    x_range: tuple[float, float] = (5e7, 5e11)

    @property
    def label(self) -> str:
        """One line that tells it from the others."""
        values = ", ".join(f"{name} = {value:.3g}" for name, value in self.params.items())
        kind = "" if self.noise == "normal" else ", best of k"
        return f"{self.form} ({values}); {self.points} points, {self.residuals} {self.scatter:g}{kind}"

    def curve(self, x: Array) -> Array:
        """The law at x [m]."""
        return get_form(self.form).evaluate(self.params, x)

    def measure(self, x: Array, rng: np.random.Generator) -> Array:
        """One measurement at each x [m]."""
        deviation = rng.normal(size=x.shape) if self.noise == "normal" else rng.exponential(size=x.shape) - 1.0
        y, step = self.curve(x), self.scatter * deviation
        if self.residuals == "raw":
            return np.maximum(y + step, 0.0)
        if self.residuals == "log":
            return np.asarray(y * np.exp(step))
        return np.asarray(1.0 / (1.0 + (1.0 - y) / y * np.exp(-step)))

    def sample(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """x, y [points]: compute spread evenly in its logarithm, off the even grid by up to half a step."""
        low, high = np.log(self.x_range)
        step = (high - low) / self.points
        x = np.exp(low + step * (np.arange(self.points) + rng.uniform(size=self.points)))
        return x, self.measure(x, rng)


_CLIP = {"a": 57.862083, "b": 9.71e7, "c": -0.226604, "d": 0.111169}
"""The published law of figure 1."""
_SEGMENTATION = {"a": 17.93, "b": 3.955e7, "c": -0.2084, "d": 0.4676}
"""CLIP on ADE20K."""

TRUTHS = (
    Truth("power", {"a": 3.5, "c": -0.09}, 25, "log", 0.03),
    Truth("saturation_no_floor", {"a": 14.0, "b": 1e8, "c": -0.15}, 25, "log", 0.03),
    Truth("saturation", _CLIP, 12, "raw", 0.007),
    Truth("saturation", _CLIP, 25, "raw", 0.014),
    Truth("saturation", _CLIP, 60, "raw", 0.014),
    Truth("saturation", _SEGMENTATION, 25, "log", 0.015, "best_of_k"),
    Truth("saturation", _SEGMENTATION, 25, "raw", 0.007),
    Truth("bounded_no_floor", {"b": 1e8, "c": -0.15}, 25, "logit", 0.06),
    Truth("bounded", {"b": 6e7, "c": -0.22, "d": 0.11}, 25, "logit", 0.06),
    Truth("broken_power", {"a": 1.5, "c0": -0.03, "b": 1e9, "c1": -0.2, "f": 0.6}, 40, "log", 0.02),
)
