"""A joint law: recovery of known surfaces, parity with scipy, optima, intervals, messages."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from known_surfaces import PARAMS, SAMPLES, SIZES, grid, noisy, surface
from scipy.optimize import minimize, minimize_scalar
from scipy.special import huber as scipy_huber

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_grid import CellBootstrap, Surface, SurfaceName
from mammut_clip.fit.joint import JointLaw, fit_joint

NAMES: tuple[SurfaceName, ...] = ("chinchilla", "interaction", "bounded")


def fitted(form: SurfaceName, y: np.ndarray, **changes: object) -> JointLaw:
    size, samples = grid()
    chosen = Surface.model_validate({"form": form, "error_at_zero": 0.999} | changes)
    return fit_joint(size, samples, y, chosen, bootstrap=CellBootstrap(count=400))


@pytest.mark.parametrize("form", NAMES)
@pytest.mark.parametrize("residuals", ["raw", "log"])
def test_exact_data_give_their_parameters(form: SurfaceName, residuals: str) -> None:
    law = fitted(form, surface(form, *grid()), residuals=residuals)
    expected = PARAMS | ({"p": 2.5} if form == "interaction" else {})
    assert law.params == pytest.approx(expected, rel=1e-5)
    assert law.fit.converged and law.rmse < 1e-8 and not law.at_bound
    assert law.fit.starts_agreeing >= 2


@pytest.mark.parametrize(("residuals", "delta"), [("log", 0.01), ("log", None), ("raw", 0.005)])
def test_no_other_search_finds_a_lower_objective(residuals: str, delta: float | None) -> None:
    """Against scipy's BFGS on the written-out objective, from the answer, from the truth and from about it."""
    size, samples = grid()
    rng = np.random.default_rng(5)
    y = noisy(rng, "chinchilla", 0.03) * np.where(rng.random(len(size)) < 0.05, 1.5, 1.0)
    law = fitted("chinchilla", y, residuals=residuals, huber_delta=delta)

    def objective(theta: np.ndarray) -> float:
        a, alpha, b, beta, floor = np.exp(theta)
        value = floor + a * (size / 20) ** -alpha + b * (samples / 1e8) ** -beta
        r = np.log(value) - np.log(y) if residuals == "log" else value - y
        return float(np.sum(r**2) if delta is None else np.sum(scipy_huber(delta, r)))

    p = law.params
    here = np.log([p["A"] * 20 ** -p["alpha"], p["alpha"], p["B"] * 1e8 ** -p["beta"], p["beta"], max(p["E"], 1e-9)])
    assert objective(here) == pytest.approx(law.fit.objective, rel=1e-6)
    starts = [here, *(here + rng.normal(0, 0.3, 5) for _ in range(6))]
    for start in starts:
        found = minimize(objective, start, method="BFGS", options={"maxiter": 400})
        assert law.fit.objective <= found.fun * (1 + 1e-7)
    assert law.fit.gradient < 1e-5


def test_huber_is_not_moved_by_a_few_broken_runs() -> None:
    y = noisy(np.random.default_rng(1), "bounded", 0.01)
    broken = y.copy()
    broken[[30, 60]] = 0.9
    robust, squares = fitted("bounded", broken, huber_delta=0.01), fitted("bounded", broken)
    clean = fitted("bounded", y, huber_delta=0.01)
    moved = abs(robust.predict(100.0, 1e9) - clean.predict(100.0, 1e9))
    assert moved < 0.1 * abs(squares.predict(100.0, 1e9) - clean.predict(100.0, 1e9))


@pytest.mark.parametrize("form", NAMES)
@pytest.mark.parametrize("ratio", [1.0, 6.0])
def test_optimum_is_the_least_error_at_that_compute(form: SurfaceName, ratio: float) -> None:
    law = fitted(form, noisy(np.random.default_rng(3), form, 0.005))
    for compute in (1e9, 1e12):
        size, samples = law.optimum(compute, ratio)
        assert size * samples * ratio == pytest.approx(compute)
        found = minimize_scalar(
            lambda log_n, c=compute: float(law.predict(np.exp(log_n), c / ratio / np.exp(log_n))),
            bounds=(np.log(size) - 3, np.log(size) + 3),
            method="bounded",
            options={"xatol": 1e-9},
        )
        assert np.exp(found.x) == pytest.approx(size, rel=1e-3)
    near, far = law.optimum([1e9, 1e12])
    assert np.log(near[1] / near[0]) / np.log(1e3) == pytest.approx(law.size_exponent)
    assert np.log(far[1] / far[0]) / np.log(1e3) == pytest.approx(1 - law.size_exponent)


