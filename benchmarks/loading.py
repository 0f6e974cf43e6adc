"""A job of loading batches, and the clock that all sides of benchmarks/data.py run under.

Imports nothing of ours, so that the peers' interpreter can run it too.
"""

import gc
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

Side = Literal["pil", "fast", "open_clip_train", "webdataset"]
"""The first two are ours."""
_PATIENCE = 60.0
"""Seconds in which workers have to end."""


@dataclass(frozen=True)
class Job:
    """What one child process is to load, after one batch that is not timed."""

    side: Side
    folder: str
    shards: int
    """00000.tar, 00001.tar, ..."""
    batch: int
    batches: int
    workers: int
    image_size: int
    crop_scale: tuple[float, float]


@dataclass(frozen=True)
class Loading:
    """What loading took."""

    seconds: float
    """From opening the shards to the last batch."""
    cpu_seconds: float
    """User and system time of the process and its workers, which have ended."""
    mean_pixel: float
    """Of the last batch, 0 to 1."""
    mean_tokens: float
    """Ids other than 0 in a caption of the last batch."""
    stages: dict[str, float]
    """Seconds by stage, summed over workers; empty where a side does not tell."""


@dataclass(frozen=True)
class Clocked:
    """What `clocked` found."""

    images: Any
    """Tensor [B, 3, S, S] of the last batch."""
    ids: Any
    """Tensor [B, T] of the last batch."""
    seconds: float
    cpu_seconds: float


def clocked(load: Callable[[], Iterable[tuple[Any, Any]]], batches: int, rows: int) -> Clocked:
    """Go through the (images, ids) of a loader until its workers have ended.

    Raises RuntimeError unless that many batches of that many rows came.
    """
    started, used = time.perf_counter(), _cpu_seconds()
    loader = load()
    last: Any = ()
    lengths = []
    for last in loader:
        lengths.append(len(last[0]))
    seconds = time.perf_counter() - started
    del loader
    gc.collect()  # lets go of workers that stay for another epoch
    while (workers := multiprocessing.active_children()) and time.perf_counter() - started < seconds + _PATIENCE:
        time.sleep(0.01)
    if workers or lengths != [rows] * batches:
        raise RuntimeError(
            f"expected {batches} batches of {rows} and no worker left, found {lengths} and {len(workers)} workers"
        )
    images, ids = last
    return Clocked(images, ids, seconds, _cpu_seconds() - used)


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
