"""Text towers of transformers: open_clip's forward and state dict on the same weights, poolers, padding, safety."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mammut_clip.config.errors import ConfigError
from mammut_clip.config.model import ModelConfig, load_model_config
from mammut_clip.models import build_model, from_published, to_published
from mammut_clip.models.build import build_empty
from mammut_clip.models.custom_clip import CustomTextCLIP
from mammut_clip.models.measure import measured_cost

T, VOCABULARY, WIDTH = 16, 96, 32
VISION = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 32}
BERT = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4}
T5 = {"vocab_size": VOCABULARY, "d_model": WIDTH, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", {**BERT, "intermediate_size": 64, "max_position_embeddings": 40}),
    "roberta": ("RobertaConfig", {**BERT, "intermediate_size": 64, "max_position_embeddings": 42}),
    "mt5": ("MT5Config", T5),  # an encoder-decoder
    "deberta": ("DebertaV2Config", {**BERT, "intermediate_size": 64}),  # attention written out
    "modernbert": (
        "ModernBertConfig",
        {**BERT, "intermediate_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
        | {"cls_token_id": 1, "sep_token_id": 2},
    ),  # rotary frequencies, which no state dict holds
    "gpt2": (
        "GPT2Config",
        {"vocab_size": VOCABULARY, "n_embd": WIDTH, "n_layer": 2, "n_head": 4, "pad_token_id": 0}
        | {"bos_token_id": 1, "eos_token_id": 2},
    ),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each architecture's folder, which holds its config alone."""
    import transformers

    found = {}
    for name, (kind, values) in ARCHITECTURES.items():
        found[name] = tmp_path_factory.mktemp(name)
        getattr(transformers, kind)(**values).save_pretrained(found[name])
    return found


def config(folder: Path, family: str = "clip", **text: Any) -> ModelConfig:
    tower = {"transformers": str(folder), "context_length": T, **text}
    return load_model_config({"family": family, "embed_dim": 24, "vision_cfg": VISION, "text": tower})


def built(folder: Path, seed: int = 0, **text: Any) -> CustomTextCLIP:
    model = build_model(config(folder, **text), seed)
    assert isinstance(model, CustomTextCLIP)
    return model


def inputs(pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images, and texts of different lengths."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, VOCABULARY, (3, T), generator=generator)
    for row, length in enumerate((2, 9, T)):
        ids[row, length:] = pad
    return torch.randn(3, 3, 32, 32, generator=generator), ids


CASES = [
    ("bert", "mean_pooler", "linear", "clip"),
    ("bert", "cls_last_hidden_state_pooler", "mlp", "siglip"),
    ("roberta", "mean_pooler", "mlp", "clip"),
    ("mt5", "mean_pooler", "linear", "clip"),
]


@pytest.fixture(params=CASES, ids="-".join)
def pair(request: pytest.FixtureRequest, folders: dict[str, Path]) -> tuple[CustomTextCLIP, Any]:
    """Our model and open_clip's in evaluation mode, without dropout, built from one config."""
    from open_clip.model import CustomTextCLIP as Theirs

    name, pooler, projection, family = request.param
    text = {"hf_pooler_type": pooler, "hf_proj_type": projection, "hf_model_pretrained": False}
    torch.manual_seed(0)
    bias = -10.0 if family == "siglip" else None
    theirs = Theirs(24, VISION, {"hf_model_name": str(folders[name]), **text}, init_logit_bias=bias).eval()
    with torch.no_grad():  # so that zero biases and unit scales are not all there is
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.03)
    ours = build_model(config(folders[name], family, **text)).eval()
    assert isinstance(ours, CustomTextCLIP)
    return ours, theirs


def test_equal_forward_and_gradients_with_open_clips_weights(pair: tuple[CustomTextCLIP, Any]) -> None:
    ours, theirs = pair
    ours.load_state_dict(from_published(theirs.state_dict()), strict=True)
    images, ids = inputs(ours.text.architecture.pad_token_id)
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


