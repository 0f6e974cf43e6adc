"""The faces that scripts and notebooks build on: models, transforms and tokenizers by name."""

from pathlib import Path
from typing import Any

from torch import nn

from mammut_clip.config.errors import InputError
from mammut_clip.config.model import ModelConfig, list_model_names, load_model_config
from mammut_clip.data.images import EvalTransform, FloatTransform, TrainTransform
from mammut_clip.data.text import Tokenizer, load_tokenizer, tokenizer_digest
from mammut_clip.models import build_model
from mammut_clip.models.exchange import load_weights
from mammut_clip.models.sharded import read_sharded
from mammut_clip.runs.layout import RunDir

Model = str | dict[str, Any] | ModelConfig


def list_models() -> list[str]:
    """The names that `create_model` knows."""
    return list_model_names()


def create_model(model: Model, weights: str | Path | None = None, *, seed: int = 0) -> nn.Module:
    """A model in float32 on the CPU, in evaluation mode.

    `model`: a name, a YAML file, or a mapping with open_clip's keys plus `family`. `weights`: None for random ones
    drawn from `seed`; otherwise a run directory (its last checkpoint), a sharded checkpoint's folder, a safetensors
    file or a PyTorch file that holds tensors only. Raises InputError for unknown names and weights that do not fit.
    """
    built = build_model(load_model_config(model), seed)
    if weights is not None:
        _read_weights(built, Path(weights))
    return built.eval()


def _read_weights(model: nn.Module, path: Path) -> None:
    if (path / "config.yaml").is_file():
        checkpoints = RunDir.at(path).checkpoints
        if not checkpoints:
            raise InputError(f"{path}: this run has no complete checkpoint yet")
        read_sharded(model, checkpoints[-1].path)
    elif path.is_dir():
        read_sharded(model, path)
    else:
        load_weights(model, path)


def create_model_and_transforms(
    model: Model, weights: str | Path | None = None, *, seed: int = 0
) -> tuple[nn.Module, FloatTransform, FloatTransform]:
    """(model, training transform, evaluation transform); the transforms turn a PIL picture into a float tensor."""
    config = load_model_config(model)
    size = config.vision_cfg.image_size
    return (
        create_model(config, weights, seed=seed),
        FloatTransform(TrainTransform(size)),
        FloatTransform(EvalTransform(size)),
    )


def get_tokenizer(model: Model) -> Tokenizer:
    """The model's tokenizer: strings -> LongTensor [n, T]."""
    return load_tokenizer(load_model_config(model).text_cfg)


def load_run(folder: Path) -> tuple[nn.Module, ModelConfig]:
    """The model of a run directory with the weights of its last complete checkpoint."""
    run = RunDir.at(folder)
    config = run.config.model.architecture
    run.check_tokenizer(tokenizer_digest(config.text_cfg))
    return create_model(config, folder), config