@pytest.mark.parametrize(("of_runs", "of_models"), [(0.02, 0.0), (0.01, 0.015)])
def test_intervals_contain_the_law_and_new_runs(of_runs: float, of_models: float) -> None:
    """Over 60 simulated grids: the exponent, the law and a run of a new model, inside the grid and at twice its largest
    axes; where models differ, intervals that take every run for independent are too narrow."""
    at = np.array([30.0, 600.0]), np.array([1e8, 6e9])
    truth = surface("bounded", *at)
    exponent = PARAMS["beta"] / (PARAMS["alpha"] + PARAMS["beta"])
    (size, samples), rng = grid(), np.random.default_rng(11)
    model = np.searchsorted(SIZES, size)
    hits: dict[bool, list[list[bool]]] = {True: [], False: []}
    for seed in range(60):
        y = noisy(rng, "bounded", of_runs) * np.exp(rng.normal(0, 1, len(SIZES)) * of_models)[model]
        new = truth * np.exp(rng.normal(0, np.hypot(of_runs, of_models), 2))
        for told, found in hits.items():
            law = fit_joint(
                size,
                samples,
                y,
                Surface(error_at_zero=0.999),
                models=[f"model {m}" for m in model] if told else None,
                bootstrap=CellBootstrap(count=400, seed=seed),
            )
            low, high = law.predict_interval(*at)
            law_low, law_high = law.law_interval(*at)
            ends = law.interval()["size_exponent"]
            found.append([*((low <= new) & (new <= high)), *((law_low <= truth) & (truth <= law_high))])
            found[-1].append(ends[0] <= exponent <= ends[1])
    # 60 grids scatter by 3% (one standard error) about 95%.
    assert (np.mean(hits[True], axis=0) >= 0.88).all(), np.mean(hits[True], axis=0)
    assert (np.mean(hits[False], axis=0)[2:] < 0.8).all() == (of_models > 0), np.mean(hits[False], axis=0)


@pytest.mark.parametrize("residuals", ["raw", "log"])
def test_no_interval_of_an_error_leaves_its_range(residuals: str) -> None:
    """A sum has no upper end and may be told that of its metric; a bounded surface of errors knows it."""
    y = np.minimum(noisy(np.random.default_rng(3), "bounded", 0.1), 0.999)
    size, samples = grid()
    small, large = (size.min() / 10, samples.min() / 10), (size.max() * 1e4, samples.max() * 1e4)
    for form, told in (("chinchilla", 1.0), ("bounded", np.inf), ("chinchilla", np.inf)):
        surface = Surface.model_validate({"form": form, "error_at_zero": 0.999, "residuals": residuals})
        law = fit_joint(size, samples, y, surface, bootstrap=CellBootstrap(count=400), largest_error=told)
        ends = [interval(*run) for run in (small, large) for interval in (law.predict_interval, law.law_interval)]
        assert min(low for low, _ in ends) >= 0
        bounded = form == "bounded" or told == 1.0
        assert all(high <= 1 for _, high in ends) is bounded


def test_the_same_seed_gives_the_same_law() -> None:
    y = noisy(np.random.default_rng(2), "bounded", 0.02)
    first, second = (json.dumps(fitted("bounded", y).to_json_dict(), allow_nan=False) for _ in range(2))
    assert first == second
    law, at = fitted("bounded", y), (np.array([[10.0, 100.0]]), np.array([[1e8, 1e9]]))
    low, high = law.predict_interval(*at)
    assert low.shape == high.shape == (1, 2)
    narrow = law.law_interval(*at)
    assert (low < narrow[0]).all() and (narrow[1] < high).all()
    other = fit_joint(*grid(), y, law.surface, bootstrap=CellBootstrap(count=400, seed=1))
    assert other.params == law.params and other.interval() != law.interval()


def test_a_floor_that_the_data_do_not_show_is_flagged() -> None:
    size, samples = grid()
    y = 0.9 * size**-0.2 + 500 * samples**-0.5 - 0.01
    law = fit_joint(size, samples, y, Surface(form="chinchilla"))
    assert law.at_bound == ("E",) and law.params["E"] == 0 and law.fit.converged


def test_what_is_extrapolated() -> None:
    law = fitted("bounded", surface("bounded", *grid()))
    assert not law.extrapolated(SIZES[0], SAMPLES[-1]) and not law.extrapolated(50, 1e7)
    assert law.extrapolated(400, 1e7) and law.extrapolated(50, 1e10) and law.extrapolated(50, 1e5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n, d, y: (n[:5], d[:5], y[:5]), "at least 3 different sizes, got 1"),
        (lambda n, d, y: (n[::11], d[::11], y[::11]), "at least 3 different numbers of samples, got 1"),
        (lambda n, d, y: (n[:-1], d, y), "lists of one length"),
        (lambda n, d, y: (np.where(n > 200, 0, n), d, y), "size must be a positive number: row 66 (0)"),
        (lambda n, d, y: (n, np.where(d > 2e9, np.nan, d), y), "samples must be a positive number: row 10 (nan)"),
        (lambda n, d, y: (n, d, np.where(n > 200, 0, y)), "y must be positive for log residuals: row 66 (0)"),
        (lambda n, d, y: (n, d, y * 3), "y lies far above error_at_zero = 0.999: row 0"),
        (lambda n, d, y: (n[[0, 12, 24, 25]], d[[0, 12, 24, 25]], y[[0, 12, 24, 25]]), "at least as many different"),
    ],
)
def test_bad_points_are_named(change: Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]], said: str) -> None:
    size, samples, y = change(*grid(), surface("bounded", *grid()))
    with pytest.raises(InputError) as caught:
        fit_joint(size, samples, y, Surface(error_at_zero=0.999))
    assert said in str(caught.value)


def test_no_interval_without_a_point_to_spare() -> None:
    chosen = [0, 12, 24, 36, 48]
    size, samples = (values[chosen] for values in grid())
    law = fit_joint(size, samples, surface("chinchilla", size, samples), Surface(form="chinchilla"))
    with pytest.raises(InputError, match="more points than parameters: 5 points, 5 parameters"):
        law.law_interval(1.0, 1.0)
