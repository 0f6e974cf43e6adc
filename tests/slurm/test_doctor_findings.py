"""What the doctor makes of reports, of cases that the Slurm of the tests cannot be brought into."""

from typing import Any

import pytest

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.slurm.doctor.judge import judge_failure, judge_ranks, judge_signals
from mammut_clip.slurm.doctor.partition import Node, _gpus
from mammut_clip.slurm.doctor.reports import FolderReport, RankReport


def cluster(**values: Any) -> ClusterConfig:
    return ClusterConfig(kind="slurm", time_limit_minutes=60, peak_tflops=1, efficiency=0.5, **values)


def report(rank: int, **values: Any) -> RankReport:
    """Of one of two ranks of each node."""
    usual: dict[str, Any] = {
        "stage": "ready", "rank": rank, "world_size": 4, "local_rank": rank % 2, "node": f"n{1 + rank // 2}",
        "host": "h", "began": 1.0, "cores": 4, "sum_right": True, "gpus": ["A100", "A100"], "gpu_id": f"GPU-{rank}",
        "master": "n1i:12000", "master_ip": "10.98.0.1", "interfaces": {"eth0": "10.99.0.1", "ib0": "10.98.0.1"},
        "talked_over": {"ib0": 3}, "bandwidth": {"gloo": {64_000_000: 2.0}, "nccl": {1_000_000_000: 80.0}},
    }  # fmt: skip
    return RankReport(**usual | values)


def verdicts(reports: list[RankReport], **values: Any) -> dict[str, str]:
    """Of all that is not ok."""
    given = cluster(gpus_per_node=2, **values)
    return {f.what: f.verdict for f in judge_ranks(given, reports, 4) if f.verdict != "ok"}


def test_four_ranks_in_order() -> None:
    assert verdicts([report(rank) for rank in range(4)], network_interfaces=["ib0"]) == {}
    assert verdicts([report(rank) for rank in range(4)], network_interfaces=["ib"]) == {}  # NCCL takes beginnings
    roomy = [FolderReport(path=path, free_gb=900, seen_after=0.1) for path in ("/p", "/s")]
    assert verdicts([report(rank, folders=roomy) for rank in range(4)], scratch="/s") == {}


@pytest.mark.parametrize(
    ("changed", "what", "verdict"),
    [
        ({"gpus": []}, "GPUs", "problem"),
        ({"gpu_id": "GPU-0"}, "GPUs", "problem"),
        ({"cores": 1}, "cores", "problem"),
        ({"sum_right": False}, "all_reduce", "problem"),
        ({"world_size": 1}, "ranks", "problem"),
        ({"talked_over": {"eth0": 1, "ib0": 2}}, "network", "warning"),
        ({"bandwidth": {"gloo": {64_000_000: 2.0}, "nccl": {1_000_000_000: 0.1}}}, "nccl", "warning"),
        ({"clock_offset": -3.0}, "clocks", "warning"),
        ({"folders": [FolderReport(path="/p", free_gb=900, unseen=["n2"])]}, "shared", "problem"),
        ({"folders": [FolderReport(path="/p", error="Read-only file system")]}, "shared", "problem"),
        ({"folders": [FolderReport(path="/p", free_gb=900, seen_after=20.0)]}, "shared", "warning"),
        ({"folders": [FolderReport(path="/p", free_gb=3)]}, "shared", "note"),
        ({"folders": [FolderReport(path="/s", error="No such file or directory")]}, "scratch", "problem"),
        ({"folders": [FolderReport(path="/s", free_gb=3)]}, "scratch", "note"),
    ],
)
def test_one_rank_that_is_not(changed: dict[str, Any], what: str, verdict: str) -> None:
    reports = [report(0), report(1, **changed), report(2), report(3)]
    assert verdicts(reports, network_interfaces=["ib0"], cpus_per_task=4, scratch="/s") == {what: verdict}


def test_why_ranks_never_came_to_their_end() -> None:
    waiting = [report(rank, stage="meeting") for rank in range(4)]
    assert "never met" in judge_failure(waiting, 4).found
    assert "never began (the first: rank 2)" in judge_failure(waiting[:2], 4).found
    assert "they hang, measuring" in judge_failure([report(0), report(1, stage="measuring")], 2).found
    broken = judge_failure([report(0), report(1, stage="meeting", error="n1i does not resolve")], 4)
    assert broken.found == "rank 1 on n1: n1i does not resolve"
    assert "host_suffix" in broken.advice


def test_signals_must_reach_every_rank() -> None:
    told = [report(rank, signals={"SIGUSR1": 10.0 + rank}) for rank in range(4)]
    assert judge_signals(told, 4, 9.5).verdict == "ok"
    assert judge_signals(told, 4, 1.0).verdict == "warning"
    assert judge_signals([*told[:3], report(3, signals={"SIGTERM": 11.0})], 4, 9.5).verdict == "problem"


def test_gpus_and_states_as_sinfo_prints_them() -> None:
    words = ("(null)", "gpu:4", "gpu:a100:4(S:0-1),craynetwork:1", "gpu:a100:2,gpu:h100:1")
    assert [_gpus(text) for text in words] == [0, 4, 4, 3]
    states = ("idle", "mixed+planned", "allocated#", "down*", "drained", "idle*", "reserved")
    assert [Node("n", 1, 0, state).usable for state in states] == [True, True, True, False, False, False, True]
