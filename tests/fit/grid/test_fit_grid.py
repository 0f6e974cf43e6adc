"""Tables as grids, and the bootstrap over cells."""

import numpy as np
import pandas as pd
import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit_grid import CellBootstrap, GridSpec
from mammut_clip.fit.grid import Grid, cell_weights, read_grids

ROWS = pd.DataFrame(
    {
        "family": ["clip", "clip", "clip", "mammut"],
        "model": ["S", "S", "B", "S"],
        "samples_seen": [100, 100, 100, 100],
        "gflops_paper": [500.0, 500.0, 1500.0, 700.0],
        "params": [63.0, 63.0, 150.0, 80.0],
        "value": [0.2, 0.3, 0.4, 0.25],
    }
)


def grids(table: pd.DataFrame = ROWS, **changes: object) -> dict[str, Grid]:
    return read_grids(GridSpec.model_validate({"unit": "accuracy"} | changes), table, "t.csv")[0]


def test_rows_become_runs_of_cells() -> None:
    found = grids()
    assert list(found) == ["clip", "mammut"] and list(grids(groups=["mammut", "clip"])) == ["mammut", "clip"]
    clip = found["clip"]
    np.testing.assert_allclose(clip.size, [5, 5, 15])
    np.testing.assert_allclose(clip.size * clip.samples, clip.compute)
    np.testing.assert_allclose(grids(size="params")["clip"].size, [63, 63, 150])
    assert clip.cell[0] == clip.cell[1] != clip.cell[2] and clip.labels == ("S", "S", "B")
    best = clip.best()
    assert len(best) == 2 and sorted(best.error) == pytest.approx([0.6, 0.7]) and set(best.cell) == {0, 1}


def test_without_models_every_row_is_its_own_cell() -> None:
    clip = grids(ROWS.drop(columns="model"))["clip"]
    assert len(clip.best()) == 3 and clip.labels == ("row 0", "row 1", "row 2")


@pytest.mark.parametrize(
    ("table", "changes", "said"),
    [
        (ROWS.drop(columns="params"), {"size": "params"}, "no column 'params'"),
        (ROWS.assign(params=[63, 63, 0, 80]), {"size": "params"}, "params must be positive: row 2"),
        (ROWS.assign(params=[63, np.nan, 150, 80]), {"size": "params"}, "params is not a finite number: row 1"),
        (ROWS.drop(columns="samples_seen"), {}, "no column 'samples_seen'"),
        (ROWS, {"groups": ["clip", "coca"]}, "no row has family = coca"),
    ],
)
def test_what_cannot_be_placed_is_named(table: pd.DataFrame, changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as caught:
        grids(table, **changes)
    assert said in str(caught.value)


def test_draws_are_of_whole_cells_and_repeat() -> None:
    many = ROWS.iloc[[0, 1, 2]]
    table = pd.concat(
        [many.assign(samples_seen=100 * (i + 1), gflops_paper=many["gflops_paper"] * (i + 1)) for i in range(20)]
    )
    clip = grids(table)["clip"]
    drawn = cell_weights(clip, CellBootstrap(count=400))
    assert drawn.shape == (400, 60)
    for cell in range(40):
        rows = drawn[:, clip.cell == cell]
        assert (rows == rows[:, :1]).all()
    best = cell_weights(clip.best(), CellBootstrap(count=400))
    assert (
        (best.sum(axis=1) == 40).all() and best.mean() == pytest.approx(1) and best.var() == pytest.approx(1, abs=0.1)
    )
    np.testing.assert_array_equal(drawn, cell_weights(clip, CellBootstrap(count=400)))
    assert not np.array_equal(drawn, cell_weights(clip, CellBootstrap(count=400, seed=1)))
    few = cell_weights(clip.best(), CellBootstrap(count=400), least=27)
    assert ((few > 0).sum(axis=1) >= 27).all()
