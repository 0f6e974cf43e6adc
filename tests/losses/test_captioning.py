"""The chunked captioning loss is plain cross-entropy: value, gradients, and how much of the logits it holds."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from live_memory import LiveMemory
from mammut_clip.losses import chunked_caption_loss
from pair_references import assert_near


def example(
    positions: int, width: int, vocabulary: int, seed: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden [M, D], head [D, V], labels [M]; labels may be any id, 0 among them."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(positions, width, generator=generator, dtype=torch.float64).to(dtype)
    head = torch.randn(width, vocabulary, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.randint(0, vocabulary, (positions,), generator=generator)
    return hidden.requires_grad_(), head.requires_grad_(), labels


def plain(hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(hidden @ head, labels, reduction="sum")


@settings(max_examples=60, deadline=None)
@given(
    positions=st.integers(0, 24),
    vocabulary=st.integers(2, 40),
    chunk=st.integers(1, 30),
    factor=st.floats(-2, 2),
    seed=st.integers(0, 1000),
)
def test_value_and_gradients_are_plain_cross_entropy(
    positions: int, vocabulary: int, chunk: int, factor: float, seed: int
) -> None:
    hidden, head, labels = example(positions, 7, vocabulary, seed, torch.float64)
    loss, expected = chunked_caption_loss(hidden, head, labels, chunk), plain(hidden, head, labels)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    wanted = torch.autograd.grad(factor * expected, (hidden, head))
    for actual, gradient in zip(torch.autograd.grad(factor * loss, (hidden, head)), wanted, strict=True):
        torch.testing.assert_close(actual, gradient, rtol=1e-11, atol=1e-12)


def test_float32_keeps_six_digits() -> None:
    hidden, head, labels = example(700, 32, 500, 0)
    exact = [tensor.detach().double().requires_grad_() for tensor in (hidden, head)]
    loss, expected = chunked_caption_loss(hidden, head, labels, 256), plain(*exact, labels)
    assert loss.dtype == torch.float32
    assert_near(loss, expected, 1e-6)
    gradients, wanted = torch.autograd.grad(loss, (hidden, head)), torch.autograd.grad(expected, exact)
    for actual, gradient in zip(gradients, wanted, strict=True):
        assert_near(actual, gradient, 1e-6)


def test_large_logits_do_not_overflow() -> None:
    hidden, head, labels = example(10, 7, 11, 0)
    loss = chunked_caption_loss(hidden * 1e4, head, labels, 3)
    torch.testing.assert_close(loss, plain(hidden * 1e4, head, labels))
    gradients = torch.autograd.grad(loss, (hidden, head))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_bf16_sums_in_float32() -> None:
    """4,096 tokens of loss 4.6 sum to 18,841, which bf16 would round by up to 64."""
    hidden, head, labels = example(4096, 16, 100, 0)
    rounded = [hidden.detach().bfloat16().requires_grad_(), (head.detach() * 0.01).bfloat16().requires_grad_()]
    loss = chunked_caption_loss(*rounded, labels, 100)
    exact = [tensor.detach().double().requires_grad_() for tensor in rounded]
    expected = plain(*exact, labels)
    assert loss.dtype == torch.float32
    assert_near(loss, expected, 1e-4)
    gradients, wanted = torch.autograd.grad(loss, rounded), torch.autograd.grad(expected, exact)
    for actual, gradient in zip(gradients, wanted, strict=True):
        assert actual.dtype == torch.bfloat16
        assert_near(actual, gradient, 0.01)


def test_autocast_rounds_products_and_nothing_else() -> None:
    """Same as bf16 inputs, but for gradients in float32."""
    hidden, head, labels = example(64, 16, 50, 0)
    with torch.autocast("cpu", torch.bfloat16):
        under = chunked_caption_loss(hidden, head, labels, 10)
    explicit = chunked_caption_loss(hidden.bfloat16(), head.bfloat16(), labels, 10)
    assert under.dtype == torch.float32
    assert torch.equal(under, explicit)
    (gradient,) = torch.autograd.grad(under, head)
    (wanted,) = torch.autograd.grad(explicit, head)
    assert gradient.dtype == torch.float32
    assert torch.equal(gradient.bfloat16().float(), wanted)
    assert not torch.equal(gradient, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_never_holds_more_than_a_chunk_of_logits(dtype: torch.dtype) -> None:
    hidden, head, labels = example(300, 4, 1000, 0, dtype)
    with LiveMemory() as memory:
        chunked_caption_loss(hidden, head, labels, 20).backward()
    chunk = 20 * 1000
    of_logits = chunk * (4 + 4 + (dtype.itemsize if dtype != torch.float32 else 0))  # a CPU widens bf16 ones first
    of_head = 3 * head.numel() * 4  # its gradient while it is made, and scaled
    of_hidden = 3 * hidden.numel() * 4
    assert memory.largest == chunk * 4
    assert memory.peak <= of_logits + of_head + of_hidden


def test_no_gradients_are_made_where_none_are_wanted() -> None:
    hidden, head, labels = example(10, 7, 11, 0)
    product = 2 * 10 * 7 * 11
    with FlopCounterMode(display=False) as without, torch.no_grad():
        loss = chunked_caption_loss(hidden, head, labels, 4)
    with FlopCounterMode(display=False) as whole:
        torch.testing.assert_close(chunked_caption_loss(hidden, head, labels, 4).detach(), loss)
    assert not loss.requires_grad
    assert without.get_total_flops() == product < whole.get_total_flops()
    torch.testing.assert_close(loss, plain(hidden, head, labels).detach())


@pytest.mark.parametrize("moving", [0, 1])
def test_a_frozen_input_gets_no_gradient_and_the_other_its_own(moving: int) -> None:
    *inputs, labels = example(10, 7, 11, 0)
    (wanted,) = torch.autograd.grad(plain(*inputs, labels), inputs[moving])
    used = [tensor if index == moving else tensor.detach() for index, tensor in enumerate(inputs)]
    (found,) = torch.autograd.grad(chunked_caption_loss(*used, labels, 4), used[moving])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("hidden", "head", "labels", "chunk", "message"),
    [
        ((2, 5, 7), (7, 11), (2, 5), 4, r"got \[2, 5, 7\], \[7, 11\] and \[2, 5\]"),
        ((5, 7), (11, 7), (5,), 4, r"got \[5, 7\], \[11, 7\] and \[5\]"),
        ((5, 7), (7, 11), (4,), 4, r"got \[5, 7\], \[7, 11\] and \[4\]"),
        ((5, 7), (7, 11), (5,), 0, "chunk_tokens is 0"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    hidden: tuple[int, ...], head: tuple[int, ...], labels: tuple[int, ...], chunk: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        chunked_caption_loss(torch.ones(hidden), torch.ones(head), torch.ones(labels, dtype=torch.int64), chunk)
