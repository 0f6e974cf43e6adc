"""Traces of a few steps."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mammut_clip.distributed import Process
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.profiling import RECORDED_STEPS, SKIPPED_STEPS, WARM_UP_STEPS, profiling

MakeRun = Callable[..., RunDir]
NEEDED = SKIPPED_STEPS + WARM_UP_STEPS + RECORDED_STEPS


def steps(run: RunDir, count: int, rank: int = 0, enabled: bool = True) -> bool:
    """Steps of one product of matrices each; whether all was recorded."""
    process = Process(rank, rank + 1, rank, torch.device("cpu"))
    weights = torch.ones(64, 64)
    with profiling(run, process, enabled) as profile:
        for _ in range(count):
            torch.mm(weights, weights)
            profile.step()
        return profile.is_complete


def trace(run: RunDir, rank: int) -> list[dict[str, Any]]:
    with gzip.open(run.path / "profile" / f"rank-{rank}.json.gz", "rt") as file:
        return json.load(file)["traceEvents"]


def test_the_trace_holds_the_steps_that_were_to_be_recorded(make_run: MakeRun) -> None:
    run = make_run()
    assert steps(run, NEEDED + 5)
    named = [event["name"] for event in trace(run, 0)]
    assert named.count("aten::mm") == RECORDED_STEPS
    first = SKIPPED_STEPS + WARM_UP_STEPS
    assert {name for name in named if name.startswith("ProfilerStep")} == {
        f"ProfilerStep#{step}" for step in range(first, first + RECORDED_STEPS)
    }
    assert "aten::mm" in (run.path / "profile" / "rank-0.txt").read_text()


def test_each_rank_writes_its_own_trace_and_the_first_the_table(make_run: MakeRun) -> None:
    run = make_run()
    for rank in (0, 1):
        steps(run, NEEDED, rank)
    assert sorted(path.name for path in (run.path / "profile").iterdir()) == [
        "rank-0.json.gz",
        "rank-0.txt",
        "rank-1.json.gz",
    ]
    assert trace(run, 1)


@pytest.mark.parametrize("count", [0, 3, SKIPPED_STEPS + 1, NEEDED - 1])
def test_a_run_that_is_too_short_says_so(make_run: MakeRun, capsys: pytest.CaptureFixture[str], count: int) -> None:
    run = make_run()
    assert not steps(run, count)
    assert f"that takes {NEEDED} steps" in capsys.readouterr().err
    recorded = count > SKIPPED_STEPS + WARM_UP_STEPS
    assert (run.path / "profile" / "rank-0.json.gz").exists() == recorded


def test_a_new_trace_takes_the_place_of_the_old(make_run: MakeRun) -> None:
    run = make_run()
    steps(run, NEEDED)
    before = (run.path / "profile" / "rank-0.json.gz").stat().st_mtime_ns
    steps(run, NEEDED)
    assert (run.path / "profile" / "rank-0.json.gz").stat().st_mtime_ns > before


def test_nothing_is_written_where_nobody_asked(make_run: MakeRun) -> None:
    run = make_run()
    steps(run, NEEDED, enabled=False)
    assert not (run.path / "profile").exists()


def test_an_error_in_a_step_comes_through(make_run: MakeRun) -> None:
    run = make_run()
    process = Process(0, 1, 0, torch.device("cpu"))
    with pytest.raises(KeyError, match="mine"), profiling(run, process, True) as profile:
        for _ in range(SKIPPED_STEPS + WARM_UP_STEPS + 1):
            profile.step()
        raise KeyError("mine")
