"""Converted weights: open_clip loads them and computes the same; read back they are the same bits."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

import mammut_clip
from commands import run_command
from mammut_clip.config.errors import InputError
from mammut_clip.config.files import find_file
from mammut_clip.config.load import load_config
from mammut_clip.config.model import load_model_config
from mammut_clip.config.run import RunConfig
from mammut_clip.convert import convert
from mammut_clip.distributed import Process
from mammut_clip.models import build_model, save_weights, to_published
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.checkpoint import CheckpointWriter

ONE = Process(0, 1, 0, torch.device("cpu"))
VISION = {"image_size": 32, "patch_size": 16, "width": 64, "layers": 2, "head_width": 32}
TEXT = {"context_length": 16, "width": 32, "heads": 2, "layers": 2}
CLIP: dict[str, Any] = {"family": "clip", "embed_dim": 48, "vision_cfg": VISION, "text_cfg": TEXT}
COCA_VISION = {**VISION, "attn_pooler_queries": 8, "attn_pooler_heads": 4}
MODELS: dict[str, dict[str, Any]] = {
    "clip": {**CLIP, "vision_cfg": {**VISION, "ls_init_value": 0.1}},
    "clip with quick gelu": {**CLIP, "quick_gelu": True},
    "siglip": {**CLIP, "family": "siglip"},
    "coca": {
        "family": "coca",
        "embed_dim": 32,
        "vision_cfg": COCA_VISION,
        "text_cfg": TEXT,
        "multimodal_cfg": {"width": 32, "heads": 2, "layers": 2},
    },
}
MAMMUT: dict[str, Any] = {
    "family": "mammut",
    "embed_dim": 32,
    "vision_cfg": {**VISION, "pool_type": "avg_all", "final_ln_after_pool": True},
    "text_cfg": {**TEXT, "cross_attn_ratio": 2, "has_mlp": False},
}


def write_model(values: dict[str, Any], folder: Path) -> tuple[nn.Module, Path, Path]:
    """A random model, a file of its weights and a file of its config."""
    model = build_model(load_model_config(values), seed=1).eval()
    with torch.no_grad():  # so that zero biases and unit scales are tested too
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
    save_weights(model, folder / "source.safetensors")
    (folder / "model.json").write_text(json.dumps(values))
    return model, folder / "source.safetensors", folder / "model.json"


def same(first: nn.Module, second: nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def features(model: Any, ids: Tensor, size: int = 32) -> tuple[Tensor, Tensor]:
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.encode_image(images, normalize=True), model.encode_text(ids, normalize=True)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run directory of a toy MaMMUT with two checkpoints."""
    recipe = find_file("configs/train", "toy")
    config = load_config(RunConfig, recipe, ["name=tiny", "model=mammut_toy-XS", "sweep=single"])
    run = RunDir.create(tmp_path / "runs", config)
    for samples in (64, 128):
        model = build_model(config.model.architecture, seed=samples)
        with CheckpointWriter(run, model, torch.optim.AdamW(model.parameters()), ONE) as writer:
            writer.save(samples)
    return run


@pytest.mark.parametrize("name", list(MODELS))
def test_open_clip_loads_the_folder_and_computes_the_same(name: str, tmp_path: Path) -> None:
    import open_clip

    ours, source, config = write_model(MODELS[name], tmp_path)
    done = convert(source, tmp_path / "out", str(config))
    assert done.parameters == sum(parameter.numel() for parameter in ours.parameters())
    folder = f"local-dir:{tmp_path / 'out'}"
    theirs, _, transform = open_clip.create_model_and_transforms(folder, require_pretrained=True)
    ids = open_clip.get_tokenizer(folder)(["a dog", "two small cats"])
    assert torch.equal(ids, mammut_clip.get_tokenizer(tmp_path / "out")(["a dog", "two small cats"]))
    for actual, expected in zip(features(theirs.eval(), ids), features(ours, ids), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)
    scalars = {key: value for key, value in theirs.state_dict().items() if key.startswith("logit_")}
    assert all(value.reshape(1) == ours.state_dict()[key] for key, value in scalars.items())
    picture = Image.linear_gradient("L").convert("RGB").rotate(30)
    _, _, own_transform = mammut_clip.create_model_and_transforms(tmp_path / "out")
    torch.testing.assert_close(transform(picture), own_transform(picture), rtol=0, atol=1e-6)


