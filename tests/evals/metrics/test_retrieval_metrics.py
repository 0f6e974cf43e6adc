"""Recall beside CLIP_benchmark's on the whole matrix of scores, in tiles of any size; ties; what is held at once."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mammut_clip.evals.metrics.retrieval import Ranks, retrieval_metrics, retrieval_ranks

CPU = torch.device("cpu")


def random_set(captions: list[int], seed: int = 0, noise: float = 0.7) -> tuple[Tensor, Tensor, Tensor]:
    """Features of pictures, and of their captions near them: `captions` of each."""
    generator = torch.Generator().manual_seed(seed)
    images = F.normalize(torch.randn(len(captions), 8, generator=generator), dim=-1)
    owners = torch.arange(len(captions)).repeat_interleave(torch.tensor(captions))
    texts = F.normalize(images[owners] + noise * torch.randn(len(owners), 8, generator=generator), dim=-1)
    return images, texts, owners


def by_sorting(images: Tensor, texts: Tensor, owners: Tensor) -> Ranks:
    """Ranks from stable sorts of the whole matrix."""
    scores = texts @ images.T
    pictures = [row.sort(descending=True, stable=True).indices.tolist() for row in scores]
    captions = [column.sort(descending=True, stable=True).indices.tolist() for column in scores.T]
    return Ranks(
        torch.tensor([row.index(owner) for row, owner in zip(pictures, owners.tolist(), strict=True)]),
        torch.tensor([[owners[j].item() for j in row].index(i) for i, row in enumerate(captions)]),
    )


def clip_benchmarks(images: Tensor, texts: Tensor, owners: Tensor, ks: tuple[int, ...]) -> dict[str, float]:
    theirs = pytest.importorskip("clip_benchmark.metrics.zeroshot_retrieval")
    scores = texts @ images.T
    pairs = owners[:, None] == torch.arange(len(images))

    def recall(scores: Tensor, pairs: Tensor, k: int) -> float:
        return (theirs.batchify(theirs.recall_at_k, scores, pairs, 64, "cpu", k=k) > 0).float().mean().item()

    found = {f"image_retrieval_recall@{k}": recall(scores, pairs, k) for k in ks}
    return found | {f"text_retrieval_recall@{k}": recall(scores.T, pairs.T, k) for k in ks}


def test_equal_to_clip_benchmark_with_several_captions_per_picture() -> None:
    images, texts, owners = random_set([1, 2, 3, 2] * 50)
    expected = clip_benchmarks(images, texts, owners, (1, 3, 5, 10))
    expected["mean_recall@1"] = (expected["image_retrieval_recall@1"] + expected["text_retrieval_recall@1"]) / 2
    assert retrieval_metrics(images, texts, owners, CPU, (1, 3, 5, 10)) == pytest.approx(expected, abs=1e-6)
    assert 0.05 < expected["image_retrieval_recall@1"] < expected["image_retrieval_recall@10"] < 1


@given(st.lists(st.integers(1, 4), min_size=1, max_size=20), st.integers(1, 9), st.integers(0, 5), st.booleans())
def test_tiles_of_any_size_give_what_sorting_gives(captions: list[int], tile: int, seed: int, ties: bool) -> None:
    """With `ties` features are few small integers: many pictures and captions are equal, and products exact. The
    captions are in no order."""
    images, texts, owners = random_set(captions, seed)
    if ties:
        images, texts = images.round(), texts.round()
    order = torch.randperm(len(owners), generator=torch.Generator().manual_seed(seed))
    texts, owners = texts[order], owners[order]
    found, expected = retrieval_ranks(images, texts, owners, CPU, tile), by_sorting(images, texts, owners)
    assert torch.equal(found.pictures, expected.pictures)
    assert torch.equal(found.texts, expected.texts)


def test_a_model_that_tells_nothing_apart_is_at_chance() -> None:
    images, texts, owners = random_set([2] * 50)
    found = retrieval_metrics(torch.ones_like(images), torch.ones_like(texts), owners, CPU)
    expected = {f"{what}_retrieval_recall@{k}": k / 50 for what in ("image", "text") for k in (1, 5, 10)}
    expected |= {f"text_retrieval_recall@{k}": (k + 1) // 2 / 50 for k in (1, 5, 10)} | {"mean_recall@1": 1 / 50}
    assert found == pytest.approx(expected)


def test_features_that_are_not_numbers_find_nothing() -> None:
    images, texts, owners = random_set([2] * 50)
    found = retrieval_metrics(torch.full_like(images, torch.nan), texts, owners, CPU)
    assert set(found.values()) == {0.0}


def test_a_k_beyond_the_candidates_finds_always() -> None:
    images, texts, owners = random_set([1, 1, 2], noise=5)
    found = retrieval_metrics(images, texts, owners, CPU, (1, 10))
    assert found["image_retrieval_recall@10"] == found["text_retrieval_recall@10"] == 1
    assert found["image_retrieval_recall@1"] < 1


class _LargestTensor(TorchDispatchMode):
    """Notes the most elements of any tensor that an operation gives."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_no_more_is_held_than_a_tile_or_the_features() -> None:
    images, texts, owners = random_set([5] * 1200)
    with _LargestTensor() as largest:
        retrieval_ranks(images, texts, owners, CPU, tile=256)
    assert largest.elements == max(256 * 256, texts.numel()) < len(texts) * len(images) / 100
