"""What a launch writes before anything starts, and what it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from calls import calls_of
from mammut_clip.config import ConfigError, InputError
from mammut_clip.config.cluster import load_cluster
from mammut_clip.config.files import shipped
from mammut_clip.config.load import validate
from mammut_clip.config.sweep import SweepConfig, SweepEvaluation
from mammut_clip.runs.records import Status
from mammut_clip.sweep import Plan, make_plan
from mammut_clip.sweep.prepare import config_digest, prepare
from mammut_clip.sweep.stored import Launched

BASE: dict[str, Any] = {
    "model": "toy-XS",
    "samples_seen": 1280,
    "global_batch_size": 128,
    "data": {"train": "data/toy"},
    "optimizer": {"lr": 1e-3},
}


def plan_of(*seeds: int, base: dict[str, Any] | None = None, **values: Any) -> Plan:
    values = {"name": "s", "base": {**BASE, **(base or {})}, "axes": {"seed": list(seeds)}, **values}
    return make_plan(validate(SweepConfig, values, "s.yaml"), load_cluster("local"))


def state(root: Path) -> dict[str, bool]:
    return {run.id: run.dropped for run in Launched.at(root / "s").stored.runs}


def test_every_run_gets_its_folder_and_the_sweep_its_record(tmp_path: Path) -> None:
    launched = prepare(plan_of(1, 2), tmp_path)
    assert Launched.at(tmp_path / "s") == launched
    run = launched.run("seed1")
    assert run.status == Status(total_samples=1280, updated_at=run.status.updated_at)
    stored = launched.stored.runs[0]
    assert (stored.id, stored.total_samples, stored.steps, stored.gpus) == ("seed1", 1280, 10, 0)
    assert stored.config_sha256 == config_digest(run.config) and stored.seconds > 0
    with pytest.raises(InputError, match="no launched sweep here"):
        Launched.at(tmp_path)


def test_a_grid_that_shrinks_drops_runs_and_one_that_grows_takes_them_back(tmp_path: Path) -> None:
    prepare(plan_of(1, 2), tmp_path)
    Status(state="finished", samples_seen=1280).write(tmp_path / "s" / "seed1" / "status.json")
    prepare(plan_of(2, 3), tmp_path)
    assert state(tmp_path) == {"seed2": False, "seed3": False, "seed1": True}
    prepare(plan_of(1, 2, 3, 4), tmp_path)
    assert state(tmp_path) == {f"seed{n}": False for n in (1, 2, 3, 4)}
    assert Launched.at(tmp_path / "s").run("seed1").status.state == "finished"


def test_runs_are_added_without_dropping_any_and_the_sweep_keeps_what_it_was_launched_with(tmp_path: Path) -> None:
    prepare(plan_of(1, 2, policy={"crashes": 7}), tmp_path)
    launched = prepare(plan_of(2, 3), tmp_path, grow=True)
    assert state(tmp_path) == {"seed1": False, "seed2": False, "seed3": False}
    assert launched.stored.policy.crashes == 7


def test_a_run_keeps_its_config_and_nothing_is_written_where_one_would_change(tmp_path: Path) -> None:
    prepare(plan_of(1, 2), tmp_path)
    before = (tmp_path / "s" / "launch" / "sweep.json").read_bytes()
    with pytest.raises(InputError, match=r"seed1/config.yaml[\s\S]*samples_seen[\s\S]*and 1 other runs"):
        prepare(plan_of(0, 1, 2, base={"samples_seen": 2560}), tmp_path)
    assert not (tmp_path / "s" / "seed0").exists()
    assert (tmp_path / "s" / "launch" / "sweep.json").read_bytes() == before


def test_a_run_that_was_made_by_hand_joins_the_sweep_where_its_config_is_the_same(tmp_path: Path) -> None:
    prepare(plan_of(1), tmp_path)
    (tmp_path / "s" / "launch" / "sweep.json").unlink()
    assert [run.id for run in prepare(plan_of(1), tmp_path).stored.runs] == ["seed1"]


def test_what_the_sweep_names_is_found_before_anything_is_written(tmp_path: Path) -> None:
    plan = plan_of(1)
    for values in ({"evaluation": SweepEvaluation(suite="no-such-suite")}, {"laws": ["no-such-law"]}):
        with pytest.raises(ConfigError, match="no-such-"):
            prepare(replace(plan, config=plan.config.model_copy(update=values)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_law_spec_beside_the_user_is_found_from_anywhere(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("law.yaml").write_text(shipped("fit")["toy"].read_text())
    launched = prepare(plan_of(1, laws=["law.yaml", "toy-retrieval"]), tmp_path)
    assert launched.stored.laws == [str(tmp_path / "law.yaml"), "toy-retrieval"]


def test_a_second_launch_of_many_runs_reads_no_config(tmp_path: Path) -> None:
    plan = plan_of(*range(300))
    prepare(plan, tmp_path)
    for run in plan.runs:
        (tmp_path / "s" / run.id / "config.yaml").write_text("not: read")  # it would be refused
    assert calls_of(lambda: prepare(plan, tmp_path)) < 300 * 300  # 5,000 runs in about half a second
