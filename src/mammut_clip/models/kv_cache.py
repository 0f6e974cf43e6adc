"""What a decoder keeps while it writes, so that each new token costs one position: keys and values.

A self-attention block keeps those of the text so far, a cross-attention block those of the image. Several rows of text
may belong to one image (the beams of a search): they stand next to each other and share the image's. Shapes: R rows of
text, B images (R is a multiple of B), H heads, T new positions, N image tokens, D width, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor


class Memory(Protocol):
    """What one block keeps."""

    def reorder(self, rows: Tensor) -> None:
        """Row r goes on from where row `rows[r]` [R] of the same image was."""


class TextMemory:
    """Keys and values of the text so far, in tensors that are allocated once."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self.length = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Those of new positions, each [R, H, T, D / H] -> those of all positions so far."""
        if self._keys is None or self._values is None:  # only now are rows, device and precision known
            rows, heads, _, width = keys.shape
            self._keys = keys.new_empty(rows, heads, self._longest, width)
            self._values = values.new_empty(rows, heads, self._longest, width)
        first, self.length = self.length, self.length + keys.shape[2]
        self._keys[:, :, first : self.length] = keys
        self._values[:, :, first : self.length] = values
        return self._keys[:, :, : self.length], self._values[:, :, : self.length]

    def reorder(self, rows: Tensor) -> None:
        """As Memory."""
        for kept in (self._keys, self._values):
            if kept is not None:
                kept[:, :, : self.length] = kept[rows, :, : self.length]


class ImageMemory:
    """Keys and values of image tokens, each [B, H, N, D / H]."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values

    def reorder(self, rows: Tensor) -> None:
        """As Memory: the rows of an image share these."""


class CachedBlock(Protocol):
    """A transformer block that goes on from what it kept."""

    def start(self, context: Tensor, longest: int) -> Memory:
        """Context [B, N, D] -> the memory of a text of no tokens yet and of `longest` at most."""

    def step(self, x: Tensor, memory: Any) -> Tensor:
        """New positions [R, T, D] -> [R, T, D]; more than one only where the memory is new."""


class DecoderCache:
    """What all blocks of a decoder keep."""

    def __init__(self, blocks: Sequence[CachedBlock], context: Tensor, longest: int) -> None:
        self._steps = [(block, block.start(context, longest)) for block in blocks]
        self.length = 0
        """Positions so far."""

    def run(self, x: Tensor) -> Tensor:
        """New positions through all blocks, [R, T, D] -> [R, T, D]."""
        for block, memory in self._steps:
            x = block.step(x, memory)
        self.length += x.shape[1]
        return x

    def reorder(self, rows: Tensor) -> None:
        """As Memory."""
        for _, memory in self._steps:
            memory.reorder(rows)
