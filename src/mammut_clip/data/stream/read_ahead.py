"""The bytes of one worker's samples in the order of their positions, read before they are needed.

Positions take from many lanes in turn, and each lane reads a shard from front to back in windows that are shuffled.
When the first sample of a window is wanted soon, all samples of the window that the coming positions need are read
with it, in the order in which they stand in the shard: a few large sequential reads instead of many small ones. How
far it looks is bounded in bytes, and grows from little, so that the first batch does not wait for what comes later.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from mammut_clip.config.errors import InputError
from mammut_clip.data.order.sample_order import SampleOrder
from mammut_clip.data.stream.background import Job, JobPool
from mammut_clip.data.stream.sample_reader import Place, RawSample, SampleReader

_THREADS = 4
_JOB_BYTES = 4 << 20
_GUESS = 32 << 10
"""Bytes of a sample, as long as none has been read."""
_SPAN = 4096
"""Positions whose samples are looked up together."""


class StuckReadError(InputError):
    """A read that neither succeeded nor failed for too long."""


@dataclass(slots=True)
class Coming:
    """A sample that will be needed at a position."""

    position: int
    place: Place
    window: int
    augmentation_seed: int
    job: Job[None] | None = None
    raw: RawSample | None = None


class ReadAhead:
    """An iterator over the samples at `positions`. Starts threads at the first sample; close it when done."""

    def __init__(
        self, reader: SampleReader, order: SampleOrder, positions: range, *, soon: int, ahead: int, stuck_after: float
    ) -> None:
        """`soon`: samples that are always being read before they are asked for; `ahead`: bytes of all that is read
        before; `stuck_after`: seconds."""
        self._reader, self._order, self._positions = reader, order, positions
        self._soon, self._ahead, self._stuck_after = max(1, soon), ahead, stuck_after
        self._looked_up = self._look_up()
        self._coming: deque[Coming] = deque()  # looked at; the first `_started` of them have a job
        self._started = 0
        self._waiting: dict[int, list[Coming]] = {}  # by window, those without a job
        self._jobs: deque[Job[None]] = deque()
        self._taken = 0
        self._mean_bytes = float(_GUESS)
        self._pool: JobPool | None = None

    def take(self, count: int) -> list[Coming]:
        """The next `count` samples, with their bytes.

        Raises StuckReadError, or the InputError of a shard that cannot be read.
        """
        self._start_jobs(count + self._soon)
        taken = [self._coming.popleft() for _ in range(min(count, len(self._coming)))]
        self._started -= len(taken)
        for sample in taken:
            assert sample.job is not None
            self._finish(sample.job)
        self._taken += len(taken)
        self._learn_size(taken)
        return taken

    def read_now(self, place: Place) -> RawSample:
        """One sample out of turn. Raises as `take`."""
        found: list[RawSample] = []
        job: Job[None] = Job(lambda job: found.extend(self._reader.read([place], job.now_doing)))
        self._finish(self._submit(job))
        return found[0]

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.close()

    def _look_up(self) -> Iterator[Coming]:
        # the first stretches are short: what stands at the start of a window costs a permutation
        start, length = 0, self._soon
        while start < len(self._positions):
            positions = self._positions[start : start + length]
            span = self._order.span(positions)
            columns = (span.shard, span.sample, span.window, span.augmentation_seed)
            for position, shard, sample, window, seed in zip(
                positions, *(column.tolist() for column in columns), strict=True
            ):
                yield Coming(position, Place(shard, sample), window, seed)
            start, length = start + len(positions), min(_SPAN, 2 * length)

    def _look_ahead(self, needed: int) -> None:
        """Look at as many coming samples as fit into the bytes allowed, and at least at `needed`."""
        grown = needed + 2 * self._taken
        fits = int(self._ahead / self._mean_bytes)
        for sample in islice(self._looked_up, max(0, max(needed, min(grown, fits)) - len(self._coming))):
            self._coming.append(sample)
            if sample.window >= 0:
                self._waiting.setdefault(sample.window, []).append(sample)

    def _start_jobs(self, needed: int) -> None:
        if self._started >= needed:
            return
        self._look_ahead(needed)
        wanted: list[Coming] = []
        for sample in islice(self._coming, self._started, needed):
            if sample.job is None:
                group = [sample] if sample.window < 0 else self._waiting.pop(sample.window, [])
                wanted.extend(other for other in group if other.job is None)
        for bundle in self._bundles(wanted):
            job: Job[None] = self._submit(Job(partial(self._read, bundle)))
            for sample in bundle:
                sample.job = job
        self._started = max(self._started, min(needed, len(self._coming)))

    def _bundles(self, samples: list[Coming]) -> Iterator[list[Coming]]:
        """Samples in the order of their shards, in parts of a few megabytes."""
        per_job = max(1, int(_JOB_BYTES / self._mean_bytes))
        samples.sort(key=lambda sample: sample.place)
        for start in range(0, len(samples), per_job):
            yield samples[start : start + per_job]

    def _read(self, bundle: list[Coming], job: Job[None]) -> None:
        raw = self._reader.read([sample.place for sample in bundle], job.now_doing)
        for sample, found in zip(bundle, raw, strict=True):
            sample.raw = found

    def _submit(self, job: Job[None]) -> Job[None]:
        if self._pool is None:
            self._pool = JobPool(_THREADS)
        self._jobs.append(job)
        return self._pool.submit(job)

    def _finish(self, job: Job[None]) -> None:
        """Wait for a job, as long as reads go on."""
        turn = min(1.0, self._stuck_after / 4)
        while not job.wait(turn):
            for busy in self._jobs:
                if busy.is_stuck(self._stuck_after, turn):
                    raise StuckReadError(
                        f"{busy.doing}: a read has neither succeeded nor failed for {self._stuck_after:g} s; check the "
                        "file system or the network, or raise data.reading.stuck_after"
                    )
        while self._jobs and self._jobs[0].wait(0):
            self._jobs.popleft()
        job.result()

    def _learn_size(self, taken: list[Coming]) -> None:
        sizes = [sum(len(part) for part in s.raw[:3] if part is not None) for s in taken if s.raw is not None]
        if sizes:
            weight = min(1.0, len(sizes) / 1000) if self._taken > len(sizes) else 1.0
            self._mean_bytes += weight * (max(1.0, sum(sizes) / len(sizes)) - self._mean_bytes)
