"""How long training stood still at one place of the loop."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Waiting:
    """Adds up the time spent inside `with waiting.here():`.

    On a CPU that is wall time. On a GPU the loop runs ahead of the device, and its own waiting costs nothing as long as
    the device is busy: there the time counts in which the device had nothing to do, between two events of its stream.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._seconds = 0.0
        self._pairs: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()  # not yet reached by the device

    @contextmanager
    def here(self) -> Iterator[None]:
        """What happens inside the block is waited for."""
        if self._on_gpu:
            before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            before.record()
            yield
            after.record()
            self._pairs.append((before, after))
            self._add_up()
        else:
            began = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - began

    def take(self) -> float:
        """Seconds since this was last called. Waits for the device."""
        if self._pairs:
            self._pairs[-1][1].synchronize()
            self._add_up()
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def _add_up(self) -> None:
        while self._pairs and self._pairs[0][1].query():
            before, after = self._pairs.popleft()
            self._seconds += before.elapsed_time(after) / 1000
