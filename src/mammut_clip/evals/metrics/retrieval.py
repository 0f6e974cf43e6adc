"""Retrieval metrics, from features, without ever holding the scores of all pairs. Definitions are CLIP_benchmark's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TILE = 4096
"""Pictures, and captions, whose scores are held at once (64 MiB of float32)."""


@dataclass(frozen=True)
class Ranks:
    """How many wrong candidates come before the right one; 0 where the right one comes first."""

    pictures: Tensor
    """[J] int64: for each caption, the wrong pictures before its own."""
    texts: Tensor
    """[I] int64: for each picture, the wrong captions before the first of its own."""


def retrieval_metrics(
    images: Tensor, texts: Tensor, owners: Tensor, device: torch.device, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """image_retrieval_recall@k and text_retrieval_recall@k for features [I, E] and [J, E] of unit length.

    `owners` [J] says which picture each caption belongs to; every picture has one at least. A caption finds its
    picture if that is among the k nearest; a picture finds a caption if any of its own is among the k nearest. A k
    beyond the number of candidates finds always. mean_recall@1 is the mean of both (DataComp).
    """
    ranks = retrieval_ranks(images, texts, owners, device)
    metrics = {f"image_retrieval_recall@{k}": (ranks.pictures < k).double().mean().item() for k in ks}
    metrics |= {f"text_retrieval_recall@{k}": (ranks.texts < k).double().mean().item() for k in ks}
    if 1 in ks:
        both = metrics["image_retrieval_recall@1"] + metrics["text_retrieval_recall@1"]
        metrics["mean_recall@1"] = both / 2
    return metrics


def retrieval_ranks(images: Tensor, texts: Tensor, owners: Tensor, device: torch.device, tile: int = TILE) -> Ranks:
    """Ranks by cosine, in tiles of at most `tile` x `tile` scores.

    Candidates with equal scores stand in the order of their numbers, as in a stable sort: what a model cannot tell
    apart, it finds as often as chance would, not always and not never. (CLIP_benchmark's topk picks any of them.) A
    score that is not a number loses to every other where it is the right one, and wins where it is a wrong one.
    """
    tiles = _Tiles(images.to(device), texts.to(device), owners.to(device), tile)
    own = _own_scores(tiles)  # [J]
    best, first = _best_of_each_picture(own, tiles.owners, len(images))
    pictures, captions = torch.zeros_like(tiles.owners), torch.zeros_like(first)
    for part in tiles.all():
        scores = part.scores
        scores[part.rows, part.columns] = -torch.inf  # the right ones never stand before themselves
        text_numbers = torch.arange(part.texts.start, part.texts.stop, device=device)[:, None]
        image_numbers = torch.arange(part.images.start, part.images.stop, device=device)
        earlier = image_numbers < tiles.owners[part.texts][:, None]
        pictures[part.texts] += _before(scores, own[part.texts][:, None], earlier).sum(dim=1, dtype=torch.int32)
        earlier = text_numbers < first[part.images]
        captions[part.images] += _before(scores, best[part.images], earlier).sum(dim=0, dtype=torch.int32)
    return Ranks(pictures.cpu(), captions.cpu())


def _before(scores: Tensor, right: Tensor, earlier: Tensor) -> Tensor:
    """Which candidates come before the right one. Written so that a NaN on either side is true."""
    return ~((scores < right) | ((scores == right) & ~earlier))


@dataclass(frozen=True)
class _Tile:
    texts: slice
    images: slice
    scores: Tensor
    """[texts, images]."""
    rows: Tensor
    columns: Tensor
    """Where in `scores` the captions meet their own pictures."""


@dataclass(frozen=True)
class _Tiles:
    """The scores of all pairs, part by part. The same part is the same product, to its last digit."""

    images: Tensor
    texts: Tensor
    owners: Tensor
    size: int

    def all(self) -> Iterator[_Tile]:
        """Every part, once."""
        for start in range(0, len(self.texts), self.size):
            for first in range(0, len(self.images), self.size):
                yield self._tile(start, first)

    def with_pairs(self) -> Iterator[_Tile]:
        """The parts in which a caption meets its own picture: few, where captions stand in the order of pictures."""
        for start in range(0, len(self.texts), self.size):
            columns = (self.owners[start : start + self.size] // self.size).unique().tolist()
            yield from (self._tile(start, column * self.size) for column in columns)

    def _tile(self, start: int, first: int) -> _Tile:
        texts = slice(start, min(start + self.size, len(self.texts)))
        images = slice(first, min(first + self.size, len(self.images)))
        owners = self.owners[texts]
        rows = ((owners >= images.start) & (owners < images.stop)).nonzero()[:, 0]
        return _Tile(texts, images, self.texts[texts] @ self.images[images].T, rows, owners[rows] - first)


def _own_scores(tiles: _Tiles) -> Tensor:
    """[J]: each caption's score with its own picture."""
    own = torch.empty(len(tiles.texts), device=tiles.texts.device)
    for part in tiles.with_pairs():
        own[part.texts.start + part.rows] = part.scores[part.rows, part.columns]
    return own


def _best_of_each_picture(own: Tensor, owners: Tensor, pictures: int) -> tuple[Tensor, Tensor]:
    """The highest score [I] of each picture's own captions, and the number [I] of the first that has it."""
    best = own.new_full((pictures,), -torch.inf).scatter_reduce(0, owners, own, "amax")
    have_it = (own == best[owners]).nonzero()[:, 0]
    first = owners.new_zeros(pictures).scatter_reduce(0, owners[have_it], have_it, "amin", include_self=False)
    return best, first
