"""A few steps under PyTorch's profiler: `--profile`.

<run>/profile/rank-N.json.gz is a trace of rank N for https://ui.perfetto.dev or chrome://tracing; rank-0.txt beside it
is a table of the costliest operations.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.profiler import ProfilerActivity

from mammut_clip.config.atomic import disk_errors, write_text
from mammut_clip.distributed import Process
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.logs import tell

SKIPPED_STEPS = 5
"""Steps of an attempt before the profiler looks: they compile kernels, fill caches and set up communication."""
WARM_UP_STEPS = 2
"""Steps in which it looks and keeps nothing: the first that it sees are slower."""
RECORDED_STEPS = 3

_ROWS = 30
"""Operations in the table."""


class Profile:
    """Told of the end of each step."""

    def __init__(self, profiler: torch.profiler.profile | None) -> None:
        self._profiler = profiler
        self._left = SKIPPED_STEPS + WARM_UP_STEPS + RECORDED_STEPS

    @property
    def is_complete(self) -> bool:
        """Whether all that was to be recorded is written."""
        return self._left == 0

    def step(self) -> None:
        """A step has ended. Writes the files after the last one that is recorded."""
        if self._profiler is not None and self._left:
            self._profiler.step()
            self._left -= 1


@contextmanager
def profiling(run: RunDir, process: Process, enabled: bool) -> Iterator[Profile]:
    """The steps of the block, some of them recorded if `enabled`. Each rank writes its own files.

    A run that ends too early leaves what there is, or says that there is nothing. Raises DiskFullError where there is
    no room.
    """
    if not enabled:
        yield Profile(None)
        return

    def write(profiler: torch.profiler.profile) -> None:
        _write(profiler, run, process)

    activities = [ProfilerActivity.CPU]
    if process.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    when = torch.profiler.schedule(
        skip_first=SKIPPED_STEPS, wait=0, warmup=WARM_UP_STEPS, active=RECORDED_STEPS, repeat=1
    )
    with torch.profiler.profile(activities=activities, schedule=when, on_trace_ready=write) as profiler:
        profile = Profile(profiler)
        yield profile
    if process.is_main and not profile.is_complete:
        needed = SKIPPED_STEPS + WARM_UP_STEPS + RECORDED_STEPS
        tell(f"profile: this attempt ended before {RECORDED_STEPS} steps were recorded; that takes {needed} steps")


def _write(profiler: torch.profiler.profile, run: RunDir, process: Process) -> None:
    folder = run.path / "profile"
    trace = folder / f"rank-{process.rank}.json.gz"
    unfinished = trace.with_name(f".{trace.name}")  # its ending makes it gzip
    with disk_errors(trace):
        folder.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(unfinished))
        unfinished.replace(trace)
    if process.is_main:
        by = "self_cuda_time_total" if process.device.type == "cuda" else "self_cpu_time_total"
        table = profiler.key_averages().table(sort_by=by, row_limit=_ROWS, max_name_column_width=80)
        write_text(folder / "rank-0.txt", table)
        tell(f"profile: {RECORDED_STEPS} steps in {folder}; open the traces in https://ui.perfetto.dev")
