"""A folder with a model in it, as open_clip writes and reads them (`local-dir:FOLDER`, or a repository on the hub).

open_clip_model.safetensors    the weights under the published names
open_clip_config.json          model_cfg and preprocess_cfg under open_clip's keys; under mammut_clip, which open_clip
                               does not read, the config as it stands here, family included
tokenizer.json and             a tokenizer that is not CLIP's own, in transformers' layout
  tokenizer_config.json
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mammut_clip.config.atomic import read_json, scratch_folder, write_json, write_text
from mammut_clip.config.errors import InputError
from mammut_clip.config.files import find_file
from mammut_clip.config.model import ModelConfig, load_model_config
from mammut_clip.config.towers import HfTextConfig
from mammut_clip.data.images import CLIP_MEAN, CLIP_STD
from mammut_clip.data.text import END, PADDING, START, UNKNOWN, load_tokenizer, names_transformers_tokenizer
from mammut_clip.models.exchange.files import WEIGHTS_NAME
from mammut_clip.models.exchange.open_clip_config import from_open_clip, to_open_clip
from mammut_clip.models.exchange.weights import save_weights

CONFIG_NAME = "open_clip_config.json"
_OURS = "mammut_clip"
_TOKENIZER = "tokenizer.json"
_TOKENIZER_CONFIG = "tokenizer_config.json"
_THIS_FOLDER = "."
_RESIZING = {"interpolation": "bicubic", "resize_mode": "shortest"}


@dataclass(frozen=True)
class Preprocessing:
    """What is subtracted from pixels in [0, 1], and what they are then divided by, per channel."""

    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD


def is_model_folder(path: Path) -> bool:
    """Whether this is a folder as open_clip writes them."""
    return (path / CONFIG_NAME).is_file()


def read_config(path: Path) -> ModelConfig:
    """The model that the folder describes. Raises InputError where it describes none that can be built here."""
    values, source = _read_document(path), str(path / CONFIG_NAME)
    if _OURS in values:
        config = load_model_config(values[_OURS], source, _OURS)
        name = config.text_cfg.hf_tokenizer_name
        return _with_tokenizer(config, str(path / name)) if name in (_TOKENIZER, _THIS_FOLDER) else config
    config = from_open_clip(values["model_cfg"], source)
    # a tokenizer of transformers is taken from the folder, as open_clip takes it
    beside = config.text_cfg.hf_tokenizer_name is not None and (path / _TOKENIZER_CONFIG).is_file()
    return _with_tokenizer(config, str(path)) if beside else config


def read_preprocessing(path: Path) -> Preprocessing:
    """What the folder says of pixels. Raises InputError where pictures are resized as they never are here."""
    values = _read_document(path).get("preprocess_cfg") or {}
    for key, only in _RESIZING.items():
        if values.get(key, only) != only:
            raise InputError(f"{path / CONFIG_NAME}: preprocess_cfg.{key} = {values[key]!r}: expected {only!r}")
    return Preprocessing(tuple(values.get("mean", CLIP_MEAN)), tuple(values.get("std", CLIP_STD)))


def write_model_folder(path: Path, model: nn.Module, config: ModelConfig, preprocessing: Preprocessing) -> list[Path]:
    """Write the folder, whole or not at all; returns its files. Raises InputError where that fails."""
    with scratch_folder(path) as folder:
        save_weights(model, folder / WEIGHTS_NAME)
        config = _write_tokenizer(config, folder)
        document = {
            "model_cfg": to_open_clip(config),
            "preprocess_cfg": {"mean": preprocessing.mean, "std": preprocessing.std, **_RESIZING},
            _OURS: config.model_dump(mode="json"),
        }
        write_json(folder / CONFIG_NAME, document)
        folder.rename(path)
    return sorted(path.iterdir())


def _read_document(path: Path) -> dict[str, Any]:
    values = read_json(path / CONFIG_NAME)
    if not isinstance(values, dict) or not isinstance(values.get("model_cfg"), dict):
        raise InputError(f"{path / CONFIG_NAME}: expected JSON with the key model_cfg, as open_clip writes it")
    return values


def _write_tokenizer(config: ModelConfig, folder: Path) -> ModelConfig:
    """Put the tokenizer beside the weights, unless it is CLIP's own; the config that names it there."""
    text = config.text_cfg
    name = text.hf_tokenizer_name
    if name is None:
        return config
    load_tokenizer(text)  # refuses what is no tokenizer, or another model's
    if isinstance(text, HfTextConfig) or names_transformers_tokenizer(name):
        from transformers import AutoTokenizer

        AutoTokenizer.from_pretrained(name, trust_remote_code=False).save_pretrained(folder)
        return _with_tokenizer(config, _THIS_FOLDER)
    _write_own_tokenizer(find_file("configs/tokenizers", name), folder)
    return _with_tokenizer(config, _TOKENIZER)


def _write_own_tokenizer(source: Path, folder: Path) -> None:
    """A copy with a rule that puts start and end around a text, which transformers follows and our own reader adds by
    itself, so that open_clip.get_tokenizer gives the same ids."""
    from tokenizers import Tokenizer, processors

    pieces = Tokenizer.from_file(str(source))
    ends = [(name, pieces.token_to_id(name)) for name in (START, END)]
    pieces.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ends)
    write_text(folder / _TOKENIZER, pieces.to_str(pretty=True) + "\n")
    names = {"pad_token": PADDING, "unk_token": UNKNOWN, "bos_token": START, "eos_token": END}
    write_json(folder / _TOKENIZER_CONFIG, {"tokenizer_class": "PreTrainedTokenizerFast", **names})


def _with_tokenizer(config: ModelConfig, name: str) -> ModelConfig:
    text = config.text_cfg.model_copy(update={"hf_tokenizer_name": name})
    return config.model_copy(update={"text_cfg": text})
