"""Training batches from a position in the data onwards, for one rank of any number of them.

A global batch is a run of consecutive positions of the SampleOrder; rank r of W takes its r-th part. Workers
only read ahead: batches are the same, in the same order, for every number of ranks and workers, and the
stream has no state besides the position that the caller holds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mammut_clip.config.data import DataConfig
from mammut_clip.config.errors import InputError
from mammut_clip.data.images import PictureError, TrainTransform, open_picture, to_rgb
from mammut_clip.data.index import ShardIndex
from mammut_clip.data.order import SampleOrder
from mammut_clip.data.reader import ShardReader
from mammut_clip.data.text import Tokenizer


@dataclass
class Batch:
    """One rank's part of a global batch."""

    images: Tensor
    """uint8 [B, 3, H, W]; `images.normalize` makes floats of it on the device."""
    ids: Tensor
    """int64 [B, T]."""
    positions: range
    """Where in the data the rows stand."""

    def pin_memory(self) -> "Batch":
        """Called by the DataLoader."""
        return Batch(self.images.pin_memory(), self.ids.pin_memory(), self.positions)


class _Batches(Dataset[Batch | InputError]):
    """Start position -> the `rows` samples from there, or what is wrong with one of them.

    An error is handed over as a value: raised in a worker, it would arrive wrapped in that worker's
    traceback.
    """

    def __init__(
        self,
        index: ShardIndex,
        order: SampleOrder,
        preprocess: TrainTransform,
        tokenizer: Tokenizer,
        rows: int,
    ) -> None:
        self._reader = ShardReader(index)
        self._order = order
        self._preprocess = preprocess
        self._tokenizer = tokenizer
        self._rows = rows

    def __getitem__(self, start: int) -> Batch | InputError:
        try:
            return self._load(start)
        except InputError as error:
            return error

    def _load(self, start: int) -> Batch:
        span = self._order.span(start, start + self._rows)
        size = self._preprocess.image_size
        images = np.empty((self._rows, size, size, 3), dtype=np.uint8)
        captions = []
        places = zip(span.shard.tolist(), span.sample.tolist(), span.augmentation_seed.tolist(), strict=True)
        for row, (shard, sample, seed) in enumerate(places):
            data, caption = self._reader.read(shard, sample)
            try:
                images[row] = np.asarray(self._preprocess.crop(to_rgb(open_picture(data)), seed))
            except PictureError as error:
                raise InputError(f"{self._reader.describe(shard, sample)}: picture {error}") from error
            captions.append(caption)
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        return Batch(pixels, self._tokenizer(captions), range(start, start + self._rows))


class TrainStream:
    """Batches of one rank."""

    def __init__(
        self,
        index: ShardIndex,
        order: SampleOrder,
        preprocess: TrainTransform,
        tokenizer: Tokenizer,
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
        self._rows = global_batch_size // world_size
        self._dataset = _Batches(index, order, preprocess, tokenizer, self._rows)
        self._global_batch_size = global_batch_size
        self._rank = rank
        self._workers = workers

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """This rank's part of each global batch between two positions.

        Raises InputError where the positions are not multiples of the global batch, and, naming shard and
        key, at a picture that cannot be decoded or a caption that is not UTF-8.
        """
        if start % self._global_batch_size or stop % self._global_batch_size or not 0 <= start <= stop:
            raise InputError(
                f"batches from position {start} to {stop}: expected multiples of the global batch size "
                f"{self._global_batch_size}, in order"
            )
        starts = range(start + self._rank * self._rows, stop, self._global_batch_size)
        for batch in self._load(starts):
            if isinstance(batch, InputError):
                raise batch
            yield batch

    def _load(self, starts: range) -> Iterator[Batch | InputError]:
        pinned = torch.cuda.is_available()
        if self._workers == 0:
            for start in starts:
                batch = self._dataset[start]
                yield batch.pin_memory() if pinned and isinstance(batch, Batch) else batch
            return
        loader: DataLoader[Any] = DataLoader(
            self._dataset,
            batch_size=None,
            sampler=starts,
            num_workers=self._workers,
            pin_memory=pinned,
            prefetch_factor=2,
        )
        yield from loader


def open_train_stream(
    config: DataConfig,
    tokenizer: Tokenizer,
    *,
    image_size: int,
    seed: int,
    global_batch_size: int,
    rank: int = 0,
    world_size: int = 1,
) -> TrainStream:
    """The stream that a run's config describes. Raises InputError for missing or damaged shards."""
    index = ShardIndex.open(config.train)
    return TrainStream(
        index,
        SampleOrder(index.counts, seed, config.shuffle_shards),
        TrainTransform(image_size, config.crop_scale),
        tokenizer,
        global_batch_size,
        rank,
        world_size,
        config.workers,
    )
