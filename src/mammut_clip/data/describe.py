"""A data set judged by a random part of it: pictures, captions, JSON fields, and what is damaged.

    draw (which samples) -> SampleReader (bytes) -> SampleTally (what was seen) -> Description

The part is the same for the same seed. It comes from a bounded number of shards, since whoever wants a little of a
piped shard may have to fetch all of it; within these, every sample is as likely as any other.
"""

import random
from collections.abc import Callable, Iterator
from itertools import groupby

import numpy as np
import numpy.typing as npt

from mammut_clip.config.errors import InputError
from mammut_clip.data.contact_sheet import Tile
from mammut_clip.data.description import Description
from mammut_clip.data.sample_tally import SampleTally
from mammut_clip.data.shards.index import ShardIndex
from mammut_clip.data.shards.storage import ShardStorage
from mammut_clip.data.stream.sample_reader import Place, SampleReader

LEAST_SHARDS = 64
"""Shards that samples are drawn from, where there are as many; more only where these hold too few."""
_AT_ONCE = 64

Progress = Callable[[int, int], None]


def describe(
    index: ShardIndex,
    storage: ShardStorage,
    *,
    samples: int = 1000,
    seed: int = 0,
    tiles: int = 0,
    progress: Progress | None = None,
) -> tuple[Description, list[Tile]]:
    """Look at a random part of a data set; also so many of its pictures for a contact sheet, drawn at random.

    `progress(done, drawn)` counts samples. Raises InputError for `samples` < 1, and naming a shard that cannot be read.
    """
    if samples < 1:
        raise InputError(f"samples = {samples}: expected 1 or more")
    places = draw(index.counts, samples, seed)
    reader = SampleReader(index, storage, text=True, record=True)
    tally = SampleTally(tiles, random.Random(seed))
    for part in _parts(places):
        for place, raw in zip(part, reader.read(part), strict=True):
            tally.see(place, raw)
        if progress is not None:
            progress(tally.seen, len(places))
    return tally.description(index, places), tally.tiles(index)


def draw(counts: npt.NDArray[np.int64], samples: int, seed: int) -> list[Place]:
    """So many different samples of shards with these counts, or all where there are no more, in their order.

    From LEAST_SHARDS random shards, or as many more as hold enough; each gives the same share of its samples.
    """
    rng = np.random.default_rng(seed)
    shards = rng.permutation(len(counts))
    enough = int(np.searchsorted(np.cumsum(counts[shards]), samples)) + 1
    shards = np.sort(shards[: max(enough, LEAST_SHARDS)])
    reached = np.cumsum(counts[shards])
    total = max(1, int(reached[-1]))
    # Rounded at random, so that samples of small shards have their chance too.
    takes = np.diff((reached * min(samples, total) + rng.integers(total)) // total, prepend=0)
    return [
        Place(int(shard), int(sample))
        for shard, take in zip(shards, takes, strict=True)
        for sample in np.sort(rng.choice(counts[shard], take, replace=False))
    ]


def _parts(places: list[Place]) -> Iterator[list[Place]]:
    """A few samples of one shard at a time, so that memory stays small."""
    for _, group in groupby(places, key=lambda place: place.shard):
        shard = list(group)
        for start in range(0, len(shard), _AT_ONCE):
            yield shard[start : start + _AT_ONCE]
