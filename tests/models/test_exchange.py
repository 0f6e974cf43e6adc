"""Weights in and out: prefixes, the newer head's name, unsafe files, and differences said by name."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mammut_clip.config.errors import InputError
from mammut_clip.config.model import load_model_config
from mammut_clip.models import build_model, from_published, load_weights, save_weights, to_published
from mammut_clip.models.clip import CLIP
from mammut_clip.models.mammut import MaMMUT


class Unsafe:
    """Something that only a full pickle can bring back."""


@pytest.fixture
def model() -> CLIP | MaMMUT:
    return build_model(load_model_config("mammut_toy-XS"), seed=3)


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[key]) for key, value in first.state_dict().items())


def test_round_trip_through_safetensors(model: MaMMUT, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(model, path)
    assert load_file(path)["logit_scale"].shape == ()
    other = build_model(model.config, seed=4)
    assert not same(model, other)
    load_weights(other, path)
    assert same(model, other)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_training_checkpoints_of_open_clip(model: MaMMUT, tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "epoch_1.pt"
    state = {prefix + key: value for key, value in to_published(model.state_dict()).items()}
    torch.save({"epoch": 1, "name": "x", "state_dict": state, "optimizer": {"state": {}}}, path)
    other = build_model(model.config, seed=4)
    load_weights(other, path)
    assert same(model, other)


def test_newer_name_of_the_vocabulary_head(model: MaMMUT) -> None:
    state = to_published(model.state_dict())
    state["text.lm_head"] = state.pop("text.text_projection")
    assert from_published(state).keys() == model.state_dict().keys()


def test_differences_are_named_and_the_model_is_left_alone(model: MaMMUT, tmp_path: Path) -> None:
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
    assert same(model, fresh)


def test_files_that_need_a_full_pickle_are_refused(model: MaMMUT, tmp_path: Path) -> None:
    path = tmp_path / "unsafe.pt"
    torch.save({"state_dict": model.state_dict(), "args": Unsafe()}, path)
    with pytest.raises(InputError, match=r"Unsupported global: GLOBAL \w*test_exchange\.Unsafe\. .*full pickle"):
        load_weights(model, path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("broken.safetensors", b"not weights", "not a readable safetensors file"),
        ("broken.pt", b"not weights", "no torch file"),
        ("empty.pt", b"", "not a readable torch file"),
    ],
)
def test_broken_files(model: MaMMUT, tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        load_weights(model, tmp_path / name)


def test_missing_files_and_other_contents(model: MaMMUT, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_weights(model, tmp_path / "none.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match="expected a state dict"):
        load_weights(model, tmp_path / "list.pt")
