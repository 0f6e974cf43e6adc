"""Training batches from a position in the data onwards, for one rank of any number of them.

    SampleOrder (position -> sample) -> ReadAhead (bytes) -> Loader (pictures, ids) -> pieces of each worker -> Batch

A global batch is a run of consecutive positions. Rank r of W takes those with position % W == r and its worker w of
n those with position // W % n == w, so that lanes of the order stay with workers; which worker loads what changes
nothing about what comes out. The stream has no state besides the position that the caller holds.
"""

import gc
import multiprocessing
import signal
import weakref
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from mammut_clip.config.cluster import available_cores
from mammut_clip.config.data import DataConfig
from mammut_clip.config.errors import InputError
from mammut_clip.data.order.sample_order import DatasetCounts, SampleOrder
from mammut_clip.data.shards.index import ShardIndex
from mammut_clip.data.shards.storage import ShardStorage
from mammut_clip.data.stream.background import iterate_ahead
from mammut_clip.data.stream.batch import Batch, StageSeconds
from mammut_clip.data.stream.loader import Loader, Piece, Share
from mammut_clip.data.tokenizer import Tokenizer

_BATCHES_AHEAD = 2
_STOPS = (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
_GRACE = 600
"""Seconds that a worker outlives a SIGTERM: the trainer gets the same signal and still needs it for its last step."""
_LAST_SECONDS = 5.0
"""How long a killed worker is waited for: one that hangs in the kernel does not even hear that."""


@dataclass(frozen=True)
class _Failure:
    """What a worker ran into. Raised there, it would arrive wrapped in that worker's traceback."""

    message: str


class _WorkerPieces(IterableDataset[Piece | _Failure]):
    """What each worker process of the DataLoader iterates over."""

    def __init__(self, loader: Loader, share: Share, start: int, stop: int) -> None:
        self._loader, self._share, self._start, self._stop = loader, share, start, stop

    def __iter__(self) -> Iterator[Piece | _Failure]:
        info = get_worker_info()
        assert info is not None
        share = Share(
            self._share.global_batch_size, self._share.rank, self._share.world_size, info.id, info.num_workers
        )
        try:
            yield from self._loader.pieces(share, self._start, self._stop)
        except InputError as error:
            yield _Failure(str(error))


class Batches(Iterator[Batch]):
    """Batches in order. `close` ends the processes and threads behind them, as does the end, an error, the loss of the
    last reference, and the exit of the program."""

    def __init__(self, batches: Iterator[Batch], end: Callable[[], None]) -> None:
        self._batches = batches
        self._end = weakref.finalize(self, end)

    def __next__(self) -> Batch:
        try:
            return next(self._batches)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End what is behind them; once is enough."""
        self._end()


class TrainStream:
    """Batches of one rank."""

    def __init__(
        self,
        index: ShardIndex,
        order: SampleOrder,
        loader: Loader,
        global_batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
    ) -> None:
        """Raises InputError where the global batch cannot be shared evenly among the ranks."""
        if not 0 <= rank < world_size:
            raise InputError(f"rank {rank} of {world_size}: expected 0 <= rank < world size")
        if global_batch_size < 1 or global_batch_size % world_size:
            raise InputError(f"global batch of {global_batch_size} over {world_size} ranks: expected equal whole parts")
        self.index, self.order = index, order
        self._loader, self._workers = loader, workers
        self._share = Share(global_batch_size, rank, world_size)

    def batches(self, start: int, stop: int) -> "Batches":
        """This rank's part of each global batch between two positions.

        Raises InputError where the positions are not multiples of the global batch, where a shard cannot be read,
        and where there is nothing to put in the place of bad samples.
        """
        size = self._share.global_batch_size
        if start % size or stop % size or not 0 <= start <= stop:
            raise InputError(
                f"batches from position {start} to {stop}: expected multiples of the global batch size {size}, in order"
            )
        gpu = torch.cuda.current_device() if torch.cuda.is_available() else None
        if self._workers == 0:
            alone = self._loader.pieces(self._share, start, stop)
            mine = self._assemble(([piece] for piece in alone), start, stop, 1, gpu)
            return Batches(mine, mine.close)
        loader: DataLoader[Any] = DataLoader(
            _WorkerPieces(self._loader, self._share, start, stop),
            batch_size=None,
            num_workers=self._workers,
            prefetch_factor=_BATCHES_AHEAD,
            worker_init_fn=_settle_in,
        )
        # The workers start here, in the main thread; another one puts their pieces together while the model computes.
        others = set(multiprocessing.active_children())
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)  # which they inherit, until they have settled in
        try:
            pieces = iter(loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        workers = set(multiprocessing.active_children()) - others
        assembled = self._assemble(_groups(pieces, self._workers), start, stop, self._workers, gpu)
        batches = iterate_ahead(assembled, _BATCHES_AHEAD)
        return Batches(batches, partial(_end, batches, pieces, workers))

    def _assemble(
        self, groups: Iterator[list[Piece]], start: int, stop: int, workers: int, gpu: int | None
    ) -> Generator[Batch, None, None]:
        if gpu is not None:
            torch.cuda.set_device(gpu)  # a new thread's is 0, where pinning would make a context for every rank
        share = self._share
        size, world = share.global_batch_size, share.world_size
        shares = [Share(size, share.rank, world, worker, workers) for worker in range(workers)]
        for begin, pieces in zip(range(start, stop, size), groups, strict=True):
            rows = [one.rows(begin) for one in shares]
            yield _batch(pieces, rows, range(begin + share.rank, begin + size, world), pin=gpu is not None)


def _end(batches: Generator[Batch, None, None], pieces: Any, workers: set[BaseProcess]) -> None:
    """End the thread and the DataLoader's workers; by force where a read hangs, which would hold up the whole exit."""
    batches.close()
    pieces._shutdown_workers()  # otherwise it waits for the last reference, which an error's traceback can hold
    for worker in workers:
        if worker.is_alive():
            worker.kill()
            worker.join(_LAST_SECONDS)


def _groups(pieces: Iterator[Piece | _Failure], workers: int) -> Iterator[list[Piece]]:
    """The pieces of one batch at a time; the DataLoader takes from its workers in turn."""
    group: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, _Failure):
            raise InputError(piece.message)
        group.append(piece)
        if len(group) == workers:
            yield group
            group = []


