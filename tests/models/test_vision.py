"""Patch dropout: the tower sees the patches it is told to, each at its own place."""

import pytest
import torch

from mammut_clip.config.model import load_model_config
from mammut_clip.models import build_model
from mammut_clip.models.vision import VisionTower


@pytest.fixture
def tower() -> VisionTower:
    model = build_model(load_model_config("toy-S"))
    assert isinstance(model.visual, VisionTower)
    return model.visual


def test_keeping_every_patch_changes_nothing_in_any_order(tower: VisionTower) -> None:
    images = torch.randn(3, 3, 32, 32)
    everything = torch.stack([torch.randperm(tower.config.patches) for _ in range(3)])
    features, tokens = tower(images)
    kept_features, kept_tokens = tower(images, everything)
    torch.testing.assert_close(kept_features, features)
    order = torch.cat([torch.zeros(3, 1, dtype=torch.long), everything + 1], dim=1)
    torch.testing.assert_close(kept_tokens, tokens.gather(1, order[..., None].expand_as(kept_tokens)))


def test_what_is_dropped_has_no_effect(tower: VisionTower) -> None:
    config = tower.config
    images = torch.randn(2, 3, 32, 32)
    kept = torch.tensor([[0, 2, 5], [1, 3, 4]])
    features, tokens = tower(images, kept)
    assert tokens.shape == (2, 4, config.width)
    painted = images.clone()
    across = config.image_size // config.patch_size
    for row, places in enumerate(kept.tolist()):
        for patch in set(range(config.patches)) - set(places):
            top, left = (config.patch_size * place for place in divmod(patch, across))
            painted[row, :, top : top + config.patch_size, left : left + config.patch_size] = 9.0
    torch.testing.assert_close(tower(painted, kept)[0], features)
    assert not torch.allclose(tower(painted)[0], tower(images)[0])
