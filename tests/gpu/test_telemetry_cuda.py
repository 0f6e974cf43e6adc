"""On a CUDA device steps are timed by the device, and the profiler sees its kernels."""

import gzip
import json
import time
from pathlib import Path

import pytest
import torch

from mammut_clip.distributed import Process
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.profiling import RECORDED_STEPS, SKIPPED_STEPS, WARM_UP_STEPS, profiling
from mammut_clip.train.step_times import StepTimes, peak_memory_gb

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

CUDA = torch.device("cuda")


def work() -> None:
    """Some milliseconds of the device's time, and next to none of the CPU's."""
    torch.cuda._sleep(10_000_000)


def test_steps_take_the_devices_time_and_pauses_are_left_out() -> None:
    torch.cuda.synchronize()
    began = time.perf_counter()
    times = StepTimes(CUDA)
    for _ in range(5):
        work()
        times.end_step()
    queued = time.perf_counter() - began
    assert times.total() > queued  # the CPU ran ahead
    pause = time.perf_counter()
    for _ in range(20):
        work()
    torch.cuda.synchronize()
    paused = time.perf_counter() - pause
    times.restart()
    work()
    times.end_step()
    taken = times.take()
    assert len(taken) == 6
    assert sum(taken) <= time.perf_counter() - began - 0.9 * paused
    assert times.take() == []


def test_peak_memory_is_that_of_tensors() -> None:
    before = peak_memory_gb(CUDA)
    held = torch.empty(round((before + 0.1) * 1e9), dtype=torch.uint8, device=CUDA)
    assert peak_memory_gb(CUDA) >= before + 0.1
    del held


def test_the_trace_holds_kernels(tmp_path: Path) -> None:
    run, process = RunDir(tmp_path), Process(0, 1, 0, CUDA)
    weights = torch.ones(256, 256, device=CUDA)
    with profiling(run, process, True) as profile:
        for _ in range(SKIPPED_STEPS + WARM_UP_STEPS + RECORDED_STEPS):
            torch.mm(weights, weights)
            torch.cuda.synchronize()
            profile.step()
    with gzip.open(tmp_path / "profile" / "rank-0.json.gz", "rt") as file:
        events = json.load(file)["traceEvents"]
    assert sum(event.get("cat") == "kernel" for event in events) >= RECORDED_STEPS
    assert "aten::mm" in (tmp_path / "profile" / "rank-0.txt").read_text()
