"""Known laws are recovered, the published one among them; bad points are refused by row."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit, least_squares

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import ExponentPrior, ResidualName
from mammut_clip.fit import FORMS, fit_law
from mammut_clip.fit.optimise import Objective

PUBLISHED = {"a": 57.862083, "b": float(np.exp(18.391321)), "c": -0.226604, "d": 0.111169}


@pytest.fixture(scope="module")
def figure1(shared_dir: Path) -> pd.DataFrame:
    return pd.read_csv(shared_dir / "data/paper/figure1_frontier_clip.csv")


def test_published_law_of_figure_1(figure1: pd.DataFrame) -> None:
    law = fit_law(figure1["C"].to_numpy(), figure1["error"].to_numpy(), "saturation")
    theirs = FORMS["saturation"].evaluate(PUBLISHED, figure1["C"].to_numpy()) - figure1["error"].to_numpy()
    assert law.sse <= float(np.sum(theirs**2))
    assert law.params["a"] == pytest.approx(57.862083, abs=1e-5)
    assert np.log(law.params["b"]) == pytest.approx(18.391321, abs=2e-6)
    assert law.params["c"] == pytest.approx(-0.226604, abs=1e-6)
    assert law.params["d"] == pytest.approx(0.111169, abs=1e-6)
    assert law.converged and law.fit.starts_agreeing == law.fit.starts <= 16 and not law.at_bound


laws = st.fixed_dictionaries(
    {
        "level": st.floats(0.3, 1.0),
        "alpha": st.floats(0.1, 0.8),
        "bend": st.floats(0.15, 0.85),
        "d": st.floats(0.01, 0.4),
        "points": st.integers(7, 30),
        "decades": st.floats(3, 6),
        "first": st.floats(1e-3, 1e9),
    }
)


@pytest.mark.parametrize("residuals", ["raw", "log", "logit"])
@pytest.mark.parametrize("name", sorted(set(FORMS) - {"broken_power"}))
@settings(max_examples=30, deadline=None)
@given(drawn=laws)
def test_noise_free_laws_are_recovered(name: str, residuals: ResidualName, drawn: dict[str, float]) -> None:
    x = drawn["first"] * np.logspace(0, drawn["decades"], int(drawn["points"]))
    shift = drawn["first"] * 10 ** (drawn["bend"] * drawn["decades"])
    anchor = shift if "b" in FORMS[name].parameters else x[0]
    full = {"a": 0.6 * drawn["level"] * anchor ** drawn["alpha"], "b": shift, "c": -drawn["alpha"], "d": drawn["d"]}
    params = {key: full[key] for key in FORMS[name].parameters}
    law = fit_law(x, FORMS[name].evaluate(params, x), name, residuals=residuals)
    assert law.converged
    for key, value in params.items():
        assert law.params[key] == pytest.approx(value, rel=1e-6), key


def test_a_broken_law_is_recovered() -> None:
    truth = {"a": 4.0, "c0": -0.08, "b": 3e8, "c1": -0.3, "f": 0.5}
    x = np.geomspace(1e5, 1e12, 30)
    law = fit_law(x, FORMS["broken_power"].evaluate(truth, x), "broken_power", residuals="log")
    assert law.converged
    assert law.params == pytest.approx(truth, rel=1e-5)


def test_a_rising_line_is_numpys(figure1: pd.DataFrame) -> None:
    x, y = figure1["C"].to_numpy(), figure1["C"].to_numpy() ** 0.7 * (1 + figure1["error"].to_numpy())
    law = fit_law(x, y, "line", residuals="log")
    slope, level = np.polyfit(np.log(x), np.log(y), 1)
    assert (law.params["c"], np.log(law.params["a"])) == pytest.approx((slope, level), rel=1e-8)


def test_weights_are_those_of_curve_fit() -> None:
    rng = np.random.default_rng(5)
    x = np.geomspace(1e6, 1e11, 20)
    y = FORMS["saturation"].evaluate(PUBLISHED, x) + rng.normal(0, 0.02, 20)
    weights = rng.uniform(0.2, 5.0, 20)
    law = fit_law(x, y, weights=weights)

    def curve(x: np.ndarray, level: float, log_shift: float, c: float, d: float) -> np.ndarray:
        return level * (x / 1e8 + np.exp(log_shift)) ** c + d

    theirs, _ = curve_fit(curve, x, y, p0=[0.8, 0.0, -0.25, 0.1], sigma=weights**-0.5, maxfev=20_000, xtol=1e-14)
    assert law.predict(x) == pytest.approx(curve(x, *theirs), abs=1e-7)


def test_hubers_loss_is_scipys() -> None:
    rng = np.random.default_rng(6)
    x = np.geomspace(1e6, 1e11, 25)
    y = FORMS["saturation_no_floor"].evaluate(PUBLISHED, x) * np.exp(rng.standard_t(1.5, 25) * 0.02)
    law = fit_law(x, y, "saturation_no_floor", objective=Objective("log", huber_delta=0.01))
    theirs = least_squares(
        lambda p: (p[0] - np.exp(p[2]) * np.log(x / 1e8 + np.exp(p[1]))) - np.log(y),
        [-0.2, 0.0, -1.5],
        loss="huber",
        f_scale=0.01,
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    assert law.fit.cost == pytest.approx(2 * theirs.cost, rel=1e-9)
    assert law.params["c"] == pytest.approx(-np.exp(theirs.x[2]), rel=1e-5)
    squares = fit_law(x, y, "saturation_no_floor", residuals="log")
    assert np.median(np.abs(np.log(law.predict(x) / y))) < np.median(np.abs(np.log(squares.predict(x) / y)))


def test_a_prior_pulls_where_the_data_are_silent_and_gives_way_where_they_speak() -> None:
    rng = np.random.default_rng(7)
    prior = Objective("log", prior=ExponentPrior())
    for points, decades, pulled in ((6, 1.5, True), (60, 5.0, False)):
        x = np.geomspace(1e8, 1e8 * 10**decades, points)
        y = FORMS["saturation"].evaluate({**PUBLISHED, "c": -0.45, "a": 0.8 * 1e8**0.45}, x) * np.exp(
            rng.normal(0, 0.01, points)
        )
        free, held = fit_law(x, y, residuals="log"), fit_law(x, y, objective=prior)
        nearer = abs(np.log(held.params["c"] / -0.2)) < abs(np.log(free.params["c"] / -0.2))
        assert nearer and (abs(held.params["c"] / free.params["c"] - 1) > 0.2) == pulled


def test_aicc_is_its_formula() -> None:
    rng = np.random.default_rng(8)
    x = np.geomspace(1e3, 1e8, 14)
    law = fit_law(x, 2 * x**-0.2 * np.exp(rng.normal(0, 0.03, 14)), "power", residuals="log")
    assert law.aicc == pytest.approx(14 * np.log(law.fit.cost / 14) + 2 * 3 + 2 * 3 * 4 / (14 - 3 - 1))
    assert fit_law(x[:4], [0.9, 0.5, 0.4, 0.2], "power").aicc is None


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), noise=st.floats(0.001, 0.05))
def test_no_worse_than_an_independent_optimiser(seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    x = np.sort(np.exp(rng.uniform(np.log(1e7), np.log(1e12), 15)))
    y = np.abs(FORMS["saturation"].evaluate(PUBLISHED, x) + rng.normal(0, noise, 15))
    law = fit_law(x, y)
    scale = float(np.exp(np.mean(np.log(x))))

    def residual(p: np.ndarray) -> np.ndarray:
        return np.exp(p[0]) * (x / scale + np.exp(p[1])) ** -np.exp(p[2]) + p[3] - y

    bounds = ([-20, -12, np.log(1e-4), 0], [40, 12, np.log(20), y.max()])
    best = min(
        least_squares(residual, [np.log(0.4), b, np.log(a), 0.05], bounds=bounds, x_scale="jac").cost * 2
        for b in (-6, -2, 1)
        for a in (0.1, 0.4)
    )
    assert law.sse <= best * (1 + 1e-6)


def test_standard_errors_match_the_spread_of_refits() -> None:
    rng = np.random.default_rng(0)
    x = np.geomspace(1e6, 1e10, 20)
    found = [fit_law(x, 3.0 * x**-0.2 * np.exp(rng.normal(0, 0.03, 20)), "power", residuals="log") for _ in range(300)]
    claimed = np.mean([law.se["c"] for law in found])
    assert claimed == pytest.approx(np.std([law.params["c"] for law in found]), rel=0.12)


def test_a_parameter_at_its_bound_is_flagged() -> None:
    x = np.geomspace(1e3, 1e9, 12)
    wiggle = 1 + 0.02 * np.sin(np.arange(12) * 2.2)
    law = fit_law(x, 2.0 * (x + 1e4) ** -0.3 * wiggle * (1 - 0.03 * np.log(x / x[0])), "saturation")
    assert law.at_bound == ("d",) and law.params["d"] == 0 and law.se["d"] is None and law.se["c"] is not None


def test_scale_of_x_does_not_matter() -> None:
    x = np.geomspace(1.0, 1e5, 14)
    y = 0.9 * (x / 30 + 1) ** -0.4 + 0.1 + 0.01 * np.cos(np.arange(14.0))
    near, far = fit_law(x, y), fit_law(x * 1e15, y)
    assert far.params["b"] == pytest.approx(near.params["b"] * 1e15, rel=1e-6)
    assert far.params["d"] == pytest.approx(near.params["d"], rel=1e-6)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        ([1, 2, float("nan"), 4, 5], [5, 4, 3, 2, 1], "x is not a finite number: row 2"),
        ([1, 2, 3, 4, 5], [5, float("inf"), 3, 2, 1], "y is not a finite number: row 1 (inf)"),
        ([0, -2, 3, 4, 5], [5, 4, 3, 2, 1], "x must be positive: row 0 (0), row 1 (-2)"),
        ([1, 2, 3, 4, 5], [5, 4, 3, 2, -1], "y must not be negative: row 4"),
        ([1, 2, 2, 4, 5], [5, 4, 4, 2, 1], "row 2 repeats row 1"),
        ([1, 2, 3], [5, 4, 3], "needs at least 4 points at different x, got 3 points at 3"),
        ([1, 2, 3, 3], [5, 4, 3, 2], "got 4 points at 3"),
        ([1, 2, 3], [5, 4], "one length"),
    ],
)
def test_bad_points_are_refused_by_row(x: list[float], y: list[float], said: str) -> None:
    with pytest.raises(InputError) as caught:
        fit_law(x, y)
    assert said in str(caught.value)


def test_log_residuals_refuse_zero_error() -> None:
    with pytest.raises(InputError, match=r"y must be positive for log residuals: row 1"):
        fit_law([1, 2, 3], [1, 0, 0.5], "power", residuals="log")


def test_an_unknown_form_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean saturation"):
        fit_law([1, 2], [1, 2], "saturate")
