"""Time of a law and of a thousand bootstrap refits, ours beside the published grid of 3,200 starts, on one core.

On the 25 points of the paper's figure 1 (CLIP) where the reference folder `shared` is beside the checkout, else on as
many points made here from its law with noise.
"""

import csv
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np

from benchmarks.machine import ROOT
from benchmarks.published_fit import GRID, Array, PublishedFit, fit_published
from benchmarks.result import Measurement, Row, Settings
from mammut_clip.fit import FORMS, Bootstrap, Law, fit_law
from mammut_clip.fit.procedure import Procedure

QUESTION = (
    "How long do a four-parameter law and 1,000 bootstrap refits take, beside the published grid of 3,200 starts?"
)
PEER = "published grid"
REFITS = 1000
RATIO = 1 / 500
LAW_SECONDS, REFITS_SECONDS = 0.05, 10.0
"""Most for one law and for the refits, of any form."""
_PAPER = ROOT.parent / "shared" / "data" / "paper" / "figure1_frontier_clip.csv"

T = TypeVar("T")


def measure(settings: Settings) -> Measurement:
    """Rows of CPU seconds, of the sum of squares and of the starts that reached it; then every form of ours alone."""
    label, x, y = _points()
    rows = _beside_the_grid(label, x, y, settings.repeats) + _every_form(label, x, y, settings.repeats)
    notes = [
        "The published procedure, written anew from its description: scipy's curve_fit from each of the 3,200 starts "
        "(benchmarks/published_fit.py), in this one process.",
        f"Its {REFITS:,} refits are {REFITS:,} times the time of one, of points drawn with replacement; ours are made.",
        "Our law's time includes its standard errors. Starts within 1e-6 of the least sum of squares reached it.",
    ]
    return Measurement(rows, notes)


def _beside_the_grid(label: str, x: Array, y: Array, repeats: int) -> list[Row]:
    laws: list[tuple[float, Law]] = []
    refits: list[float] = []
    grids: list[tuple[float, PublishedFit]] = []
    grid_refits: list[float] = []
    for repeat in range(repeats):
        laws.append(_timed(partial(fit_law, x, y, "saturation")))
        grids.append(_timed(partial(fit_published, x, y, GRID)))
        refits.append(_refits(laws[-1][1], x))
        drawn = np.random.default_rng(repeat).integers(len(x), size=len(x))
        grid_refits.append(REFITS * _timed(partial(fit_published, x[drawn], y[drawn], GRID))[0])
    law_times, grid_times = [t for t, _ in laws], [t for t, _ in grids]
    sums = [law.sse for _, law in laws], [grid.sse for _, grid in grids]
    ours = [law.fit.starts_agreeing / law.fit.starts for _, law in laws]
    theirs = [grid.starts_at_optimum / len(GRID) for _, grid in grids]
    return [
        Row(f"a law, {label}", "CPU s", "lower", law_times, PEER, grid_times, RATIO),
        Row(f"{REFITS:,} refits, {label}", "CPU s", "lower", refits, PEER, grid_refits, RATIO),
        Row(f"a law, {label}", "sum of squared errors", "lower", sums[0], PEER, sums[1], 1.0 + 1e-6),
        Row(f"a law, {label}", "share of starts at the optimum", "higher", ours, PEER, theirs),
    ]


def _every_form(label: str, x: Array, y: Array, repeats: int) -> list[Row]:
    rows = []
    for form in FORMS:
        laws = [_timed(partial(fit_law, x, y, form)) for _ in range(repeats)]
        refits = [_refits(law, x) for _, law in laws]
        rows.append(Row(f"{form}: a law", "CPU s", "lower", [t for t, _ in laws], target=LAW_SECONDS))
        rows.append(Row(f"{form}: {REFITS:,} refits", "CPU s", "lower", refits, target=REFITS_SECONDS))
    whole = [_timed(partial(_average, x, y))[0] for _ in range(repeats)]
    rows.append(Row(f"average: the forms, their record, {REFITS:,} refits of each", "CPU s", "lower", whole))
    return rows


def _average(x: Array, y: Array) -> None:
    """The default procedure up to an interval a decade beyond the data."""
    Procedure("average").fit(x, y, bootstrap=Bootstrap(count=REFITS)).estimate.predict_interval(10 * x.max())


def _refits(law: Law, x: Array) -> float:
    """CPU seconds of the interval of a law that no interval was asked of yet."""
    return _timed(partial(law.predict_interval, 10 * x.max(), 0.95, Bootstrap(count=REFITS)))[0]


def _timed(call: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds and what came of it."""
    started = time.process_time()
    found = call()
    return time.process_time() - started, found


def _points() -> tuple[str, Array, Array]:
    """Their name, compute [n] in GFLOPs, errors [n]."""
    if _PAPER.is_file():
        with _PAPER.open(newline="") as file:
            x, y = np.array([(float(row["C"]), float(row["error"])) for row in csv.DictReader(file)]).T
        return f"the paper's figure 1, CLIP ({len(x)} points)", x, y
    x = np.geomspace(7e6, 5e11, 25)
    noise = np.random.default_rng(0).normal(0, 0.012, len(x))
    return f"figure 1's law with noise ({len(x)} points)", x, 57.86 * (x + 9.7e7) ** -0.2266 + 0.111 + noise
