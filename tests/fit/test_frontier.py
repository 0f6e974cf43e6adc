"""Row masks against their definitions, by brute force."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.config.errors import InputError
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


@given(points)
def test_bins_keep_the_best_of_a_bin_and_fall(rows: list[tuple[float, float]]) -> None:
    frame = table(rows)
    kept = frame[frontier(frame, "x", "error", "bins", bin_factor=2.0)].sort_values("x")
    index = np.floor(np.log2(frame["x"] / frame["x"].min()) + 1e-9)
    assert (np.diff(kept["error"]) < 0).all()
    assert index[kept.index].is_unique
    best, expected = np.inf, []
    for _, group in frame.groupby(index):
        if group["error"].min() < best:
            best = group["error"].min()
            expected.append(best)
    assert kept["error"].tolist() == expected


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
    with pytest.raises(InputError, match="no column 'model'"):
        frontier(frame, "x", "error", "best_per_cell")
