"""The bytes of one sample, read at its offset from a shard that stays open."""

import os
from collections import OrderedDict

from mammut_clip.config.errors import InputError
from mammut_clip.data.index import ShardIndex

_OPEN_FILES = 256  # well below the usual limit of 1,024 per process
_NEAR = 4096


class ShardReader:
    """Reads samples by shard and number. Each process that gets a copy opens its own files."""

    def __init__(self, index: ShardIndex) -> None:
        self.index = index
        self._descriptors: OrderedDict[int, int] = OrderedDict()

    def read(self, shard: int, sample: int) -> tuple[bytes, str]:
        """The picture's bytes and the caption.

        Raises InputError naming shard and key where the caption is not UTF-8 or the shard is shorter than it
        was.
        """
        image_at, caption_at, image_size, caption_size = self.index.shards[shard].rows[sample].item()
        descriptor = self._descriptor(shard)
        gap = caption_at - image_at - image_size
        if 0 <= gap < _NEAR:  # as good as always: one read for both
            data = os.pread(descriptor, caption_at + caption_size - image_at, image_at)
            image, text = data[:image_size], data[caption_at - image_at :]
        else:
            image = os.pread(descriptor, image_size, image_at)
            text = os.pread(descriptor, caption_size, caption_at)
        if len(image) != image_size or len(text) != caption_size:
            path = self.index.shards[shard].path
            raise InputError(f"{path}: shorter than when it was opened; expected shards that stay as they are")
        try:
            return image, text.decode()
        except UnicodeDecodeError as error:
            where = self.describe(shard, sample)
            raise InputError(f"{where}: caption is not UTF-8 ({error.reason} at byte {error.start})") from error

    def describe(self, shard: int, sample: int) -> str:
        """Shard and key of a sample, for messages."""
        return f"{self.index.shards[shard].path}: sample {self.index.key(shard, sample)!r}"

    def _descriptor(self, shard: int) -> int:
        descriptor = self._descriptors.get(shard)
        if descriptor is not None:
            self._descriptors.move_to_end(shard)
            return descriptor
        if len(self._descriptors) >= _OPEN_FILES:
            os.close(self._descriptors.popitem(last=False)[1])
        path = self.index.shards[shard].path
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise InputError(f"{path}: cannot be opened: {error.strerror or error}") from error
        self._descriptors[shard] = descriptor
        return descriptor

    def __getstate__(self) -> dict[str, object]:
        return {"index": self.index, "_descriptors": OrderedDict()}

    def __del__(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
