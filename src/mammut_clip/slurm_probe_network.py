"""What the probe's ranks measure together: sums, bandwidth, clocks, GPUs."""

import time

import torch
import torch.distributed as dist

from mammut_clip.distributed.process import Process
from mammut_clip.slurm.doctor.reports import RankReport

_GLOO_BYTES = (1_000_000, 16_000_000, 64_000_000)
_NCCL_BYTES = (16_000_000, 256_000_000, 1_000_000_000)
_SECONDS = 0.5
"""Of each size."""
_PINGS = 20


def sum_is_right(process: Process) -> bool:
    """Whether the ranks, summed by the backend that training uses, give what they must."""
    value = torch.full((1000,), float(process.rank + 1), device=process.device)
    if process.world_size > 1:
        dist.all_reduce(value)
    return bool((value == process.world_size * (process.world_size + 1) / 2).all())


def names_of_nodes(report: RankReport) -> list[str]:
    """The node of every rank."""
    names: list[str] = [report.node] * report.world_size
    if report.world_size > 1:
        dist.all_gather_object(names, report.node)
    return names


def see_gpus(report: RankReport, process: Process) -> None:
    """The GPUs that this rank sees, and which one it takes."""
    if process.device.type != "cuda":
        return
    report.gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    report.gpu_id = str(torch.cuda.get_device_properties(process.device).uuid)


def measure_bandwidth(report: RankReport, process: Process) -> None:
    """GB/s of all_reduce: what each rank's link carries, 2 (n - 1) / n of the bytes, over the time of the slowest."""
    if report.world_size == 1:
        return
    report.bandwidth["gloo"] = {size: _bandwidth(size, torch.device("cpu"), process) for size in _GLOO_BYTES}
    if process.device.type == "cuda":
        report.bandwidth["nccl"] = {size: _bandwidth(size, process.device, process) for size in _NCCL_BYTES}


def _bandwidth(size: int, device: torch.device, process: Process) -> float:
    values = torch.ones(size // 4, device=device)
    dist.all_reduce(values)  # connections are made at the first
    once = _slowest(_seconds_of(values, 1))
    rounds = max(1, min(100, int(_SECONDS / max(once, 1e-6))))
    per_round = _slowest(_seconds_of(values, rounds)) / rounds
    return 2 * (process.world_size - 1) / process.world_size * size / per_round / 1e9


def _seconds_of(values: torch.Tensor, rounds: int) -> float:
    began = time.perf_counter()
    for _ in range(rounds):
        dist.all_reduce(values)
    if values.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _slowest(seconds: float) -> float:
    value = torch.tensor([seconds], dtype=torch.float64)
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return float(value)


def measure_clock(report: RankReport, nodes: list[str]) -> None:
    """How far each node's clock is from rank 0's: its first rank asks rank 0 for the time, and takes the quickest."""
    first_ranks = [nodes.index(node) for node in dict.fromkeys(nodes)]
    for other in first_ranks[1:]:
        if report.rank == 0:
            _tell_time(other)
        elif report.rank == other:
            report.clock_offset, report.clock_error = _ask_time()


def _tell_time(other: int) -> None:
    for _ in range(_PINGS):
        dist.recv(torch.zeros(1), src=other)
        dist.send(torch.tensor([time.time()], dtype=torch.float64), dst=other)


def _ask_time() -> tuple[float, float]:
    """(seconds ahead of rank 0, how far off that may be)."""
    found = []
    for _ in range(_PINGS):
        theirs = torch.zeros(1, dtype=torch.float64)
        before = time.time()
        dist.send(torch.zeros(1), dst=0)
        dist.recv(theirs, src=0)
        after = time.time()
        found.append(((after - before) / 2, (before + after) / 2 - float(theirs)))
    error, offset = min(found)
    return offset, error
