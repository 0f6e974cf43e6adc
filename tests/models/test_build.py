"""Building: a pure function of config and seed; nothing is left uninitialised, the global generator alone."""

import pytest
import torch

from mammut_clip.config.model import load_model_config
from mammut_clip.losses import chunked_caption_loss
from mammut_clip.models import build_model
from mammut_clip.models.initialize import initialize
from mammut_clip.models.output import make_captions

NAMES = ["toy-XS", "toy-XS-SigLIP", "mammut_toy-XS", "coca_toy-XS", "cap_toy-XS"]


@pytest.mark.parametrize("name", NAMES)
def test_weights_depend_on_the_seed_alone(name: str) -> None:
    config = load_model_config(name)
    torch.manual_seed(1)
    first = build_model(config, seed=5).state_dict()
    before = torch.get_rng_state()
    again = build_model(config, seed=5).state_dict()
    other = build_model(config, seed=6).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["visual.conv1.weight"], other["visual.conv1.weight"])


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_initialised(name: str) -> None:
    model = build_model(load_model_config(name))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    initialize(model, torch.Generator().manual_seed(0))
    for key, parameter in model.named_parameters():
        assert torch.isfinite(parameter).all(), key


def test_an_untrained_captioner_finds_every_id_equally_likely() -> None:
    config = load_model_config("mammut_toy-XS")
    model = build_model(config)
    ids = torch.randint(1, 90, (4, config.text_cfg.context_length))
    captions = make_captions(ids)
    output = model(torch.randn(4, 3, 32, 32), ids, captions, chunked_caption_loss)
    mean = output.caption_loss_sum / len(captions.labels)
    torch.testing.assert_close(mean, torch.tensor(float(config.text_cfg.vocab_size)).log())


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_float32_under_bf16(name: str) -> None:
    config = load_model_config(name)
    model = build_model(config)
    images = torch.randn(4, 3, 32, 32)
    ids = torch.randint(1, 90, (4, config.text_cfg.context_length))
    captions = (make_captions(ids), chunked_caption_loss) if config.writes_captions else ()
    features = ids if config.has_features else None
    full = model(images, features, *captions)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(images, features, *captions)
    half = model.bfloat16()(images.bfloat16(), features, *captions)
    for output in (mixed, half):
        for field in ("image_features", "text_features", "logit_scale", "caption_loss_sum"):
            value, expected = getattr(output, field), getattr(full, field)
            if expected is None:
                assert value is None
                continue
            assert value.dtype == torch.float32, field
            torch.testing.assert_close(value, expected, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_hold_each_transformer_block_once(name: str) -> None:
    model = build_model(load_model_config(name))
    blocks = model.blocks()
    assert len({id(block) for block in blocks}) == len(blocks)
    inside = {id(p) for block in blocks for p in block.parameters()}
    outside = {key for key, p in model.named_parameters() if id(p) not in inside}
    assert not any("resblocks" in key or "cross_attn" in key for key in outside)
