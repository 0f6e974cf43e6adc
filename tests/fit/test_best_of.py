"""What fewer runs per cell would have given: exact, by enumeration and by simulation."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.fit.best_of import best_of, best_of_table, expected_best


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=7), st.data())
def test_expected_best_is_the_mean_over_all_draws(values: list[float], data: st.DataObject) -> None:
    m = data.draw(st.integers(1, len(values)))
    draws = [min(drawn) for drawn in itertools.combinations(values, m)]
    assert expected_best(np.array(values), m) == pytest.approx(np.mean(draws), rel=1e-12)


def test_expected_best_at_its_ends_and_for_many_runs() -> None:
    values = np.random.default_rng(0).uniform(0.2, 0.9, 500)
    assert expected_best(values, 1) == pytest.approx(values.mean())
    assert expected_best(values, 500) == values.min()
    fewer = [expected_best(values, m) for m in range(1, 501)]
    assert (np.diff(fewer) <= 1e-12).all()
    for m in (0, 501):
        with pytest.raises(ValueError, match="between 1 and 500"):
            expected_best(values, m)


def test_unbiased_for_a_smaller_sweep() -> None:
    """The best of 3 fresh runs, estimated from sweeps of 12: mean over 2,000 sweeps, within three standard errors."""
    rng = np.random.default_rng(1)
    estimates = [expected_best(rng.gamma(3.0, 0.1, 12), 3) for _ in range(2000)]
    fresh = rng.gamma(3.0, 0.1, (2000, 3)).min(axis=1)
    error = np.hypot(np.std(estimates), np.std(fresh)) / np.sqrt(2000)
    assert abs(np.mean(estimates) - fresh.mean()) < 3 * error


def cells(errors: dict[tuple[str, int], list[float]], fitted: set[tuple[str, int]]) -> pd.DataFrame:
    """Rows of cells (model, samples); the best of each fitted cell is fitted."""
    rows = [
        {"model": m, "samples_seen": s, "error": e, "fitted": (m, s) in fitted and e == min(runs)}
        for (m, s), runs in errors.items()
        for e in runs
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


SWEPT = {("S", 1): [0.8, 0.9, 1.0, 0.7], ("S", 2): [0.5, 0.6], ("M", 2): [0.4], ("L", 2): [0.9, 0.99, 0.95]}
FITTED = {("S", 1), ("S", 2), ("M", 2)}


def test_runs_per_cell_and_excess_by_hand() -> None:
    small = {("S", 1): [0.75], ("S", 2): [0.55, 0.65]}
    swept, less = best_of({"swept": cells(SWEPT, FITTED), "less": cells(small, set(small))})
    assert (swept.runs, swept.cells, swept.fewest, swept.median, swept.most) == (10, 4, 1, 2.5, 4)
    assert (swept.fitted_cells, swept.fitted_median, swept.single) == (3, 2.0, 1)
    one, two, four, eight = swept.fewer
    assert (one.cells, two.cells, four.cells, eight.cells) == (2, 1, 0, 0)
    assert one.excess == pytest.approx(np.mean([0.85 / 0.7, 0.55 / 0.5]) - 1)
    best_of_two = np.mean([min(pair) for pair in itertools.combinations(SWEPT["S", 1], 2)])
    assert two.excess == pytest.approx(best_of_two / 0.7 - 1) and four.excess is None
    assert swept.half == pytest.approx(np.mean([best_of_two / 0.7, 0.55 / 0.5]) - 1)
    # `less` has 1.5 runs per fitted cell, so the larger sweep is cut to one run in each.
    assert swept.matched_runs == less.matched_runs == 1
    assert swept.matched == pytest.approx(np.mean([0.85 / 0.7, 0.55 / 0.5, 1.0]) - 1)
    assert less.matched == pytest.approx(np.mean([1.0, 0.6 / 0.55]) - 1)
    json.dumps([swept.to_json_dict(), less.to_json_dict()], allow_nan=False)


def test_held_out_rows_do_not_count() -> None:
    frame = cells(SWEPT, FITTED).assign(held_out=lambda f: f["model"] == "L")
    (found,) = best_of({"g": frame})
    assert (found.runs, found.cells, found.most) == (7, 3, 4)


def test_tables_without_cells_say_nothing() -> None:
    assert best_of({"g": cells(SWEPT, FITTED).drop(columns="model")}) == ()
    assert best_of({"g": cells(SWEPT, set())}) == ()


def test_best_of_table() -> None:
    table = best_of_table(best_of({"swept": cells(SWEPT, FITTED)}), "family")
    (row,) = table.rows
    assert len(row) == len(table.header) and table.header[-1] == "at most 2 per cell"
    shown = dict(zip(table.header, row, strict=True))
    assert shown["runs per cell"] == "1 to 4, median 2.5" and shown["with one run"] == "1 of 3"
    assert shown["best of 1"] == "+15.7% (2)" and shown["best of 4"] == "-"


def test_more_runs_would_favour_a_procedure_that_is_no_better() -> None:
    """Two procedures with the same distribution of runs, one with 2 runs per cell and one with 20: `matched` gives the
    head start that the larger sweep has, to a fifth of it."""
    rng = np.random.default_rng(2)

    def sweep(runs: int) -> pd.DataFrame:
        errors = {("S", i): list(0.5 * np.exp(rng.normal(0, 0.05, runs))) for i in range(300)}
        return cells(errors, set(errors))

    small, large = sweep(2), sweep(20)
    few, many = best_of({"few": small, "many": large})
    assert few.matched == pytest.approx(0.0, abs=1e-12)
    head_start = small[small["fitted"]]["error"].mean() / large[large["fitted"]]["error"].mean() - 1
    assert head_start > 0.05 and many.matched == pytest.approx(head_start, rel=0.2)
