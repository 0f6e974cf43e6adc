"""FLOPs: the published figures in the paper's convention, and what torch counts when our models run."""

from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mammut_clip.config.model import ModelConfig, load_model_config
from mammut_clip.cost import gflops_per_sample
from mammut_clip.models import build_model


def test_published_figures(shared_dir: Path) -> None:
    table = pd.read_csv(shared_dir / "data/paper/model_profile.csv")
    rows = table[table.namespace.isin(["clip", "mammut"])]
    assert len(rows) == 35
    for row in rows.itertuples():
        paper = gflops_per_sample(load_model_config(row.model)).paper
        assert paper == pytest.approx(row.gflops, abs=max(0.001 * row.gflops, 0.006)), row.model


def small(name: str, **vision: int) -> ModelConfig:
    """A toy model with a context as long as its pictures have patches, so that attention weighs something."""
    values = load_model_config(name).model_dump()
    values["vision_cfg"] |= {"image_size": 64, **vision}
    values["text_cfg"] |= {"context_length": 77, "vocab_size": 500}
    return load_model_config(values)


def whole_logits_loss(
    hidden: torch.Tensor, head: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    loss = F.cross_entropy((hidden @ head).flatten(0, 1), labels.flatten(), reduction="sum")
    return loss, torch.tensor(labels.numel())


@pytest.mark.parametrize("name", ["toy-XS", "toy-S", "mammut_toy-XS", "mammut_toy-S"])
def test_exact_figures_are_what_torch_counts(name: str) -> None:
    config = small(name)
    model, batch = build_model(config), 2
    images = torch.randn(batch, 3, 64, 64)
    ids = torch.randint(1, 500, (batch, 77))
    expected = gflops_per_sample(config)
    # plain attention: the fused kernels' backward pass makes the scores again, which is not counted here
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            output = model(images, ids, whole_logits_loss)
        with FlopCounterMode(display=False) as backward:
            total = output.image_features.sum() + output.text_features.sum()
            if output.caption_loss_sum is not None:
                total = total + output.caption_loss_sum
            total.backward()
    assert forward.get_total_flops() / batch / 1e9 == pytest.approx(expected.exact_forward, rel=1e-4)
    step = forward.get_total_flops() + backward.get_total_flops()
    assert step / batch / 1e9 == pytest.approx(expected.exact_step, rel=1e-4)
    with FlopCounterMode(display=False) as fused, torch.no_grad():
        model(images, ids, whole_logits_loss)
    assert fused.get_total_flops() / batch / 1e9 == pytest.approx(expected.exact_forward, rel=1e-4)
