import math

import pytest
import torch

from mammut_clip.config.model import load_model_config
from mammut_clip.config.run import OptimizerConfig
from mammut_clip.models import build_model
from mammut_clip.train.optimizer import make_optimizer
from mammut_clip.train.step import cut_padding


def captions(lengths: list[int]) -> torch.Tensor:
    """Ids [B, 20] of captions of these lengths, start and end token included."""
    ids = torch.zeros(len(lengths), 20, dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, 0], ids[row, length - 1] = 94, 95
        ids[row, 1 : length - 1] = torch.arange(2, length)
    return ids


@pytest.mark.parametrize(("lengths", "kept"), [([3, 8], 8), ([3, 9], 16), ([20], 20), ([17], 20)])
def test_clip_text_is_cut_behind_the_longest_caption_without_effect(lengths: list[int], kept: int) -> None:
    ids = captions(lengths)
    cut = cut_padding(ids, "clip")
    assert cut.shape == (len(lengths), kept)
    model = build_model(load_model_config("toy-XS")).eval()
    torch.testing.assert_close(model.encode_text(cut), model.encode_text(ids), atol=1e-6, rtol=1e-6)


def test_mammut_keeps_its_padding() -> None:
    ids = captions([3, 8])
    assert cut_padding(ids, "mammut") is ids


def test_weight_decay_is_for_matrices_only() -> None:
    model = build_model(load_model_config("mammut_toy-XS"))
    config = OptimizerConfig(lr=1e-3, weight_decay=0.2)
    decayed, spared = make_optimizer(model, config).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.2, 0.0)
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert all(p.ndim < 2 for p in spared["params"])
    assert any(p is model.logit_scale for p in spared["params"])
    assert len(decayed["params"]) + len(spared["params"]) == len(list(model.parameters()))
    assert math.isclose(spared["lr"], 1e-3)