def _batch(pieces: list[Piece], rows: list[range], positions: range, *, pin: bool) -> Batch:
    images, ids = pieces[0].images, pieces[0].ids
    if len(pieces) > 1 or pin:
        images = torch.empty((len(positions), *images.shape[1:]), dtype=images.dtype, pin_memory=pin)
        ids = torch.empty((len(positions), *ids.shape[1:]), dtype=ids.dtype, pin_memory=pin)
        for piece, mine in zip(pieces, rows, strict=True):
            if mine:
                images[mine.start :: mine.step] = piece.images
                ids[mine.start :: mine.step] = piece.ids
    bad = sorted((sample for piece in pieces for sample in piece.bad), key=lambda sample: sample.position)
    seconds = StageSeconds()
    for piece in pieces:
        seconds.add(piece.seconds)
    return Batch(images.permute(0, 3, 1, 2), ids, positions, bad, seconds)


def _settle_in(_: int) -> None:
    """What each worker does first.

    Signals that tell a job to stop reach workers too; the trainer still needs them for the step it is in. And what
    they share with the trainer stays shared: a garbage collection would copy its pages.
    """
    for number in _STOPS:
        signal.signal(number, _outlive if number == signal.SIGTERM else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    gc.freeze()


def _outlive(*_: object) -> None:
    signal.alarm(_GRACE)


def open_index(config: DataConfig, progress: Callable[[int, int], None] | None = None) -> ShardIndex:
    """The index of a run's data; walks shards that are in no index yet, telling `progress(done, total)`.

    Raises InputError for missing or damaged shards.
    """
    storage = ShardStorage(config.reading, config.cache)
    workers = min(8, available_cores())
    return ShardIndex.open(config.datasets, storage, folder=config.index, progress=progress, workers=workers)


def open_train_stream(
    config: DataConfig,
    tokenizer: Tokenizer,
    *,
    image_size: int,
    seed: int,
    global_batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    index: ShardIndex | None = None,
) -> TrainStream:
    """The stream that a run's config describes, read through its index's storage; `index` where it is open already.

    Raises as `open_index`.
    """
    if index is None:
        index = open_index(config)
    counts = [DatasetCounts(index.counts[d.first : d.stop], d.weight) for d in index.datasets]
    order = SampleOrder(counts, seed, config.shuffle, config.sampling)
    loader = Loader(config, index, index.storage, order, tokenizer, image_size=image_size, seed=seed)
    return TrainStream(index, order, loader, global_batch_size, rank, world_size, config.workers)
