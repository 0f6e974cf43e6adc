"""SigLIP against open_clip's CLIP with a bias, weight for weight, in both directions."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from mammut_clip.config.model import load_model_config
from mammut_clip.models import CLIP, build_model, from_published, to_published
from mammut_clip.models.build import build_empty

VISION = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32}
TEXT = {"context_length": 20, "vocab_size": 512, "width": 64, "heads": 4, "layers": 2}


@pytest.fixture(params=[False, True], ids=["gelu", "quick gelu"])
def pair(request: pytest.FixtureRequest) -> tuple[CLIP, Any]:
    """Our SigLIP and open_clip's, built from one config."""
    import open_clip

    config = {"embed_dim": 48, "vision_cfg": VISION, "text_cfg": TEXT, "quick_gelu": request.param}
    ours = build_model(load_model_config({"family": "siglip", **config}))
    torch.manual_seed(0)
    theirs = open_clip.CLIP(**config, init_logit_scale=math.log(10), init_logit_bias=-10).eval()
    assert isinstance(ours, CLIP)
    return ours, theirs


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """Images, and texts of different lengths that end in the largest id."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 510, (3, 20), generator=generator)
    for row, end in enumerate((3, 12, 19)):
        ids[row, end], ids[row, end + 1 :] = 511, 0
    return torch.randn(3, 3, 32, 32, generator=generator), ids


def test_scale_and_bias_start_as_open_clips(pair: tuple[CLIP, Any]) -> None:
    ours, theirs = pair
    assert ours.logit_bias is not None
    torch.testing.assert_close(ours.logit_scale.detach(), theirs.logit_scale.detach().reshape(1))
    torch.testing.assert_close(ours.logit_bias.detach(), theirs.logit_bias.detach().reshape(1))


def test_equal_forward_and_gradients_with_open_clips_weights(pair: tuple[CLIP, Any]) -> None:
    from open_clip.loss import SigLipLoss

    ours, theirs = pair
    with torch.no_grad():  # so that zero biases, unit scales and the first temperature are not all there is
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.03)
    ours.load_state_dict(from_published(theirs.state_dict()))
    images, ids = inputs()
    output, expected = ours(images, ids), theirs(images, ids)
    for actual, other in zip(output[:4], expected, strict=True):
        torch.testing.assert_close(actual, other.reshape_as(actual), rtol=1e-5, atol=1e-5)
    assert output.logit_bias.shape == ()
    signs = 2 * torch.eye(3) - 1
    logits = output.logit_scale * output.image_features @ output.text_features.T + output.logit_bias
    loss = -F.logsigmoid(signs * logits).sum() / 3
    other = SigLipLoss()(*expected)
    torch.testing.assert_close(loss, other, rtol=1e-5, atol=0)
    loss.backward()
    other.backward()
    named = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad, named[name].grad.reshape_as(parameter), rtol=1e-4, atol=1e-5)


def test_open_clip_loads_our_weights(pair: tuple[CLIP, Any]) -> None:
    ours, theirs = pair
    theirs.load_state_dict(to_published(ours.state_dict()), strict=True)
    images, ids = inputs()
    with torch.no_grad():
        for actual, expected in zip(ours(images, ids)[:4], theirs(images, ids), strict=True):
            torch.testing.assert_close(actual, expected.reshape_as(actual), rtol=1e-5, atol=1e-5)


def test_another_first_bias() -> None:
    values = load_model_config("toy-XS-SigLIP").model_dump() | {"init_logit_bias": -3.5}
    assert build_model(load_model_config(values)).logit_bias.tolist() == [-3.5]


def test_published_sizes(shared_dir: Path) -> None:
    table = pd.read_csv(shared_dir / "data/paper/model_profile.csv")
    rows = table[table.namespace == "siglip"]
    assert len(rows) == 6
    for row in rows.itertuples():
        model = build_empty(load_model_config(row.model))
        sizes = [sum(p.numel() for p in part.parameters()) for part in (model, model.visual)]
        published = [row.mparams, row.image_mparams]
        assert [round(size / 1e6, 2) for size in sizes] == pytest.approx(published, abs=1e-9), row.model
