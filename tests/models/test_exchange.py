"""Weights in and out: names, layouts, unsafe files, and differences said by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mammut_clip.config.errors import InputError
from mammut_clip.config.model import load_model_config
from mammut_clip.models import build_model, from_published, load_weights, save_weights, to_published
from mammut_clip.models.build import build_empty
from mammut_clip.models.exchange import fitting_models
from mammut_clip.models.exchange.files import read_state_dict
from mammut_clip.models.exchange.fit import shapes_of

VISION = {"image_size": 32, "patch_size": 16, "width": 64, "layers": 2, "head_width": 32}
TEXT = {"context_length": 12, "vocab_size": 64, "width": 32, "heads": 2, "layers": 2}
CLIP = {"family": "clip", "embed_dim": 48, "vision_cfg": VISION, "text_cfg": TEXT}


class Unsafe:
    """Something that only a full pickle can bring back."""


@pytest.fixture
def model() -> nn.Module:
    return build_model(load_model_config("mammut_toy-XS"), seed=3)


def same(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[key]) for key, value in first.state_dict().items())


def loaded(like: nn.Module, path: Path) -> nn.Module:
    """Another model of the same config, with the weights at a path."""
    other = build_model(like.config, seed=4)
    assert not same(like, other)
    load_weights(other, path)
    return other


@pytest.mark.parametrize("name", ["mammut_toy-XS", "toy-XS", "cap_toy-XS"])
@pytest.mark.parametrize("file", ["model.safetensors", "model.pt"])
def test_round_trip(name: str, file: str, tmp_path: Path) -> None:
    model = build_model(load_model_config(name), seed=3)
    save_weights(model, tmp_path / file)
    assert same(model, loaded(model, tmp_path / file))
    assert [path.name for path in tmp_path.iterdir()] == [file]


def test_what_is_written_has_published_shapes(model: nn.Module, tmp_path: Path) -> None:
    save_weights(model, tmp_path / "model.safetensors")
    assert load_file(tmp_path / "model.safetensors")["logit_scale"].shape == ()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_training_checkpoints_of_open_clip(model: nn.Module, tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "epoch_1.pt"
    state = {prefix + key: value for key, value in to_published(model.state_dict()).items()}
    optimizer = torch.optim.AdamW(model.parameters())
    torch.save(
        {
            "epoch": 1,
            "name": "x",
            "state_dict": state,
            "optimizer": optimizer.state_dict(),
            "scaler": {"scale": 65536.0},
        },
        path,
    )
    assert same(model, loaded(model, path))


def test_wrappers_inside_of_keys(model: nn.Module) -> None:
    state = {key.replace("resblocks.1.", "resblocks.1._orig_mod.module."): v for key, v in model.state_dict().items()}
    assert from_published(state).keys() == model.state_dict().keys()


def test_two_names_of_one_tensor_are_refused(model: nn.Module, tmp_path: Path) -> None:
    save_file({"logit_scale": torch.ones(1), "module.logit_scale": torch.ones(1)}, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"w\.safetensors: module\.logit_scale and logit_scale name the same tensor"):
        load_weights(model, tmp_path / "w.safetensors")


def test_scalars_become_vectors_and_back() -> None:
    model = build_model(load_model_config({**CLIP, "family": "siglip"}))
    published = to_published(model.state_dict())
    assert {published[key].shape for key in ("logit_scale", "logit_bias")} == {()}
    model.load_state_dict(from_published(published))


@pytest.mark.parametrize("newer", ["parameter", "linear layer"])
@pytest.mark.parametrize("decoder", ["text", "text_decoder"])
def test_newer_name_of_the_vocabulary_head(decoder: str, newer: str) -> None:
    head = torch.randn(3, 7)
    key, value = (f"{decoder}.lm_head", head) if newer == "parameter" else (f"{decoder}.lm_head.weight", head.T)
    found = from_published({key: value})
    assert found.keys() == {f"{decoder}.text_projection"}
    assert torch.equal(found[f"{decoder}.text_projection"], head)


def test_a_vocabulary_head_beside_a_projection_is_another_architecture(model: nn.Module, tmp_path: Path) -> None:
    state = to_published(model.state_dict())
    state["text.lm_head"] = torch.zeros(1)
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"1 not in the model: text\.lm_head"):
        load_weights(model, tmp_path / "other.safetensors")


def test_the_layout_of_open_clips_custom_text_gives_equal_features(tmp_path: Path) -> None:
    import open_clip

    torch.manual_seed(0)
    theirs = open_clip.CustomTextCLIP(48, dict(VISION), dict(TEXT)).eval()
    assert "text.token_embedding.weight" in theirs.state_dict()
    torch.save(theirs.state_dict(), tmp_path / "custom.pt")
    ours = build_model(load_model_config(CLIP)).eval()
    load_weights(ours, tmp_path / "custom.pt")
    images = torch.randn(2, 3, 32, 32)
    ids = torch.tensor([[62, 5, 63, *[0] * 9], [62, 8, 9, 10, 63, *[0] * 7]])
    with torch.no_grad():
        torch.testing.assert_close(ours.encode_image(images), theirs.encode_image(images, True), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours.encode_text(ids), theirs.encode_text(ids, True), rtol=1e-5, atol=1e-6)


def test_sizes_and_masks_in_published_files_are_left_out(tmp_path: Path) -> None:
    model = build_model(load_model_config("toy-XS"), seed=3)
    extra = {"input_resolution": torch.tensor(32), "context_length": torch.tensor(20), "vocab_size": torch.tensor(96)}
    extra |= {"attn_mask": torch.zeros(20, 20), "text.transformer.embeddings.position_ids": torch.arange(20)}
    torch.save(to_published(model.state_dict()) | extra, tmp_path / "openai.pt")
    assert same(model, loaded(model, tmp_path / "openai.pt"))


def test_cap_takes_its_part_of_a_mammut_and_no_other_family_does(tmp_path: Path) -> None:
    vision = {**VISION, "pool_type": "avg_all", "final_ln_after_pool": True}
    text = {**TEXT, "cross_attn_ratio": 2}
    mammut = build_model(
        load_model_config({"family": "mammut", "embed_dim": 32, "vision_cfg": vision, "text_cfg": text})
    )
    save_weights(mammut, tmp_path / "mammut.safetensors")
    cap = build_model(load_model_config({"family": "cap", "embed_dim": 32, "vision_cfg": VISION, "text_cfg": text}), 4)
    load_weights(cap, tmp_path / "mammut.safetensors")
    assert same(cap, mammut)
    save_weights(cap, tmp_path / "cap.safetensors")
    with pytest.raises(InputError, match=r"4 missing from the file: logit_scale, visual\.ln_post"):
        load_weights(mammut, tmp_path / "cap.safetensors")


@pytest.mark.parametrize("golden", ["mlp", "no_mlp"])
def test_a_training_checkpoint_of_the_released_code(golden: str, shared_dir: Path, tmp_path: Path) -> None:
    with safe_open(shared_dir / f"golden/mammut_tiny_{golden}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        config = json.loads(file.metadata()["config"])
    weights = {key.removeprefix("weights."): value for key, value in tensors.items() if key.startswith("weights.")}
    torch.save({"epoch": 1, "state_dict": {f"module.{k}": v for k, v in weights.items()}}, tmp_path / "epoch_1.pt")
    model = build_model(load_model_config({"family": "mammut", **config})).eval()
    load_weights(model, tmp_path / "epoch_1.pt")
    with torch.no_grad():
        torch.testing.assert_close(
            model.encode_image(tensors["in.image"]), tensors["out.image_features"], rtol=1e-5, atol=1e-6
        )
    written = to_published(model.state_dict())
    assert written.keys() == weights.keys()
    assert all(torch.equal(written[key], value) and written[key].shape == value.shape for key, value in weights.items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_cast(model: nn.Module, tmp_path: Path, dtype: torch.dtype) -> None:
    halves = {key: value.to(dtype) for key, value in to_published(model.state_dict()).items()}
    save_file(halves, tmp_path / "half.safetensors")
    found = loaded(model, tmp_path / "half.safetensors").state_dict()
    assert all(value.dtype == torch.float32 for value in found.values())
    assert all(torch.equal(found[key], value.float().reshape(found[key].shape)) for key, value in halves.items())


def test_quantised_weights_are_refused(model: nn.Module, tmp_path: Path) -> None:
    state = to_published(model.state_dict())
    state["map_viz2txt_kv"] = state["map_viz2txt_kv"].to(torch.int8)
    save_file(state, tmp_path / "int8.safetensors")
    with pytest.raises(InputError, match=r"map_viz2txt_kv is of type torch\.int8; expected float32"):
        load_weights(model, tmp_path / "int8.safetensors")


def test_differences_are_named_and_the_model_is_left_alone(model: nn.Module, tmp_path: Path) -> None:
    state = to_published(model.state_dict())
    state["text.ln_final.weight"] = torch.zeros(7)
    state["visual.extra"] = torch.zeros(1)
    del state["map_viz2txt_kv"]
    save_file(state, tmp_path / "other.safetensors")
    fresh = build_model(model.config, seed=3)
    with pytest.raises(InputError) as refused:
        load_weights(model, tmp_path / "other.safetensors")
    message = str(refused.value)
    assert "1 missing from the file: map_viz2txt_kv" in message
    assert "1 not in the model: visual.extra" in message
    assert "text.ln_final.weight is (7,), the model has (32,)" in message
    assert "they fit no model that comes with the program" in message
    assert same(model, fresh)


def test_another_grid_of_patches_is_refused(tmp_path: Path) -> None:
    save_weights(build_model(load_model_config(CLIP)), tmp_path / "small.safetensors")
    larger = build_model(load_model_config({**CLIP, "vision_cfg": {**VISION, "image_size": 48}}))
    with pytest.raises(InputError, match=r"visual\.positional_embedding is \(5, 64\), the model has \(10, 64\)"):
        load_weights(larger, tmp_path / "small.safetensors")


def test_the_models_that_would_fit_are_named(tmp_path: Path) -> None:
    save_weights(build_model(load_model_config("mammut_toy-S")), tmp_path / "unknown.safetensors")
    with pytest.raises(InputError, match=r"they fit mammut_toy-S and cap_toy-S$"):
        load_weights(build_model(load_model_config("mammut_toy-XS")), tmp_path / "unknown.safetensors")


@pytest.mark.parametrize("name", ["ViT-L-14", "mammut_ViT-B-16", "coca_ViT-S-32", "ViT-B-32-SigLIP"])
def test_every_shape_of_a_large_model_leads_to_it(name: str) -> None:
    shapes = shapes_of(build_empty(load_model_config(name)).state_dict())
    assert fitting_models(shapes)[0] == name
    assert fitting_models({key: shape for key, shape in shapes.items() if key != "logit_scale"}) != [name]


def test_folders_hold_weights_under_known_names(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a folder without weights; expected one of open_clip_model\.safetensors"):
        read_state_dict(tmp_path)
    save_weights(model, tmp_path / "model.safetensors")
    assert same(model, loaded(model, tmp_path))
    save_weights(build_model(model.config, seed=5), tmp_path / "open_clip_model.safetensors")
    assert same(build_model(model.config, seed=5), loaded(model, tmp_path))  # open_clip's own name comes first


def test_torch_files_are_mapped_so_that_what_is_not_used_is_not_read(model: nn.Module, tmp_path: Path) -> None:
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        pytest.skip("only Linux says which files are mapped")
    torch.save({"state_dict": to_published(model.state_dict()), "optimizer": {"state": {}}}, tmp_path / "x.pt")
    state = read_state_dict(tmp_path / "x.pt")
    lines = [line.split()[0] for line in maps.read_text().splitlines() if line.endswith(str(tmp_path / "x.pt"))]
    (mapped,) = [range(*(int(end, 16) for end in line.split("-"))) for line in lines]
    assert all(tensor.data_ptr() in mapped for tensor in state.values())


def test_the_older_torch_format_is_read(model: nn.Module, tmp_path: Path) -> None:
    state = to_published(model.state_dict())
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert same(model, loaded(model, tmp_path / "old.pt"))


def test_files_that_need_a_full_pickle_are_refused(model: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "unsafe.pt"
    torch.save({"state_dict": model.state_dict(), "args": Unsafe()}, path)
    with pytest.raises(InputError, match=r"Unsupported global: GLOBAL \w*test_exchange\.Unsafe\. .*full pickle"):
        load_weights(model, path)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_archives_with_code_are_refused(model: nn.Module, tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "jit.pt")
    with pytest.raises(InputError, match="a TorchScript archive, which carries code"):
        load_weights(model, tmp_path / "jit.pt")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("broken.safetensors", b"not weights", "not a readable safetensors file"),
        ("broken.pt", b"not weights", "no torch file"),
        ("empty.pt", b"", "not a readable torch file"),
    ],
)
def test_broken_files(model: nn.Module, tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        load_weights(model, tmp_path / name)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([1, 2], "found a list"),
        ({}, "found an empty mapping"),
        ({"model": {"a": Tensor()}, "step": 3}, "found a mapping with the keys model, step"),
    ],
)
def test_missing_files_and_other_contents(model: nn.Module, tmp_path: Path, content: Any, found: str) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_weights(model, tmp_path / "none.pt")
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(InputError, match=f"expected a state dict .*; {found}"):
        load_weights(model, tmp_path / "other.pt")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_weights_that_cannot_be_written(model: nn.Module, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"{name}: cannot be written"):
        save_weights(model, tmp_path / "file" / name)