@pytest.mark.parametrize("values", [*MODELS.values(), MAMMUT, {**MAMMUT, "family": "cap"}])
def test_a_folder_read_back_is_the_same_bits_and_the_same_config(values: dict[str, Any], tmp_path: Path) -> None:
    ours, source, config = write_model(values, tmp_path)
    done = convert(source, tmp_path / "out", str(config))
    assert [path.name for path in done.written] == ["open_clip_config.json", "open_clip_model.safetensors"]
    again = mammut_clip.create_model(tmp_path / "out")
    assert again.config == load_model_config(values)
    assert same(ours, again)
    second = convert(tmp_path / "out", tmp_path / "second")  # the folder says which model it is
    assert second.family == values["family"]
    for file in done.written:
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes()


def test_the_released_codes_layout_of_mammut(tmp_path: Path, shared_dir: Path) -> None:
    with safe_open(shared_dir / "golden/mammut_tiny_no_mlp.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        published = json.loads(file.metadata()["config"])
    weights = {key.removeprefix("weights."): value for key, value in tensors.items() if key.startswith("weights.")}
    state = {f"module._orig_mod.{key}": value for key, value in weights.items()}
    torch.save({"epoch": 3, "name": "golden", "state_dict": state, "optimizer": {}}, tmp_path / "epoch_3.pt")
    (tmp_path / "golden.json").write_text(json.dumps({"family": "mammut", **published}))
    convert(tmp_path / "epoch_3.pt", tmp_path / "out", str(tmp_path / "golden.json"))
    written = load_file(tmp_path / "out" / "open_clip_model.safetensors")
    assert written.keys() == weights.keys()
    assert all(torch.equal(written[key], value) and written[key].shape == value.shape for key, value in weights.items())
    document = json.loads((tmp_path / "out" / "open_clip_config.json").read_text())
    assert document["model_cfg"] == {**published, "custom_text": True}
    model = mammut_clip.create_model(tmp_path / "out")
    with torch.no_grad():
        text = model.encode_text(tensors["in.text"])
    torch.testing.assert_close(text, tensors["out.text_features"], rtol=1e-5, atol=1e-6)


def test_a_run_becomes_a_folder_that_needs_nothing_else(run: RunDir, tmp_path: Path) -> None:
    import open_clip

    done = convert(run.path, tmp_path / "out")
    assert (done.model, done.family) == ("mammut_toy-XS", "mammut")
    assert same(mammut_clip.create_model(tmp_path / "out"), mammut_clip.create_model(run.path))
    assert same(mammut_clip.create_model(tmp_path / "out"), build_model(run.config.model.architecture, seed=128))
    texts = ["a red circle", "two unheard-of stars  <eot>", " ".join(["blue"] * 40), ""]
    ids = mammut_clip.get_tokenizer("mammut_toy-XS")(texts)
    assert torch.equal(mammut_clip.get_tokenizer(tmp_path / "out")(texts), ids)
    assert torch.equal(open_clip.get_tokenizer(f"local-dir:{tmp_path / 'out'}")(texts), ids)


def test_a_checkpoint_of_a_run_says_its_model(run: RunDir, tmp_path: Path) -> None:
    first = run.checkpoint(64).path
    convert(first, tmp_path / "out")
    expected = build_model(run.config.model.architecture, seed=64)
    assert same(mammut_clip.create_model(tmp_path / "out"), expected)
    convert(Path(f"{run.path}@64"), tmp_path / "by point")
    assert same(mammut_clip.create_model(tmp_path / "by point"), expected)
    assert same(mammut_clip.create_model(f"{run.path}@64"), expected)
    assert same(mammut_clip.create_model("mammut_toy-XS", weights=f"{run.path}@64"), expected)
    with pytest.raises(InputError, match=r"no complete checkpoint at 1K samples; it has 64, 128"):
        convert(Path(f"{run.path}@1k"), tmp_path / "nowhere")
    elsewhere = tmp_path / "moved"
    first.rename(elsewhere)
    with pytest.raises(InputError, match=r"moved: nothing here says which model this is; expected a run directory"):
        convert(elsewhere, tmp_path / "again")
    convert(elsewhere, tmp_path / "again", "mammut_toy-XS")
    assert same(mammut_clip.create_model(tmp_path / "again"), expected)


def test_a_folder_of_open_clip_is_a_model(tmp_path: Path) -> None:
    import open_clip
    from open_clip.push_to_hf_hub import save_config_for_hf
    from safetensors.torch import save_file

    torch.manual_seed(0)
    keys = {"embed_dim": 48, "vision_cfg": VISION, "text_cfg": {**TEXT, "vocab_size": 49408}, "init_logit_bias": -10}
    theirs = open_clip.CustomTextCLIP(**json.loads(json.dumps(keys))).eval()
    theirs.visual.image_mean, theirs.visual.image_std = (0.5, 0.4, 0.3), (0.5, 0.6, 0.7)
    folder = tmp_path / "theirs"
    folder.mkdir()
    save_config_for_hf(theirs, folder / "open_clip_config.json", {**keys, "custom_text": True})
    save_file(theirs.state_dict(), folder / "open_clip_model.safetensors")

    ours, _, transform = mammut_clip.create_model_and_transforms(folder)
    assert ours.config.family == "siglip"
    assert (transform.mean, transform.std) == ((0.5, 0.4, 0.3), (0.5, 0.6, 0.7))
    ids = open_clip.get_tokenizer(f"local-dir:{folder}")(["a dog", "two small cats"])
    for actual, expected in zip(features(ours, ids), features(theirs, ids), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)

    convert(folder, tmp_path / "out")
    again, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'out'}")
    assert tuple(transform.transforms[-1].mean) == (0.5, 0.4, 0.3)
    for actual, expected in zip(features(again.eval(), ids), features(theirs, ids), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


def test_towers_and_tokenizers_of_other_packages(tmp_path: Path) -> None:
    import open_clip
    from transformers import BertConfig

    write_transformers_tokenizer(tmp_path / "bert")
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertConfig(vocab_size=96, max_position_embeddings=16, pad_token_id=0, **sizes).save_pretrained(tmp_path / "bert")
    text = {"transformers": str(tmp_path / "bert"), "context_length": 16, "hf_model_pretrained": True}
    vision = {"timm": "test_resnet", "image_size": 64, "timm_model_pretrained": True}
    values = {"family": "siglip", "embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    random = json.loads(json.dumps(values).replace("true", "false"))
    ours, source, _ = write_model(random, tmp_path)
    for statistics in ours.buffers():
        statistics.add_(1)
    source.unlink()
    save_weights(ours, source)
    (tmp_path / "model.json").write_text(json.dumps(values))
    # nothing is fetched for the towers, though training started from published weights
    convert(source, tmp_path / "out", str(tmp_path / "model.json"))

    folder = f"local-dir:{tmp_path / 'out'}"
    theirs = open_clip.create_model(folder, require_pretrained=True).eval()
    texts = ["a red circle", "two unheard-of stars"]
    ids = open_clip.get_tokenizer(folder)(texts)
    assert torch.equal(ids, mammut_clip.get_tokenizer(tmp_path / "out")(texts))
    again = mammut_clip.create_model(tmp_path / "out")
    assert same(ours, again)
    for actual, expected in zip(features(theirs, ids, 64), features(again, ids, 64), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


def write_transformers_tokenizer(folder: Path) -> None:
    """The toy world's tokenizer as transformers keeps them."""
    save_weights(build_model(load_model_config("toy-XS")), folder.with_suffix(".safetensors"))
    convert(folder.with_suffix(".safetensors"), folder, "toy-XS")
    for name in ("open_clip_config.json", "open_clip_model.safetensors"):
        (folder / name).unlink()


def test_pictures_resized_in_a_way_that_is_not_ours_are_refused(tmp_path: Path) -> None:
    _, source, config = write_model(CLIP, tmp_path)
    convert(source, tmp_path / "out", str(config))
    file = tmp_path / "out" / "open_clip_config.json"
    file.write_text(file.read_text().replace('"shortest"', '"squash"'))
    with pytest.raises(InputError, match=r"preprocess_cfg\.resize_mode = 'squash': expected 'shortest'"):
        mammut_clip.create_model_and_transforms(tmp_path / "out")
    file.write_text("{")
    with pytest.raises(InputError, match="expected JSON with the key model_cfg"):
        mammut_clip.create_model(tmp_path / "out")


def test_one_file_of_weights(tmp_path: Path) -> None:
    ours, source, config = write_model(MAMMUT, tmp_path)
    expected = to_published(ours.state_dict())
    convert(source, tmp_path / "w.safetensors", str(config))
    convert(source, tmp_path / "w.pt", str(config))
    in_torch = torch.load(tmp_path / "w.pt", weights_only=True)
    assert in_torch.keys() == {"state_dict"}
    for state in (load_file(tmp_path / "w.safetensors"), in_torch["state_dict"]):
        assert state.keys() == expected.keys()
        assert all(
            torch.equal(state[key], value) and state[key].shape == value.shape for key, value in expected.items()
        )


def test_open_clip_takes_the_torch_file_as_pretrained(tmp_path: Path) -> None:
    import open_clip

    ours, source, config = write_model(CLIP, tmp_path)
    convert(source, tmp_path / "w.pt", str(config))
    theirs = open_clip.CLIP(48, dict(VISION), dict(TEXT))
    open_clip.load_checkpoint(theirs, str(tmp_path / "w.pt"))
    assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in to_published(ours.state_dict()).items())


@pytest.mark.parametrize("name", ["out", "out.safetensors", "out.pt"])
def test_nothing_is_overwritten(name: str, tmp_path: Path) -> None:
    _, source, config = write_model(CLIP, tmp_path)
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=rf"{name}: exists already"):
        convert(source, tmp_path / name, str(config))
    assert (tmp_path / name).read_text() == "mine"


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    _, source, _ = write_model(CLIP, tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match="these weights are not this model's"):
        convert(source, tmp_path / "out", "toy-XS")
    text = {**TEXT, "hf_tokenizer_name": str(tmp_path / "gone.json")}
    (tmp_path / "model.json").write_text(json.dumps({**CLIP, "text_cfg": text}))
    with pytest.raises(InputError, match=r"gone\.json"):
        convert(source, tmp_path / "out", str(tmp_path / "model.json"))
    assert sorted(tmp_path.iterdir()) == before


def test_weights_alone_do_not_say_which_model_they_are_of(tmp_path: Path) -> None:
    save_weights(build_model(load_model_config("toy-S")), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"give --model \(they fit toy-S\)"):
        convert(tmp_path / "w.safetensors", tmp_path / "out")
    write_model(CLIP, tmp_path)
    with pytest.raises(InputError, match=r"give --model \(they fit no model that comes with the program\)"):
        convert(tmp_path / "source.safetensors", tmp_path / "out")


def test_on_the_command_line(run: RunDir, tmp_path: Path) -> None:
    command = ["convert", run.path, "--out", tmp_path / "out"]
    done = run_command(*command, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["parameters"] == sum(p.numel() for p in mammut_clip.create_model(tmp_path / "out").parameters())
    assert (document["model"], document["family"]) == ("mammut_toy-XS", "mammut")
    assert set(map(Path, document["written"])) == set((tmp_path / "out").iterdir())
    again = run_command(*command)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == f"error: {tmp_path / 'out'}: exists already, and nothing is overwritten; " + (
        "remove it, or give another --out\n"
    )
