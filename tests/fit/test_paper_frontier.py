"""The published frontier, against the published points and laws, and its rules against a slow reading of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_points import Frontier
from mammut_clip.config.fit_rows import RowSpec
from mammut_clip.fit import fit_law, frontier
from mammut_clip.fit.paper_frontier import paper_frontier
from mammut_clip.fit.table import load_table, select

IMAGENET = RowSpec.model_validate(
    {
        "unit": "accuracy",
        "columns": {"gflops_paper": "gflops_total", "value": "imagenet1k_acc1"},
        "drop_where": [[{"column": "error", "at_least": 0.7}, {"column": "gflops_paper", "above": 1e11}]],
    }
)


@pytest.fixture(scope="module")
def runs(shared_dir: Path) -> pd.DataFrame:
    return select(*_table(shared_dir)).points


def _table(shared_dir: Path) -> tuple[pd.DataFrame, RowSpec, str]:
    frame, source = load_table(IMAGENET, shared_dir / "data/paper/runs_datacomp_cosine.parquet")
    return frame, IMAGENET, source


def of(family: str, runs: pd.DataFrame) -> pd.DataFrame:
    group = runs[runs["family"] == family]
    return group[frontier(group, "x", "error", Frontier(method="paper"))].sort_values(["x", "error"])


def test_clips_published_points_exactly(runs: pd.DataFrame, shared_dir: Path) -> None:
    published = pd.read_csv(shared_dir / "data/paper/figure1_frontier_clip.csv").sort_values(["C", "error"])
    ours = of("clip", runs)
    assert ours["model"].tolist() == published["model"].tolist()
    assert ours["samples_seen"].tolist() == published["samples_seen"].tolist()
    # Theirs went through single-precision accuracies and a sum of floats.
    np.testing.assert_allclose(ours["error"], published["error"], rtol=1e-9)
    np.testing.assert_allclose(ours["x"], published["C"], rtol=1e-8)


def test_a_dominated_point_comes_on_by_its_value(runs: pd.DataFrame) -> None:
    ours = of("clip", runs)
    best = frontier(ours, "x", "error", "non_dominated")
    (extra,) = ours[~best].to_dict("records")
    assert (extra["model"], extra["samples_seen"], round(extra["error"], 5)) == ("ViT-S-16", 1_280_000, 0.98696)
    assert frontier(of("mammut", runs), "x", "error", "non_dominated").all()


@pytest.mark.parametrize(
    ("family", "points", "sse", "a", "ln_b", "c", "d"),
    [
        ("clip", 25, 3.95203e-3, 57.862, 18.3913, -0.226604, 0.111169),
        ("mammut", 26, 1.46969e-3, 123.66, 19.2812, -0.25509, 0.10172),
    ],
)
def test_the_published_laws(
    runs: pd.DataFrame, family: str, points: int, sse: float, a: float, ln_b: float, c: float, d: float
) -> None:
    ours = of(family, runs)
    law = fit_law(ours["x"].to_numpy(), ours["error"].to_numpy(), "saturation", rows=ours["table_row"].tolist())
    assert law.n == points and law.sse <= sse
    found = (law.params["a"], np.log(law.params["b"]), law.params["c"], law.params["d"])
    assert found == pytest.approx((a, ln_b, c, d), rel=5e-5)


def slow(rows: list[tuple[float, float]]) -> list[bool]:
    """The three rules, one row at a time."""
    low, high = min(c for c, _ in rows), max(c for c, _ in rows)
    n = int(np.log2(high / 1500))
    edges = [low * (high / low) ** (i / (n - 1)) for i in range(n)]
    kept: list[tuple[float, float]] = []
    for i in range(n - 1):
        inside = [row for row in sorted(rows) if edges[i] * (1 - 1e-12) <= row[0] < edges[i + 1] * (1 - 1e-12)]
        best = min(inside, key=lambda row: row[1], default=None)
        if best and all(best[1] < error for _, error in kept):
            kept.append(best)
    last = min((row for row in rows if row[0] == high), key=lambda row: row[1])
    if all(last[1] < error for _, error in kept):
        kept.append(last)
    computes, errors = {c for c, _ in kept}, {e for _, e in kept}
    return [c in computes and e in errors for c, e in rows]


@given(
    st.lists(
        st.tuples(st.sampled_from([2e4, 3.7e4, 4e4, 1.1e5, 9e5, 2e6]), st.sampled_from([0.9, 0.8, 0.7, 0.5, 0.3])),
        min_size=1,
        max_size=15,
        unique=True,
    )
)
def test_rules_against_a_slow_reading(rows: list[tuple[float, float]]) -> None:
    x, y = np.array(rows).T
    assert paper_frontier(x, y).tolist() == slow(rows)


def test_too_little_compute() -> None:
    with pytest.raises(InputError, match="made for runs of more than 6000 GFLOPs, the largest has 5000"):
        paper_frontier(np.array([100.0, 5000.0]), np.array([0.9, 0.8]))
