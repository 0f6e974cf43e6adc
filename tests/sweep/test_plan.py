"""The plan: costs that follow from stated formulas, the JSON face, its text, and how much work it is."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mammut_clip.config import ConfigError
from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.load import validate
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.cost import gflops_per_sample, parameters, training_memory_gb
from mammut_clip.sweep import load_plan, make_plan, sizes
from mammut_clip.sweep.show import format_duration
from mammut_clip.sweep.show_plan import plan_text

BASE: dict[str, Any] = {
    "model": "ViT-B-32",
    "samples_seen": "1.28M",
    "global_batch_size": 1024,
    "data": {"train": "data"},
    "optimizer": {"lr": 1e-3},
}
GPUS = ClusterConfig(kind="slurm", gpus_per_node=4, time_limit_minutes=60, peak_tflops=312, efficiency=0.25)


def sweep(**values: Any) -> SweepConfig:
    return validate(SweepConfig, {"name": "s", "base": BASE, **values}, "sweeps/s.yaml")


def test_what_is_wrong_with_the_cluster_is_said_with_what_is_wrong_in_the_grid(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("base: toy\naxes: {sede: [1]}\ncluster: jewels\n")
    with pytest.raises(ConfigError, match=r"axes.sede: unknown[\s\S]*cluster = 'jewels': .*mean juwels-booster"):
        load_plan(file)
    with pytest.raises(ConfigError, match=r"sede[\s\S]*cluster: in \S*generic.yaml with time.*signal_seconds 300"):
        load_plan(file, ["cluster=generic", "cluster.time_limit_minutes=1"])


def test_cost_of_a_run_follows_from_its_flops() -> None:
    plan = make_plan(sweep(axes={"model": ["ViT-B-32", "mammut_ViT-B-32"]}), GPUS)
    run = plan.runs[1]
    cost = gflops_per_sample(run.config.model.architecture)
    assert run.params == parameters(run.config.model.architecture).total
    assert run.gpus == 4
    assert run.gflops_paper == pytest.approx(cost.paper * 1_280_000)
    assert run.gflops_exact == pytest.approx(cost.exact_step * 1_280_000)
    assert run.seconds == pytest.approx(cost.exact_step * 1e9 * 1_280_000 / (4 * 312e12 * 0.25))
    assert run.gpu_hours == pytest.approx(run.seconds * 4 / 3600)


def test_without_gpus_the_cores_are_priced() -> None:
    cluster = ClusterConfig(kind="local", cpus_per_task=2, peak_tflops=0.05, efficiency=0.1)
    run = make_plan(sweep(gpus=8), cluster).runs[0]
    assert (run.gpus, run.processes, run.cores, run.gpu_hours) == (0, 1, 2, 0)
    assert run.core_hours == pytest.approx(run.gflops_exact / (0.05e3 * 0.1) / 3600)


def test_json_has_the_agreed_keys_and_sums_that_agree() -> None:
    document = make_plan(sweep(axes={"model": ["ViT-B-32", "mammut_ViT-B-32"], "seed": [1, 2]}), GPUS).to_json_dict()
    agreed = {"id", "model", "family", "samples_seen", "gpus", "gpu_hours", "params", "gflops", "steps"}
    assert agreed <= set(document["runs"][0])
    for key in ("gpu_hours", "gflops", "gflops_paper"):
        total = sum(run[key] for run in document["runs"])
        assert document["totals"][key] == pytest.approx(total)
        assert sum(totals[key] for totals in document["families"].values()) == pytest.approx(total)
        assert sum(totals[key] for totals in document["models"].values()) == pytest.approx(total)
        assert sum(totals[key] for totals in document["samples_seen"].values()) == pytest.approx(total)
    assert document["totals"]["runs"] == 4
    assert document["families"]["mammut"]["runs"] == 2


def test_a_measured_gpu_prices_with_the_papers_rates() -> None:
    cluster = GPUS.model_copy(update={"gpu": "A100-SXM4-40GB"})
    named, plain = (make_plan(sweep(), c).runs[0].to_json_dict() for c in (cluster, GPUS))
    assert (named["price_basis"], plain["price_basis"]) == ("measured", "efficiency")
    assert 700 < named["samples_per_second"] / 4 < 920
    unknown = make_plan(sweep(), GPUS.model_copy(update={"gpu": "A100 40"}))
    assert any("gpu A100 40 is none" in warning for warning in unknown.warnings)
    assert unknown.runs[0].gpu_hours == plain["gpu_hours"]


def test_memory_is_that_of_the_layout_the_trainer_would_choose() -> None:
    cluster = GPUS.model_copy(update={"gpu_memory_gb": 40})
    (run,) = make_plan(sweep(nodes=2), cluster).runs
    model = run.config.model.architecture
    assert (run.gpus, run.mode) == (8, "ddp")
    assert run.memory_gb == pytest.approx(training_memory_gb(model, 128, 8, "fp32", shards=1).total)
    (small,) = make_plan(sweep(nodes=2), GPUS.model_copy(update={"gpu_memory_gb": 11})).runs
    assert small.mode == "hsdp"
    assert small.memory_gb == pytest.approx(training_memory_gb(model, 128, 8, "fp32", shards=4).total)
    (unknown,) = make_plan(sweep(nodes=2), GPUS).runs
    assert (unknown.mode, unknown.memory_gb) == (None, None)


def test_checkpoints_and_their_disk_are_summed() -> None:
    plan = make_plan(sweep(axes={"seed": [1, 2]}, overrides={"checkpoint.every": "128K"}), GPUS)
    row = plan.runs[0].to_json_dict()["checkpoints"]
    assert (row["written"], row["kept"]) == (10, 2)
    assert row["bytes_kept"] == 2 * 12 * plan.runs[0].params
    assert plan.totals.checkpoints_written == 20
    assert plan.totals.checkpoint_bytes == 2 * row["bytes_kept"]


def test_wall_time_is_that_of_the_jobs_that_run_at_a_time() -> None:
    axes = {"axes": {"samples_seen": ["1.28M", "2.56M", "5.12M"]}}
    apart = make_plan(sweep(**axes), GPUS)
    short, _, long = (run.seconds for run in apart.runs)
    assert apart.wall_seconds == pytest.approx(long)
    limited = GPUS.model_copy(update={"limits": GPUS.limits.model_copy(update={"running": 2, "jobs": 10})})
    assert make_plan(sweep(**axes), limited).wall_seconds == pytest.approx(short + long)
    here = ClusterConfig(kind="local", cpus_per_task=1, parallel_jobs=1, peak_tflops=0.05, efficiency=0.1)
    one = make_plan(sweep(**axes), here)
    assert one.wall_seconds == pytest.approx(sum(run.seconds for run in one.runs))


def test_five_thousand_runs_cost_the_work_of_their_distinct_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 s of wall time for `sweep plan --json` with twenty models on an idle core; here the work is counted."""
    asked: list[Any] = []
    original = sizes.spreads_of
    monkeypatch.setattr(sizes, "spreads_of", lambda *args: asked.append(args) or original(*args))
    axes = {
        "model": ["ViT-S-32", "ViT-B-32", "mammut_ViT-S-32", "mammut_ViT-B-32"],
        "global_batch_size": [512, 1024],
        "seed": list(range(625)),
    }
    rules = [{"when": {"family": "clip"}, "set": {"optimizer.lr": 5e-4}}]
    plan = make_plan(sweep(axes=axes, rules=rules), GPUS.model_copy(update={"gpu_memory_gb": 80}))
    assert len(plan.to_json_dict()["runs"]) == 5000
    assert len(asked) == 8


