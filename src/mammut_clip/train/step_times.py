"""How long steps take, and how much memory: what a process measures of itself."""

import resource
import sys
import time
from collections import deque
from pathlib import Path

import torch


class StepTimes:
    """The seconds of each step, from the end of one to the end of the next, without pauses.

    On a CPU that is wall time. On a GPU the loop runs ahead of the device: there it is the time between two events of
    the device's stream, which are read when it has passed them, so that nothing waits for it but `take` and `total`.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._seconds: list[float] = []
        self._pairs: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()  # not yet reached by the device
        self.restart()

    def restart(self) -> None:
        """The next step begins now: what happened since the end of the last one is in none."""
        self._began = time.perf_counter()
        if self._on_gpu:
            self._event = self._record()

    def end_step(self) -> None:
        """A step ends here, and the next one begins."""
        if self._on_gpu:
            event = self._record()
            self._pairs.append((self._event, event))
            self._event = event
            self._collect()
        else:
            now = time.perf_counter()
            self._seconds.append(now - self._began)
            self._began = now

    def total(self) -> float:
        """The seconds of all steps since `take` was last called. Waits for the device."""
        if self._pairs:
            self._pairs[-1][1].synchronize()
            self._collect()
        return sum(self._seconds)

    def take(self) -> list[float]:
        """The seconds of each step since this was last called. Waits for the device."""
        self.total()
        seconds, self._seconds = self._seconds, []
        return seconds

    def _record(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _collect(self) -> None:
        while self._pairs and self._pairs[0][1].query():
            before, after = self._pairs.popleft()
            self._seconds.append(before.elapsed_time(after) / 1000)


def peak_memory_gb(device: torch.device) -> float:
    """The most memory, in GB (1e9 bytes), that this process has held: tensors on a GPU; on a CPU all that is resident,
    without the processes that load its data."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    try:  # not getrusage, which also knows of what this process was before it became this program
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9
    except (OSError, IndexError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024) / 1e9
