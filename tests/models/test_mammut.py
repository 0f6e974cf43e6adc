"""MaMMUT against what LAION's code computed from the same weights and inputs, and its two passes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from mammut_clip.config.model import load_model_config
from mammut_clip.losses import chunked_caption_loss, contrastive_loss
from mammut_clip.models import MaMMUT, build_model, from_published
from mammut_clip.models.output import make_captions


@pytest.fixture(params=["mlp", "no_mlp"])
def golden(request: pytest.FixtureRequest, shared_dir: Path) -> tuple[MaMMUT, dict[str, Tensor]]:
    """The model of one reference file with its weights, and the file's tensors."""
    with safe_open(shared_dir / f"golden/mammut_tiny_{request.param}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        config = json.loads(file.metadata()["config"])
    model = build_model(load_model_config({"family": "mammut", **config}))
    assert isinstance(model, MaMMUT)
    weights = {key.removeprefix("weights."): value for key, value in tensors.items() if key.startswith("weights.")}
    model.load_state_dict(from_published(weights))
    return model, tensors


def test_forward_equals_the_released_code(golden: tuple[MaMMUT, dict[str, Tensor]]) -> None:
    model, expected = golden
    images, ids = expected["in.image"], expected["in.text"]
    with torch.no_grad():
        assert_near(model.encode_image(images), expected["out.encode_image"])
        assert_near(model.encode_text(ids), expected["out.encode_text"])
        assert_near(model.caption_logits(images, ids)[..., ::64], expected["out.logits"])
        output = model(images, ids)
    assert_near(output.image_features, expected["out.image_features"])
    assert_near(output.text_features, expected["out.text_features"])
    assert output.caption_loss_sum is None


def test_losses_and_every_gradient_equal_the_released_code(golden: tuple[MaMMUT, dict[str, Tensor]]) -> None:
    model, expected = golden
    captions = make_captions(expected["in.text"])
    output = model(expected["in.image"], expected["in.text"], captions, chunked_caption_loss)
    contrastive = contrastive_loss(output.image_features, output.text_features, output.logit_scale).loss
    assert output.caption_loss_sum is not None
    caption = output.caption_loss_sum / len(captions.labels)
    assert_near(contrastive, expected["out.contrastive_loss"])
    assert_near(caption, expected["out.caption_loss"])
    (contrastive + caption).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert_near(parameter.grad.norm(), expected[f"gradnorm.{name}"])


def assert_near(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.fixture
def toy() -> MaMMUT:
    """A small MaMMUT whose vocabulary head is not zero, so that captions differ."""
    model = build_model(load_model_config("mammut_toy-XS"), seed=1)
    assert isinstance(model, MaMMUT)
    torch.nn.init.normal_(model.text.text_projection, generator=torch.Generator().manual_seed(0))
    return model


def test_captions_see_the_past_and_the_image_only(toy: MaMMUT) -> None:
    text = toy.config.text_cfg
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 32, 32, generator=generator)
    ids = torch.randint(1, text.vocab_size, (2, text.context_length), generator=generator)
    logits = toy.caption_logits(images, ids)
    later = ids.clone()
    later[:, 7:] = 1
    changed = toy.caption_logits(images, later)
    torch.testing.assert_close(changed[:, :7], logits[:, :7])
    assert not torch.allclose(changed[:, 7:], logits[:, 7:])
    assert not torch.allclose(toy.caption_logits(images.flip(0), ids)[:, 0], logits[:, 0])


def test_text_of_another_length_is_refused(toy: MaMMUT) -> None:
    with pytest.raises(ValueError, match="pad them to that length"):
        toy.encode_text(torch.ones(1, 5, dtype=torch.long))
    with pytest.raises(ValueError, match="built for"):
        toy.encode_image(torch.zeros(1, 3, 40, 40))


def valid_only() -> MaMMUT:
    """The toy MaMMUT with padding masked, under the same weights."""
    values = load_model_config("mammut_toy-XS").model_dump()
    values["text_cfg"]["text_pooling"] = "mean_valid"
    model = build_model(load_model_config(values), seed=1)
    assert isinstance(model, MaMMUT)
    return model


def test_masked_pooling_sees_a_texts_own_positions_only(toy: MaMMUT) -> None:
    masked = valid_only()
    ids = torch.zeros(3, 20, dtype=torch.long)
    for row, length in enumerate((3, 9, 20)):
        ids[row, 0], ids[row, length - 1] = 94, 95
        ids[row, 1 : length - 1] = torch.arange(2, length)
    with torch.no_grad():
        features = masked.encode_text(ids)
        for row, length in enumerate((3, 9, 20)):
            torch.testing.assert_close(masked.encode_text(ids[row : row + 1, :length]), features[row : row + 1])
        as_released = toy.encode_text(ids)
    torch.testing.assert_close(features[2], as_released[2])  # a full text has no padding
    assert not torch.allclose(features[0], as_released[0], atol=1e-3)


def test_a_pass_that_is_not_asked_for_is_not_made(toy: MaMMUT) -> None:
    images, ids = torch.randn(2, 3, 32, 32), torch.randint(1, 90, (2, 20))
    captions = make_captions(ids)
    both = toy(images, ids, captions, chunked_caption_loss)
    contrastive, caption = toy(images, ids), toy(images, None, captions, chunked_caption_loss)
    assert contrastive.caption_loss_sum is None
    torch.testing.assert_close(contrastive.text_features, both.text_features)
    assert caption.image_features is None
    torch.testing.assert_close(caption.caption_loss_sum, both.caption_loss_sum)
