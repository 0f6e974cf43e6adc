"""Row masks against their definitions, by brute force."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_points import Frontier
from mammut_clip.fit import frontier

points = st.lists(
    st.tuples(st.sampled_from([1.0, 2.0, 3.0, 5.0, 8.0, 21.0]), st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.9])),
    min_size=1,
    max_size=25,
)


def table(rows: list[tuple[float, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["x", "error"], index=[100 + i for i in range(len(rows))])


@given(points)
def test_non_dominated_by_definition(rows: list[tuple[float, float]]) -> None:
    mask = frontier(table(rows), "x", "error", "non_dominated")
    for i, (x, y) in enumerate(rows):
        beaten = any(u <= x and v <= y and ((u, v) != (x, y) or j < i) for j, (u, v) in enumerate(rows) if j != i)
        assert mask[i] == (not beaten)


@given(points, st.sampled_from([1.5, 2.0, 10.0]), st.sampled_from([None, 0.3, 2.0, 100.0]))
def test_bins_keep_the_best_of_a_bin_and_fall(
    rows: list[tuple[float, float]], factor: float, edge: float | None
) -> None:
    frame = table(rows)
    how = Frontier(method="bins", bin_factor=factor, bin_edge=edge)
    kept = frame[frontier(frame, "x", "error", how)].sort_values("x")
    index = bin_of(frame["x"], factor, edge)
    assert (np.diff(kept["error"]) < 0).all()
    assert index[kept.index].is_unique
    best, expected = np.inf, []
    for _, group in frame.groupby(index):
        if group["error"].min() < best:
            best = group["error"].min()
            expected.append(best)
    assert kept["error"].tolist() == expected


@given(points, st.sampled_from([0.01, 0.25, 0.5, 1.0]), st.sampled_from([None, 2.0]))
def test_quantile_of_each_bin_is_numpys_inverted_cdf(
    rows: list[tuple[float, float]], q: float, edge: float | None
) -> None:
    frame = table(rows)
    how = Frontier(method="quantile", quantile=q, bin_factor=4.0, bin_edge=edge)
    kept = frame[frontier(frame, "x", "error", how)]
    index = bin_of(frame["x"], 4.0, edge)
    assert index[kept.index].is_unique
    expected = frame.groupby(index)["error"].agg(lambda e: np.quantile(e, q, method="inverted_cdf"))
    assert dict(zip(index[kept.index], kept["error"], strict=True)) == expected.to_dict()


def bin_of(x: pd.Series, factor: float, edge: float | None) -> pd.Series:
    """By walking the edges."""

    def walk(value: float) -> int:
        low, number = (x.min() if edge is None else edge), 0
        while value < low * (1 - 1e-9):
            low, number = low / factor, number - 1
        while value >= low * factor * (1 - 1e-9):
            low, number = low * factor, number + 1
        return number

    return x.map(walk)


def test_the_lowest_quantile_is_the_best_of_a_bin_and_the_highest_the_worst() -> None:
    frame = table([(1.0, 0.3), (1.5, 0.1), (1.9, 0.2), (2.0, 0.5), (3.9, 0.4)])
    for q, expected in ((0.1, [0.1, 0.4]), (0.5, [0.2, 0.4]), (1.0, [0.3, 0.5])):
        mask = frontier(frame, "x", "error", Frontier(method="quantile", quantile=q))
        assert frame["error"][mask].tolist() == expected


def test_best_per_cell_takes_the_first_of_equals() -> None:
    frame = pd.DataFrame(
        {
            "model": ["S", "S", "M", "M", "S"],
            "samples_seen": [1, 1, 1, 1, 2],
            "x": [1.0, 1.0, 2.0, 2.0, 2.0],
            "error": [0.5, 0.4, 0.3, 0.3, 0.9],
        }
    )
    assert frontier(frame, "x", "error", "best_per_cell").tolist() == [False, True, True, False, True]
    assert frontier(frame, "x", "error", "all").all()


def test_unknown_method_and_column() -> None:
    frame = table([(1.0, 0.5)])
    with pytest.raises(InputError, match="did you mean non_dominated"):
        frontier(frame, "x", "error", "non_dominate")
    with pytest.raises(InputError, match="quantile: which one"):
        frontier(frame, "x", "error", "quantile")
    with pytest.raises(InputError, match="no column 'model'"):
        frontier(frame, "x", "error", "best_per_cell")
