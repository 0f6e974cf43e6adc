"""One worker's share of each batch: bytes -> pictures and token ids, with other samples in the place of bad ones."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mammut_clip.config.data import DataConfig
from mammut_clip.config.errors import InputError
from mammut_clip.data.bad_samples import Bad, BadSample, BadSampleError
from mammut_clip.data.captions import CaptionReader
from mammut_clip.data.decode import TrainDecoder
from mammut_clip.data.order.sample_order import SampleOrder
from mammut_clip.data.shards.index import ShardIndex
from mammut_clip.data.shards.rows import IMAGE_EXTENSIONS
from mammut_clip.data.shards.storage import ShardStorage
from mammut_clip.data.stream.batch import StageSeconds
from mammut_clip.data.stream.read_ahead import Coming, ReadAhead
from mammut_clip.data.stream.sample_reader import Place, RawSample, SampleReader
from mammut_clip.data.tokenizer import Tokenizer

_TRIES = 100
"""Samples that are tried in the place of a bad one, before the data is taken to hold nothing usable."""


@dataclass(frozen=True)
class Share:
    """The positions of one worker of one rank: every `step`-th from `first`, in batches of `batch`.

    With W ranks and n workers it is those with position % W == rank and position // W % n == worker: always the same
    residue modulo W n, and so, where that divides the number of lanes, always the same lanes.
    """

    global_batch_size: int
    rank: int
    world_size: int
    worker: int = 0
    workers: int = 1

    def positions(self, start: int, stop: int) -> range:
        """Between two multiples of the global batch size."""
        step = self.world_size * self.workers
        first = self.rank + self.world_size * self.worker
        return range(start + (first - start) % step, stop, step)

    def rows(self, start: int) -> range:
        """Which rows of the rank's part of the batch that starts at `start` these are."""
        rank_rows = self.global_batch_size // self.world_size
        return range((self.worker - start // self.world_size) % self.workers, rank_rows, self.workers)


@dataclass
class Piece:
    """One worker's rows of one batch."""

    images: Tensor
    """uint8 [b, H, W, 3]."""
    ids: Tensor
    """int64 [b, T]."""
    bad: list[BadSample] = field(default_factory=list)
    seconds: StageSeconds = field(default_factory=StageSeconds)


class Loader:
    """Everything that makes pieces out of positions; each process that has a copy opens its own files."""

    def __init__(
        self,
        config: DataConfig,
        index: ShardIndex,
        storage: ShardStorage,
        order: SampleOrder,
        tokenizer: Tokenizer,
        *,
        image_size: int,
        seed: int,
    ) -> None:
        self._config, self._index, self._order, self._tokenizer = config, index, order, tokenizer
        self._storage = storage
        self._size = image_size
        self._decoder = TrainDecoder(image_size, config.crop_scale, config.decode, config.filters, config.bad_samples)
        self._captions = CaptionReader(config.captions, config.filters, seed)

    def pieces(self, share: Share, start: int, stop: int) -> Iterator[Piece]:
        """The share's part of each global batch between two positions. Raises InputError."""
        reader = SampleReader(
            self._index, self._storage, text=self._captions.needs_text, record=self._captions.needs_json
        )
        rows = -(-share.global_batch_size // (share.world_size * share.workers))
        ahead = ReadAhead(
            reader,
            self._order,
            share.positions(start, stop),
            soon=max(32, min(2 * rows, 512)),
            ahead=max(1, self._config.reading.ahead // share.workers),
            stuck_after=self._config.reading.stuck_after,
        )
        try:
            for batch in range(start, stop, share.global_batch_size):
                yield self._piece(ahead, len(share.rows(batch)))
        finally:
            ahead.close()

    def _piece(self, ahead: ReadAhead, rows: int) -> Piece:
        began = time.perf_counter()
        seconds = StageSeconds()
        samples = ahead.take(rows)
        seconds.read = time.perf_counter() - began
        images = np.empty((rows, self._size, self._size, 3), dtype=np.uint8)
        captions: list[str] = []
        bad: list[BadSample] = []
        for image, sample in zip(images, samples, strict=True):
            captions.append(self._load(sample, image, ahead, bad, seconds))
        tokenizing = time.perf_counter()
        ids = self._tokenizer(captions) if captions else torch.empty((0, self._tokenizer.context_length)).long()
        ended = time.perf_counter()
        seconds.tokenize = ended - tokenizing
        seconds.other = ended - began - seconds.read - seconds.decode - seconds.resize - seconds.tokenize
        return Piece(torch.from_numpy(images), ids, bad, seconds)

    def _load(
        self, sample: Coming, image: np.ndarray, ahead: ReadAhead, bad: list[BadSample], seconds: StageSeconds
    ) -> str:
        """Draw the sample, or another in its place, into `image`, uint8 [H, W, 3]; its caption."""
        assert sample.raw is not None
        place, raw = sample.place, sample.raw
        for attempt in range(1, _TRIES + 1):
            try:
                return self._use(raw, sample, image, seconds)
            except BadSampleError as error:
                bad.append(self._describe(sample.position, place, error))
            place = Place(*self._order.replacement(sample.position, attempt))
            waiting = time.perf_counter()
            raw = ahead.read_now(place)
            seconds.read += time.perf_counter() - waiting
        last = bad[-1]
        raise InputError(
            f"{_TRIES} samples in the place of the one at position {sample.position} were all bad; the last is sample "
            f"{last.key!r} of {last.shard} ({last.kind}: {last.reason}). Look at the data with `mammut-clip data check "
            "--decode`, or loosen data.filters"
        )

    def _use(self, raw: RawSample, sample: Coming, image: np.ndarray, seconds: StageSeconds) -> str:
        if raw.problem is not None:
            raise raw.problem
        if raw.image is None:
            raise BadSampleError(Bad.NO_PICTURE, f"no member .{', .'.join(IMAGE_EXTENSIONS)}")
        caption = self._captions.read(raw.text, raw.record, sample.position)
        self._decoder.into(raw.image, sample.augmentation_seed, image, seconds)
        return caption

    def _describe(self, position: int, place: Place, error: BadSampleError) -> BadSample:
        key = self._index.key(place.shard, place.sample)
        return BadSample(
            position, error.kind, self._index.dataset_of(place.shard), self._index.url(place.shard), key, error.reason
        )
