"""A four-parameter law fitted by us and by scipy.optimize.curve_fit from many random starts: time and fit.

The paper's 25 frontier points where the reference folder `shared` is beside the checkout, and always points made here
from a known law with noise.
"""

import csv
import time
import warnings
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from benchmarks.machine import ROOT
from benchmarks.result import Measurement, Row, Settings
from mammut_clip.fit import fit_law

QUESTION = "How long does one saturation law y = a (x + b)^c + d take, and how good is it, beside scipy's curve_fit?"
STARTS = 20
PEER = f"scipy curve_fit, {STARTS} starts"
_PAPER = ROOT.parent / "shared" / "data" / "paper" / "figure1_frontier_clip.csv"

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """What both sides fit. x, y: [n]."""

    label: str
    x: Array
    y: Array


def measure(settings: Settings) -> Measurement:
    """Rows of seconds and of the sum of squared errors, per set of points."""
    sets = [*_paper_points(), _synthetic_points()]
    rows = [row for points in sets for row in _compare(points, settings.repeats)]
    where = (
        "The paper's points came from ../shared." if len(sets) == 2 else "../shared is absent: synthetic points only."
    )
    peer = f"The peer: x over its geometric mean; log a, log b, c, d in wide bounds; best of {STARTS} uniform starts."
    return Measurement(rows, [where, peer, "Our time includes standard errors, the peer's its covariance."])


def _compare(points: Points, repeats: int) -> list[Row]:
    ours, theirs = [], []
    for repeat in range(repeats):
        ours.append(_timed(partial(_fit_ours, points)))
        theirs.append(_timed(partial(_fit_theirs, points, seed=repeat)))
    return [
        Row(points.label, "s", "lower", [t for t, _ in ours], PEER, [t for t, _ in theirs]),
        Row(points.label, "sum of squared errors", "lower", [e for _, e in ours], PEER, [e for _, e in theirs]),
    ]


def _timed(fit: partial[float]) -> tuple[float, float]:
    """(seconds, sum of squared errors)."""
    started = time.perf_counter()
    error = fit()
    return time.perf_counter() - started, error


def _fit_ours(points: Points) -> float:
    return fit_law(points.x, points.y, "saturation").sse


def _fit_theirs(points: Points, seed: int) -> float:
    from scipy.optimize import curve_fit

    scaled = points.x / np.exp(np.mean(np.log(points.x)))

    def law(x: Array, log_a: float, log_b: float, c: float, d: float) -> Array:
        curve: Array = np.exp(log_a) * (x + np.exp(log_b)) ** c + d
        return curve

    lower, upper = np.array([-10.0, -25.0, -3.0, 0.0]), np.array([10.0, 15.0, 0.0, 1.0])
    starts = np.random.default_rng(seed).uniform(lower, upper, (STARTS, 4))
    best = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a covariance that cannot be estimated, from a start that leads nowhere
        for start in starts:
            try:
                theta, _ = curve_fit(law, scaled, points.y, p0=start, bounds=(lower, upper), max_nfev=2000)
            except RuntimeError:  # no convergence from this start
                continue
            best = min(best, float(np.sum((law(scaled, *theta) - points.y) ** 2)))
    return best


def _paper_points() -> list[Points]:
    if not _PAPER.is_file():
        return []
    with _PAPER.open(newline="") as file:
        rows = [(float(row["C"]), float(row["error"])) for row in csv.DictReader(file)]
    x, y = np.array(rows).T
    return [Points(f"the paper's figure 1, CLIP ({len(rows)} points)", x, y)]


def _synthetic_points() -> Points:
    x = np.geomspace(1e7, 1e12, 40)
    noise = np.random.default_rng(0).normal(0, 0.003, len(x))
    return Points("synthetic (40 points, noise 0.003)", x, 60.0 * (x + 1e8) ** -0.22 + 0.1 + noise)
