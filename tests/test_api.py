"""The faces that scripts build on."""

from pathlib import Path

import pytest
import torch
from PIL import Image

import mammut_clip
from mammut_clip.config.errors import ConfigError, InputError
from mammut_clip.config.model import load_model_config
from mammut_clip.convert import convert
from mammut_clip.models.exchange import save_weights


def test_names_and_shapes() -> None:
    assert {"ViT-B-32", "mammut_ViT-B-32", "toy-XS"} <= set(mammut_clip.list_models())
    model, train_transform, eval_transform = mammut_clip.create_model_and_transforms("mammut_toy-XS")
    tokenizer = mammut_clip.get_tokenizer("mammut_toy-XS")
    picture = Image.new("RGB", (50, 40), "red")
    images = torch.stack([train_transform(picture), eval_transform(picture)])
    ids = tokenizer(["a red circle", "two blue stars"])
    assert (images.shape, images.dtype) == ((2, 3, 32, 32), torch.float32)
    assert (ids.shape, ids.dtype) == ((2, 20), torch.long)
    for features in (model.encode_image(images, normalize=True), model.encode_text(ids, normalize=True)):
        assert features.dtype == torch.float32
        torch.testing.assert_close(features.norm(dim=-1), torch.ones(2))
    assert model.caption_logits(images, ids).shape == (2, 19, 96)
    assert model.generate(images).shape[0] == 2


def test_clips_own_tokenizer_and_context() -> None:
    ids = mammut_clip.get_tokenizer("mammut_ViT-B-32")(["a dog", "x"])
    assert ids.shape == (2, 77)
    assert ids[0].tolist()[:4] == [49406, 320, 1929, 49407]


def test_a_mapping_with_open_clips_keys_is_a_model() -> None:
    config = {
        "family": "clip",
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 100, "width": 32, "heads": 2, "layers": 1},
    }
    model = mammut_clip.create_model(config)
    assert model.encode_image(torch.zeros(1, 3, 32, 32)).shape == (1, 32)


def test_weights_are_read_back_and_wrong_ones_refused(tmp_path: Path) -> None:
    first = mammut_clip.create_model("toy-XS", seed=1)
    save_weights(first, tmp_path / "w.safetensors")
    again = mammut_clip.create_model("toy-XS", weights=tmp_path / "w.safetensors")
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(first.encode_image(images), again.encode_image(images))
    with pytest.raises(InputError, match=r"w\.safetensors"):
        mammut_clip.create_model("toy-S", weights=tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="not a complete checkpoint"):
        mammut_clip.create_model("toy-S", weights=tmp_path)
    with pytest.raises(ConfigError, match="did you mean"):
        mammut_clip.create_model("ViT-B32")


def test_a_folder_is_a_model_and_a_name_stays_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = mammut_clip.create_model("toy-XS", seed=1)
    save_weights(expected, tmp_path / "w.safetensors")
    convert(tmp_path / "w.safetensors", tmp_path / "out", "toy-XS")
    monkeypatch.chdir(tmp_path)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for found in (
        mammut_clip.create_model("out"),
        mammut_clip.create_model("toy-XS", weights="out"),
        mammut_clip.create_model("toy-XS", weights=Path("out") / "open_clip_model.safetensors"),
    ):
        assert not found.training
        assert torch.equal(found.encode_image(images), expected.encode_image(images))
    Path("toy-S").mkdir()
    assert mammut_clip.create_model("toy-S").config == load_model_config("toy-S")
    with pytest.raises(InputError, match="nothing here says which model this is"):
        mammut_clip.create_model("./toy-S")


def test_every_shipped_model_is_a_valid_config() -> None:
    for name in mammut_clip.list_models():
        assert load_model_config(name).embed_dim > 0
