"""Image towers of timm: open_clip's forward and state dict on the same weights, and timm's own first weights."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mammut_clip.config.errors import ConfigError
from mammut_clip.config.model import ModelConfig, load_model_config
from mammut_clip.models import CLIP, build_model, from_published, to_published
from mammut_clip.models.build import build_empty
from mammut_clip.models.measure import measured_cost
from mammut_clip.models.timm_tower import TimmTower

SIZE = 64
TEXT = {"context_length": 20, "vocab_size": 512, "width": 64, "heads": 4, "layers": 2}
# positions and a class token; batch norm and its running statistics; depthwise convolutions
NAMES = ["test_vit", "test_resnet", "test_convnext"]


def config(name: str, family: str = "clip", size: int = SIZE) -> ModelConfig:
    vision = {"timm": name, "image_size": size}
    return load_model_config({"family": family, "embed_dim": 48, "vision": vision, "text_cfg": TEXT})


def tower_of(model: Any) -> TimmTower:
    assert isinstance(model.visual, TimmTower)
    return model.visual


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """Images, and texts of different lengths that end in the largest id."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 510, (3, 20), generator=generator)
    for row, end in enumerate((3, 12, 19)):
        ids[row, end], ids[row, end + 1 :] = 511, 0
    return torch.randn(3, 3, SIZE, SIZE, generator=generator), ids


@pytest.fixture(params=[(name, "clip") for name in NAMES] + [("test_vit", "siglip")], ids="-".join)
def pair(request: pytest.FixtureRequest) -> tuple[CLIP, Any]:
    """Our model and open_clip's, built from one config."""
    import open_clip

    name, family = request.param
    torch.manual_seed(0)
    vision = {"timm_model_name": name, "timm_pool": "", "timm_proj": "linear", "image_size": SIZE}
    theirs = open_clip.CLIP(48, vision, TEXT, init_logit_bias=-10.0 if family == "siglip" else None)
    theirs.visual.set_input_size(SIZE)
    with torch.no_grad():  # so that zero biases, unit scales and fresh running statistics are not all there is
        for tensor in theirs.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor) * 0.03)
    ours = build_model(config(name, family))
    assert isinstance(ours, CLIP)
    return ours, theirs


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_equal_forward_and_gradients_with_open_clips_weights(pair: tuple[CLIP, Any], training: bool) -> None:
    ours, theirs = (model.train(training) for model in pair)
    ours.load_state_dict(from_published(theirs.state_dict()))
    images, ids = inputs()
    output, expected = ours(images, ids), theirs(images, ids)
    found = [value for value in output if value is not None]
    for actual, other in zip(found, expected, strict=True):
        torch.testing.assert_close(actual, other.reshape_as(actual), rtol=1e-5, atol=1e-5)
    for image, text, scale in (found[:3], expected[:3]):
        F.cross_entropy(scale * image @ text.T, torch.arange(3)).backward()
    named = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        if name != "logit_bias":  # the loss above has none
            assert parameter.grad is not None, name
            torch.testing.assert_close(parameter.grad, named[name].grad.reshape_as(parameter), rtol=1e-4, atol=1e-5)
    for name, buffer in ours.named_buffers():  # running statistics moved alike
        torch.testing.assert_close(buffer, dict(theirs.named_buffers())[name])


