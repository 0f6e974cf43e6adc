"""A dry run: the numbers of the parts that make them, nothing on disk, no torch unless it is needed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mammut_clip.config.cluster import load_cluster
from mammut_clip.config.errors import ConfigError
from mammut_clip.config.load import validate
from mammut_clip.config.model import load_model_config
from mammut_clip.config.run import RunConfig
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.cost import gflops_per_sample, parameters, training_memory_gb
from mammut_clip.dry_run import dry_run
from mammut_clip.dry_run_text import dry_run_text
from mammut_clip.sweep.plan import make_plan

MODEL = "mammut_ViT-B-32"


def values_of(**changes: Any) -> dict[str, Any]:
    values = {
        "name": "x",
        "model": MODEL,
        "samples_seen": "12.8M",
        "global_batch_size": 4096,
        "data": {"train": ["nowhere"]},
        "optimizer": {"lr": 1e-3},
        "schedule": {"warmup": "640K"},
        "parallel": {"precision": "bf16"},
    }
    return values | changes


def config_of(**changes: Any) -> RunConfig:
    return validate(RunConfig, values_of(**changes), "test")


@pytest.fixture
def cluster(tmp_path: Path) -> str:
    """Nodes of four GPUs."""
    file = tmp_path / "here.yaml"
    file.write_text(
        "kind: slurm\ngpus_per_node: 4\ncpus_per_task: 8\ntime_limit_minutes: 60\npeak_tflops: 312\nefficiency: 0.15\n"
    )
    return str(file)


def test_its_numbers_are_those_of_the_parts(cluster: str) -> None:
    model, config = load_model_config(MODEL), config_of(checkpoint={"every": "1.28M"})
    row = dry_run(config, 8, cluster).to_json_dict()
    json.dumps(row)
    assert row["params"] == parameters(model).total
    gflops = gflops_per_sample(model)
    assert row["gflops_per_sample"]["paper"] == gflops.paper
    assert row["gflops_exact"] == pytest.approx(gflops.exact_step * config.total_samples)
    assert (row["steps"], row["batch_size_per_process"], row["gpus"]) == (3125, 512, 8)
    assert (row["warmup"], row["log_rows"], row["evaluations"]) == (640_000, 1000, 0)
    assert row["checkpoints"]["permanent"] == [1_280_000, 1_980_000, 3_070_000, 4_430_000, 6_400_000, 9_050_000]
    assert (row["checkpoints"]["written"], row["checkpoints"]["kept"]) == (14, 8)
    assert row["checkpoints"]["bytes_kept"] == 8 * 12 * parameters(model).total
    for spread, shards in zip(row["memory"], (1, 4, 8), strict=True):
        expected = training_memory_gb(model, 512, 8, "bf16", shards=shards)
        assert spread["memory_gb"]["total"] == pytest.approx(expected.total)
    assert [spread["mode"] for spread in row["memory"]] == ["ddp", "hsdp", "fsdp"]
    assert row["mode"] is None
    assert row["warnings"] == []


def test_it_costs_what_the_plan_of_a_sweep_says(cluster: str) -> None:
    base = {key: value for key, value in values_of().items() if key != "name"}
    sweep = validate(SweepConfig, {"name": "s", "base": base, "axes": {"seed": [0]}, "cluster": cluster}, "test")
    (planned,) = make_plan(sweep, load_cluster(cluster)).runs
    row = dry_run(config_of(), cluster=cluster).to_json_dict()  # as many GPUs as a sweep takes: a node's
    expected = planned.to_json_dict()
    assert expected.pop("checkpoints").items() <= row["checkpoints"].items()
    for key, value in expected.items():
        if key != "id":
            assert row[key] == value, key
    assert row["samples_per_second"] == pytest.approx(12_800_000 / row["seconds"])


@pytest.mark.parametrize(
    ("memory", "mode", "chosen", "shards"),
    [
        (80, "auto", "ddp", 1),
        (29.8, "auto", "hsdp", 4),
        (2, "auto", "fsdp", 8),
        (None, "hsdp", "hsdp", 4),
        (None, "ddp", "ddp", 1),
        (2, "fsdp", "fsdp", 8),
    ],
)
def test_the_mode_is_the_one_that_the_trainer_would_take(
    cluster: str, memory: float | None, mode: str, chosen: str, shards: int
) -> None:
    if memory is not None:
        with Path(cluster).open("a") as file:
            file.write(f"gpu_memory_gb: {memory}\n")
    run = dry_run(config_of(parallel={"precision": "bf16", "mode": mode}), 8, cluster)
    (spread,) = run.spreads
    assert (spread.mode, spread.shards) == (chosen, shards)
    assert run.to_json_dict()["mode"] == chosen
    assert any("GB; try a smaller" in warning for warning in run.warnings) == (memory == 2)


def test_one_process_on_this_machine_without_anything_said() -> None:
    run = dry_run(config_of())
    assert (run.gpus, run.processes, run.cluster) == (0, 1, "local")
    assert [spread.mode for spread in run.spreads] == ["single"]
    assert run.price is not None
    assert run.price.core_hours > 0


def test_gpus_of_no_cluster_have_no_price() -> None:
    run = dry_run(config_of(), 2)
    assert run.price is None
    assert run.to_json_dict()["seconds"] is None
    assert "not known without --cluster" in dry_run_text(run)


@pytest.mark.parametrize(
    ("gpus", "place", "changes", "message"),
    [
        (3, None, {}, "global_batch_size = 4096.*use 4095 or 4098"),
        (6, "here", {}, "gpus = 6: expected at most 4, or whole nodes of 4"),
        (2, "local", {}, "gpus = 2: expected at most 0"),
        (8, "here", {"parallel": {"mode": "hsdp", "shard_size": 3}}, "parallel.shard_size"),
        (None, "nowhere", {}, "nowhere"),
    ],
)
def test_what_cannot_be_is_refused(
    gpus: int | None, place: str | None, changes: dict[str, Any], message: str, cluster: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        dry_run(config_of(**changes), gpus, cluster if place == "here" else place, source="x.yaml")


def test_it_warns_of_what_does_nothing_or_costs_much(cluster: str) -> None:
    parallel = {"precision": "fp32", "micro_batch_size": 2048}
    long = config_of(parallel=parallel, samples_seen="1.28B", checkpoint={"permanent": []})
    warnings = "\n".join(dry_run(long, 4, cluster).warnings)
    assert "micro_batch_size 2048 does nothing where a process has 1024 pairs" in warnings
    assert "fp32 takes far longer" in warnings
    assert "checkpoint.every: null" in warnings
    fine = config_of(parallel={"precision": "bf16", "micro_batch_size": 512}, checkpoint={"every": "128K"})
    assert dry_run(fine, 4, cluster).warnings == ()


def test_micro_batches_and_recomputation_are_in_the_memory() -> None:
    parts = [{}, {"micro_batch_size": 128}, {"micro_batch_size": 128, "recompute": "full"}]
    runs = [dry_run(config_of(parallel={"precision": "bf16", "mode": "ddp"} | part), 8) for part in parts]
    needs = [run.to_json_dict()["memory_gb"] for run in runs]
    assert needs == sorted(needs, reverse=True)
    assert needs[0] > 2 * needs[2]


def test_a_branch_costs_what_is_left() -> None:
    branch = {"run": "r/s/a", "name": "s/a", "samples_seen": 4096 * 2500}
    whole, rest = dry_run(config_of()), dry_run(config_of(branched_from=branch))
    assert rest.steps == 625
    assert rest.price is not None
    assert whole.price is not None
    assert rest.price.seconds == pytest.approx(0.2 * whole.price.seconds)
    assert "from 10.24M on" in dry_run_text(rest)


def test_a_tower_of_another_package_has_no_memory() -> None:
    cost = {"params": 1000, "gflops_paper": 1.0, "gflops_exact_forward": 2.0, "gflops_exact_step": 5.0}
    model = load_model_config("ViT-B-32").model_dump() | {"vision_cfg": {"timm": "resnet10t", "cost": cost}}
    run = dry_run(config_of(model=model), 2)
    assert run.to_json_dict()["memory"][0]["memory_gb"] is None
    assert "not known for towers of other packages" in dry_run_text(run)


def test_the_text_says_it_all(cluster: str) -> None:
    config = config_of(
        checkpoint={"every": "1.28M"},
        evaluation={"suite": "toy", "every": "6.4M"},
        schedule={"kind": "const_cooldown", "warmup": "640K", "cooldown": "2.56M"},
    )
    text = dry_run_text(dry_run(config, 8, cluster))
    for part in (
        "12.8M in 3,125 steps of 4,096, 512 on each of 8 GPUs",
        "const_cooldown, peak 0.001, warm-up 640K (156.2 steps), cooldown 2.56M (625 steps)",
        "14 written, 8 in the end",
        "every 1.28M samples, of which the last 2 stay",
        "permanent at 1.28M, 1.98M, 3.07M",
        "2 of suite toy, every 6.4M samples",
        "1,000, every 12.8K samples",
        "hsdp over 4 each",
        "on 8 GPUs of",
        "GPU-hours",
        "at 15% of 312 TFLOP/s",
    ):
        assert part in text, text


def test_torch_stays_where_it_is(tmp_path: Path, cluster: str) -> None:
    code = (
        "import sys\nfrom mammut_clip.config.load import validate\nfrom mammut_clip.config.run import RunConfig\n"
        "from mammut_clip.dry_run import dry_run\nfrom mammut_clip.dry_run_text import dry_run_text\n"
        f"dry_run_text(dry_run(validate(RunConfig, {values_of()!r}, 'test'), 8, {cluster!r}))\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["here.yaml"]
