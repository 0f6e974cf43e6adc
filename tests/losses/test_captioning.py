"""The chunked captioning loss is plain cross-entropy: value, gradients, and how often logits are made."""

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from mammut_clip.losses import chunked_caption_loss


def example(
    batch: int, positions: int, width: int, vocabulary: int, seed: int, padded: float = 0.6
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(batch, positions, width, generator=generator)
    head = torch.randn(width, vocabulary, generator=generator)
    labels = torch.randint(1, vocabulary, (batch, positions), generator=generator)
    labels[torch.rand(batch, positions, generator=generator) < padded] = 0
    return hidden.requires_grad_(), head.requires_grad_(), labels


def plain(hidden: torch.Tensor, head: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy((hidden @ head).flatten(0, 1), labels.flatten(), ignore_index=0, reduction="sum")


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 4),
    positions=st.integers(1, 6),
    vocabulary=st.integers(2, 40),
    chunk=st.integers(1, 30),
    padded=st.sampled_from([0.0, 0.6, 1.0]),
    factor=st.floats(-2, 2),
    seed=st.integers(0, 1000),
)
def test_value_and_gradients_are_plain_cross_entropy(
    batch: int, positions: int, vocabulary: int, chunk: int, padded: float, factor: float, seed: int
) -> None:
    hidden, head, labels = example(batch, positions, 7, vocabulary, seed, padded)
    loss, tokens = chunked_caption_loss(hidden, head, labels, chunk)
    assert tokens == (labels != 0).sum()
    assert tokens.dtype == torch.int64
    expected = plain(hidden, head, labels)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    actual_gradients = torch.autograd.grad(factor * loss, (hidden, head))
    expected_gradients = torch.autograd.grad(factor * expected, (hidden, head))
    for actual, wanted in zip(actual_gradients, expected_gradients, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-5)


def test_large_logits_do_not_overflow() -> None:
    hidden, head, labels = example(2, 5, 7, 11, 0)
    loss, _ = chunked_caption_loss(hidden * 1e4, head, labels, 3)
    torch.testing.assert_close(loss, plain(hidden * 1e4, head, labels))
    gradients = torch.autograd.grad(loss, (hidden, head))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_bf16_sums_in_float32() -> None:
    """4,096 tokens of loss 4.6 sum to 18,841, which bf16 would round by up to 64."""
    hidden, head, labels = example(64, 64, 16, 100, 0, padded=0.0)
    loss, _ = chunked_caption_loss(hidden.bfloat16(), (head * 0.01).bfloat16(), labels, 100)
    expected = plain(hidden.bfloat16().float(), (head * 0.01).bfloat16().float(), labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0)
    (gradient,) = torch.autograd.grad(loss, head)
    (wanted,) = torch.autograd.grad(plain(hidden, head * 0.01, labels), head)
    assert (gradient - wanted).norm() < 0.01 * wanted.norm()


class Largest(TorchDispatchMode):
    """Remembers the most elements that any operation returned."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.numel())
        return result


def test_never_holds_more_than_a_chunk_of_logits() -> None:
    hidden, head, labels = example(16, 20, 8, 1000, 0)
    with Largest() as largest:
        loss, _ = chunked_caption_loss(hidden, head, labels, 10)
        loss.backward()
    assert largest.elements <= max(10 * 1000, head.numel(), hidden.numel())


def test_no_gradients_are_made_where_none_are_wanted() -> None:
    hidden, head, labels = example(2, 5, 7, 11, 0)
    with torch.no_grad():
        loss, _ = chunked_caption_loss(hidden, head, labels, 4)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, plain(hidden, head, labels).detach())
    frozen, _ = chunked_caption_loss(hidden, head.detach(), labels, 4)
    (gradient,) = torch.autograd.grad(frozen, hidden)
    torch.testing.assert_close(gradient, torch.autograd.grad(plain(hidden, head, labels), hidden)[0])
