"""Windows over pictures of any size: they cover it, and what is said of them comes together as it should."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from mammut_clip.evals.segmentation.windows import Windows, enlarged, labels_at, starts

SIDES = st.integers(1, 70)
SIZES = st.integers(1, 40)
STRIDES = st.none() | st.integers(1, 40)


@given(st.integers(1, 500), st.integers(1, 200), st.none() | st.integers(1, 200))
def test_windows_cover_a_side_and_stay_within_it(length: int, window: int, stride: int | None) -> None:
    found = starts(length, window, None if stride is None else min(stride, window))
    covered = {pixel for start in found for pixel in range(start, start + window)}
    assert covered >= set(range(length))
    assert found == sorted(set(found)) and found[0] == 0
    if length > window:
        assert found[-1] + window == length
        gaps = np.diff(found)
        if stride is None:
            assert len(found) == -(-length // window) and gaps.max() - gaps.min() <= 1
        else:
            assert set(gaps[:-1]) <= {min(stride, window)} and gaps[-1] <= min(stride, window)


@given(SIDES, SIDES, SIZES, STRIDES, st.integers(0, 10**6))
def test_pictures_that_are_cut_and_stitched_are_whole_again(
    height: int, width: int, size: int, stride: int | None, seed: int
) -> None:
    """A predictor that repeats its pixels: every pixel is where it was, however many windows it was in."""
    windows = Windows(size, 8, stride and min(stride, size))
    pixels = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8))
    places = windows.places(height, width)
    cuts = [windows.cut(pixels, place) for place in places]
    assert all(cut.shape == (3, size, size) and cut.dtype == torch.uint8 for cut in cuts)
    stitched = windows.stitch([cut.float() for cut in cuts], places, height, width)
    torch.testing.assert_close(stitched, pixels.float(), rtol=1e-6, atol=1e-4)


def ramp(grid: int, classes: int = 3) -> Tensor:
    return torch.rand(classes, grid, grid, generator=torch.Generator().manual_seed(0))


def test_a_constant_predictor_says_the_same_everywhere() -> None:
    windows, constant = Windows(16, 16, 7), torch.tensor([0.25, -3.0])
    places = windows.places(33, 20)
    stitched = windows.stitch([constant[:, None, None].expand(2, 4, 4)] * len(places), places, 33, 20)
    torch.testing.assert_close(stitched, constant[:, None, None].expand(2, 33, 20))


def test_one_window_over_the_whole_picture_is_a_single_pass() -> None:
    stitched = Windows(16, 16, 3).stitch([ramp(4)], [(0, 0)], 16, 16)
    assert torch.equal(stitched, enlarged(ramp(4)[None], (16, 16))[0])


def test_pictures_smaller_than_a_window_are_filled_up_with_black() -> None:
    cut = Windows(8, 8).cut(torch.full((3, 5, 6), 200, dtype=torch.uint8), (0, 0))
    assert (cut[:, :5, :6] == 200).all() and cut.sum() == 3 * 5 * 6 * 200


def test_the_shorter_side_is_resized() -> None:
    windows = Windows(32, 48)
    assert windows.resized(Image.new("RGB", (60, 30))).shape == (3, 48, 96)
    assert windows.resized(Image.new("RGB", (30, 45))).shape == (3, 72, 48)
    assert windows.resized(Image.new("RGB", (2000, 1))).shape[1] == 48


@given(st.integers(1, 50), st.integers(0, 10**6))
def test_labels_are_the_classes_of_the_largest_logits(classes: int, seed: int) -> None:
    logits = torch.randn(classes, 5, 7, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(labels_at(logits, (11, 9)), enlarged(logits[None], (11, 9))[0].argmax(dim=0))