def test_planning_loads_neither_torch_nor_pandas() -> None:
    script = (
        "import sys; from mammut_clip.sweep import load_plan; load_plan('quickstart')\n"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_printed_plan_shows_every_run_and_as_many_columns_as_there_is_room_for() -> None:
    plan = load_plan("quickstart")
    wide, narrow = plan_text(plan), plan_text(plan, 80)
    for text in (wide, narrow):
        assert all(f"\n{run.id} " in text for run in plan.runs)
    table = narrow.split("\n\n")[0].splitlines()
    assert all(len(line) <= 80 for line in table[:-1])
    assert table[-1].startswith("(no room for model, batch, GFLOPs paper; --json")
    assert "no room" not in wide
    header = wide.splitlines()[1:3]
    for name in ("model", "steps", "batch", "params", "GFLOPs", "GB", "per s", "time"):
        assert any(name in line for line in header), name


def test_the_printed_plan_says_what_may_surprise_and_for_which_runs() -> None:
    axes = {"seed": list(range(5))}
    plan = make_plan(sweep(axes=axes, overrides={"parallel.micro_batch_size": 4096}), GPUS)
    text = plan_text(plan)
    assert "micro_batch_size 4096 does nothing where a process has 256 pairs of the batch (seed0, seed1, " in text
    assert "seed2 and 2 more)" in text
    assert "prices: by the cluster's peak_tflops and efficiency" in text


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (125, "2.1 min"), (2400, "40 min"), (3 * 86400, "3.0 d")])
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
