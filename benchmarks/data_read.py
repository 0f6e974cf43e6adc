"""Samples per second from shard to batch: our TrainStream beside a webdataset pipeline, on the same shards.

Both decode with PIL, crop with the same transform and tokenize with CLIP's BPE; what differs is how they read, order,
collate and hand batches over. Two kinds of pictures: toy ones of 64 px, where reading and tokenizing show, and JPEGs
of 512 x 384 cropped to 224, where decoding rules, as in real data.
"""

import io
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.result import Measurement, Row, Settings
from mammut_clip.data.images import TrainTransform
from mammut_clip.data.index import ShardIndex
from mammut_clip.data.order import SampleOrder
from mammut_clip.data.shard_writer import ShardSetWriter, train_shard_name
from mammut_clip.data.stream import TrainStream
from mammut_clip.data.text import ClipTokenizer
from mammut_clip.data.toy_world import TRAIN, ToyWorld, encode_jpeg

QUESTION = "How many samples per second come from shards to batches, beside webdataset?"
PEER = "webdataset"
_BATCH, _PER_SHARD, _SHARDS = 64, 512, 8
_WARM_UP = 6


@dataclass(frozen=True)
class Pictures:
    """One set of shards, and how its pictures are cropped."""

    label: str
    folder: Path
    crop: int
    batches: int
    """Read per repetition."""


def measure(settings: Settings) -> Measurement:
    """Rows for both kinds of pictures with 0 and 2 worker processes."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the workers, so that one process means one core on both sides
    try:
        with tempfile.TemporaryDirectory() as scratch:
            kinds = [
                Pictures("64 px JPEG", Path(scratch) / "small", 64, 48),
                Pictures("512 x 384 JPEG to 224 px", Path(scratch) / "large", 224, 24),
            ]
            for kind, size in zip(kinds, (None, (512, 384)), strict=True):
                _write_shards(kind.folder, size)
            rows = [_row(kind, workers, settings.repeats) for kind in kinds for workers in (0, 2)]
    finally:
        torch.set_num_threads(threads)
    notes = [
        f"Timed after {_WARM_UP} batches, so that neither the start of workers nor the filling of webdataset's "
        "shuffle buffer counts.",
        "Ours also gives an exact, resumable order; webdataset shuffles shards and a buffer of 1,000 samples.",
    ]
    return Measurement(rows, notes)


def _row(kind: Pictures, workers: int, repeats: int) -> Row:
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(_speed(_ours(kind, workers), kind.batches))
        theirs.append(_speed(_theirs(kind, workers), kind.batches))
    return Row(f"{kind.label}, {workers} workers", "samples/s", "higher", ours, PEER, theirs)


def _speed(batches: Iterable[Any], count: int) -> float:
    """Samples per second over `count` batches, once what workers read ahead at the start is used up."""
    stream = iter(batches)
    for _ in range(_WARM_UP):
        next(stream)
    started = time.perf_counter()
    for _ in range(count):
        next(stream)
    return count * _BATCH / (time.perf_counter() - started)


def _ours(kind: Pictures, workers: int) -> Iterable[Any]:
    index = ShardIndex.open([str(kind.folder)])
    order = SampleOrder(index.counts, seed=0, shuffle_shards=_SHARDS)
    stream = TrainStream(index, order, TrainTransform(kind.crop), ClipTokenizer(), _BATCH, workers=workers)
    return stream.batches(0, len(index))


def _theirs(kind: Pictures, workers: int) -> Iterable[Any]:
    import webdataset as wds

    transform, tokenizer = TrainTransform(kind.crop), ClipTokenizer()
    shards = str(kind.folder / f"{{00000..{_SHARDS - 1:05d}}}.tar")
    dataset = (
        wds.WebDataset(shards, shardshuffle=_SHARDS)
        .shuffle(1000)
        .decode("pilrgb")
        .to_tuple("jpg", "txt")
        .map_tuple(transform, lambda caption: tokenizer(caption)[0])
        .batched(_BATCH, partial=False)
    )
    return iter(wds.WebLoader(dataset, batch_size=None, num_workers=workers))


def _write_shards(folder: Path, size: tuple[int, int] | None) -> None:
    """Toy pictures as they are, or enlarged to (width, height) with grain, so that a JPEG weighs what a photo does."""
    samples = ToyWorld(0, 64).samples(TRAIN, 0, _PER_SHARD)
    pictures = [encode_jpeg(sample.image) if size is None else _enlarged(sample.image, size) for sample in samples]
    with ShardSetWriter(folder, _PER_SHARD, train_shard_name) as writer:
        for number in range(_SHARDS * _PER_SHARD):
            caption = samples[number % _PER_SHARD].caption.encode()
            writer.add(f"{number:06d}", {"jpg": pictures[number % _PER_SHARD], "txt": caption})


def _enlarged(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> bytes:
    large = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
    grain = np.random.default_rng(0).integers(-12, 13, large.shape[:2])[..., None]
    file = io.BytesIO()
    Image.fromarray((large + grain).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()
