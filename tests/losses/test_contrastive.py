"""The contrastive loss of one process: its definition, and properties that hold for any features.

Over several processes: tests/distributed/test_losses.py.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from live_memory import LiveMemory
from mammut_clip.losses import contrastive_loss
from pair_references import assert_near, dense_accuracy, dense_contrastive, features, in_float64, scalar


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 12),
    tile=st.integers(1, 15),
    scale=st.floats(1.0, 100.0),
    factor=st.floats(-2, 2),
    seed=st.integers(0, 1000),
)
def test_value_and_gradients_are_those_of_whole_logits(
    rows: int, tile: int, scale: float, factor: float, seed: int
) -> None:
    inputs = (*features(rows, 5, seed), scalar(scale))
    loss, expected = contrastive_loss(*inputs, tile=tile).loss, dense_contrastive(*inputs)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-13)
    wanted = torch.autograd.grad(factor * expected, inputs)
    for actual, gradient in zip(torch.autograd.grad(factor * loss, inputs), wanted, strict=True):
        torch.testing.assert_close(actual, gradient, rtol=1e-11, atol=1e-12)


def test_value_and_gradients_are_open_clips() -> None:
    from open_clip.loss import ClipLoss

    inputs = (*features(23, 16, 1), scalar(1 / 0.07))
    loss, expected = contrastive_loss(*inputs, tile=7).loss, ClipLoss()(*inputs)
    torch.testing.assert_close(loss, expected)
    wanted = torch.autograd.grad(expected, inputs)
    torch.testing.assert_close(torch.autograd.grad(loss, inputs), wanted)


@pytest.mark.parametrize("scale", [1.0, 1 / 0.07, 30.0])
def test_float32_keeps_six_digits(scale: float) -> None:
    inputs = (*features(300, 64, 0, torch.float32), scalar(scale, torch.float32))
    exact = in_float64(*inputs)
    loss, expected = contrastive_loss(*inputs, tile=128).loss, dense_contrastive(*exact)
    assert loss.dtype == torch.float32
    assert_near(loss, expected, 1e-6, "loss")
    gradients, wanted = torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, exact)
    for name, actual, gradient in zip(("images", "texts", "scale"), gradients, wanted, strict=True):
        assert_near(actual, gradient, 1e-6, name)


def test_a_batch_that_is_all_but_solved_still_has_a_loss_and_gradients() -> None:
    """Where every pair takes 1 - 1e-12 of its softmax, whole logits in float32 give 0."""
    same = torch.eye(8).requires_grad_()
    scale = scalar(30.0, torch.float32)
    loss = contrastive_loss(same, torch.eye(8), scale).loss
    assert loss.item() == pytest.approx(7 * math.exp(-30), rel=1e-5)
    image_gradient, scale_gradient = torch.autograd.grad(loss, (same, scale))
    assert scale_gradient.item() == pytest.approx(-7 * math.exp(-30), rel=1e-5)
    assert image_gradient.diagonal() == pytest.approx(torch.full((8,), -30 * 7 * math.exp(-30) / 8), rel=1e-5)


def test_bf16_features_are_scored_in_float32() -> None:
    inputs = (*features(40, 32, 3, torch.bfloat16), scalar(1 / 0.07, torch.float32))
    exact = in_float64(*inputs)
    loss, expected = contrastive_loss(*inputs).loss, dense_contrastive(*exact)
    assert loss.dtype == torch.float32
    assert_near(loss, expected, 1e-6)
    gradients, wanted = torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, exact)
    assert [gradient.dtype for gradient in gradients] == [torch.bfloat16, torch.bfloat16, torch.float32]
    for actual, gradient, tolerance in zip(gradients, wanted, (4e-3, 4e-3, 1e-6), strict=True):
        assert_near(actual, gradient, tolerance)


def test_autocast_changes_nothing() -> None:
    inputs = (*features(40, 32, 3, torch.float32), scalar(1 / 0.07, torch.float32))
    plain = contrastive_loss(*inputs).loss
    with torch.autocast("cpu", torch.bfloat16):
        under = contrastive_loss(*inputs).loss
    assert torch.equal(under, plain)
    assert all(map(torch.equal, torch.autograd.grad(under, inputs), torch.autograd.grad(plain, inputs)))


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 40), tile=st.integers(1, 15), scale=st.floats(0.1, 100.0), seed=st.integers(0, 1000))
def test_accuracy_is_the_share_of_argmaxes_on_the_diagonal(rows: int, tile: int, scale: float, seed: int) -> None:
    images, texts = features(rows, 3, seed)
    accuracy = contrastive_loss(images, texts, scalar(scale), tile=tile).accuracy
    assert not accuracy.requires_grad
    torch.testing.assert_close(accuracy, (dense_accuracy(images, texts) + dense_accuracy(texts, images)) / 2)


def test_ties_are_not_right() -> None:
    """A caption that stands twice, in float32, where both products with it are rounded, each in its own way."""
    images, _ = (part.detach() for part in features(300, 64, 5, torch.float32))
    texts = images.clone()
    assert contrastive_loss(images, texts, torch.tensor(1 / 0.07)).accuracy == 1
    texts[200] = texts[100]  # image 100 finds two, image 200 and text 200 others than their own
    found = contrastive_loss(images, texts, torch.tensor(1 / 0.07), tile=7).accuracy
    assert float(found) == pytest.approx((298 + 299) / 600)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 9), seed=st.integers(0, 1000))
def test_neither_order_nor_which_side_is_which_matters(rows: int, seed: int) -> None:
    images, texts = features(rows, 5, seed)
    loss = contrastive_loss(images, texts, scalar(10.0))
    torch.testing.assert_close(contrastive_loss(texts, images, scalar(10.0)), loss)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(contrastive_loss(images[order], texts[order], scalar(10.0)), loss)


def test_equal_features_tell_nothing_apart() -> None:
    same = F.normalize(torch.ones(50, 7), dim=-1)
    found = contrastive_loss(same, same, torch.tensor(50.0), tile=8)
    torch.testing.assert_close(found.loss, torch.tensor(math.log(50)))
    assert found.accuracy == 0


def test_never_holds_more_than_two_tiles_of_logits() -> None:
    rows, width, tile = 512, 4, 32
    images, texts = features(rows, width, 0, torch.float32)
    with LiveMemory() as memory:
        contrastive_loss(images, texts, scalar(10.0, torch.float32), tile=tile).loss.backward()
    assert memory.largest == rows * tile * 4
    of_features = 12 * rows * width * 4  # copies, pulls and gradients [B, E] of both sides
    assert memory.peak <= 2 * rows * tile * 4 + of_features


def test_no_gradient_is_made_where_none_is_wanted() -> None:
    inputs = (*features(16, 8, 0), scalar(10.0))
    product = 2 * 16 * 16 * 8
    with FlopCounterMode(display=False) as without, torch.no_grad():
        loss = contrastive_loss(*inputs).loss
    with FlopCounterMode(display=False) as whole:
        torch.testing.assert_close(contrastive_loss(*inputs).loss.detach(), loss)
    assert not loss.requires_grad
    assert without.get_total_flops() == 2 * product < whole.get_total_flops()


@pytest.mark.parametrize("moving", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_frozen_inputs_get_no_gradient_and_the_others_theirs(moving: tuple[int, ...]) -> None:
    inputs = (*features(6, 5, 0), scalar(10.0))
    wanted = torch.autograd.grad(dense_contrastive(*inputs), inputs)
    used = [tensor if index in moving else tensor.detach() for index, tensor in enumerate(inputs)]
    found = torch.autograd.grad(contrastive_loss(*used).loss, [used[index] for index in moving])
    torch.testing.assert_close(found, tuple(wanted[index] for index in moving))


@pytest.mark.parametrize(
    ("images", "texts", "scale", "tile", "message"),
    [
        ((4, 3), (5, 3), (), 8, r"of the same pairs, got \[4, 3\] and \[5, 3\]"),
        ((4, 3), (4, 2), (), 8, r"got \[4, 3\] and \[4, 2\]"),
        ((4, 3, 1), (4, 3, 1), (), 8, r"features \[B, E\].*got \[4, 3, 1\]"),
        ((0, 3), (0, 3), (), 8, r"got \[0, 3\]"),
        ((4, 3), (4, 3), (1,), 8, r"logit_scale of shape \[\], got \[1\]"),
        ((4, 3), (4, 3), (), 0, "tile is 0"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    images: tuple[int, ...], texts: tuple[int, ...], scale: tuple[int, ...], tile: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        contrastive_loss(torch.ones(images), torch.ones(texts), torch.ones(scale), tile=tile)
