"""What a plan refuses before anything starts, and the names it gives to those who have to mend it."""

from typing import Any

import pytest

from mammut_clip.config import ConfigError
from mammut_clip.config.cluster import ClusterConfig, load_cluster
from mammut_clip.config.load import validate
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.sweep import make_plan

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


def cluster(**changes: Any) -> ClusterConfig:
    return GPUS.model_copy(update=changes)


def test_gpus_that_cannot_be_had_or_cannot_share_the_batch_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"gpus = 6: .*whole nodes of 4 \(run s\)"):
        make_plan(sweep(gpus=6), GPUS)
    local = load_cluster("local", ["gpus_per_node=2", "parallel_jobs=1"])
    with pytest.raises(ConfigError, match="at most 2"):
        make_plan(sweep(gpus=4), local)
    with pytest.raises(ConfigError, match=r"global_batch_size = 1024: 12 processes cannot share it"):
        make_plan(sweep(gpus=12), GPUS)


def test_nodes_are_whole_nodes_of_the_cluster() -> None:
    assert make_plan(sweep(nodes=2), GPUS).runs[0].gpus == 8
    with pytest.raises(ConfigError, match=r"nodes = 2: expected 1: the cluster is this machine"):
        make_plan(sweep(nodes=2), load_cluster("local", ["gpus_per_node=2", "parallel_jobs=1"]))
    assert make_plan(sweep(nodes=2), load_cluster("local")).runs[0].gpus == 0


def test_a_problem_of_several_runs_is_told_once_with_their_names() -> None:
    rules = [{"when": {"seed": [1, 2, 3, 4, 5]}, "set": {"gpus": 12}}]
    with pytest.raises(ConfigError) as caught:
        make_plan(sweep(axes={"seed": list(range(7))}, rules=rules), GPUS)
    (problem,) = caught.value.problems
    assert str(problem).endswith("(runs seed1, seed2, seed3 and 2 more)")


def test_many_problems_are_cut_off_and_counted() -> None:
    batches = [1024 + 2 * number for number in range(1, 60, 2)]
    with pytest.raises(ConfigError) as caught:
        make_plan(sweep(axes={"global_batch_size": batches}), GPUS)
    assert len(caught.value.problems) == 21
    assert "and 10 more problems like these" in str(caught.value)


def test_a_step_that_does_not_fit_is_refused_with_one_that_does() -> None:
    model = {"axes": {"model": ["ViT-S-32", "ViT-L-14"]}}
    with pytest.raises(ConfigError) as caught:
        make_plan(sweep(**model), cluster(gpu_memory_gb=40))
    (problem,) = caught.value.problems
    assert problem.key == "parallel.micro_batch_size"
    assert "a step of ViT-L-14 with 256 pairs on each of 4 GPUs needs about 1" in problem.expected
    assert "expected 64 or less, or parallel.recompute: full or more GPUs (run ViT-L-14)" in problem.expected
    for mended in ({"parallel.micro_batch_size": 64}, {"parallel.recompute": "full"}):
        plan = make_plan(sweep(**model, overrides=mended), cluster(gpu_memory_gb=40))
        assert all(run.memory_gb is not None and run.memory_gb < 40 for run in plan.runs)


def test_a_model_that_no_micro_batch_makes_fit_says_so() -> None:
    with pytest.raises(ConfigError, match=r"no number of pairs is small enough, or parallel\.recompute: full or more"):
        make_plan(sweep(overrides={"parallel.mode": "ddp"}), cluster(gpu_memory_gb=2))


def test_a_time_limit_in_which_no_checkpoint_falls_is_refused_with_a_distance_that_would_do() -> None:
    long = sweep(overrides={"samples_seen": "640M", "checkpoint.permanent": []})
    with pytest.raises(ConfigError) as caught:
        make_plan(long, cluster(time_limit_minutes=60, signal_seconds=600))
    (problem,) = caught.value.problems
    assert problem.key == "checkpoint.every"
    assert "and a job has 50 min before it is told to end" in problem.expected
    enough = problem.expected.rpartition("expected ")[2].split()[0]
    (run,) = make_plan(
        sweep(overrides={"samples_seen": "640M", "checkpoint.permanent": [], "checkpoint.every": enough}),
        cluster(time_limit_minutes=60, signal_seconds=600),
    ).runs
    assert run.checkpoints.longest_gap / run.samples_per_second < 0.5 * 3000 + 60
    assert make_plan(long, cluster(time_limit_minutes=10_000)).runs
