"""The sigmoid loss of one process: its definition, and properties that hold for any features.

Over several processes: tests/distributed/test_losses.py.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from live_memory import LiveMemory
from mammut_clip.losses import sigmoid_loss
from pair_references import assert_near, dense_accuracy, dense_sigmoid, features, in_float64, scalar


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 12),
    tile=st.integers(1, 15),
    scale=st.floats(1.0, 100.0),
    bias=st.floats(-20.0, 20.0),
    factor=st.floats(-2, 2),
    seed=st.integers(0, 1000),
)
def test_value_and_gradients_are_those_of_whole_logits(
    rows: int, tile: int, scale: float, bias: float, factor: float, seed: int
) -> None:
    inputs = (*features(rows, 5, seed), scalar(scale), scalar(bias))
    loss, expected = sigmoid_loss(*inputs, tile=tile).loss, dense_sigmoid(*inputs)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-13)
    wanted = torch.autograd.grad(factor * expected, inputs)
    for actual, gradient in zip(torch.autograd.grad(factor * loss, inputs), wanted, strict=True):
        torch.testing.assert_close(actual, gradient, rtol=1e-11, atol=1e-12)


def test_value_and_gradients_are_open_clips() -> None:
    from open_clip.loss import SigLipLoss

    inputs = (*features(23, 16, 1), scalar(10.0), scalar(-10.0))
    loss, expected = sigmoid_loss(*inputs, tile=7).loss, SigLipLoss()(*inputs)
    torch.testing.assert_close(loss, expected)
    wanted = torch.autograd.grad(expected, inputs)
    torch.testing.assert_close(torch.autograd.grad(loss, inputs), wanted)


@pytest.mark.parametrize(("scale", "bias"), [(10.0, -10.0), (10.0, 0.0), (117.0, -12.9)])
def test_float32_keeps_six_digits(scale: float, bias: float) -> None:
    """At the values that training starts from, without a bias, and at those that the released SigLIP ended with."""
    inputs = (*features(300, 64, 0, torch.float32), scalar(scale, torch.float32), scalar(bias, torch.float32))
    exact = in_float64(*inputs)
    loss, expected = sigmoid_loss(*inputs, tile=128).loss, dense_sigmoid(*exact)
    assert loss.dtype == torch.float32
    assert_near(loss, expected, 1e-6, "loss")
    gradients, wanted = torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, exact)
    for name, actual, gradient in zip(("images", "texts", "scale", "bias"), gradients, wanted, strict=True):
        assert_near(actual, gradient, 1e-6, name)


def test_a_batch_that_is_all_but_solved_still_has_a_loss_and_gradients() -> None:
    same = torch.eye(8).requires_grad_()
    scale, bias = scalar(60.0, torch.float32), scalar(-30.0, torch.float32)
    loss = sigmoid_loss(same, torch.eye(8), scale, bias).loss
    assert loss.item() == pytest.approx(8 * math.exp(-30), rel=1e-5)  # logits 30 and -30
    image_gradient, bias_gradient = torch.autograd.grad(loss, (same, bias))
    assert bias_gradient.item() == pytest.approx(6 * math.exp(-30), rel=1e-5)  # 7 lower it, the pair raises it
    assert image_gradient.diagonal() == pytest.approx(torch.full((8,), -60 * math.exp(-30) / 8), rel=1e-5)


def test_bf16_features_are_scored_in_float32() -> None:
    inputs = (*features(40, 32, 3, torch.bfloat16), scalar(10.0, torch.float32), scalar(-10.0, torch.float32))
    exact = in_float64(*inputs)
    loss, expected = sigmoid_loss(*inputs).loss, dense_sigmoid(*exact)
    assert loss.dtype == torch.float32
    assert_near(loss, expected, 1e-6)
    gradients, wanted = torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, exact)
    assert [gradient.dtype for gradient in gradients] == [torch.bfloat16] * 2 + [torch.float32] * 2
    for actual, gradient, tolerance in zip(gradients, wanted, (4e-3, 4e-3, 1e-6, 1e-6), strict=True):
        assert_near(actual, gradient, tolerance)


def test_autocast_changes_nothing() -> None:
    inputs = (*features(40, 32, 3, torch.float32), scalar(10.0, torch.float32), scalar(-10.0, torch.float32))
    plain = sigmoid_loss(*inputs).loss
    with torch.autocast("cpu", torch.bfloat16):
        under = sigmoid_loss(*inputs).loss
    assert torch.equal(under, plain)
    assert all(map(torch.equal, torch.autograd.grad(under, inputs), torch.autograd.grad(plain, inputs)))


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 40), tile=st.integers(1, 15), bias=st.floats(-20.0, 20.0), seed=st.integers(0, 1000))
def test_accuracy_is_the_share_of_images_whose_text_scores_highest(
    rows: int, tile: int, bias: float, seed: int
) -> None:
    images, texts = features(rows, 3, seed)
    accuracy = sigmoid_loss(images, texts, scalar(10.0), scalar(bias), tile=tile).accuracy
    assert not accuracy.requires_grad
    torch.testing.assert_close(accuracy, dense_accuracy(images, texts))


@pytest.mark.parametrize("bias", [-10.0, 1000.0])
def test_ties_are_not_right(bias: float) -> None:
    """Also where a large bias leaves few digits for the difference."""
    images, _ = (part.detach() for part in features(300, 64, 5, torch.float32))
    texts = images.clone()
    texts[200] = texts[100]  # image 100 finds two, image 200 another than its own
    accuracy = sigmoid_loss(images, texts, torch.tensor(10.0), torch.tensor(bias), tile=7).accuracy
    assert float(accuracy) == pytest.approx(298 / 300)


def test_never_holds_more_than_two_tiles_of_logits() -> None:
    rows, width, tile = 512, 4, 32
    images, texts = features(rows, width, 0, torch.float32)
    with LiveMemory() as memory:
        scale, bias = scalar(10.0, torch.float32), scalar(-10.0, torch.float32)
        sigmoid_loss(images, texts, scale, bias, tile=tile).loss.backward()
    assert memory.largest == rows * tile * 4
    of_features = 8 * rows * width * 4  # pulls and gradients [B, E] of both sides
    assert memory.peak <= 2 * rows * tile * 4 + of_features


def test_no_gradient_is_made_where_none_is_wanted() -> None:
    inputs = (*features(16, 8, 0), scalar(10.0), scalar(-10.0))
    product = 2 * 16 * 16 * 8
    with FlopCounterMode(display=False) as without, torch.no_grad():
        loss = sigmoid_loss(*inputs).loss
    with FlopCounterMode(display=False) as whole:
        torch.testing.assert_close(sigmoid_loss(*inputs).loss.detach(), loss)
    assert not loss.requires_grad
    assert without.get_total_flops() == product < whole.get_total_flops()


@pytest.mark.parametrize("moving", [(0,), (1,), (2,), (3,), (1, 2)])
def test_frozen_inputs_get_no_gradient_and_the_others_theirs(moving: tuple[int, ...]) -> None:
    inputs = (*features(6, 5, 0), scalar(10.0), scalar(-10.0))
    wanted = torch.autograd.grad(dense_sigmoid(*inputs), inputs)
    used = [tensor if index in moving else tensor.detach() for index, tensor in enumerate(inputs)]
    found = torch.autograd.grad(sigmoid_loss(*used).loss, [used[index] for index in moving])
    torch.testing.assert_close(found, tuple(wanted[index] for index in moving))


@pytest.mark.parametrize(
    ("texts", "scale", "bias", "message"),
    [
        ((5, 3), (), (), r"of the same pairs, got \[4, 3\] and \[5, 3\]"),
        ((4, 3), (1,), (), r"logit_scale of shape \[\], got \[1\]"),
        ((4, 3), (), (1,), r"logit_bias of shape \[\], got \[1\]"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    texts: tuple[int, ...], scale: tuple[int, ...], bias: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sigmoid_loss(torch.ones(4, 3), torch.ones(texts), torch.ones(scale), torch.ones(bias))
