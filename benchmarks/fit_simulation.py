"""Simulated measurements of known laws: are the laws recovered, and do 95% intervals contain what they should?"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from benchmarks.result import Measurement, Row, Settings
from benchmarks.synthetic_laws import TRUTHS, Array, Truth
from mammut_clip.config.fit import FormName
from mammut_clip.fit.estimate import Estimate
from mammut_clip.fit.procedure import Procedure
from mammut_clip.fit.tables import Table, to_markdown

QUESTION = "Are known laws recovered from simulated measurements, and do 95% intervals contain what they should?"
SAMPLES = 100
"""Simulated sets of points per law and repetition."""
INSIDE = 5
"""Places within the data where intervals are asked."""
BEYOND = 10.0
"""The place beyond the data, as a multiple of the largest x."""
TRUE_FORM = "the true form"
FITTED: tuple[str, ...] = (TRUE_FORM, "auto", "average")
LEAST = 0.93
"""Coverage to reach where the form is true; 0.97 is as far on the other side."""
WORKERS = 2
TABLE = "fit_simulation.md"


@dataclass(frozen=True)
class Trial:
    """One simulated set of points and the law fitted to it."""

    law: str
    """Label of the truth."""
    fitted: str
    law_inside: float
    """Share of the places within the data where the law's interval holds the true law."""
    law_beyond: float
    """The same one decade beyond: 0 or 1."""
    measurement_inside: float
    """Share of the places where the prediction interval holds a new measurement."""
    measurement_beyond: float
    miss: float
    """Predicted less true law, one decade beyond."""
    exponent: float
    """Fitted less true, of the last exponent; not a number where another form was fitted."""
    floor: float
    """Fitted less true irreducible error; not a number where there is none."""


COVERAGES = ("law_inside", "law_beyond", "measurement_inside", "measurement_beyond")


def measure(settings: Settings) -> Measurement:
    """Rows pooled over the laws; each law's own go to a Markdown table beside the results."""
    trials = study(TRUTHS, SAMPLES * settings.repeats)
    (settings.results / TABLE).write_text(to_markdown(summary(trials)))
    rows = []
    for fitted, found in trials.groupby("fitted", sort=False):
        target = LEAST if fitted == TRUE_FORM else None
        for column in COVERAGES:
            unit = "coverage of the 95% interval"
            rows.append(
                Row(f"{fitted}: {_words(column)}", unit, "higher", [float(found[column].mean())], target=target)
            )
        rows.append(Row(f"{fitted}: one decade beyond", "RMSE of the law", "lower", [_rms(found["miss"])]))
    return Measurement(rows, _notes(trials))


def _notes(trials: pd.DataFrame) -> list[str]:
    by_law = trials[trials["fitted"] == TRUE_FORM].groupby("law", sort=False)[list(COVERAGES)].mean()
    ranges = "; ".join(f"{_words(c)} {by_law[c].min():.1%} to {by_law[c].max():.1%}" for c in COVERAGES)
    samples = len(trials) // (len(by_law) * len(FITTED))
    return [
        f"{len(TRUTHS)} laws of {len({truth.form for truth in TRUTHS})} forms, {samples} simulated sets of "
        f"points each; law by law: {TABLE}. Intervals by the defaults: residuals redrawn, 1,000 refits.",
        f"Within: {INSIDE} places over the data, even in log compute. Beyond: at {BEYOND:g} times the largest compute.",
        f"The true form is fitted in the space of its scatter; aim: {LEAST:.0%} to {1.9 - LEAST:.0%}; law by law, "
        f"{ranges}.",
        "`auto` and `average` run by their defaults, whatever the truth: most of these laws are not among their forms.",
    ]


def study(truths: tuple[Truth, ...], samples: int) -> pd.DataFrame:
    """A row per trial, with the columns of `Trial`. The same points whatever is fitted; the same every time."""
    jobs = [
        (truth, fitted, k, sample) for k, truth in enumerate(truths) for fitted in FITTED for sample in range(samples)
    ]
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pd.DataFrame([vars(t) for t in pool.map(trial, *zip(*jobs, strict=True), chunksize=25)])


def trial(truth: Truth, fitted: str, *seed: int) -> Trial:
    """Simulate, fit and judge once."""
    rng = np.random.default_rng(seed)
    x, y = truth.sample(rng)
    form = truth.form if fitted == TRUE_FORM else fitted
    estimate, params = _fit(x, y, truth, form)
    ends = truth.x_range
    places = np.append(np.geomspace(*ends, INSIDE), BEYOND * ends[1])
    true, new = truth.curve(places), truth.measure(places, rng)
    law, measurement = (
        (low <= value) & (value <= high)
        for value, (low, high) in (
            (true, estimate.law_interval(places)),
            (new, estimate.predict_interval(places)),
        )
    )
    return Trial(
        truth.label,
        fitted,
        law_inside=float(law[:-1].mean()),
        law_beyond=float(law[-1]),
        measurement_inside=float(measurement[:-1].mean()),
        measurement_beyond=float(measurement[-1]),
        miss=float(estimate.predict(places)[-1] - true[-1]),
        exponent=_difference(params, truth.params, "c1" if "c1" in truth.params else "c"),
        floor=_difference(params, truth.params, "d"),
    )


def summary(trials: pd.DataFrame) -> Table:
    """Law by law: bias and RMSE of exponent, floor and of the law one decade beyond, and the four coverages."""
    recovered = ("exponent", "floor", "law a decade beyond the data")
    header = ("law", "fitted", *(f"{name}: bias, RMSE" for name in recovered), *(_words(c) for c in COVERAGES))
    rows = []
    for (law, fitted), found in trials.groupby(["law", "fitted"], sort=False):
        differences = [_bias_and_rms(found[column]) for column in ("exponent", "floor", "miss")]
        rows.append((str(law), str(fitted), *differences, *(f"{found[c].mean():.1%}" for c in COVERAGES)))
    return Table(header, tuple(rows))


def _fit(x: Array, y: Array, truth: Truth, form: str) -> tuple[Estimate, dict[str, float]]:
    """The true form in the space of its scatter, with its parameters; `auto` and `average` by their defaults."""
    if form != truth.form:
        return Procedure(cast(FormName, form)).fit(x, y).estimate, {}
    fitted = Procedure(cast(FormName, form), residuals=truth.residuals).fit(x, y)
    return fitted.estimate, fitted.law.params


def _difference(found: dict[str, float], true: dict[str, float], name: str) -> float:
    return found[name] - true[name] if name in found and name in true else float("nan")


def _bias_and_rms(differences: pd.Series) -> str:
    return "" if differences.isna().all() else f"{differences.mean():+.4f}, {_rms(differences):.4f}"


def _rms(differences: pd.Series) -> float:
    return float(np.sqrt(np.mean(differences**2)))


def _words(column: str) -> str:
    what, where = column.split("_")
    return f"{what}, {'within' if where == 'inside' else 'a decade beyond'} the data"
