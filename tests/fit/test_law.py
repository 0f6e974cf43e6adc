"""Known laws are recovered, the published one among them; bad points are refused by row."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from mammut_clip.config.errors import InputError
from mammut_clip.fit import FORMS, fit_law

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


def test_a_law_takes_at_most_50_ms(figure1: pd.DataFrame) -> None:
    x, y = figure1["C"].to_numpy(), figure1["error"].to_numpy()
    times = []
    for _ in range(9):
        start = time.perf_counter()
        fit_law(x, y)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05


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


@pytest.mark.parametrize("residuals", ["raw", "log"])
@pytest.mark.parametrize("name", sorted(FORMS))
@settings(max_examples=40, deadline=None)
@given(drawn=laws)
def test_noise_free_laws_are_recovered(name: str, residuals: str, drawn: dict[str, float]) -> None:
    x = drawn["first"] * np.logspace(0, drawn["decades"], int(drawn["points"]))
    shift = drawn["first"] * 10 ** (drawn["bend"] * drawn["decades"])
    anchor = shift if name != "power" else x[0]
    full = {"a": drawn["level"] * anchor ** drawn["alpha"], "b": shift, "c": -drawn["alpha"], "d": drawn["d"]}
    params = {key: full[key] for key in FORMS[name].parameters}
    law = fit_law(x, FORMS[name].evaluate(params, x), name, residuals=residuals)
    assert law.converged
    for key, value in params.items():
        assert law.params[key] == pytest.approx(value, rel=1e-6), key


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


@pytest.mark.parametrize("name", sorted(FORMS))
def test_derivatives_agree_with_finite_differences(name: str) -> None:
    form, x = FORMS[name], np.geomspace(1e-3, 1e3, 9)
    theta = np.array([np.log(0.4), np.log(0.05), np.log(0.3), 0.1])
    theta = np.delete(theta, 1)[:2] if name == "power" else theta[: len(form.parameters)]
    exact, exact_natural = form.jacobian(theta[None], x)[0], form.natural_jacobian(theta, 7.0)
    for i in range(len(theta)):
        step = np.zeros(len(theta))
        step[i] = 1e-6
        numeric = (form.value((theta + step)[None], x) - form.value((theta - step)[None], x))[0] / 2e-6
        np.testing.assert_allclose(exact[:, i], numeric, atol=1e-8)
        natural = (form.natural(theta + step, 7.0) - form.natural(theta - step, 7.0)) / 2e-6
        np.testing.assert_allclose(exact_natural[:, i], natural, rtol=1e-6, atol=1e-8)
    params = dict(zip(form.parameters, form.natural(theta, 7.0), strict=True))
    np.testing.assert_allclose(form.evaluate(params, 7.0 * x), form.value(theta[None], x)[0], rtol=1e-12)


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
