"""Budgets: refusing what costs too much, or keeping the cheapest runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from mammut_clip.cli import app
from mammut_clip.config.cluster import ClusterConfig, load_cluster
from mammut_clip.config.errors import InputError
from mammut_clip.config.load import validate
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.sweep import Plan, make_plan
from mammut_clip.sweep.budget import within_budget
from mammut_clip.sweep.show_plan import plan_text

GPUS = ClusterConfig(kind="slurm", gpus_per_node=4, time_limit_minutes=600, peak_tflops=312, efficiency=0.25)


def plan_on(cluster: ClusterConfig) -> Plan:
    base: dict[str, Any] = {
        "model": "ViT-B-32",
        "global_batch_size": 1024,
        "data": {"train": "data"},
        "optimizer": {"lr": 1e-3},
    }
    axes = {"samples_seen": ["12.8M", "1.28M", "6.4M", "3.07M"]}
    return make_plan(validate(SweepConfig, {"name": "s", "base": base, "axes": axes}, "s.yaml"), cluster, "s.yaml")


def test_a_plan_within_its_budget_stays_as_it_is() -> None:
    plan = plan_on(GPUS)
    assert within_budget(plan, None, trim=False) is plan
    assert within_budget(plan, plan.totals.gpu_hours, trim=False) is plan
    assert within_budget(plan, plan.totals.gpu_hours, trim=True) is plan


def test_one_beyond_it_is_refused_with_its_cost() -> None:
    plan = plan_on(GPUS)
    with pytest.raises(InputError, match=rf"4 runs are predicted to cost {plan.totals.gpu_hours:.3g} GPU-hours"):
        within_budget(plan, 0.9 * plan.totals.gpu_hours, trim=False)


def test_trimming_keeps_the_cheapest_in_the_grids_order_and_names_the_rest() -> None:
    plan = plan_on(GPUS)
    cheap = sum(run.gpu_hours for run in plan.runs if run.config.samples_seen < 12_000_000)
    trimmed = within_budget(plan, 1.01 * cheap, trim=True)
    assert [run.id for run in trimmed.runs] == ["1.28M", "6.4M", "3.07M"]
    assert [run.id for run in trimmed.left_out] == ["12.8M"]
    assert trimmed.totals.gpu_hours == pytest.approx(cheap)
    assert trimmed.to_json_dict()["left_out"] == ["12.8M"]
    assert "left out to stay within the budget: 12.8M (" in plan_text(trimmed)
    assert len(plan.runs) == 4


def test_a_budget_that_buys_nothing_and_one_of_nothing_are_refused() -> None:
    plan = plan_on(GPUS)
    with pytest.raises(InputError, match="the cheapest run is predicted to cost"):
        within_budget(plan, 1e-6, trim=True)
    with pytest.raises(InputError, match="--trim needs --max-gpu-hours"):
        within_budget(plan, None, trim=True)
    with pytest.raises(InputError, match="no GPUs"):
        within_budget(plan_on(load_cluster("local")), 10, trim=False)


def test_the_verb_trims_and_warns_of_data_that_are_not_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster, grid = tmp_path / "c.yaml", tmp_path / "g.yaml"
    cluster.write_text("{kind: slurm, gpus_per_node: 4, time_limit_minutes: 600, peak_tflops: 312, efficiency: 0.25}")
    data = f"{{train: {tmp_path / 'nowhere'}}}"
    base = f"{{model: ViT-B-32, global_batch_size: 1024, data: {data}, optimizer: {{lr: 1e-3}}}}"
    grid.write_text(f"base: {base}\naxes: {{samples_seen: [1.28M, 12.8M]}}\ncluster: {cluster}\n")
    with pytest.raises(InputError, match="more than --max-gpu-hours 1;"):
        app(["sweep", "plan", str(grid), "--max-gpu-hours", "1"], standalone_mode=False)
    app(["sweep", "plan", str(grid), "--max-gpu-hours", "1", "--trim", "--json"], standalone_mode=False)
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert ([run["id"] for run in document["runs"]], document["left_out"]) == (["1.28M"], ["12.8M"])
    assert document["totals"]["gpu_hours"] < 1
    assert "warning: not found from here: data.train: " in said.err
    assert said.err.rstrip().endswith("(run 1.28M)")
