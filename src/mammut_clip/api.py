"""The faces that scripts and notebooks build on: models, transforms and tokenizers by name or from a folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from mammut_clip.config.errors import InputError
from mammut_clip.config.model import ModelConfig, list_model_names, load_model_config
from mammut_clip.data.images import EvalTransform, FloatTransform, TrainTransform
from mammut_clip.data.text import Tokenizer, load_tokenizer, tokenizer_digest
from mammut_clip.models import build_model
from mammut_clip.models.build import build_to_fill
from mammut_clip.models.exchange import load_weights
from mammut_clip.models.exchange.files import weights_in
from mammut_clip.models.sharded import read_sharded
from mammut_clip.open_clip_folder import Preprocessing, is_model_folder, read_config, read_preprocessing
from mammut_clip.runs.branch import parse_point
from mammut_clip.runs.layout import RunDir

Model = str | Path | dict[str, Any] | ModelConfig
"""A name, a YAML file, a mapping with open_clip's keys plus `family`; or a folder that says what model lies in it: a
run directory, one of its checkpoints (also as RUN@SAMPLES, such as runs/s/r@1.28M), or a folder as `mammut-clip
convert` and open_clip write them."""


@dataclass(frozen=True)
class DescribedModel:
    """What is known of a model before anything large is read."""

    config: ModelConfig
    name: str
    weights: Path | None = None
    """Where its weights lie; None for a model that was named, or written out."""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)


def list_models() -> list[str]:
    """The names that `create_model` knows."""
    return list_model_names()


def create_model(model: Model, weights: str | Path | None = None, *, seed: int = 0) -> nn.Module:
    """A model in float32 on the CPU, in evaluation mode.

    `weights`: a run directory (its last checkpoint), RUN@SAMPLES, a sharded checkpoint's folder, a folder or a file
    with published weights (safetensors, or a PyTorch file that holds tensors only; see docs/weights.md). None takes
    those that lie in the folder where `model` is one, and else random ones drawn from `seed`. Raises InputError for
    unknown names and weights that do not fit.
    """
    return described_model(describe_model(model), weights, seed)


def described_model(described: DescribedModel, weights: str | Path | None = None, seed: int = 0) -> nn.Module:
    """As create_model, of a model that describe_model has been asked about."""
    path = described.weights if weights is None else resolve_point(weights)
    built = build_model(described.config, seed) if path is None else _load(described.config, path)
    return built.eval()


def create_model_and_transforms(
    model: Model, weights: str | Path | None = None, *, seed: int = 0
) -> tuple[nn.Module, FloatTransform, FloatTransform]:
    """(model, training transform, evaluation transform); the transforms turn a PIL picture into a float tensor."""
    described = describe_model(model)
    size, pixels = described.config.vision_cfg.image_size, described.preprocessing
    return (
        described_model(described, weights, seed),
        FloatTransform(TrainTransform(size), pixels.mean, pixels.std),
        FloatTransform(EvalTransform(size), pixels.mean, pixels.std),
    )


def get_tokenizer(model: Model) -> Tokenizer:
    """The model's tokenizer: strings -> LongTensor [n, T]."""
    return load_tokenizer(describe_model(model).config.text_cfg)


def describe_model(model: Model) -> DescribedModel:
    """What a name, a file, a mapping or a folder says. Raises InputError where that is no model."""
    if isinstance(model, dict | ModelConfig):
        return DescribedModel(load_model_config(model), "custom")
    path = resolve_point(model)
    if path.is_dir() and str(model) not in list_model_names():
        return _folder_model(path)
    return DescribedModel(load_model_config(model), str(model))


def resolve_point(path: str | Path) -> Path:
    """The checkpoint's folder for RUN@SAMPLES, any other path as it is. Raises InputError where there is none."""
    if "@" not in Path(path).name or Path(path).exists():
        return Path(path)
    folder, samples = parse_point(str(path))
    run = RunDir.at(folder)
    checkpoint = run.checkpoint_at(samples)
    if checkpoint is None:
        raise run.no_checkpoint_at(samples)
    return checkpoint.path


def _folder_model(folder: Path) -> DescribedModel:
    if (folder / "config.yaml").is_file():
        return _run_model(RunDir.at(folder), folder)
    run = folder.absolute().parent.parent
    if folder.absolute().parent.name == "checkpoints" and (run / "config.yaml").is_file():
        return _run_model(RunDir.at(run), folder)
    if is_model_folder(folder):
        return DescribedModel(read_config(folder), str(folder), folder, read_preprocessing(folder))
    raise InputError(
        f"{folder}: nothing here says which model this is; expected a run directory, one of its checkpoints, or a "
        "folder with open_clip_config.json"
    )


def _run_model(run: RunDir, weights: Path) -> DescribedModel:
    model = run.config.model
    run.check_tokenizer(tokenizer_digest(model.architecture.text_cfg))
    return DescribedModel(model.architecture, model.name, weights)


def _load(config: ModelConfig, path: Path) -> nn.Module:
    model = build_to_fill(config)
    if (path / "config.yaml").is_file():
        checkpoints = RunDir.at(path).checkpoints
        if not checkpoints:
            raise InputError(f"{path}: this run has no complete checkpoint yet")
        read_sharded(model, checkpoints[-1].path)
    elif path.is_dir() and weights_in(path) is None:
        read_sharded(model, path)
    else:
        load_weights(model, path)
    return model