def test_open_clip_loads_our_weights(pair: tuple[CLIP, Any]) -> None:
    ours, theirs = (model.eval() for model in pair)
    theirs.load_state_dict(to_published(ours.state_dict()), strict=True)
    images, _ = inputs()
    with torch.no_grad():
        expected = theirs.encode_image(images)
        torch.testing.assert_close(ours.encode_image(images, normalize=False), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_trunk_starts_as_timms_whatever_ran_before(name: str) -> None:
    import timm

    torch.manual_seed(1)
    model = build_model(config(name), seed=5)
    before = torch.get_rng_state()
    again, other = build_model(config(name), seed=5), build_model(config(name), seed=6)
    assert torch.equal(torch.get_rng_state(), before)
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    assert any(not torch.equal(a, b) for a, b in zip(model.visual.parameters(), other.visual.parameters(), strict=True))

    values = tower_of(model).first_values(seed=3)
    torch.manual_seed(3)
    size = {"img_size": SIZE} if name == "test_vit" else {}
    theirs = timm.create_model(name, num_classes=0, **size)
    expected = dict(theirs.named_parameters()) | dict(theirs.named_buffers())
    assert values.keys() == expected.keys()
    assert all(torch.equal(values[key], expected[key]) for key in values)


def test_nothing_is_left_on_the_meta_device_or_without_gradient() -> None:
    for name in NAMES:
        model = build_model(config(name))
        output = model(*inputs())
        (output.image_features @ output.text_features.T).mul(output.logit_scale).square().sum().backward()
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert all(buffer.device.type == "cpu" for buffer in model.buffers())


@pytest.mark.parametrize(("name", "kinds"), [("test_vit", 6), ("test_convnext", 9), ("test_resnet", 4), ("vgg11", 0)])
def test_blocks_are_what_repeats(name: str, kinds: int) -> None:
    model = build_empty(config(name))
    blocks = tower_of(model).blocks()
    assert len({id(block) for block in blocks}) == kinds
    inside = [id(part) for block in blocks for part in block.modules()]
    assert len(inside) == len(set(inside))  # none holds another
    assert [id(block) for block in model.blocks()[:kinds]] == [id(block) for block in blocks]


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"vision_cfg.timm_model_name = 'test_vitt'.*did you mean test_vit"):
        build_empty(config("test_vitt"))
    with pytest.raises(ConfigError, match=r"timm_model_name = 'test_vit\.nothing': timm has no such weights"):
        build_empty(config("test_vit.nothing"))
    with pytest.raises(ConfigError, match=r"vision_cfg.image_size = 3\b.*convnext.* cannot take images of this size"):
        build_empty(config("test_convnext", size=3))
    with pytest.raises(ConfigError, match=r"vision_cfg.image_size = 8\b.*test_vit cannot"):
        build_empty(config("test_vit", size=8))
    with pytest.raises(ConfigError, match="expected one feature vector"):
        build_empty(config("qwen3_vit_88m_enc"))
    with pytest.raises(ConfigError, match=r"does not depend on its parameters \['weights'\]"):
        build_empty(config("efficientvim_m1"))
    with pytest.raises(ConfigError, match=r"timm_pool = 'avg': the only value that can be built is ''"):
        load_model_config({**config("test_vit").model_dump(), "vision_cfg": {"timm": "test_vit", "timm_pool": "avg"}})


def test_published_weights_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    values = config("test_vit").model_dump()
    values["vision_cfg"]["timm_model_pretrained"] = True
    with pytest.raises(ConfigError, match="timm_model_name = 'test_vit': its published weights cannot be read"):
        build_model(load_model_config(values))


def test_images_are_whole_and_of_the_right_size() -> None:
    tower = tower_of(build_model(config("test_convnext")))
    features, tokens = tower(torch.randn(2, 3, SIZE, SIZE))
    assert features.shape == (2, 48) and tokens is None
    with pytest.raises(ValueError, match="whole images"):
        tower(torch.randn(2, 3, SIZE, SIZE), torch.zeros(2, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="this model was built for"):
        tower(torch.randn(2, 3, SIZE, SIZE + 32))


def test_costs_are_the_closed_form_of_a_transformer() -> None:
    tower = tower_of(build_empty(config("test_vit")))
    block = tower.trunk.blocks[0]
    width, hidden, layers = block.attn.qkv.in_features, block.mlp.fc1.out_features, len(tower.trunk.blocks)
    tokens = (SIZE // 16) ** 2 + 1
    pixels = 2 * (tokens - 1) * 3 * 16**2 * width
    linear = layers * (8 * tokens * width**2 + 4 * tokens * width * hidden) + 2 * width * 48
    attention = layers * 4 * tokens**2 * width
    cost = measured_cost(config("test_vit"))["vision_cfg"]
    assert cost.params == sum(parameter.numel() for parameter in tower.parameters())
    assert cost.gflops_paper == pytest.approx((pixels + linear) / 1e9, rel=1e-9)
    assert cost.gflops_exact_forward == pytest.approx((pixels + linear + attention) / 1e9, rel=1e-9)
    assert cost.gflops_exact_step == pytest.approx((2 * pixels + 3 * linear + 3 * attention) / 1e9, rel=1e-9)


@pytest.mark.parametrize(("name", "stem"), [("test_resnet", "conv1.0"), ("test_convnext", "stem.0")])
def test_convolutions_cost_thrice_their_forward_pass_but_for_the_first(name: str, stem: str) -> None:
    cost = measured_cost(config(name))["vision_cfg"]
    first = tower_of(build_empty(config(name))).trunk.get_submodule(stem)
    pixels = 2 * first.weight.numel() * (SIZE // first.stride[0]) ** 2
    assert cost.gflops_paper == cost.gflops_exact_forward
    assert cost.gflops_exact_step == pytest.approx(3 * cost.gflops_exact_forward - pixels / 1e9, rel=1e-9)


def test_a_model_of_ours_has_no_tower_to_measure() -> None:
    assert measured_cost(load_model_config("toy-XS")) == {}
