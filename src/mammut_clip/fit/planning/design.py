"""Linear-Gaussian design: how much of a target's variance a measurement would remove, from joint draws of both.

With target T and law value F at x jointly normal and a measurement y = F + noise of variance s^2,

    var(T | y) = var(T) - cov(T, F)^2 / (var(F) + s^2)

whatever y turns out to be (Chaloner and Verdinelli 1995, section 2). For one least-squares law whose draws are those of
its linearisation this is s^2 g'(J'J + j j')^-1 g, the textbook variance after adding the row j to the Jacobian; the
draws of an estimate serve every target, such as a difference of two laws or the place where they cross, and every
estimate, such as an average of forms.
"""

from dataclasses import dataclass, replace

import numpy as np

from mammut_clip.fit.forms import Array

_TAIL = 0.005
"""Share of draws at each end that is drawn in: a refit that ran away says nothing about a linear design."""
_BY_CHANCE = 9.0
"""Squared correlations below this over the number of draws, three standard deviations, are put down to chance."""


@dataclass(frozen=True, eq=False)
class Design:
    """What is known jointly of a target and of the law at m places where it could be measured."""

    variance: float
    """Of the target."""
    cross: Array
    """[m]: covariance of the target with the law at each place."""
    covariance: Array
    """[m, m]: of the law at these places."""
    noise: Array
    """[m]: variance of one measurement about the law."""
    resolution: float
    """Least share of the target's variance that is told apart from chance."""

    @classmethod
    def of_draws(cls, target: Array, places: Array, noise: Array, chance: Array) -> "Design":
        """From joint draws of the target [count] and of the law at m places [count, m]; noise and chance [m].

        A measurement that counts with some probability only removes that share of what it would: it is one with more
        noise.
        """
        drawn = np.column_stack([target, places])
        low, high = np.quantile(drawn, [_TAIL, 1.0 - _TAIL], axis=0)
        joint = np.atleast_2d(np.cov(np.clip(drawn, low, high), rowvar=False))
        own = np.diag(joint)[1:]
        with np.errstate(divide="ignore"):
            widened = (own + noise) / chance - own
        return cls(float(joint[0, 0]), joint[0, 1:], joint[1:, 1:], widened, _BY_CHANCE / len(target))

    @property
    def removed(self) -> Array:
        """[m]: variance of the target that a measurement at each place removes; 0 where that is no more than chance."""
        own = np.diag(self.covariance)
        squared = self.cross**2 / np.maximum(own * self.variance, 1e-300)
        return np.where(squared > self.resolution, self.cross**2 / np.maximum(own + self.noise, 1e-300), 0.0)

    def after(self, place: int) -> "Design":
        """What is known after a measurement at one of the places."""
        column = self.covariance[:, place]
        weight = 1.0 / (self.covariance[place, place] + self.noise[place])
        return replace(
            self,
            variance=self.variance - self.cross[place] ** 2 * weight,
            cross=self.cross - column * self.cross[place] * weight,
            covariance=self.covariance - np.outer(column, column) * weight,
        )


def affordable_sequence(design: Design, hours: Array, budget: float) -> list[int]:
    """The places to measure, in order, for at most `budget` hours; hours [m], each place at most once.

    Two greedy sequences are made, by variance removed per hour and by variance removed, and the one that leaves less
    variance is returned: the first alone can spend the budget on trifles.
    """
    return min(
        (_greedy(design, hours, budget, per_hour) for per_hour in (True, False)),
        key=lambda places: round(_left(design, places) / design.variance, 6),
    )


def _greedy(design: Design, hours: Array, budget: float, per_hour: bool) -> list[int]:
    chosen: list[int] = []
    left = budget
    while True:
        score = design.removed / hours if per_hour else design.removed
        score[[*chosen, *np.flatnonzero(hours > left)]] = 0.0
        best = int(np.argmax(score)) if len(score) else 0
        if not len(score) or score[best] <= 0:
            return chosen
        chosen.append(best)
        left -= hours[best]
        design = design.after(best)


def _left(design: Design, places: list[int]) -> float:
    for place in places:
        design = design.after(place)
    return design.variance
