"""MaMMUT against what LAION's code computed from the same weights and inputs, and its captions."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from mammut_clip.config.model import load_model_config
from mammut_clip.losses import chunked_caption_loss, contrastive_loss
from mammut_clip.models import MaMMUT, build_model, from_published


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
    output = model(expected["in.image"], expected["in.text"], chunked_caption_loss)
    contrastive = contrastive_loss(output.image_features, output.text_features, output.logit_scale)
    assert output.caption_loss_sum is not None
    assert output.caption_tokens is not None
    caption = output.caption_loss_sum / output.caption_tokens
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


def test_generated_ids_are_the_likeliest_at_each_step(toy: MaMMUT) -> None:
    text = toy.config.text_cfg
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    ids = toy.generate(images)
    assert ids.shape[0] == 8
    assert ids.shape[1] <= text.context_length
    assert (ids[:, 0] == text.start_id).all()
    with torch.no_grad():
        logits = toy.caption_logits(images, ids)
    logits[..., [0, text.start_id]] = -torch.inf
    for row, following in zip(ids.tolist(), logits.argmax(-1).tolist(), strict=True):
        end = row.index(text.end_id) if text.end_id in row else len(row) - 1
        assert row[1 : end + 1] == following[:end]
        assert not any(row[end + 1 :])


def test_generation_ends_with_the_text(toy: MaMMUT) -> None:
    text = toy.config.text_cfg
    with torch.no_grad():  # a head that says nothing but end of text
        toy.text.ln_final.weight.zero_()
        toy.text.ln_final.bias.fill_(1.0)
        toy.text.text_projection.zero_()
        toy.text.text_projection[:, text.end_id] = 1.0
    ids = toy.generate(torch.zeros(2, 3, 32, 32))
    assert ids.tolist() == [[text.start_id, text.end_id]] * 2
    toy.text.text_projection.data[:, text.end_id] = -1.0
    assert toy.generate(torch.zeros(2, 3, 32, 32), max_length=5).shape == (2, 5)


def test_text_of_another_length_is_refused(toy: MaMMUT) -> None:
    with pytest.raises(ValueError, match="pad them to that length"):
        toy.encode_text(torch.ones(1, 5, dtype=torch.long))
    with pytest.raises(ValueError, match="built for"):
        toy.encode_image(torch.zeros(1, 3, 40, 40))
