"""CLIP against open_clip's, weight for weight, in both directions."""

from typing import Any

import pytest
import torch

from mammut_clip.config.model import load_model_config
from mammut_clip.models import CLIP, build_model, from_published, to_published
from mammut_clip.models.build import build_empty

VISION = {"image_size": 64, "patch_size": 16, "width": 96, "layers": 3, "head_width": 32}
TEXT = {"context_length": 77, "vocab_size": 512, "width": 64, "heads": 4, "layers": 3}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as ViT-B-32": (VISION, TEXT),
    "layer scale": ({**VISION, "ls_init_value": 0.1}, TEXT),
    "norm after pooling": ({**VISION, "final_ln_after_pool": True}, TEXT),
    "other mlp": ({**VISION, "mlp_ratio": 2.5}, {**TEXT, "mlp_ratio": 3.0}),
}


@pytest.fixture(params=list(CASES))
def pair(request: pytest.FixtureRequest) -> tuple[CLIP, Any]:
    """Our CLIP and open_clip's, built from one config."""
    import open_clip

    vision, text = CASES[request.param]
    ours = build_model(load_model_config({"family": "clip", "embed_dim": 48, "vision_cfg": vision, "text_cfg": text}))
    torch.manual_seed(0)
    theirs = open_clip.CLIP(48, dict(vision), dict(text)).eval()
    with torch.no_grad():  # so that zero biases and unit scales are tested too
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.03)
    assert isinstance(ours, CLIP)
    return ours, theirs


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """Images, and texts of different lengths that end in the largest id."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 3, 64, 64, generator=generator)
    ids = torch.randint(1, 500, (3, 77), generator=generator)
    for row, end in enumerate((3, 20, 76)):
        ids[row, end], ids[row, end + 1 :] = 511, 0
    return images, ids


def test_equal_forward_and_gradients_with_open_clips_weights(pair: tuple[CLIP, Any]) -> None:
    ours, theirs = pair
    ours.load_state_dict(from_published(theirs.state_dict()))
    images, ids = inputs()
    output = ours(images, ids)
    expected_images, expected_texts, expected_scale = theirs(images, ids)
    torch.testing.assert_close(output.image_features, expected_images, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.text_features, expected_texts, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.logit_scale, expected_scale)
    for image, text, scale in (
        (*output[:2], output.logit_scale),
        (expected_images, expected_texts, expected_scale),
    ):
        torch.nn.functional.cross_entropy(scale * image @ text.T, torch.arange(3)).backward()
    named = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad, named[name].grad.reshape_as(parameter), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ViT-S-32", "ViT-M-16-alt", "ViT-B-32"])
def test_published_scales_equal_open_clips(name: str) -> None:
    """Whole models with random weights, ours loaded from open_clip's state dict."""
    import open_clip

    config = load_model_config(name)
    sizes = config.model_dump(exclude={"family", "quick_gelu"})
    torch.manual_seed(0)
    theirs = open_clip.CLIP(**sizes).eval()
    ours = build_empty(config).to_empty(device="cpu").eval()
    ours.load_state_dict(from_published(theirs.state_dict()))
    images, ids = torch.randn(2, 3, 224, 224), torch.zeros(2, 77, dtype=torch.long)
    ids[0, :9], ids[1, :76] = torch.randint(1, 49406, (9,)), torch.randint(1, 49406, (76,))
    ids[0, 9] = ids[1, 76] = 49407
    with torch.no_grad():
        output = ours(images, ids)
        expected_images, expected_texts, _ = theirs(images, ids)
    torch.testing.assert_close(output.image_features, expected_images, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.text_features, expected_texts, rtol=1e-5, atol=1e-5)


def test_open_clip_loads_our_weights(pair: tuple[CLIP, Any]) -> None:
    ours, theirs = pair
    theirs.load_state_dict(to_published(ours.state_dict()), strict=True)
    images, ids = inputs()
    with torch.no_grad():
        torch.testing.assert_close(
            ours.encode_image(images, normalize=False), theirs.encode_image(images), rtol=1e-5, atol=1e-5
        )
        torch.testing.assert_close(
            ours.encode_text(ids, normalize=False), theirs.encode_text(ids), rtol=1e-5, atol=1e-5
        )


def test_initial_weights_are_spread_as_open_clips() -> None:
    """Same standard deviation and mean per parameter, up to sampling noise, at width 128."""
    import open_clip

    vision = {**VISION, "width": 128, "ls_init_value": 1e-4}
    text = {**TEXT, "width": 128}
    ours = build_model(load_model_config({"family": "clip", "embed_dim": 128, "vision_cfg": vision, "text_cfg": text}))
    torch.manual_seed(1)
    theirs = open_clip.CLIP(128, dict(vision), dict(text))
    expected = theirs.state_dict()
    for name, value in to_published(ours.state_dict()).items():
        other = expected[name]
        assert value.shape == other.shape
        if value.numel() < 2 or other.std() == 0:
            torch.testing.assert_close(value, other, msg=name)
            continue
        noise = 5 / value.numel() ** 0.5
        assert abs(value.std() / other.std() - 1) < noise, name
        assert abs(value.mean() - other.mean()) < 2 * noise * other.std(), name


def test_text_may_be_cut_after_its_end() -> None:
    model = build_model(load_model_config("toy-XS"))
    ids = torch.zeros(2, 20, dtype=torch.long)
    ids[:, :4] = torch.tensor([[94, 5, 6, 95], [94, 7, 8, 95]])
    with torch.no_grad():
        torch.testing.assert_close(model.encode_text(ids[:, :4]), model.encode_text(ids))
    with pytest.raises(ValueError, match="texts have 21 positions"):
        model.encode_text(torch.ones(1, 21, dtype=torch.long))
