"""What a training step does to pictures: the same from the same seed, and to the mask what it does to the picture."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mammut_clip.data.evalsets import IGNORED, Mask
from mammut_clip.evals.segmentation.augment import Augmentation, hue_turned, jittered, nearest

SEEDS = st.integers(0, 2**63)


def stripes(height: int, width: int) -> tuple[Image.Image, Mask]:
    """A picture whose grey is 40 + 20 x class, in stripes of 8 pixels across, with an ignored band below (grey 250)."""
    mask = np.broadcast_to(np.arange(width) // 8 % 10, (height, width)).astype(np.uint16)
    mask[height * 3 // 4 :] = IGNORED
    grey = np.where(mask == IGNORED, 250, 40 + 20 * mask).astype(np.uint8)
    return Image.fromarray(np.repeat(grey[..., None], 3, axis=2)), mask


@given(SEEDS, st.integers(9, 90), st.integers(9, 90))
def test_shapes_and_repetition(seed: int, height: int, width: int) -> None:
    augmentation = Augmentation(32)
    pixels, truth = augmentation(*stripes(height, width), seed)
    assert (pixels.shape, pixels.dtype, truth.shape, truth.dtype) == ((3, 32, 32), torch.uint8, (32, 32), torch.int64)
    again = augmentation(*stripes(height, width), seed)
    assert torch.equal(pixels, again[0]) and torch.equal(truth, again[1])
    assert (truth != IGNORED).any()  # not a crop of the band alone


def test_other_seeds_give_other_pictures() -> None:
    seen = {Augmentation(32)(*stripes(64, 64), seed)[0].numpy().tobytes() for seed in range(20)}
    assert len(seen) == 20


@given(SEEDS, st.integers(40, 90), st.integers(40, 90))
def test_mask_and_picture_go_together(seed: int, height: int, width: int) -> None:
    pixels, truth = Augmentation(64, (0.8, 2.0), colour_jitter=False)(*stripes(height, width), seed)
    black = (pixels == 0).all(dim=0)
    assert (truth[black] == IGNORED).all()  # filled up; no pixel of the picture is black
    labelled = truth != IGNORED
    said = (pixels[0][labelled].float() - 40) / 20
    assert ((said - truth[labelled]).abs() < 0.25).float().mean() > 0.6  # away from edges, which are blurred


def test_half_of_the_pictures_are_mirrored() -> None:
    picture, mask = stripes(64, 64)
    kept = Augmentation(64, (1, 1), colour_jitter=False)
    never = Augmentation(64, (1, 1), flip=False, colour_jitter=False)
    first = [
        bool((kept(picture, mask, seed)[1][0] == torch.from_numpy(mask[0].astype("int64"))).all())
        for seed in range(200)
    ]
    assert 70 < sum(first) < 130
    assert all((never(picture, mask, seed)[1].numpy() == mask).all() for seed in range(20))


@given(SEEDS)
def test_crops_are_parts_of_the_scaled_picture(seed: int) -> None:
    """Cut out while scaling, they are what cutting the scaled picture gives."""
    noise = np.random.default_rng(seed % 1000).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    mask = np.arange(50 * 40, dtype=np.uint16).reshape(50, 40)  # each pixel says where it was
    pixels, truth = Augmentation(32, (2, 2), flip=False, colour_jitter=False)(Image.fromarray(noise), mask, seed)
    scaled = np.asarray(Image.fromarray(noise).resize((51, 64), Image.Resampling.BILINEAR)).astype(int)
    places = nearest(mask, 64, 51)
    tops = [
        (top, left)
        for top in range(33)
        for left in range(20)
        if (places[top : top + 32, left : left + 32] == truth.numpy()).all()
    ]
    difference = [
        np.abs(scaled[top : top + 32, left : left + 32] - pixels.permute(1, 2, 0).numpy()).max() for top, left in tops
    ]
    assert min(difference) <= 2


def test_nearest_repeats_and_skips_whole_pixels() -> None:
    mask = np.arange(12, dtype=np.uint16).reshape(3, 4)
    assert (nearest(mask, 6, 8) == mask.repeat(2, axis=0).repeat(2, axis=1)).all()
    assert (nearest(nearest(mask, 9, 12), 3, 4) == mask).all()


@pytest.mark.parametrize(("turn", "colour"), [(0.0, (255, 0, 0)), (1 / 3, (0, 255, 0)), (-1 / 3, (0, 0, 255))])
def test_hues_turn_round_the_circle(turn: float, colour: tuple[int, int, int]) -> None:
    turned = hue_turned(Image.new("RGB", (2, 2), (255, 0, 0)), turn)
    assert np.abs(np.asarray(turned).astype(int)[0, 0] - colour).max() <= 6


def test_colours_change_in_all_four_ways_and_not_always() -> None:
    """A grey picture keeps its hue and saturation; about 1/4 of such pictures stays as it is."""
    grey = Image.fromarray(
        np.repeat(np.linspace(60, 160, 64).astype(np.uint8)[:, None, None], 3, axis=2).repeat(4, axis=1)
    )
    colourful = Image.fromarray(np.random.default_rng(0).integers(60, 160, (16, 16, 3), dtype=np.uint8))
    same = [jittered(grey, random.Random(seed)).tobytes() == grey.tobytes() for seed in range(200)]
    assert 25 < sum(same) < 80
    kept = [jittered(colourful, random.Random(seed)).tobytes() == colourful.tobytes() for seed in range(200)]
    assert 2 < sum(kept) < 30
    assert all(np.ptp(np.asarray(jittered(grey, random.Random(seed))), axis=2).max() == 0 for seed in range(50))
