"""Work on many items, shared by the processes of a job, each item done exactly once.

Batch b holds the same items on any number of processes and is done by one of them, whole: so that a result does not
depend, to its last digit, on how many took part. Nothing is padded, and no process waits for another before the end.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from mammut_clip.config.errors import InputError
from mammut_clip.distributed import Process
from mammut_clip.distributed.collectives import from_main

L = TypeVar("L")
R = TypeVar("R")
Rows = dict[str, Tensor]
"""Tensors whose first dimension counts the same items."""
Progress = Callable[[int, int], None]
"""Called on rank 0 with (items done, items in all)."""

_BATCHES_AHEAD = 4
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shared:
    """The processes that share the work, and how each reads."""

    process: Process
    threads: int = 1
    """Threads per process that read and decode while the model computes."""
    progress: Progress = lambda done, total: None

    def rows(self, count: int, batch_size: int, load: Callable[[int], L], compute: Callable[[list[L]], Rows]) -> Rows:
        """The rows of items 0 to `count` - 1 in order, on the CPU of rank 0; on other ranks tensors without rows.

        `load(number)` runs in threads; `compute` turns what was loaded into one row per item. Collective, and raises as
        `batches`.
        """
        batches = self.batches(count, batch_size, load, compute)
        mine = {key: torch.cat([rows[key].cpu() for rows in batches]) for key in (batches[0] if batches else {})}
        return self._gather(mine, count, batch_size) if self.process.world_size > 1 else mine

    def total(self, count: int, batch_size: int, load: Callable[[int], L], compute: Callable[[list[L]], Rows]) -> Rows:
        """The sums over batches of the tensors that `compute` gives, the same on every rank; otherwise as `rows`.

        Exact on any number of processes for integers, and for floats that are sums of few bits; `count` >= 1.
        """
        batches = self.batches(count, batch_size, load, compute)
        spec = from_main({key: (value.shape, value.dtype) for key, value in batches[0].items()} if batches else None)
        totals: Rows = {}
        for key, (shape, dtype) in spec.items():
            own = [batch[key].cpu() for batch in batches]
            totals[key] = torch.stack(own).sum(0).to(dtype) if own else torch.zeros(shape, dtype=dtype)
            if self.process.world_size > 1:
                dist.all_reduce(totals[key])
        return totals

    def objects(
        self, count: int, batch_size: int, load: Callable[[int], L], compute: Callable[[list[L]], Sequence[R]]
    ) -> list[R]:
        """As `rows`, for what is no tensor: one object per item, in order, on rank 0; on other ranks none."""
        batches = self.batches(count, batch_size, load, compute)
        if self.process.world_size == 1:
            return [item for batch in batches for item in batch]
        gathered: list[Any] = [None] * self.process.world_size
        dist.gather_object(batches, gathered if self.process.is_main else None)
        return [item for _, part in _in_order(gathered) for item in part] if self.process.is_main else []

    def batches(
        self, count: int, batch_size: int, load: Callable[[int], L], compute: Callable[[list[L]], R]
    ) -> list[R]:
        """What `compute` gives for each of this rank's batches. Collective; an error of any kind, on any rank, becomes
        an InputError on all of them, and the earliest batch's is chosen."""
        done: list[R] = []
        failed: tuple[int, str] | None = None
        starts = range(self.process.rank * batch_size, count, self.process.world_size * batch_size)
        ranges = [range(start, min(start + batch_size, count)) for start in starts]
        try:
            for numbers, loaded in self._loaded(ranges, load):
                with torch.no_grad():
                    done.append(compute(loaded))
                if self.process.is_main:
                    self.progress(min(count, numbers.start + self.process.world_size * batch_size), count)
        except InputError as error:
            failed = (len(done), str(error))
        except Exception as error:  # memory that runs out, say: the other ranks must hear of it, or they wait for ever
            _logger.exception("rank %d met an error in a task", self.process.rank)
            failed = (len(done), f"{type(error).__name__}: {error}")
        self._raise_first(failed)
        return done

    def _loaded(self, ranges: list[range], load: Callable[[int], L]) -> Iterator[tuple[range, list[L]]]:
        if not ranges:
            return
        pool = ThreadPoolExecutor(max(1, self.threads), thread_name_prefix="decode")
        try:
            ahead: deque[tuple[range, list[Future[L]]]] = deque()
            for numbers in ranges:
                ahead.append((numbers, [pool.submit(load, number) for number in numbers]))
                if len(ahead) > _BATCHES_AHEAD:
                    earliest, futures = ahead.popleft()
                    yield earliest, [future.result() for future in futures]
            while ahead:
                earliest, futures = ahead.popleft()
                yield earliest, [future.result() for future in futures]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _raise_first(self, failed: tuple[int, str] | None) -> None:
        """Raise the earliest batch's InputError on every rank, whichever met it."""
        world, rank = self.process.world_size, self.process.rank
        met = [None if failed is None else (failed[0] * world + rank, failed[1])]
        if world > 1:
            met = [None] * world
            dist.all_gather_object(met, None if failed is None else (failed[0] * world + rank, failed[1]))
        errors = sorted(error for error in met if error is not None)
        if errors:
            raise InputError(errors[0][1])

    def _gather(self, mine: Rows, count: int, batch_size: int) -> Rows:
        """Rank 0's tensors with the rows of all, in order."""
        spec = from_main({key: (value.shape[1:], value.dtype) for key, value in mine.items()})
        world, rank = self.process.world_size, self.process.rank
        order = [torch.arange(count)[(torch.arange(count) // batch_size) % world == r] for r in range(world)]
        most = max(len(numbers) for numbers in order)
        gathered: Rows = {}
        for key, (shape, dtype) in spec.items():
            padded = torch.zeros(most, *shape, dtype=dtype)
            if len(order[rank]):
                padded[: len(order[rank])] = mine[key]
            parts = [torch.empty_like(padded) for _ in range(world)] if rank == 0 else None
            dist.gather(padded, parts)
            gathered[key] = torch.empty(count if rank == 0 else 0, *shape, dtype=dtype)
            for numbers, part in zip(order, parts or [], strict=False):
                gathered[key][numbers] = part[: len(numbers)]
        return gathered


def _in_order(gathered: list[list[R]]) -> list[tuple[int, R]]:
    """(number, batch) of all ranks' batches, by number."""
    world = len(gathered)
    numbered = [(i * world + rank, batch) for rank, batches in enumerate(gathered) for i, batch in enumerate(batches)]
    return sorted(numbered, key=lambda pair: pair[0])
