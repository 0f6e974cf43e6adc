"""Image towers at other sizes against timm's resampling, and MaskCLIP's embeddings against masked attention."""

import copy

import pytest
import torch
import torch.nn.functional as F
from subjects import random_subject
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from torch import Tensor

from mammut_clip.evals.segmentation.dense import (
    ToItself,
    at_size,
    interpolated_positions,
    patch_embedder,
    patch_embeddings,
    patch_tokens,
    resampled_patches,
    whole_patches,
)
from mammut_clip.models.blocks import SelfAttentionBlock
from mammut_clip.models.vision import VisionTower

GENERATOR = torch.Generator().manual_seed(0)


def tower_of(model: str) -> VisionTower:
    tower = random_subject(model).model.visual
    assert isinstance(tower, VisionTower)
    return tower


def pictures(count: int, size: int) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("old", "new"), [(7, 14), (14, 37), (16, 7), (4, 4)])
def test_positions_are_interpolated_as_timm_does(old: int, new: int) -> None:
    positions = torch.randn(1 + old * old, 24, generator=GENERATOR)
    theirs = resample_abs_pos_embed(positions[None], [new, new], num_prefix_tokens=1)[0]
    torch.testing.assert_close(interpolated_positions(positions, new), theirs)


@pytest.mark.parametrize(("old", "new"), [(8, 16), (16, 8), (14, 16), (6, 9)])
def test_patches_are_resampled_as_timm_does(old: int, new: int) -> None:
    weight = torch.randn(10, 3, old, old, generator=GENERATOR)
    theirs = resample_patch_embed(weight, [new, new])
    torch.testing.assert_close(resampled_patches(weight, new), theirs, rtol=1e-3, atol=1e-4)


def test_patches_keep_their_embedding_when_they_grow() -> None:
    weight = torch.randn(10, 3, 8, 8, generator=GENERATOR)
    patch = torch.randn(1, 3, 8, 8, generator=GENERATOR)
    larger = F.interpolate(patch, (16, 16), mode="bicubic", antialias=True)
    before, after = ((weight * patch).sum((1, 2, 3)), (resampled_patches(weight, 16) * larger).sum((1, 2, 3)))
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("model", ["toy-XS", "mammut_toy-XS"])
def test_a_tower_at_its_own_size_says_what_it_said(model: str) -> None:
    tower = tower_of(model)
    same = at_size(tower, 32)
    assert same is not tower and same.conv1.weight is not tower.conv1.weight
    for ours, theirs in zip(same(pictures(2, 32)), tower(pictures(2, 32)), strict=True):
        assert torch.equal(ours, theirs)


def test_a_tower_at_another_size_leaves_the_first_as_it_was() -> None:
    tower = tower_of("toy-XS")
    before = copy.deepcopy(tower.state_dict())
    larger = at_size(tower, 48, 4)
    assert patch_tokens(larger, pictures(2, 48)).shape == (2, 144, 32)
    assert (larger.config.image_size, larger.config.patch_size) == (48, 4)
    assert (tower.config.image_size, tower.config.patch_size) == (32, 8)
    assert all(torch.equal(value, before[name]) for name, value in tower.state_dict().items())
    assert tower(pictures(1, 32))[0].shape == (1, 32)


def test_sizes_are_rounded_up_to_whole_patches() -> None:
    assert [whole_patches(512, patch) for patch in (32, 16, 14)] == [512, 512, 518]


@pytest.mark.parametrize("model", ["toy-XS", "mammut_toy-XS"])
def test_maskclip_is_attention_of_the_last_block_that_is_masked_to_the_token_itself(model: str) -> None:
    tower, images = tower_of(model), pictures(3, 32)
    before_last = at_size(tower, 32)
    last = before_last.transformer.resblocks[-1]
    assert isinstance(last, SelfAttentionBlock)
    del before_last.transformer.resblocks[-1]
    tokens = last(before_last.tokens(images), mask=torch.eye(17, dtype=torch.bool))[:, 1:]
    expected = F.normalize(tower.ln_post(tokens) @ tower.proj, dim=-1).view(3, 4, 4, 32)
    found = patch_embeddings(patch_embedder(tower, 32, "maskclip"), images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    plain = patch_embeddings(patch_embedder(tower, 32, "plain"), images)
    tokens = tower.tokens(images)[:, 1:]
    torch.testing.assert_close(plain, F.normalize(tower.ln_post(tokens) @ tower.proj, dim=-1).view(3, 4, 4, 32))
    assert (plain - found).abs().max() > 1e-2


def test_an_embedding_stands_where_its_patch_stands() -> None:
    """Where no block mixes tokens, a change in one patch changes one embedding."""
    tower = patch_embedder(tower_of("toy-XS"), 40, "plain")
    for block in tower.transformer.resblocks:
        block.attn = ToItself(block.attn)  # type: ignore[arg-type]
    images = pictures(1, 40)
    changed = images.clone()
    changed[0, :, 8 * 1 + 3, 8 * 4 + 5] += 3  # row 1, column 4 of 5 x 5
    moved = (patch_embeddings(tower, changed) - patch_embeddings(tower, images)).abs().amax(dim=-1)[0]
    assert moved.nonzero().tolist() == [[1, 4]]
