"""One group of a spec: thresholds, weights, and draws that groups share."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_sweep import made_up_results

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import LawSpec
from mammut_clip.fit import run_spec
from mammut_clip.fit.group import cell_names


def spec(**changes: Any) -> LawSpec:
    few = {"method": "residual", "count": 400}
    values = {"unit": "accuracy", "group": "family", "form": "saturation_no_floor", "bootstrap": few}
    return LawSpec.model_validate(values | changes)


def test_a_threshold_is_the_whole_procedure_with_less_compute() -> None:
    table = made_up_results()
    above = float(np.sort(table["gflops_paper"].unique())[-8])
    scores = {g.name: g.thresholds[0] for g in run_spec(spec(thresholds=[above]), table).groups}
    held = run_spec(spec(held_out={"above": above}), table)
    for group in held.groups:
        score, on = scores[group.name], [r for r in group.held_out if r.on_frontier]
        assert (score.threshold, score.scored, score.fitted) == (above, len(on), group.law.n)
        assert score.rmse == pytest.approx(np.sqrt(np.mean([(r.predicted - r.measured) ** 2 for r in on])))
        assert score.covered == sum(r.covered for r in on)


def test_a_threshold_beyond_all_runs_has_no_score() -> None:
    report = run_spec(spec(thresholds=[1e30]), made_up_results())
    assert all(g.thresholds == () for g in report.groups)


@pytest.mark.parametrize(
    ("threshold", "said"), [(1.0, "every point has a larger x"), (500.0, "needs at least 3 points")]
)
def test_a_threshold_that_leaves_too_little_is_named(threshold: float, said: str) -> None:
    with pytest.raises(InputError, match=rf"results table: family clip .*: thresholds: {threshold:g}: .*{said}"):
        run_spec(spec(thresholds=[threshold]), made_up_results())


def test_held_out_takes_whole_cells_and_the_file_is_named() -> None:
    """A cell's runs may differ a little in compute; none of a held-out one is fitted."""
    table = made_up_results(["clip"])
    last = table[(table["model"] == "clip_L") & (table["samples_seen"] == 1_024_000)]
    again = last.assign(run="again", gflops_paper=0.99 * last["gflops_paper"], value=last["value"] - 0.01)
    (group,) = run_spec(spec(held_out={"largest": 1}, frontier={"method": "all"}), pd.concat([table, again])).groups
    assert group.points["held_out"].sum() == 2 and len(group.held_out) == 1
    with pytest.raises(InputError, match=r"results table: family clip .*: held_out\.above = 1: every point"):
        run_spec(spec(held_out={"above": 1}), table)


def test_samples_seen_may_be_missing_but_not_text() -> None:
    table = made_up_results().drop(columns="checkpoint_samples").iloc[1::2].reset_index(drop=True)
    empty = table["samples_seen"] == 1_024_000
    report = run_spec(spec(held_out={"largest": 1}), table.assign(samples_seen=table["samples_seen"].mask(empty)))
    assert [r.samples_seen for r in report.held_out] == [None, None]
    # A row that does not say its samples is a cell of its own: none hides another.
    cells = run_spec(spec(frontier={"method": "best_per_cell"}), table).groups[0].points["fitted"].sum()
    gaps = table.assign(samples_seen=table["samples_seen"].mask(table["samples_seen"] > 20_000))
    for how in ({"method": "residual", "count": 400}, {"method": "runs", "count": 400}):
        found = run_spec(spec(frontier={"method": "best_per_cell"}, bootstrap=how), gaps).groups[0]
        assert found.points["fitted"].sum() == cells == 15
    with pytest.raises(InputError, match=r"cells: samples_seen is not a finite number: row 2 \(nan\)"):
        run_spec(spec(bootstrap={"method": "cells", "count": 400}), gaps)
    text = table.assign(samples_seen=table["samples_seen"].astype(object))
    text.loc[3, "samples_seen"] = "256K"
    with pytest.raises(InputError, match=r"samples_seen is not a positive number: row 3 \(256K\)"):
        run_spec(spec(), text)
    dropped = run_spec(spec(bad_rows="drop", held_out={"largest": 1}), text)
    assert len(dropped.groups[0].points) == 14 and dropped.held_out[0].samples_seen == 1_024_000


def test_weights_pull_the_law_to_the_rows_that_have_them() -> None:
    table = made_up_results(["clip"])
    rows = np.arange(len(table)) // 2 % 2 == 0
    table["value"] = np.where(rows, table["value"], 1 - 0.9 * (1 - table["value"]))
    table["images"] = np.where(rows, 1e4, 1.0)
    every = {"frontier": {"method": "all"}, "residuals": "log"}
    (plain,) = run_spec(spec(**every), table).groups
    (weighed,) = run_spec(spec(**every, weights="images"), table).groups

    def miss(group: Any) -> float:
        points = group.points[group.points["images"] > 1]
        return float(np.abs(np.log(group.law.predict(points["x"]) / points["error"])).mean())

    assert miss(weighed) < 0.5 * miss(plain)


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "no column 'image'; did you mean images"), (0.0, "images must be positive, and is 0 in row")],
)
def test_weights_that_cannot_be_are_named(value: float | None, said: str) -> None:
    table = made_up_results().assign(images=1.0)
    if value is not None:
        table.loc[3, "images"] = value
    with pytest.raises(InputError, match=said):
        run_spec(spec(weights="image" if value is None else "images", checkpoints="all"), table)


def test_cells_that_answer_one_another_have_one_name() -> None:
    rows = pd.DataFrame(
        {"family": ["clip", "mammut"], "model": ["ViT-B-32", "mammut_ViT-B-32"], "samples_seen": [3_072_000_000] * 2}
    )
    first, second = cell_names(rows, "family")
    assert first == second == "ViT-B-32 at 3.072e+09"


def test_draws_of_cells_are_paired_and_those_of_residuals_are_not() -> None:
    """The same results under two names differ by nothing in each draw, if their cells are drawn together."""
    one = made_up_results(["clip"])
    two = pd.concat(
        [one, one.assign(family="twin", model=one["model"].str.replace("clip_", "twin_"), run=one["run"] + "b")]
    )
    widths = {}
    for method in ("cells", "residual"):
        report = run_spec(spec(bootstrap={"method": method, "count": 400}), two)
        first, second = (g.estimate.draws([1e6]) for g in report.groups)
        widths[method] = float(np.std(first - second))
    assert widths["cells"] == 0 and widths["residual"] > 0


def test_cells_need_models_and_samples() -> None:
    table = made_up_results().drop(columns="model")
    with pytest.raises(InputError, match="bootstrap: method: cells: no column 'model'"):
        run_spec(spec(bootstrap={"method": "cells", "count": 400}), table)
