"""What laws cost: every training once, whatever number of points it gave."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mammut_clip.config.files import find_file
from mammut_clip.config.fit import LawSpec
from mammut_clip.config.fit_rows import RowSpec
from mammut_clip.config.load import load_config
from mammut_clip.fit import frontier
from mammut_clip.fit.cost_of_law import Spent, cost_table, law_costs
from mammut_clip.fit.table import load_table, select


def spec(**changes: Any) -> RowSpec:
    return RowSpec.model_validate({"unit": "error"} | changes)


def rows(schedule: str, runs: list[tuple[str, list[int]]], fitted: set[tuple[str, int]]) -> pd.DataFrame:
    """One row per run and checkpoint at 2 GFLOPs per sample; a run costs 10 GPU-hours per million samples."""
    listed = [
        {
            "run": run,
            "schedule": schedule,
            "samples_seen": done,
            "x": 2.0 * done,
            "gflops_paper": 2.0 * done,
            "gpu_hours": checkpoints[-1] / 1e5,
            "fitted": (run, done) in fitted,
            "table_row": f"row {run} {done}",
        }
        for run, checkpoints in runs
        for done in checkpoints
    ]
    return pd.DataFrame(listed)


BUDGETS = [1_000_000, 2_000_000, 4_000_000]
COSINE = rows("cosine", [(f"r{b}", [b]) for b in BUDGETS], {(f"r{b}", b) for b in BUDGETS})
CONST = rows("const", [("c", BUDGETS), ("tried", BUDGETS)], {("c", b) for b in BUDGETS})


def test_a_constant_run_that_gives_many_points_costs_once() -> None:
    cosine, const = law_costs({"cosine": COSINE, "const": CONST}, spec())
    assert cosine.fitted == const.fitted == 3
    assert cosine.points == Spent(3, 14e6, 70.0) == cosine.searched
    assert const.points == Spent(1, 8e6, 40.0)
    assert const.searched == Spent(2, 16e6, 80.0)
    json.dumps([cosine.to_json_dict(), const.to_json_dict()], allow_nan=False)
    table = cost_table((cosine, const), "schedule")
    assert table.header[3] == "their GPU-hours"
    assert table.rows[1] == ("const", "3", "1", "40", "57.1%", "2", "80", "114.3%")


def test_tables_without_runs_or_hours() -> None:
    unnamed = {name: frame.drop(columns=["run", "gpu_hours"]) for name, frame in (("a", COSINE), ("b", CONST))}
    for frame in unnamed.values():
        frame["model"] = "S"
    cosine, const = law_costs(unnamed, spec())
    assert (cosine.searched.trainings, const.searched.trainings, const.points.gpu_hours) == (3, 6, None)
    # The two constant runs cannot be told apart by their model; the cosine runs stay one each.
    cosine, const = law_costs(unnamed, spec(constant_training=("model",)))
    assert cosine.searched == Spent(3, 14e6, None) and const.searched == Spent(1, 8e6, None)
    assert cost_table((cosine, const), "group").header[3] == "their GFLOPs (paper)"


def test_hours_are_told_only_where_all_are_known() -> None:
    some = CONST.assign(gpu_hours=CONST["gpu_hours"].where(CONST["run"] == "c"))
    (cost,) = law_costs({"const": some}, spec())
    assert cost.points.gpu_hours == pytest.approx(40.0) and cost.searched.gpu_hours is None
    assert cost_table((cost,), "g").rows[0][2:] == ("1", "8e+06", "100.0%", "2", "1.6e+07", "100.0%")


def test_held_out_runs_do_not_count() -> None:
    held = COSINE.assign(held_out=COSINE["samples_seen"] == 4_000_000, fitted=COSINE["samples_seen"] < 4_000_000)
    (cost,) = law_costs({"cosine": held}, spec())
    assert cost.points == cost.searched == Spent(2, 6e6, 30.0) and cost.fitted == 2


def test_runs_of_one_name_in_two_sweeps_or_tables_are_two() -> None:
    for column in ("sweep", "table"):
        twice = pd.concat([CONST.assign(**{column: "one"}), CONST.assign(**{column: "two"})], ignore_index=True)
        (cost,) = law_costs({"const": twice}, spec())
        assert cost.searched.trainings == 4 and cost.searched.gpu_hours == pytest.approx(160.0)


def test_the_papers_runs_cost_what_its_text_says(shared_dir: Path) -> None:
    """380,000 GPU-hours for all runs of the file."""
    all_runs = spec(unit="accuracy", columns={"gflops_paper": "gflops_total", "value": "imagenet1k_acc1"})
    frame, source = load_table(all_runs, shared_dir / "data/paper/runs_datacomp_cosine.parquet")
    points = select(frame, all_runs, source).points
    groups = {str(name): group.assign(fitted=True) for name, group in points.groupby("family")}
    costs = law_costs(groups, all_runs)
    assert sum(cost.searched.gpu_hours or 0.0 for cost in costs) == pytest.approx(380_000, rel=0.01)


def test_the_papers_constant_schedules_cost_less(shared_dir: Path) -> None:
    schedules = load_config(LawSpec, find_file("fit", "paper-schedules"))
    frame, source = load_table(schedules, shared_dir / "data/paper/imagenet1k_best.csv")
    points = select(frame, schedules, source).points
    groups = {
        str(name): group.assign(fitted=frontier(group, "x", "error", schedules.frontier))
        for name, group in points.groupby("curve")
    }
    costs = {cost.group: cost for cost in law_costs(groups, schedules)}
    for family in ("clip", "mammut"):
        const, cosine = costs[f"{family} const"], costs[f"{family} cosine"]
        assert const.points.trainings < cosine.points.trainings / 2
        assert const.searched.gflops is not None and cosine.searched.gflops is not None
        assert const.searched.gflops < cosine.searched.gflops / 2
