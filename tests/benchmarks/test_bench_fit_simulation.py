"""The simulation study: what is simulated, and that coverage counts what it says."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from benchmarks.result import Settings
from benchmarks.synthetic_laws import TRUTHS, Array, Truth

from benchmarks import fit_simulation
from mammut_clip.fit.residuals import Space

TRUTH = Truth("saturation", {"a": 57.9, "b": 9.7e7, "c": -0.2266, "d": 0.111}, 20, "raw", 0.01)


@dataclass
class Known:
    """The true law with intervals of a given half width."""

    truth: Truth
    half: float

    def predict(self, x: Array) -> Array:
        return self.truth.curve(x) + 0.25

    def law_interval(self, x: Array) -> tuple[Array, Array]:
        return self.truth.curve(x) - self.half, self.truth.curve(x) + self.half

    predict_interval = law_interval


@pytest.mark.parametrize("truth", TRUTHS, ids=[truth.label for truth in TRUTHS])
def test_scatter_is_as_stated_in_the_space_of_the_fit(truth: Truth) -> None:
    x = np.full(20_000, 1e10)
    y = truth.measure(x, np.random.default_rng(0))
    assert ((y > 0) & (y < 1)).all()
    space = Space(truth.residuals)
    deviation = space.forward(y) - space.forward(truth.curve(x))
    assert abs(deviation.mean()) < 4 * truth.scatter / np.sqrt(len(x))
    assert deviation.std() == pytest.approx(truth.scatter, rel=0.03)
    one_sided = bool(deviation.min() > -1.001 * truth.scatter)
    assert one_sided == (truth.noise == "best_of_k")


@pytest.mark.parametrize("truth", TRUTHS, ids=[truth.label for truth in TRUTHS])
def test_points_lie_over_the_whole_range(truth: Truth) -> None:
    x, y = truth.sample(np.random.default_rng(1))
    low, high = truth.x_range
    step = (high / low) ** (1 / truth.points)
    assert len(x) == len(y) == truth.points and (np.diff(x) > 0).all()
    assert low <= x[0] <= low * step and high / step <= x[-1] <= high


def test_coverage_counts_the_places_within_and_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(half: float) -> fit_simulation.Trial:
        def known(x: Array, y: Array, truth: Truth, form: str) -> tuple[Any, dict[str, float]]:
            return Known(truth, half), {"a": 1.0, "c": -0.2, "d": 0.2}

        monkeypatch.setattr(fit_simulation, "_fit", known)
        return fit_simulation.trial(TRUTH, fit_simulation.TRUE_FORM, 0, 0)

    never = judge(1e-12)
    assert (never.law_inside, never.law_beyond) == (1.0, 1.0), "the law is the true one"
    assert (never.measurement_inside, never.measurement_beyond) == (0.0, 0.0)
    assert never.exponent == pytest.approx(0.0266) and never.floor == pytest.approx(0.089)
    assert never.miss == pytest.approx(0.25)
    always = judge(0.1)
    assert (always.measurement_inside, always.measurement_beyond) == (1.0, 1.0)


def test_a_law_is_recovered_and_the_study_repeats_itself() -> None:
    exact = Truth("saturation", TRUTH.params, 20, "raw", 1e-6)
    first = fit_simulation.trial(exact, fit_simulation.TRUE_FORM, 0, 7)
    assert first == fit_simulation.trial(exact, fit_simulation.TRUE_FORM, 0, 7)
    assert abs(first.exponent) < 1e-4 and abs(first.floor) < 1e-4 and abs(first.miss) < 1e-4


def test_the_summary_gives_bias_rmse_and_coverage() -> None:
    nothing = float("nan")
    trials = [
        fit_simulation.Trial("law A", "auto", 1.0, 1.0, 0.8, 0.0, 0.03, nothing, nothing),
        fit_simulation.Trial("law A", "auto", 0.8, 1.0, 1.0, 1.0, -0.01, nothing, nothing),
    ]
    table = fit_simulation.summary(pd.DataFrame([vars(t) for t in trials]))
    assert table.rows == (("law A", "auto", "", "", "+0.0100, 0.0224", "90.0%", "100.0%", "90.0%", "50.0%"),)
    assert len(table.header) == len(table.rows[0])


@pytest.mark.slow
def test_the_benchmark_has_rows_and_a_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(fit_simulation, "TRUTHS", TRUTHS[:2])
    monkeypatch.setattr(fit_simulation, "SAMPLES", 4)
    found = fit_simulation.measure(Settings(repeats=1, results=tmp_path))
    assert len(found.rows) == 5 * len(fit_simulation.FITTED) and found.notes
    lines = (tmp_path / fit_simulation.TABLE).read_text().splitlines()
    assert len(lines) == 2 + 2 * len(fit_simulation.FITTED)
