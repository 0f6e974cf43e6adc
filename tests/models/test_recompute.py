"""Recomputation changes what is kept for the backward pass and nothing else."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mammut_clip.config.model import load_model_config
from mammut_clip.losses import chunked_caption_loss
from mammut_clip.models import build_model
from mammut_clip.models.blocks import Block, SelfAttentionBlock
from mammut_clip.models.output import make_captions
from mammut_clip.models.recompute import Recompute


def bytes_kept(run: Callable[[], Tensor]) -> int:
    """Bytes that are still held once `run` has made its forward pass: what the backward pass will read."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        total = run()
    total.backward()
    return sum(event.self_cpu_memory_usage for event in profile.key_averages())


def losses(name: str, recompute: Recompute) -> tuple[float, dict[str, Tensor]]:
    config = load_model_config(name)
    model = build_model(config, seed=3)
    for block in model.blocks():  # type: ignore[operator]
        assert isinstance(block, Block)
        block.recompute = recompute
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 32, 32, generator=generator)
    ids = torch.randint(1, 90, (4, config.text_cfg.context_length), generator=generator)
    output = model(images, ids, make_captions(ids), chunked_caption_loss)
    loss = (output.image_features @ output.text_features.T).square().sum() + output.caption_loss_sum
    loss.backward()
    return loss.item(), {key: p.grad for key, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_losses_and_gradients_are_the_same(recompute: Recompute) -> None:
    expected, gradients = losses("mammut_toy-S", "none")
    loss, found = losses("mammut_toy-S", recompute)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert found.keys() == gradients.keys()
    for key, gradient in gradients.items():
        torch.testing.assert_close(found[key], gradient, msg=key)


def test_less_is_kept_the_more_is_computed_again() -> None:
    block = SelfAttentionBlock(64, 4, 256)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.1)
    x = torch.randn(8, 50, 64, requires_grad=True)
    values_per_token = {}
    for recompute in ("none", "selective", "full"):
        block.recompute = recompute
        # x comes out of a product, so that the block's own input counts as kept
        values_per_token[recompute] = bytes_kept(lambda: block(x * 1.0).square().sum()) / (8 * 50 * 64 * 4)
    assert values_per_token["full"] < 0.3 * values_per_token["selective"]
    assert values_per_token["selective"] < 0.8 * values_per_token["none"]
