"""All captions of some shards, one after another, as a tokenizer learns from them."""

from collections.abc import Iterator

from mammut_clip.config.data import FilterConfig
from mammut_clip.data.bad_samples import BadSampleError
from mammut_clip.data.captions import CaptionReader
from mammut_clip.data.shards.index import ShardIndex
from mammut_clip.data.shards.rows import MISSING
from mammut_clip.data.shards.storage import ShardStorage

_AT_ONCE = 256


class CaptionsInOrder:
    """The .txt members in the order of the samples. To be gone through once; what it counts is right afterwards."""

    def __init__(self, index: ShardIndex, storage: ShardStorage) -> None:
        self.read = 0
        """Captions that were given."""
        self.skipped = 0
        """Samples without a caption that can be used."""
        self._index, self._storage = index, storage
        self._reader = CaptionReader({"txt": 1.0}, FilterConfig(), seed=0)

    def __iter__(self) -> Iterator[str]:
        for shard in range(len(self._index.shards)):
            rows = self._index.rows(shard)
            for first in range(0, len(rows), _AT_ONCE):
                yield from self._captions(shard, first)

    def _captions(self, shard: int, first: int) -> Iterator[str]:
        rows = self._index.rows(shard)[first : first + _AT_ONCE]
        rows, samples = rows[rows["caption_size"] != MISSING], len(rows)
        self.skipped += samples - len(rows)
        starts = rows["image_offset"] + rows["caption_distance"]
        ranges = list(zip(starts.tolist(), (starts + rows["caption_size"]).tolist(), strict=True))
        for (start, stop), text in zip(ranges, self._storage.read(self._index.url(shard), ranges), strict=True):
            try:
                caption = self._reader.read(text if len(text) == stop - start else None, None, position=0)
            except BadSampleError:
                self.skipped += 1
            else:
                self.read += 1
                yield caption