def test_open_clip_loads_our_weights(pair: tuple[CustomTextCLIP, Any]) -> None:
    ours, theirs = pair
    theirs.load_state_dict(to_published(ours.state_dict()), strict=True)
    _, ids = inputs(ours.text.architecture.pad_token_id)
    with torch.no_grad():
        expected = theirs.encode_text(ids)
        torch.testing.assert_close(ours.encode_text(ids, normalize=False), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_every_parameter_learns_and_nothing_stays_on_the_meta_device(folders: dict[str, Path], name: str) -> None:
    model = built(folders[name], hf_proj_type="mlp")
    assert all(tensor.device.type == "cpu" for tensor in (*model.parameters(), *model.buffers()))
    output = model(*inputs(model.text.architecture.pad_token_id))
    (output.image_features @ output.text_features.T).mul(output.logit_scale).square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
    assert len(model.text.blocks()) == 2
    assert model.blocks() == [*model.visual.blocks(), *model.text.blocks()]  # type: ignore[operator]


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_the_trunk_starts_as_transformers_whatever_ran_before(folders: dict[str, Path], name: str) -> None:
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(1)
    model = built(folders[name], seed=5)
    before = torch.get_rng_state()
    again, other = built(folders[name], seed=5), built(folders[name], seed=6)
    assert torch.equal(torch.get_rng_state(), before)
    everything = dict(model.named_parameters()) | dict(model.named_buffers())
    for key, value in (dict(again.named_parameters()) | dict(again.named_buffers())).items():
        assert torch.equal(value, everything[key]), key
    assert not torch.equal(next(model.text.parameters()), next(other.text.parameters()))

    values = model.text.first_values(seed=3)
    torch.manual_seed(3)
    options = {"add_pooling_layer": False} if name in ("bert", "roberta") else {}
    theirs = AutoModel.from_config(AutoConfig.from_pretrained(folders[name]), **options)
    theirs = theirs.encoder if name == "mt5" else theirs
    expected = dict(theirs.named_parameters()) | dict(theirs.named_buffers())
    assert values.keys() == expected.keys()
    assert all(torch.equal(values[key], expected[key]) for key in values)
    for key, buffer in model.text.transformer.named_buffers():  # not drawn, so equal whatever the seed
        assert torch.equal(buffer, expected[key]), key


@pytest.mark.parametrize("pooler", ["mean_pooler", "max_pooler", "cls_last_hidden_state_pooler"])
def test_poolers_see_the_text_alone(folders: dict[str, Path], pooler: str) -> None:
    model = built(folders["bert"], hf_pooler_type=pooler).eval()
    _, ids = inputs(pad=0)
    with torch.no_grad():
        features = model.encode_text(ids, normalize=False)
        for row, length in enumerate((2, 9, T)):
            hidden = model.text.transformer(input_ids=ids[row : row + 1, :length]).last_hidden_state[0]
            pooled = {
                "mean_pooler": hidden.mean(dim=0),
                "max_pooler": hidden.max(dim=0).values,
                "cls_last_hidden_state_pooler": hidden[0],
            }[pooler]
            torch.testing.assert_close(features[row], model.text.proj(pooled), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_an_empty_text_poisons_nothing(folders: dict[str, Path], name: str) -> None:
    model = built(folders[name])
    images, ids = inputs(model.text.architecture.pad_token_id)
    ids[1] = model.text.architecture.pad_token_id
    output = model(images, ids)
    output.text_features.square().sum(dim=0).prod().backward()
    assert output.text_features.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.text.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", ["bert", "mt5"])
def test_published_weights_are_read_from_safetensors(folders: dict[str, Path], name: str, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModel

    theirs = AutoModel.from_config(AutoConfig.from_pretrained(folders[name]))
    theirs.save_pretrained(tmp_path)
    first, second = (built(tmp_path, seed, hf_model_pretrained=True) for seed in (0, 1))
    encoder = theirs.encoder if name == "mt5" else theirs
    for key, value in first.text.transformer.named_parameters():
        assert torch.equal(value, encoder.get_parameter(key)), key
        assert torch.equal(value, second.text.transformer.get_parameter(key)), key
    assert first.text.transformer.training
    assert not torch.equal(first.text.proj.weight, second.text.proj.weight)  # type: ignore[arg-type]


def test_weights_that_are_pickled_or_incomplete_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file
    from transformers import AutoConfig, AutoModel

    AutoModel.from_config(AutoConfig.from_pretrained(folders["bert"])).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    del state["encoder.layer.1.output.dense.weight"]
    save_file(state, file, {"format": "pt"})
    with pytest.raises(ConfigError, match=r"lack 1 tensors of the model: \['encoder.layer.1.output.dense.weight'\]"):
        built(tmp_path, hf_model_pretrained=True)
    file.unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"text_cfg.hf_model_name = .*expected safetensors"):
        built(tmp_path, hf_model_pretrained=True)


def test_code_beside_a_model_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "x", "auto_map": {"AutoConfig": "code.Config"}}))
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\n")
    with pytest.raises(ConfigError, match=r"text_cfg\.hf_model_name"):
        build_empty(config(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_what_cannot_be_built_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    import transformers

    with pytest.raises(ConfigError, match=r"text_cfg.hf_model_name = '.*/none': expected a folder with a model"):
        build_empty(config(tmp_path / "none"))
    with pytest.raises(ConfigError, match="expected a folder with a model"):
        build_empty(config(tmp_path))
    for name, longest in (("bert", 40), ("roberta", 40)):  # two of RoBERTa's 42 positions are for padding
        build_empty(config(folders[name], context_length=longest))
        with pytest.raises(ConfigError, match=f"text_cfg.context_length = {longest + 1}: expected at most {longest}"):
            build_empty(config(folders[name], context_length=longest + 1))
    transformers.ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="no pad_token_id"):
        build_empty(config(tmp_path))
    with pytest.raises(ValueError, match="texts have 17 positions"):
        built(folders["bert"]).encode_text(torch.ones(1, T + 1, dtype=torch.int64))


def test_a_name_on_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"text_cfg\.hf_model_name = 'nobody/nothing': expected a folder"):
        build_empty(config(Path("nobody/nothing")))


@pytest.mark.parametrize("name", ["bert", "deberta"])  # fused attention, and attention written out
def test_costs_are_the_closed_form_of_a_transformer(folders: dict[str, Path], name: str) -> None:
    cost = measured_cost(config(folders[name]))["text_cfg"]
    linear = 2 * (8 * T * WIDTH**2 + 4 * T * WIDTH * 64) + 2 * WIDTH * 24
    attention = 2 * 4 * T**2 * WIDTH
    assert cost.params == sum(p.numel() for p in built(folders[name]).text.parameters())
    assert cost.gflops_paper == pytest.approx(linear / 1e9, rel=1e-9)
    assert cost.gflops_exact_forward == pytest.approx((linear + attention) / 1e9, rel=1e-9)
    assert cost.gflops_exact_step == pytest.approx(3 * (linear + attention) / 1e9, rel=1e-9)
